//! An HTTP/1.1 connection to a node. It has no task of its own: whoever waits for an answer drives it.
//!
//! Invariants: one request at a time; a connection is given back only after the request was sent and its answer read, both
//! to the end, and nothing came behind it; dropping an exchange closes its connection, whatever is still on its way; a
//! connection that the node may have authenticated is marked, and stays so.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use doorward_wire::http1::{AnswerError, read_answer};
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderName};
use hyper::{Method, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::body::{Outbound, Outgoing};
use super::connection_auth;
use crate::http1::{Broken, Decoder, Encoder, Framing, Inbox, Outbox, headers_of, write_headers};

/// No chunk is larger than a `Content-Length` can say: a size that is, is none.
const LONGEST: u64 = 999_999_999_999_999_999;
/// What may wait to be written of a request before more of it is asked for.
const AHEAD: usize = 64 << 10;
/// Bytes of a head that are read at once.
const STEP: usize = 8 << 10;

/// What a connection is made of: TCP, perhaps with TLS.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Line for S {}

/// A connection between two requests.
pub(super) struct Connection {
    line: Box<dyn Line>,
    /// Empty; its memory is used again.
    out: Outbox,
    /// The node may have authenticated it: whatever is sent on it is taken for one user's.
    authenticated: bool,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The node had closed before the first byte.
    #[error("it was closed before the request")]
    Unwritten,
    /// The node closed before the end.
    #[error("it was closed before the end of the answer")]
    Closed,
    /// The network, or TLS, says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The request's own body broke off.
    #[error("the request ends early")]
    Request,
    /// The answer is no HTTP.
    #[error("{0}")]
    Answer(&'static str),
}

impl From<Broken> for Error {
    fn from(_: Broken) -> Self {
        Self::Answer("a chunk is none")
    }
}

impl Connection {
    /// A fresh connection.
    pub(super) fn new(line: Box<dyn Line>) -> Self {
        Self { line, out: Outbox::default(), authenticated: false }
    }

    /// Whether the node may have authenticated it, so that it can serve one client only.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether it is open, and nothing came that nobody asked for. Costs a system call only if something did.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = pin!(self.line.read(&mut byte));
        read.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// A request on its way over a connection, and its answer.
pub(super) struct Exchange {
    line: Box<dyn Line>,
    out: Outbox,
    upload: Upload,
    /// A byte of the request was written.
    begun: bool,
    read: Inbox,
    /// What is left of the answer's body, once its head was read.
    decoder: Decoder,
    /// The answer says that the connection may be used again.
    keeps: bool,
    /// The request asks for another protocol.
    upgrades: bool,
    /// See [`Connection`].
    authenticated: bool,
    /// What the answer's `Connection` names: in trailers, too, that ends here (RFC 9110, section 7.6.1).
    named: Vec<HeaderName>,
}

/// What is left of a request's body.
enum Upload {
    /// Something, perhaps. Boxed: most requests have no body, and each would have the room for it.
    Left(Box<(Outgoing, Encoder)>),
    /// All of it is on its way.
    Done,
    /// It broke off, or the node takes no more of it: the answer will tell, if there is one.
    Failed,
}

impl Exchange {
    /// Begins to send a request, whose body is taken out of it. Nothing is sent before it is asked for the answer.
    pub(super) fn new(connection: Connection, outbound: &mut Outbound) -> Self {
        let Connection { line, mut out, authenticated } = connection;
        let body = std::mem::replace(outbound.request.body_mut(), Outgoing::nothing());
        let encoder = write_head(&mut out, outbound, &body.size_hint(), body.is_end_stream());
        let upload = encoder.map_or(Upload::Done, |encoder| Upload::Left(Box::new((body, encoder))));
        let headers = outbound.request.headers();
        Self {
            line,
            out,
            upload,
            begun: false,
            read: Inbox::default(),
            decoder: Decoder::Done,
            keeps: false,
            upgrades: headers.contains_key(header::UPGRADE),
            authenticated: authenticated || connection_auth::is_asked(headers),
            named: Vec::new(),
        }
    }

    /// Sends on, and reads the head of the answer. The bodies of both may go on.
    pub(super) async fn head(&mut self, method: &Method) -> Result<Response<()>, Error> {
        std::future::poll_fn(|cx| self.poll_head(method, cx)).await
    }

    fn poll_head(&mut self, method: &Method, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        loop {
            // An answer may come before the end of the request, or instead of it.
            let sent = self.poll_send(cx);
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(Err(error));
            }
            // Most heads come in one piece, and are read where they need not be kept.
            let mut room = [const { MaybeUninit::uninit() }; STEP];
            let mut buffer = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut self.line).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(Error::Closed));
            }
            if let Some(head) = self.take_head(buffer.filled(), method)? {
                self.keeps = head.keeps;
                self.authenticated |= head.authenticates;
                self.named = head.named;
                self.decoder = Decoder::new(head.framing);
                return Poll::Ready(Ok(head.response));
            }
        }
    }

    /// Looks for the head of the answer in what was read before and what is new.
    fn take_head(&mut self, new: &[u8], method: &Method) -> Result<Option<Head>, Error> {
        self.read.look(new, |bytes| {
            let mut used = 0;
            while let Some((head, length)) = read_head(&bytes[used..], method)? {
                used += length;
                let status = head.response.status();
                // What comes before the answer is between the node and us (RFC 9110, section 15.2).
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Ok((used, Some(head)));
                }
            }
            Ok((used, None))
        })
    }

    /// Writes what there is of the request, as far as the node takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let mut more = true;
            while more && self.out.waiting() < AHEAD {
                more = self.gather(cx)?;
            }
            ready!(self.poll_write(cx))?;
            if !more {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Puts a piece of the body into the outbox. False when there is none now, or none any more.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let Upload::Left(left) = &mut self.upload else { return Ok(false) };
        let (body, encoder) = &mut **left;
        let (fits, ended) = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                (encoder.data(data, &mut self.out).is_ok(), body.is_end_stream())
            }
            Poll::Ready(Some(Err(_))) => (false, false),
            Poll::Ready(None) => (true, true),
        };
        if !fits || ended && encoder.end(None, &mut self.out).is_err() {
            self.upload = Upload::Failed;
            return Err(Error::Request);
        }
        if ended {
            self.upload = Upload::Done;
        }
        Ok(!ended)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (before, mut line) = (self.out.waiting(), Pin::new(&mut self.line));
        let written = match self.out.poll_write(line.as_mut(), cx) {
            Poll::Ready(Ok(())) => line.poll_flush(cx),
            other => other,
        };
        self.begun |= self.out.waiting() < before;
        match ready!(written) {
            Ok(()) => {}
            // A node may answer and close before it has all: its answer waits to be read.
            Err(_) if self.begun => {
                self.upload = Upload::Failed;
                self.out = Outbox::default();
            }
            Err(_) => return Poll::Ready(Err(Error::Unwritten)),
        }
        Poll::Ready(Ok(()))
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let frame = self.decoder.decode(self.read.bytes())?;
            if self.decoder.size_hint().lower() > LONGEST {
                return Poll::Ready(Some(Err(Broken.into())));
            }
            if let Some(mut frame) = frame {
                if let Some(trailers) = frame.trailers_mut() {
                    self.named.iter().for_each(|name| drop(trailers.remove(name)));
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.decoder.is_done() {
                return Poll::Ready(None);
            }
            // Whose body breaks off gets no more of the answer either.
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            match ready!(self.read.poll_read(&mut self.line, cx)) {
                Ok(0) if matches!(self.decoder, Decoder::Close) => self.decoder = Decoder::Done,
                Ok(0) => return Poll::Ready(Some(Err(Error::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Whether the answer was read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// How much of the answer's body is left.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }

    /// The connection, if it can take another request.
    pub(super) fn end(mut self) -> Option<Connection> {
        self.out.shrink();
        let sent = matches!(self.upload, Upload::Done) && self.out.is_empty();
        let clean = self.decoder.is_done() && self.read.is_empty();
        // A node that did not change the protocol may yet think of it. But where it asked who is there, the answer has to
        // come on the same connection.
        let stays_http = !self.upgrades || self.authenticated;
        let Self { line, out, authenticated, .. } = self;
        (sent && clean && self.keeps && stays_http).then_some(Connection { line, out, authenticated })
    }

    /// The stream, which is no HTTP any more, and what was read behind the answer.
    pub(super) fn into_parts(self) -> (Box<dyn Line>, BytesMut) {
        (self.line, self.read.into_bytes())
    }
}

/// Writes a request's head, with the framing of its body; none where there is no body.
fn write_head(out: &mut Outbox, outbound: &Outbound, size: &SizeHint, is_empty: bool) -> Option<Encoder> {
    let Outbound { request, lines } = outbound;
    let encoder = match size.exact() {
        _ if is_empty => None,
        Some(length) => Some(Encoder::Length(length)),
        None => Some(Encoder::Chunked),
    };
    let buffer = out.buffer();
    buffer.reserve(1 << 10);
    buffer.extend_from_slice(request.method().as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(request.uri().path_and_query().map_or("/", |target| target.as_str()).as_bytes());
    buffer.extend_from_slice(b" HTTP/1.1\r\n");
    match lines {
        Some(lines) => buffer.extend_from_slice(&lines.0),
        None => write_headers(buffer, request.headers()),
    }
    match encoder {
        Some(encoder) => encoder.announce(out),
        // RFC 9110, section 8.6: without a body this is said of methods that are expected to have one.
        None if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) => {
            Encoder::Length(0).announce(out);
        }
        None => {}
    }
    out.buffer().extend_from_slice(b"\r\n");
    encoder
}

/// The head of an answer.
struct Head {
    response: Response<()>,
    framing: Framing,
    /// The node says that the connection stays open (RFC 9112, section 9.3).
    keeps: bool,
    /// The node authenticates the connection, or begins to.
    authenticates: bool,
    /// What `Connection` names besides.
    named: Vec<HeaderName>,
}

/// Reads a head, and tells its length; none as long as it is not whole.
fn read_head(read: &[u8], method: &Method) -> Result<Option<(Head, usize)>, Error> {
    let mut authenticates = false;
    let watch = |name: &str, value: &[u8]| {
        if matches!(name.len(), 15 | 16 | 18) {
            authenticates |= connection_auth::is_told(name, value);
        }
    };
    let found = read_answer(read, *method == Method::HEAD, watch).map_err(|AnswerError(how)| Error::Answer(how))?;
    let Some(found) = found else { return Ok(None) };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(found.status).map_err(|_| Error::Answer("its status is none"))?;
    *response.version_mut() = if found.modern { Version::HTTP_11 } else { Version::HTTP_10 };
    let bytes = read.get(..found.length).unwrap_or_default();
    let named = found.options.iter().filter_map(|place| HeaderName::from_bytes(bytes.get(place.clone())?).ok());
    let named: Vec<HeaderName> = named.collect();
    let headers = headers_of(&Bytes::copy_from_slice(bytes), &found.headers);
    *response.headers_mut() = headers.ok_or(Error::Answer("a header cannot be one"))?;
    for name in &named {
        response.headers_mut().remove(name);
    }
    Ok(Some((Head { response, framing: found.framing, keeps: found.keeps, authenticates, named }, found.length)))
}

#[cfg(test)]
mod tests;
