//! Unix sockets by the name of a file: bound without a gap, and removed by the process that has them last.

use std::io::{Error, Result};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A bound socket's file, which goes when this is dropped, unless another socket has taken its name.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    left: AtomicBool,
}

/// A socket that listens already, under another name than its own.
#[derive(Debug)]
pub struct Prepared {
    listener: UnixListener,
    path: PathBuf,
    beside: PathBuf,
}

/// Binds a socket that does not block. One that a process left behind is replaced; one that somebody listens on is not.
///
/// # Errors
/// Somebody listens there, there is something else, or the folder cannot be written.
pub fn bind(path: &Path, mode: u32) -> Result<(UnixListener, File)> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(Error::other("there is something that is no socket"));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(Error::other("another process listens there"));
        }
    }
    prepare(path, mode)?.name()
}

/// A socket that takes the place of whatever socket has that name, once it is told to; who is connected to the old one
/// stays so.
///
/// # Errors
/// The folder cannot be written.
pub fn prepare(path: &Path, mode: u32) -> Result<Prepared> {
    // It gets its name when only those can reach it who may.
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    // An earlier process of this number may have left one.
    if std::fs::symlink_metadata(&beside).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        std::fs::remove_file(&beside)?;
    }
    let prepared = Prepared { listener: UnixListener::bind(&beside)?, path: path.to_owned(), beside };
    prepared.listener.set_nonblocking(true)?;
    std::fs::set_permissions(&prepared.beside, std::fs::Permissions::from_mode(mode))?;
    Ok(prepared)
}

impl Prepared {
    /// Takes the name.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn name(self) -> Result<(UnixListener, File)> {
        std::fs::rename(&self.beside, &self.path)?;
        Ok((self.listener.try_clone()?, File::at(&self.path)))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Not there once it has its name.
        let _ = std::fs::remove_file(&self.beside);
    }
}

impl File {
    /// The file that is at this path now.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), left: AtomicBool::new(false) }
    }

    /// Leaves the file to another process, which has its socket now.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let is_ours = self.identity.is_some() && !self.left.load(Ordering::Relaxed);
        if is_ours && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_left_behind_is_replaced_and_what_lives_is_not() {
        let folder = std::env::temp_dir().join(format!("doorward-unix-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        drop(UnixListener::bind(&path).unwrap());
        let (_first, file) = bind(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(bind(&path, 0o600).is_err(), "somebody listens");
        let (_second, other) = prepare(&path, 0o660).unwrap().name().unwrap();
        drop(file);
        assert!(path.exists(), "it is another socket's now");
        drop(other);
        assert!(!path.exists());
        std::fs::write(&path, "x").unwrap();
        assert!(bind(&path, 0o600).is_err(), "no socket");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
