//! Sends a request to a node and streams both ways. The one place where bodies of client and node meet.
//!
//! Invariants: a connection is kept only after the request was sent and its answer read, both to the end; dropping the
//! answer drops the connection and gives the place in the node's gate back. A request is sent twice only where that
//! cannot be seen: nothing of it was sent, or it is idempotent and has no body (RFC 9110, section 9.2.2).

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::time::Sleep;

use super::connect::{self, Connection, Idle};
use super::timers::Timers;
use super::tunnel::{self, Tunnel};
use super::{Node, headers};
use crate::limits::{Permit, Shut};
use crate::peer::Peer;
use crate::reply::Refusal;
use crate::upload::{Flow, Stop, Upload};

/// What is sent to a node.
pub enum Outgoing {
    /// Something of our own.
    Whole(Full<Bytes>),
    /// What the client sends, as it comes.
    Client(Upload),
}

impl Outgoing {
    fn flow(&self) -> Rc<Flow> {
        match self {
            Self::Whole(_) => Rc::new(Flow::whole()),
            Self::Client(upload) => upload.flow(),
        }
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

/// A node's answer on its way to the client, with all it holds: the place in the gate, and the connection.
pub struct NodeBody {
    /// What was looked at and goes out first; most often nothing.
    pub(super) begun: VecDeque<Frame<Bytes>>,
    body: Incoming,
    held: Option<Held>,
    silence: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    upgrade: Option<OnUpgrade>,
}

/// What an answer holds until its end.
pub(super) struct Held {
    connection: Connection,
    upload: Stop,
    idle: Rc<Idle>,
    node: Arc<Node>,
    _permit: Permit,
}

impl NodeBody {
    /// The answer was read to its end: the connection may be used again, if the request was sent to its end as well.
    /// Where the node answered without waiting for that, nobody knows how it reads what comes later.
    fn finish(&mut self) {
        if let Some(held) = self.held.take().filter(|held| held.upload.0.is_whole()) {
            held.idle.put(&held.node, held.connection);
        }
    }

    /// The tunnel, when this is the answer that agreed to one.
    pub fn into_tunnel(mut self) -> Option<Tunnel> {
        Some(Tunnel { node: self.upgrade.take()?, _held: self.held.take() })
    }
}

impl Body for NodeBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(frame) = self.begun.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.timer = None;
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                }
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
        self.begun.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun: usize = self.begun.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let (begun, left) = (begun as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower().saturating_add(begun));
        if let Some(upper) = left.upper() {
            hint.set_upper(upper.saturating_add(begun));
        }
        hint
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

/// Sends a request through the node's gate and gives its answer back as it comes.
///
/// # Errors
/// The queue, the connection, the node's silence, or the client's too large body.
///
/// The request is boxed, since it goes through several futures, each of which would have room for it.
pub async fn forward(hop: Hop<'_>, mut request: Box<Request<Outgoing>>) -> Result<Response<NodeBody>, Refusal> {
    let node = hop.node;
    if node.config.http2 {
        for_http2(node, &mut request);
    }
    let (gate, silence) = node.lane(request.uri().path());
    if node.health.is_troubled() && !node.health.may_try(std::time::Instant::now()) {
        return Err(Refusal::NodeAway);
    }
    let permit = gate.enter().await.map_err(|shut| match shut {
        Shut::Full => Refusal::QueueFull,
        Shut::TimedOut => Refusal::QueueTimeout,
        Shut::InVain => Refusal::NodeAway,
    })?;
    // Asked only here, since the one request that tries a node that was down must not be lost in the queue.
    if node.health.is_troubled() && !node.health.admits(std::time::Instant::now()) {
        return Err(Refusal::NodeAway);
    }
    let flow = request.body().flow();
    let asked = request.headers().get(header::UPGRADE).cloned();
    let (connection, mut response) = {
        let sending = std::pin::pin!(send(hop, request, &flow));
        within_silence(silence, &flow, &hop.idle.timers, sending).await?
    };
    let upgrade = match response.status() {
        StatusCode::SWITCHING_PROTOCOLS if tunnel::agrees(response.headers(), asked.as_ref()) => {
            Some(hyper::upgrade::on(&mut response))
        }
        StatusCode::SWITCHING_PROTOCOLS => {
            tracing::warn!(backend = node.name(), "a node changes to a protocol that it was not asked for");
            return Err(Refusal::NodeBroken);
        }
        _ => None,
    };
    let (parts, body) = response.into_parts();
    let held = Held { connection, upload: Stop(flow), idle: hop.idle.clone(), node: node.clone(), _permit: permit };
    let mut body = NodeBody { begun: VecDeque::new(), body, held: Some(held), silence, timer: None, upgrade };
    if body.is_end_stream() && body.upgrade.is_none() {
        body.finish();
    }
    Ok(Response::from_parts(parts, body))
}

/// Sends on a kept connection, or on a new one. A node may close a kept connection just when it is used: then a new
/// one is tried, if nobody can tell that the request was sent twice.
async fn send(
    hop: Hop<'_>,
    mut request: Box<Request<Outgoing>>,
    flow: &Flow,
) -> Result<(Connection, Response<Incoming>), Refusal> {
    let node = hop.node;
    if let Some(mut connection) = hop.idle.take(node) {
        let (again, harmless) = (once_more(&request), is_harmless(&request));
        let mut error = match connection.send(request).await {
            Ok(response) => {
                node.is_reached();
                return Ok((connection, response));
            }
            Err(error) => error,
        };
        // hyper hands a request back only when no byte of it was written.
        request = match (error.take_message(), error.into_error(), again) {
            (Some(unsent), _, _) => Box::new(unsent),
            // An answer that makes no sense makes none the second time.
            (None, error, Some(again)) if harmless && !error.is_parse() || is_unwritten(&error) => again,
            (None, error, _) => return Err(broken(node, flow, &error)),
        };
    }
    // Boxed, since connecting is rare and has much to remember, and each request would carry the room for it.
    let connecting = Box::pin(connect::connect(node, hop.idle, hop.peer));
    let mut connection = connecting.await.map_err(|error| {
        tracing::error!(backend = node.name(), address = node.authority, %error, "a node cannot be reached");
        node.turned(node.health.failed(std::time::Instant::now()), "it cannot be reached");
        Refusal::NodeAway
    })?;
    node.is_reached();
    let response = connection.send(request).await.map_err(|error| broken(node, flow, &error.into_error()))?;
    Ok((connection, response))
}

/// Whether it has the same effect however often it is sent (RFC 9110, section 9.2.2).
fn is_harmless(request: &Request<Outgoing>) -> bool {
    let idempotent =
        matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    idempotent && request.body().is_end_stream()
}

/// Whether the node had closed before the first byte: a write that fails later is not told (`back::unsent`).
fn is_unwritten(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A copy of a request without a body, or with one of our own.
fn once_more(request: &Request<Outgoing>) -> Option<Box<Request<Outgoing>>> {
    let body = match request.body() {
        Outgoing::Whole(body) => Outgoing::Whole(body.clone()),
        Outgoing::Client(upload) if upload.is_end_stream() => Outgoing::nothing(),
        Outgoing::Client(_) => return None,
    };
    let mut again = Request::new(body);
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    *again.version_mut() = request.version();
    again.headers_mut().clone_from(request.headers());
    Some(Box::new(again))
}

/// HTTP/2 has scheme and authority beside the path, and no `Host` (RFC 9113, section 8.3.1); nor can it change to another
/// protocol (section 8.2.2).
fn for_http2(node: &Node, request: &mut Request<Outgoing>) {
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
}

/// Why there is no answer. It is not the node's fault when the request was never sent to its end.
fn broken(node: &Node, flow: &Flow, error: &hyper::Error) -> Refusal {
    if let Some(fault) = flow.fault() {
        return fault;
    }
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
    flow: &Flow,
    timers: &Timers,
    mut answer: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
) -> Result<T, Refusal> {
    flow.touch();
    let mut timer = timers.lend();
    std::future::poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(answer),
        Poll::Pending => timer.poll_until(flow.last() + silence, cx).map(|()| Err(Refusal::NodeTimeout)),
    })
    .await
}
