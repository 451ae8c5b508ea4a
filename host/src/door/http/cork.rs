//! Holds back what is written until its task has done all it can: many answers of an HTTP/2 connection become one TLS
//! record and one system call, where hyper would make one of each.
//!
//! Invariants: what is held back is bounded, and whoever polls the connection's task lets it go at the end of each poll.

use std::cell::RefCell;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::Outbox;

/// So much is held back at most, beside one write more.
const HELD: usize = 32 << 10;
/// Larger writes are not held back: nothing is gained by copying them.
const LARGE: usize = 8 << 10;

struct State<S> {
    stream: S,
    held: Outbox,
}

/// A stream whose flushing waits until [`Cork::poll_release`].
pub(super) struct Corked<S>(Rc<RefCell<State<S>>>);

/// Who lets go what is held back.
pub(super) struct Cork<S>(Rc<RefCell<State<S>>>);

/// Holds back what is written to a stream.
pub(super) fn cork<S>(stream: S) -> (Corked<S>, Cork<S>) {
    let state = Rc::new(RefCell::new(State { stream, held: Outbox::default() }));
    (Corked(state.clone()), Cork(state))
}

impl<S: AsyncWrite + Unpin> State<S> {
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.held.poll_write(Pin::new(&mut self.stream), cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let large = length >= LARGE;
        if self.held.waiting() >= HELD || large && !self.held.is_empty() {
            ready!(self.held.poll_write(Pin::new(&mut self.stream), cx))?;
        }
        if large {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        for part in parts {
            self.held.buffer().extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// Lets all go that is held back.
    pub(super) fn poll_release(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.borrow_mut().poll_release(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        self.0.borrow_mut().poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.0.borrow_mut();
        ready!(state.poll_release(cx))?;
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_written_goes_out_in_order_and_only_when_it_is_let_go() {
        let (stream, mut far) = duplex(1 << 20);
        let (mut corked, cork) = cork(stream);
        corked.write_all(b"one ").await.unwrap();
        corked.write_all(b"two ").await.unwrap();
        corked.flush().await.unwrap();
        let mut read = [0; 8];
        let early = tokio::time::timeout(std::time::Duration::from_secs(1), far.read(&mut read));
        assert!(early.await.is_err(), "nothing goes out by itself");
        poll_fn(|cx| cork.poll_release(cx)).await.unwrap();
        assert_eq!(far.read(&mut read).await.unwrap(), 8, "both in one piece");
        let large = vec![b'x'; LARGE];
        corked.write_all(b"small").await.unwrap();
        corked.write_all(&large).await.unwrap();
        corked.write_all(b"last").await.unwrap();
        corked.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert!(all == [b"small", &large[..], b"last"].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_bounded() {
        let (stream, _far) = duplex(1000);
        let (mut corked, _cork) = cork(stream);
        let mut written = 0;
        let part = vec![0; 1000];
        let endless = async {
            loop {
                corked.write_all(&part).await.unwrap();
                written += part.len();
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), endless).await;
        assert!((HELD..HELD + 3000).contains(&written), "{written}");
    }
}
