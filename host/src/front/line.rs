//! An HTTP/1 connection, as its requests are read from it and its answers written to it. Shared by the task of the
//! connection and by whoever reads the body of the present request.
//!
//! Invariants: a request has one meaning or is refused (`http1::Reader`), and nothing behind a refused one is looked at;
//! a body is read only when somebody asks for it; between requests no memory is held.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::timed::Starter;
use crate::http1::{Decoder, Limits, Outbox, Reader};
use crate::reply::Refusal;
use crate::upload::{Cut, Source};

/// Bytes of a head that are read at once.
const STEP: usize = 8 << 10;
/// Bytes that are read at once while the client should have nothing to say.
const GLANCE: usize = 512;
/// Bytes that may wait for the answer to the request before them.
const WAITING: usize = 16 << 10;
/// Room for a body that is being read, at first and at most.
const ROOM: (usize, usize) = (8 << 10, 128 << 10);
/// What invites a body that the client announced (RFC 9110, section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What comes next on a connection.
pub(super) enum Next {
    /// A request: the bytes of its head, and how many headers there are.
    Head(Bytes, usize),
    /// Something that is none.
    Refused(Refusal),
    /// Nothing any more.
    End,
}

/// A connection.
pub(super) struct Line<S> {
    stream: S,
    starter: Starter,
    limits: Limits,
    reader: Reader,
    /// What was read and not used.
    read: BytesMut,
    /// What waits to be written.
    pub(super) out: Outbox,
    /// The number of the present request.
    number: u64,
    /// What is left of its body.
    decoder: Decoder,
    /// The client waits to be invited before it sends that.
    uninvited: bool,
    /// The client broke off, or said what has no meaning.
    broken: bool,
    room: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// A fresh connection.
    pub(super) fn new(stream: S, limits: Limits, starter: Starter) -> Self {
        Self {
            stream,
            starter,
            limits,
            reader: Reader::default(),
            read: BytesMut::new(),
            out: Outbox::default(),
            number: 0,
            decoder: Decoder::Done,
            uninvited: false,
            broken: false,
            room: ROOM.0,
        }
    }

    /// Reads the next request's head.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.read.is_empty() {
            // What a body needed is not held any longer.
            (self.read, self.room) = (BytesMut::new(), ROOM.0);
        } else if let Some(next) = self.take_head(&[]) {
            return Poll::Ready(next);
        }
        loop {
            // Most heads come in one piece, and are read where they need not be kept.
            let mut room = [const { MaybeUninit::uninit() }; STEP];
            let mut buffer = ReadBuf::uninit(&mut room);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => return Poll::Ready(Next::End),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && !self.read.is_empty() => {
                    self.broken = true;
                    return Poll::Ready(Next::Refused(Refusal::ClientTimeout));
                }
                Err(_) => return Poll::Ready(Next::End),
            }
            if let Some(next) = self.take_head(buffer.filled()) {
                return Poll::Ready(next);
            }
        }
    }

    /// Looks for a head in what was read before and what is new.
    fn take_head(&mut self, new: &[u8]) -> Option<Next> {
        let fresh = self.read.is_empty();
        if !fresh {
            self.read.extend_from_slice(new);
        }
        let bytes = if fresh { new } else { &self.read[..] };
        let found = self.reader.read(bytes, &self.limits);
        self.starter.in_head(matches!(found, Ok(None)));
        let head = match found {
            Ok(Some(head)) => head,
            Ok(None) => {
                if fresh {
                    self.read.extend_from_slice(new);
                }
                return None;
            }
            Err(refusal) => {
                self.broken = true;
                return Some(Next::Refused(refusal));
            }
        };
        let whole = Bytes::copy_from_slice(&bytes[..head.length]);
        if fresh {
            self.read.extend_from_slice(&new[head.length..]);
        } else {
            self.read.advance(head.length);
        }
        self.reader = Reader::default();
        self.number += 1;
        self.decoder = Decoder::new(head.framing);
        self.uninvited = false;
        Some(Next::Head(whole, head.count))
    }

    /// The number of the present request.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The client sends the body of the present request only when it is invited.
    pub(super) fn expects(&mut self) {
        self.uninvited = !self.decoder.is_done();
    }

    /// Whether the body of the present request was read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether nothing came that nobody read, and nothing more is on its way as far as is known.
    pub(super) fn is_quiet(&self) -> bool {
        !self.broken && self.decoder.is_done() && self.read.is_empty()
    }

    /// While the client waits for its answer: ready when it left. What it sends meanwhile waits, but not without bounds.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.decoder.is_done() && self.read.len() < WAITING {
            let mut room = [const { MaybeUninit::uninit() }; GLANCE];
            let mut buffer = ReadBuf::uninit(&mut room);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.read.extend_from_slice(buffer.filled()),
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Writes all that waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        ready!(self.out.poll_write(stream.as_mut(), cx))?;
        stream.poll_flush(cx)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            match self.decoder.decode(&mut self.read) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.decoder.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(_) => self.broken = true,
            }
            if self.broken {
                return Poll::Ready(Some(Err(Cut)));
            }
            if std::mem::take(&mut self.uninvited) {
                self.out.buffer().extend_from_slice(CONTINUE);
                // What cannot be written now goes out before the answer; if the connection broke, reading tells.
                let _ = self.poll_write(cx);
            }
            self.read.reserve(self.room);
            let read = pin!(self.stream.read_buf(&mut self.read)).poll(cx);
            match ready!(read) {
                Ok(length @ 1..) if length < self.room => {}
                Ok(1..) => self.room = (self.room * 2).min(ROOM.1),
                Ok(0) | Err(_) => self.broken = true,
            }
        }
    }

    /// The stream, and what was read of it and not used.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for RefCell<Line<S>> {
    fn poll_frame(&self, number: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut line = self.borrow_mut();
        if line.number == number { line.poll_body(cx) } else { Poll::Ready(None) }
    }

    fn size_hint(&self, number: u64) -> SizeHint {
        let line = self.borrow();
        if line.number == number { line.decoder.size_hint() } else { SizeHint::with_exact(0) }
    }
}
