//! Sessions whose cookies were opened of late, so that a page of fifty requests opens its cookie once.
//!
//! Invariants: a session is found only by the very bytes that a key of ours opened; whether it is still alive is asked
//! anew each time. Belongs to one worker, which forgets it all when its Snapshot changes, since keys may have.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Session, Sighting};
use crate::limits::Hashed;

/// Two tables of so many take turns: when the young one is full, the old one goes. About 1 MiB each.
const KEPT: usize = 2048;
/// Characters of a cookie's end that tell it from others: base64 of the 16 bytes of a Poly1305 tag.
const SEAL: usize = 22;
/// Longer cookies are none of ours: browsers take no more, name and all (RFC 6265, section 6.1).
const LONGEST: usize = 4096;

/// A worker's opened sessions.
#[derive(Default)]
pub struct Opened {
    young: Table,
    old: Table,
}

/// By a part of the cookie's seal; of two with the same the later stays.
type Table = HashMap<u64, Remembered, BuildHasherDefault<Hashed>>;

/// A session whose cookie was opened.
pub(super) struct Remembered {
    sealed: Zeroizing<Box<str>>,
    pub(super) session: Arc<Session>,
    /// Where it is noted that it was seen, once it was found alive.
    pub(super) sighting: Option<Arc<Sighting>>,
}

/// Where a cookie is: a part of its seal, which is as good as random, since only what a key of ours has sealed gets into a
/// table. The product spreads the few bits that characters of base64 have.
fn place(sealed: &str) -> u64 {
    let seal = sealed.as_bytes().last_chunk::<SEAL>().and_then(|seal| seal.first_chunk::<8>());
    seal.map_or(0, |part| u64::from_le_bytes(*part)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

impl Opened {
    /// What `look` says of the session of a cookie; `open` is asked when it is not known.
    pub(super) fn get<T>(
        &mut self,
        sealed: &str,
        open: impl FnOnce(&str) -> Option<Session>,
        look: impl FnOnce(&mut Remembered) -> T,
    ) -> Option<T> {
        let hash = place(sealed);
        if let Some(known) = self.young.get_mut(&hash)
            && **known.sealed == *sealed
        {
            return Some(look(known));
        }
        let mut entry = match self.old.remove(&hash).filter(|known| **known.sealed == *sealed) {
            Some(entry) => entry,
            None if sealed.len() > LONGEST => return None,
            None => {
                Remembered { sealed: Zeroizing::new(sealed.into()), session: Arc::new(open(sealed)?), sighting: None }
            }
        };
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        let said = look(&mut entry);
        self.young.insert(hash, entry);
        Some(said)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Written;
    use super::*;

    /// A cookie that ends with the seal of this name.
    fn sealed(name: &str) -> String {
        format!("{name:_<22}")
    }

    #[test]
    fn what_was_opened_is_not_opened_again_and_the_tables_stay_small() {
        let mut opened = Opened::default();
        let session = || {
            Session::from(Written {
                id: [7; 16],
                site: "a.test".to_owned(),
                user: "alice".to_owned(),
                backend: "node-a".to_owned(),
                started: 1,
                seen: 1,
                kept: crate::secret::Values::default(),
                shared: false,
            })
        };
        assert!(opened.get("forged", |_| None, |_| ()).is_none());
        for number in 0..3 * KEPT {
            assert!(
                opened.get(&sealed("first"), |_| Some(session()).filter(|_| number == 0), |_| ()).is_some(),
                "{number}"
            );
            opened.get(&sealed(&number.to_string()), |_| Some(session()), |_| ()).unwrap();
            assert!(opened.young.len() <= KEPT && opened.old.len() <= KEPT);
        }
        assert!(opened.get(&sealed("0"), |_| None, |_| ()).is_none(), "long ago");
        opened.clear();
        assert!(opened.get(&sealed("first"), |_| None, |_| ()).is_none());
    }
}
