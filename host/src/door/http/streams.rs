//! HTTP/2 streams: each runs in a task of its own, and is ended when the client does not take what it is sent.
//!
//! A client holds a stream by its window (RFC 9113, section 5.2). The connection may be busy with others meanwhile, so no
//! deadline of the connection notices. hyper asks for the next frame of a body only when there is room in the window; until
//! then the stream's task reads ahead.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use super::timed::BusyBody;
use crate::exchange::Body;
use crate::limits::{Demand, Progress};
use crate::log::access::Ended;

/// A stream's body, and whether the client is waited for. None as long as there is no answer.
#[derive(Clone, Default)]
pub(super) struct Stall(Rc<Stream>);

#[derive(Default)]
struct Stream {
    body: RefCell<Option<BusyBody<Body>>>,
    /// A frame waits, or the first is not asked for; not so while the stream waits for something else.
    waits: Cell<bool>,
    progress: RefCell<Progress>,
}

/// A stream being answered. It has a timer only while a frame waits.
struct Running<F> {
    stream: Pin<Box<F>>,
    stall: Stall,
    demand: Demand,
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Stream { body, waits, progress } = &*this.stall.0;
        if !waits.get() {
            return Poll::Pending;
        }
        let (mut body, mut progress) = (body.borrow_mut(), progress.borrow_mut());
        let place = body.as_mut().and_then(|body| body.inner().place());
        if progress.poll_overdue(&this.demand, place, cx).is_ready() {
            // Ending the stream resets it.
            tracing::debug!("a client does not take what it asked for");
            if let Some(body) = body.as_mut() {
                body.inner().ends(Ended::Timeout);
            }
            return Poll::Ready(());
        }
        if progress.is_slow()
            && let Some(body) = body.as_mut()
        {
            body.inner().poll_ahead(cx);
        }
        Poll::Pending
    }
}

/// Runs streams on this worker. hyper hands a stream over right after it has called the service for it, which leaves the
/// stream's [`Stall`] here.
#[derive(Clone)]
pub(super) struct Streams {
    next: Rc<Cell<Option<Stall>>>,
    demand: Demand,
}

impl Streams {
    /// Streams whose clients have to take what they are sent.
    pub(super) fn new(demand: Demand) -> Self {
        Self { next: Rc::default(), demand }
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
        tokio::task::spawn_local(Running { stream: Box::pin(future), stall, demand: self.demand });
    }
}

/// The body of a stream, which tells when its frames wait.
pub(super) struct StreamBody(Stall);

impl StreamBody {
    /// The body of a stream.
    pub(super) fn new(body: BusyBody<Body>, stall: Stall) -> Self {
        stall.0.waits.set(!body.is_end_stream());
        *stall.0.body.borrow_mut() = Some(body);
        Self(stall)
    }
}

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Stream { body, waits, progress } = &*self.0.0;
        let frame = body.borrow_mut().as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx));
        let length = match &frame {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        // Who asks has room: what comes now is no wait for the client.
        progress.borrow_mut().moves(length);
        waits.set(matches!(frame, Poll::Ready(Some(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.0.body.borrow().as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.0.body.borrow().as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for StreamBody {
    /// Who sends the stream is done with it, or gone: what it holds goes, and its being busy.
    fn drop(&mut self) {
        self.0.0.waits.set(false);
        let Some(mut body) = self.0.0.body.borrow_mut().take() else { return };
        if body.is_end_stream() {
            body.inner().ends(Ended::Whole);
        } else if body.timed_out() {
            body.inner().ends(Ended::Timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_frame_that_waits_is_a_stall() {
        let time = Duration::from_secs(300);
        let stall = Stall::default();
        let node = stall.clone();
        let moves = move |waits: bool| {
            node.0.progress.borrow_mut().moves(0);
            node.0.waits.set(waits);
        };
        // The node takes its time twice, and then there is a frame that nobody takes.
        let stream = Box::pin(async move {
            tokio::time::sleep(time * 10).await;
            moves(true);
            tokio::time::sleep(time / 2).await;
            moves(false);
            tokio::time::sleep(time * 10).await;
            moves(true);
            std::future::pending().await
        });
        let started = Instant::now();
        let demand = Demand { allowance: time, rate: 0, scarce_rate: 0 };
        Running { stream, stall, demand }.await;
        assert_eq!(started.elapsed(), time * 43 / 2);
    }
}
