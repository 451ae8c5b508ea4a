//! Against guessing of passwords: failed logins by network, by name, and by device, and what the next try meets.
//!
//! A network is a /24 or /48: whoever has one address has its neighbours. Names that failed are counted by network,
//! wrong passwords by name and network. Nobody is refused for what others do elsewhere: many failures of a name from
//! everywhere make its logins from unknown devices slower, no more. A device that has logged in with a name before has
//! an allowance of its own for that name, and nothing else counts for it.
//!
//! Invariants: the same wrong password again counts once; no table grows without bound; no password is kept, and of its
//! keyed hash only so much as tells ten apart.

mod desk;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Throttle as Settings, prefix};

/// Entries of a table. When it is full, those whose time is over go, and if that is not enough the older half.
const KEPT: usize = 1 << 15;

/// The counts. Part of State: they survive a reload.
#[derive(Default)]
pub struct Throttle {
    hasher: RandomState,
    tables: Mutex<Tables>,
}

/// Who tries: all that counts of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// Where from.
    pub address: IpAddr,
    /// The virtual host's site, since each has names of its own.
    pub site: &'a str,
    /// The name; one user's spellings are one.
    pub name: &'a str,
    /// The device, if it has logged in with this name before.
    pub device: Option<u64>,
}

/// A login that is being checked. It is over when this is dropped; unless it was said to be wrong, it does not count.
pub struct LoginPermit {
    throttle: Arc<Throttle>,
    network: IpAddr,
    user: u64,
    source: Source,
    /// How long it has to wait before it is checked.
    pub delay: Duration,
    settings: Settings,
}

/// How many failed of late, for policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    /// From the network.
    pub from_network: u32,
    /// For the name, from anywhere.
    pub for_user: u32,
}

/// What wrong passwords of a name are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Network(IpAddr, u64),
    Device(u64, u64),
}

#[derive(Default)]
struct Tables {
    sources: HashMap<Source, Tries>,
    networks: HashMap<IpAddr, Network>,
    users: HashMap<u64, Count>,
}

/// Something that is counted from its first failure on, for a while.
trait Counted {
    fn since(&self) -> Instant;
    fn in_use(&self) -> bool {
        false
    }
}

struct Tries {
    since: Instant,
    /// Passwords that were wrong.
    wrong: Vec<u32>,
    running: usize,
}

struct Network {
    since: Instant,
    /// Names that failed.
    names: Vec<u32>,
    failures: u32,
}

struct Count {
    since: Instant,
    failures: usize,
}

impl Throttle {
    /// Lets a login be checked, or says how long to wait for the next.
    ///
    /// # Errors
    /// How long it is refused.
    pub fn admit(self: &Arc<Self>, who: &Who<'_>, settings: &Settings) -> Result<LoginPermit, Duration> {
        let (network, user, now) = (network_of(who.address), self.user(who), Instant::now());
        let source = who.device.map_or(Source::Network(network, user), |device| Source::Device(device, user));
        let mut tables = self.tables();
        let mut delay = Duration::ZERO;
        let most = match source {
            Source::Device(..) => settings.device_failures,
            Source::Network(..) => {
                let of_network = current(&mut tables.networks, &network, settings, now);
                if let Some(over) = of_network.filter(|over| over.names.len() >= settings.max_names) {
                    return Err(left(over.since, settings, now));
                }
                let of_user = current(&mut tables.users, &user, settings, now);
                if of_user.is_some_and(|count| count.failures >= settings.user_failures) {
                    delay = settings.max_delay;
                }
                settings.max_failures
            }
        };
        make_room(&mut tables.sources, &source, settings, now);
        let new = || Tries { since: now, wrong: Vec::new(), running: 0 };
        if current(&mut tables.sources, &source, settings, now).is_none() {
            tables.sources.insert(source, new());
        }
        let tries = tables.sources.entry(source).or_insert_with(new);
        // Those that are being checked may all be wrong: no more of them at once than may fail.
        if tries.wrong.len() + tries.running >= most {
            return Err(left(tries.since, settings, now));
        }
        tries.running += 1;
        let delay = delay.max(delay_after(tries.wrong.len(), settings));
        Ok(LoginPermit { throttle: self.clone(), network, user, source, delay, settings: *settings })
    }

    /// What failed of late.
    pub fn failures(&self, who: &Who<'_>, settings: &Settings) -> Failures {
        let (network, user, now) = (network_of(who.address), self.user(who), Instant::now());
        let mut tables = self.tables();
        let from_network = current(&mut tables.networks, &network, settings, now).map_or(0, |network| network.failures);
        let for_user = current(&mut tables.users, &user, settings, now).map_or(0, |count| count.failures);
        Failures { from_network, for_user: u32::try_from(for_user).unwrap_or(u32::MAX) }
    }

