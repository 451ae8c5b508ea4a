//! Sends a request to a node and streams both ways. The one place where bodies of client and node meet.
//!
//! Invariants: a connection is kept only after the request was sent and its answer read, both to the end; dropping the
//! answer drops the connection and gives the place in the node's gate back. A request is sent twice only where that
//! cannot be seen: nothing of it was sent, or it is idempotent and has no body (RFC 9110, section 9.2.2).

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Method, Request, Response, header};
use tokio::time::Sleep;

use super::Node;
use super::connect::{self, Connection, Idle};
use crate::limits::{Permit, Shut};
use crate::peer::Peer;
use crate::reply::Refusal;

/// What is sent to a node.
pub enum Outgoing {
    /// Something of our own.
    Whole(Full<Bytes>),
    /// What the client sends, as it comes.
    Client(Limited),
}

/// A client's body, counted against its limit.
pub struct Limited {
    body: Incoming,
    left: u64,
    limit: Limit,
    progress: Progress,
}

/// A limit of the configuration: its key, and how many bytes it allows.
pub type Limit = (&'static str, u64);

/// How far the request's body got: shared by the two directions of an exchange.
#[derive(Clone, Default)]
struct Progress(Rc<Moved>);

struct Moved {
    /// When the last byte moved.
    last: Cell<Instant>,
    /// Whether all of it is on its way to the node.
    sent: Cell<bool>,
    /// What the client did wrong with it.
    fault: Cell<Option<ClientFault>>,
}

/// What ends a body before its end, and is not the node's fault.
#[derive(Clone, Copy)]
enum ClientFault {
    TooLarge(Limit),
    Broken,
}

impl Default for Moved {
    fn default() -> Self {
        Self { last: Cell::new(Instant::now()), sent: Cell::new(true), fault: Cell::new(None) }
    }
}

/// How long a body that is read here may take: a form is a few hundred bytes.
const FORM_TIME: Duration = Duration::from_secs(30);

/// The client sent more than the limit.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than allowed")]
pub(super) struct TooLarge;

impl Limited {
    /// A client's body within a limit.
    pub fn new(body: Incoming, limit: Limit) -> Self {
        let progress = Progress::default();
        progress.0.sent.set(body.is_end_stream());
        Self { body, left: limit.1, limit, progress }
    }

    /// Reads the rest of the body without keeping it, at most `limit` bytes of it, and no longer than a person waits.
    pub async fn drain(self, limit: u64) {
        let _ = tokio::time::timeout(FORM_TIME, self.drop_frames(limit)).await;
    }

    async fn drop_frames(mut self, mut limit: u64) {
        while let Some(Ok(frame)) = self.body.frame().await {
            let size = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(left) = limit.checked_sub(size) else { return };
            limit = left;
        }
    }

    /// The whole body, when it is within its limit.
    ///
    /// # Errors
    /// It is too large, or the client stopped sending.
    pub async fn whole(self) -> Result<Vec<u8>, Refusal> {
        let late = |_| Refusal::BadRequest("its body took too long");
        tokio::time::timeout(FORM_TIME, self.collect()).await.map_err(late)?
    }

    async fn collect(mut self) -> Result<Vec<u8>, Refusal> {
        let mut whole = Vec::new();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|_| Refusal::BadRequest("the body ended early"))?;
            if let Some(data) = frame.data_ref() {
                if (whole.len() + data.len()) as u64 > self.limit.1 {
                    return Err(Refusal::BodyTooLarge(self.limit.0, self.limit.1));
                }
                whole.extend_from_slice(data);
            }
        }
        Ok(whole)
    }
}

impl Outgoing {
    /// No body.
    fn nothing() -> Self {
        Self::Whole(Full::default())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Client(client) => {
                let frame = match ready!(Pin::new(&mut client.body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    Some(Err(error)) => {
                        client.progress.0.fault.set(Some(ClientFault::Broken));
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    None => {
                        client.progress.0.sent.set(true);
                        return Poll::Ready(None);
                    }
                };
                client.progress.0.last.set(Instant::now());
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                match client.left.checked_sub(size) {
                    Some(left) => client.left = left,
                    None => {
                        client.progress.0.fault.set(Some(ClientFault::TooLarge(client.limit)));
                        return Poll::Ready(Some(Err(TooLarge.into())));
                    }
                }
                client.progress.0.sent.set(frame.is_trailers() || client.body.is_end_stream());
                // Trailers end here: what they mean was not agreed on with the node.
                if frame.is_trailers() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(frame))) }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Client(client) => client.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Client(client) => client.body.size_hint(),
        }
    }
}

