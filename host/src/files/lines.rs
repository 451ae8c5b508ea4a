//! Lines on their way to a log: whoever has one hands it over and goes on; a thread of its own writes.
//!
//! Invariants: nobody waits for a disk or a reader; what waits is bounded; a line is written whole, or counted as lost,
//! and the log itself tells how many were.

use std::fs::File;
use std::io::Error;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Journal;
use super::journal::{Broken, write};

/// Bytes that may wait for the writer.
const WAITING: usize = 2 << 20;
/// How often a log is tried again that could not be written.
const RETRY: Duration = Duration::from_secs(1);
/// Who renames a log makes a new file of its name, or tells so by a signal; without either, there is one after this.
const ROTATION: Duration = Duration::from_secs(5);

/// Where lines are handed over. Cheap to clone.
#[derive(Clone)]
pub struct Lines(Arc<Queue>);

/// How a log is written.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What it is called.
    pub name: &'static str,
    /// How long the writer lets lines gather: under load it is woken a hundred times a second, not for each line.
    pub gather: Duration,
    /// The line that says how many were lost.
    pub lost: fn(u64) -> Option<String>,
}

struct Queue {
    manner: Manner,
    waiting: Mutex<Waiting>,
    more: Condvar,
    done: Condvar,
    written: AtomicU64,
    lost: AtomicU64,
    reopen: AtomicBool,
    trouble: Mutex<Option<String>>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether the writer has more in its hands.
    writing: bool,
}

enum Output {
    Stderr(File),
    File(Journal, Option<Instant>),
}

impl Lines {
    /// A log in a file, which is made, for its owner alone, where it is missing.
    ///
    /// # Errors
    /// The file that cannot be opened, or no thread.
    pub fn to_file(path: &Path, manner: Manner) -> std::io::Result<Self> {
        Self::start(Output::File(Journal::open(path, b"\n")?, None), manner)
    }

    /// A log on standard error.
    ///
    /// # Errors
    /// No descriptor, or no thread.
    pub fn to_stderr(manner: Manner) -> std::io::Result<Self> {
        // A descriptor of our own: who writes to standard error elsewhere holds no lock of ours.
        let stderr = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
        Self::start(Output::Stderr(stderr), manner)
    }

    fn start(output: Output, manner: Manner) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            manner,
            waiting: Mutex::default(),
            more: Condvar::new(),
            done: Condvar::new(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            trouble: Mutex::default(),
        });
        let of_thread = queue.clone();
        std::thread::Builder::new().name(manner.name.to_owned()).spawn(move || of_thread.write_on(output))?;
        Ok(Self(queue))
    }

    /// Hands over what `add` adds: one line, with its end. Never waits; false where there is no room, and it is lost.
    pub fn push(&self, add: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut waiting = self.0.waiting();
        if waiting.bytes.len() >= WAITING {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let first = waiting.bytes.is_empty();
        add(&mut waiting.bytes);
        drop(waiting);
        if first {
            self.0.more.notify_one();
        }
        true
    }

    /// Waits until all is written that was handed over, but no longer than this: whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        let waiting = self.0.waiting();
        let pending = |waiting: &mut Waiting| waiting.writing || !waiting.bytes.is_empty();
        let waited = self.0.done.wait_timeout_while(waiting, within, pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Opens the file of its name anew, before the next line.
    pub fn reopen(&self) {
        self.0.reopen.store(true, Ordering::Release);
    }

    /// Lines that were written, and those that were lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.written.load(Ordering::Relaxed), self.0.lost.load(Ordering::Relaxed))
    }

    /// Why it cannot be written, if so.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the writer.
    fn write_on(&self, mut output: Output) {
        let mut told = 0;
        loop {
            drop(self.more.wait_while(self.waiting(), |waiting| waiting.bytes.is_empty()));
            std::thread::sleep(self.manner.gather);
            let mut batch = {
                let mut waiting = self.waiting();
                waiting.writing = true;
                std::mem::take(&mut waiting.bytes)
            };
            while let Err(broken) = self.write(&mut output, &batch) {
                self.tell_trouble(&output, Some(&broken.error));
                // What was written whole is not written again.
                let whole = memchr::memrchr(b'\n', &batch[..broken.written]).map_or(0, |at| at + 1);
                batch.drain(..whole);
                std::thread::sleep(RETRY);
            }
            self.tell_trouble(&output, None);
            self.tell_lost(&mut told);
            self.waiting().writing = false;
            self.done.notify_all();
        }
    }

    fn write(&self, output: &mut Output, batch: &[u8]) -> Result<(), Broken> {
        let reopen = self.reopen.swap(false, Ordering::AcqRel);
        let written = match output {
            Output::Stderr(file) => write(file, batch),
            Output::File(journal, missing) => {
                let followed = if reopen { journal.follow().map(drop) } else { follow(journal, missing) };
                followed.map_err(|error| Broken { written: 0, error })?;
                journal.append(batch)
            }
        };
        let bytes = written.as_ref().map_or_else(|broken| broken.written, |()| batch.len());
        let lines = memchr::memchr_iter(b'\n', &batch[..bytes]).count();
        self.written.fetch_add(lines as u64, Ordering::Relaxed);
        written
    }

    /// Tells in the log itself how many lines were lost, when there is room again.
    fn tell_lost(&self, told: &mut u64) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost == *told {
            return;
        }
        let lines = lost - *told;
        match (self.manner.lost)(lines) {
            // A line of a format that is not made here; it counts like any other.
            None => {
                tracing::warn!(log = self.manner.name, lines, "lines of a log were lost: they were not taken in time")
            }
            Some(line) => self.waiting().bytes.extend_from_slice(line.as_bytes()),
        }
        *told = lost;
    }

    /// Tells what is wrong, once for each time that it begins. Of standard error there is nowhere to tell it.
    fn tell_trouble(&self, output: &Output, error: Option<&Error>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let now = error.map(ToString::to_string);
        if *trouble == now {
            return;
        }
        if let Output::File(journal, _) = output {
            let file = journal.path().display();
            match &now {
                Some(error) => tracing::error!(%file, error, "a log cannot be written"),
                None => tracing::warn!(%file, "a log is written again"),
            }
        }
        *trouble = now;
    }
}

/// Follows the file's name: at once to another file, and when it was removed; to none yet only after a while, since
/// who renames a log makes the next one.
fn follow(journal: &mut Journal, missing: &mut Option<Instant>) -> std::io::Result<()> {
    if !journal.was_renamed() {
        *missing = None;
    } else if missing.get_or_insert_with(Instant::now).elapsed() < ROTATION {
        return Ok(());
    }
    journal.follow().map(drop)
}
