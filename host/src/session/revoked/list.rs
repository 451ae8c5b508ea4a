//! What was revoked, in memory and as lines of a file.
//!
//! Pure but for the clock.

use std::collections::HashMap;

use super::super::Session;
use crate::text::hex;
use crate::times::seconds_now;

/// Sessions remembered; a day of logouts of a large cluster at 64 bytes each.
const SESSIONS: usize = 1 << 20;
/// Users remembered.
const USERS: usize = 1 << 16;

/// Times are seconds since 1970.
#[derive(Debug, Default, Clone)]
pub(super) struct List {
    /// Sessions, and when they would end anyway.
    sessions: HashMap<[u8; 16], u64>,
    /// Sessions of these users that began at this time or before.
    users: HashMap<String, u64>,
    /// All sessions that began at this time or before.
    all: u64,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// What was not known.
    News,
    /// What was known already, or nothing.
    Known,
    /// No line of such a file, or half of one.
    Broken,
}

impl List {
    pub(super) fn has(&self, session: &Session) -> bool {
        session.started <= self.all
            || (!self.sessions.is_empty() && self.sessions.contains_key(&session.id))
            || (!self.users.is_empty()
                && self.users.get(&folded(&session.user)).is_some_and(|until| session.started <= *until))
    }

    pub(super) fn add_session(&mut self, id: [u8; 16], until: u64) -> Read {
        if self.sessions.len() >= SESSIONS {
            let now = seconds_now();
            self.sessions.retain(|_, until| *until > now);
            // Still full: those that would end first anyway make room, half of them at once so that this is rare.
            make_room(&mut self.sessions, SESSIONS);
        }
        if self.sessions.insert(id, until).is_none() { Read::News } else { Read::Known }
    }

    pub(super) fn read_line(&mut self, line: &str) -> Read {
        if line.is_empty() {
            return Read::Known;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(time)) = (words.next(), words.next().and_then(|time| time.parse::<u64>().ok())) else {
            return Read::Broken;
        };
        match (kind, words.next()) {
            _ if line.contains(char::is_control) => Read::Broken,
            ("session", Some(id)) => parse_id(id).map_or(Read::Broken, |id| self.add_session(id, time)),
            ("user", Some(user)) => {
                make_room(&mut self.users, USERS);
                raise(self.users.entry(user.to_owned()).or_default(), time)
            }
            ("all", None) => raise(&mut self.all, time),
            _ => Read::Broken,
        }
    }

    /// Forgets what has had its time.
    pub(super) fn forget(&mut self, lifetime: u64) {
        let now = seconds_now();
        self.sessions.retain(|_, until| *until > now);
        self.users.retain(|_, time| time.saturating_add(lifetime) > now);
    }

    /// Whether all that is in the other one and has not had its time is in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let now = seconds_now();
        self.all >= other.all
            && other.sessions.iter().all(|(id, until)| *until <= now || self.sessions.contains_key(id))
            && other.users.iter().all(|(user, time)| self.users.get(user).is_some_and(|known| known >= time))
    }

    /// All of it, each line with its end. It may be long: whoever has locked a list copies it first.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let sessions = self.sessions.iter().map(|(id, until)| session_line(id, *until));
        let users = self.users.iter().map(|(user, time)| user_line(user, *time));
        let all = (self.all > 0).then(|| all_line(self.all));
        sessions.chain(users).chain(all).map(|line| line + "\n")
    }
}

fn raise(known: &mut u64, time: u64) -> Read {
    if time <= *known {
        return Read::Known;
    }
    *known = time;
    Read::News
}

fn make_room<K>(table: &mut HashMap<K, u64>, most: usize) {
    if table.len() >= most {
        let mut times: Vec<u64> = table.values().copied().collect();
        let (_, middle, _) = times.select_nth_unstable(most / 2);
        let middle = *middle;
        table.retain(|_, time| *time > middle);
    }
}

/// A user's spellings are one user; a name has no line break in it, and nothing else that ends half a line.
pub(super) fn folded(user: &str) -> String {
    user.trim().to_lowercase().replace(char::is_control, " ")
}

pub(super) fn session_line(id: &[u8; 16], until: u64) -> String {
    format!("session {until} {}", hex(id))
}

pub(super) fn user_line(user: &str, time: u64) -> String {
    format!("user {time} {user}")
}

pub(super) fn all_line(time: u64) -> String {
    format!("all {time}")
}

/// The 32 hexadecimal digits that the log calls a session by.
pub fn parse_id(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(())?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_an_id_is_read_as_it_is_written() {
        let mut list = List::default();
        for n in 0..(SESSIONS as u64 + 10) {
            list.add_session(u128::from(n).to_be_bytes(), u64::MAX - SESSIONS as u64 + n.min(SESSIONS as u64));
        }
        assert!(list.sessions.len() <= SESSIONS);
        assert_eq!(parse_id(&hex(&[0xab; 16])), Some([0xab; 16]));
        for bad in ["", "x", "+00000000000000000000000000000ab", "zz000000000000000000000000000000"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_is_news_once_and_half_a_line_is_none() {
        let mut list = List::default();
        let id = hex(&[1; 16]);
        for line in ["all 5".to_owned(), "user 5 zoë x".to_owned(), format!("session 5 {id}")] {
            assert_eq!((list.read_line(&line), list.read_line(&line)), (Read::News, Read::Known), "{line}");
        }
        assert_eq!(list.read_line("user 4 zoë x"), Read::Known);
        let half = format!("session 5 {}", &id[..20]);
        for broken in ["user", "user x y", "session 5", &half, "all 5 6", "user 5 zo\0", "nonsense 5 x"] {
            assert_eq!(list.read_line(broken), Read::Broken, "{broken}");
        }
    }
}
