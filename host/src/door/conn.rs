//! One connection: TLS under a deadline, then HTTP/1 or HTTP/2 (`door::http`).

use std::rc::Rc;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::drain::Drain;
use super::http::{http1, http2};
use super::stream::{Stream, read_some};
use crate::config::Http;
use crate::limits::Clients;
use crate::peer::{Peer, PeerTls};
use crate::reply::Refusal;
use crate::snapshot::Listener;
use crate::tls;
use crate::worker::Worker;

/// What is told to a browser that was sent to an `http://` URL with the port of TLS, as nginx does.
const PLAIN: Refusal = Refusal::BadRequest("plain HTTP was sent to a port that speaks TLS");
/// So much of a connection is looked at to tell: all that many handshakes begin with, which is read at once.
const FIRST: usize = 512;

/// Serves a connection to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    listener: &Listener,
    http: &Http,
    peer: (Arc<Peer>, Rc<Clients>),
    stream: Stream,
    drain: Drain,
) {
    match &listener.tls {
        // Boxed, so that a connection without it has no room for it.
        Some(acceptor) => Box::pin(secured(worker, (listener, acceptor), http, peer, stream, drain)).await,
        None => http1::serve(worker, listener, http, peer, stream, drain).await,
    }
}

async fn secured(
    worker: Rc<Worker>,
    (listener, acceptor): (&Listener, &TlsAcceptor),
    http: &Http,
    (mut peer, clients): (Arc<Peer>, Rc<Clients>),
    stream: Stream,
    drain: Drain,
) {
    let handshake = Box::pin(handshake(acceptor, stream));
    let stream = match tokio::time::timeout(listener.config.handshake_timeout, handshake).await {
        Ok(Ok(Begun::Tls(stream))) => *stream,
        Ok(Ok(Begun::Plain(stream))) => {
            worker.shared.state.refused.count(&peer.listener, "tls-handshake");
            return http1::refuse(worker, listener, http, (peer, clients), stream, PLAIN).await;
        }
        Ok(Err(error)) => {
            worker.shared.state.refused.count(&peer.listener, "tls-handshake");
            return tracing::debug!(client = %peer.address, %error, "a TLS handshake failed");
        }
        Err(_) => {
            worker.shared.state.refused.count(&peer.listener, "tls-handshake");
            return tracing::debug!(client = %peer.address, "a TLS handshake took too long");
        }
    };
    let session = stream.get_ref().1;
    let tls = PeerTls {
        server_name: session.server_name().map(str::to_ascii_lowercase),
        http2: session.alpn_protocol() == Some(b"h2"),
        client_subject: session.peer_certificates().and_then(|chain| tls::subject(chain.first()?)),
    };
    let is_http2 = tls.http2;
    Arc::make_mut(&mut peer).tls = Some(tls);
    if is_http2 {
        Box::pin(http2::serve(worker, listener, http, (peer, clients), stream, drain)).await;
    } else {
        http1::serve(worker, listener, http, (peer, clients), stream, drain).await;
    }
}

/// What a connection to a listener with certificates begins with.
enum Begun {
    /// As it should.
    Tls(Box<TlsStream<Stream>>),
    /// HTTP, perhaps; it was not read.
    Plain(Stream),
}

async fn handshake(acceptor: &TlsAcceptor, mut stream: Stream) -> std::io::Result<Begun> {
    let mut first = Vec::new();
    read_some(&mut stream, &mut first, FIRST).await?;
    stream.unread(&first);
    if first.first().is_some_and(u8::is_ascii_alphabetic) {
        return Ok(Begun::Plain(stream));
    }
    acceptor.accept(stream).await.map(|stream| Begun::Tls(Box::new(stream)))
}
