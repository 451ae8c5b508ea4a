//! A client's body on its way in: counted against its limit, under deadlines, and knowing whose fault it is when it ends
//! too early.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Instant;

use crate::ahead::Ahead;
use crate::limits::{Allowance, Demand, Gate, Progress};
use crate::reply::Refusal;

/// A client's body as it comes, by either version of HTTP.
pub enum Incoming {
    /// None.
    Empty,
    /// The body of a connection's request of this number.
    Http1(Rc<dyn Source>, u64),
    /// A stream of an HTTP/2 connection, and the last piece of its body, which is whole only when the stream ends well:
    /// trailers may follow, and be wrong.
    Http2(hyper::body::Incoming, Option<Bytes>),
}

/// An HTTP/1.1 connection, as the bodies of its requests are read from it. A request that is not the present one has
/// nothing any more.
pub trait Source {
    /// The next piece of a request's body.
    fn poll_frame(&self, number: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>>;
    /// How much of it is left.
    fn size_hint(&self, number: u64) -> SizeHint;
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(source, number) => source.poll_frame(*number, cx),
            Self::Http2(body, last) => poll_http2(body, last, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(source, number) => source.size_hint(*number).exact() == Some(0),
            Self::Http2(body, last) => last.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(source, number) => source.size_hint(*number),
            Self::Http2(_, Some(last)) => SizeHint::with_exact(last.len() as u64),
            Self::Http2(body, None) => body.size_hint(),
        }
    }
}

/// Holds the piece back with which a `Content-Length` is reached, until the stream has ended: whoever gets that piece takes
/// the request for whole.
fn poll_http2(
    body: &mut hyper::body::Incoming,
    last: &mut Option<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
    loop {
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                *last = None;
                return Poll::Ready(Some(Err(Cut)));
            }
            None => return Poll::Ready(last.take().map(|last| Ok(Frame::data(last)))),
        };
        let Ok(data) = frame.into_data() else {
            // Trailers: they end here.
            return Poll::Ready(last.take().map(|last| Ok(Frame::data(last))));
        };
        if body.is_end_stream() || body.size_hint().exact() != Some(0) {
            return Poll::Ready(Some(Ok(Frame::data(last.take().unwrap_or(data)))));
        }
        last.get_or_insert(data);
    }
}

/// A limit of the configuration: its key, and how many bytes it allows.
pub type Limit = (&'static str, u64);

/// What a body must keep to.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How large it may be.
    pub limit: Limit,
    /// How long the client may send nothing of it.
    pub timeout: Duration,
    /// Bytes a second that it must have on the whole, beyond one `timeout`; 0 is any.
    pub min_rate: u64,
    /// The same while it takes a place at a node that others wait for.
    pub scarce_min_rate: u64,
}

/// How a body goes, for those who wait for what comes of it.
#[derive(Debug)]
pub struct Flow {
    last: Cell<Instant>,
    received: Cell<u64>,
    stopped: Cell<bool>,
    fault: RefCell<Option<Refusal>>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            last: Cell::new(Instant::now()),
            received: Cell::default(),
            stopped: Cell::new(false),
            fault: RefCell::default(),
            waker: RefCell::default(),
        }
    }
}

