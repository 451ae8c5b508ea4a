//! What all workers share about decisions: where records go, what is decided aside, and which policies are in trouble.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Policy;
use super::aside::{self, Job};
use super::quarantine::Quarantine;
use super::record::{Decided, Record, Records, Taker};
use crate::config;
use crate::feed::{Feed, Kind};

/// The desk: one for each process.
pub struct Desk {
    /// The decision log.
    pub records: Records,
    /// Digests that may not go live.
    pub quarantine: Quarantine,
    /// What happens, for people who watch.
    pub feed: Arc<Feed>,
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
    pub fn start<T>(log: &config::Log, state: Option<&Path>, taker: T) -> std::io::Result<Arc<Self>>
    where
        T: Taker + Sync + 'static,
    {
        let records = Records::start(log, taker)?;
        // The thread gets at the desk that hands it its jobs, once that is there.
        let place = Arc::new(std::sync::OnceLock::<std::sync::Weak<Self>>::new());
        let at = place.clone();
        let desk = Arc::new(Self {
            records,
            quarantine: Quarantine::load(state),
            feed: Feed::start()?,
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

    /// Hands a decision over: to the log, and to those who watch.
    pub(super) fn note(&self, record: Record, is_recorded: bool, is_watched: bool) {
        if is_watched {
            self.feed.tell(Kind::Decision, Box::new(Decided { record: record.clone(), mask: self.records.mask() }));
        }
        if is_recorded {
            self.records.record(record);
        }
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
