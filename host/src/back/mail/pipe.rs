//! What follows a login: bytes are copied both ways, exactly, and nobody reads them.
//!
//! Invariants: a session in which nothing moves holds no buffer; one that cannot write holds what it read and reads no more;
//! who ends his half still gets what the other side has to say.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use doorward_wire::mail::watch::Watch;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

use crate::back::http1::Line;
use crate::back::tunnel::{Closed, Moved};
use crate::limits::Permit;
use crate::mails::OpenMail;

/// So much is read at once.
const ROOM: usize = 64 << 10;
/// A session that is told to end is told so between two answers: when the last bytes were the node's and ended a line, and
/// nothing has moved for so long.
const QUIET: Duration = Duration::from_secs(2);
/// It is not waited for longer than this.
const GRACE: Duration = Duration::from_secs(15);

thread_local! {
    /// The worker's room, which is lent to whoever has something to read.
    static LENT: RefCell<Option<Box<[u8]>>> = const { RefCell::new(None) };
}

/// A session at a mail server.
pub struct MailSession {
    pub(super) line: Box<dyn Line>,
    /// What the server said behind its answer to the login.
    pub(super) read: Vec<u8>,
    /// What it can do from now on, as clients may know it (IMAP); none where it did not say.
    pub capabilities: Option<String>,
    /// What must not reach the server.
    pub(super) watch: Option<Watch>,
    /// Its place among those of its user.
    pub open: OpenMail,
    pub(super) _place: Permit,
}

/// When a session ends by itself.
pub struct Terms<O> {
    /// Nothing moved for so long.
    pub idle: Duration,
    /// It is told to end.
    pub over: O,
    /// What the client is told then.
    pub bye: &'static [u8],
}

impl MailSession {
    /// Copies to the end; `early` is what the client sent before it had the answer. `moved` counts meanwhile.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        client: &mut S,
        early: Vec<u8>,
        moved: &Moved,
        terms: Terms<impl Future<Output = ()>>,
    ) -> Closed {
        let state = State { last: Cell::new(Instant::now()), is_line: Cell::new(true), moved };
        let read = std::mem::take(&mut self.read);
        let mut may_speak = true;
        let ended = {
            let (mut up, mut down) = (Half::begin(early, self.watch.take()), Half::begin(read, None));
            let (line, client) = (&mut self.line, &mut *client);
            let copying = std::future::poll_fn(|cx| state.poll(client, line, (&mut up, &mut down), cx));
            let mut copying = pin!(copying);
            let ended = tokio::select! {
                closed = copying.as_mut() => Some(closed),
                () = state.idle(terms.idle) => None,
                () = terms.over => None,
            };
            match ended {
                Some(closed) => closed,
                None => tokio::select! {
                    closed = copying => closed,
                    quiet = tokio::time::timeout(GRACE, state.quiet()) => {
                        may_speak = quiet.is_ok();
                        Closed::Deadline
                    }
                },
            }
        };
        if !matches!(ended, Closed::Deadline | Closed::Refused) {
            return ended;
        }
        if may_speak && !terms.bye.is_empty() {
            let _ = tokio::time::timeout(QUIET, client.write_all(terms.bye)).await;
        }
        let _ = tokio::time::timeout(QUIET, client.shutdown()).await;
        ended
    }
}

/// What is known of a session while it is copied.
struct State<'a> {
    last: Cell<Instant>,
    /// Whether the last bytes that moved came from the node and ended a line, and the client has all that the node has said.
    is_line: Cell<bool>,
    moved: &'a Moved,
}

