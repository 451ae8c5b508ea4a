//! Serves an HTTP/1 connection: one request after the other, each answered before the next one is looked at.
//!
//! Invariants: an answer is whole, or the connection ends without its proper end; a client that leaves takes its request
//! along; after a request whose body was not read to its end, or that was refused, nothing more is read.

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as _, SizeHint};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Response, Version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Settings;
use super::line::{Line, Next};
use super::timed::Timed;
use crate::back::{ClientConnection, headers};
use crate::door::client::Client;
use crate::door::drain::{Phase, poll_stop, stopped};
use crate::exchange::{self, Body, Caller, Ending, Inbound, Tunnel, Unreadable};
use crate::http1::{Asked, Encoder, Known, request_of, write_answer};
use crate::limits::{Demand, Progress};
use crate::log::access::Ended;
use crate::peer::Peer;
use crate::reply::Refusal;
use crate::upload::Incoming;

/// What may wait to be written of an answer before more of it is asked for.
const AHEAD: usize = 64 << 10;
/// How much a client may still send after the last answer, and for how long: it has nothing more to say.
const LINGER_SIZE: usize = 256 << 10;
/// See [`LINGER_SIZE`].
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How a connection goes on after an answer.
enum After {
    /// With the next request.
    Next,
    /// It ends.
    End,
    /// It broke.
    Broken,
}

/// Serves a connection to its end.
pub(super) async fn serve<S>(client: Client, settings: Settings, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Client { worker, peer, clients, mut drain, .. } = client;
    let (stream, starter) = Timed::new(stream, settings.header_timeout, settings.idle_timeout);
    let line = Rc::new(RefCell::new(Line::new(stream, settings.head, starter.clone())));
    let connection = Rc::new(ClientConnection::new(&worker.idle));
    let demand = settings.demand;
    let (phase, mut waker) = (drain.clone(), None);
    let mut stop = pin!(stopped(&mut drain));
    loop {
        let next = std::future::poll_fn(|cx| match line.borrow_mut().poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(next),
            Poll::Pending => poll_stop(stop.as_mut(), &mut waker, &phase, cx).map(|()| Next::End),
        });
        let request = match next.await {
            Next::Head(bytes, places) => request_of(&bytes, &places, body_of(&line)).map(Inbound::new),
            Next::Refused(refusal) => Err(refusal),
            Next::End => return close(line, &peer).await,
        };
        let busy = starter.begin();
        let asked = request.as_ref().map_or(UNREADABLE, asked_by);
        if asked.version == Version::HTTP_11 && request.as_ref().is_ok_and(Inbound::expects) {
            line.borrow_mut().expects();
        }
        let caller = Caller { peer: peer.clone(), clients: clients.clone(), connection: Some(connection.clone()) };
        let mut answering = exchange::run(worker.clone(), caller, request.map_err(Unreadable));
        let answered = std::future::poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(ending) => Poll::Ready(Some(ending)),
            Poll::Pending => line.borrow_mut().poll_left(cx).map(|()| None),
        });
        let Some(ending) = answered.await else { return };
        drop(answering);
        let answer = match ending {
            // What needs HTTP/1.1 has it.
            Ending::Answer(answer) | Ending::Http11Needed(answer) => answer,
            Ending::Tunnel(head, tunnel) => return Box::pin(run_tunnel(line, head, *tunnel, asked)).await,
        };
        let stopping = *phase.borrow() >= Phase::Draining;
        let (parts, body) = answer.into_parts();
        match send(&line, &parts, (body, demand), asked, stopping).await {
            After::Next => drop(busy),
            After::End => return Box::pin(end(line, &peer)).await,
            After::Broken => return,
        }
    }
}

