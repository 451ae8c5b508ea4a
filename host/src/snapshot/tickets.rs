//! Keys of TLS session tickets: of a file that several front doors share, or random ones that are renewed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::session::{Keys, Purpose};
use crate::tls;

/// Keys of a file. They change when the file does.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Keys);

/// Random keys of this process. They outlive a reload.
#[derive(Debug)]
pub struct Renewed(Mutex<(Instant, Keys)>);

/// A key seals for so long, and opens for as long again: the lifetime that tickets say they have.
const RENEW: Duration = Duration::from_secs(6 * 60 * 60);

impl Default for Renewed {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), Keys::random())))
    }
}

impl Renewed {
    fn keys(&self) -> Keys {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.0.elapsed() >= RENEW * 2 {
            *keys = (Instant::now(), Keys::random());
        } else if keys.0.elapsed() >= RENEW {
            *keys = (Instant::now(), keys.1.renewed());
        }
        keys.1.clone()
    }
}

impl tls::Tickets for Shared {
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.0.seal(Purpose::Ticket, plain)
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(Purpose::Ticket, sealed)
    }
}

impl tls::Tickets for Renewed {
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.keys().seal(Purpose::Ticket, plain)
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.keys().open(Purpose::Ticket, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tickets as _;

    #[test]
    fn a_key_opens_twice_as_long_as_it_seals() {
        let tickets = Renewed::default();
        let first = tickets.seal(b"x");
        let age = |by: Duration| {
            let mut keys = tickets.0.lock().unwrap();
            keys.0 -= by;
        };
        age(RENEW);
        assert_eq!(tickets.open(&first).as_deref(), Some(&b"x"[..]));
        let second = tickets.seal(b"y");
        age(RENEW);
        assert_eq!(tickets.open(&first), None);
        assert_eq!(tickets.open(&second).as_deref(), Some(&b"y"[..]));
        age(RENEW * 2);
        assert_eq!(tickets.open(&second), None);
    }
}
