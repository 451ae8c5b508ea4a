//! Watches the configuration and every file it names, and says when all of them have come to rest.
//!
//! Events are hints only: whatever they say, the files themselves are looked at (their folders are watched, so that
//! renames, symlink swaps and replaced folders are seen). A slow look without any hint finds what no event told.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::files::below;

/// Files are at rest when two looks this far apart see the same: editors write in bursts much shorter than that.
const REST: Duration = Duration::from_millis(300);
/// A look without a hint.
const LOOK: Duration = Duration::from_secs(5);

/// What was seen of a file: enough to tell that it changed, or who may read it, without reading it.
pub type Seen = Vec<(PathBuf, Option<Stamp>)>;

/// Device, inode, length, and the times of the last change of what it holds and of anything about it.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// Watches a set of files.
pub struct Watch {
    hint: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    files: Vec<PathBuf>,
    list: List,
    seen: Seen,
    /// What the last look saw, while it is awaited that files come to rest.
    moving: Option<Seen>,
    /// When the next look is due.
    due: Instant,
}

/// All that is looked at, of a file or folder that is watched.
type List = Box<dyn Fn(&Path) -> Vec<PathBuf> + Send + Sync>;

impl Watch {
    /// Watches these files and folders. Without the kernel's help, they are looked at all the same.
    pub fn start(files: Vec<PathBuf>) -> Self {
        Self::start_with(files, Box::new(below))
    }

    /// The same, with something else that says what is looked at of each of them.
    pub fn start_with(files: Vec<PathBuf>, list: List) -> Self {
        let hint = Arc::new(Notify::new());
        let wake = hint.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and would wake us by our own looks.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                wake.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|error| tracing::warn!(%error, "files are looked at every 5 s only")).ok();
        let mut watch =
            Self { hint, watcher, files: Vec::new(), list, seen: Vec::new(), moving: None, due: Instant::now() + LOOK };
        watch.follow(files);
        watch
    }

    /// Remembers how the files are now. To be called before they are read, so that what changes meanwhile is seen.
    pub fn mark(&mut self) {
        self.seen = self.look();
        self.moving = None;
    }

    /// How files are now that may not be watched yet. To be called before they are read; then see [`Watch::follow_since`].
    pub fn seen_of(files: &[PathBuf]) -> Seen {
        look(&files.iter().flat_map(|file| below(file)).collect())
    }

    /// Watches these files too from now on.
    pub fn follow(&mut self, files: Vec<PathBuf>) {
        let seen = look(&self.list_of(&files));
        self.follow_since(files, seen);
    }

    /// Watches these files too, and sees what has changed since they were seen so.
    pub fn follow_since(&mut self, files: Vec<PathBuf>, seen: Seen) {
        let new: Vec<PathBuf> = files.into_iter().filter(|file| !self.files.contains(file)).collect();
        let listed = self.list_of(&new);
        self.seen.extend(seen.into_iter().filter(|(path, _)| listed.contains(path)));
        self.files.extend(new);
        self.seen.sort();
        self.seen.dedup_by(|one, other| one.0 == other.0);
        self.watch_folders();
    }

    /// Asks the kernel for hints from every folder that there is now.
    fn watch_folders(&mut self) {
        let folders = folders(&self.files, &self.list_of(&self.files));
        let Some(watcher) = &mut self.watcher else { return };
        for folder in folders {
            // A folder that is watched already stays so; one that is not there is looked at without hints.
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %folder.display(), %error, "a folder is not watched");
            }
        }
    }

    /// Watches these files and no others from now on.
    pub fn follow_only(&mut self, files: Vec<PathBuf>) {
        self.follow(files.clone());
        self.files = files;
        let known = self.list_of(&self.files);
        self.seen.retain(|(path, _)| known.contains(path));
    }

    /// Waits until some file changed and all of them are at rest again. Who gives up waiting, and waits anew, loses nothing:
    /// looks come when they are due.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                () = self.hint.notified(), if self.moving.is_none() => {}
                () = tokio::time::sleep_until(self.due) => {}
            }
            let now = self.look();
            let at_rest = match self.moving.take() {
                None if now == self.seen => false,
                Some(before) if before == now => true,
                None | Some(_) => {
                    (self.moving, self.due) = (Some(now), Instant::now() + REST);
                    continue;
                }
            };
            self.due = Instant::now() + LOOK;
            // What changed and changed back in the meantime is no change.
            if at_rest && now != self.seen {
                self.seen = now;
                self.watch_folders();
                return;
            }
        }
    }

    fn look(&self) -> Seen {
        look(&self.list_of(&self.files))
    }

    fn list_of(&self, files: &[PathBuf]) -> BTreeSet<PathBuf> {
        files.iter().flat_map(|file| (self.list)(file)).collect()
    }
}

