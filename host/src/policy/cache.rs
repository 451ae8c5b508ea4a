//! Compiled code on disk, so that a restart compiles nothing: only in a folder of our own, and only what is ours.
//!
//! Compiled code is run as it is. So an entry bears a code over all its bytes, made with a key that only this folder's
//! owner can read. What does not fit is compiled again, and never run.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::Engine;

type Code = Hmac<Sha256>;

/// Bytes of the code in front of an entry.
const CODE: usize = 32;
/// Entries kept; the oldest go. Five generations of some policies each are far fewer.
const ENTRIES: usize = 64;

/// A folder of compiled code.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    engine: u64,
}

impl Cache {
    /// Opens the folder `compiled` below the state folder, and makes what is missing.
    ///
    /// # Errors
    /// It is not ours alone, or cannot be made.
    pub(super) fn open(state: &Path, engine: &Engine) -> std::io::Result<Self> {
        own_folder(state)?;
        let folder = state.join("compiled");
        own_folder(&folder)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { key: key(&folder.join("key"))?, folder, engine: hasher.finish() })
    }

    /// The compiled code of a component, if it is there and was written by us for this engine.
    pub(super) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let mut entry = std::fs::read(self.path(digest)).ok()?;
        let (code, compiled) = entry.split_at_checked(CODE)?;
        if self.code(digest, compiled).verify_slice(code).is_err() {
            tracing::warn!(digest, "an entry of compiled code was tampered with; it is compiled again");
            return None;
        }
        Some(entry.split_off(CODE))
    }

    /// Keeps compiled code. What cannot be written is compiled again the next time.
    pub(super) fn put(&self, digest: &str, compiled: &[u8]) {
        let code = self.code(digest, compiled).finalize().into_bytes();
        let path = self.path(digest);
        let new = path.with_extension(format!("new.{}", std::process::id()));
        let written = open_new(&new)
            .and_then(|mut file| file.write_all(&code).and_then(|()| file.write_all(compiled)))
            .and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&new);
            tracing::warn!(folder = %self.folder.display(), %error, "compiled code cannot be kept");
        }
        self.forget_oldest();
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.code", self.engine))
    }

    fn code(&self, digest: &str, compiled: &[u8]) -> Code {
        // A key of any length will do for an HMAC, so this cannot fail.
        let mut code = Code::new_from_slice(&self.key).unwrap_or_else(|_| Code::new(&Default::default()));
        for part in [digest.as_bytes(), &self.engine.to_le_bytes(), compiled] {
            code.update(part);
        }
        code
    }

    fn forget_oldest(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut entries: Vec<_> = entries
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "code"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        entries.sort();
        for (_, path) in entries.iter().rev().skip(ENTRIES) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A folder that is ours alone (mode 0700), made if it is missing.
pub(super) fn own_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let metadata = std::fs::symlink_metadata(folder)?;
    let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours || metadata.permissions().mode() & 0o077 != 0 {
        return Err(std::io::Error::other("it must be a folder of this user with mode 0700"));
    }
    Ok(())
}

fn open_new(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The key of a folder, made when it is missing.
fn key(path: &Path) -> std::io::Result<[u8; 32]> {
    if let Ok(mut file) = open_new(path) {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        file.write_all(&key)?;
    }
    std::fs::read(path)?.try_into().map_err(|_| std::io::Error::other("its key is not 32 bytes long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("doorward-cache-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let cache = Cache::open(&folder, &Engine::default()).unwrap();
        assert_eq!(cache.get("a"), None);
        cache.put("a", b"code");
        assert_eq!(cache.get("a").as_deref(), Some(&b"code"[..]));
        let again = Cache::open(&folder, &Engine::default()).unwrap();
        assert_eq!(again.get("a").as_deref(), Some(&b"code"[..]), "after a restart");
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert_eq!(Cache::open(&folder, &other).unwrap().get("a"), None, "of another engine");
        let whole = std::fs::read(cache.path("a")).unwrap();
        std::fs::write(cache.path("b"), &whole).unwrap();
        assert_eq!(cache.get("b"), None, "of another component");
        for at in [0, CODE, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(cache.path("a"), &flipped).unwrap();
            assert_eq!(cache.get("a"), None, "a flipped bit at {at}");
        }
        std::fs::write(cache.path("a"), &whole[..CODE - 1]).unwrap();
        assert_eq!(cache.get("a"), None, "cut short");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&folder, &Engine::default()).is_err(), "a folder that others can read");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_oldest_entries_go() {
        let folder = std::env::temp_dir().join(format!("doorward-cache-many-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let cache = Cache::open(&folder, &Engine::default()).unwrap();
        for n in 0..ENTRIES + 10 {
            cache.put(&n.to_string(), b"code");
        }
        assert!(std::fs::read_dir(folder.join("compiled")).unwrap().count() <= ENTRIES + 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
