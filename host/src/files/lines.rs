//! Lines on their way to a log: whoever has one hands it over and goes on; a thread of its own writes.
//!
//! Invariants: nobody waits for a disk or a reader; what waits is bounded; a line is written whole, or counted as lost,
//! and the log itself tells how many were.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Journal;
use super::journal::{Broken, write};

/// Bytes that may wait for the writer.
const WAITING: usize = 2 << 20;
/// A buffer that has grown is kept up to this size.
const KEPT: usize = 128 << 10;
/// How soon a log is tried again that could not be written, and how late at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A log that fails now and then is told of once: it is well when it has been so for this long.
const CALM: Duration = Duration::from_secs(5);
/// A log that is no more wanted has this time to be written to its end.
const LAST: Duration = Duration::from_secs(2);
/// Who renames a log makes a new file of its name, or tells so by a signal; without either, there is one after this.
const ROTATION: Duration = Duration::from_secs(5);

/// Where lines are handed over. When the last one is dropped, what waits is written, and the thread ends.
pub struct Lines(Arc<Queue>);

/// How a log is written.
pub struct Manner {
    /// What it is called.
    pub name: String,
    /// How long the writer lets lines gather: under load it is woken a hundred times a second, not for each line.
    pub gather: Duration,
    /// The line that says how many were lost.
    pub lost: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
}

/// Where lines end up: what the thread of a log writes to.
pub trait Sink: Send {
    /// Writes whole lines.
    ///
    /// # Errors
    /// Not all was written; how many bytes of them were is said.
    fn write(&mut self, lines: &[u8]) -> Result<(), Broken>;

    /// Before the next line, it is looked for the file that has the name now.
    fn reopen(&mut self) {}

    /// Whether lines wait here for better times, and are to be tried again though no others come.
    fn waits(&self) -> bool {
        false
    }

    /// What is wrong with it, though it takes lines.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Lines that it had no room for since it was asked last.
    fn lost(&mut self) -> u64 {
        0
    }
}

struct Queue {
    manner: Manner,
    waiting: Mutex<Waiting>,
    more: Condvar,
    done: Condvar,
    written: AtomicU64,
    lost: AtomicU64,
    reopen: AtomicBool,
    trouble: Mutex<Trouble>,
}

/// What is wrong with a log, and when it failed last.
#[derive(Default)]
struct Trouble(Option<(String, Instant)>);

/// Lines that were told to be lost, and the last line that said so.
#[derive(Default)]
struct Told {
    lost: u64,
    line: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether the writer has more in its hands.
    writing: bool,
    /// Nobody hands over any more.
    closed: bool,
}

/// A file that grows.
struct Grown(Journal, Option<Instant>, bool);

/// A descriptor.
struct Descriptor(File);

impl Lines {
    /// A log in a file, which is made, for its owner alone, where it is missing.
    ///
    /// # Errors
    /// The file that cannot be opened, or no thread.
    pub fn to_file(path: &Path, manner: Manner) -> std::io::Result<Self> {
        Self::start(Box::new(Grown(Journal::open(path, b"\n")?, None, false)), manner)
    }

    /// A log on standard error.
    ///
    /// # Errors
    /// No descriptor, or no thread.
    pub fn to_stderr(manner: Manner) -> std::io::Result<Self> {
        // A descriptor of our own: who writes to standard error elsewhere holds no lock of ours.
        let stderr = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
        Self::start(Box::new(Descriptor(stderr)), manner)
    }

