//! What a node remembers between requests: things by an unguessable id, bounded in number and in idle time. The time
//! is the caller's to tell.
//!
//! Invariants:
//! - `by_age` holds exactly the ids of `by_id`, least recently used first.

use crate::text::hex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The name of the one cookie.
pub(super) const COOKIE: &str = "webmail_session";

/// The system has no random bytes to give.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes for a session id")]
pub(super) struct Error(#[source] getrandom::Error);

/// Values by id. At its bound, the one unused for longest makes room for a new one.
pub(super) struct Store<T> {
    places: usize,
    idle: Duration,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    by_id: HashMap<String, Entry<T>>,
    by_age: BTreeMap<u64, String>,
    next: u64,
}

struct Entry<T> {
    value: T,
    seen: Instant,
    age: u64,
}

impl<T: Clone> Store<T> {
    /// An empty store of at most `places` values, each forgotten when unused for `idle`.
    pub(super) fn new(places: usize, idle: Duration) -> Self {
        let inner = Inner { by_id: HashMap::new(), by_age: BTreeMap::new(), next: 0 };
        Self { places, idle, inner: Mutex::new(inner) }
    }

    /// Keeps `value` under a new id.
    pub(super) fn open(&self, value: T, now: Instant) -> Result<String, Error> {
        let id = random_hex()?;
        let mut inner = self.lock();
        inner.forget_idle(self.idle, now);
        while inner.by_id.len() >= self.places {
            inner.forget_oldest();
        }
        let age = inner.take_age();
        inner.by_age.insert(age, id.clone());
        inner.by_id.insert(id.clone(), Entry { value, seen: now, age });
        Ok(id)
    }

    /// The value under `id`, whose idle time starts anew.
    pub(super) fn find(&self, id: &str, now: Instant) -> Option<T> {
        let mut inner = self.lock();
        inner.forget_idle(self.idle, now);
        let age = inner.take_age();
        let entry = inner.by_id.get_mut(id)?;
        let before = std::mem::replace(&mut entry.age, age);
        entry.seen = now;
        let value = entry.value.clone();
        if let Some(id) = inner.by_age.remove(&before) {
            inner.by_age.insert(age, id);
        }
        Some(value)
    }

    /// Forgets `id`.
    pub(super) fn close(&self, id: &str) {
        let mut inner = self.lock();
        if let Some(entry) = inner.by_id.remove(id) {
            inner.by_age.remove(&entry.age);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // No code path panics half-way through a change, so a poisoned store is still a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn take_age(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.pop_first() {
            self.by_id.remove(&id);
        }
    }

    /// The order of age is the order of last use, so those past their time are all at the front.
    fn forget_idle(&mut self, idle: Duration, now: Instant) {
        while let Some((_, id)) = self.by_age.first_key_value() {
            if self.by_id.get(id).is_some_and(|entry| now.duration_since(entry.seen) < idle) {
                return;
            }
            self.forget_oldest();
        }
    }
}

/// 256 random bits, in hex: for ids and for tokens.
pub(super) fn random_hex() -> Result<String, Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(Error)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_nobody_uses_it() {
        let store = Store::new(10, Duration::from_mins(1));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let used = store.open("used", start).unwrap();
        let idle = store.open("idle", start).unwrap();
        assert_eq!(store.find(&used, after(40)), Some("used"));
        assert_eq!(store.find(&used, after(80)), Some("used"));
        assert_eq!(store.find(&idle, after(80)), None);
        assert_eq!(store.find(&used, after(140)), None);
    }

    #[test]
    fn the_one_unused_for_longest_makes_room() {
        let store = Store::new(2, Duration::from_mins(1));
        let now = Instant::now();
        let first = store.open(1, now).unwrap();
        let second = store.open(2, now).unwrap();
        assert_eq!(store.find(&first, now), Some(1));
        let third = store.open(3, now).unwrap();
        assert_eq!(store.find(&second, now), None);
        assert_eq!((store.find(&first, now), store.find(&third, now)), (Some(1), Some(3)));
        store.close(&first);
        assert_eq!(store.find(&first, now), None);
        let inner = store.lock();
        assert_eq!(inner.by_age.len(), inner.by_id.len());
    }
}
