//! The file of ended sessions. Other processes may write to it too; what is in memory is written again when the file lost
//! it.
//!
//! Invariants: what is in the file and makes sense is in the list; what was written is in the file of that name, on the
//! disk.

use std::io::Result;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::list::{List, Read};
use crate::files::{self, Journal};

/// Ends half a line: no user has a name with this in it.
const END_OF_HALF: &[u8] = b"\0\n";
/// So many bytes before the place that was read to tell whether the file is still what it was.
const TAIL: usize = 64;
/// Lines that are taken while the list is locked: all workers wait for that.
const AT_ONCE: usize = 256;
/// Broken lines that are told one by one.
const TOLD: usize = 8;

/// The file, open.
pub(super) struct Ledger {
    journal: Journal,
    /// What is before this is known.
    read_to: u64,
    /// The last bytes before it.
    tail: Vec<u8>,
}

/// What is done at the opening with lines that have had their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// They stay: another process uses the file.
    Stays,
    /// They go.
    Goes,
}

impl Ledger {
    /// Opens the file; what is in it is in the list then. Where it cannot be read or written, the list is as it was.
    pub(super) fn open(path: &Path, list: &RwLock<List>, lifetime: u64, past: Past) -> Result<Self> {
        let bytes = files::read(path)?.unwrap_or_default();
        let mut there = List::default();
        let broken = read_lines(path, &bytes, &mut there);
        let mut all = list.read().unwrap_or_else(PoisonError::into_inner).clone();
        there.lines().for_each(|line| _ = all.read_line(line.trim_end_matches('\n')));
        all.forget(lifetime);
        // It may hold what there was before there was a file.
        if past == Past::Goes || !there.covers(&all) {
            keep_broken(path, broken)?;
            files::replace(path, all.lines().collect::<String>().as_bytes())?;
        }
        let ledger = Self::at_end(path)?;
        merge(list, &there, |list| list.forget(lifetime));
        Ok(ledger)
    }

    fn at_end(path: &Path) -> Result<Self> {
        let journal = Journal::open(path, END_OF_HALF)?;
        let mut ledger = Self { journal, read_to: 0, tail: Vec::new() };
        // What another process writes meanwhile is read with the next look.
        let bytes = ledger.journal.read_from(0)?;
        ledger.has_read(&bytes[..whole(&bytes)]);
        Ok(ledger)
    }

    pub(super) fn path(&self) -> &Path {
        self.journal.path()
    }

    /// Reads what other processes have written. Where the file was removed, replaced or cut, it gets what is known.
    pub(super) fn catch_up(&mut self, list: &RwLock<List>) -> Result<()> {
        match self.surprise() {
            Some(why) => self.write_again(list, why),
            None => self.read_on(list),
        }
    }

    /// Writes lines that are in the list already. They are in the file of that name, and on the disk, when this returns.
    pub(super) fn write(&mut self, list: &RwLock<List>, lines: &[u8]) -> Result<()> {
        self.catch_up(list)?;
        self.journal.append_synced(lines)?;
        if let Some(why) = self.surprise() {
            return self.write_again(list, why);
        }
        let written = self.journal.read_from(self.read_to)?;
        if memchr::memmem::find(&written, lines).is_none() {
            return self.write_again(list, "it was cut");
        }
        // From now on they are missed when they are not there.
        self.read_on(list)
    }

    fn read_on(&mut self, list: &RwLock<List>) -> Result<()> {
        let bytes = self.journal.read_from(self.read_to)?;
        let bytes = &bytes[..whole(&bytes)];
        if !bytes.is_empty() {
            let mut there = List::default();
            read_lines(self.path(), bytes, &mut there);
            take(list, &there);
            self.has_read(bytes);
        }
        Ok(())
    }

    /// What somebody else did to the file, other than to append to it.
    fn surprise(&self) -> Option<&'static str> {
        if !self.path().exists() {
            return Some("it was removed");
        }
        if !self.journal.has_its_name() {
            return Some("it was replaced");
        }
        let from = self.read_to.saturating_sub(self.tail.len() as u64);
        let tail = self.journal.read_from(from).unwrap_or_default();
        (!tail.starts_with(&self.tail)).then_some("it was cut or overwritten")
    }

    fn write_again(&mut self, list: &RwLock<List>, why: &str) -> Result<()> {
        let path = self.path().to_owned();
        let bytes = files::read(&path)?.unwrap_or_default();
        let mut there = List::default();
        let broken = read_lines(&path, &bytes, &mut there);
        let (lines, is_all) = merge(list, &there, |_| ());
        if broken > 0 || !is_all {
            keep_broken(&path, broken)?;
            files::replace(&path, lines.as_bytes())?;
            tracing::error!(file = %path.display(), why, "the file of ended sessions is written again");
        }
        *self = Self::at_end(&path)?;
        Ok(())
    }

    fn has_read(&mut self, bytes: &[u8]) {
        self.read_to += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }
}

/// Takes what is there into the list: all that is known then, as lines, and whether that was there. The list is not locked
/// while a disk is waited for, nor while it becomes text.
fn merge(list: &RwLock<List>, there: &List, tidy: impl Fn(&mut List)) -> (String, bool) {
    take(list, there);
    let mut locked = list.write().unwrap_or_else(PoisonError::into_inner);
    tidy(&mut locked);
    let all = locked.clone();
    drop(locked);
    (all.lines().collect(), there.covers(&all))
}

fn take(list: &RwLock<List>, there: &List) {
    let mut lines = there.lines().peekable();
    while lines.peek().is_some() {
        let part: Vec<String> = lines.by_ref().take(AT_ONCE).collect();
        let mut list = list.write().unwrap_or_else(PoisonError::into_inner);
        part.iter().for_each(|line| _ = list.read_line(line.trim_end_matches('\n')));
    }
}

/// Bytes up to the end of the last whole line.
fn whole(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)
}

/// Reads lines; tells those that make no sense, and how many they are. Half lines that a full disk left count as none.
fn read_lines(path: &Path, bytes: &[u8], list: &mut List) -> usize {
    let mut broken = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        if text.map_or(Read::Broken, |text| list.read_line(text)) != Read::Broken {
            continue;
        }
        let is_half = line.ends_with(END_OF_HALF) || !line.ends_with(b"\n");
        broken += usize::from(!is_half);
        if broken <= TOLD {
            let (file, line) = (path.display(), number + 1);
            let what = if is_half { "half a line" } else { "no line of this file" };
            tracing::warn!(%file, line, what, "a line of the file of ended sessions is passed over");
        }
    }
    broken
}

/// What makes no sense here may be something else that somebody needs.
fn keep_broken(path: &Path, broken: usize) -> Result<()> {
    if broken == 0 {
        return Ok(());
    }
    let mut kept = path.as_os_str().to_owned();
    kept.push(".broken");
    let kept = PathBuf::from(kept);
    // The file keeps its name until another one takes it: what comes next may fail.
    let _ = std::fs::remove_file(&kept);
    std::fs::hard_link(path, &kept)?;
    tracing::warn!(file = %path.display(), broken, kept = %kept.display(), "the file with broken lines is kept");
    Ok(())
}
