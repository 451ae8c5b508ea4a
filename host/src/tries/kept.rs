//! The last attempts to log in, for whoever asks why somebody could not.
//!
//! Invariants: bounded in all, and for each name. What makes room is the *crowd* that fills it: the attempts of one network
//! are one crowd, and so are all attempts with names that nobody has, wherever they come from. The largest crowds lose
//! their oldest attempts first, so that who guesses a million names, from one network or from many, pushes out his own
//! attempts and not those of others. Of one name's attempts the same holds.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Reason, Record};
use crate::limits::network_of;

/// Attempts in all: about 2 MiB.
const KEPT: usize = 4096;
/// Attempts of one name.
const OF_NAME: usize = 32;
/// When there is no room, so much of it is made at once, since that looks at all of them.
const SHARE: usize = 8;

/// The last attempts. Part of State.
#[derive(Debug, Default)]
pub struct Tries {
    hasher: RandomState,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    all: VecDeque<Entry>,
    /// How many there are of each name.
    names: HashMap<u64, usize>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// A hash of site and name.
    name: u64,
    crowd: Crowd,
    record: Arc<Record>,
}

/// What attempts make room for each other by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Crowd {
    Network(IpAddr),
    Nobody,
}

impl Crowd {
    fn of(record: &Record) -> Self {
        match record.reason {
            Some(Reason::Unknown) => Self::Nobody,
            _ => Self::Network(network_of(record.client)),
        }
    }
}

impl Tries {
    /// Keeps one.
    pub fn keep(&self, record: Arc<Record>) {
        let name = match &record.user {
            Some(user) => self.hasher.hash_one((&*record.site, user.as_str())),
            None => self.hasher.hash_one((&*record.site, Record::folded(&record.typed).as_str())),
        };
        let entry = Entry { name, crowd: Crowd::of(&record), record };
        let mut kept = self.kept();
        if kept.names.get(&name).is_some_and(|count| *count >= OF_NAME) {
            kept.make_room(OF_NAME / SHARE, |entry| entry.name == name);
        }
        if kept.all.len() >= KEPT {
            kept.make_room(KEPT / SHARE, |_| true);
        }
        *kept.names.entry(name).or_default() += 1;
        kept.all.push_back(entry);
    }

    /// Those that fit, the newest first.
    pub fn find(&self, fits: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        // Nobody waits while they are looked at.
        let all = self.kept().all.clone();
        all.into_iter().rev().map(|entry| entry.record).filter(|record| fits(record)).collect()
    }

    /// Those of one user, at whichever site, the newest first: by a canonical name, or by what was typed.
    pub fn of_user(&self, name: &str) -> Vec<Arc<Record>> {
        let typed = Record::folded(name);
        self.find(|record| record.user.as_deref() == Some(name) || Record::folded(&record.typed) == typed)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Lets so many go of those that are meant: of the largest crowds, the oldest.
    fn make_room(&mut self, room: usize, meant: impl Fn(&Entry) -> bool) {
        let mut crowds: HashMap<Crowd, usize> = HashMap::new();
        for entry in self.all.iter().filter(|entry| meant(entry)) {
            *crowds.entry(entry.crowd).or_default() += 1;
        }
        let most = level(crowds.values().copied().collect(), room);
        let (mut left, names) = (room, &mut self.names);
        self.all.retain(|entry| {
            if left == 0 || !meant(entry) {
                return true;
            }
            match crowds.get_mut(&entry.crowd).filter(|count| **count > most) {
                Some(count) => *count -= 1,
                None => return true,
            }
            left -= 1;
            forget(names, entry.name);
            false
        });
    }
}

/// One less of a name.
fn forget(names: &mut HashMap<u64, usize>, name: u64) {
    if let Place::Occupied(mut entry) = names.entry(name) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// How many a crowd may keep at most, so that `room` of them go.
fn level(mut sizes: Vec<usize>, room: usize) -> usize {
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0;
    for (index, size) in sizes.iter().enumerate() {
        sum += size;
        // What the crowds that are larger than the next one have above its size.
        let next = sizes.get(index + 1).copied().unwrap_or(0);
        if sum - (index + 1) * next >= room {
            return sum.saturating_sub(room) / (index + 1);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::config::Protocol;

    fn record(name: &str, client: &str, reason: Reason) -> Arc<Record> {
        Arc::new(Record {
            time: UNIX_EPOCH,
            id: "1".into(),
            protocol: Protocol::Http,
            site: "*".into(),
            host: "a.test".to_owned(),
            typed: format!(" {}", name.to_uppercase()),
            user: (reason != Reason::Unknown).then(|| name.to_owned()),
            client: client.parse().unwrap(),
            outcome: "wrong",
            reason: Some(reason),
            policy: None,
            mode: None,
            node: None,
            route: None,
            usual: None,
            took: Duration::ZERO,
            retry_after: None,
            session: None,
        })
    }

    #[test]
    fn who_guesses_a_million_names_pushes_out_his_own() {
        let tries = Tries::default();
        tries.keep(record("alice", "192.0.2.1", Reason::Wrong));
        tries.keep(record("bob", "2001:db8::1", Reason::NodeDown));
        for number in 0..20_000 {
            tries.keep(record(&number.to_string(), "198.51.100.7", Reason::FormToken));
            // From everywhere, with names that nobody has.
            let from = IpAddr::from((0x0a00_0000_u32 + (number << 8)).to_be_bytes());
            tries.keep(record(&number.to_string(), &from.to_string(), Reason::Unknown));
            assert!(tries.kept().all.len() <= KEPT);
        }
        assert_eq!((tries.of_user("alice").len(), tries.of_user("Bob ").len()), (1, 1));
        assert!(!tries.of_user("19999").is_empty() && tries.of_user("1").is_empty());
        let kept = tries.kept();
        assert_eq!(kept.names.values().sum::<usize>(), kept.all.len());
    }

    #[test]
    fn who_guesses_at_one_name_leaves_its_own_attempts() {
        let tries = Tries::default();
        tries.keep(record("alice", "192.0.2.1", Reason::Wrong));
        tries.keep(record("carol", "192.0.2.1", Reason::Wrong));
        for number in 0..10 * OF_NAME {
            let from = ["198.51.100.7", "203.0.113.7"][number % 2];
            tries.keep(record("alice", from, Reason::Throttled));
        }
        let found = tries.of_user("alice");
        assert!(found.len() <= OF_NAME, "{}", found.len());
        assert_eq!(found.last().unwrap().client, IpAddr::from([192, 0, 2, 1]), "the newest come first");
        assert_eq!(tries.of_user("carol").len(), 1);
    }

    #[test]
    fn the_largest_crowds_give_way() {
        assert_eq!(level(vec![10, 1, 1], 4), 6);
        assert_eq!(level(vec![10, 9, 1], 5), 7);
        assert_eq!(level(vec![1, 1, 1, 1], 2), 0);
        assert_eq!(level(vec![], 2), 0);
    }
}
