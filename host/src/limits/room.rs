//! Memory for what is read before it is wanted: bounded for each body, for each user, and in all.
//!
//! Invariant: what is counted here is held by a [`Reserved`], and no more than that.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gate::{Holder, Holders};
use crate::config::ReadAhead;

/// Bytes that are held, by whom.
#[derive(Debug, Default)]
pub struct Room(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: u64,
    holders: Holders<u64>,
}

/// What somebody may hold.
#[derive(Debug)]
pub struct Allowance {
    /// Of what.
    pub room: Arc<Room>,
    /// Who.
    pub holder: Holder,
    /// How much.
    pub bounds: ReadAhead,
}

/// Bytes that somebody holds, until this is dropped.
#[derive(Debug)]
pub struct Reserved {
    allowance: Rc<Allowance>,
    bytes: u64,
}

impl Room {
    /// Bytes that are held.
    pub fn held(&self) -> u64 {
        self.counts().total
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Nothing yet.
    pub fn new(allowance: Rc<Allowance>) -> Self {
        Self { allowance, bytes: 0 }
    }

    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more, if every bound allows it.
    #[must_use]
    pub fn grow(&mut self, more: u64) -> bool {
        let Allowance { room, holder, bounds } = &*self.allowance;
        let mut counts = room.counts();
        let total = counts.total.saturating_add(more);
        let held = counts.holders.get(holder).copied().unwrap_or_default().saturating_add(more);
        if self.bytes.saturating_add(more) > bounds.each || held > bounds.user || total > bounds.total {
            return false;
        }
        counts.total = total;
        counts.holders.insert(*holder, held);
        self.bytes += more;
        true
    }

    /// Keeps so many, and gives the others back.
    pub fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        if less == 0 {
            return;
        }
        let Allowance { room, holder, .. } = &*self.allowance;
        let mut counts = room.counts();
        counts.total = counts.total.saturating_sub(less);
        if let Some(held) = counts.holders.get_mut(holder) {
            *held = held.saturating_sub(less);
            if *held == 0 {
                counts.holders.remove(holder);
            }
        }
        self.bytes -= less;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_holds_and_what_is_dropped_is_given_back() {
        let room = Arc::new(Room::default());
        let of = |name: &str| {
            let bounds = ReadAhead { each: 4, user: 6, total: 10 };
            Reserved::new(Rc::new(Allowance { room: room.clone(), holder: Holder::user(name), bounds }))
        };
        let (mut first, mut second, mut other) = (of("alice"), of("alice"), of("bob"));
        assert!(first.grow(4) && !first.grow(1), "for each");
        assert!(second.grow(2) && !second.grow(1), "for a user");
        assert!(other.grow(4) && !of("carol").grow(1), "in all");
        first.shrink_to(1);
        assert!(second.grow(2) && of("carol").grow(1));
        drop((first, second, other));
        assert_eq!((room.held(), room.counts().holders.len()), (0, 0));
    }
}
