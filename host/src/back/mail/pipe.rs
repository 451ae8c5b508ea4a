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
use crate::config::Protocol;
use crate::limits::Permit;
use crate::mails::OpenMail;

/// So much is read at once.
const ROOM: usize = 64 << 10;
/// A session that is told to end is told so between two answers: when the last bytes were the node's and ended a line, and
/// nothing has moved for so long.
const QUIET: Duration = Duration::from_secs(2);
/// It is not waited for longer than this, unless the process ends: then it is waited for as long as that takes.
const GRACE: Duration = Duration::from_secs(15);
/// So long the answer to a message may take (RFC 5321, section 4.5.3.2.6): a program that gets none sends it again.
const MESSAGE: Duration = Duration::from_secs(600);

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
    /// It is told to end: whether by the end of the process, which cuts what is left by itself.
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
        terms: Terms<impl Future<Output = bool>>,
    ) -> Closed {
        let state = State::new(self.open.mail().protocol == Protocol::Submission, moved);
        let read = std::mem::take(&mut self.read);
        let halves = (Half::begin(early, self.watch.take()), Half::begin(read, None));
        let bye = terms.bye;
        let (ended, may_speak) = state.run(client, &mut self.line, halves, terms).await;
        if !matches!(ended, Closed::Deadline | Closed::Refused) {
            return ended;
        }
        if may_speak && !bye.is_empty() {
            let _ = tokio::time::timeout(QUIET, client.write_all(bye)).await;
        }
        let _ = tokio::time::timeout(QUIET, client.shutdown()).await;
        ended
    }
}

/// What is known of a session while it is copied.
struct State<'a> {
    last: Cell<Instant>,
    /// Whether the last bytes that moved came from the node and ended an answer.
    answered: Cell<bool>,
    /// The client does not have all yet that the node has said.
    held: Cell<bool>,
    /// Where answers end in submission; elsewhere every line may end one.
    answers: Option<Cell<Answers>>,
    /// Nothing new is begun: of the client nothing is read while it waits for no answer.
    closing: Cell<bool>,
    moved: &'a Moved,
}

impl<'a> State<'a> {
    fn new(is_submission: bool, moved: &'a Moved) -> Self {
        let (answered, held, closing) = (Cell::new(true), Cell::new(false), Cell::new(false));
        let answers = is_submission.then(Cell::default);
        Self { last: Cell::new(Instant::now()), answered, held, answers, closing, moved }
    }

    /// Copies until one side or the terms end it. With that, whether the client may be told something.
    async fn run<C, N>(
        &self,
        client: &mut C,
        node: &mut N,
        (mut up, mut down): (Half, Half),
        terms: Terms<impl Future<Output = bool>>,
    ) -> (Closed, bool)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        N: AsyncRead + AsyncWrite + Unpin,
    {
        let copying = std::future::poll_fn(|cx| self.poll(client, node, (&mut up, &mut down), cx));
        let mut copying = pin!(copying);
        let may_last = tokio::select! {
            closed = copying.as_mut() => return (closed, true),
            () = self.idle(terms.idle) => false,
            may_last = terms.over => may_last,
        };
        let patience = async {
            tokio::time::sleep(GRACE).await;
            // From now on nothing is begun: it is quiet soon, unless an answer is due.
            self.closing.set(self.answers.is_some());
            if may_last {
                self.idle(terms.idle).await;
            } else if self.answers.is_some() {
                tokio::time::sleep(MESSAGE - GRACE).await;
            }
        };
        tokio::select! {
            closed = copying => (closed, true),
            () = self.quiet() => (Closed::Deadline, true),
            () = patience => (Closed::Deadline, false),
        }
    }

    /// Whether the client waits for an answer, or for the rest of one.
    fn is_due(&self) -> bool {
        !self.answered.get() || self.held.get()
    }

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
            self.answered.set(false);
            count(&self.moved.received, bytes);
        };
        let sent = |bytes: &[u8]| {
            self.answered.set(match &self.answers {
                None => bytes.ends_with(b"\n"),
                Some(answers) => {
                    let next = answers.get().hear(bytes);
                    answers.set(next);
                    next.is_end()
                }
            });
            count(&self.moved.sent, bytes);
        };
        let rests = self.closing.get() && !self.is_due() && up.left.is_empty() && !up.unflushed;
        let copied =
            if rests { Poll::Pending } else { up.poll((client, node), (Closed::Client, Closed::Node), &received, cx) };
        match copied {
            // It takes no more; what it said still has to reach the client.
            Poll::Ready(Err(Closed::Node)) => up.shut = true,
            Poll::Ready(Err(closed)) => return Poll::Ready(closed),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let ended = down.poll((node, client), (Closed::Node, Closed::Client), &sent, cx);
        self.held.set(!down.left.is_empty() || down.unflushed);
        if rests && self.is_due() {
            cx.waker().wake_by_ref();
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
            if !self.is_due() {
                return;
            }
            tokio::time::sleep(QUIET).await;
        }
    }
}

