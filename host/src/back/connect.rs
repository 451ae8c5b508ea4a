//! Opens connections to nodes, or takes those that were kept. Connections belong to a worker.
//!
//! Invariants: a connection that begins with a PROXY header is never kept for others, since the header names one client;
//! nor is one that the node may have authenticated.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::body::Outgoing;
use super::pinned::{Owner, Pinned};
use super::timers::Timers;
use super::{Node, http1, proxy_header};
use crate::peer::Peer;
use crate::{config, shortage, tls};

/// How often a worker looks for those that were kept for too long, or that the node closed.
const SWEEP: Duration = Duration::from_secs(5);
/// So many times it looks before one has been kept for too long: for less than the 60 s or 75 s after which common servers
/// close theirs.
const SWEEPS: u64 = 10;
/// The head of a node's answer over HTTP/2, which is as bounded as a client's request.
const HEAD_SIZE: u32 = 256 << 10;
/// An HTTP/2 connection that has requests on it is asked so often whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// What a client that does not read holds back of its answer over HTTP/2.
const STREAM_WINDOW: u32 = 128 << 10;

/// A worker's connections that can be used again, by node; and its timers.
#[derive(Default)]
pub struct Idle {
    /// With the number of the sweep before which they were kept.
    connections: RefCell<BTreeMap<u64, Vec<(u64, Connection)>>>,
    /// Those that serve one client's connection each.
    pub(super) pinned: RefCell<Pinned>,
    /// Sweeps so far.
    sweeps: Cell<u64>,
    /// Somebody looks after them.
    swept: Cell<bool>,
    pub(super) timers: Timers,
}

/// A connection that can take a request.
pub(super) enum Connection {
    /// HTTP/1.1: it is lent to one request, and put back after it.
    Single(http1::Connection),
    /// HTTP/2: it stays where it is, and all requests of the worker share it.
    Shared(http2::SendRequest<Outgoing>),
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
    #[error("{}", crate::tls::words(.0))]
    Io(#[from] std::io::Error),
    /// The node does not speak HTTP/2.
    #[error("{0}")]
    Http2(#[from] hyper::Error),
    /// The node does not speak HTTP/1.1.
    #[error("{0}")]
    Http1(#[from] http1::Error),
}

impl Error {
    /// Whether it is no fault of the node: this machine lacks what a connection needs.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Io(error) if shortage::is_ours(error))
    }
}

impl Connection {
    /// Whether it can be used: it is open, and nothing came that nobody asked for.
    fn is_good(&mut self) -> bool {
        match self {
            Self::Single(connection) => connection.is_quiet(),
            Self::Shared(sender) => !sender.is_closed(),
        }
    }
}

impl Idle {
    /// A kept connection that is still good: the client's own, or else the newest.
    pub(super) fn take(&self, node: &Node, owner: Option<&Owner>) -> Option<Connection> {
        if let Some(own) = owner.and_then(|owner| self.pinned.borrow_mut().take(owner, node.id)) {
            return Some(Connection::Single(own));
        }
        let mut idle = self.connections.borrow_mut();
        let of_node = idle.get_mut(&node.id)?;
        while let Some((since, mut connection)) = of_node.pop() {
            if !connection.is_good() {
                continue;
            }
            if let Connection::Shared(sender) = &connection {
                of_node.push((since, Connection::Shared(sender.clone())));
            }
            return Some(connection);
        }
        None
    }

    /// Keeps a connection after an answer: for all, or for its owner where the node may have authenticated it.
    pub(super) fn put(self: &Rc<Self>, node: &Node, connection: http1::Connection, owner: Option<Owner>) {
        if connection.is_authenticated() {
            if let Some(owner) = owner {
                let most = node.config.max_connections;
                self.pinned.borrow_mut().put(owner.pin(node.id, self.sweeps.get(), connection), most);
                self.begin_to_sweep();
            }
            return;
        }
        if node.config.proxy_protocol.is_some() || !node.recipe.keep_connections {
            return;
        }
        let mut idle = self.connections.borrow_mut();
        let of_node = idle.entry(node.id).or_default();
        // As many as the node takes at once. The last one is used first, so that those beyond the need grow old.
        if of_node.len() < node.config.max_connections {
            of_node.push((self.sweeps.get(), Connection::Single(connection)));
        }
        self.begin_to_sweep();
    }

    pub(super) fn begin_to_sweep(self: &Rc<Self>) {
        if !self.swept.replace(true) {
            tokio::task::spawn_local(self.clone().sweep());
        }
    }

    /// Closes what was kept for too long, and what the node closed, until nothing is kept.
    async fn sweep(self: Rc<Self>) {
        while self.swept.get() {
            tokio::time::sleep(SWEEP).await;
            let sweep = self.sweeps.get() + 1;
            self.sweeps.set(sweep);
            let mut idle = self.connections.borrow_mut();
            for of_node in idle.values_mut() {
                of_node.retain_mut(|(since, connection)| {
                    let young = matches!(connection, Connection::Shared(_)) || sweep - *since <= SWEEPS;
                    young && connection.is_good()
                });
            }
            let mut pinned = self.pinned.borrow_mut();
            pinned.retain(|pin| sweep - pin.since <= SWEEPS && pin.connection.is_quiet());
            self.swept.set(!pinned.is_empty() || idle.values().any(|of_node| !of_node.is_empty()));
        }
    }

    /// Lets others have a part in a new HTTP/2 connection. One is enough: the one that was opened at the same time
    /// closes after its request.
    fn share(&self, node: &Node, sender: &http2::SendRequest<Outgoing>) {
        let mut idle = self.connections.borrow_mut();
        let of_node = idle.entry(node.id).or_default();
        of_node.retain_mut(|(_, connection)| connection.is_good());
        if of_node.is_empty() {
            of_node.push((self.sweeps.get(), Connection::Shared(sender.clone())));
        }
    }

    /// Closes all that is kept, which gives back descriptors and ports: what is pinned too, where it is idle.
    pub(super) fn clear(&self) {
        self.connections.borrow_mut().clear();
        self.pinned.borrow_mut().retain(|_| false);
    }

    /// Forgets connections to nodes that the Snapshot no longer has.
    pub fn keep_only<'a>(&self, nodes: impl Iterator<Item = &'a Node>) {
        let known: Vec<u64> = nodes.map(|node| node.id).collect();
        self.connections.borrow_mut().retain(|id, _| known.contains(id));
        self.pinned.borrow_mut().retain(|pin| known.contains(&pin.node));
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
    let header = node.config.proxy_protocol.map(|version| proxy_header::of(version, peer));
    let line = open_line(node, header.as_deref()).await?;
    tracing::debug!(backend = node.name(), client = %peer.address, "a connection to a node is open");
    if !node.config.http2 {
        return Ok(Connection::Single(http1::Connection::new(line)));
    }
    let mut builder = http2::Builder::new(Local);
    builder
        .max_header_list_size(HEAD_SIZE)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(&node.config));
    let (sender, connection) = builder.handshake(TokioIo::new(line)).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a node ended");
        }
    });
    idle.share(node, &sender);
    Ok(Connection::Shared(sender))
}

