//! What goes on beside the loop: nodes are probed, files are looked after, and the loop is told of policies that fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Command, Generations, doors};
use crate::back::watch_over;
use crate::directory::Shrink;

/// How often it is looked whether files that Doorward keeps are as it left them.
const LOOK: Duration = Duration::from_secs(2);

/// How often files that are refused are tried again while a kept generation serves.
const RETRY: Duration = Duration::from_secs(60);

pub(super) async fn run(generations: Arc<Generations>, commands: mpsc::Sender<Command>) {
    let shared = generations.proxy().shared().clone();
    let nodes = watch_over(move || shared.live.load().nodes().to_vec());
    let retries = retry_files(&generations, commands.clone());
    let doors = doors::run(&generations, commands.clone());
    tokio::join!(
        tell_of_failed_policies(&generations, commands),
        nodes,
        look_after_files(&generations),
        retries,
        doors
    );
}

async fn look_after_files(generations: &Arc<Generations>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let generations = generations.clone();
        // A disk may take its time.
        let _ = tokio::task::spawn_blocking(move || generations.proxy().shared().desk.quarantine.look_after()).await;
    }
}

/// Where a kept generation serves in the place of the files, what was wrong may be no file (an address that the machine had
/// not yet, a port that was taken): the files are tried again.
async fn retry_files(generations: &Generations, commands: mpsc::Sender<Command>) {
    loop {
        tokio::time::sleep(RETRY).await;
        if generations.fallback().is_some() {
            let _ = commands.send(Command::Reload(Shrink::Refused, oneshot::channel().0)).await;
        }
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
