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
use tokio::time::{Instant, Sleep};

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

/// The timer does not spin where a timeout is 0.
const LOOK: Duration = Duration::from_millis(10);

/// How many requests of a connection are being answered, and what is awaited while none is.
#[derive(Debug)]
struct Activity {
    busy: Cell<usize>,
    /// No request came yet. The first head of a connection is awaited from the connection on.
    fresh: Cell<bool>,
    /// A head has begun.
    head: Cell<bool>,
    /// When the present wait began.
    since: Cell<Instant>,
    /// The client took nothing in time.
    overdue: Cell<bool>,
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
        self.0.since.set(Instant::now());
    }
}

/// Says that requests begin.
#[derive(Clone)]
pub(super) struct Starter(Rc<Activity>);

impl Starter {
    /// A request begins to be answered.
    pub(super) fn begin(&self) -> Busy {
        self.0.busy.set(self.0.busy.get() + 1);
        self.0.fresh.set(false);
        Busy(self.0.clone())
    }

    /// Whether the beginning of a head is there, and not its end.
    pub(super) fn in_head(&self, begun: bool) {
        if begun && !self.0.head.replace(begun) && !self.0.fresh.get() {
            self.0.since.set(Instant::now());
        }
        self.0.head.set(begun);
    }
}

/// A stream with deadlines.
pub(super) struct Timed<S> {
    stream: S,
    activity: Rc<Activity>,
    head_timeout: Duration,
    idle_timeout: Duration,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// Deadlines for a fresh connection, whose first head is awaited at once.
    pub(super) fn new(stream: S, head_timeout: Duration, idle_timeout: Duration) -> (Self, Starter) {
        let activity = Rc::new(Activity {
            busy: Cell::new(0),
            fresh: Cell::new(true),
            head: Cell::new(false),
            since: Cell::new(Instant::now()),
            overdue: Cell::new(false),
        });
        let starter = Starter(activity.clone());
        (Self { stream, activity, head_timeout, idle_timeout, reading: None, writing: None }, starter)
    }

    fn phase(&self) -> Phase {
        let head = self.activity.head.get() || self.activity.fresh.get();
        match (self.activity.busy.get(), head) {
            (0, true) => Phase::Head,
            (0, false) => Phase::Idle,
            _ => Phase::Busy,
        }
    }

    /// Whether the client has had its time to write. Nobody reads again when a request was answered, so there is one
    /// timer that goes on through all of them, and looks what is the matter when it goes off.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let (phase, since) = (self.phase(), self.activity.since.get());
            if phase == Phase::Busy && self.reading.as_ref().is_some_and(|timer| !timer.is_elapsed()) {
                return Poll::Pending;
            }
            let deadline = match phase {
                Phase::Busy => Instant::now() + self.idle_timeout.max(LOOK),
                Phase::Head => since + self.head_timeout,
                Phase::Idle => since + self.idle_timeout,
            };
            let timer = self.reading.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if phase != Phase::Busy && deadline <= Instant::now() {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client sent nothing in time"));
            }
            timer.as_mut().reset(deadline);
        }
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
        self.activity.overdue.set(true);
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
    busy: Busy,
}

impl<B> BusyBody<B> {
    /// A body that keeps the connection busy.
    pub(super) fn new(body: B, busy: Busy) -> Self {
        Self { body, busy }
    }

    /// Whether the client took nothing on its connection in time.
    pub(super) fn timed_out(&self) -> bool {
        self.busy.0.overdue.get()
    }

    /// The body itself.
    pub(super) fn inner(&mut self) -> &mut B {
        &mut self.body
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
        let started = Instant::now();
        assert!(timed.read_exact(&mut byte).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 10, "the first head");
        let busy = starter.begin();
        assert!(tokio::time::timeout(IDLE * 2, timed.read_exact(&mut byte)).await.is_err(), "no deadline while busy");
        drop(busy);
        let started = Instant::now();
        assert!(timed.read_exact(&mut byte).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 300, "idle");
        // Over HTTP/2 nobody reads again when the answer was sent; the wait ends all the same.
        let (_client, server) = duplex(64);
        let (mut answered, answering) = Timed::new(server, HEAD, IDLE);
        let busy = answering.begin();
        let started = Instant::now();
        let answer = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(busy);
        };
        let (read, ()) = tokio::join!(answered.read_exact(&mut byte), answer);
        assert!(read.is_err());
        assert_eq!(started.elapsed().as_secs(), 400, "idle after an answer");
        client.write_all(b"G").await.unwrap();
        timed.read_exact(&mut byte).await.unwrap();
        starter.in_head(true);
        let started = Instant::now();
        assert!(timed.read_exact(&mut byte).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 10, "the rest of a head");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, server) = duplex(64);
        let (mut timed, starter) = Timed::new(server, HEAD, IDLE);
        let _busy = starter.begin();
        let started = Instant::now();
        assert!(timed.write_all(&[0; 1000]).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 300);
    }
}
