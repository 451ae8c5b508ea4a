//! The feed: what happens, for people who watch: decisions, ends of exchanges, logins. Bounded everywhere.
//!
//! Invariants: nobody who tells of something ever waits; while nobody watches, telling costs one relaxed load of an
//! atomic; a viewer who reads slowly loses events, and is told how many.

mod event;
mod recent;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub use self::event::{Event, Kind, Show};
use self::recent::Recent;

/// Events on their way from workers to the thread. Each holds a request's head at most.
const WAITING: usize = 512;
/// So many events are taken in a slot, by all workers together: what watching costs does not grow with the load.
const PER_SLOT: u32 = 100;
const SLOT: Duration = Duration::from_millis(100);
/// Those who may watch at the same time.
const VIEWERS: usize = 16;
/// Events that wait for a viewer.
const QUEUE: usize = 256;
/// How long events are kept for a console after somebody looked at it last.
const ATTENTION: Duration = Duration::from_secs(600);

/// Which events a viewer wants.
pub type Filter = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// The feed: one for each process.
pub struct Feed {
    /// 0 while nobody watches; else one more than how many events may be taken in this slot.
    room: AtomicU32,
    /// Events that nobody looked at, since too many happened at once.
    skipped: AtomicU64,
    sender: SyncSender<Message>,
    watch: Mutex<Watch>,
}

enum Message {
    Happened(Kind, Box<dyn Show>),
    /// Somebody began to watch.
    Watched,
}

/// Who watches, and what happened of late.
#[derive(Default)]
struct Watch {
    until: Option<Instant>,
    /// The process ends.
    is_closed: bool,
    viewers: Vec<Arc<Waiting>>,
    recent: Recent,
}

/// What waits for one viewer.
struct Waiting {
    filter: Filter,
    events: Mutex<(VecDeque<Arc<Event>>, u64)>,
    news: Notify,
}

/// One who watches. Dropping it frees the place.
pub struct Viewer {
    feed: Arc<Feed>,
    waiting: Arc<Waiting>,
    skipped: u64,
}

impl Feed {
    /// Starts the thread that makes events into what is shown.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let (sender, messages) = sync_channel(WAITING);
        let feed =
            Arc::new(Self { room: AtomicU32::new(0), skipped: AtomicU64::new(0), sender, watch: Mutex::default() });
        let thread = Arc::downgrade(&feed);
        std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            let mut end = Instant::now();
            while let Some(message) = next(&messages, &thread, &mut end) {
                let (Message::Happened(kind, what), Some(feed)) = (message, thread.upgrade()) else { continue };
                feed.hand_out(Arc::new(Event::of(kind, &*what)));
            }
        })?;
        Ok(feed)
    }

    /// Whether somebody watches, and there is room for one more event in this slot: then it is to be told.
    #[inline]
    pub fn takes(&self) -> bool {
        self.room.load(Ordering::Relaxed) != 0 && self.takes_one()
    }

    #[cold]
    fn takes_one(&self) -> bool {
        let one_less = |room: u32| (room > 1).then(|| room - 1);
        let taken = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if taken == Err(1) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Tells of something that [`Self::takes`] has room for; never waits.
    pub fn tell(&self, kind: Kind, what: Box<dyn Show>) {
        if self.sender.try_send(Message::Happened(kind, what)).is_err() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Somebody looks at the console: what happens is kept for a while.
    pub fn attend(&self) {
        self.watch().until = Some(Instant::now() + ATTENTION);
        self.wake();
    }

    /// The process ends: nobody watches any more.
    pub fn close(&self) {
        let mut watch = self.watch();
        watch.is_closed = true;
        watch.viewers.iter().for_each(|viewer| viewer.news.notify_one());
    }

    /// One more viewer; none where there are too many.
    pub fn view(self: &Arc<Self>, filter: Filter) -> Option<Viewer> {
        let waiting = Arc::new(Waiting { filter, events: Mutex::default(), news: Notify::new() });
        {
            let mut watch = self.watch();
            if watch.is_closed || watch.viewers.len() >= VIEWERS {
                return None;
            }
            watch.viewers.push(waiting.clone());
        }
        self.wake();
        Some(Viewer { feed: self.clone(), waiting, skipped: self.skipped() })
    }

    /// The most recent events of a kind that pass the filter, the newest first.
    pub fn recent(&self, kind: Kind, filter: &dyn Fn(&Event) -> bool, most: usize) -> Vec<Arc<Event>> {
        self.watch().recent.of(kind, filter, most)
    }

    /// Events that nobody looked at, since more happened at once than people can read.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// From now on events are taken. Where the queue is full, the thread is awake anyway.
    fn wake(&self) {
        if self.room.compare_exchange(0, PER_SLOT + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let _ = self.sender.try_send(Message::Watched);
        }
    }

    fn hand_out(&self, event: Arc<Event>) {
        let mut watch = self.watch();
        for viewer in watch.viewers.iter().filter(|viewer| (viewer.filter)(&event)) {
            let mut waiting = viewer.events();
            if waiting.0.len() >= QUEUE {
                // What is new is what a viewer wants to see.
                waiting.0.pop_front();
                waiting.1 += 1;
            }
            waiting.0.push_back(event.clone());
            drop(waiting);
            viewer.news.notify_one();
        }
        watch.recent.keep(event);
    }

    /// A new slot: there is room again, or nobody watches any more. Whether somebody does.
    fn begin_slot(&self) -> bool {
        let mut watch = self.watch();
        let is_watched = !watch.viewers.is_empty() || watch.until.is_some_and(|until| Instant::now() < until);
        if !is_watched {
            watch.recent.clear();
        }
        // Under the lock: who begins to watch afterwards finds it off and switches it on.
        self.room.store(if is_watched { PER_SLOT + 1 } else { 0 }, Ordering::Relaxed);
        is_watched
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next event; a new slot begins each time that one has passed while somebody watches. None when the feed is gone.
fn next(messages: &Receiver<Message>, feed: &std::sync::Weak<Feed>, end: &mut Instant) -> Option<Message> {
    loop {
        let now = Instant::now();
        if now >= *end {
            if !feed.upgrade()?.begin_slot() {
                return messages.recv().ok();
            }
            *end = now + SLOT;
        }
        match messages.recv_timeout(end.saturating_duration_since(now)) {
            Ok(message) => return Some(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

impl Waiting {
    fn events(&self) -> MutexGuard<'_, (VecDeque<Arc<Event>>, u64)> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    /// Waits for events, and takes all that there are: with how many were lost since the last time. None when the feed is
    /// closed.
    pub async fn next(&mut self) -> Option<(Vec<Arc<Event>>, u64)> {
        loop {
            let (events, lost) = {
                let mut waiting = self.waiting.events();
                (waiting.0.drain(..).collect::<Vec<_>>(), std::mem::take(&mut waiting.1))
            };
            if !events.is_empty() {
                let skipped = self.feed.skipped();
                let missed = skipped - std::mem::replace(&mut self.skipped, skipped);
                return Some((events, lost + missed));
            }
            if self.feed.watch().is_closed {
                return None;
            }
            self.waiting.news.notified().await;
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.feed.watch().viewers.retain(|one| !Arc::ptr_eq(one, &self.waiting));
    }
}

#[cfg(test)]
mod tests;
