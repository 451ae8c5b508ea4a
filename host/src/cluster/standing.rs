//! How the cluster stands, as this door sees it.

use std::collections::BTreeMap;

use super::member::{self, Member, Own};
use crate::times::seconds_now;

/// The store, as this door sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Store {
    /// Nobody has connected yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not, and why.
    Away(String),
    /// The clocks differ too much: this door does not take part.
    Clock,
}

impl Store {
    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Away(_) => "away",
            Self::Clock => "clock",
        }
    }
}

/// What is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) store: Store,
    /// Since when, in seconds since 1970.
    since: u64,
    /// The server that is or was connected to.
    pub(super) server: String,
    /// By how much this clock is ahead of the store's, in milliseconds.
    pub(super) clock: i64,
    /// What the store does when it is full, where that is not what it should do.
    pub(super) evicts: Option<String>,
    /// All doors, as they said last.
    pub(super) members: Vec<Member>,
    /// Those that are here.
    here: Vec<String>,
    /// By how much clocks differ, in seconds.
    pub(super) spread: u64,
    /// Another process said before the last beat that it is this door.
    pub(super) other: bool,
    /// It goes on saying so.
    pub(super) twin: bool,
}

/// The same for who looks.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What the cluster is called.
    pub name: String,
    /// What this door is called.
    pub door: String,
    /// How the store is.
    pub store: Store,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The server.
    pub server: String,
    /// By how much this clock is ahead of the store's, in milliseconds.
    pub clock: i64,
    /// What the store does when it is full, where that is not what it should do.
    pub evicts: Option<String>,
    /// All doors, each with whether it is here. This one says what is so now.
    pub doors: Vec<(Member, bool)>,
    /// In what those that are here differ.
    pub differs: Vec<String>,
    /// Whether another process says that it is this door.
    pub twin: bool,
    /// Entries that no door of this cluster wrote.
    pub refused: u64,
    /// Logins that the store answered, was too slow for, and was away for.
    pub logins: BTreeMap<&'static str, u64>,
}

impl Standing {
    /// The store is so from now on; whether that is news.
    pub(super) fn store_is(&mut self, store: Store) -> bool {
        let is_news = self.store != store;
        if is_news {
            self.since = seconds_now();
            self.store = store;
        }
        is_news
    }

    /// Doors have said something, at a time of the store's clock: who came, and who went.
    pub(super) fn doors_are(&mut self, members: Vec<Member>, now: u64) -> (Vec<String>, Vec<String>) {
        let here: Vec<String> =
            members.iter().filter(|member| member.is_here(now)).map(|member| member.door.clone()).collect();
        let came = here.iter().filter(|door| !self.here.contains(door)).cloned().collect();
        let went = self.here.iter().filter(|door| !here.contains(door)).cloned().collect();
        let present: Vec<Member> = members.iter().filter(|member| here.contains(&member.door)).cloned().collect();
        self.spread = member::spread(&present);
        (self.members, self.here) = (members, here);
        (came, went)
    }

    /// The other doors that were here last.
    pub(super) fn others(&self, door: &str) -> Vec<String> {
        self.here.iter().filter(|here| *here != door).cloned().collect()
    }

    pub(super) fn seen(
        &self,
        (name, door): (&str, &str),
        own: &Own,
        counted: (u64, BTreeMap<&'static str, u64>),
    ) -> Seen {
        let this = Member {
            door: door.to_owned(),
            clock: self.clock,
            own: own.clone(),
            ..self.members.iter().find(|member| member.door == door).cloned().unwrap_or_default()
        };
        let others = self.members.iter().filter(|member| member.door != door);
        let mut doors: Vec<(Member, bool)> =
            others.map(|member| (member.clone(), self.here.contains(&member.door))).chain([(this, true)]).collect();
        doors.sort_by(|(one, _), (other, _)| one.door.cmp(&other.door));
        let here: Vec<&Member> = doors.iter().filter(|(_, here)| *here).map(|(member, _)| member).collect();
        Seen {
            name: name.to_owned(),
            door: door.to_owned(),
            store: self.store.clone(),
            since: self.since,
            server: self.server.clone(),
            clock: self.clock,
            evicts: self.evicts.clone(),
            differs: member::differences(&here),
            doors,
            twin: self.twin,
            refused: counted.0,
            logins: counted.1,
        }
    }
}
