//! What may be used once only: its name is remembered until it would not be taken any more anyway.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names remembered; some 8 MiB. Each costs a login whose password was right, so this many are an attack.
const KEPT: usize = 1 << 16;

/// Names that were used. Part of State.
#[derive(Debug, Default)]
pub struct Once(Mutex<HashMap<String, Instant>>);

impl Once {
    /// Whether this name was never used before. Where there is no room to remember it, it counts as used.
    pub fn first(&self, name: &str, lifetime: Duration) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if used.len() >= KEPT {
            used.retain(|_, until| *until > now);
        }
        if used.len() >= KEPT || used.contains_key(name) {
            return false;
        }
        used.insert(name.to_owned(), now + lifetime).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_once_and_the_table_stays_small() {
        let once = Once::default();
        let minute = Duration::from_secs(60);
        assert!(once.first("a", minute) && !once.first("a", minute) && once.first("b", Duration::ZERO));
        for number in 0..KEPT {
            once.first(&number.to_string(), minute);
        }
        assert!(!once.first("one too many", minute) && !once.first("a", minute));
        assert_eq!(once.0.lock().unwrap().len(), KEPT);
    }
}
