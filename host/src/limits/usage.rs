//! How many requests there were of late: of a session, of an address, and of an address for a path. For policies, and counted
//! only where one reads it.
//!
//! Invariants: the tables have a fixed size and are made when the first request is counted. Each has rows of a few places; a
//! key that finds none free takes that of the key of its row with the fewest requests in the last hour. So who comes with many
//! addresses or paths pushes out his own, and hardly ever somebody who has been counted for long. Nobody outside can foresee
//! which keys share a row.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Rows of a table, and keys that have a place in each: 2.5 MiB for a table.
const ROWS: usize = 1 << 13;
const PLACES: usize = 8;
/// Locks of a table: a row is behind one of them.
const LOCKS: usize = 64;

/// What is counted of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Requests of its session.
    pub session: bool,
    /// Requests of its address.
    pub address: bool,
    /// Requests of its address for its path.
    pub path: bool,
}

/// Requests of late, this one among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recent {
    /// In the last minute.
    pub minute: u32,
    /// In the last hour.
    pub hour: u32,
}

/// What was counted of a request; nothing where it was not wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests of its session.
    pub session: Recent,
    /// Requests of its address.
    pub address: Recent,
    /// Requests of its address for its path.
    pub path: Recent,
}

/// Whose request it is, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    /// The session's id.
    pub session: Option<[u8; 16]>,
    /// The client. An IPv6 client has a /64.
    pub address: IpAddr,
    /// The path as sent.
    pub path: &'a str,
}

/// The counts. Part of State: they survive a reload.
#[derive(Debug, Default)]
pub struct Usage {
    hasher: RandomState,
    sessions: OnceLock<Table>,
    addresses: OnceLock<Table>,
    paths: OnceLock<Table>,
}

impl Usage {
    /// Counts a request, `now` in seconds.
    pub fn count(&self, of: Requester<'_>, wanted: Wanted, now: u64) -> Counted {
        let client = client_of(of.address);
        let count = |table: &OnceLock<Table>, key: u64| table.get_or_init(Table::default).count(key, now);
        let mut counted = Counted::default();
        if let (true, Some(session)) = (wanted.session, of.session) {
            counted.session = count(&self.sessions, self.hasher.hash_one(session));
        }
        if wanted.address {
            counted.address = count(&self.addresses, self.hasher.hash_one(client));
        }
        if wanted.path {
            counted.path = count(&self.paths, self.hasher.hash_one((client, of.path)));
        }
        counted
    }
}

/// An IPv6 client has a network of its own, and is counted by it.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Debug)]
struct Table(Vec<Mutex<Vec<Row>>>);

type Row = [Entry; PLACES];

/// The requests of a key, in a minute and an hour that are divided at the clock's.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    key: u64,
    minute: Window,
    hour: Window,
}

/// Requests in the current window of time and in the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    number: u64,
    now: u32,
    before: u32,
}

impl Default for Table {
    fn default() -> Self {
        let shard = || Mutex::new(vec![Row::default(); ROWS / LOCKS]);
        Self(std::iter::repeat_with(shard).take(LOCKS).collect())
    }
}

impl Table {
    fn count(&self, key: u64, now: u64) -> Recent {
        let mut shard = self.shard(key);
        let at = usize::try_from(key >> 32).unwrap_or_default() % (ROWS / LOCKS);
        let Some(row) = shard.get_mut(at) else { return Recent::default() };
        let place = match row.iter().position(|entry| entry.key == key) {
            Some(place) => place,
            None => {
                let quietest = row.iter().enumerate().min_by_key(|(_, entry)| entry.hour.at(now, 3600));
                quietest.map(|(place, _)| place).unwrap_or_default()
            }
        };
        let Some(entry) = row.get_mut(place) else { return Recent::default() };
        if entry.key != key {
            *entry = Entry { key, ..Entry::default() };
        }
        Recent { minute: entry.minute.count(now, 60), hour: entry.hour.count(now, 3600) }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Vec<Row>> {
        let at = usize::try_from(key).unwrap_or_default() % LOCKS;
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Moves on to the window of this time.
    fn moved(self, now: u64, length: u64) -> Self {
        let number = now / length;
        if self.number > number.saturating_add(1) {
            // The clock was set back: what was counted would not fade until it is there again.
            return Self { number, now: 0, before: 0 };
        }
        match number.saturating_sub(self.number) {
            0 => self,
            1 => Self { number, now: 0, before: self.now },
            _ => Self { number, now: 0, before: 0 },
        }
    }

    /// Requests within its length until now: of the window before, the part that is not over yet.
    fn at(self, now: u64, length: u64) -> u32 {
        let moved = self.moved(now, length);
        let left = length - now % length;
        let before = u64::from(moved.before) * left / length;
        moved.now.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
    }

    fn count(&mut self, now: u64, length: u64) -> u32 {
        *self = self.moved(now, length);
        self.now = self.now.saturating_add(1);
        self.at(now, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted = Wanted { session: true, address: true, path: true };

    fn of(address: &str, path: &'static str) -> Requester<'static> {
        Requester { session: Some([1; 16]), address: address.parse().unwrap(), path }
    }

    #[test]
    fn each_is_counted_by_itself_and_only_what_is_wanted() {
        let usage = Usage::default();
        for _ in 0..5 {
            usage.count(of("192.0.2.1", "/a"), ALL, 1000);
        }
        let counted = usage.count(of("192.0.2.1", "/b"), ALL, 1000);
        assert_eq!((counted.session.minute, counted.address.hour, counted.path.minute), (6, 6, 1));
        let other = usage.count(of("192.0.2.2", "/a"), ALL, 1000);
        assert_eq!((other.session.minute, other.address.minute, other.path.minute), (7, 1, 1));
        let nothing = usage.count(of("192.0.2.1", "/a"), Wanted::default(), 1000);
        assert_eq!(nothing, Counted::default());
        assert_eq!(usage.count(of("192.0.2.1", "/a"), ALL, 1000).address.minute, 7);
        // Neighbours in a /64 are one client.
        usage.count(of("2001:db8::1", "/"), ALL, 1000);
        assert_eq!(usage.count(of("2001:db8::2", "/"), ALL, 1000).address.minute, 2);
        assert_eq!(usage.count(of("2001:db8:0:1::1", "/"), ALL, 1000).address.minute, 1);
    }

    #[test]
    fn what_was_counted_fades() {
        let mut window = Window::default();
        for _ in 0..60 {
            window.count(6000, 60);
        }
        for (now, left) in [(6000, 60), (6059, 60), (6060, 60), (6090, 30), (6119, 1), (6120, 0), (9999, 0)] {
            assert_eq!(window.at(now, 60), left, "{now}");
        }
        // A clock that goes back a little makes nothing of it; by more, it is counted anew.
        assert_eq!(window.count(5990, 60), 61);
        assert_eq!((window.count(5000, 60), window.count(5000, 60)), (1, 2));
        assert_eq!(window.at(5120, 60), 0);
    }

    #[test]
    fn a_million_keys_take_no_more_room_and_push_out_nobody_who_is_busy() {
        let table = Table::default();
        for _ in 0..100 {
            table.count(7, 1000);
        }
        let hasher = RandomState::new();
        for stranger in 0..1_000_000_u32 {
            table.count(hasher.hash_one(stranger), 1000);
        }
        assert_eq!(table.count(7, 1000).minute, 101);
        let room: usize = table.0.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(room, ROWS);
    }
}
