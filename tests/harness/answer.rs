//! What a scripted back-end says: whole answers, and every way of not giving one.

use crate::wire::Headers;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Something the test lets go when it wants to: an answer that waits for it stays away until then.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<(Mutex<bool>, Condvar)>);

impl Hold {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it, for all who wait and all who come.
    pub fn release(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits for it, in a script.
    pub fn wait_here(&self) {
        let _ = self.wait(&AtomicBool::new(false));
    }

    fn wait(&self, closing: &AtomicBool) -> io::Result<()> {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            if closing.load(Ordering::Relaxed) {
                return Err(io::Error::other("the back-end is stopped"));
            }
            // Wakes up by itself only to see that the back-end has been dropped.
            open = self.0.1.wait_timeout(open, Duration::from_millis(100)).unwrap().0;
        }
        Ok(())
    }
}

/// The connection as a script sees it.
pub trait Line: Read + Write {}
impl<T: Read + Write + ?Sized> Line for T {}

type Script = Box<dyn FnOnce(&mut dyn Line) -> io::Result<()> + Send>;

enum Say {
    Whole(Vec<u8>),
    Chunks(Vec<Vec<u8>>, Duration),
    Half(Vec<u8>, u64),
    Raw(Vec<u8>),
    Script(Script),
    Hang,
    Close,
    Reset,
}

/// One answer of a [`crate::Backend`].
pub struct Answer {
    pub(crate) status: u16,
    headers: Headers,
    say: Say,
    hold: Option<Hold>,
    pub(crate) early: bool,
    last: bool,
}

/// What becomes of the connection after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
    Reset,
}

impl Answer {
    fn saying(status: u16, say: Say) -> Self {
        Self { status, headers: Headers::default(), say, hold: None, early: false, last: false }
    }

    /// A status with a body, whole and with its length.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::saying(status, Say::Whole(body.into()))
    }

    /// 200 with plain text.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(200, body.into()).header("Content-Type", "text/plain; charset=utf-8")
    }

    /// 200 with a page.
    pub fn html(body: impl Into<String>) -> Self {
        Self::new(200, body.into()).header("Content-Type", "text/html; charset=utf-8")
    }

    /// 302 to somewhere.
    pub fn redirect(to: &str) -> Self {
        Self::new(302, "").header("Location", to)
    }

    /// 200, chunked, with a pause after each piece.
    pub fn slow(pieces: &[&[u8]], pause: Duration) -> Self {
        Self::saying(200, Say::Chunks(pieces.iter().map(|p| p.to_vec()).collect(), pause))
    }

    /// 200 that promises this length, sends less and closes.
    pub fn half(body: impl Into<Vec<u8>>, promised: u64) -> Self {
        Self::saying(200, Say::Half(body.into(), promised))
    }

    /// These bytes, whatever they are; then it closes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::saying(0, Say::Raw(bytes.into()))
    }

    /// Anything else: the script has the connection, which closes after it. Nothing is sent for it.
    pub fn script(script: impl FnOnce(&mut dyn Line) -> io::Result<()> + Send + 'static) -> Self {
        Self::saying(0, Say::Script(Box::new(script)))
    }

    /// Accepts an upgrade (101) and then sends back whatever comes.
    pub fn echo_upgrade(protocol: &str) -> Self {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        Self::script(move |line| {
            line.write_all(head.as_bytes())?;
            line.flush()?;
            let mut buffer = [0; 4096];
            loop {
                let n = line.read(&mut buffer)?;
                if n == 0 {
                    return Ok(());
                }
                line.write_all(&buffer[..n])?;
                line.flush()?;
            }
        })
    }

    /// No answer: the connection stays open until the proxy closes it or the back-end is dropped.
    pub fn hang() -> Self {
        Self::saying(0, Say::Hang)
    }

    /// No answer: the connection is closed.
    pub fn close() -> Self {
        Self::saying(0, Say::Close)
    }

    /// No answer: the connection is reset.
    pub fn reset() -> Self {
        Self::saying(0, Say::Reset)
    }

    /// Adds a header line. `Content-Length` and `Transfer-Encoding` are there already where they belong.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Only after the test has released it.
    #[must_use]
    pub fn after(mut self, hold: &Hold) -> Self {
        self.hold = Some(hold.clone());
        self
    }

    /// Before the request's body has been read, and then the connection closes.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.early = true;
        self.closing()
    }

    /// Closes the connection afterwards, and says so.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.last = true;
        self
    }

    pub(crate) fn write(self, method: &str, line: &mut dyn Line, closing: &AtomicBool) -> io::Result<After> {
        if let Some(hold) = &self.hold {
            hold.wait(closing)?;
        }
        let after = if self.last { After::Close } else { After::Keep };
        let head = |framing: String| {
            let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
            for (name, value) in &self.headers.0 {
                text += &format!("{name}: {value}\r\n");
            }
            if self.last {
                text += "Connection: close\r\n";
            }
            (text + &framing + "\r\n").into_bytes()
        };
        match self.say {
            Say::Whole(body) => {
                let bodyless = matches!(self.status, 204 | 304);
                let mut all =
                    head(if bodyless { String::new() } else { format!("Content-Length: {}\r\n", body.len()) });
                if method != "HEAD" && !bodyless {
                    all.extend_from_slice(&body);
                }
                line.write_all(&all)?;
            }
            Say::Chunks(pieces, pause) => {
                line.write_all(&head("Transfer-Encoding: chunked\r\n".into()))?;
                line.flush()?;
                for piece in pieces {
                    line.write_all(&[format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat())?;
                    line.flush()?;
                    // The one pause in the harness: slowness is what is asked for here.
                    std::thread::sleep(pause);
                }
                line.write_all(b"0\r\n\r\n")?;
            }
            Say::Half(body, promised) => {
                let mut all = head(format!("Content-Length: {promised}\r\n"));
                all.extend_from_slice(&body);
                line.write_all(&all)?;
                line.flush()?;
                return Ok(After::Close);
            }
            Say::Raw(bytes) => {
                line.write_all(&bytes)?;
                line.flush()?;
                return Ok(After::Close);
            }
            Say::Script(script) => return script(line).map(|()| After::Close),
            Say::Hang => {
                // Reading ends when either side closes; what comes meanwhile is thrown away.
                let began = Instant::now();
                let mut buffer = [0; 4096];
                while began.elapsed() < Duration::from_secs(600) && line.read(&mut buffer)? > 0 {}
                return Ok(After::Close);
            }
            Say::Close => return Ok(After::Close),
            Say::Reset => return Ok(After::Reset),
        }
        line.flush()?;
        Ok(after)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        304 => "Not Modified",
        401 => "Unauthorized",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
