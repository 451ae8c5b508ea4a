//! Sends a request to a node and streams both ways. The one place where bodies of client and node meet.
//!
//! Invariants: a connection is kept only after its answer was read to the end; dropping the answer drops the
//! connection and gives the place in the node's gate back.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, header};
use tokio::time::{Instant, Sleep};

use super::connect::{self, Connection, Idle};
use super::tunnel::{self, Tunnel};
use super::{Node, headers};
use crate::limits::{Permit, Shut};
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
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Sends a request through the node's gate and gives its answer back as it comes.
///
/// # Errors
/// The queue, the connection, the node's silence, or the client's too large body.
pub async fn forward(
    node: &Arc<Node>,
    idle: &Rc<Idle>,
    request: Request<Outgoing>,
) -> Result<Response<NodeBody>, Refusal> {
    let permit = node.gate.enter().await.map_err(|shut| match shut {
        Shut::Full => Refusal::QueueFull,
        Shut::TimedOut => Refusal::QueueTimeout,
    })?;
    let flow = request.body().flow();
    let asked = request.headers().get(header::UPGRADE).cloned();
    let sending = send(node, idle, request, &flow);
    let (connection, mut response) = within_silence(node.config.rw_timeout, &flow, sending).await?;
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
    let held = Held { connection, upload: Stop(flow), idle: idle.clone(), node: node.clone(), _permit: permit };
    let mut body = NodeBody { body, held: Some(held), silence: node.config.rw_timeout, timer: None, upgrade };
    if body.is_end_stream() && body.upgrade.is_none() {
        body.finish();
    }
    Ok(Response::from_parts(parts, body))
}

/// Sends on a kept connection, or on a new one. A request that a kept connection never took is sent again.
async fn send(
    node: &Node,
    idle: &Idle,
    mut request: Request<Outgoing>,
    flow: &Flow,
) -> Result<(Connection, Response<Incoming>), Refusal> {
    while let Some(mut connection) = idle.take(node) {
        match connection.try_send_request(request).await {
            Ok(response) => return Ok((connection, response)),
            Err(mut error) => match error.take_message() {
                // hyper hands a request back only when no byte of it was written.
                Some(unsent) => request = unsent,
                None => return Err(broken(node, flow, &error.into_error())),
            },
        }
    }
    let mut connection = connect::connect(node).await.map_err(|error| {
        tracing::error!(backend = node.name(), address = node.authority, %error, "a node cannot be reached");
        Refusal::NodeDown
    })?;
    let response = connection.send_request(request).await.map_err(|error| broken(node, flow, &error))?;
    Ok((connection, response))
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
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut answer = std::pin::pin!(answer);
    flow.touch();
    loop {
        let deadline = flow.last() + silence;
        match tokio::time::timeout_at(deadline, answer.as_mut()).await {
            Ok(answer) => return answer,
            Err(_) if flow.last() + silence > Instant::now() => {}
            Err(_) => return Err(Refusal::NodeTimeout),
        }
    }
}
