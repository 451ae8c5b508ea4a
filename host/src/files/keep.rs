//! A file of the operator's is replaced, and what it was is kept beside it. Who could read it still can.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes bytes over a file, and keeps what it was as `.previous`; at no time is there no file, or half of one. A new file
/// is its owner's alone.
///
/// # Errors
/// The file or its folder cannot be read or written; then it is as it was.
pub fn keep_and_replace(file: &Path, bytes: &[u8]) -> std::io::Result<Option<PathBuf>> {
    written(file, bytes, 0o600)
}

/// The same for what is no secret: everybody may read a new file, for the user that Doorward runs as is not the one who
/// types commands.
///
/// # Errors
/// The file or its folder cannot be read or written; then it is as it was.
pub fn keep_and_replace_readable(file: &Path, bytes: &[u8]) -> std::io::Result<Option<PathBuf>> {
    written(file, bytes, 0o644)
}

fn written(file: &Path, bytes: &[u8], mode: u32) -> std::io::Result<Option<PathBuf>> {
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (next, keeping, previous) = (beside(".next"), beside(".keeping"), beside(".previous"));
    let written = (|| {
        use std::io::Write as _;
        use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
        let kept = match fs::metadata(file) {
            Ok(metadata) => {
                fs::copy(file, &keeping)?;
                fs::rename(&keeping, &previous)?;
                Some(metadata)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // It may hold what others must not read; who may is known further down.
        let mut output = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        output.write_all(bytes)?;
        output.sync_all()?;
        let there = kept.is_some();
        if let Some(kept) = &kept
            && rustix::process::geteuid().is_root()
        {
            fchown(&output, Some(kept.uid()), Some(kept.gid()))?;
        }
        let permissions = kept.map_or_else(|| fs::Permissions::from_mode(mode), |kept| kept.permissions());
        fs::set_permissions(&next, permissions)?;
        fs::rename(&next, file)?;
        Ok(there.then(|| previous.clone()))
    })();
    if written.is_err() {
        // What is left over helps nobody; the first error is the one to tell.
        drop((fs::remove_file(&next), fs::remove_file(&keeping)));
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_is_replaced_and_what_it_was_is_kept() {
        let folder = std::env::temp_dir().join(format!("doorward-promote-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.wasm");
        assert_eq!(keep_and_replace(&file, b"one").unwrap(), None);
        assert_eq!(keep_and_replace(&file, b"two").unwrap(), Some(folder.join("a.wasm.previous")));
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read(folder.join("a.wasm.previous")).unwrap(), b"one");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        let is = |file: &Path| fs::metadata(file).map(|of| (of.mode() & 0o777, of.uid(), of.gid())).unwrap();
        assert_eq!(is(&file).0, 0o600);
        let readable = folder.join("readable");
        keep_and_replace_readable(&readable, b"one").unwrap();
        assert_eq!(is(&readable).0, 0o644);
        // As the package has it: root's, and the service's group may read it.
        fs::set_permissions(&readable, fs::Permissions::from_mode(0o640)).unwrap();
        let _ = std::os::unix::fs::chown(&readable, Some(1), Some(2));
        let before = is(&readable);
        keep_and_replace_readable(&readable, b"two").unwrap();
        assert_eq!(is(&readable), before);
        fs::remove_dir_all(&folder).unwrap();
    }
}
