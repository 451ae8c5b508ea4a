//! Lines that wait in a file while their log host is away, and go to it in order once it is back.
//!
//! Invariants: the file is bounded, and what finds no room in it is counted; a line that was not sent is sent again after a
//! restart, so that one may come twice and none is missing.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::files::{Broken, Sink};

/// Bytes that may wait in the file.
const MOST: u64 = 16 << 20;
/// Bytes that are read of it at once.
const PIECE: usize = 64 << 10;
/// Processes of an upgrade, each of which needs a file of its own.
const FILES: usize = 4;

/// A log host with a file before it.
pub(super) struct Spool {
    to: Box<dyn Sink>,
    file: File,
    /// What of the file was sent, and what is in it.
    sent: u64,
    length: u64,
    /// A second file, of a process that is no more.
    trouble: Option<String>,
    lost: u64,
}

impl Spool {
    /// Before a log host; in this folder, with a name that no other has.
    ///
    /// # Errors
    /// There is no file to be had.
    pub(super) fn open(folder: &Path, name: &str, to: Box<dyn Sink>) -> Result<Self> {
        let mut busy = Error::from(ErrorKind::WouldBlock);
        for number in 0..FILES {
            let path: PathBuf = folder.join(format!("spool-{name}-{number}"));
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            // Another process that has it sends it.
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let length = whole(&file)?;
                    return Ok(Self { to, file, sent: 0, length, trouble: None, lost: 0 });
                }
                Err(error) => busy = error.into(),
            }
        }
        Err(busy)
    }

    /// Sends what waits, up to the first failure.
    fn send_waiting(&mut self) -> std::result::Result<(), Error> {
        while self.sent < self.length {
            let left = usize::try_from(self.length - self.sent).unwrap_or(PIECE).min(PIECE);
            let mut piece = vec![0; left];
            let read = self.file.read_at(&mut piece, self.sent)?;
            piece.truncate(read);
            // Half a line is what a process wrote when it died, or a piece that ends in its middle.
            let Some(end) = memchr::memrchr(b'\n', &piece) else {
                self.sent = self.length;
                break;
            };
            let sent = self.to.write(&piece[..=end]);
            let bytes = sent.as_ref().map_or_else(|broken| broken.written, |()| end + 1);
            self.sent += bytes as u64;
            if let Err(broken) = sent {
                return Err(broken.error);
            }
        }
        self.file.set_len(0)?;
        (self.sent, self.length) = (0, 0);
        Ok(())
    }

    fn keep(&mut self, lines: &[u8]) -> std::result::Result<(), Broken> {
        let mut written = 0;
        for line in lines.split_inclusive(|b| *b == b'\n') {
            if self.length + line.len() as u64 > MOST {
                self.lost += 1;
            } else {
                self.file.write_all_at(line, self.length).map_err(|error| Broken { written, error })?;
                self.length += line.len() as u64;
            }
            written += line.len();
        }
        Ok(())
    }
}

/// Up to the end of its last whole line; half a line is what a process wrote when it died.
fn whole(file: &File) -> Result<u64> {
    let length = file.metadata()?.len();
    let mut tail = vec![0; usize::try_from(length).unwrap_or(PIECE).min(PIECE)];
    let begin = length - tail.len() as u64;
    file.read_exact_at(&mut tail, begin)?;
    let whole = begin + memchr::memrchr(b'\n', &tail).map_or(0, |at| at as u64 + 1);
    file.set_len(whole)?;
    Ok(whole)
}

impl Sink for Spool {
    fn write(&mut self, lines: &[u8]) -> std::result::Result<(), Broken> {
        let mut rest = lines;
        let sent = self.send_waiting().and_then(|()| {
            self.to.write(lines).map_err(|broken| {
                rest = &lines[broken.written..];
                broken.error
            })
        });
        self.trouble = sent.err().map(|error| error.to_string());
        if self.trouble.is_none() {
            return Ok(());
        }
        let before = lines.len() - rest.len();
        self.keep(rest).map_err(|broken| Broken { written: before + broken.written, ..broken })
    }

    fn waits(&self) -> bool {
        self.sent < self.length
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
