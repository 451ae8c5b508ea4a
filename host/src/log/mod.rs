//! The log on standard error: lines wait in a queue, so that nobody waits for its reader.

pub mod access;

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Fault, Level};
use crate::files::{Lines, Manner};

/// How long a process that ends waits for the reader of its log.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Standard error; there is one.
static STDERR: OnceLock<Lines> = OnceLock::new();

/// Where lines for standard error are handed over.
#[derive(Clone, Copy)]
struct Stderr;

/// Starts the log; called once. Another level needs a restart.
pub fn start(level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // `ldap3` logs the whole of a bind at trace level; no level of ours reaches that.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        // A reader of the log that left ends nothing: telling of it there would panic.
        .log_internal_errors(false)
        .with_writer(Stderr)
        .finish();
    // A second start (in tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber);
    // A panic is told there too. The thread that has it may be a worker that goes on, so it waits for no reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread has panicked")));
}

/// Standard error's queue; none where it cannot be written to.
fn stderr() -> Option<&'static Lines> {
    let manner = Manner { name: "log", gather: Duration::ZERO, lost: |_| None };
    if STDERR.get().is_none() {
        let _ = Lines::to_stderr(manner).map(|lines| STDERR.set(lines));
    }
    STDERR.get()
}

/// Held by the main thread: where the process ends, by a panic too, it waits for what is on its way to standard error. Not
/// for ever.
pub struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(lines) = STDERR.get() {
            lines.flush(PATIENCE);
        }
    }
}

/// Writes a line to standard error, behind what is on its way there. For the end: waits, but not for ever.
pub fn tell(line: &str) {
    if let Some(lines) = stderr() {
        lines.push(|bytes| _ = writeln!(bytes, "{line}"));
        lines.flush(PATIENCE);
    }
}

/// Lines that were lost, since nobody read standard error.
pub fn lost() -> u64 {
    STDERR.get().map_or(0, |lines| lines.counts().1)
}

impl Write for Stderr {
    /// One whole line, or several.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Some(lines) = stderr() {
            lines.push(|bytes| bytes.extend_from_slice(line));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// What an operator should know of a configuration that is taken.
pub fn warnings(warnings: &[Fault]) {
    for warning in warnings {
        let at = format!("{}:{}", warning.file.display(), warning.line);
        let Fault { key, found, expected, .. } = warning;
        tracing::warn!(at, key, found, expected, "the configuration is taken, with a warning");
    }
}