/// What a node says in submission, read as far as it takes to know where an answer ends.
#[derive(Clone, Copy)]
struct Answers {
    /// How the last line begins.
    beginning: [u8; 4],
    length: usize,
    /// It is whole.
    is_line: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Self { beginning: [0; 4], length: 0, is_line: true }
    }
}

impl Answers {
    /// More of it.
    fn hear(mut self, bytes: &[u8]) -> Self {
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let last = memchr::memrchr(b'\n', body).and_then(|end| body.get(end + 1..));
        if self.is_line || last.is_some() {
            self.length = 0;
        }
        for (place, byte) in self.beginning.iter_mut().skip(self.length).zip(last.unwrap_or(body)) {
            *place = *byte;
            self.length += 1;
        }
        self.is_line = bytes.ends_with(b"\n");
        self
    }

    /// Whether an answer ends here: neither is an invitation to send a message one, nor a line that others follow.
    fn is_end(self) -> bool {
        let beginning = self.beginning.get(..self.length).unwrap_or_default();
        self.is_line && !beginning.starts_with(b"354") && beginning.get(3) != Some(&b'-')
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;

    #[test]
    fn answers_end_with_their_last_line_and_not_where_a_message_begins() {
        let is_end = |parts: &[&str]| {
            parts.iter().fold(Answers::default(), |answers, part| answers.hear(part.as_bytes())).is_end()
        };
        assert!(Answers::default().is_end());
        for ends in [&["250 ok\r\n"][..], &["2", "5", "0 ok\r", "\n"], &["250-a\r\n25", "0 b\r\n"], &["250\n"]] {
            assert!(is_end(ends), "{ends:?}");
        }
        for goes_on in [
            &["250 ok"][..],
            &["250-a\r\n"],
            &["250 a\r\n250", "-", "b\r\n"],
            &["250 ok\r\n354 go\r\n"],
            &["3", "5", "4\r\n"],
            &["250 a\r\n", "354 go\r\n"],
            &["250 a\r\n250 b"],
        ] {
            assert!(!is_end(goes_on), "{goes_on:?}");
        }
        assert!(is_end(&["354 go\r\n", "250 queued\r\n"]));
    }

    /// A session that was told to end at once, by its process or by an operator: the client's side, the node's, and how long
    /// it lasted, once it is over.
    fn told(by_process: bool) -> (DuplexStream, DuplexStream, impl Future<Output = (u64, bool)>) {
        let ((client, mut of_client), (node, mut of_node)) = (tokio::io::duplex(4096), tokio::io::duplex(4096));
        let session = async move {
            let (moved, began) = (Moved::default(), Instant::now());
            let state = State::new(true, &moved);
            let halves = (Half::begin(b"DATA\r\n".to_vec(), None), Half::begin(Vec::new(), None));
            let over = async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                by_process
            };
            let terms = Terms { idle: Duration::from_secs(3600), over, bye: b"" };
            let (ended, may_speak) = state.run(&mut of_client, &mut of_node, halves, terms).await;
            assert_eq!(ended, Closed::Deadline);
            (began.elapsed().as_secs(), may_speak)
        };
        (client, node, session)
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_has_its_time() {
        // A node that never answers: an operator's word holds after ten minutes; a process that ends waits until it is idle.
        for (by_process, seconds) in [(false, 601), (true, 3600)] {
            let (_client, mut node, session) = told(by_process);
            node.write_all(b"354 go\r\n").await.unwrap();
            let (lasted, may_speak) = session.await;
            assert!(!may_speak && lasted.abs_diff(seconds) < 20, "{by_process}: {lasted}");
        }
        // One that answers late: the session is told then.
        for by_process in [false, true] {
            let (mut client, mut node, session) = told(by_process);
            let message = async {
                node.write_all(b"354 go\r\n").await.unwrap();
                tokio::time::sleep(Duration::from_secs(120)).await;
                client.write_all(b"text\r\n.\r\n").await.unwrap();
                tokio::time::sleep(Duration::from_secs(120)).await;
                node.write_all(b"250 queued\r\n").await.unwrap();
            };
            let ((lasted, may_speak), ()) = tokio::join!(session, message);
            assert!(may_speak && lasted.abs_diff(242) < 10, "{by_process}: {lasted}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_and_on_begins_nothing_new() {
        let (mut client, mut node, session) = told(false);
        node.write_all(b"250 ok\r\n").await.unwrap();
        let busy = async {
            let mut room = [0; 64];
            while client.write_all(b"NOOP\r\n").await.is_ok() && client.read(&mut room).await.is_ok_and(|read| read > 0)
            {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let answers = async {
            let mut room = [0; 64];
            while node.read(&mut room).await.is_ok_and(|read| read > 0) && node.write_all(b"250 ok\r\n").await.is_ok() {
            }
        };
        let ((lasted, may_speak), (), ()) = tokio::join!(session, busy, answers);
        assert!(may_speak && lasted < 40, "{lasted}");
    }
}
