//! An HTTP/1 connection, as its requests are read from it and its answers written to it. Shared by the task of the
//! connection and by whoever reads the body of the present request.
//!
//! Invariants: a request has one meaning or is refused (`http1::Reader`), and nothing behind a refused one is looked at;
//! a body is read only when somebody asks for it; between requests next to no memory is held.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timed::Starter;
use crate::http1::{Decoder, Inbox, Limits, Outbox, Places, Reader};
use crate::reply::Refusal;
use crate::upload::{Cut, Source};

/// Bytes of a head that are read at once.
const STEP: usize = 8 << 10;
/// Bytes that are read at once while the client should have nothing to say.
const GLANCE: usize = 512;
/// Bytes that may wait for the answer to the request before them.
const WAITING: usize = 16 << 10;
/// What invites a body that the client announced (RFC 9110, section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What comes next on a connection.
pub(super) enum Next {
    /// A request: the bytes of its head, and where their parts are.
    Head(Bytes, Places),
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
    read: Inbox,
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
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// A fresh connection.
    pub(super) fn new(stream: S, limits: Limits, starter: Starter) -> Self {
        Self {
            stream,
            starter,
            limits,
            reader: Reader::default(),
            read: Inbox::default(),
            out: Outbox::default(),
            number: 0,
            decoder: Decoder::Done,
            uninvited: false,
            broken: false,
        }
    }

