//! Who comes to the admin plane: by the Unix socket, and by the admin address. On a thread and a runtime of its own, so that
//! nothing here delays a command, a probe or a request.
//!
//! Invariants: connections are bounded, in all and by address; a head, a body and a handshake have to come in time.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::plane::{Connection, Plane};
use super::reply::Reply;
use super::router;
use crate::config::{self, Limits};
use crate::limits::Flow;
use crate::peer::Scheme;
use crate::proxy::AdminSockets;
use crate::snapshot::Listener;
use crate::tls;

/// Who asks has to write a head of some hundred bytes; nobody may hold a connection for longer without one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a head.
const HEAD: usize = 32 << 10;
/// Connections of the admin address, in all and from one peer.
const PLACES: Limits = Limits { max_connections: 128, peer_max_connections: 32, ..Limits::NONE };
/// How long one may leave what is sent to it.
const SILENT: Duration = Duration::from_secs(20);
/// How long one may last, whatever is shown on it.
const LONGEST: Duration = Duration::from_secs(3600);
/// A pause where no descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves whoever comes by the socket. `parting` waits for their connections.
pub(super) async fn serve_socket(plane: Arc<Plane>, listener: UnixListener, parting: &GracefulShutdown) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let (plane, watcher) = (plane.clone(), parting.watcher());
        tokio::task::spawn_local(async move {
            let serve = async |request| router::last(router::answer_socket(&plane, peer.uid(), request).await);
            serve_connection(watcher, stream, serve).await;
        });
    }
}

/// Serves whoever comes by the admin address, wherever that is by now. `parting` waits for their connections.
pub(super) async fn serve_address(plane: Arc<Plane>, mut sockets: AdminSockets, parting: &GracefulShutdown) {
    let places = Arc::<Flow>::default();
    loop {
        let listener = sockets.current().and_then(|socket| socket.map(TcpListener::from_std).transpose());
        let listener = listener.unwrap_or_else(|error| {
            tracing::error!(%error, "the admin address cannot be served");
            None
        });
        let accepting = async {
            match &listener {
                Some(listener) => accept(&plane, listener, &places, parting).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = accepting => {}
            () = sockets.changed() => {}
        }
    }
}

async fn accept(plane: &Arc<Plane>, listener: &TcpListener, places: &Arc<Flow>, parting: &GracefulShutdown) {
    loop {
        let (stream, address) = match listener.accept().await {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                tracing::debug!(%error, "the admin address cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let admitted = places.admit("admin address", &PLACES, &config::Flow::default(), Some(address));
        let Ok(place) = admitted else { continue };
        let (plane, snapshot) = (plane.clone(), plane.snapshot());
        let Some(live) = snapshot.admin_listener.clone() else { continue };
        let watcher = parting.watcher();
        tokio::task::spawn_local(async move {
            let _place = place;
            let served = secure_and_serve(plane, &live, (stream, address), watcher);
            let _ = tokio::time::timeout(LONGEST, served).await;
        });
    }
}

async fn secure_and_serve(
    plane: Arc<Plane>,
    listener: &Listener,
    (stream, address): (TcpStream, IpAddr),
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    // Who takes nothing of what is sent to him is gone: Linux counts a window that stays shut, too.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(SILENT));
    let connection = |scheme, subject| Connection { address, scheme, subject };
    let Some(acceptor) = &listener.tls else {
        return serve(plane, connection(Scheme::Http, None), stream, watcher).await;
    };
    match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let subject = certificates.and_then(|chain| tls::subject(chain.first()?));
            serve(plane, connection(Scheme::Https, subject), stream, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(client = %address, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(client = %address, "a TLS handshake took too long"),
    }
}

async fn serve<S>(plane: Arc<Plane>, connection: Connection, stream: S, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_connection(watcher, stream, async |request| router::answer(&plane, &connection, request).await).await;
}

/// HTTP/1.1 on a connection.
async fn serve_connection<S>(watcher: Watcher, stream: S, answer: impl AsyncFn(Request<Incoming>) -> Reply)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD);
    // Whoever leaves needs to know of nothing.
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;

    use super::*;

    #[test]
    fn nobody_takes_all_places_and_each_comes_back() {
        let places = Arc::<Flow>::default();
        let enter = |last: u8| {
            let peer = IpAddr::from([192, 0, 2, last]);
            places.admit("admin address", &PLACES, &config::Flow::default(), Some(peer)).ok()
        };
        let mut inside: Vec<_> = from_fn(|| enter(1)).take(1000).collect();
        assert_eq!(inside.len(), 32, "of one peer");
        let other = enter(2).unwrap();
        inside.pop();
        assert!(enter(1).is_some(), "a place that was left");
        drop((inside, other));
        let all: Vec<_> = (0..255).filter_map(enter).collect();
        assert_eq!(all.len(), 128, "of all together");
    }
}
