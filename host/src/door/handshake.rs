//! TLS on a connection, under a deadline. Knows no protocol that is spoken over it.

use std::sync::Arc;

use rustls::HandshakeKind;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::{Stream, read_some};
use crate::peer::{Peer, PeerTls};
use crate::snapshot::Listener;
use crate::tls;
use crate::worker::Worker;

/// A client's connection, ready for the listener's protocol.
pub(super) enum Channel {
    /// Without TLS, as the listener has it.
    Clear(Stream),
    /// With TLS.
    Tls(Box<TlsStream<Stream>>),
    /// The client speaks in the clear where TLS is expected; nothing of that was read.
    NotTls(Stream),
}

/// The TLS of a connection, where its listener has certificates; what it told is written into `peer`. `None` ends the
/// connection; the reason is in the log and the metrics.
pub(super) async fn secure(
    worker: &Worker,
    listener: &Listener,
    peer: &mut Arc<Peer>,
    stream: Stream,
) -> Option<Channel> {
    let Some(acceptor) = &listener.tls else { return Some(Channel::Clear(stream)) };
    // Boxed, so that a connection without TLS has no room for it.
    let handshake = Box::pin(tokio::time::timeout(listener.config.handshake_timeout, handshake(acceptor, stream)));
    let shared = &worker.shared;
    let count = |version, result| {
        shared.state.counters.handshakes.mine().of(&listener.config.name, [version, result]).add(1);
    };
    match handshake.await {
        Ok(Ok(Channel::Tls(stream))) => {
            let session = stream.get_ref().1;
            let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
            let version = tls::version(session.protocol_version());
            count(version.strip_prefix("TLSv").unwrap_or(NO_VERSION), if is_resumed { "resumed" } else { "full" });
            let told = PeerTls {
                version,
                server_name: session.server_name().map(str::to_ascii_lowercase),
                client_subject: session.peer_certificates().and_then(|chain| tls::subject(chain.first()?)),
            };
            Arc::make_mut(peer).tls = Some(told);
            return Some(Channel::Tls(stream));
        }
        Ok(Ok(other)) => {
            count(NO_VERSION, "not-tls");
            shared.state.refused.count(&peer.listener, "tls-handshake");
            return Some(other);
        }
        Ok(Err(error)) => {
            count(NO_VERSION, "failed");
            tracing::debug!(client = %peer.address, %error, "a TLS handshake failed");
        }
        Err(_) => {
            count(NO_VERSION, "timeout");
            tracing::debug!(client = %peer.address, "a TLS handshake took too long");
        }
    }
    shared.state.refused.count(&peer.listener, "tls-handshake");
    None
}

/// The version in metrics of a handshake that came to none.
const NO_VERSION: &str = "none";

async fn handshake(acceptor: &TlsAcceptor, mut stream: Stream) -> std::io::Result<Channel> {
    let mut first = Vec::new();
    read_some(&mut stream, &mut first).await?;
    stream.unread(&first);
    if first.first().is_some_and(u8::is_ascii_alphabetic) {
        return Ok(Channel::NotTls(stream));
    }
    acceptor.accept(stream).await.map(|stream| Channel::Tls(Box::new(stream)))
}
