//! Sends a request to a node. The one place where requests wait for their turn, and are tried once more.
//!
//! Invariants: a request is sent twice only where that cannot be seen: nothing of it was sent, or it is idempotent and has
//! no body (RFC 9110, section 9.2.2).

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Body as _;
use hyper::client::conn::http2;
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::time::Instant;

use super::body::{Held, NodeBody, Outbound, Outgoing, Source};
use super::connect::{self, Connection, Idle};
use super::pinned::Owner;
use super::timers::Timers;
use super::tunnel::Tunnel;
use super::{Node, connection_auth, headers, http1, tunnel};
use crate::limits::Allowance;
use crate::peer::Peer;
use crate::reply::Refusal;
use crate::traces::{self, Label};
use crate::upload::{Flow, Stop};

/// Whose request goes where, and by whose connections.
#[derive(Clone, Copy)]
pub struct Hop<'a> {
    /// The node.
    pub node: &'a Arc<Node>,
    /// The worker's connections.
    pub idle: &'a Rc<Idle>,
    /// The client.
    pub peer: &'a Peer,
    /// Whose connections to the node may be authenticated; none for requests of our own.
    pub owner: Option<&'a Owner>,
    /// Who takes the place, and what may be read of his before it is wanted.
    pub allowance: &'a Rc<Allowance>,
    /// Where it is told how long was waited for what.
    pub times: &'a Times,
}

/// How long requests waited on their way; of several, each wait in the line counts, and the last answer.
#[derive(Debug, Default)]
pub struct Times {
    queue: Cell<Duration>,
    first_byte: Cell<Option<Duration>>,
}

impl Times {
    /// For a place at the node.
    pub fn queue(&self) -> Duration {
        self.queue.get()
    }

    /// From then on until the head of the node's answer was there; none as long as there was none.
    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte.get()
    }

    /// Waits for a place. Where there is no wait, nobody looks at a clock.
    async fn queueing<T>(&self, entering: impl Future<Output = T>) -> T {
        let (mut entering, mut wait) = (pin!(entering), None);
        std::future::poll_fn(|cx| {
            let polled = entering.as_mut().poll(cx);
            if polled.is_pending() {
                wait.get_or_insert_with(|| Wait { since: Instant::now(), sum: &self.queue });
            }
            polled
        })
        .await
    }
}

/// A wait, which counts also when the client leaves.
struct Wait<'a> {
    since: Instant,
    sum: &'a Cell<Duration>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.sum.set(self.sum.get() + self.since.elapsed());
    }
}

/// What a node answers.
pub enum NodeAnswer {
    /// An answer, whose body comes.
    Response(Response<NodeBody>),
    /// It agrees to the protocol that it was asked for: from here on bytes go both ways.
    Tunnel(Response<()>, Tunnel),
}

impl NodeAnswer {
    /// The answer to a request that asked for no other protocol.
    ///
    /// # Errors
    /// The node is broken.
    pub(super) fn response(self) -> Result<Response<NodeBody>, Refusal> {
        match self {
            Self::Response(response) => Ok(response),
            Self::Tunnel(..) => Err(Refusal::NodeBroken),
        }
    }
}

