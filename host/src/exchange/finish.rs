//! The end of an exchange: a body that knows what became of it, and the one record of what the exchange was.

use std::cell::OnceCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::Full;
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::http::request::Parts;

use super::Ending;
use crate::back::{NodeBody, Times};
use crate::limits::{FlowPermit, Gate};
use crate::log::access::{Ended, Line};
use crate::peer::Peer;
use crate::request_id::RequestId;
use crate::session::Session;
use crate::snapshot::Site;
use crate::traces::{self, Trace};
use crate::upload::Flow;
use crate::worker::Worker;

/// An answer's body.
pub struct Body {
    content: Content,
    finish: Option<Finish>,
}

enum Content {
    Whole(Full<Bytes>),
    Node(NodeBody),
}

/// Hands over what the exchange was when it is dropped: after the last byte, or when the client left.
pub(super) struct Finish {
    /// Boxed, since it goes with the answer wherever that goes.
    record: Box<Record>,
}

/// An exchange that is under way.
struct Record {
    /// Its worker, with all that wants to know how it ends.
    worker: Rc<Worker>,
    /// The client's place, where a proxy names it: until the answer was sent.
    place: Option<Rc<FlowPermit>>,
    line: Line,
    since: Instant,
    times: Times,
    /// The client's body.
    flow: OnceCell<Rc<Flow>>,
    /// How it ended, once somebody knows.
    ended: Option<Ended>,
    trace: Option<Rc<Trace>>,
}

impl Finish {
    /// Begins an exchange. A request that could not be read has no head.
    pub(super) fn begin(worker: &Rc<Worker>, peer: &Arc<Peer>, head: Option<&Arc<Parts>>, generation: u64) -> Self {
        let record = Record {
            worker: worker.clone(),
            place: None,
            line: Line::begin(peer, head, generation),
            since: Instant::now(),
            times: Times::default(),
            flow: OnceCell::new(),
            ended: None,
            trace: None,
        };
        Self { record: Box::new(record) }
    }

    /// Its steps are noted down; `trusted` are the headers where a trusted proxy sent them.
    pub(super) fn trace(&mut self, trusted: Option<&HeaderMap>, settings: &traces::Settings) -> Rc<Trace> {
        self.record.trace.insert(Trace::begin(self.record.since, trusted, settings)).clone()
    }

    /// What nodes are told of the trace.
    pub(super) fn context(&self) -> Option<&traces::Context> {
        self.record.trace.as_deref().map(Trace::context)
    }

    /// The request id, as it is written.
    pub(super) fn id(&self) -> &str {
        self.record.line.id.as_str()
    }

    /// The same, to keep.
    pub(super) fn request_id(&self) -> RequestId {
        self.record.line.id
    }

    /// The client holds its place to the end of the exchange.
    pub(super) fn hold(&mut self, place: Rc<FlowPermit>) {
        self.record.place = Some(place);
    }

    /// The host was found.
    pub(super) fn host(&mut self, host: &Arc<str>) {
        self.record.line.host = Some(host.clone());
    }

    /// The virtual host was found.
    pub(super) fn site(&mut self, site: &Site) {
        self.record.line.site = Some(site.name.clone());
        self.record.line.site_number = Some(site.number);
    }

    /// Nobody wants to read of it.
    pub(super) fn quiet(&mut self) {
        self.record.line.quiet = true;
    }

    /// The session was found.
    pub(super) fn session(&mut self, session: &Arc<Session>) {
        self.record.line.session = Some(session.clone());
    }

    /// The client sends a body.
    pub(super) fn receives(&self, flow: Rc<Flow>) {
        // A request has one body.
        let _ = self.record.flow.set(flow);
    }

    /// Where it is told how long was waited for the node.
    pub(super) fn times(&self) -> &Times {
        &self.record.times
    }

    /// So many bytes were sent after the answer's head.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.record.line.sent += bytes;
    }

    /// So many bytes of the client went through a tunnel.
    pub(super) fn received(&mut self, bytes: u64) {
        self.record.line.received += bytes;
    }

    /// It ended so. Whoever knows it first is right.
    pub(super) fn ends(&mut self, ended: Ended) {
        self.record.ended.get_or_insert(ended);
    }

    /// Ties the record to the answer's body, or to the tunnel behind it.
    pub(super) fn end(mut self, ending: &mut Ending) {
        match ending {
            Ending::Answer(answer) | Ending::Http11Needed(answer) => {
                self.record.line.status = answer.status().as_u16();
                answer.body_mut().finish = Some(self);
            }
            Ending::Tunnel(head, tunnel) => {
                self.record.line.status = head.status().as_u16();
                // It may last for hours.
                self.record.line.keep_little();
                tunnel.finish = Some(self);
            }
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let Record { worker, line, since, times, flow, ended, trace, .. } = &mut *self.record;
        line.took = since.elapsed();
        line.queue = times.queue();
        line.first_byte = times.first_byte();
        line.received += flow.get().map_or(0, |flow| flow.received());
        // What nobody ended was dropped: the client left, unless all that was left was dropped.
        let dropped = || if worker.shared.state.gave_up() { Ended::Drain } else { Ended::Client };
        line.ended = ended.unwrap_or_else(dropped);
        worker.shared.exchange_ended(line);
        if let Some(trace) = trace {
            worker.shared.trace_ended(trace, line);
        }
    }
}

impl Body {
    /// Bytes of our own.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Full::new(bytes.into())), finish: None }
    }

    /// A node's answer.
    pub fn node(body: NodeBody) -> Self {
        Self { content: Content::Node(body), finish: None }
    }

    /// Reads on, though the client does not take it yet.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Content::Node(body) = &mut self.content {
            body.poll_ahead(cx);
        }
    }

    /// What becomes of the exchange, once somebody knows.
    pub fn ends(&mut self, ended: Ended) {
        if let Some(finish) = &mut self.finish {
            finish.ends(ended);
        }
    }

    /// The gate of which it takes a place.
    pub fn place(&self) -> Option<&Gate> {
        match &self.content {
            Content::Node(body) => body.place(),
            Content::Whole(_) => None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match &mut self.content {
            Content::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Content::Node(body) => Pin::new(body).poll_frame(cx),
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(finish) = &mut self.finish {
                    finish.sent(size);
                }
            }
            Poll::Ready(Some(Err(_))) => {
                let silent = matches!(&self.content, Content::Node(body) if body.fell_silent());
                self.ends(if silent { Ended::Timeout } else { Ended::Node });
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(body) => body.is_end_stream(),
            Content::Node(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(body) => body.size_hint(),
            Content::Node(body) => body.size_hint(),
        }
    }
}
