//! The audit log: who did what, or tried to, and what came of it.
//!
//! A line is written by one thread: appended under a lock (two processes may write during an upgrade), synced, and chained
//! to the line before it. Whoever waits for his line waits alone. Each line is an event of the log too (target `audit`).
//!
//! Invariants: what changes something is not done while no line can be written; strangers cannot fill the disk: of those
//! who are not let in a bounded number of lines a minute is written, and the others are counted in the next one.

pub mod chain;

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value as Json, json};
use tokio::sync::oneshot;

use super::caller::Caller;
use crate::files::Journal;
use crate::policy::digest;
use crate::times::timestamp;

/// Lines on their way. Each is some hundred bytes.
const WAITING: usize = 256;
/// A text that somebody wrote is cut to so many bytes.
const TEXT: usize = 1024;
/// Lines a minute of those who are not let in.
const STRANGERS: u32 = 60;
/// The same of guesses at passwords.
const GUESSES: u32 = 600;
const MINUTE: Duration = Duration::from_secs(60);
/// The last line of a file is looked for in so many bytes. A line has a bounded number of bounded texts.
const TAIL: u64 = 256 << 10;

/// What is told of something that was done, or tried.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    fields: Map<String, Json>,
    stranger: bool,
    /// A password was looked at: that is dear, and has a budget that cheap tries cannot spend.
    guess: bool,
}

impl Entry {
    /// Somebody who was let in did something.
    pub fn of(caller: &Caller, verb: &str) -> Self {
        let mut entry = Self::default().with("who", caller.proof.to_string()).with("how", caller.proof.kind());
        if let Some(from) = caller.from {
            entry = entry.with("from", from.to_string());
        }
        entry.with("role", caller.role.name()).with("verb", verb)
    }

    /// Somebody who was not let in tried something.
    pub fn stranger(from: std::net::IpAddr, verb: &str) -> Self {
        Self { stranger: true, ..Self::default() }.with("from", from.to_string()).with("verb", verb)
    }

    /// He was let in after all: his line is written whatever strangers do.
    #[must_use]
    pub fn of_friend(self) -> Self {
        Self { stranger: false, ..self }
    }

    /// He guessed at a password.
    #[must_use]
    pub fn of_guess(self) -> Self {
        Self { guess: true, ..self }
    }

    /// What is known besides.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        let value = match value.into() {
            Json::String(text) => Json::String(text[..text.floor_char_boundary(TEXT)].to_owned()),
            value => value,
        };
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// What was said with a verb. No verb takes a secret.
    #[must_use]
    pub fn with_arguments<'a>(self, arguments: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(TEXT)].to_owned();
        let arguments: Map<String, Json> =
            arguments.into_iter().take(16).map(|(name, value)| (cut(name), Json::from(cut(value)))).collect();
        self.with("arguments", arguments)
    }
}

/// The audit log.
#[derive(Clone)]
pub(super) struct Audit {
    sender: SyncSender<Job>,
    /// Why the last line was not written.
    trouble: Trouble,
    /// Those who tried this and that, and those who guessed at passwords.
    strangers: Arc<[Mutex<Strangers>; 2]>,
}

/// Why a file cannot be written, if so: others may see it.
pub(super) type Trouble = Arc<Mutex<Option<String>>>;

#[derive(Default)]
struct Strangers {
    /// Lines of strangers in this minute, and those that were not written.
    lines: Option<(Instant, u32)>,
    unwritten: u64,
}

struct Job {
    fields: Map<String, Json>,
    path: Option<PathBuf>,
    done: oneshot::Sender<()>,
}

