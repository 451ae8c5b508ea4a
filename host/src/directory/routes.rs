//! What the directory said of users a moment ago: which back-end they are on, or that they are not there.
//!
//! A login asks anew, since it needs the entry. What is remembered serves those who need the back-end only (the mode
//! `back-end`, and a user whose node is away), and spares the directory from names that are nobody's.
//!
//! Invariants: nothing of a password is here; the number of users is bounded; who asks for a user whom somebody else asks
//! for waits for that answer. It is forgotten when the directory is asked something else, or another one is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::User;
use crate::config;

/// Entries with larger attributes (a photograph that policies look at) are not remembered.
const ENTRY_SIZE: usize = 4 << 10;

/// Answers by canonical name.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Known>);

/// Two generations: when the young one is full it becomes the old one, and what was old and not asked for goes.
#[derive(Debug, Default)]
struct Known {
    young: HashMap<Arc<str>, Arc<Route>>,
    old: HashMap<Arc<str>, Arc<Route>>,
}

/// One user's place. The lock is held while the directory is asked, which has its deadlines.
#[derive(Debug, Default)]
pub(super) struct Route(pub(super) tokio::sync::Mutex<Option<Answer>>);

/// What the directory said, and when.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    at: Instant,
    pub(super) user: Option<User>,
}

impl Routes {
    /// The place of a user.
    pub(super) fn of(&self, name: &str, settings: &config::Routes) -> Arc<Route> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = known.young.get(name) {
            return route.clone();
        }
        let half = settings.size / 2;
        let route = known.old.remove(name).unwrap_or_default();
        if half == 0 {
            return route;
        }
        if known.young.len() >= half {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(Arc::from(name), route.clone());
        route
    }

    /// Forgets one user, or all; how many that were.
    pub(super) fn purge(&self, name: Option<&str>) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => [known.young.remove(name), known.old.remove(name)].iter().flatten().count(),
            None => {
                let all = std::mem::take(&mut *known);
                all.young.len() + all.old.len()
            }
        }
    }
}

impl Answer {
    /// Whether it serves somebody who came at `arrived` and takes one of this age. An answer that came while one waited for
    /// it is one's own.
    pub(super) fn serves(&self, arrived: Instant, age: Duration, settings: &config::Routes) -> bool {
        let most = if self.user.is_some() { age } else { settings.negative_lifetime };
        self.at >= arrived || self.at.elapsed() < most
    }

    /// An answer to remember.
    pub(super) fn new(user: Option<&User>) -> Option<Self> {
        let size = |user: &User| user.attributes.values().flatten().map(String::len).sum::<usize>() + user.dn.len();
        let fits = user.is_none_or(|user| size(user) <= ENTRY_SIZE);
        fits.then(|| Self { at: Instant::now(), user: user.cloned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(size: usize) -> config::Routes {
        let second = Duration::from_secs(1);
        config::Routes { lifetime: 60 * second, negative_lifetime: 5 * second, size }
    }

    #[test]
    fn there_are_no_more_than_may_be_and_what_is_asked_for_stays() {
        let (routes, settings) = (Routes::default(), settings(100));
        let often = routes.of("often", &settings);
        for number in 0..10_000 {
            routes.of(&number.to_string(), &settings);
            if number % 20 == 0 {
                assert!(Arc::ptr_eq(&often, &routes.of("often", &settings)), "{number}");
            }
        }
        assert!(routes.purge(None) <= 100);
        assert_eq!(routes.purge(None), 0);
        routes.of("alice", &settings);
        assert_eq!((routes.purge(Some("alice")), routes.purge(Some("alice"))), (1, 0));
        let none = self::settings(0);
        assert!(!Arc::ptr_eq(&routes.of("a", &none), &routes.of("a", &none)));
    }

    #[test]
    fn an_answer_serves_by_its_age_and_by_what_it_says() {
        let settings = settings(100);
        let before = Instant::now();
        let (there, nobody) = (Answer::new(Some(&User::default())).unwrap(), Answer::new(None).unwrap());
        let after = Instant::now() + Duration::from_millis(1);
        assert!(there.serves(before, Duration::ZERO, &settings), "it came while we waited");
        assert!(!there.serves(after, Duration::ZERO, &settings));
        assert!(there.serves(after, Duration::from_secs(60), &settings));
        assert!(nobody.serves(after, Duration::ZERO, &settings));
        let large = User { attributes: [("photo".to_owned(), vec!["x".repeat(5000)])].into(), ..User::default() };
        assert!(Answer::new(Some(&large)).is_none());
    }
}
