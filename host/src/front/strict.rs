//! Reads along with hyper's HTTP/1, so that a request has one meaning or none: a stream between the connection and hyper.
//!
//! Invariants: hyper gets a head only when it is whole and good. After a bad one hyper gets a small request in its place,
//! which is answered with a refusal and closes the connection, and nothing that the client sent after it is looked at.
//! After a bad chunk the body ends with an error, and nothing after it is looked at either. What comes behind a request
//! for another protocol waits until that is decided.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timed::Starter;
use crate::http1::{Chunks, Framing, Limits, Read, Reader};
use crate::reply::Refusal;

/// What hyper gets in place of a bad head. It is never forwarded.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";
/// Bytes that are read at once into what is held.
const STEP: usize = 4 << 10;
/// Bytes that may wait for the answer to a request for another protocol.
const WAITING: usize = 16 << 10;

/// A stream whose requests are read strictly.
pub(super) struct Strict<S> {
    stream: S,
    limits: Limits,
    at: At,
    /// What was read and not handed over: first what may be, then the beginning of a head.
    held: Vec<u8>,
    /// So much of it may be handed over.
    good: usize,
    /// So much of that was.
    given: usize,
    /// Heads so far.
    heads: u64,
    ledger: Rc<Ledger>,
}

/// Where in the connection's requests the next byte is.
enum At {
    /// In a head, or before one.
    Head(Reader),
    /// In a body of which so much is left.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// Behind a request for another protocol.
    Undecided,
    /// Behind a bad head.
    Refused,
    /// Behind a bad chunk.
    Broken,
}

/// What the stream and the service know of each other.
pub(super) struct Ledger {
    starter: Starter,
    /// Requests that were handed to the service.
    served: Cell<u64>,
    /// The number of the request that is refused, and why.
    refused: RefCell<Option<(u64, Refusal)>>,
    /// The number of the request for another protocol that is not decided; 0 is none.
    undecided: Cell<u64>,
    /// Who waits for that.
    waiting: RefCell<Option<Waker>>,
}

impl Ledger {
    /// The next request is about to be answered: its number, and why it is refused, if it is.
    pub(super) fn next(&self) -> (u64, Option<Refusal>) {
        let number = self.served.get() + 1;
        self.served.set(number);
        (number, self.refused.borrow_mut().take_if(|(of, _)| *of == number).map(|(_, refusal)| refusal))
    }

    /// The request of this number was answered as HTTP. If it was one for another protocol, what comes next is HTTP.
    pub(super) fn stays_http(&self, number: u64) {
        if self.undecided.get() == number {
            self.undecided.set(0);
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
    }
}

impl<S> Strict<S> {
    /// A fresh connection.
    pub(super) fn new(stream: S, limits: Limits, starter: Starter) -> (Self, Rc<Ledger>) {
        let ledger = Rc::new(Ledger {
            starter,
            served: Cell::new(0),
            refused: RefCell::default(),
            undecided: Cell::new(0),
            waiting: RefCell::default(),
        });
        let at = At::Head(Reader::default());
        let strict = Self { stream, limits, at, held: Vec::new(), good: 0, given: 0, heads: 0, ledger: ledger.clone() };
        (strict, ledger)
    }

    /// Whether all that came was read to the end of a request, so that nothing is on its way that nobody reads.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.at, At::Head(_)) && self.held.is_empty()
    }

    /// The stream below, and what was read of it and belongs to nobody yet.
    pub(super) fn into_parts(mut self) -> (S, Vec<u8>) {
        (self.stream, self.held.split_off(self.good))
    }

