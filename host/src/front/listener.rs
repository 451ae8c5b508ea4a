//! Accepts connections of one listener on one worker, and serves each in a task of its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stream::{Listening, Stream};
use super::{admit, conn, proxied};
use crate::peer::Peer;
use crate::worker::Worker;

/// What a listener does on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    /// Takes no connections yet: another process serves.
    Waiting,
    /// Takes connections and serves them.
    Accepting,
    /// Serves those that it has, for as long as they last: the worker retires.
    Retiring,
    /// Tells connections to finish what they do and close.
    Draining,
    /// Drops what has not finished.
    Ended,
}

/// Says which phase it is. When nobody is left who could say so, it is time to drain.
pub(super) type Drain = watch::Receiver<Phase>;

/// Accepts until `drain` says stop or the future is dropped; then waits for the connections to end.
pub async fn serve(worker: Rc<Worker>, name: String, socket: Listening, mut drain: Drain) {
    let mut connections = JoinSet::new();
    let news = drain.clone();
    let mut retiring = std::pin::pin!(reached(&mut drain, Phase::Retiring));
    loop {
        let accepted = tokio::select! {
            biased;
            () = retiring.as_mut() => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer, local)) => {
                connections.spawn_local(connection(worker.clone(), name.clone(), stream, (peer, local), news.clone()));
            }
            // The client left before it was its turn.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Mostly: no descriptor is left. Waiting a little lets some come back, where spinning would not.
                let refused = &worker.shared.state.refused;
                if let Some(before) = refused.count(&name, "accept") {
                    tracing::warn!(listener = name, %error, before, "a connection cannot be accepted");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Until it is time to stop; also when nobody is left who could say so.
pub(super) async fn stopped(drain: &mut Drain) {
    reached(drain, Phase::Draining).await;
}

/// Asks [`stopped`]. Who asked before is woken when there is news, and need not ask again each time.
pub(super) fn poll_stop(
    stop: Pin<&mut impl Future<Output = ()>>,
    asked: &mut Option<Waker>,
    phase: &Drain,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if asked.as_ref().is_some_and(|asked| asked.will_wake(cx.waker())) && matches!(phase.has_changed(), Ok(false)) {
        return Poll::Pending;
    }
    *asked = Some(cx.waker().clone());
    stop.poll(cx)
}

async fn reached(drain: &mut Drain, phase: Phase) {
    let _ = drain.wait_for(|now| *now >= phase).await;
}

async fn connection(
    worker: Rc<Worker>,
    name: String,
    mut stream: Stream,
    socket: (SocketAddr, SocketAddr),
    drain: Drain,
) {
    let Some(listener) = worker.snapshot().listeners.get(&name).cloned() else { return };
    let (from, local) = match proxied::ends(&listener.config.proxied, &mut stream, socket).await {
        Ok(ends) => ends,
        Err(reason) => {
            if let Some(before) = worker.shared.state.refused.count(&name, "proxy-protocol") {
                tracing::info!(peer = %socket.0.ip(), listener = name, reason, before, "connection closed");
            }
            return;
        }
    };
    let peer = Arc::new(Peer::new(name, from, local));
    let snapshot = worker.snapshot();
    let Some((_permit, clients)) = admit::admit(&worker, &snapshot, &peer) else { return };
    let http = snapshot.http.clone();
    drop(snapshot);
    conn::serve(worker, &listener, &http, (peer, clients), stream, drain).await;
}
