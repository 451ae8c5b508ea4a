//! A connection's deadlines: idle, in the middle of a head, and in the middle of writing to a client that does not read.
//!
//! While a request is being answered there is no deadline on reading: a node may take its time, and has one of its own.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next request.
    Idle,
    /// The rest of a head.
    Head,
    /// Requests are being answered.
    Busy,
}

/// How many requests of a connection are being answered, how many there were, and whether a head has begun.
#[derive(Debug, Default)]
struct Activity {
    busy: Cell<usize>,
    begun: Cell<u64>,
    head: Cell<bool>,
}

/// One request being answered, until this is dropped.
pub(super) struct Busy(Rc<Activity>);

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.busy.set(self.0.busy.get() + 1);
        Self(self.0.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get().saturating_sub(1));
    }
}

/// Says that requests begin.
#[derive(Clone)]
pub(super) struct Starter(Rc<Activity>);

impl Starter {
    /// A request begins to be answered.
    pub(super) fn begin(&self) -> Busy {
        self.0.busy.set(self.0.busy.get() + 1);
        self.0.begun.set(self.0.begun.get() + 1);
        Busy(self.0.clone())
    }

    /// Whether the beginning of a head is there, and not its end.
    pub(super) fn in_head(&self, begun: bool) {
        self.0.head.set(begun);
    }
}

/// One wait for the client: in this phase, after so many requests.
type Wait = (Phase, u64);

/// A stream with deadlines.
pub(super) struct Timed<S> {
    stream: S,
    activity: Rc<Activity>,
    head_timeout: Duration,
    idle_timeout: Duration,
    reading: Option<(Wait, Pin<Box<Sleep>>)>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// Deadlines for a fresh connection, whose first head is awaited at once.
    pub(super) fn new(stream: S, head_timeout: Duration, idle_timeout: Duration) -> (Self, Starter) {
        let activity = Rc::new(Activity::default());
        let starter = Starter(activity.clone());
        (Self { stream, activity, head_timeout, idle_timeout, reading: None, writing: None }, starter)
    }

    fn phase(&self) -> Phase {
        // The first head of a connection is awaited from the connection on.
        let head = self.activity.head.get() || self.activity.begun.get() == 0;
        match (self.activity.busy.get(), head) {
            (0, true) => Phase::Head,
            (0, false) => Phase::Idle,
            _ => Phase::Busy,
        }
    }

    /// Whether the client has had its time to write.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.phase();
        let wait = match phase {
            Phase::Busy => {
                self.reading = None;
                return Poll::Pending;
            }
            Phase::Head => self.head_timeout,
            Phase::Idle => self.idle_timeout,
        };
        let this = (phase, self.activity.begun.get());
        if self.reading.as_ref().is_none_or(|(of, _)| *of != this) {
            self.reading = Some((this, Box::pin(tokio::time::sleep(wait))));
        }
        let Some((_, timer)) = &mut self.reading else { return Poll::Pending };
        timer.as_mut().poll(cx).map(|()| io::Error::new(io::ErrorKind::TimedOut, "the client sent nothing in time"))
    }

    /// Whether the client has had its time to read.
    fn poll_writing<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let wait = self.idle_timeout;
        let timer = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client read nothing in time")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_reading(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_writing(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.poll_writing(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.poll_writing(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.poll_writing(cx, shut)
    }
}

/// An answer's body, which ends the request's being busy with its last byte.
pub(super) struct BusyBody<B> {
    body: B,
    _busy: Busy,
}

impl<B> BusyBody<B> {
    /// A body that keeps the connection busy.
    pub(super) fn new(body: B, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body + Unpin> Body for BusyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_deadline() {
        let (mut client, server) = duplex(64);
        let (mut timed, starter) = Timed::new(server, HEAD, IDLE);
        let mut byte = [0; 1];
        let started = tokio::time::Instant::now();
        assert!(timed.read_exact(&mut byte).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 10, "the first head");
        let busy = starter.begin();
        assert!(tokio::time::timeout(IDLE * 2, timed.read_exact(&mut byte)).await.is_err(), "no deadline while busy");
        drop(busy);
        let started = tokio::time::Instant::now();
        assert!(timed.read_exact(&mut byte).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 300, "idle");
        client.write_all(b"G").await.unwrap();
        timed.read_exact(&mut byte).await.unwrap();
        starter.in_head(true);
        let started = tokio::time::Instant::now();
        assert!(timed.read_exact(&mut byte).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 10, "the rest of a head");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, server) = duplex(64);
        let (mut timed, starter) = Timed::new(server, HEAD, IDLE);
        let _busy = starter.begin();
        let started = tokio::time::Instant::now();
        assert!(timed.write_all(&[0; 1000]).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 300);
    }
}