impl Flow {
    /// When its last bytes moved.
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// Bytes that came of it.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    fn touch(&self) {
        self.last.set(Instant::now());
    }

    /// Why the client is to blame that it ended, if it is.
    pub fn fault(&self) -> Option<Refusal> {
        self.fault.borrow().clone()
    }

    /// Nobody wants the rest: what there is was answered.
    pub fn stop(&self) {
        self.stopped.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The rest of a body that nobody wants is not read.
#[derive(Debug)]
pub struct Stop(pub Rc<Flow>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Why a body ends before its end. Whose fault it is stands in its [`Flow`].
#[derive(Debug, thiserror::Error)]
#[error("the client's body ends early")]
pub struct Cut;

/// A client's body.
pub struct Upload<B = Incoming> {
    body: B,
    rules: Rules,
    progress: Progress,
    /// What was read before the node could have it.
    ahead: Option<Box<Ahead>>,
    /// The gate of which its request takes a place.
    place: Option<Gate>,
    flow: Rc<Flow>,
}

impl<B: Body<Data = Bytes> + Unpin> Upload<B> {
    /// A body that keeps to rules.
    pub fn new(body: B, rules: Rules) -> Self {
        let (progress, flow) = (Progress::default(), Rc::default());
        Self { body, rules, progress, ahead: None, place: None, flow }
    }

    /// How it goes.
    pub fn flow(&self) -> Rc<Flow> {
        self.flow.clone()
    }

    /// Reads as much of it as may be kept, so that no place at a node is taken while it comes slowly.
    ///
    /// # Errors
    /// It broke a rule, or the client stopped sending.
    pub async fn read_ahead(&mut self, allowance: &Rc<Allowance>) -> Result<(), Refusal> {
        let Some(ahead) = Ahead::new(allowance.clone(), self.body.size_hint().exact()) else { return Ok(()) };
        let mut ahead = Box::new(ahead);
        while !self.body.is_end_stream() && ahead.has_room() {
            let Some(frame) = self.frame().await else { break };
            let frame = frame.map_err(|_| self.flow.fault().unwrap_or(Refusal::Internal))?;
            ahead.put(frame.data_ref().map_or(&[], |data| &data[..]));
        }
        ahead.settle();
        self.ahead = (!ahead.is_empty()).then_some(ahead);
        Ok(())
    }

    /// Its request takes a place from now on. How fast it comes is counted anew, since others may wait for the place.
    pub fn takes_place(&mut self, gate: &Gate) {
        self.place = Some(gate.clone());
        self.progress.restart();
    }

    /// Reads the rest of the body without keeping it, at most `limit` bytes of it, and for no longer than a client may be
    /// silent.
    pub async fn drain(mut self, limit: u64) {
        self.rules.limit.1 = limit;
        let time = self.rules.timeout;
        let _ = tokio::time::timeout(time, async { while let Some(Ok(_)) = self.frame().await {} }).await;
    }

    /// All of it.
    ///
    /// # Errors
    /// It broke a rule, or the client stopped sending.
    pub async fn whole(mut self) -> Result<Vec<u8>, Refusal> {
        let mut whole = Vec::new();
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|_| self.flow.fault().unwrap_or(Refusal::Internal))?;
            if let Some(data) = frame.data_ref() {
                whole.extend_from_slice(data);
            }
        }
        Ok(whole)
    }

    fn cut(&self, fault: Refusal) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        *self.flow.fault.borrow_mut() = Some(fault);
        Poll::Ready(Some(Err(Cut)))
    }

    /// Whether what came, and what is known to come, is more than there may be.
    fn is_too_large(&self) -> bool {
        self.flow.received().saturating_add(self.body.size_hint().lower()) > self.rules.limit.1
    }

    fn cut_as_too_large(&self) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let (name, bytes) = self.rules.limit;
        self.cut(Refusal::BodyTooLarge(name, bytes))
    }

    /// Whether the client has had its time. What it waits for others does not count.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Rules { timeout: allowance, min_rate: rate, scarce_min_rate: scarce_rate, .. } = self.rules;
        self.progress.poll_overdue(&Demand { allowance, rate, scarce_rate }, self.place.as_ref(), cx)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Upload<B> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.flow.stopped.get() {
            return Poll::Ready(Some(Err(Cut)));
        }
        if let Some(data) = this.ahead.as_mut().and_then(|ahead| ahead.take()) {
            this.ahead = this.ahead.take().filter(|ahead| !ahead.is_empty());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => {
                // A chunk that cannot be taken need not come.
                if this.is_too_large() {
                    return this.cut_as_too_large();
                }
                *this.flow.waker.borrow_mut() = Some(cx.waker().clone());
                ready!(this.poll_deadline(cx));
                return this.cut(Refusal::ClientTimeout);
            }
            Poll::Ready(frame) => frame,
        };
        this.flow.touch();
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return this.cut(Refusal::BadRequest("its body is broken or ends early")),
            None => return Poll::Ready(None),
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        this.progress.moves(length);
        this.flow.received.set(this.flow.received() + length);
        if this.is_too_large() {
            return this.cut_as_too_large();
        }
        // Trailers end here: what they mean was not agreed on with the node (RFC 9110, section 6.5.1).
        if frame.is_trailers() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (ahead, left) = (self.ahead.as_ref().map_or(0, |ahead| ahead.len()), self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower().saturating_add(ahead));
        if let Some(upper) = left.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Sleep;

    use super::*;

    /// Bytes that come one by one, with a pause before each.
    struct Drip(Pin<Box<Sleep>>, Duration);

    impl Body for Drip {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            let this = self.get_mut();
            ready!(this.0.as_mut().poll(cx));
            this.0.as_mut().reset(Instant::now() + this.1);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
        }
    }

    fn drip(pause: u64, limit: u64, min_rate: u64) -> Upload<Drip> {
        let pause = Duration::from_secs(pause);
        let rules =
            Rules { limit: ("body-max-size", limit), timeout: Duration::from_secs(30), min_rate, scarce_min_rate: 0 };
        Upload::new(Drip(Box::pin(tokio::time::sleep(pause)), pause), rules)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_must_send_something_and_enough_of_it() {
        let check = async |pause, limit, rate, refusal: Refusal, seconds: u64| {
            let started = Instant::now();
            assert_eq!(drip(pause, limit, rate).whole().await.unwrap_err(), refusal);
            assert_eq!(started.elapsed().as_secs(), seconds, "{refusal:?}");
        };
        check(31, 1000, 0, Refusal::ClientTimeout, 30).await;
        // Ten bytes each 10 s are 1 byte/s: after 30 s, 10 bytes/s have earned it 2 s more, and then another.
        check(10, 1000, 10, Refusal::ClientTimeout, 33).await;
        check(10, 50, 1, Refusal::BodyTooLarge("body-max-size", 50), 60).await;
        check(29, 100, 0, Refusal::BodyTooLarge("body-max-size", 100), 29 * 11).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_client_waits_for_others_does_not_count() {
        let mut upload = drip(1, 10_000, 100);
        for _ in 0..20 {
            assert!(upload.frame().await.unwrap().is_ok());
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_wants_is_stopped() {
        let mut upload = drip(29, 1000, 0);
        let flow = upload.flow();
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(Stop(flow.clone()));
        };
        let started = Instant::now();
        let (frame, ()) = tokio::join!(upload.frame(), stop);
        assert!(frame.unwrap().is_err() && flow.fault().is_none());
        assert_eq!(started.elapsed().as_secs(), 1);
    }
}
