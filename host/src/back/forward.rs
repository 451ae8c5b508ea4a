//! Sends a request to a node and streams both ways. The one place where bodies of client and node meet.
//!
//! Invariants: a connection is kept only after its answer was read to the end; dropping the answer drops the
//! connection and gives the place in the node's gate back.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use tokio::time::Sleep;

use super::Node;
use super::connect::{self, Connection, Idle};
use crate::limits::{Permit, Shut};
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

/// When the last byte moved, and whether the client sent too much: shared by the two directions of an exchange.
#[derive(Clone, Default)]
struct Progress(Rc<Moved>);

struct Moved {
    last: Cell<Instant>,
    over: Cell<Option<Limit>>,
}

impl Default for Moved {
    fn default() -> Self {
        Self { last: Cell::new(Instant::now()), over: Cell::new(None) }
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
        Self { body, left: limit.1, limit, progress: Progress::default() }
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

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Client(client) => {
                let frame = match ready!(Pin::new(&mut client.body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => return Poll::Ready(None),
                };
                client.progress.0.last.set(Instant::now());
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                match client.left.checked_sub(size) {
                    Some(left) => client.left = left,
                    None => {
                        client.progress.0.over.set(Some(client.limit));
                        return Poll::Ready(Some(Err(TooLarge.into())));
                    }
                }
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
    _permit: Permit,
}

impl NodeBody {
    /// The answer was read to its end: the connection may be used again.
    fn finish(&mut self) {
        if let Some(held) = self.held.take() {
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
    let progress = match request.body() {
        Outgoing::Client(client) => client.progress.clone(),
        Outgoing::Whole(_) => Progress::default(),
    };
    let sending = send(node, idle, request);
    let (connection, response) = within_silence(node.config.rw_timeout, &progress, sending)
        .await
        .map_err(|refusal| progress.0.over.get().map_or(refusal, |(name, bytes)| Refusal::BodyTooLarge(name, bytes)))?;
    let (parts, body) = response.into_parts();
    let held = Some(Held { connection, idle: idle.clone(), node: node.clone(), _permit: permit });
    let mut body = NodeBody { body, held, silence: node.config.rw_timeout, timer: None };
    if body.is_end_stream() {
        body.finish();
    }
    Ok(Response::from_parts(parts, body))
}

/// Sends on a kept connection, or on a new one. A request that a kept connection never took is sent again.
async fn send(
    node: &Node,
    idle: &Idle,
    mut request: Request<Outgoing>,
) -> Result<(Connection, Response<Incoming>), Refusal> {
    while let Some(mut connection) = idle.take(node) {
        match connection.try_send_request(request).await {
            Ok(response) => return Ok((connection, response)),
            Err(mut error) => match error.take_message() {
                // hyper hands a request back only when no byte of it was written.
                Some(unsent) => request = unsent,
                None => return Err(broken(node, &error.into_error())),
            },
        }
    }
    let mut connection = connect::connect(node).await.map_err(|error| {
        tracing::error!(backend = node.name(), address = node.authority, %error, "a node cannot be reached");
        Refusal::NodeDown
    })?;
    let response = connection.send_request(request).await.map_err(|error| broken(node, &error))?;
    Ok((connection, response))
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