/// What a connection to a node is made of: TCP, a PROXY header if there is to be one, and TLS.
pub(super) async fn open_line(node: &Node, header: Option<&[u8]>) -> Result<Box<dyn http1::Line>, Error> {
    let mut stream = open_tcp(&node.authority, &node.config.local_address).await?;
    if let Some(header) = header {
        stream.write_all(header).await?;
    }
    let Some((config, name)) = &node.tls else { return Ok(Box::new(stream)) };
    let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await?;
    if node.config.http2 && stream.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
        return Err(Error::NoHttp2);
    }
    Ok(Box::new(stream))
}

/// Room for the windows of all streams that there can be, so that clients which do not read hold up nobody else: the
/// connection's window is shared by all of them (RFC 9113, section 5.2.1). A window has at most 31 bits.
fn connection_window(config: &config::Backend) -> u32 {
    let streams = config.max_connections + config.long_poll_max_connections + 1;
    let window = u32::try_from(streams).unwrap_or(u32::MAX).saturating_mul(STREAM_WINDOW);
    window.min(i32::MAX.unsigned_abs())
}

/// A TCP connection to a node, from the `local-address` of the family.
///
/// # Errors
/// What the last address said.
pub(super) async fn open_tcp(authority: &str, locals: &[IpAddr]) -> Result<TcpStream, Error> {
    let mut last = Error::NoAddress;
    // Without a descriptor names are not found, and the error does not say why.
    let found = tokio::net::lookup_host(authority).await;
    let found = found.map_err(|error| if shortage::has_no_descriptor() { Errno::MFILE.into() } else { error })?;
    for address in found {
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
            // What another address says of the node says more than that we have none of its family.
            Err(error) if shortage::is_ours(&error) && matches!(last, Error::Io(_)) => {}
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Runs the tasks of HTTP/2 streams on this worker.
#[derive(Clone)]
pub(super) struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
