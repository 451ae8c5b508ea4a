//! The log: what happens, to all who are to know of it.
//!
//! Invariants: nobody who tells of something waits for a disk, a reader or a log host; what is lost is counted, and told
//! where it is missing. There is one log in a process, and a reload changes where it goes.

pub mod access;
mod central;
mod datagrams;
mod decisions;
mod entry;
mod events;
mod form;
mod masks;
mod outlets;
mod remote;
mod spool;
pub mod shown;

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use self::decisions::Decisions;
pub use self::outlets::Counts;
use self::outlets::Outlets;
use crate::config::{self, Fault, Level, LogTo, Source};
use crate::files::{Lines, Manner};

/// How long a process that ends waits for the reader of its log.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Targets that are open, and do not count yet.
pub struct Prepared(Outlets);

/// Starts the log on standard error, until a configuration says where it goes; called once.
pub fn start(level: Level) {
    let place = config::Place::whole(&Arc::new(Source::new("", "")));
    if let Ok(outlets) = Outlets::open(&[outlets::stderr(level, place)], None, &Outlets::default()) {
        Prepared(outlets).commit();
    }
    // A second start (in tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(events::Events);
    // A panic is told there too. The thread that has it may be a worker that goes on, so it waits for no reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread has panicked")));
}

/// Opens the targets of a configuration. Those that stay as they are stay open.
///
/// # Errors
/// What cannot be opened, as a fault; nothing has changed then.
pub fn prepare(to: &[LogTo], state: Option<&Path>) -> Result<Prepared, Fault> {
    Outlets::open(to, state, &central::outlets()).map(Prepared)
}

/// Whether the targets of a configuration can be opened, as far as that is told without opening them.
///
/// # Errors
/// What is wrong, as a fault.
pub fn check(to: &[LogTo], state: Option<&Path>) -> Result<(), Fault> {
    to.iter().try_for_each(|to| outlets::check(to, state))
}

impl Prepared {
    /// From now on events go there. What is on its way to other targets is written still.
    pub fn commit(self) {
        central::replace(self.0);
    }
}

/// An exchange came to its end.
pub fn exchange(line: &access::Line) {
    if central::wants_access() {
        line.write(&central::outlets());
    }
}

/// Waits for what is on its way, no longer than this: whether all of it is written. For the end, when nobody would come
/// back to it.
pub fn flush(within: Duration) -> bool {
    central::outlets().flush(within)
}

/// Opens all files anew, for who moved them away.
pub fn reopen() {
    central::outlets().reopen();
}

/// What became of the lines of each target.
pub fn counts() -> Vec<Counts> {
    central::outlets().counts()
}

/// Held by the main thread: where the process ends, by a panic too, it waits for what is on its way. Not for ever.
pub struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        flush(PATIENCE);
    }
}

/// Writes a line to standard error, behind what is on its way there. For the end: waits, but not for ever.
pub fn tell(line: &str) {
    static STDERR: OnceLock<Option<Lines>> = OnceLock::new();
    flush(PATIENCE);
    let manner = || Manner { name: "stderr".to_owned(), gather: Duration::ZERO, lost: Box::new(|_| Vec::new()) };
    if let Some(lines) = STDERR.get_or_init(|| Lines::to_stderr(manner()).ok()) {
        let mut bytes = Vec::new();
        let _ = writeln!(bytes, "{line}");
        lines.push(&bytes);
        lines.flush(PATIENCE);
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
