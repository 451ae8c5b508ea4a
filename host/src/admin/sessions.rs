//! Sessions of the page: in memory, each under the hash of its cookie. They end with the process.
//!
//! Invariants: what a stolen list of sessions says opens none of them; no account has more than a few, and there are never
//! more than some hundred.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use super::people::hash_of;
use crate::secret::Secret;
use crate::session::random;
use crate::text::hex;

/// Sessions of one account; the one that was idle for longest makes room for another.
const EACH: usize = 8;
/// Sessions of all.
const ALL: usize = 256;

/// How long a login counts as fresh: dangerous verbs ask for the password again after it.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Entry>>);

/// What a session is found by.
pub(super) type Key = [u8; 32];

struct Entry {
    account: String,
    fingerprint: [u8; 32],
    /// What each form of the page has.
    token: Secret,
    began: Instant,
    seen: Instant,
    proved: Instant,
}

/// A session that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub key: Key,
    pub account: String,
    /// Of the account, when the session began.
    pub fingerprint: [u8; 32],
    pub token: Secret,
    /// Whether the password was proved a short while ago.
    pub fresh: bool,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    pub idle: Duration,
    pub absolute: Duration,
}

impl Entry {
    fn is_over(&self, now: Instant, lifetimes: Lifetimes) -> bool {
        now.duration_since(self.seen) >= lifetimes.idle || now.duration_since(self.began) >= lifetimes.absolute
    }
}

/// A text that nobody guesses.
pub(super) fn secret_text() -> Secret {
    Secret::new(hex(&random::<32>()))
}

/// Whether a form has the token that it must have.
pub(super) fn fits(token: &Secret, shown: &str) -> bool {
    token.expose().as_bytes().ct_eq(shown.as_bytes()).into()
}

impl Sessions {
    /// A new session: what its cookie says.
    pub(super) fn open(&self, account: &str, fingerprint: [u8; 32], now: Instant, lifetimes: Lifetimes) -> Secret {
        let cookie = secret_text();
        let mut all = self.all();
        all.retain(|_, entry| !entry.is_over(now, lifetimes));
        make_room(&mut all, EACH, |entry| entry.account == account);
        make_room(&mut all, ALL, |_| true);
        let entry = Entry {
            account: account.to_owned(),
            fingerprint,
            token: secret_text(),
            began: now,
            seen: now,
            proved: now,
        };
        all.insert(hash_of(cookie.expose()), entry);
        cookie
    }

    /// The session of a cookie, if it goes on. With `touch` it is used: its idle time begins anew.
    pub(super) fn find(&self, cookie: &str, now: Instant, lifetimes: Lifetimes, touch: bool) -> Option<Found> {
        let key = hash_of(cookie);
        let mut all = self.all();
        if all.get(&key)?.is_over(now, lifetimes) {
            all.remove(&key);
            return None;
        }
        let entry = all.get_mut(&key)?;
        if touch {
            entry.seen = now;
        }
        Some(Found {
            key,
            account: entry.account.clone(),
            fingerprint: entry.fingerprint,
            token: entry.token.clone(),
            fresh: now.duration_since(entry.proved) < FRESH,
        })
    }

    /// Whether it goes on.
    pub(super) fn is_alive(&self, key: &Key, now: Instant, lifetimes: Lifetimes) -> bool {
        self.all().get(key).is_some_and(|entry| !entry.is_over(now, lifetimes))
    }

    /// The password was proved again.
    pub(super) fn proved(&self, key: &Key, now: Instant) {
        if let Some(entry) = self.all().get_mut(key) {
            entry.proved = now;
        }
    }

    /// Ends one.
    pub(super) fn end(&self, key: &Key) {
        self.all().remove(key);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one more of those that are meant.
fn make_room(all: &mut HashMap<Key, Entry>, most: usize, is_meant: impl Fn(&Entry) -> bool) {
    while all.values().filter(|entry| is_meant(entry)).count() >= most {
        let idle = all.iter().filter(|(_, entry)| is_meant(entry)).min_by_key(|(_, entry)| entry.seen);
        let Some(key) = idle.map(|(key, _)| *key) else { return };
        all.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes { idle: Duration::from_secs(900), absolute: Duration::from_secs(3600) };

    #[test]
    fn a_session_ends_when_it_is_idle_too_old_or_ended() {
        let (all, start) = (Sessions::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let open = || all.open("alice", [0; 32], start, LIFETIMES);
        let cookie = open();
        assert!(all.find(cookie.expose(), at(899), LIFETIMES, true).is_some_and(|found| !found.fresh));
        assert!(all.find(cookie.expose(), at(1700), LIFETIMES, false).is_some(), "it was used");
        assert!(all.find(cookie.expose(), at(1799), LIFETIMES, false).is_none(), "looking is no use");
        let cookie = open();
        for second in (0..3600).step_by(600) {
            assert!(all.find(cookie.expose(), at(second), LIFETIMES, true).is_some());
        }
        assert!(all.find(cookie.expose(), at(3600), LIFETIMES, true).is_none(), "whatever is done");
        let cookie = open();
        let found = all.find(cookie.expose(), at(1), LIFETIMES, true).unwrap();
        assert!(found.fresh && all.is_alive(&found.key, at(1), LIFETIMES));
        assert!(all.find(&cookie.expose()[1..], at(1), LIFETIMES, true).is_none());
        assert!(fits(&found.token, found.token.expose()) && !fits(&found.token, cookie.expose()));
        assert!(!all.find(cookie.expose(), at(301), LIFETIMES, true).unwrap().fresh);
        all.proved(&found.key, at(302));
        assert!(all.find(cookie.expose(), at(303), LIFETIMES, true).unwrap().fresh);
        all.end(&found.key);
        assert!(all.find(cookie.expose(), at(304), LIFETIMES, true).is_none());
    }

    #[test]
    fn there_are_never_many_and_one_account_takes_no_room_of_others() {
        let (all, start) = (Sessions::default(), Instant::now());
        let first = all.open("bob", [0; 32], start, LIFETIMES);
        let cookies: Vec<Secret> =
            (0..20u64).map(|at| all.open("alice", [0; 32], start + Duration::from_millis(at), LIFETIMES)).collect();
        assert!(all.find(first.expose(), start, LIFETIMES, false).is_some());
        let now = start + Duration::from_secs(1);
        let left = cookies.iter().filter(|cookie| all.find(cookie.expose(), now, LIFETIMES, false).is_some());
        assert_eq!(left.count(), EACH);
        for number in 0..1000 {
            all.open(&format!("user{number}"), [0; 32], now, LIFETIMES);
        }
        assert_eq!(all.all().len(), ALL);
    }
}
