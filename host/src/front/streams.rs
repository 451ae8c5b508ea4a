//! HTTP/2 streams: each runs in a task of its own, and is ended when the client does not take what it is sent.
//!
//! A client holds a stream by its window (RFC 9113, section 5.2). The connection may be busy with others meanwhile, so no
//! deadline of the connection notices.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// Since when a stream's last frame waits for the client; none while the stream waits for something else.
#[derive(Clone, Default)]
pub(super) struct Stall(Rc<Cell<Option<Instant>>>);

impl Stall {
    /// Until a frame has waited for so long.
    async fn longer_than(&self, time: Duration) {
        loop {
            let now = Instant::now();
            match self.0.get() {
                Some(since) if since + time <= now => return,
                Some(since) => tokio::time::sleep_until(since + time).await,
                // Looked at now and then, which costs less than a word for each frame.
                None => tokio::time::sleep(time / 4).await,
            }
        }
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
        let (stall, time) = (self.next.take().unwrap_or_default(), self.time);
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = future => {}
                // Dropping the stream resets it.
                () = stall.longer_than(time) => tracing::debug!("a client does not take what it asked for"),
            }
        });
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
        assert!(tokio::time::timeout(time * 10, stall.longer_than(time)).await.is_err(), "a node may take its time");
        stall.0.set(Some(Instant::now()));
        let started = Instant::now();
        stall.longer_than(time).await;
        assert_eq!(started.elapsed(), time);
    }
}
