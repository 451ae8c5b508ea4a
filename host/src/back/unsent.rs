//! A node may answer and close before it has the whole request. hyper would tell that it could not write, and forget the
//! answer that waits to be read; this stream lets it read on instead.
//!
//! Invariants: where no byte of a request could be written, the error is told, so that the request can be sent elsewhere.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream on which a failed write in the middle of a request is no error: what is written from then on goes nowhere,
/// and reading tells how it ended.
pub(super) struct Unsent<S> {
    stream: S,
    /// Bytes were written since the last ones were read: a request is on its way.
    under_way: bool,
    failed: bool,
}

impl<S> Unsent<S> {
    /// A connection to a node.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, under_way: false, failed: false }
    }

    fn wrote(&mut self, length: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(_)) => self.under_way = true,
            Poll::Ready(Err(_)) if self.under_way => {
                self.failed = true;
                return Poll::Ready(Ok(length));
            }
            _ => {}
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unsent<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.under_way = false;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unsent<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.failed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.failed {
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(length, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = if self.failed { Poll::Ready(Ok(())) } else { Pin::new(&mut self.stream).poll_flush(cx) };
        match flushed {
            Poll::Ready(Err(_)) if self.under_way => {
                self.failed = true;
                Poll::Ready(Ok(()))
            }
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_though_the_request_cannot_be_sent_on() {
        let (mut node, stream) = duplex(1024);
        let mut unsent = Unsent::new(stream);
        unsent.write_all(b"POST").await.unwrap();
        node.write_all(b"413").await.unwrap();
        drop(node);
        unsent.write_all(b"more and more").await.unwrap();
        unsent.flush().await.unwrap();
        let mut answer = String::new();
        unsent.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "413");
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_sent_is_an_error() {
        let (mut node, stream) = duplex(1024);
        let mut unsent = Unsent::new(stream);
        unsent.write_all(b"GET").await.unwrap();
        node.write_all(b"200").await.unwrap();
        unsent.read_exact(&mut [0; 3]).await.unwrap();
        drop(node);
        assert!(unsent.write_all(b"GET").await.is_err());
    }
}
