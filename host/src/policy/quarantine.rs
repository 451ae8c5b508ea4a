//! Components that went bad: none goes live until the operator lifts that. A file keeps them over a restart.
//!
//! Invariants: what is known is never lost with the file; a file that makes no sense is told, and kept aside; nobody who
//! asks what is known waits for the disk.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::files;

/// Digests, each with the reason.
type Digests = BTreeMap<String, String>;

/// Digests that may not go live.
#[derive(Debug, Default)]
pub struct Quarantine {
    file: Option<PathBuf>,
    /// Held by who reads the file and writes it, so that one does so at a time.
    disk: Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    digests: Digests,
    /// What is wrong with the file.
    trouble: Option<String>,
}

impl Quarantine {
    /// Reads what an earlier process left in the state folder. What cannot be read is told, and no reason not to start.
    pub fn load(state: Option<&Path>) -> Self {
        let Some(state) = state else { return Self::default() };
        let file = state.join("quarantine.json");
        let mut known = Known::default();
        match believed(state).and_then(|()| read(&file)) {
            Ok(digests) => known.digests = digests.unwrap_or_default(),
            Err(error) => known.tell(&file, Some(&error)),
        }
        // A folder that others may write to is not written to either.
        let file = believed(state).is_ok().then_some(file);
        Self { file, disk: Mutex::default(), known: Mutex::new(known) }
    }

    /// Puts a digest under quarantine.
    pub fn add(&self, digest: &str, reason: &str) {
        self.change(|digests| drop(digests.insert(digest.to_owned(), reason.to_owned())));
    }

    /// Lifts it; false when there was none.
    pub fn lift(&self, digest: &str) -> bool {
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.change(|digests| digests.remove(digest).is_some())
    }

