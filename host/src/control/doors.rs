//! What the other doors of a cluster hear of this one, and what they tell it to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Command, Generations};
use crate::cluster::{Order, Ordered, Own};
use crate::config::Network;

/// How often what a door says of itself is renewed.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(generations: &Arc<Generations>, commands: mpsc::Sender<Command>) {
    tokio::join!(report(generations), obey(generations, commands));
}

async fn report(generations: &Generations) {
    let cluster = &generations.proxy().shared().state.cluster;
    loop {
        if cluster.is_on() {
            cluster.report(own(generations));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn own(generations: &Generations) -> Own {
    let shared = generations.proxy().shared();
    let live = shared.live.load();
    let requests: usize = live.nodes().iter().map(|node| node.load()[0]).sum();
    let drains = live.nodes().iter().filter(|node| node.is_draining()).map(|node| node.name().to_owned());
    Own {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: live.generation,
        faults: generations.last_reload().and_then(|last| last.faults).unwrap_or_default() as u64,
        requests: requests as u64,
        sessions: shared.sessions().len() as u64,
        drains: drains.take(MOST).collect(),
        parts: live.contents.short().map(|(name, digest)| (name.to_owned(), digest)).take(MOST).collect(),
        draining: shared.state.is_draining(),
    }
}

/// So many names are told to the others; no configuration has as many parts by far.
const MOST: usize = 1000;

/// Does what operators at other doors want.
async fn obey(generations: &Generations, commands: mpsc::Sender<Command>) {
    let cluster = &generations.proxy().shared().state.cluster;
    loop {
        for ordered in cluster.orders().await {
            let Ordered { from, order, .. } = &ordered;
            tracing::info!(from, order = order.word(), "another door of the cluster gives an order");
            if done(order.clone(), generations, &commands).await.is_some() {
                cluster.done(ordered);
            }
        }
    }
}

/// None when the process ends.
async fn done(order: Order, generations: &Generations, commands: &mpsc::Sender<Command>) -> Option<()> {
    match order {
        Order::Hear => {}
        Order::ReleaseNames(names) => {
            let state = &generations.proxy().shared().state;
            for (site, name) in &names {
                state.throttle.release_name(site, name);
                state.cluster.forget_name(site, name);
            }
        }
        Order::ReleaseNetwork(network) => {
            let state = &generations.proxy().shared().state;
            Network::parse(&network).iter().for_each(|network| _ = state.throttle.release_network(network));
            state.cluster.forget_network(&network);
        }
        Order::PurgeRoutes(user) => {
            let (answer, answered) = oneshot::channel();
            commands.send(Command::PurgeRoutes(user, answer)).await.ok()?;
            answered.await.ok()?;
        }
        Order::Drain(backend, seconds) => {
            let (answer, answered) = oneshot::channel();
            let time = (seconds > 0).then(|| Duration::from_secs(seconds));
            commands.send(Command::Drain(backend, time, answer)).await.ok()?;
            answered.await.ok()?;
        }
        Order::Lift(digest) => {
            let (answer, answered) = oneshot::channel();
            commands.send(Command::Lift(digest, answer)).await.ok()?;
            answered.await.ok()?;
        }
    }
    Some(())
}
