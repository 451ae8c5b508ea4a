//! A connection that is no HTTP any more: bytes go both ways until one side ends it, or both are silent.

use std::cell::Cell;
use std::time::Duration;

use bytes::BytesMut;
use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::body::Held;
use super::{headers, http1};

/// Bytes that are on their way in one direction.
const BUFFER: usize = 16 << 10;

/// A node that changed the protocol, with the place in its gate.
pub struct Tunnel {
    pub(super) line: Box<dyn http1::Line>,
    /// What was read behind the answer.
    pub(super) read: BytesMut,
    pub(super) _held: Held,
}

/// How much went through a tunnel.
#[derive(Debug, Default)]
pub struct Moved {
    /// Bytes that the client sent.
    pub received: Cell<u64>,
    /// Bytes that the client got.
    pub sent: Cell<u64>,
}

/// Why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// One side had no more to say.
    InOrder,
    /// The client is gone.
    Client,
    /// The node is gone.
    Node,
    /// Nothing moved for too long, or it may go on no longer.
    Deadline,
    /// The client sent what must not reach the node.
    Refused,
}

impl Tunnel {
    /// Copies both ways, `early` first towards the node. Ends when one side ends, when nothing moved for `idle`, or when
    /// it is over. `moved` counts meanwhile.
    pub async fn run<S: AsyncRead + AsyncWrite>(
        self,
        client: S,
        early: &[u8],
        (idle, moved): (Duration, &Moved),
        over: impl Future<Output = ()>,
    ) -> Closed {
        let last = Cell::new(Instant::now());
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_node, mut to_node) = tokio::io::split(self.line);
        let count = |to: &Cell<u64>, bytes: usize| {
            last.set(Instant::now());
            to.set(to.get() + bytes as u64);
        };
        let up = async {
            to_node.write_all(early).await.map_err(|_| Closed::Node)?;
            count(&moved.received, early.len());
            let ends = (Closed::Client, Closed::Node);
            copy(&mut from_client, &mut to_node, ends, |bytes| count(&moved.received, bytes)).await
        };
        let down = async {
            to_client.write_all(&self.read).await.map_err(|_| Closed::Client)?;
            count(&moved.sent, self.read.len());
            let ends = (Closed::Node, Closed::Client);
            copy(&mut from_node, &mut to_client, ends, |bytes| count(&moved.sent, bytes)).await
        };
        let silence = async {
            while last.get().elapsed() < idle {
                tokio::time::sleep_until(last.get() + idle).await;
            }
        };
        let closed = tokio::select! {
            ended = up => ended.err().unwrap_or(Closed::InOrder),
            ended = down => ended.err().unwrap_or(Closed::InOrder),
            () = over => Closed::Deadline,
            () = silence => {
                tracing::debug!("a tunnel was silent for too long");
                Closed::Deadline
            }
        };
        let _ = tokio::join!(to_client.shutdown(), to_node.shutdown());
        closed
    }
}

/// Copies until there is no more, or one of both ends breaks: which of them.
async fn copy<R, W>(from: &mut R, to: &mut W, ends: (Closed, Closed), moved: impl Fn(usize)) -> Result<(), Closed>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| ends.0)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await.map_err(|_| ends.1)?;
        to.flush().await.map_err(|_| ends.1)?;
        moved(read);
    }
}

/// Whether a 101 agrees to the protocol that was asked for, and to nothing else (RFC 9110, section 7.8).
pub(super) fn agrees(answer: &HeaderMap, asked: Option<&HeaderValue>) -> bool {
    let mut said = answer.get_all(header::UPGRADE).iter();
    let (first, second) = (said.next(), said.next());
    let same = |asked: &HeaderValue, said: &HeaderValue| said.as_bytes().eq_ignore_ascii_case(asked.as_bytes());
    headers::names(answer, "upgrade")
        && second.is_none()
        && asked.zip(first).is_some_and(|(asked, said)| same(asked, said))
}