    /// Entries of all tables, for metrics.
    pub fn size(&self) -> usize {
        let tables = self.tables();
        tables.sources.len() + tables.networks.len() + tables.users.len()
    }

    fn user(&self, who: &Who<'_>) -> u64 {
        self.user_of(who.site, who.name)
    }

    fn user_of(&self, site: &str, name: &str) -> u64 {
        self.hasher.hash_one((site, name.trim().to_lowercase()))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoginPermit {
    /// The password was wrong. The same one again counts once: that is a mail program, or somebody who is sure of it.
    pub fn wrong(self, password: &str) {
        let (now, settings) = (Instant::now(), &self.settings);
        let tag = short(self.throttle.hasher.hash_one((self.user, password)));
        let mut tables = self.throttle.tables();
        if let Some(tries) = tables.sources.get_mut(&self.source) {
            if tries.wrong.contains(&tag) {
                return;
            }
            tries.wrong.push(tag);
        }
        let Source::Network(..) = self.source else { return };
        make_room(&mut tables.users, &self.user, settings, now);
        tables.users.entry(self.user).or_insert(Count { since: now, failures: 0 }).failures += 1;
        make_room(&mut tables.networks, &self.network, settings, now);
        let new = || Network { since: now, names: Vec::new(), failures: 0 };
        let network = tables.networks.entry(self.network).or_insert_with(new);
        network.failures = network.failures.saturating_add(1);
        let name = short(self.user);
        if !network.names.contains(&name) && network.names.len() < settings.max_names {
            network.names.push(name);
        }
    }

    /// The password was right: its source begins anew with this name. What the network did to other names stays.
    pub fn right(self) {
        if let Some(tries) = self.throttle.tables().sources.get_mut(&self.source) {
            tries.wrong.clear();
        }
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let mut tables = self.throttle.tables();
        if let Some(tries) = tables.sources.get_mut(&self.source) {
            tries.running = tries.running.saturating_sub(1);
            if tries.running == 0 && tries.wrong.is_empty() {
                tables.sources.remove(&self.source);
            }
        }
    }
}

impl Counted for Tries {
    fn since(&self) -> Instant {
        self.since
    }

    fn in_use(&self) -> bool {
        self.running > 0
    }
}

impl Counted for Network {
    fn since(&self) -> Instant {
        self.since
    }
}

impl Counted for Count {
    fn since(&self) -> Instant {
        self.since
    }
}

/// The addresses that one client may be expected to have.
pub fn network_of(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    prefix(address, if address.is_ipv4() { 24 } else { 48 })
}

/// The same as it is written: `192.0.2.0/24`.
pub fn network_text(address: IpAddr) -> String {
    let network = network_of(address);
    format!("{network}/{}", if network.is_ipv4() { 24 } else { 48 })
}

/// How long a try waits after so many failures: not at all after the first ones, a second after the next, and then twice as
/// long each time.
pub fn delay_after(failures: usize, settings: &Settings) -> Duration {
    let Some(doubled) = failures.checked_sub(settings.free_failures) else { return Duration::ZERO };
    let seconds = 1_u64.checked_shl(u32::try_from(doubled).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(settings.max_delay)
}

fn left(since: Instant, settings: &Settings, now: Instant) -> Duration {
    settings.window.saturating_sub(now.duration_since(since)).max(Duration::from_secs(1))
}

/// An entry whose time is not over. One that is over goes.
fn current<'t, K: Hash + Eq, V: Counted>(
    table: &'t mut HashMap<K, V>,
    key: &K,
    settings: &Settings,
    now: Instant,
) -> Option<&'t mut V> {
    let entry = table.get(key)?;
    if !entry.in_use() && now.duration_since(entry.since()) >= settings.window {
        table.remove(key);
    }
    table.get_mut(key)
}

fn make_room<K: Hash + Eq, V: Counted>(table: &mut HashMap<K, V>, key: &K, settings: &Settings, now: Instant) {
    if table.len() < KEPT || table.contains_key(key) {
        return;
    }
    table.retain(|_, entry| entry.in_use() || now.duration_since(entry.since()) < settings.window);
    if table.len() > KEPT / 2 {
        let mut times: Vec<Instant> = table.values().map(Counted::since).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        table.retain(|_, entry| entry.in_use() || entry.since() > middle);
    }
}

/// Enough to tell some apart, and too little to guess by.
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(address: &str, name: &'static str) -> Who<'static> {
        Who { address: address.parse().unwrap(), site: "a", name, device: None }
    }

    fn settings() -> Settings {
        Settings { max_failures: 4, free_failures: 2, max_names: 3, user_failures: 6, ..Settings::default() }
    }

    fn fail(throttle: &Arc<Throttle>, who: &Who<'_>, password: &str) -> Result<Duration, Duration> {
        let attempt = throttle.admit(who, &settings())?;
        let delay = attempt.delay;
        attempt.wrong(password);
        Ok(delay)
    }

    #[test]
    fn delays_grow_and_then_the_name_is_refused_to_the_network() {
        let throttle = Arc::default();
        let alice = who("192.0.2.7", "alice");
        let delays: Vec<_> = ["a", "b", "c", "d"].map(|password| fail(&throttle, &alice, password).unwrap()).into();
        assert_eq!(delays, [0, 0, 1, 2].map(Duration::from_secs));
        // A neighbour is the same; another spelling of the name, too.
        let wait = fail(&throttle, &who("192.0.2.200", " ALICE"), "e").unwrap_err();
        assert!(wait > Duration::from_secs(800) && wait <= Duration::from_secs(900), "{wait:?}");
        // Other networks, other names and other sites are not.
        assert!(fail(&throttle, &who("192.0.3.7", "alice"), "e").is_ok());
        assert!(fail(&throttle, &who("192.0.2.7", "bob"), "e").is_ok());
        assert!(throttle.admit(&Who { site: "b", ..alice }, &settings()).is_ok());
        assert_eq!(throttle.failures(&alice, &settings()), Failures { from_network: 5, for_user: 5 });
    }

    #[test]
    fn the_same_wrong_password_counts_once_and_a_right_one_clears() {
        let throttle = Arc::default();
        let alice = who("2001:db8::1", "alice");
        for _ in 0..20 {
            assert_eq!(fail(&throttle, &alice, "old"), Ok(Duration::ZERO));
        }
        assert_eq!(throttle.failures(&alice, &settings()).for_user, 1);
        for password in ["b", "c"] {
            fail(&throttle, &alice, password).unwrap();
        }
        throttle.admit(&alice, &settings()).unwrap().right();
        assert_eq!(fail(&throttle, &alice, "d"), Ok(Duration::ZERO));
        // What was neither right nor wrong, an outage, leaves nothing.
        let (before, bob) = (throttle.size(), who("2001:db8::1", "bob"));
        drop(throttle.admit(&bob, &settings()).unwrap());
        assert_eq!(throttle.size(), before);
    }

    #[test]
    fn a_network_that_tries_many_names_is_refused() {
        let throttle = Arc::default();
        for name in ["a", "b", "c"] {
            fail(&throttle, &who("2001:db8:1:2::3", name), "x").unwrap();
        }
        assert!(fail(&throttle, &who("2001:db8:1:ffff::", "d"), "x").is_err());
        assert!(fail(&throttle, &who("2001:db8:2::", "d"), "x").is_ok());
    }

    #[test]
    fn a_name_tried_from_everywhere_is_slow_and_its_known_device_is_not() {
        let throttle = Arc::default();
        for n in 0..6 {
            let from = format!("10.0.{n}.1");
            assert_eq!(fail(&throttle, &who(&from, "alice"), "x"), Ok(Duration::ZERO));
        }
        assert_eq!(fail(&throttle, &who("10.1.0.1", "alice"), "x"), Ok(settings().max_delay));
        let known = Who { device: Some(7), ..who("10.0.1.1", "alice") };
        assert_eq!(throttle.admit(&known, &settings()).unwrap().delay, Duration::ZERO);
        for n in 0..settings().device_failures {
            fail(&throttle, &known, &n.to_string()).unwrap();
        }
        assert!(fail(&throttle, &known, "y").is_err());
        assert!(throttle.admit(&Who { device: Some(8), ..known }, &settings()).is_ok());
    }

    #[test]
    fn no_more_are_checked_at_once_than_may_fail_and_no_table_grows_without_bound() {
        let throttle: Arc<Throttle> = Arc::default();
        let alice = who("192.0.2.7", "alice");
        let begun: Vec<_> = (0..10).filter_map(|_| throttle.admit(&alice, &settings()).ok()).collect();
        assert_eq!(begun.len(), 4);
        drop(begun);
        assert_eq!(throttle.size(), 0);
        for n in 0..200_000_u32 {
            let from = IpAddr::from((n << 8).to_be_bytes());
            let attempt = throttle.admit(&Who { address: from, site: "a", name: "x", device: None }, &settings());
            attempt.unwrap().wrong("p");
        }
        assert!(throttle.size() <= 3 * KEPT, "{}", throttle.size());
    }
}