/// The folders to watch: of each name, of what it links to, and folders that are named themselves.
fn folders(files: &[PathBuf], listed: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut folders: BTreeSet<PathBuf> = listed.iter().filter(|path| path.is_dir()).cloned().collect();
    for file in files.iter().chain(listed) {
        let real = std::fs::canonicalize(file).ok();
        for path in std::iter::once(file).chain(&real) {
            folders.extend(
                path.parent().map(
                    |folder| {
                        if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
                    },
                ),
            );
        }
    }
    folders
}

fn look(listed: &BTreeSet<PathBuf>) -> Seen {
    listed
        .iter()
        .map(|path| {
            let of = |m: std::fs::Metadata| {
                (m.dev(), m.ino(), m.len(), (m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()))
            };
            let seen = std::fs::metadata(path).ok().map(of);
            (path.clone(), seen)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("doorward-watch-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    async fn seen(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn other_rights_are_seen_of_files_of_folders_and_of_what_is_in_them() {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        let folder = folder("rights");
        let (file, templates) = (folder.join("a.pem"), folder.join("templates"));
        let page = templates.join("blue/login.html");
        std::fs::create_dir_all(templates.join("blue")).unwrap();
        std::fs::write(&file, "1").unwrap();
        std::fs::write(&page, "1").unwrap();
        let mut watch = Watch::start(vec![file.clone(), templates.clone()]);
        for path in [&file, &page, &templates.join("blue"), &templates] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode ^ 0o040)).unwrap();
            assert!(seen(&mut watch).await, "chmod of {}", path.display());
        }
        // To the group that it has: whoever may do that, it is a change like any other.
        let group = std::fs::metadata(&file).unwrap().gid();
        chown(&file, None, Some(group)).unwrap();
        assert!(seen(&mut watch).await, "chown");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// The loop that waits for it does other things meanwhile, as often as once in a moment.
    #[tokio::test(start_paused = true)]
    async fn a_change_without_a_hint_is_seen_though_waiting_is_given_up_again_and_again() {
        let folder = folder("cancelled");
        let file = folder.join("not/there/yet");
        let mut watch = Watch::start(vec![file.clone()]);
        std::fs::create_dir_all(folder.join("not/there")).unwrap();
        std::fs::write(&file, "1").unwrap();
        let began = Instant::now();
        while tokio::time::timeout(REST / 2, watch.changed()).await.is_err() {
            assert!(began.elapsed() < LOOK * 3, "nothing is seen");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn renames_links_and_new_files_are_seen() {
        let folder = folder("kinds");
        let (file, real) = (folder.join("doorward.toml"), folder.join("v1"));
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("policy.wasm"), "1").unwrap();
        std::os::unix::fs::symlink(&real, folder.join("current")).unwrap();
        std::fs::write(&file, "1").unwrap();
        let templates = folder.join("templates");
        std::fs::create_dir(&templates).unwrap();
        let files = vec![file.clone(), folder.join("current/policy.wasm"), templates.clone()];
        let mut watch = Watch::start(files);
        std::fs::write(folder.join("new"), "2").unwrap();
        std::fs::rename(folder.join("new"), &file).unwrap();
        assert!(seen(&mut watch).await, "rename over");
        std::fs::create_dir(folder.join("v2")).unwrap();
        std::fs::write(folder.join("v2/policy.wasm"), "2").unwrap();
        std::os::unix::fs::symlink(folder.join("v2"), folder.join("next")).unwrap();
        std::fs::rename(folder.join("next"), folder.join("current")).unwrap();
        assert!(seen(&mut watch).await, "symlink swap");
        std::fs::write(templates.join("login.html"), "x").unwrap();
        assert!(seen(&mut watch).await, "new file in a folder");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
