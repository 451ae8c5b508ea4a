//! Bodies on their way to a node and back: what is sent, and the answer with all it holds.
//!
//! Invariant: dropping the answer drops the connection, and gives the place in the node's gate back.

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
use super::tunnel::Tunnel;
use super::{Node, headers, http1};
use crate::limits::Permit;
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

/// A node's answer on its way to the client.
pub struct NodeBody {
    /// What was read of it already, to look at it.
    pub(super) begun: VecDeque<Frame<Bytes>>,
    source: Source,
    held: Option<Held>,
    /// Whether the answer agrees to another protocol.
    upgraded: bool,
    silence: Duration,
    /// Since when nothing came.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
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
    Broken,
}

/// What an answer holds until its end.
pub(super) struct Held {
    /// The node is sent no more of a request than it waited for.
    pub(super) _upload: Option<Stop>,
    pub(super) idle: Rc<Idle>,
    pub(super) node: Arc<Node>,
    /// Who may go on with the connection, if the node authenticated it.
    pub(super) owner: Option<Owner>,
    pub(super) _permit: Permit,
}

impl NodeBody {
    /// An answer of which the head was read.
    pub(super) fn new(source: Source, held: Held, silence: Duration, upgraded: bool) -> Self {
        let begun = VecDeque::new();
        let mut body = Self { begun, source, held: Some(held), upgraded, silence, waiting: None, timer: None };
        if body.is_end_stream() && !upgraded {
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

    /// The tunnel, when this is the answer that agreed to one.
    pub fn into_tunnel(mut self) -> Option<Tunnel> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Single(exchange) if self.upgraded => {
                let (line, read) = exchange.into_parts();
                Some(Tunnel { line, read, _held: self.held.take() })
            }
            _ => None,
        }
    }

    /// Whether the node has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.silence;
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
            Self::Broken => Poll::Ready(Some(Err("the node's answer broke off".into()))),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Single(exchange) => exchange.is_done(),
            Self::Shared(body) => body.is_end_stream(),
            Self::Ended => true,
            Self::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Single(exchange) => exchange.size_hint(),
            Self::Shared(body) => body.size_hint(),
            Self::Ended => SizeHint::with_exact(0),
            Self::Broken => SizeHint::default(),
        }
    }
}

impl Body for NodeBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(frame) = self.begun.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
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
            Poll::Ready(Some(Err(error))) => error,
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                "the node fell silent in the middle of its answer".into()
            }
        };
        (self.source, self.held) = (Source::Broken, None);
        Poll::Ready(Some(Err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.source.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let begun: usize = self.begun.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let (begun, left) = (begun as u64, self.source.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower().saturating_add(begun));
        if let Some(upper) = left.upper() {
            hint.set_upper(upper.saturating_add(begun));
        }
        hint
    }
}
