//! What doors tell each other: messages that are sealed, and good once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::crypt::{Crypt, Kind};
use crate::session::random;
use crate::text::hex;

/// A message to all doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    /// Who says so.
    pub(super) from: String,
    /// When, by the store's clock: milliseconds since 1970.
    pub(super) at: u64,
    /// Tells it from all others.
    pub(super) id: String,
    pub(super) what: What,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// A line of the file of ended sessions.
    Ended(String),
    /// Something that every door is to do.
    Do(Order),
    /// The order of this id was done.
    Done(String),
}

/// What an operator tells all doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Say that all that was told before has been heard.
    Hear,
    /// Forget on which back-end a user is, or all users.
    PurgeRoutes(Option<String>),
    /// Let nobody new in at a back-end for so many seconds; 0 lets them in again.
    Drain(String, u64),
    /// Lift the quarantine of a component.
    Lift(String),
    /// Forget what failed with names of sites.
    ReleaseNames(Vec<(String, String)>),
    /// Forget what failed from a network.
    ReleaseNetwork(String),
}

impl Order {
    /// Its word in the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hear => "hear",
            Self::PurgeRoutes(_) => "purge-routes",
            Self::Drain(_, 0) => "undrain",
            Self::Drain(..) => "drain",
            Self::Lift(_) => "lift",
            Self::ReleaseNames(_) | Self::ReleaseNetwork(_) => "release",
        }
    }
}

/// Who replays a message replays one that is older than this, or one that is remembered. The age is judged by this door's
/// own clock, which differs from the store's by less than half of it wherever a door takes part. Milliseconds.
const OLD: u64 = 90_000;
/// Messages that are remembered.
const REMEMBERED: usize = 4096;

impl Message {
    /// A new one.
    pub(super) fn new(from: &str, at: u64, what: What) -> Self {
        Self { from: from.to_owned(), at, id: hex(&random::<16>()), what }
    }

    pub(super) fn seal(&self, crypt: &Crypt) -> Vec<u8> {
        crypt.seal(Kind::News, &serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Messages that were heard.
#[derive(Default)]
pub(super) struct Heard(VecDeque<String>);

/// Why a message is not heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unheard {
    /// No door of this cluster sealed it.
    Forged,
    /// It was said before, or long ago.
    Replayed,
    /// A door of another version says something that is not known here.
    Unknown,
}

impl Heard {
    /// Opens a message, if it is to be heeded, at a time of this door's own clock.
    pub(super) fn open(&mut self, crypt: &Crypt, sealed: &[u8], now: u64) -> Result<Message, Unheard> {
        let plain = crypt.open(Kind::News, sealed).ok_or(Unheard::Forged)?;
        let message: Message = serde_json::from_slice(&plain).map_err(|_| Unheard::Unknown)?;
        // Ending a session twice ends it once.
        if matches!(message.what, What::Ended(_)) {
            return Ok(message);
        }
        if message.at.abs_diff(now) > OLD || self.0.contains(&message.id) {
            return Err(Unheard::Replayed);
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(message.id.clone());
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::session::RawKey;

    #[test]
    fn a_message_is_good_once_and_not_for_long() {
        let crypt = Crypt::new("a", &[RawKey { bytes: Zeroizing::new([1; 32]), from: 0 }]);
        let (mut heard, now) = (Heard::default(), 1_000_000);
        let order = Message::new("a", now, What::Do(Order::Hear)).seal(&crypt);
        assert!(heard.open(&crypt, &order, now + 100).is_ok());
        assert_eq!(heard.open(&crypt, &order, now + 200), Err(Unheard::Replayed));
        let order = Message::new("a", now, What::Do(Order::Hear)).seal(&crypt);
        assert_eq!(heard.open(&crypt, &order, now + OLD + 1), Err(Unheard::Replayed));
        let ended = Message::new("a", now, What::Ended("all 5".to_owned())).seal(&crypt);
        assert!(heard.open(&crypt, &ended, now * 2).is_ok() && heard.open(&crypt, &ended, now * 2).is_ok());
        assert_eq!(heard.open(&crypt, &order[1..], now), Err(Unheard::Forged));
        let unknown = crypt.seal(Kind::News, br#"{"from":"b","at":1,"id":"x","what":{"New":1}}"#);
        assert_eq!(heard.open(&crypt, &unknown, now), Err(Unheard::Unknown));
    }
}
