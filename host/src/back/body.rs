//! Bodies on their way to a node and back: what is sent, and the answer with all it holds.
//!
//! Invariants: dropping the answer drops the connection, and gives the place in the node's gate back; so does reading it to
//! its end, which does not wait for a slow client while there is memory for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::connect::Idle;
use super::headers::Lines;
use super::pinned::Owner;
use super::{Node, headers, http1};
use crate::ahead::Ahead;
use crate::limits::{Allowance, Gate, Permit};
use crate::upload::{Flow, Stop, Upload};

/// What is sent to a node.
pub enum Outgoing {
    /// Something of our own.
    Whole(Full<Bytes>),
    /// What the client sends, as it comes.
    Client(Upload),
}

impl Outgoing {
    /// No body.
    pub fn nothing() -> Self {
        Self::Whole(Full::default())
    }

    /// How it goes, if it depends on the client.
    pub(super) fn flow(&self) -> Option<Rc<Flow>> {
        match self {
            Self::Whole(_) => None,
            Self::Client(upload) => Some(upload.flow()),
        }
    }

    /// The same once more, if it can be had: nothing, or something of our own.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Whole(body) => Some(Self::Whole(body.clone())),
            Self::Client(upload) => upload.is_end_stream().then(Self::nothing),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Client(upload) => Pin::new(upload).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Client(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Client(upload) => upload.size_hint(),
        }
    }
}

/// A request to a node.
pub struct Outbound {
    /// The request. Its version is that of the connection it goes on.
    pub request: Request<Outgoing>,
    /// Its headers, where nobody needs a map of them: then there is none. They have no credentials, nor do they ask for
    /// another protocol: what these mean for the connection is looked for in the map.
    pub lines: Option<Lines>,
}

impl From<Request<Outgoing>> for Outbound {
    fn from(request: Request<Outgoing>) -> Self {
        Self { request, lines: None }
    }
}

/// The body of a node's answer on its way to the client.
pub struct NodeBody {
    /// What was read of it already, to look at it.
    pub(super) begun: Option<Box<Begun>>,
    /// What was read of it while the client was slow.
    ahead: Option<Box<ReadAhead>>,
    source: Source,
    held: Option<Held>,
    response_timeout: Duration,
    /// Since when nothing came.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The beginning of an answer.
pub(super) struct Begun(pub(super) VecDeque<Frame<Bytes>>);

/// What was read before the client took it.
struct ReadAhead {
    bytes: Ahead,
    /// Behind them.
    trailers: Option<Frame<Bytes>>,
}

/// Where an answer's body comes from.
pub(super) enum Source {
    /// A connection that has nothing else to do.
    Single(Box<http1::Exchange>),
    /// A stream of a connection that others have a part in.
    Shared(Incoming),
    /// It was read to its end.
    Ended,
    /// It broke off.
    Broken(Fault),
}

/// Why an answer broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the node's answer broke off")]
    Node,
    #[error("the node fell silent in the middle of its answer")]
    Silence,
}

/// What an answer holds until its end.
pub(super) struct Held {
    /// The node is sent no more of a request than it waited for.
    pub(super) _upload: Option<Stop>,
    pub(super) idle: Rc<Idle>,
    pub(super) node: Arc<Node>,
    /// Who may go on with the connection, if the node authenticated it.
    pub(super) owner: Option<Owner>,
    pub(super) permit: Permit,
    pub(super) allowance: Rc<Allowance>,
}

impl NodeBody {
    /// An answer of which the head was read.
    pub(super) fn new(source: Source, held: Held, response_timeout: Duration) -> Self {
        let held = Some(held);
        let mut body = Self { begun: None, ahead: None, source, held, response_timeout, waiting: None, timer: None };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The answer was read to its end: the connection may be used again, if the request was sent to its end as well.
    /// Where the node answered without waiting for that, nobody knows how it reads what comes later.
    fn finish(&mut self) {
        let source = std::mem::replace(&mut self.source, Source::Ended);
        if let (Some(held), Source::Single(exchange)) = (self.held.take(), source)
            && let Some(connection) = exchange.end()
        {
            held.idle.put(&held.node, connection, held.owner);
        }
    }

    /// Reads on, though the client does not take it yet: so the node is done sooner, and its place is for others.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        let Some(held) = &self.held else { return };
        let fresh = || {
            let bytes = Ahead::new(held.allowance.clone(), self.source.size_hint().exact())?;
            Some(Box::new(ReadAhead { bytes, trailers: None }))
        };
        let Some(mut ahead) = self.ahead.take().or_else(fresh) else { return };
        while self.held.is_some() && ahead.bytes.has_room() {
            match self.poll_source(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => ahead.bytes.put(&data),
                    Err(trailers) => ahead.trailers = Some(trailers),
                },
                // An error is met again by whoever takes what came before it.
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => break,
            }
        }
        ahead.bytes.settle();
        self.ahead = Some(ahead);
    }

    /// Whether it broke off since the node sent nothing for too long.
    pub fn fell_silent(&self) -> bool {
        matches!(self.source, Source::Broken(Fault::Silence))
    }

    /// The gate of which it takes a place.
    pub fn place(&self) -> Option<&Gate> {
        self.held.as_ref().map(|held| held.permit.gate())
    }

    /// What was read of it before.
    fn take_ahead(&mut self) -> Option<Frame<Bytes>> {
        if let Some(begun) = &mut self.begun {
            let frame = begun.0.pop_front();
            self.begun = self.begun.take().filter(|begun| !begun.0.is_empty());
            return frame;
        }
        let ahead = self.ahead.as_mut()?;
        let frame = ahead.bytes.take().map(Frame::data).or_else(|| ahead.trailers.take());
        if ahead.bytes.is_empty() && ahead.trailers.is_none() {
            self.ahead = None;
        }
        frame
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, <Self as Body>::Error>>> {
        let broken = match self.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.waiting = None;
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                }
                if self.source.is_done() {
                    self.finish();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                self.finish();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => (Fault::Node, error),
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                (Fault::Silence, Fault::Silence.into())
            }
        };
        let (fault, error) = broken;
        // Who comes later hears of it too.
        let fault = if let Source::Broken(before) = self.source { before } else { fault };
        (self.source, self.held) = (Source::Broken(fault), None);
        Poll::Ready(Some(Err(error)))
    }

    /// Whether the node has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.response_timeout;
        // The timer goes on through all waits, and is set anew when it goes off.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, <NodeBody as Body>::Error>>> {
        match self {
            Self::Single(exchange) => exchange.poll_frame(cx).map_err(Into::into),
            Self::Shared(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Ended => Poll::Ready(None),
            Self::Broken(fault) => Poll::Ready(Some(Err((*fault).into()))),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Single(exchange) => exchange.is_done(),
            Self::Shared(body) => body.is_end_stream(),
            Self::Ended => true,
            Self::Broken(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Single(exchange) => exchange.size_hint(),
            Self::Shared(body) => body.size_hint(),
            Self::Ended => SizeHint::with_exact(0),
            Self::Broken(_) => SizeHint::default(),
        }
    }
}

impl Body for NodeBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.take_ahead() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_source(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_none() && self.ahead.is_none() && self.source.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let begun: usize =
            self.begun.iter().flat_map(|begun| &begun.0).filter_map(Frame::data_ref).map(Bytes::len).sum();
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.bytes.len());
        let (begun, left) = (begun as u64 + ahead, self.source.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower().saturating_add(begun));
        if let Some(upper) = left.upper() {
            hint.set_upper(upper.saturating_add(begun));
        }
        hint
    }
}