/// Sends a request through the node's gate and gives its answer back as it comes.
///
/// # Errors
/// The queue, the connection, the node's silence, or the client's too large body.
///
/// The request is boxed, since it goes through several futures, each of which would have room for it.
pub async fn forward(hop: Hop<'_>, mut outbound: Box<Outbound>) -> Result<NodeAnswer, Refusal> {
    let node = hop.node;
    if node.config.http2 {
        for_http2(node, &mut outbound.request);
    }
    let (gate, response_timeout) = node.lane(outbound.request.uri().path());
    if node.health.is_troubled() && !node.health.may_try(std::time::Instant::now()) {
        return Err(Refusal::NodeAway);
    }
    if let Outgoing::Client(upload) = outbound.request.body_mut()
        && gate.is_half_full()
    {
        // Places are scarce: the node is not kept waiting for what comes slowly.
        Box::pin(upload.read_ahead(hop.allowance)).await?;
    }
    let before = hop.times.queue();
    let entered = hop.times.queueing(gate.enter(hop.allowance.holder)).await;
    let waited = hop.times.queue() - before;
    node.queued(waited);
    if !waited.is_zero() {
        traces::note_wait("queue", waited, || Label::Named(node.clone()));
    }
    let permit = entered.map_err(Refusal::from)?;
    // Asked only here, since the one request that tries a node that was down must not be lost in the queue.
    if node.health.is_troubled() && !node.health.admits(std::time::Instant::now()) {
        return Err(Refusal::NodeAway);
    }
    if let Outgoing::Client(upload) = outbound.request.body_mut() {
        upload.takes_place(gate);
    }
    let flow = outbound.request.body().flow();
    let asked = outbound.request.headers().get(header::UPGRADE).cloned();
    let (head, source) = {
        let (began, sending) = (Instant::now(), pin!(send(hop, outbound, flow.as_deref())));
        let waits = (began, response_timeout);
        let answered = within_timeout(waits, flow.as_deref(), &hop.idle.timers, sending).await;
        let result = if answered.is_ok() { "answered" } else { "failed" };
        traces::note("node", result, Some(began.into_std()), || Label::Named(node.clone()));
        let (answered, took) = (answered?, began.elapsed());
        hop.times.first_byte.set(Some(took));
        node.answered(gate, took);
        answered
    };
    let (idle, owner) = (hop.idle.clone(), hop.owner.cloned());
    let allowance = hop.allowance.clone();
    let held = Held { _upload: flow.map(Stop), idle, node: node.clone(), owner, permit, allowance };
    if head.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(NodeAnswer::Response(head.map(|()| NodeBody::new(source, held, response_timeout))));
    }
    match source {
        Source::Single(exchange) if tunnel::agrees(head.headers(), asked.as_ref()) => {
            let (line, read) = exchange.into_parts();
            Ok(NodeAnswer::Tunnel(head, Tunnel { line, read, _held: held }))
        }
        Source::Single(_) | Source::Shared(_) | Source::Ended | Source::Broken(_) => {
            tracing::warn!(backend = node.name(), "a node changes to a protocol that it was not asked for");
            Err(Refusal::NodeBroken)
        }
    }
}

