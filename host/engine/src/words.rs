//! What a guest says while it is called: lines for the log, and what it writes to standard output and standard error. When
//! it fails, that is all that tells why.
//!
//! Invariants:
//! - The last [`KEPT`] bytes are kept, however much is written; nothing is allocated for a guest that says nothing.
//! - What is shown has no control characters: a guest's words forge no lines of ours.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes that are kept: a message, and the innermost ten to twenty calls of a traceback.
const KEPT: usize = 2048;
/// Bytes that a guest's stream takes at once, as of a pipe.
const PERMIT: usize = 64 << 10;

/// Where a guest's words go; its clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

/// What a guest said, line by line, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Said {
    /// A call begins: what was said before belongs to another.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Some bytes of standard output or standard error.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut said = self.lock();
        said.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        if said.len() > 2 * KEPT {
            let old = said.len() - KEPT;
            said.drain(..old);
        }
    }

    /// A line of the log.
    pub(crate) fn line(&self, line: &str) {
        // A line that was begun on a stream ends here.
        if self.lock().last().is_some_and(|last| *last != b'\n') {
            self.write(b"\n");
        }
        self.write(line.as_bytes());
        self.write(b"\n");
    }

    /// What was said, if anything was.
    pub(crate) fn words(&self) -> Option<Words> {
        let said = self.lock();
        let kept = &said[said.len().saturating_sub(KEPT)..];
        let text = String::from_utf8_lossy(kept);
        let lines = text.lines().map(|line| shown(line.trim_end())).filter(|line| !line.is_empty());
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then_some(Words(lines))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest's text with what is not printable escaped.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

impl Words {
    /// Of a text that it said in an answer.
    pub fn of(text: &str) -> Self {
        Self(vec![shown(text)])
    }

    /// Its lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

/// In one line.
impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " | " }, line.trim_start())?;
        }
        Ok(())
    }
}

impl IsTerminal for Said {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Said {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Said {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for Said {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Self::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Said {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(said: &Said) -> String {
        said.words().map(|words| words.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_end_of_what_was_said_is_kept_and_shown_without_control_characters() {
        let said = Said::default();
        assert_eq!(said.words(), None);
        said.write(b"Traceback:\n  at \"here\"");
        said.line("panic\r\x1b[31m \u{202e}x");
        assert_eq!(words(&said), "Traceback: | at \"here\" | panic\\r\\u{1b}[31m \\u{202e}x");
        said.clear();
        assert_eq!(said.words(), None);
        for n in 0..100_000 {
            said.line(&format!("line {n}"));
        }
        said.write(&[0xff; 10]);
        let end = words(&said);
        assert!(end.contains("line 99999 | \u{fffd}") && end.len() <= 2 * KEPT, "{end}");
        assert!(said.lock().capacity() <= 8 * KEPT);
        said.write(&vec![b'x'; 10 << 20]);
        assert!(words(&said).len() <= KEPT && said.lock().capacity() <= 8 * KEPT);
    }
}
