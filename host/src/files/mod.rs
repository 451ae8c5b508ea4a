//! The files that Doorward writes: one writer and one reader for all of them. A file is replaced whole (written beside,
//! synced, renamed) or appended to by whole lines ([`Journal`]).
//!
//! Invariants: no reader sees half a file; what Doorward makes is its owner's alone (0600, folders 0700); a file that
//! cannot be read is an error with its path, never an empty file.

mod journal;
mod keep;
mod lines;

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use journal::{Broken, Journal};
pub use keep::{keep_and_replace, keep_and_replace_readable};
pub use lines::{Lines, Manner, Sink};

/// No file of ours comes near: a million ended sessions are 60 MiB.
const LARGEST: u64 = 256 << 20;

/// Which file has a name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(u64, u64);

impl Identity {
    /// Of the file that has this name now, if there is one.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&std::fs::Metadata> for Identity {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// A file, or a folder with all that is in it, to a depth and number that no folder of templates has.
pub fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut at = 0;
    while at < found.len() && found.len() < 2000 {
        if found[at].is_dir() && found[at].components().count() < path.components().count() + 5 {
            let entries = std::fs::read_dir(&found[at]).into_iter().flatten().flatten();
            let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            entries.sort();
            found.extend(entries);
        }
        at += 1;
    }
    found
}

/// When a file was changed last: what it holds, or who may read it.
pub fn changed_at(path: &Path) -> Option<SystemTime> {
    let metadata = std::fs::metadata(path).ok()?;
    let seconds = Duration::from_secs(metadata.ctime().try_into().ok()?);
    UNIX_EPOCH.checked_add(seconds + Duration::from_nanos(metadata.ctime_nsec().try_into().ok()?))
}

/// What a file holds; none where there is no file.
///
/// # Errors
/// It cannot be read, or is no regular file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    // A pipe would keep whoever opens it.
    let length = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => return Err(Error::other("it is no regular file")),
        Ok(metadata) if metadata.len() > LARGEST => return Err(Error::other("it is larger than 256 MiB")),
        Ok(metadata) => usize::try_from(metadata.len()).unwrap_or_default(),
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // Room for all of it at once: no copy of a key is left behind by growing.
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The same as text.
///
/// # Errors
/// It cannot be read, is no regular file, or is no UTF-8.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    let not_text = |error: std::string::FromUtf8Error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        Error::new(ErrorKind::InvalidData, format!("line {line}: bytes that are no UTF-8"))
    };
    read(path)?.map(|bytes| String::from_utf8(bytes).map_err(not_text)).transpose()
}

/// Puts a file in the place of whatever has its name. It is on the disk when this returns; a failure changes nothing.
///
/// # Errors
/// The folder cannot be written, or the disk is full.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = write_beside(path, bytes)?;
    std::fs::rename(&beside, path).inspect_err(|_| drop(std::fs::remove_file(&beside)))?;
    sync_folder(path)
}

/// Makes a file where there is none; false where there is one, which stays as it is. Of two processes that make the
/// same file at once, one does.
///
/// # Errors
/// The folder cannot be written, or the disk is full.
pub fn create(path: &Path, bytes: &[u8]) -> Result<bool> {
    let beside = write_beside(path, bytes)?;
    let made = std::fs::hard_link(&beside, path);
    let _ = std::fs::remove_file(&beside);
    match made {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file beside the one of this name, whole and on the disk.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let beside = PathBuf::from(name);
    let written = (|| {
        // What an earlier process of this number left behind.
        let _ = std::fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        keep_owner(&file, path)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    written.inspect_err(|_| drop(std::fs::remove_file(&beside)))?;
    Ok(beside)
}

/// What root writes for another user (`doorward keys rotate`, say) is still that user's: the owner of the file that was
/// there, or else of its folder.
fn keep_owner(file: &File, path: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let of_file = std::fs::metadata(path);
    let of = of_file.or_else(|_| std::fs::metadata(folder_of(path)))?;
    if of.uid() == 0 { Ok(()) } else { fchown(file, Some(of.uid()), Some(of.gid())) }
}

/// After this a renamed file keeps its name, also when the machine loses its power.
fn sync_folder(path: &Path) -> Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A folder that is ours alone (mode 0700), made if it is missing.
///
/// # Errors
/// It belongs to another user, others may enter it, or it cannot be made.
pub fn own_folder(folder: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    if let Err(error) = made
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let (owner, user) = (private_folder(folder)?, rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(Error::other(format!("it belongs to the user {owner}, and must belong to {user}")))
}

/// The owner of a folder that nobody else may enter.
///
/// # Errors
/// It is no folder, or others may enter it.
pub fn private_folder(folder: &Path) -> Result<u32> {
    let metadata = std::fs::symlink_metadata(folder)?;
    if !metadata.is_dir() {
        return Err(Error::other("it is no folder"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::other(format!("its mode is {mode:04o}, and must be 0700")));
    }
    Ok(metadata.uid())
}

#[cfg(test)]
pub(crate) mod tests;