/// Answers something that is no request with a refusal, and ends the connection.
pub(super) async fn refuse<S>(client: Client, settings: Settings, stream: S, refusal: Refusal)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (stream, starter) = Timed::new(stream, settings.header_timeout, settings.idle_timeout);
    let _busy = starter.begin();
    let line = Rc::new(RefCell::new(Line::new(stream, settings.head, starter)));
    let caller = Caller { peer: client.peer, clients: client.clients, connection: None };
    match exchange::run(client.worker, caller, Err(Unreadable(refusal))).await {
        Ending::Answer(answer) | Ending::Http11Needed(answer) => {
            let (parts, body) = answer.into_parts();
            match send(&line, &parts, (body, settings.demand), UNREADABLE, false).await {
                After::Next | After::End => linger(line).await,
                After::Broken => {}
            }
        }
        // Nothing was asked for.
        Ending::Tunnel(..) => {}
    }
}

/// Sends the head of an answer that changes the protocol, and moves bytes both ways.
async fn run_tunnel<S>(line: Rc<RefCell<Line<S>>>, head: Response<()>, tunnel: Tunnel, mut asked: Asked)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    write_answer(&mut line.borrow_mut().out, &head.into_parts().0, &SizeHint::with_exact(0), &mut asked);
    if written(&line).await.is_err() {
        return;
    }
    if let Some(line) = Rc::into_inner(line) {
        let (stream, read) = line.into_inner().into_parts();
        tunnel.run(stream, &read).await;
    }
}

/// What an answer to something depends on that is no request.
const UNREADABLE: Asked = Asked { version: Version::HTTP_11, head_only: false, keeps: false };

/// What the answer to a request depends on.
fn asked_by(Inbound { request, present }: &Inbound) -> Asked {
    let (version, named) = (request.version(), present.has(Known::Connection));
    let keeps = if named { keeps(version, request.headers()) } else { version == Version::HTTP_11 };
    Asked { version, head_only: *request.method() == Method::HEAD, keeps }
}

fn body_of<S: AsyncRead + AsyncWrite + Unpin + 'static>(line: &Rc<RefCell<Line<S>>>) -> Incoming {
    let present = line.borrow();
    if present.is_read() { Incoming::Empty } else { Incoming::Http1(line.clone(), present.number()) }
}

/// Whether a client goes on after the answer (RFC 9112, section 9.3).
fn keeps(version: Version, asked: &HeaderMap) -> bool {
    !headers::names(asked, "close") && (version == Version::HTTP_11 || headers::names(asked, "keep-alive"))
}

/// Writes an answer, as it comes and as the client takes it.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    line: &RefCell<Line<S>>,
    parts: &Parts,
    (mut body, demand): (Body, Demand),
    mut asked: Asked,
    stopping: bool,
) -> After {
    let size = body.size_hint();
    let encoder = {
        let mut line = line.borrow_mut();
        // Without chunks only the end of the connection can say where such a body ends.
        let endless = asked.version == Version::HTTP_10 && size.exact().is_none();
        asked.keeps &= !stopping && !endless && line.is_read();
        write_answer(&mut line.out, parts, &size, &mut asked)
    };
    let ended = match encoder {
        Some(encoder) => send_body(line, &mut body, encoder, &demand).await,
        None => written(line).await.map_err(|error| of_write(&error)),
    };
    body.ends(ended.err().unwrap_or(Ended::Whole));
    // With it goes its place at the node.
    drop(body);
    match ended {
        Ok(()) if asked.keeps => After::Next,
        Ok(()) => After::End,
        Err(ended) => {
            // What there is of it goes out; that it is not all shows by its framing.
            if ended != Ended::Timeout {
                let _ = written(line).await;
            }
            After::Broken
        }
    }
}

/// Who is to blame that nothing more can be written: the client is gone, or takes nothing in time.
fn of_write(error: &std::io::Error) -> Ended {
    if error.kind() == std::io::ErrorKind::TimedOut { Ended::Timeout } else { Ended::Client }
}

