//! One connection: TLS under a deadline, then HTTP/1.1 or HTTP/2, one call of the exchange for each request.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::listener::{Drain, stopped};
use crate::config::Http;
use crate::exchange;
use crate::peer::{Peer, PeerTls};
use crate::snapshot::Listener;
use crate::worker::Worker;

/// HTTP/2 streams of one connection: a browser's page needs fewer, and rapid resets are bounded by it.
const STREAMS: u32 = 100;

/// Serves a connection to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    listener: &Listener,
    http: Http,
    mut peer: Arc<Peer>,
    stream: TcpStream,
    drain: Drain,
) {
    let Some(acceptor) = &listener.tls else {
        return http1(worker, listener, http, peer, stream, drain).await;
    };
    let stream = match tokio::time::timeout(listener.config.handshake_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(client = %peer.address, %error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!(client = %peer.address, "a TLS handshake took too long"),
    };
    let session = stream.get_ref().1;
    let tls = PeerTls {
        server_name: session.server_name().map(str::to_ascii_lowercase),
        http2: session.alpn_protocol() == Some(b"h2"),
    };
    let http2 = tls.http2;
    Arc::make_mut(&mut peer).tls = Some(tls);
    if http2 {
        self::http2(worker, http, peer, stream, drain).await;
    } else {
        http1(worker, listener, http, peer, stream, drain).await;
    }
}

async fn http1<S>(worker: Rc<Worker>, listener: &Listener, http: Http, peer: Arc<Peer>, stream: S, mut drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper counts from the end of the answer before, so this bounds idleness too.
        .header_read_timeout(http.header_timeout.max(listener.config.idle_timeout))
        .max_buf_size(usize::try_from(http.headers_max_size).unwrap_or(64 << 10));
    let client = peer.address;
    let service = service_fn(move |request| answer(worker.clone(), peer.clone(), request));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut drain) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%client, %error, "a connection ended");
    }
}

async fn http2<S>(worker: Rc<Worker>, http: Http, peer: Arc<Peer>, stream: S, mut drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(http.headers_max_size).unwrap_or(64 << 10))
        .keep_alive_interval(Some(std::time::Duration::from_secs(60)));
    let client = peer.address;
    let service = service_fn(move |request| answer(worker.clone(), peer.clone(), request));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut drain) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%client, %error, "a connection ended");
    }
}

async fn answer(
    worker: Rc<Worker>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<exchange::Answer, Infallible> {
    Ok(exchange::run(worker, peer, request).await)
}

/// Runs the tasks of HTTP/2 streams on this worker.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
