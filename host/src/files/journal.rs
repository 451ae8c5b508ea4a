//! A file that grows by whole lines.
//!
//! Invariants: half a line, of ours or of another process, costs only itself; lines go to the file that has the name.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Identity;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    identity: Identity,
    is_regular: bool,
    /// What ends half a line, so that nobody takes it for a whole one.
    end_of_half: &'static [u8],
}

/// An append that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Broken {
    /// Bytes that were written before: the last line of them may be half.
    pub written: usize,
    /// Why.
    pub error: Error,
}

impl Journal {
    /// Opens the file, and makes it, for its owner alone, where it is missing. `end_of_half` ends half a line that it
    /// ends with.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, end_of_half: &'static [u8]) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        // Also for reading: its last byte is looked at, and a pipe opens without a reader. A file that may only be
        // written will do.
        let both = options.clone().read(true).open(path);
        let file = both.or_else(|error| match error.kind() {
            ErrorKind::PermissionDenied => options.open(path),
            _ => Err(error),
        })?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            identity: Identity::from(&metadata),
            is_regular: metadata.is_file(),
            file,
            end_of_half,
        })
    }

    /// Keeps every other process out that asks for the same, until this is dropped. Waits for one that is in.
    ///
    /// # Errors
    /// The system says no.
    pub fn lock(&self) -> Result<()> {
        Ok(rustix::fs::flock(&self.file, rustix::fs::FlockOperation::LockExclusive)?)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its name still means this file: it was neither removed nor replaced.
    pub fn has_its_name(&self) -> bool {
        Identity::of(&self.path) == Some(self.identity)
    }

    /// Whether it has another name now, and there is no file of its own.
    pub fn was_renamed(&self) -> bool {
        !self.path.exists() && self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }

    /// Bytes in it.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn length(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// What is in it from a place on.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_from(&self, from: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(self.length()?.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, from + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Opens the file of that name anew, if it is another one by now: true then. When that fails, this one stays.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn follow(&mut self) -> Result<bool> {
        if self.has_its_name() {
            return Ok(false);
        }
        *self = Self::open(&self.path, self.end_of_half)?;
        Ok(true)
    }

    /// Appends whole lines, after half a line in a line of their own.
    ///
    /// # Errors
    /// Not all was written; how much was is said.
    pub fn append(&mut self, lines: &[u8]) -> std::result::Result<(), Broken> {
        if self.ends_in_half() {
            write(&mut self.file, self.end_of_half).map_err(|broken| Broken { written: 0, ..broken })?;
        }
        write(&mut self.file, lines)
    }

    /// Appends whole lines; they are on the disk when this returns, also when another process wrote half a line in the
    /// meantime.
    ///
    /// # Errors
    /// They are not.
    pub fn append_synced(&mut self, lines: &[u8]) -> Result<()> {
        self.append(lines).map_err(|broken| broken.error)?;
        let begin = self.file.stream_position()?.saturating_sub(lines.len() as u64);
        if !self.begins_line(begin) {
            self.append(lines).map_err(|broken| broken.error)?;
        }
        self.file.sync_data()
    }

    fn ends_in_half(&self) -> bool {
        self.is_regular && self.file.metadata().is_ok_and(|metadata| !self.begins_line(metadata.len()))
    }

    /// Whether a line begins at this place. Where nobody can tell, it is taken for granted.
    fn begins_line(&self, at: u64) -> bool {
        let mut before = [0; 1];
        at == 0 || !self.file.read_at(&mut before, at - 1).is_ok_and(|read| read == 1 && before != *b"\n")
    }
}

/// Writes all; a descriptor that somebody else made non-blocking is waited for.
pub(crate) fn write(file: &mut File, bytes: &[u8]) -> std::result::Result<(), Broken> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let error = match file.write(rest) {
            Ok(0) => Error::from(ErrorKind::WriteZero),
            Ok(more) => {
                written += more;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => match wait_for_room(file) {
                Ok(()) => continue,
                Err(error) => error,
            },
            Err(error) => error,
        };
        return Err(Broken { written, error });
    }
    Ok(())
}

fn wait_for_room(file: &File) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
    Ok(())
}
