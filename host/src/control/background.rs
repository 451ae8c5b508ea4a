//! What goes on beside the loop: nodes are probed, files are looked after, and the loop is told of policies that fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Command, Generations};
use crate::back::watch_over;

/// How often it is looked whether files that Doorward keeps are as it left them.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(generations: Arc<Generations>, commands: mpsc::Sender<Command>) {
    let shared = generations.proxy().shared().clone();
    let nodes = watch_over(move || shared.live.load().nodes().to_vec());
    tokio::join!(tell_of_failed_policies(&generations, commands), nodes, look_after_files(&generations));
}

async fn look_after_files(generations: &Arc<Generations>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let generations = generations.clone();
        // A disk may take its time.
        let _ = tokio::task::spawn_blocking(move || generations.proxy().shared().desk.quarantine.look_after()).await;
    }
}

async fn tell_of_failed_policies(generations: &Generations, commands: mpsc::Sender<Command>) {
    loop {
        for policy in generations.proxy().shared().desk.troubles().await {
            // The loop is gone when the process ends.
            let _ = commands.send(Command::PolicyFailed(policy)).await;
        }
    }
}
