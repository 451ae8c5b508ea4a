//! Sessions seen of late: for operators, who ask who is there, at which node, and whether a node is empty.
//!
//! Invariants: nothing secret is in it, and nothing that opens a session. A request that comes with a cookie its worker
//! knows stores a time, and takes no lock; a cookie that the worker opens for the first time takes the lock of a
//! sixty-fourth of the table, which nobody holds while he looks through it. Bounded in all and for each user: who logs in
//! a thousand times hides his own sessions, and nobody else's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Revoked, Session, Sessions};
use crate::secret::Values;
use crate::times::seconds_now;

const SHARDS: usize = 64;
/// Sessions of a shard: 65,536 in all, about 20 MiB.
const PER_SHARD: usize = 1 << 10;
/// Sessions of one user in a shard, of about a thousand in all.
const OF_USER: usize = 16;

/// A session that was seen since the start.
#[derive(Debug)]
pub struct Sighting {
    /// The session, without what is kept for its node.
    session: Session,
    last: AtomicU64,
    network: AtomicU64,
}

/// Sessions seen of late. Part of State.
#[derive(Debug)]
pub struct Sightings(Vec<Mutex<HashMap<[u8; 16], Arc<Sighting>>>>);

impl Default for Sightings {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Sighting {
    /// Who, where, and since when.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// When a request of it came last, in seconds since 1970.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The network that the last request came from.
    pub fn network(&self) -> IpAddr {
        unpacked(self.network.load(Ordering::Relaxed))
    }

    /// A request of it came.
    pub(super) fn touch(&self, now: u64, client: IpAddr) {
        let network = packed(client);
        // Workers share it: what is written already is not written again.
        for (place, value) in [(&self.last, now), (&self.network, network)] {
            if place.load(Ordering::Relaxed) != value {
                place.store(value, Ordering::Relaxed);
            }
        }
    }
}

impl Sightings {
    /// The sighting of a session, which is a new one if it was not seen before.
    pub(super) fn of(&self, session: &Session) -> Arc<Sighting> {
        let mut shard = self.shard(usize::from(session.id[0]));
        if let Some(known) = shard.get(&session.id) {
            return known.clone();
        }
        make_room(&mut shard, session);
        let session = session.clone().keeping(Values::default());
        let id = session.id;
        let sighting =
            Arc::new(Sighting { session, last: AtomicU64::new(seconds_now()), network: AtomicU64::default() });
        shard.insert(id, sighting.clone());
        sighting
    }

    /// All that are there.
    fn all(&self) -> impl Iterator<Item = Arc<Sighting>> {
        (0..SHARDS).flat_map(|number| self.shard(number).values().cloned().collect::<Vec<_>>())
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, HashMap<[u8; 16], Arc<Sighting>>> {
        self.0[number % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more has room: of this user's, if there are many, or else of all, those go that were not seen for the longest time.
fn make_room(shard: &mut HashMap<[u8; 16], Arc<Sighting>>, session: &Session) {
    let of_user = |sighting: &Sighting| sighting.session.holder == session.holder;
    let of_this_user = shard.values().filter(|sighting| of_user(sighting)).count();
    let (of_user_only, most) = if of_this_user >= OF_USER { (true, OF_USER) } else { (false, PER_SHARD) };
    if !of_user_only && shard.len() < PER_SHARD {
        return;
    }
    let meant = |sighting: &Sighting| !of_user_only || of_user(sighting);
    let mut times: Vec<u64> = shard.values().filter(|one| meant(one)).map(|one| one.last()).collect();
    let (_, limit, _) = times.select_nth_unstable(most / 4);
    let (limit, mut left) = (*limit, most / 4);
    shard.retain(|_, sighting| {
        let goes = left > 0 && meant(sighting) && sighting.last() <= limit;
        left -= usize::from(goes);
        !goes
    });
}

impl Sessions {
    /// The sessions seen of late that are alive: neither idle, nor too old, nor ended.
    pub fn seen<'a>(
        &'a self,
        sightings: &'a Sightings,
        revoked: &'a Revoked,
    ) -> impl Iterator<Item = Arc<Sighting>> + 'a {
        let now = seconds_now();
        sightings.all().filter(move |sighting| {
            let session = &sighting.session;
            !self.is_over(session, sighting.last(), now) && !revoked.has(session)
        })
    }
}

/// A network as a number: the 24 or 48 bits that tell it from others, and which of both it is.
fn packed(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => 1 << 48 | u64::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => 2 << 48 | (u128::from(v6) >> 80) as u64,
    }
}

fn unpacked(network: u64) -> IpAddr {
    let bits = network & ((1 << 48) - 1);
    match network >> 48 {
        2 => Ipv6Addr::from(u128::from(bits) << 80).into(),
        _ => Ipv4Addr::from(u32::try_from(bits << 8).unwrap_or_default()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{session_of, sessions};
    use super::*;
    use crate::limits::network_of;

    #[test]
    fn a_network_is_the_same_before_and_after() {
        for address in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8:ffff:1::2", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(unpacked(packed(address)), network_of(address), "{address}");
        }
    }

    #[test]
    fn what_was_seen_is_there_until_it_is_over() {
        let (all, revoked, sightings) = (sessions(900, 9000), Revoked::default(), Sightings::default());
        let session = session_of("alice", 1);
        let (first, second) = (sightings.of(&session), sightings.of(&session));
        assert!(Arc::ptr_eq(&first, &second));
        first.touch(seconds_now(), [192, 0, 2, 7].into());
        let seen: Vec<_> = all.seen(&sightings, &revoked).collect();
        assert_eq!((seen.len(), seen[0].network()), (1, [192, 0, 2, 0].into()));
        assert_eq!(sessions(0, 9000).seen(&sightings, &revoked).count(), 0, "idle");
        all.end(&session, &revoked);
        assert_eq!(all.seen(&sightings, &revoked).count(), 0, "ended");
    }

    #[test]
    fn who_has_a_million_sessions_hides_nobody() {
        let sightings = Sightings::default();
        for number in 0..100_u32 {
            sightings.of(&session_of("others", number));
        }
        for number in 0..1_000_000 {
            sightings.of(&session_of("mallory", 1000 + number));
        }
        let of = |user: &str| sightings.all().filter(|sighting| sighting.session.user() == user).count();
        assert_eq!(of("others"), 100);
        assert!(of("mallory") <= SHARDS * OF_USER, "{}", of("mallory"));
        for number in 0..200_000_u32 {
            sightings.of(&session_of(&number.to_string(), number.wrapping_mul(0x9e37_79b1)));
        }
        assert!(sightings.all().count() <= SHARDS * PER_SHARD);
    }
}