/// A node's answer on its way to the client, with all it holds: the place in the gate, and the connection.
pub struct NodeBody {
    body: Incoming,
    held: Option<Held>,
    silence: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

struct Held {
    connection: Connection,
    idle: Rc<Idle>,
    node: Arc<Node>,
    progress: Progress,
    _permit: Permit,
}

impl NodeBody {
    /// The answer was read to its end: the connection may be used again, unless the node answered before it had all
    /// of the request.
    fn finish(&mut self) {
        if let Some(held) = self.held.take()
            && held.progress.0.sent.get()
        {
            held.idle.put(&held.node, held.connection);
        }
    }
}

impl Body for NodeBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                if self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.held = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => {
                let silence = self.silence;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
                ready!(timer.as_mut().poll(cx));
                self.held = None;
                Poll::Ready(Some(Err("the node fell silent in the middle of its answer".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whose request goes where, and by whose connections.
#[derive(Clone, Copy)]
pub struct Hop<'a> {
    /// The node.
    pub node: &'a Arc<Node>,
    /// The worker's connections.
    pub idle: &'a Rc<Idle>,
    /// The client.
    pub peer: &'a Peer,
}

/// Sends a request through the node's gate and gives its answer back as it comes. `write` writes the request around a
/// body: once, and once more if it is tried again.
///
/// # Errors
/// The queue, the connection, the node's silence, or the client's too large body.
pub async fn forward(
    hop: Hop<'_>,
    body: Outgoing,
    write: impl Fn(Outgoing) -> Result<Request<Outgoing>, Refusal>,
) -> Result<Response<NodeBody>, Refusal> {
    let node = hop.node;
    let progress = match &body {
        Outgoing::Client(client) => client.progress.clone(),
        Outgoing::Whole(_) => Progress::default(),
    };
    let bodiless = body.is_end_stream();
    let write = |body| write(body).map(|request| if node.config.http2 { for_http2(node, request) } else { request });
    let request = write(body)?;
    let (gate, silence) = node.lane(request.uri().path());
    if node.health.is_troubled() && !node.health.may_try(Instant::now()) {
        return Err(Refusal::NodeAway);
    }
    let permit = gate.enter().await.map_err(|shut| match shut {
        Shut::Full => Refusal::QueueFull,
        Shut::TimedOut => Refusal::QueueTimeout,
        Shut::InVain => Refusal::NodeAway,
    })?;
    // Asked only here, since the one request that tries a node that was down must not be lost in the queue.
    if node.health.is_troubled() && !node.health.admits(Instant::now()) {
        return Err(Refusal::NodeAway);
    }
    let again = || write(Outgoing::nothing());
    let again: Option<Again<'_>> = if bodiless && is_idempotent(request.method()) { Some(&again) } else { None };
    let sending = send(hop, request, again);
    let (connection, response) =
        within_silence(silence, &progress, sending).await.map_err(|refusal| match progress.0.fault.get() {
            Some(ClientFault::TooLarge((name, bytes))) => Refusal::BodyTooLarge(name, bytes),
            Some(ClientFault::Broken) => Refusal::BadRequest("its body is broken, or ended early"),
            None => refusal,
        })?;
    let (parts, body) = response.into_parts();
    let held = Some(Held { connection, idle: hop.idle.clone(), node: node.clone(), progress, _permit: permit });
    let mut body = NodeBody { body, held, silence, timer: None };
    if body.is_end_stream() {
        body.finish();
    }
    Ok(Response::from_parts(parts, body))
}

/// Writes a request once more.
type Again<'a> = &'a dyn Fn() -> Result<Request<Outgoing>, Refusal>;

/// Sends on a kept connection, or on a new one. A node may close a kept connection just when it is used: then a new
/// one is tried, if nobody can tell that the request was sent twice.
async fn send(
    hop: Hop<'_>,
    mut request: Request<Outgoing>,
    again: Option<Again<'_>>,
) -> Result<(Connection, Response<Incoming>), Refusal> {
    let node = hop.node;
    if let Some(mut connection) = hop.idle.take(node) {
        let mut error = match connection.send(request).await {
            Ok(response) => {
                node.is_reached();
                return Ok((connection, response));
            }
            Err(error) => error,
        };
        // hyper hands a request back only when no byte of it was written.
        request = match (error.take_message(), error.into_error(), again) {
            (Some(unsent), _, _) => unsent,
            // An answer that makes no sense makes none the second time.
            (None, error, Some(again)) if !error.is_parse() => again()?,
            (None, error, _) => return Err(broken(node, &error)),
        };
    }
    // Boxed, since connecting is rare and has much to remember, and each request would carry the room for it.
    let connecting = Box::pin(connect::connect(node, hop.idle, hop.peer));
    let mut connection = connecting.await.map_err(|error| {
        tracing::error!(backend = node.name(), address = node.authority, %error, "a node cannot be reached");
        node.turned(node.health.failed(Instant::now()), "it cannot be reached");
        Refusal::NodeAway
    })?;
    node.is_reached();
    let response = connection.send(request).await.map_err(|error| broken(node, &error.into_error()))?;
    Ok((connection, response))
}

/// Methods whose requests have the same effect however often they are sent (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// HTTP/2 has scheme and authority beside the path, and no `Host` (RFC 9113, section 8.3.1); nor can it change to another
/// protocol (section 8.2.2).
fn for_http2(node: &Node, mut request: Request<Outgoing>) -> Request<Outgoing> {
    let host = request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::CONNECTION);
    request.headers_mut().remove(header::UPGRADE);
    let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(&node.authority);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let scheme = if node.tls.is_some() { "https" } else { "http" };
    // Both parts were read from URIs before; should they make none together, the node says no.
    let uri = hyper::Uri::builder().scheme(scheme).authority(host).path_and_query(target).build();
    *request.uri_mut() = uri.unwrap_or_default();
    *request.version_mut() = hyper::Version::HTTP_2;
    request
}

fn broken(node: &Node, error: &hyper::Error) -> Refusal {
    tracing::warn!(backend = node.name(), error = %chain(error), "a node's answer is broken");
    Refusal::NodeBroken
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}

/// Waits for an answer for as long as bytes move: a long upload is no silence.
async fn within_silence<T>(
    silence: Duration,
    progress: &Progress,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut answer = std::pin::pin!(answer);
    progress.0.last.set(Instant::now());
    loop {
        let deadline = progress.0.last.get() + silence;
        match tokio::time::timeout_at(deadline.into(), answer.as_mut()).await {
            Ok(answer) => return answer,
            Err(_) if progress.0.last.get() + silence > Instant::now() => {}
            Err(_) => return Err(Refusal::NodeTimeout),
        }
    }
}