    /// Reads `bytes`, which begin where the last reading ended: how many of them may be handed over.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match &mut self.at {
                At::Head(reader) => match reader.read(rest, &self.limits) {
                    Ok(Some(head)) => {
                        done += head.length;
                        self.heads += 1;
                        self.at = match head.framing {
                            _ if head.upgrade => {
                                self.ledger.undecided.set(self.heads);
                                At::Undecided
                            }
                            Framing::None | Framing::Close => At::Head(Reader::default()),
                            Framing::Length(length) => At::Length(length),
                            Framing::Chunked => At::Chunked(Chunks::default()),
                        };
                    }
                    Ok(None) => return done,
                    Err(refusal) => {
                        self.refuse(refusal);
                        return done;
                    }
                },
                At::Length(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= taken as u64;
                    done += taken;
                    if *left == 0 {
                        self.at = At::Head(Reader::default());
                    }
                }
                At::Chunked(chunks) => match chunks.read(rest) {
                    Read::More => done = bytes.len(),
                    Read::Data(framing, length) => done += framing + length,
                    Read::Ended(length) => {
                        done += length;
                        self.at = At::Head(Reader::default());
                    }
                    Read::Broken(at) => {
                        self.at = At::Broken;
                        return done + at;
                    }
                },
                At::Undecided | At::Refused | At::Broken => return done,
            }
        }
        done
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.at = At::Refused;
        self.heads += 1;
        *self.ledger.refused.borrow_mut() = Some((self.heads, refusal));
    }

    /// Reads what is held, all of it not handed over yet.
    fn read_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.good = self.advance(&held);
        self.held = held;
        self.settle();
    }

    /// After a reading: what can mean nothing any more goes, and the stand-in comes behind what was good.
    fn settle(&mut self) {
        match self.at {
            At::Refused => {
                self.held.truncate(self.good);
                self.held.extend_from_slice(STAND_IN);
                self.good = self.held.len();
            }
            At::Broken => self.held.truncate(self.good),
            _ => {}
        }
        let in_head = matches!(self.at, At::Head(_)) && self.held.len() > self.good;
        self.ledger.starter.in_head(in_head);
    }

    /// Hands over what is held and good.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let part = &self.held[self.given..self.good];
        let part = &part[..part.len().min(buffer.remaining())];
        buffer.put_slice(part);
        self.given += part.len();
        if self.given == self.good {
            self.held.drain(..self.good);
            (self.good, self.given) = (0, 0);
            // A large head is rare, and the connection may be long.
            if self.held.is_empty() && self.held.capacity() > STEP {
                self.held = Vec::new();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Strict<S> {
    /// Reads more into what is held. False at the end of the stream.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let before = self.held.len();
        self.held.resize(before + STEP, 0);
        let mut buffer = ReadBuf::new(&mut self.held[before..]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let length = buffer.filled().len();
        self.held.truncate(before + length);
        ready!(read)?;
        Poll::Ready(Ok(length > 0))
    }

    /// Reads straight into hyper's buffer, which is the common case: whole heads, and bodies. True when hyper has
    /// something to do.
    fn poll_in_place(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let new = &buffer.filled()[before..];
        if new.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let good = self.advance(new);
        self.held.extend_from_slice(&new[good..]);
        buffer.set_filled(before + good);
        self.settle();
        Poll::Ready(Ok(good > 0))
    }

    /// Reads on behind a request for another protocol, until that is decided. A client that leaves is noticed.
    fn poll_undecided(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ledger.undecided.get() == 0 {
            self.at = At::Head(Reader::default());
            self.read_held();
            return Poll::Ready(Ok(true));
        }
        *self.ledger.waiting.borrow_mut() = Some(cx.waker().clone());
        if self.held.len() >= WAITING { Poll::Pending } else { self.poll_hold(cx) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.good {
                this.give(buffer);
                return Poll::Ready(Ok(()));
            }
            match this.at {
                At::Broken => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a bad chunk"))),
                // hyper closes by itself after the answer.
                At::Refused => return Poll::Pending,
                At::Undecided => {
                    if !ready!(this.poll_undecided(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                _ if this.held.is_empty() => {
                    if ready!(this.poll_in_place(cx, buffer))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                _ => match ready!(this.poll_hold(cx)) {
                    Ok(true) => this.read_held(),
                    Ok(false) => return Poll::Ready(Ok(())),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        this.held.clear();
                        this.refuse(Refusal::ClientTimeout);
                        this.settle();
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
