//! Opens connections to nodes, or takes those that were kept. Connections belong to a worker.
//!
//! Invariants: an HTTP/1.1 connection has one request at a time, and is closed when it is dropped, whatever is still
//! on its way; a connection that begins with a PROXY header is never kept, since the header names one client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::forward::Outgoing;
use super::timers::Timers;
use super::unsent::Unsent;
use super::{Node, proxy_header};
use crate::config;
use crate::peer::Peer;

/// Connections of one node that a worker keeps while idle.
const KEPT: usize = 64;
/// How long it keeps them: shorter than the 60 s or 75 s after which common servers close theirs.
const KEPT_FOR: Duration = Duration::from_secs(50);
/// The head of a node's answer, which is as bounded as a client's request.
const HEAD_SIZE: u32 = 256 << 10;
/// An HTTP/2 connection that has requests on it is asked so often whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// What a client that does not read holds back of its answer over HTTP/2.
const STREAM_WINDOW: u32 = 128 << 10;

/// A worker's connections that can be used again, by node; and its timers.
#[derive(Default)]
pub struct Idle {
    connections: RefCell<BTreeMap<u64, Vec<(Instant, Connection)>>>,
    pub(super) timers: Timers,
}

/// A connection that can take a request.
pub(super) enum Connection {
    /// HTTP/1.1: it is lent to one request, and put back after it.
    Single(http1::SendRequest<Outgoing>, Task),
    /// HTTP/2: it stays where it is, and all requests of the worker share it.
    Shared(http2::SendRequest<Outgoing>),
}

/// What drives a connection; it ends with the connection's owner, and so does the connection.
pub(super) struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It took longer than `connect-timeout`.
    #[error("connecting took too long")]
    TimedOut,
    /// The name has no address of the right family.
    #[error("no usable address")]
    NoAddress,
    /// `http = "2"`, and TLS did not agree on it (ALPN, RFC 7301).
    #[error("it does not speak HTTP/2, and the configuration says that it does")]
    NoHttp2,
    /// The network, or TLS, says no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The node does not speak HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl Connection {
    /// Sends a request; a request of which nothing was sent is handed back with the error.
    pub(super) async fn send(
        &mut self,
        request: Box<Request<Outgoing>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        match self {
            Self::Single(sender, _) => sender.try_send_request(*request).await,
            Self::Shared(sender) => sender.try_send_request(*request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Single(sender, _) => sender.is_closed(),
            Self::Shared(sender) => sender.is_closed(),
        }
    }
}

impl Idle {
    /// A kept connection that is still alive, newest first.
    pub(super) fn take(&self, node: &Node) -> Option<Connection> {
        let mut idle = self.connections.borrow_mut();
        let of_node = idle.get_mut(&node.id)?;
        while let Some((since, connection)) = of_node.pop() {
            match connection {
                Connection::Single(sender, task) if sender.is_ready() && since.elapsed() < KEPT_FOR => {
                    return Some(Connection::Single(sender, task));
                }
                Connection::Shared(sender) if !sender.is_closed() => {
                    of_node.push((since, Connection::Shared(sender.clone())));
                    return Some(Connection::Shared(sender));
                }
                _ => {}
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, node: &Node, connection: Connection) {
        let never = node.config.proxy_protocol.is_some() || !node.recipe.keep_connections;
        if never || matches!(connection, Connection::Shared(_)) {
            return;
        }
        let mut idle = self.connections.borrow_mut();
        let of_node = idle.entry(node.id).or_default();
        if of_node.len() >= KEPT {
            of_node.retain(|(since, connection)| !connection.is_closed() && since.elapsed() < KEPT_FOR);
        }
        if of_node.len() < KEPT && !connection.is_closed() {
            of_node.push((Instant::now(), connection));
        }
    }

    /// Lets others have a part in a new HTTP/2 connection. One is enough: the one that was opened at the same time
    /// closes after its request.
    fn share(&self, node: &Node, sender: &http2::SendRequest<Outgoing>) {
        let mut idle = self.connections.borrow_mut();
        let of_node = idle.entry(node.id).or_default();
        of_node.retain(|(_, connection)| !connection.is_closed());
        if of_node.is_empty() {
            of_node.push((Instant::now(), Connection::Shared(sender.clone())));
        }
    }

    /// Forgets connections to nodes that the Snapshot no longer has.
    pub fn keep_only<'a>(&self, nodes: impl Iterator<Item = &'a Node>) {
        let known: Vec<u64> = nodes.map(|node| node.id).collect();
        self.connections.borrow_mut().retain(|id, _| known.contains(id));
    }
}

/// Opens a connection within `connect-timeout`.
///
/// # Errors
/// Why there is none.
pub(super) async fn connect(node: &Node, idle: &Idle, peer: &Peer) -> Result<Connection, Error> {
    tokio::time::timeout(node.config.connect_timeout, open(node, idle, peer)).await.map_err(|_| Error::TimedOut)?
}

async fn open(node: &Node, idle: &Idle, peer: &Peer) -> Result<Connection, Error> {
    let mut stream = open_tcp(node).await?;
    if let Some(version) = node.config.proxy_protocol {
        stream.write_all(&proxy_header::of(version, peer)).await?;
    }
    let Some((config, name)) = &node.tls else { return speak(node, idle, stream).await };
    let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await?;
    if node.config.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Error::NoHttp2);
    }
    speak(node, idle, stream).await
}

async fn speak<S>(node: &Node, idle: &Idle, stream: S) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if node.config.http2 {
        let mut builder = http2::Builder::new(Local);
        builder
            .max_header_list_size(HEAD_SIZE)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(connection_window(&node.config));
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        drive(connection);
        idle.share(node, &sender);
        return Ok(Connection::Shared(sender));
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_SIZE as usize);
    let (sender, connection) = builder.handshake(TokioIo::new(Unsent::new(stream))).await?;
    Ok(Connection::Single(sender, Task(drive(connection.with_upgrades()))))
}

/// Room for the windows of all streams that there can be, so that clients which do not read hold up nobody else: the
/// connection's window is shared by all of them (RFC 9113, section 5.2.1). A window has at most 31 bits.
fn connection_window(config: &config::Backend) -> u32 {
    let streams = config.max_connections + config.long_poll_max_connections + 1;
    let window = u32::try_from(streams).unwrap_or(u32::MAX).saturating_mul(STREAM_WINDOW);
    window.min(i32::MAX.unsigned_abs())
}

fn drive<C: Future<Output = Result<(), hyper::Error>> + 'static>(connection: C) -> AbortHandle {
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a node ended");
        }
    });
    task.abort_handle()
}

/// A TCP connection to a node, from the `local-address` of the family.
///
/// # Errors
/// What the last address said.
pub(super) async fn open_tcp(node: &Node) -> Result<TcpStream, Error> {
    let locals = &node.config.local_address;
    let mut last = Error::NoAddress;
    for address in tokio::net::lookup_host(&node.authority).await? {
        let local = locals.iter().find(|local| local.is_ipv4() == address.is_ipv4());
        if local.is_none() && !locals.is_empty() {
            continue;
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = local {
            socket.bind(SocketAddr::new(*local, 0))?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Runs the tasks of HTTP/2 streams on this worker.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
