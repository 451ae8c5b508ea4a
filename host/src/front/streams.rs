//! HTTP/2 streams: each runs in a task of its own, and is ended when the client does not take what it is sent.
//!
//! A client holds a stream by its window (RFC 9113, section 5.2). The connection may be busy with others meanwhile, so no
//! deadline of the connection notices.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Since when a stream's last frame waits for the client; none while the stream waits for something else.
#[derive(Clone, Default)]
pub(super) struct Stall(Rc<Cell<Option<Instant>>>);

/// A stream being answered. It has a timer only while a frame waits.
struct Running<F> {
    stream: Pin<Box<F>>,
    stall: Stall,
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = this.stall.0.get() else {
            this.timer = None;
            return Poll::Pending;
        };
        let deadline = since + this.time;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        // Ending the stream resets it.
        tracing::debug!("a client does not take what it asked for");
        Poll::Ready(())
    }
}

/// Runs streams on this worker. hyper hands a stream over right after it has called the service for it, which leaves the
/// stream's [`Stall`] here.
#[derive(Clone)]
pub(super) struct Streams {
    next: Rc<Cell<Option<Stall>>>,
    time: Duration,
}

impl Streams {
    /// Streams whose frames may wait for so long.
    pub(super) fn new(time: Duration) -> Self {
        Self { next: Rc::default(), time }
    }

    /// A stream begins.
    pub(super) fn begin(&self) -> Stall {
        let stall = Stall::default();
        self.next.set(Some(stall.clone()));
        stall
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        let stall = self.next.take().unwrap_or_default();
        tokio::task::spawn_local(Running { stream: Box::pin(future), stall, time: self.time, timer: None });
    }
}

/// A body that tells when its frames wait.
pub(super) struct StreamBody<B> {
    body: B,
    stall: Stall,
}

impl<B> StreamBody<B> {
    /// The body of a stream.
    pub(super) fn new(body: B, stall: Stall) -> Self {
        Self { body, stall }
    }
}

impl<B: Body + Unpin> Body for StreamBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let waits = matches!(frame, Poll::Ready(Some(_)));
        self.stall.0.set(waits.then(Instant::now));
        frame
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_frame_that_waits_is_a_stall() {
        let time = Duration::from_secs(300);
        let stall = Stall::default();
        let node = stall.clone();
        // The node takes its time twice, and then there is a frame that nobody takes.
        let stream = Box::pin(async move {
            tokio::time::sleep(time * 10).await;
            node.0.set(Some(Instant::now()));
            tokio::time::sleep(time / 2).await;
            node.0.set(None);
            tokio::time::sleep(time * 10).await;
            node.0.set(Some(Instant::now()));
            std::future::pending().await
        });
        let started = Instant::now();
        Running { stream, stall, time, timer: None }.await;
        assert_eq!(started.elapsed(), time * 43 / 2);
    }
}
