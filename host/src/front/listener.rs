//! Accepts connections of one listener on one worker, and serves each in a task of its own.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{admit, conn};
use crate::peer::Peer;
use crate::worker::Worker;

/// Tells connections to finish what they do and close: `true` once it is time.
pub type Drain = watch::Receiver<bool>;

/// Accepts until `drain` says stop or the future is dropped; then waits for the connections to end.
pub async fn serve(worker: Rc<Worker>, name: String, socket: TcpListener, mut drain: Drain) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut drain) => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                connections.spawn_local(connection(worker.clone(), name.clone(), stream, address, drain.clone()));
            }
            Err(error) => {
                // Mostly: no descriptor is left. Waiting a little lets some come back, where spinning would not.
                tracing::warn!(listener = name, %error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Until it is time to stop; also when nobody is left who could say so.
pub(super) async fn stopped(drain: &mut Drain) {
    let _ = drain.wait_for(|stop| *stop).await;
}

async fn connection(worker: Rc<Worker>, listener: String, stream: TcpStream, address: SocketAddr, drain: Drain) {
    let Ok(local) = stream.local_addr() else { return };
    let snapshot = worker.snapshot();
    let peer = Peer { listener, address: address.ip().to_canonical(), port: address.port(), local, tls: None };
    let peer = Arc::new(peer);
    let Some(_permit) = admit::admit(&worker, &snapshot, &peer) else { return };
    let Some(listener) = snapshot.listeners.get(&peer.listener).cloned() else { return };
    let http = snapshot.http.clone();
    drop(snapshot);
    if stream.set_nodelay(true).is_err() {
        return;
    }
    conn::serve(worker, &listener, http, peer, stream, drain).await;
}
