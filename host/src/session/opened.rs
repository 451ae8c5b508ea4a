//! Sessions whose cookies were opened of late, so that a page of fifty requests opens its cookie once.
//!
//! Invariants: a session is found only by the very bytes that a key of ours opened; whether it is still alive is asked
//! anew each time. Belongs to one worker, which forgets it all when its Snapshot changes, since keys may have.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Session;

/// Two tables of so many take turns: when the young one is full, the old one goes. About 1 MiB each.
const KEPT: usize = 2048;
/// Characters of a cookie's end that tell it from others: base64 of the 16 bytes of a Poly1305 tag.
const SEAL: usize = 22;
/// Longer cookies are none of ours: browsers take no more, name and all (RFC 6265, section 6.1).
const LONGEST: usize = 4096;

/// A worker's opened sessions.
#[derive(Default)]
pub struct Opened {
    hasher: RandomState,
    young: Table,
    old: Table,
}

/// By the cookie's hash; of two with one hash the later stays.
type Table = HashMap<u64, (Zeroizing<Box<str>>, Arc<Session>)>;

impl Opened {
    /// The session of a cookie; `open` is asked when it is not known.
    pub(super) fn get(&mut self, sealed: &str, open: impl FnOnce(&str) -> Option<Session>) -> Option<Arc<Session>> {
        // The end is the seal itself, which no two cookies share.
        let seal = sealed.as_bytes().split_last_chunk::<SEAL>().map_or(sealed.as_bytes(), |(_, seal)| seal);
        let hash = self.hasher.hash_one(seal);
        if let Some((known, session)) = self.young.get(&hash)
            && ***known == *sealed
        {
            return Some(session.clone());
        }
        let entry = match self.old.remove(&hash).filter(|(known, _)| ***known == *sealed) {
            Some(entry) => entry,
            None if sealed.len() > LONGEST => return None,
            None => (Zeroizing::new(sealed.into()), Arc::new(open(sealed)?)),
        };
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        let session = entry.1.clone();
        self.young.insert(hash, entry);
        Some(session)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_is_not_opened_again_and_the_tables_stay_small() {
        let mut opened = Opened::default();
        let session = || Session {
            id: [7; 16],
            site: "a.test".to_owned(),
            user: "alice".to_owned(),
            backend: "node-a".to_owned(),
            started: 1,
            seen: 1,
            kept: crate::secret::Values::default(),
        };
        assert!(opened.get("forged", |_| None).is_none());
        for number in 0..3 * KEPT {
            assert!(opened.get("first", |_| Some(session()).filter(|_| number == 0)).is_some(), "{number}");
            opened.get(&number.to_string(), |_| Some(session())).unwrap();
            assert!(opened.young.len() <= KEPT && opened.old.len() <= KEPT);
        }
        assert!(opened.get("0", |_| None).is_none(), "long ago");
        opened.clear();
        assert!(opened.get("first", |_| None).is_none());
    }
}
