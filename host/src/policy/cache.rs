//! Compiled code on disk, so that a restart compiles nothing: only in a folder of our own, and only what is ours.
//!
//! Compiled code is run as it is. So an entry bears a code over all its bytes, made with a key that only this folder's
//! owner can read. What does not fit is compiled again, and never run.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::Engine;

use crate::files::{self, own_folder};

type Code = Hmac<Sha256>;

/// Bytes of the code in front of an entry.
const CODE: usize = 32;
/// Bytes of the key.
const KEY: usize = 32;
/// Entries kept; the oldest go. Five generations of some policies each are far fewer.
const ENTRIES: usize = 64;
/// Bytes kept; the oldest go, but for the newest. Code for Python is of 60 MB, so that some fifteen of these find room.
const BYTES: u64 = 1 << 30;

/// A folder of compiled code.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; KEY],
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
        let path = self.path(digest);
        let read = files::read(&path).inspect_err(|error| {
            tracing::warn!(file = %path.display(), %error, "an entry of compiled code cannot be read; it is compiled again");
        });
        let mut entry = read.ok()??;
        let whole = entry.split_at_checked(CODE);
        if whole.is_none_or(|(code, compiled)| self.code(digest, compiled).verify_slice(code).is_err()) {
            tracing::warn!(digest, "an entry of compiled code was tampered with; it is compiled again");
            return None;
        }
        Some(entry.split_off(CODE))
    }

    /// Whether there is an entry for a component; that it is good is not said.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.path(digest).is_file()
    }

    /// Keeps compiled code. What cannot be written is compiled again the next time.
    pub(super) fn put(&self, digest: &str, compiled: &[u8]) {
        let code = self.code(digest, compiled).finalize().into_bytes();
        let written = files::replace(&self.path(digest), &[&code[..], compiled].concat());
        if let Err(error) = written {
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
            // With what a process left that was killed while it wrote.
            .filter(|entry| entry.file_name() != "key")
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        entries.sort();
        let mut sum = 0;
        for (index, (_, bytes, path)) in entries.iter().rev().enumerate() {
            sum += bytes;
            if index >= ENTRIES || (index > 0 && sum > BYTES) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Where compiled code of the command line lies: a folder for doorward among the user's caches, by the XDG base directory
/// specification. What is missing above it is made. Nothing is kept in what belongs to somebody else, as with root's
/// `sudo`: code is run out of it.
pub(super) fn of_user() -> Option<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let caches = std::env::var_os("XDG_CACHE_HOME").and_then(|path| absolute(path.into()));
    let caches = caches.or_else(|| absolute(std::env::home_dir()?).map(|home| home.join(".cache")))?;
    if !is_trusted(&caches, rustix::process::geteuid().as_raw()) {
        return None;
    }
    // Where they cannot be made nothing is kept, which the folder itself will tell.
    let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&caches);
    Some(caches.join("doorward"))
}

/// Whether nobody but the user (and root) may put another folder in the place of this one, or of what is there of it: they
/// own each one on the way, and others may write to none where entries of theirs are not protected.
fn is_trusted(folder: &Path, user: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    const OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let real = folder.ancestors().find_map(|there| std::fs::canonicalize(there).ok());
    real.is_some_and(|real| {
        real.ancestors().all(|folder| {
            std::fs::metadata(folder).is_ok_and(|found| {
                (found.uid() == 0 || found.uid() == user) && (found.mode() & OTHERS == 0 || found.mode() & STICKY != 0)
            })
        })
    })
}

/// The key of a folder, made when it is missing, and made anew when it is broken: then nothing kept fits it.
fn key(path: &Path) -> std::io::Result<[u8; KEY]> {
    let broken = match files::read(path) {
        Ok(Some(bytes)) => match bytes.try_into() {
            Ok(key) => return Ok(key),
            Err(_) => Some(format!("it is not {KEY} bytes long")),
        },
        Ok(None) => None,
        Err(error) => Some(error.to_string()),
    };
    let mut key = [0; KEY];
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    match broken {
        Some(why) => {
            tracing::error!(file = %path.display(), why, "the key of compiled code is made anew; all is compiled again");
            files::replace(path, &key)?;
        }
        // Of two processes that begin at once, one makes it.
        None if !files::create(path, &key)? => return self::key(path),
        None => {}
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
        for broken in [&b""[..], b"cut"] {
            std::fs::write(folder.join("compiled/key"), broken).unwrap();
            let cache = Cache::open(&folder, &Engine::default()).unwrap();
            assert_eq!(cache.get("a"), None, "of another key");
            cache.put("a", b"code");
            assert_eq!(cache.get("a").as_deref(), Some(&b"code"[..]), "it is kept again");
        }
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&folder, &Engine::default()).is_err(), "a folder that others can read");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_somebody_else_may_replace_keeps_no_code() {
        let (temp, me) = (files::tests::Folder::new("cache-trust"), rustix::process::geteuid().as_raw());
        let home = temp.0.join("home");
        std::fs::create_dir(&home).unwrap();
        let caches = home.join(".cache/not/there");
        assert!(is_trusted(&caches, me));
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_trusted(&caches, me), "everybody may");
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();
        if me == 0 {
            std::os::unix::fs::chown(&home, Some(1234), None).unwrap();
        }
        assert!(!is_trusted(&caches, 0), "root in the home of a user");
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
