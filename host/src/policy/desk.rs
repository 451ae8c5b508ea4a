//! What all workers share about decisions: where records go, what is decided aside, and which policies are in trouble.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Policy;
use super::aside::{self, Job};
use super::cache::own_folder;
use super::record::Records;
use crate::config;

/// The desk: one for each process.
pub struct Desk {
    /// The decision log.
    pub records: Records,
    /// Digests that may not go live.
    pub quarantine: Quarantine,
    aside: SyncSender<Job>,
    dropped: AtomicU64,
    troubles: Mutex<Vec<Arc<Policy>>>,
    trouble: Notify,
}

impl Desk {
    /// Starts the writer of records and the thread beside.
    ///
    /// # Errors
    /// A file that cannot be opened, or no thread.
    pub fn start(log: &config::Log, state: Option<&Path>) -> std::io::Result<Arc<Self>> {
        let records = Records::start(log)?;
        // The thread gets at the desk that hands it its jobs, once that is there.
        let place = Arc::new(std::sync::OnceLock::<std::sync::Weak<Self>>::new());
        let at = place.clone();
        let desk = Arc::new(Self {
            records,
            quarantine: Quarantine::load(state),
            aside: aside::start(move || at.get()?.upgrade())?,
            dropped: AtomicU64::new(0),
            troubles: Mutex::default(),
            trouble: Notify::new(),
        });
        let _ = place.set(Arc::downgrade(&desk));
        Ok(desk)
    }

    /// Hands over a job; false when there is no room for it.
    pub(super) fn aside(&self, job: Job) -> bool {
        let taken = self.aside.try_send(job).is_ok();
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Jobs that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A policy's breaker opened.
    pub(super) fn report(&self, policy: Arc<Policy>) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(policy);
        self.trouble.notify_one();
    }

    /// Waits for policies whose breakers opened.
    pub async fn troubles(&self) -> Vec<Arc<Policy>> {
        loop {
            let found = std::mem::take(&mut *self.troubles.lock().unwrap_or_else(PoisonError::into_inner));
            if !found.is_empty() {
                return found;
            }
            self.trouble.notified().await;
        }
    }
}

/// Digests of components that went bad, with the reason; they are refused until the operator lifts that.
#[derive(Debug, Default)]
pub struct Quarantine {
    file: Option<PathBuf>,
    digests: Mutex<BTreeMap<String, String>>,
}

impl Quarantine {
    /// Reads what an earlier process left in the state folder.
    pub fn load(state: Option<&Path>) -> Self {
        // A folder that others may write to is not believed.
        let state = state.filter(|state| {
            let ours = own_folder(state);
            ours.inspect_err(|error| tracing::warn!(folder = %state.display(), %error, "no quarantine is kept")).is_ok()
        });
        let file = state.map(|state| state.join("quarantine.json"));
        let read = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let digests = read.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self { file, digests: Mutex::new(digests) }
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
        self.lock().get(digest).cloned()
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        let mut digests = self.lock();
        let changed = change(&mut digests);
        if let Some(file) = &self.file {
            let new = file.with_extension("new");
            let text = serde_json::to_string_pretty(&*digests).unwrap_or_default();
            let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, file));
            if let Err(error) = written {
                tracing::error!(file = %file.display(), %error, "the quarantine is not kept over a restart");
            }
        }
        changed
    }
}
