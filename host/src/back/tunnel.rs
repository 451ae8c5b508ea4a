//! A connection that is no HTTP any more: bytes go both ways until one side ends it, or both are silent.

use std::cell::Cell;
use std::io;
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

impl Tunnel {
    /// Copies both ways, `early` first towards the node. Ends when one side ends, when nothing moved for `idle`, or when
    /// it is over. How many bytes the client got.
    pub async fn run<S: AsyncRead + AsyncWrite>(
        self,
        client: S,
        early: &[u8],
        idle: Duration,
        over: impl Future<Output = ()>,
    ) -> u64 {
        let (last, sent) = (Cell::new(Instant::now()), Cell::new(0));
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_node, mut to_node) = tokio::io::split(self.line);
        let up = async {
            to_node.write_all(early).await?;
            copy(&mut from_client, &mut to_node, |_| last.set(Instant::now())).await
        };
        let down = async {
            to_client.write_all(&self.read).await?;
            sent.set(self.read.len() as u64);
            copy(&mut from_node, &mut to_client, |bytes| {
                last.set(Instant::now());
                sent.set(sent.get() + bytes);
            })
            .await
        };
        let silence = async {
            while last.get().elapsed() < idle {
                tokio::time::sleep_until(last.get() + idle).await;
            }
        };
        tokio::select! {
            _ = up => {}
            _ = down => {}
            () = over => {}
            () = silence => tracing::debug!("a tunnel was silent for too long"),
        }
        let _ = tokio::join!(to_client.shutdown(), to_node.shutdown());
        sent.get()
    }
}

async fn copy<R, W>(from: &mut R, to: &mut W, moved: impl Fn(u64)) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        moved(read as u64);
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