    /// Reads the next request's head.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.read.is_empty() {
            // What a body needed is not held any longer.
            self.read = Inbox::default();
            self.out.shrink();
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
        let (reader, limits) = (&mut self.reader, &self.limits);
        let found = self.read.look(new, |bytes| {
            let head = reader.read(bytes, limits)?.map(|head| (Bytes::copy_from_slice(&bytes[..head.length]), head));
            Ok((head.as_ref().map_or(0, |(bytes, _)| bytes.len()), head))
        });
        self.starter.in_head(matches!(found, Ok(None)));
        let (bytes, head) = match found {
            Ok(found) => found?,
            Err(refusal) => {
                self.broken = true;
                return Some(Next::Refused(refusal));
            }
        };
        self.reader = Reader::default();
        self.number += 1;
        self.decoder = Decoder::new(head.framing);
        self.uninvited = false;
        Some(Next::Head(bytes, head.places))
    }

    /// The number of the present request.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The client sends the body of the present request only when it is invited.
    pub(super) fn expects(&mut self) {
        self.uninvited = true;
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
                Ok(()) if !buffer.filled().is_empty() => self.read.keep(buffer.filled()),
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
            match self.decoder.decode(self.read.bytes()) {
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
            if !matches!(ready!(self.read.poll_read(&mut self.stream, cx)), Ok(1..)) {
                self.broken = true;
            }
        }
    }

    /// The stream, and what was read of it and not used.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.read.into_bytes())
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::timed::Timed;
    use super::*;
    use crate::upload::Incoming;

    type Shared = Rc<RefCell<Line<Timed<DuplexStream>>>>;

    fn line() -> (DuplexStream, Shared) {
        let (client, server) = duplex(64 << 10);
        let text = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"*\"]\n\
            [[backend]]\nname = \"n\"\nurl = \"http://127.0.0.1:1\"\nrecipe = \"roundcube\"\n";
        let source = std::sync::Arc::new(crate::config::Source::new("test", text));
        let limits = crate::http1::limits_of(&crate::config::parse(&source, std::path::Path::new(".")).unwrap().http);
        let (stream, starter) = Timed::new(server, Duration::from_secs(10), Duration::from_secs(300));
        (client, Rc::new(RefCell::new(Line::new(stream, limits, starter))))
    }

    async fn next(line: &Shared) -> Result<String, Option<Refusal>> {
        match poll_fn(|cx| line.borrow_mut().poll_next(cx)).await {
            Next::Head(head, _) => Ok(String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned()),
            Next::Refused(refusal) => Err(Some(refusal)),
            Next::End => Err(None),
        }
    }

    async fn body(line: &Shared) -> Result<Bytes, Cut> {
        let number = line.borrow().number();
        Ok(Incoming::Http1(line.clone(), number).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn requests_come_one_after_the_other_however_they_are_cut() {
        let all = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\
            POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhoi\r\n0\r\n\r\nGET /d HTTP/1.1\r\nHost: x\r\n\r\n";
        for step in [1, 7, all.len()] {
            let (mut client, line) = line();
            let write = async {
                for part in all.chunks(step) {
                    client.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
                client
            };
            let read = async {
                for (path, expected) in [("/a", ""), ("/b", "hi"), ("/c", "hoi"), ("/d", "")] {
                    assert_eq!(next(&line).await.unwrap(), path);
                    assert_eq!(body(&line).await.unwrap(), expected);
                }
                line.borrow().is_quiet()
            };
            let (client, quiet) = tokio::join!(write, read);
            assert!(quiet);
            drop(client);
            assert_eq!(next(&line).await, Err(None));
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_none_is_an_error_and_ends_the_connection() {
        for (rest, ends) in [("Content-Length: 3\r\n\r\nhi", true), ("Transfer-Encoding: chunked\r\n\r\nx\r\n", false)]
        {
            let (mut client, line) = line();
            client.write_all(format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes()).await.unwrap();
            assert_eq!(next(&line).await.unwrap(), "/");
            let client = (!ends).then_some(client);
            assert!(body(&line).await.is_err(), "{rest:?}");
            assert!(!line.borrow().is_read() && !line.borrow().is_quiet());
            drop(client);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_of_a_body_that_nobody_asks_for() {
        let (mut client, line) = line();
        client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
        next(&line).await.unwrap();
        let more = tokio::time::timeout(Duration::from_millis(20), client.write_all(&[0; 100_000]));
        let left = tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| line.borrow_mut().poll_left(cx)));
        let (more, left) = tokio::join!(more, left);
        assert!(more.is_err() && left.is_err(), "the client waits, and is not gone");
        assert!(line.borrow().read.is_empty());
    }

    #[tokio::test]
    async fn a_body_is_invited_once_when_it_is_asked_for() {
        let (mut client, line) = line();
        client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n").await.unwrap();
        next(&line).await.unwrap();
        line.borrow_mut().expects();
        let invited = async {
            let mut word = [0; CONTINUE.len()];
            client.read_exact(&mut word).await.unwrap();
            assert_eq!(word, *CONTINUE);
            client.write_all(b"hi").await.unwrap();
            client
        };
        let (mut client, read) = tokio::join!(invited, body(&line));
        assert_eq!(read.unwrap(), "hi");
        drop(line);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_is_noticed_and_what_it_sent_before_waits_in_bounds() {
        let (mut client, line) = line();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        next(&line).await.unwrap();
        let left = |line: Shared| async move { poll_fn(|cx| line.borrow_mut().poll_left(cx)).await };
        let still = tokio::time::timeout(Duration::from_millis(20), left(line.clone())).await;
        assert!(still.is_err());
        assert_eq!(next(&line).await.unwrap(), "/b");
        drop(client);
        left(line).await;
        let (mut client, line) = self::line();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        next(&line).await.unwrap();
        let flood = tokio::time::timeout(Duration::from_millis(20), client.write_all(&[b'x'; 200_000]));
        let (_, still) = tokio::join!(flood, tokio::time::timeout(Duration::from_millis(20), left(line.clone())));
        assert!(still.is_err() && line.borrow().read.len() < WAITING + GLANCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_told_and_silence_is_not() {
        let (mut client, line) = line();
        client.write_all(b"GET / HT").await.unwrap();
        assert_eq!(next(&line).await, Err(Some(Refusal::ClientTimeout)));
        let (_client, line) = self::line();
        assert_eq!(next(&line).await, Err(None));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_nothing_is_held() {
        let (mut client, line) = line();
        client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n").await.unwrap();
        client.write_all(&[0; 5000]).await.unwrap();
        next(&line).await.unwrap();
        assert_eq!(body(&line).await.unwrap().len(), 5000);
        assert!(tokio::time::timeout(Duration::from_millis(5), next(&line)).await.is_err());
        assert_eq!(line.borrow_mut().read.bytes().capacity(), 0);
    }
}