impl Audit {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn start(trouble: Trouble) -> Result<Self> {
        let (sender, jobs) = sync_channel(WAITING);
        let of_thread = trouble.clone();
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || write_all(&jobs, &of_thread))?;
        Ok(Self { sender, trouble, strangers: Arc::default() })
    }

    /// Why nothing can be written at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Writes a line to the file, and waits until it is on the disk; but a stranger waits for no disk, nor takes a place
    /// meanwhile. What cannot be written is told by the log.
    pub(super) async fn write(&self, path: Option<&Path>, entry: Entry) {
        let stranger = entry.stranger;
        let Some(fields) = self.counted(entry) else { return };
        let (done, written) = oneshot::channel();
        match self.sender.try_send(Job { fields, path: path.map(Path::to_owned), done }) {
            Ok(()) if stranger => {}
            Ok(()) => drop(written.await),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                *lock(&self.trouble) = Some("too many lines wait for the disk".to_owned());
                tracing::error!(line = %Json::Object(job.fields), "a line of the audit log found no room");
            }
        }
    }

    /// With the time; none where it is one too many of strangers.
    fn counted(&self, entry: Entry) -> Option<Map<String, Json>> {
        let Entry { mut fields, stranger, guess } = entry;
        if stranger {
            let [others, guesses] = &*self.strangers;
            let (strangers, most) = if guess { (guesses, GUESSES) } else { (others, STRANGERS) };
            let mut strangers = lock(strangers);
            let now = Instant::now();
            let (since, count) =
                strangers.lines.filter(|(since, _)| now.duration_since(*since) < MINUTE).unwrap_or((now, 0));
            if count >= most {
                strangers.unwritten += 1;
                return None;
            }
            strangers.lines = Some((since, count + 1));
            if let unwritten @ 1.. = std::mem::take(&mut strangers.unwritten) {
                fields.insert("unwritten-before".to_owned(), json!(unwritten));
            }
        }
        Some(Map::from_iter([("time".to_owned(), Json::from(timestamp(SystemTime::now())))].into_iter().chain(fields)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of the thread.
fn write_all(jobs: &Receiver<Job>, shown: &Mutex<Option<String>>) {
    // Of the last line, for a file that begins anew: the chain goes on over files.
    let mut last = None;
    for Job { fields, path, done } in jobs {
        let written = path.map_or(Ok(()), |path| append(&path, &fields, &mut last));
        let trouble = written.err().map(|error| error.to_string());
        let before = std::mem::replace(&mut *lock(shown), trouble.clone());
        if let Some(error) = trouble.filter(|trouble| before.as_ref() != Some(trouble)) {
            tracing::error!(
                error,
                "the audit log cannot be written: nothing is changed by the admin address until it can"
            );
        }
        tell(&fields, last.as_ref().map_or("", |(_, hash)| hash));
        // Whoever waited may be gone.
        let _ = done.send(());
    }
}

/// The line as an event of the log: it goes wherever events with this target go, other machines too.
fn tell(fields: &Map<String, Json>, hash: &str) {
    let text = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
    let line = Json::Object(fields.clone());
    tracing::info!(
        target: "audit", who = text("who"), from = text("from"), verb = text("verb"), outcome = text("outcome"), hash,
        %line, "audit"
    );
}

/// Appends a line behind the last one, whoever wrote that.
fn append(path: &Path, fields: &Map<String, Json>, last: &mut Option<(PathBuf, String)>) -> Result<()> {
    let told = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut journal = Journal::open(path, b"\n").map_err(told)?;
    journal.lock().map_err(told)?;
    let length = journal.length().map_err(told)?;
    let tail = journal.read_from(length.saturating_sub(TAIL)).map_err(told)?;
    let known = last.take().filter(|(of, _)| of == path).map(|(_, hash)| hash);
    let previous = last_line(&tail).map(digest).or(known).unwrap_or_else(|| chain::NOTHING.to_owned());
    let line = chain::line(fields, &previous);
    *last = Some((path.to_owned(), previous));
    journal.append_synced(format!("{line}\n").as_bytes()).map_err(told)?;
    *last = Some((path.to_owned(), digest(line.as_bytes())));
    Ok(())
}

/// The last line of a file, ended or not: what follows half a line names that half, so that nobody can have cut it off later.
fn last_line(tail: &[u8]) -> Option<&[u8]> {
    let tail = tail.strip_suffix(b"\n").unwrap_or(tail);
    let line = tail.rsplit(|byte| *byte == b'\n').next()?;
    Some(line).filter(|line| !line.is_empty())
}

/// The newest lines of a log, the newest last: at most so many.
///
/// # Errors
/// It cannot be read.
pub(super) fn newest(path: &Path, most: usize) -> Result<Vec<Json>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let journal = Journal::open(path, b"\n")?;
    let from = journal.length()?.saturating_sub(TAIL * 4);
    let bytes = journal.read_from(from)?;
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    // The first one may be half.
    let whole = lines.get(usize::from(from > 0)..).unwrap_or_default();
    let newest = whole.get(whole.len().saturating_sub(most)..).unwrap_or_default();
    Ok(newest.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::Folder;

    fn stranger(verb: &str) -> Entry {
        Entry::stranger("192.0.2.1".parse().unwrap(), verb)
    }

    fn entry(verb: &str) -> Entry {
        stranger(verb).of_friend()
    }

    #[tokio::test]
    async fn a_log_goes_on_where_it_was_left_by_whatever_process_and_in_whatever_file() {
        let folder = Folder::new("audit");
        let path = folder.0.join("audit.jsonl");
        for verb in ["one", "two"] {
            // As two processes would, one after the other.
            let audit = Audit::start(Trouble::default()).unwrap();
            audit.write(Some(&path), entry(verb)).await;
            audit.write(Some(&path), entry(verb)).await;
        }
        let (one, other) = (Audit::start(Trouble::default()).unwrap(), Audit::start(Trouble::default()).unwrap());
        for _ in 0..3 {
            tokio::join!(one.write(Some(&path), entry("a")), other.write(Some(&path), entry("b")));
        }
        let moved = folder.0.join("audit.jsonl.1");
        std::fs::rename(&path, &moved).unwrap();
        one.write(Some(&path), entry("after")).await;
        // The other one wrote for last, or this one did: either way the chain is whole within each file.
        let read = |path: &Path| std::fs::read(path).unwrap();
        assert_eq!(chain::verify(&[read(&moved)], None).unwrap().lines, 10);
        assert_eq!(chain::verify(&[read(&path)], None).unwrap().lines, 1);
        assert_eq!(newest(&path, 5).unwrap()[0]["verb"], "after");
        assert_eq!(newest(&moved, 3).unwrap().len(), 3);
        assert_eq!(one.trouble(), None);
    }

    #[tokio::test]
    async fn strangers_fill_no_disk_and_what_they_tried_is_counted() {
        let folder = Folder::new("audit-strangers");
        let path = folder.0.join("audit.jsonl");
        let audit = Audit::start(Trouble::default()).unwrap();
        for _ in 0..500 {
            audit.write(Some(&path), stranger("login")).await;
        }
        // Lines are written in their order.
        audit.write(Some(&path), entry("other")).await;
        assert_eq!(newest(&path, 1000).unwrap().len(), STRANGERS as usize + 1);
        // The next minute.
        lock(&audit.strangers[0]).lines = None;
        audit.write(Some(&path), stranger("login")).await;
        audit.write(Some(&path), entry("other")).await;
        assert_eq!(newest(&path, 2).unwrap()[0]["unwritten-before"], 500 - STRANGERS);
        let long = entry("x").with("name", "ä".repeat(10_000));
        assert!(long.fields["name"].as_str().unwrap().len() <= TEXT);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_known_until_it_can() {
        let folder = Folder::new("audit-trouble");
        let path = folder.0.join("missing/audit.jsonl");
        let audit = Audit::start(Trouble::default()).unwrap();
        audit.write(Some(&path), entry("one")).await;
        assert!(audit.trouble().is_some_and(|trouble| trouble.contains("audit.jsonl")));
        std::fs::create_dir(folder.0.join("missing")).unwrap();
        audit.write(Some(&path), entry("two")).await;
        assert_eq!(audit.trouble(), None);
    }
}
