//! Accepts connections of one listener on one worker, and serves each in a task of its own.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::client::Client;
use super::drain::{Drain, Phase, reached};
use super::handshake::Channel;
use super::stream::{Listening, Stream};
use super::{admit, handshake, http, mail, proxied};
use crate::config::Protocol;
use crate::peer::Peer;
use crate::worker::Worker;

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
                // Boxed, since a task is moved about before it begins.
                let connection = connection(worker.clone(), name.clone(), stream, (peer, local), news.clone());
                connections.spawn_local(Box::pin(connection));
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

async fn connection(
    worker: Rc<Worker>,
    name: String,
    mut stream: Stream,
    socket: (SocketAddr, SocketAddr),
    drain: Drain,
) {
    let Some(listener) = worker.live().listeners.get(&name).cloned() else { return };
    let (from, local) = match proxied::ends(&listener.config.proxied, &mut stream, socket).await {
        Ok(ends) => ends,
        Err(reason) => {
            if let Some(before) = worker.shared.state.refused.count(&name, "proxy-protocol") {
                tracing::info!(peer = %socket.0.ip(), listener = name, reason, before, "connection closed");
            }
            return;
        }
    };
    let mut peer = Arc::new(Peer::new(name, from, local));
    let Some((_permit, clients)) = admit::admit(&worker, &peer) else { return };
    let channel = match listener.config.start_tls {
        true => Some(Channel::Clear(stream)),
        false => handshake::secure(&worker, &listener, &mut peer, stream).await,
    };
    let Some(channel) = channel else { return };
    let protocol = listener.config.protocol;
    let client = Client { worker, listener, peer, clients, drain };
    match protocol {
        Protocol::Http => http::serve(client, channel).await,
        // Boxed, so that a connection of HTTP has no room for them.
        Protocol::Imap | Protocol::Pop3 | Protocol::Sieve | Protocol::Submission => {
            Box::pin(mail::serve(client, channel)).await
        }
    }
}