    /// A log that ends up there.
    ///
    /// # Errors
    /// No thread.
    pub fn start(sink: Box<dyn Sink>, manner: Manner) -> std::io::Result<Self> {
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
        std::thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_on(sink))?;
        Ok(Self(queue))
    }

    /// Hands over a line, with its end. Never waits; false where there is no room, and it is lost.
    pub fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.0.waiting();
        if waiting.bytes.len() >= WAITING {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
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

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.0.manner.name
    }

    /// Lines that were written, and those that were lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.written.load(Ordering::Relaxed), self.0.lost.load(Ordering::Relaxed))
    }

    /// Why it cannot be written, if so.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble().0.as_ref().map(|(error, _)| error.clone())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.0.waiting().closed = true;
        self.0.more.notify_one();
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the writer.
    fn write_on(&self, mut sink: Box<dyn Sink>) {
        let (mut told, mut batch) = (Told::default(), Vec::new());
        loop {
            // For ever, but where something is to be tried again.
            let restless = sink.waits() || self.trouble().0.is_some();
            let patience = if restless { RETRY.1 } else { Duration::from_secs(3600) };
            let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.closed;
            let waited = self.more.wait_timeout_while(self.waiting(), patience, idle);
            let waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            if waiting.closed && waiting.bytes.is_empty() {
                return;
            }
            let gather = !waiting.closed && !waiting.bytes.is_empty();
            drop(waiting);
            if gather {
                std::thread::sleep(self.manner.gather);
            }
            {
                let mut waiting = self.waiting();
                waiting.writing = true;
                std::mem::swap(&mut waiting.bytes, &mut batch);
            }
            if !self.write_all(&mut *sink, &mut batch) {
                let rest = std::mem::take(&mut self.waiting().bytes);
                let left = [&*batch, &*rest].map(|bytes| memchr::memchr_iter(b'\n', bytes).count() as u64);
                self.lost.fetch_add(sink.lost() + left.iter().sum::<u64>(), Ordering::Relaxed);
                let (log, lines) = (&*self.manner.name, self.lost.load(Ordering::Relaxed).saturating_sub(told.lost));
                tracing::error!(log, lines, "lines of a log that is wanted no more were lost");
                return;
            }
            self.lost.fetch_add(sink.lost(), Ordering::Relaxed);
            self.tell_trouble(sink.trouble());
            self.tell_lost(&mut told, &batch);
            batch.clear();
            batch.shrink_to(KEPT);
            self.waiting().writing = false;
            self.done.notify_all();
        }
    }

    /// Writes a batch, however often it takes; false where nobody wants the log any more, and it cannot be written.
    fn write_all(&self, sink: &mut dyn Sink, batch: &mut Vec<u8>) -> bool {
        let (mut pause, mut last) = (RETRY.0, None);
        loop {
            if self.reopen.swap(false, Ordering::AcqRel) {
                sink.reopen();
            }
            let written = sink.write(batch);
            let bytes = written.as_ref().map_or_else(|broken| broken.written, |()| batch.len());
            // What was written whole is not written again.
            let whole = memchr::memrchr(b'\n', &batch[..bytes]).map_or(0, |at| at + 1);
            let lines = memchr::memchr_iter(b'\n', &batch[..whole]).count();
            self.written.fetch_add(lines as u64, Ordering::Relaxed);
            let Err(broken) = written else { return true };
            self.tell_trouble(Some(broken.error.to_string()));
            batch.drain(..whole);
            let closed = |waiting: &Waiting| waiting.closed;
            let wait = self.more.wait_timeout_while(self.waiting(), pause, |waiting| !closed(waiting));
            let is_closed = closed(&wait.unwrap_or_else(PoisonError::into_inner).0);
            if is_closed && last.get_or_insert_with(Instant::now).elapsed() >= LAST {
                return false;
            }
            if is_closed {
                std::thread::sleep(RETRY.0);
            }
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Tells in the log itself how many lines were lost, when there is room again: after a batch that had other lines than
    /// that one, which may be lost as well.
    fn tell_lost(&self, told: &mut Told, batch: &[u8]) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > told.lost && batch != told.line {
            // It counts like any other line.
            told.line = (self.manner.lost)(lost - told.lost);
            self.waiting().bytes.extend_from_slice(&told.line);
            told.lost = lost;
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is wrong, once for each time that it begins.
    fn tell_trouble(&self, now: Option<String>) {
        let log = &*self.manner.name;
        let mut trouble = self.trouble();
        match now {
            // The words of an error may change while it lasts.
            Some(error) => {
                let begins = trouble.0.replace((error.clone(), Instant::now())).is_none();
                drop(trouble);
                if begins {
                    tracing::error!(log, error, "a log cannot be written");
                }
            }
            None => {
                let ends = trouble.0.take_if(|(_, failed)| failed.elapsed() >= CALM).is_some();
                drop(trouble);
                if ends {
                    tracing::warn!(log, "a log is written again");
                }
            }
        }
    }
}

impl Sink for Descriptor {
    fn write(&mut self, lines: &[u8]) -> Result<(), Broken> {
        write(&mut self.0, lines)
    }
}

impl Sink for Grown {
    fn write(&mut self, lines: &[u8]) -> Result<(), Broken> {
        let Self(journal, missing, reopen) = self;
        let followed = if *reopen { journal.follow().map(drop) } else { follow(journal, missing) };
        followed.map_err(|error| Broken { written: 0, error })?;
        *reopen = false;
        journal.append(lines)
    }

    fn reopen(&mut self) {
        self.2 = true;
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