    /// Why a digest may not go live.
    pub fn reason(&self, digest: &str) -> Option<String> {
        self.known().digests.get(digest).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Digests {
        self.known().digests.clone()
    }

    /// What is wrong with the file, if something is: it cannot be read, or what is known cannot be written.
    pub fn trouble(&self) -> Option<String> {
        self.known().trouble.clone()
    }

    /// Looks whether the file says what is known. What another process wrote is known then; what was lost, or could not
    /// be written, is written again.
    pub fn look_after(&self) {
        let Some(file) = &self.file else { return };
        let _disk = self.disk();
        let found = read(file);
        let wanted = {
            let mut known = self.known();
            match found {
                Ok(Some(digests)) if digests == known.digests => return known.tell(file, None),
                Ok(Some(digests)) if known.trouble.is_none() => {
                    tracing::warn!(file = %file.display(), "another process changed the quarantine");
                    known.digests = digests;
                    return;
                }
                Ok(None) if known.digests.is_empty() => return known.tell(file, None),
                found => {
                    if known.trouble.is_none() {
                        let why = found.map_or_else(|error| error.to_string(), |_| "it was removed".to_owned());
                        tracing::error!(file = %file.display(), why, "the quarantine is written again");
                    }
                    known.digests.clone()
                }
            }
        };
        self.write(file, &wanted);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> MutexGuard<'_, ()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known changes at once, and the file after it.
    fn change<T>(&self, change: impl FnOnce(&mut Digests) -> T) -> T {
        let _disk = self.disk();
        let found = self.file.as_ref().and_then(|file| read(file).ok()?);
        let (changed, wanted) = {
            let mut known = self.known();
            // Another process may have the same folder: what it wrote stays.
            if let Some(digests) = found.filter(|_| known.trouble.is_none()) {
                known.digests = digests;
            }
            (change(&mut known.digests), known.digests.clone())
        };
        if let Some(file) = &self.file {
            self.write(file, &wanted);
        }
        changed
    }

    fn write(&self, file: &Path, digests: &Digests) {
        let text = serde_json::to_string_pretty(digests).unwrap_or_default();
        let written = keep_broken(file).and_then(|()| files::replace(file, text.as_bytes()));
        self.known().tell(file, written.as_ref().err());
    }
}

impl Known {
    fn tell(&mut self, file: &Path, error: Option<&Error>) {
        let now = error.map(|error| format!("{}: {error}", file.display()));
        if self.trouble != now {
            match &now {
                Some(error) => tracing::error!(error, "the quarantine is not kept over a restart"),
                None => tracing::warn!(file = %file.display(), "the quarantine is kept over a restart again"),
            }
            self.trouble = now;
        }
    }
}

/// A folder that others may write to is not believed. Root may lift a quarantine of the user that Doorward runs as.
fn believed(state: &Path) -> Result<()> {
    if rustix::process::geteuid().is_root() && state.is_dir() {
        return files::private_folder(state).map(drop);
    }
    files::own_folder(state)
}

fn read(file: &Path) -> Result<Option<Digests>> {
    let parse = |text: String| serde_json::from_str(&text).map_err(|error| Error::new(ErrorKind::InvalidData, error));
    files::read_text(file)?.map(parse).transpose()
}

/// A file that cannot be read may tell somebody more than it tells us.
fn keep_broken(file: &Path) -> Result<()> {
    if read(file).is_ok() {
        return Ok(());
    }
    let kept = file.with_extension("json.broken");
    std::fs::rename(file, &kept)?;
    tracing::warn!(file = %file.display(), kept = %kept.display(), "the file that cannot be read is kept");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::{Disk, Folder};

    fn after_restart(state: &Path) -> Vec<String> {
        Quarantine::load(Some(state)).all().into_keys().collect()
    }

    #[test]
    fn whatever_happens_to_the_file_what_is_known_is_kept() {
        type Fault = fn(&Path);
        let faults: [(&str, Fault); 5] = [
            ("cut", |file| std::fs::write(file, "{\"a\": \"went b").unwrap()),
            ("emptied", |file| std::fs::write(file, "").unwrap()),
            ("garbage", |file| std::fs::write(file, [0xff; 100]).unwrap()),
            ("removed", |file| std::fs::remove_file(file).unwrap()),
            ("replaced", |file| {
                let other = file.with_extension("other");
                std::fs::write(&other, "[]").unwrap();
                std::fs::rename(other, file).unwrap();
            }),
        ];
        for (what, fault) in faults {
            let folder = Folder::new("quarantine");
            let file = folder.0.join("quarantine.json");
            let quarantine = Quarantine::load(Some(&folder.0));
            quarantine.add("a", "went bad");
            fault(&file);
            quarantine.look_after();
            assert_eq!(after_restart(&folder.0), ["a"], "{what}");
            fault(&file);
            quarantine.add("b", "went bad");
            assert_eq!(after_restart(&folder.0), ["a", "b"], "{what}");
            assert_eq!(quarantine.trouble(), None);
            // What another process finds when it starts is told, and not taken for an empty file.
            fault(&file);
            let other = Quarantine::load(Some(&folder.0));
            assert_eq!(other.trouble().is_some(), what != "removed", "{what}: {:?}", other.trouble());
            other.add("c", "went bad");
            assert_eq!(file.with_extension("json.broken").exists(), what != "removed", "{what}");
        }
    }

    #[test]
    fn a_full_disk_is_told_and_room_again_keeps_it() {
        let Some(disk) = Disk::new("quarantine-full") else { return };
        let quarantine = Quarantine::load(Some(disk.path()));
        quarantine.add("a", "went bad");
        disk.fill();
        quarantine.add("b", &"x".repeat(5000));
        assert!(quarantine.trouble().is_some_and(|trouble| trouble.contains("quarantine.json")));
        assert_eq!(after_restart(disk.path()), ["a"], "what was there stays");
        disk.make_room();
        quarantine.look_after();
        assert_eq!((quarantine.trouble(), after_restart(disk.path()).len()), (None, 2));
    }

    #[test]
    fn two_processes_may_have_one_folder() {
        let folder = Folder::new("quarantine-two");
        let (one, other) = (Quarantine::load(Some(&folder.0)), Quarantine::load(Some(&folder.0)));
        one.add("a", "went bad");
        other.add("b", "went bad");
        assert_eq!(after_restart(&folder.0), ["a", "b"]);
        assert!(other.lift("sha256:a"));
        one.look_after();
        assert_eq!(one.all().into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_folder_that_is_not_ours_alone_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new("quarantine-folder");
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
        let quarantine = Quarantine::load(Some(&folder.0));
        assert!(quarantine.trouble().is_some_and(|trouble| trouble.contains("must be 0700")));
        quarantine.add("a", "went bad");
        assert!(quarantine.reason("a").is_some() && !folder.0.join("quarantine.json").exists());
    }
}