/// Writes all of a body, or says why not. While the client is slow, the rest is read ahead.
async fn send_body<S: AsyncRead + AsyncWrite + Unpin>(
    line: &RefCell<Line<S>>,
    body: &mut Body,
    mut encoder: Encoder,
    demand: &Demand,
) -> Result<(), Ended> {
    let (mut ended, mut progress) = (false, Progress::default());
    std::future::poll_fn(|cx| {
        loop {
            let mut waits = false;
            while !ended && !waits && line.borrow().out.waiting() < AHEAD {
                match gather(line, body, &mut encoder, cx) {
                    Poll::Ready(Ok(last)) => ended = last,
                    Poll::Ready(Err(())) => return Poll::Ready(Err(Ended::Node)),
                    Poll::Pending => waits = true,
                }
            }
            let written = write(line, &mut progress, cx);
            if written.is_pending() {
                if progress.poll_overdue(demand, body.place(), cx).is_ready() {
                    tracing::debug!("a client takes its answer too slowly");
                    return Poll::Ready(Err(Ended::Timeout));
                }
                if progress.is_slow() {
                    body.poll_ahead(cx);
                }
                return Poll::Pending;
            }
            if let Err(error) = ready!(written) {
                return Poll::Ready(Err(of_write(&error)));
            }
            if ended {
                return Poll::Ready(Ok(()));
            }
            if waits {
                // A client may leave in the middle of a long answer.
                return line.borrow_mut().poll_left(cx).map(|()| Err(Ended::Client));
            }
        }
    })
    .await
}

/// Writes what waits, and counts it.
fn write<S: AsyncRead + AsyncWrite + Unpin>(
    line: &RefCell<Line<S>>,
    progress: &mut Progress,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<()>> {
    let mut line = line.borrow_mut();
    let before = line.out.waiting();
    let written = line.poll_write(cx);
    let moved = before - line.out.waiting();
    if moved > 0 || written.is_ready() {
        progress.moves(moved as u64);
    }
    written
}

/// Takes the next piece of a body. True when it was the last.
fn gather<S: AsyncRead + AsyncWrite + Unpin>(
    line: &RefCell<Line<S>>,
    body: &mut Body,
    encoder: &mut Encoder,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, ()>> {
    // The body may be reading the request's own from the line meanwhile.
    let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
        Some(Ok(frame)) => Some(frame),
        Some(Err(error)) => {
            tracing::debug!(%error, "an answer broke off");
            return Poll::Ready(Err(()));
        }
        None => None,
    };
    let out = &mut line.borrow_mut().out;
    let (trailers, ended) = match frame.map(hyper::body::Frame::into_data) {
        None => (None, true),
        Some(Ok(data)) => {
            encoder.data(data, out).map_err(drop)?;
            (None, body.is_end_stream())
        }
        Some(Err(frame)) => (frame.into_trailers().ok(), true),
    };
    if ended {
        encoder.end(trailers.as_ref(), out).map_err(drop)?;
    }
    Poll::Ready(Ok(ended))
}

/// Writes what waits.
async fn written<S: AsyncRead + AsyncWrite + Unpin>(line: &RefCell<Line<S>>) -> std::io::Result<()> {
    std::future::poll_fn(|cx| line.borrow_mut().poll_write(cx)).await
}

/// Closes a connection on which nothing is under way. Where there is TLS, it says so.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(line: Rc<RefCell<Line<S>>>, peer: &Peer) {
    if peer.tls.is_some()
        && let Some(line) = Rc::into_inner(line)
    {
        let _ = line.into_inner().into_parts().0.shutdown().await;
    }
}

/// Ends a connection after an answer. The client may still be sending what nobody will read: if the socket were closed at
/// once, the kernel would reset the connection, and the answer could be lost on its way (RFC 9112, section 9.6).
async fn end<S: AsyncRead + AsyncWrite + Unpin>(line: Rc<RefCell<Line<S>>>, peer: &Peer) {
    if line.borrow().is_quiet() {
        return close(line, peer).await;
    }
    linger(line).await;
}

/// Says that nothing more will come, and reads for a while what still does.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(line: Rc<RefCell<Line<S>>>) {
    let Some(line) = Rc::into_inner(line) else { return };
    let (mut stream, _) = line.into_inner().into_parts();
    let mut nowhere = [0; 4096];
    let drained = async {
        let mut left = LINGER_SIZE;
        if stream.shutdown().await.is_err() {
            return;
        }
        while let Ok(read @ 1..) = stream.read(&mut nowhere).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, drained).await;
}
