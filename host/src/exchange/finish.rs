//! The end of an exchange: a body that knows when it was sent, and the one access line.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::http::request::Parts;

use super::Ending;
use crate::back::NodeBody;
use crate::limits::{FlowPermit, Gate};
use crate::log::access::{Line, Log};
use crate::peer::Peer;
use crate::session::Session;

/// An answer's body.
pub struct Body {
    content: Content,
    finish: Option<Finish>,
}

enum Content {
    Whole(Full<Bytes>),
    Node(NodeBody),
}

/// Writes the access line when it is dropped: after the last byte, or when the client left.
pub(super) struct Finish {
    id: Arc<str>,
    /// The client's place, where a proxy names it: until the answer was sent.
    place: Option<Rc<FlowPermit>>,
    /// Boxed, since it goes with the answer wherever that goes.
    line: Option<Box<(Log, Line, Instant)>>,
}

/// Requests since the start; with the start's random part they make ids that no two processes share.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl Finish {
    /// Begins an exchange. A request that could not be read has neither method nor path.
    pub(super) fn begin(log: &Log, peer: &Arc<Peer>, head: Option<&Parts>, generation: u64) -> Self {
        let id = request_id(start_mark(), REQUESTS.fetch_add(1, Ordering::Relaxed));
        let line = log.on().then(|| {
            let line = Line {
                id: id.clone(),
                peer: peer.clone(),
                host: None,
                request: head.map(|head| (head.method.clone(), head.uri.clone())),
                status: 0,
                bytes: 0,
                took: Duration::ZERO,
                session: None,
                generation,
            };
            Box::new((log.clone(), line, Instant::now()))
        });
        Self { id, place: None, line }
    }

    /// The request id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The same, to keep.
    pub(super) fn id_shared(&self) -> Arc<str> {
        self.id.clone()
    }

    /// The client holds its place to the end of the exchange.
    pub(super) fn hold(&mut self, place: Rc<FlowPermit>) {
        self.place = Some(place);
    }

    /// The virtual host was found.
    pub(super) fn host(&mut self, host: &Arc<str>) {
        self.note(|line| line.host = Some(host.clone()));
    }

    /// The session was found.
    pub(super) fn session(&mut self, session: &Arc<Session>) {
        self.note(|line| line.session = Some(session.clone()));
    }

    /// So many bytes were sent after the answer's head.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.note(|line| line.bytes += bytes);
    }

    fn note(&mut self, note: impl FnOnce(&mut Line)) {
        if let Some(noted) = &mut self.line {
            note(&mut noted.1);
        }
    }

    /// Ties the line to the answer's body, or to the tunnel behind it.
    pub(super) fn end(mut self, ending: &mut Ending) {
        match ending {
            Ending::Answer(answer) | Ending::Http11Needed(answer) => {
                let status = answer.status().as_u16();
                self.note(|line| line.status = status);
                answer.body_mut().finish = Some(self);
            }
            Ending::Tunnel(head, tunnel) => {
                let status = head.status().as_u16();
                self.note(|line| line.status = status);
                tunnel.finish = Some(self);
            }
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some(noted) = self.line.take() {
            let (log, mut line, since) = *noted;
            line.took = since.elapsed();
            log.record(&line);
        }
    }
}

/// Sixteen hexadecimal digits: the process's mark, and the request's number. Written by hand, since every request has one.
fn request_id(mark: u32, number: u64) -> Arc<str> {
    let bytes = (u64::from(mark) << 32 | number & 0xffff_ffff).to_be_bytes();
    let half = |at: usize| if at.is_multiple_of(2) { bytes[at / 2] >> 4 } else { bytes[at / 2] & 15 };
    let digits: [u8; 16] = std::array::from_fn(|at| b"0123456789abcdef"[usize::from(half(at))]);
    Arc::from(std::str::from_utf8(&digits).unwrap_or_default())
}

/// A random number of this process, for request ids only.
fn start_mark() -> u32 {
    static MARK: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *MARK.get_or_init(|| getrandom::u32().unwrap_or_default())
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
        if let (Poll::Ready(Some(Ok(frame))), Some(finish)) = (&frame, &mut self.finish) {
            let size = frame.data_ref().map_or(0, |data| data.len() as u64);
            finish.sent(size);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_has_sixteen_digits() {
        assert_eq!(&*request_id(0xab, 0x1_0000_00ff), "000000ab000000ff");
        assert_eq!(&*request_id(u32::MAX, 1), "ffffffff00000001");
    }
}
