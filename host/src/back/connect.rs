//! Opens connections to nodes, or takes those that were kept. Connections belong to a worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::Node;
use super::forward::Outgoing;
use super::unsent::Unsent;

/// Connections of one node that a worker keeps while idle.
const KEPT: usize = 64;
/// How long it keeps them: shorter than the 60 s or 75 s after which common servers close theirs.
const KEPT_FOR: Duration = Duration::from_secs(50);

/// A worker's idle connections, by node.
#[derive(Default)]
pub struct Idle(RefCell<HashMap<u64, Vec<(Instant, Connection)>>>);

/// A connection that can take a request.
pub(super) type Connection = SendRequest<Outgoing>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It took longer than `connect-timeout`.
    #[error("connecting took too long")]
    TimedOut,
    /// The name has no address of the right family.
    #[error("no usable address")]
    NoAddress,
    /// The network, or TLS, says no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The node does not speak HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl Idle {
    /// A kept connection that is still alive, newest first.
    pub fn take(&self, node: &Node) -> Option<Connection> {
        let mut idle = self.0.borrow_mut();
        let of_node = idle.get_mut(&node.id)?;
        while let Some((since, connection)) = of_node.pop() {
            if connection.is_ready() && since.elapsed() < KEPT_FOR {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn put(&self, node: &Node, connection: Connection) {
        let mut idle = self.0.borrow_mut();
        let of_node = idle.entry(node.id).or_default();
        if of_node.len() >= KEPT {
            of_node.retain(|(since, connection)| !connection.is_closed() && since.elapsed() < KEPT_FOR);
        }
        if of_node.len() < KEPT && !connection.is_closed() {
            of_node.push((Instant::now(), connection));
        }
    }

    /// Forgets connections to nodes that the Snapshot no longer has.
    pub fn keep_only<'a>(&self, nodes: impl Iterator<Item = &'a Node>) {
        let known: Vec<u64> = nodes.map(|node| node.id).collect();
        self.0.borrow_mut().retain(|id, _| known.contains(id));
    }
}

/// Opens a connection within `connect-timeout`.
///
/// # Errors
/// Why there is none.
pub(super) async fn connect(node: &Node) -> Result<Connection, Error> {
    tokio::time::timeout(node.config.connect_timeout, open(node)).await.map_err(|_| Error::TimedOut)?
}

async fn open(node: &Node) -> Result<Connection, Error> {
    let stream = open_tcp(node).await?;
    stream.set_nodelay(true)?;
    let mut builder = Builder::new();
    // The node's answers are as bounded as a client's requests.
    builder.max_buf_size(256 << 10);
    match &node.tls {
        None => {
            let (sender, connection) = builder.handshake(TokioIo::new(Unsent::new(stream))).await?;
            drive(connection.with_upgrades());
            Ok(sender)
        }
        Some((config, name)) => {
            let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await?;
            let (sender, connection) = builder.handshake(TokioIo::new(Unsent::new(stream))).await?;
            drive(connection.with_upgrades());
            Ok(sender)
        }
    }
}

fn drive<C: Future<Output = Result<(), hyper::Error>> + 'static>(connection: C) {
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a node ended");
        }
    });
}

async fn open_tcp(node: &Node) -> Result<TcpStream, Error> {
    let local = node.config.local_address;
    let mut last = Error::NoAddress;
    for address in tokio::net::lookup_host(&node.authority).await? {
        if local.is_some_and(|local| local.is_ipv4() != address.is_ipv4()) {
            continue;
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = local {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