/// Why there is no answer, and the request where it may be sent once more.
struct Failed {
    error: Error,
    again: Option<Box<Outbound>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Http1(#[from] http1::Error),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// Sends on a kept connection, or on a new one. A node may close a kept connection just when it is used: then a new
/// one is tried, if nobody can tell that the request was sent twice.
async fn send(
    hop: Hop<'_>,
    mut outbound: Box<Outbound>,
    flow: Option<&Flow>,
) -> Result<(Response<()>, Source), Refusal> {
    let node = hop.node;
    if let Some(connection) = hop.idle.take(node, hop.owner) {
        match ask(node, connection, outbound).await {
            Ok(answer) => {
                node.is_reached();
                return Ok(answer);
            }
            Err(Failed { again: Some(again), .. }) => outbound = again,
            Err(Failed { error, .. }) => return Err(broken(node, flow, &error)),
        }
    }
    // Boxed, since connecting is rare and has much to remember, and each request would carry the room for it.
    let connection = match Box::pin(connect::connect(node, hop.idle, hop.peer)).await {
        Err(error) if error.is_ours() => {
            hop.idle.clear();
            Box::pin(connect::connect(node, hop.idle, hop.peer)).await
        }
        connected => connected,
    };
    let connection = connection.map_err(|error| unreachable(node, &error))?;
    node.is_reached();
    ask(node, connection, outbound).await.map_err(|failed| broken(node, flow, &failed.error))
}

/// Why there is no connection. What this machine lacks is held against no node.
fn unreachable(node: &Node, error: &connect::Error) -> Refusal {
    if error.is_ours() {
        tracing::error!(backend = node.name(), %error, "no connection to a node can be opened: this machine lacks something");
        return Refusal::Shortage;
    }
    tracing::error!(backend = node.name(), address = node.authority, %error, "a node cannot be reached");
    node.turned(node.health.failed(std::time::Instant::now()), "it cannot be reached");
    Refusal::NodeAway
}

/// Sends on a connection, and reads the head of the answer.
async fn ask(node: &Node, connection: Connection, outbound: Box<Outbound>) -> Result<(Response<()>, Source), Failed> {
    match connection {
        Connection::Single(connection) => ask_single(connection, outbound).await,
        Connection::Shared(sender) => Box::pin(ask_shared(node.name(), sender, outbound)).await,
    }
}

async fn ask_single(
    connection: http1::Connection,
    mut outbound: Box<Outbound>,
) -> Result<(Response<()>, Source), Failed> {
    let copy = outbound.request.body().copy();
    let mut exchange = Box::new(http1::Exchange::new(connection, &mut outbound));
    let method = outbound.request.method();
    match exchange.head(method).await {
        Ok(head) => Ok((head, Source::Single(exchange))),
        Err(error) => {
            // An answer that makes no sense makes none the second time.
            let copy = copy.filter(|copy| match error {
                http1::Error::Unwritten => true,
                http1::Error::Closed | http1::Error::Io(_) => is_idempotent(method) && copy.is_end_stream(),
                http1::Error::Request | http1::Error::Answer(_) => false,
            });
            let again = copy.map(|copy| {
                *outbound.request.body_mut() = copy;
                outbound
            });
            Err(Failed { error: error.into(), again })
        }
    }
}

async fn ask_shared(
    backend: &str,
    mut sender: http2::SendRequest<Outgoing>,
    outbound: Box<Outbound>,
) -> Result<(Response<()>, Source), Failed> {
    let request = outbound.request;
    let again = request.body().copy().filter(|copy| is_idempotent(request.method()) && copy.is_end_stream());
    let again = again.map(|copy| {
        let mut again = Request::new(copy);
        again.method_mut().clone_from(request.method());
        again.uri_mut().clone_from(request.uri());
        *again.version_mut() = request.version();
        again.headers_mut().clone_from(request.headers());
        Box::new(again.into())
    });
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            headers::strip_hop_by_hop(&mut parts.headers);
            if connection_auth::remove_challenges(&mut parts.headers) {
                tracing::warn!(
                    backend,
                    "a node asks for NTLM or Negotiate over HTTP/2, where they cannot work: it needs http = \"1.1\""
                );
            }
            Ok((Response::from_parts(parts, ()), Source::Shared(body)))
        }
        Err(mut error) => {
            // hyper hands a request back only when no byte of it was written.
            let unsent = error.take_message().map(|unsent| Box::new(unsent.into()));
            Err(Failed { error: error.into_error().into(), again: unsent.or(again) })
        }
    }
}

/// Whether it has the same effect however often it is sent (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// HTTP/2 has scheme and authority beside the path, and no `Host` (RFC 9113, section 8.3.1); nor can it change to another
/// protocol (section 8.2.2).
fn for_http2(node: &Node, request: &mut Request<Outgoing>) {
    // All users share the connection: nobody may authenticate it.
    connection_auth::remove_credentials(request.headers_mut());
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
fn broken(node: &Node, flow: Option<&Flow>, error: &Error) -> Refusal {
    if let Some(fault) = flow.and_then(Flow::fault) {
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
async fn within_timeout<T>(
    (began, response_timeout): (Instant, Duration),
    flow: Option<&Flow>,
    timers: &Timers,
    mut answer: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
) -> Result<T, Refusal> {
    let mut timer = timers.lend();
    let last = || flow.map_or(began, |flow| flow.last().max(began));
    std::future::poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(answer),
        Poll::Pending => timer.poll_until(last() + response_timeout, cx).map(|()| Err(Refusal::NodeTimeout)),
    })
    .await
}
