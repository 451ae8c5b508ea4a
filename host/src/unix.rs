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
    replace(path, mode)
}

/// Binds a socket in the place of whatever socket has that name; who is connected to the old one stays so.
///
/// # Errors
/// The folder cannot be written.
pub fn replace(path: &Path, mode: u32) -> Result<(UnixListener, File)> {
    // It gets its name when only those can reach it who may.
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let listener = UnixListener::bind(&new)?;
    let named = listener
        .set_nonblocking(true)
        .and_then(|()| std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)))
        .and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = named {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    Ok((listener, File::at(path)))
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
        let (_second, other) = replace(&path, 0o660).unwrap();
        drop(file);
        assert!(path.exists(), "it is another socket's now");
        drop(other);
        assert!(!path.exists());
        std::fs::write(&path, "x").unwrap();
        assert!(bind(&path, 0o600).is_err(), "no socket");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
