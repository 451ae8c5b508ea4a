//! A file of the operator's is replaced, and what it was is kept beside it.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes bytes over a file, and keeps what it was as `.previous`; at no time is there no file, or half of one.
///
/// # Errors
/// The file or its folder cannot be read or written; then it is as it was.
pub fn keep_and_replace(file: &Path, bytes: &[u8]) -> std::io::Result<Option<PathBuf>> {
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (next, keeping, previous) = (beside(".next"), beside(".keeping"), beside(".previous"));
    let written = (|| {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let kept = match fs::metadata(file) {
            Ok(metadata) => {
                fs::copy(file, &keeping)?;
                fs::rename(&keeping, &previous)?;
                Some(metadata.permissions())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // It may hold what others must not read; who may is known further down.
        let mut output = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        output.write_all(bytes)?;
        output.sync_all()?;
        let there = kept.is_some();
        if let Some(permissions) = kept {
            fs::set_permissions(&next, permissions)?;
        }
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
        fs::remove_dir_all(&folder).unwrap();
    }
}