impl State<'_> {
    /// Copies both ways. Ready when the node has ended its half and the client knows, or one of both is gone.
    fn poll<C, N>(
        &self,
        client: &mut C,
        node: &mut N,
        (up, down): (&mut Half, &mut Half),
        cx: &mut Context<'_>,
    ) -> Poll<Closed>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        N: AsyncRead + AsyncWrite + Unpin,
    {
        let count = |counter: &Cell<u64>, bytes: &[u8]| {
            self.last.set(Instant::now());
            counter.set(counter.get() + bytes.len() as u64);
        };
        let received = |bytes: &[u8]| {
            // An answer is due.
            self.is_line.set(false);
            count(&self.moved.received, bytes);
        };
        let sent = |bytes: &[u8]| {
            self.is_line.set(bytes.ends_with(b"\n"));
            count(&self.moved.sent, bytes);
        };
        match up.poll((client, node), (Closed::Client, Closed::Node), &received, cx) {
            // It takes no more; what it said still has to reach the client.
            Poll::Ready(Err(Closed::Node)) => up.shut = true,
            Poll::Ready(Err(closed)) => return Poll::Ready(closed),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let ended = down.poll((node, client), (Closed::Node, Closed::Client), &sent, cx);
        if !down.left.is_empty() || down.unflushed {
            self.is_line.set(false);
        }
        ended.map(|ended| ended.err().unwrap_or(Closed::InOrder))
    }

    /// Until nothing has moved for so long.
    async fn idle(&self, idle: Duration) {
        while self.last.get().elapsed() < idle {
            tokio::time::sleep_until(self.last.get() + idle).await;
        }
    }

    /// Until the client can be told something between two answers.
    async fn quiet(&self) {
        loop {
            self.idle(QUIET).await;
            if self.is_line.get() {
                return;
            }
            tokio::time::sleep(QUIET).await;
        }
    }
}

/// One direction.
struct Half {
    /// What was read and could not be written yet.
    left: Vec<u8>,
    at: usize,
    /// The reader is at its end.
    ended: bool,
    /// It ended by breaking off.
    broken: Option<Closed>,
    /// The writer knows that.
    shut: bool,
    /// Something was written that may still be in the writer.
    unflushed: bool,
    /// What must not reach the writer.
    watch: Option<Watch>,
}

impl Half {
    fn begin(left: Vec<u8>, watch: Option<Watch>) -> Self {
        let mut half = Self { left, at: 0, ended: false, broken: None, shut: false, unflushed: false, watch };
        if let Some(length) = half.refuses_left() {
            half.left.truncate(length);
        }
        half
    }

    fn refuses_left(&mut self) -> Option<usize> {
        let length = self.watch.as_mut()?.refuses(&self.left)?;
        (self.ended, self.broken) = (true, Some(Closed::Refused));
        Some(length)
    }

    /// Copies until the reader has no more, or the writer no room. Ready when the reader has ended, and the writer knows.
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        (reader, writer): (&mut R, &mut W),
        (of_reader, of_writer): (Closed, Closed),
        moved: &dyn Fn(&[u8]),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        loop {
            while let Some(rest) = self.left.get(self.at..).filter(|rest| !rest.is_empty()) {
                let written = ready!(Pin::new(&mut *writer).poll_write(cx, rest)).map_err(|_| of_writer)?;
                if written == 0 {
                    return Poll::Ready(Err(of_writer));
                }
                moved(&rest[..written]);
                (self.at, self.unflushed) = (self.at + written, true);
            }
            (self.left, self.at) = (Vec::new(), 0);
            if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx)).map_err(|_| of_writer)?;
                self.shut = true;
                return Poll::Ready(self.broken.map_or(Ok(()), Err));
            }
            let read = lend(|room| {
                let mut room = ReadBuf::new(room);
                if ready!(Pin::new(&mut *reader).poll_read(cx, &mut room)).is_err() {
                    self.broken = Some(of_reader);
                    return Poll::Ready(Ok(0));
                }
                let (mut filled, mut at) = (room.filled(), 0);
                let refused = self.watch.as_mut().and_then(|watch| watch.refuses(filled));
                if let Some(length) = refused {
                    filled = filled.get(..length).unwrap_or_default();
                    self.broken = Some(Closed::Refused);
                }
                while let Some(rest) = filled.get(at..).filter(|rest| !rest.is_empty()) {
                    match Pin::new(&mut *writer).poll_write(cx, rest) {
                        Poll::Ready(Ok(written)) if written > 0 => {
                            moved(&rest[..written]);
                            (at, self.unflushed) = (at + written, true);
                        }
                        Poll::Ready(_) => return Poll::Ready(Err(of_writer)),
                        Poll::Pending => {
                            self.left = rest.to_vec();
                            break;
                        }
                    }
                }
                Poll::Ready(Ok(if refused.is_some() { 0 } else { filled.len() }))
            });
            match read {
                Poll::Ready(read) => self.ended = read? == 0,
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(|_| of_writer)?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Lends the worker's room for the time of a call.
fn lend<T>(call: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut room = LENT.take().unwrap_or_else(|| vec![0; ROOM].into_boxed_slice());
    let done = call(&mut room);
    LENT.set(Some(room));
    done
}
