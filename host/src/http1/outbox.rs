//! Bytes on their way out of a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderName;
use tokio::io::AsyncWrite;

/// Up to this size, bytes are gathered: to copy them is cheaper than to hand the kernel one more piece.
const SMALL: usize = 4 << 10;
/// Pieces that are handed over at once.
const PIECES: usize = 16;

/// What waits to be written: small pieces gathered, large ones as they came.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What goes first, in order.
    pieces: VecDeque<Bytes>,
    /// What is gathered behind them.
    gathered: Vec<u8>,
    /// So much of that was written; nothing unless there are no pieces.
    written: usize,
}

impl Outbox {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.written == self.gathered.len()
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.gathered.len() - self.written
    }

    /// Where a head is written.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.gathered
    }

    /// Adds bytes.
    pub fn push(&mut self, data: Bytes) {
        if data.len() <= SMALL {
            self.gathered.extend_from_slice(&data);
            return;
        }
        if self.written < self.gathered.len() {
            let mut gathered = Bytes::from(std::mem::take(&mut self.gathered));
            gathered.advance(self.written);
            self.pieces.push_back(gathered);
        }
        self.gathered.clear();
        self.written = 0;
        self.pieces.push_back(data);
    }

    /// Gives memory back that is not worth keeping while the connection is idle.
    pub fn shrink(&mut self) {
        if self.is_empty() && (self.gathered.capacity() > SMALL || self.pieces.capacity() > 0) {
            *self = Self::default();
        }
    }

    /// Writes all there is. The stream may still have to be flushed.
    pub fn poll_write<S: AsyncWrite + ?Sized>(
        &mut self,
        mut stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let count = if self.pieces.is_empty() {
                ready!(stream.as_mut().poll_write(cx, &self.gathered[self.written..]))?
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let parts = self.pieces.iter().map(|piece| &piece[..]).chain([&self.gathered[..]]);
                let filled = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count();
                ready!(stream.as_mut().poll_write_vectored(cx, &slices[..filled]))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                return piece.advance(count);
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
        self.written += count;
        if self.written == self.gathered.len() {
            self.gathered.clear();
            self.written = 0;
        }
    }
}

/// Writes header lines.
pub fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        write_header(out, name, value.as_bytes());
    }
}

/// Writes a header line.
pub fn write_header(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let (mut near, mut far) = duplex(1000);
        let mut out = Outbox::default();
        let mut expected = Vec::new();
        for (n, size) in [10, 5000, 20, 30, 9000, 0, 7].into_iter().enumerate() {
            let part = vec![b'a' + u8::try_from(n).unwrap(); size];
            expected.extend_from_slice(&part);
            out.push(part.into());
        }
        let writing = async {
            std::future::poll_fn(|cx| out.poll_write(Pin::new(&mut near), cx)).await.unwrap();
            assert!(out.is_empty());
            out.push(Bytes::from_static(b"more"));
            std::future::poll_fn(|cx| out.poll_write(Pin::new(&mut near), cx)).await.unwrap();
            drop(near);
        };
        let mut read = Vec::new();
        let (_, count) = tokio::join!(writing, far.read_to_end(&mut read));
        count.unwrap();
        expected.extend_from_slice(b"more");
        assert!(read == expected);
    }
}
