//! Sessions that were ended before their time: by a logout, or by an operator for one session, a user, or all. A file
//! keeps them over a restart.
//!
//! Invariants: what is in the file holds after a restart; nothing is kept for longer than a session can live.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{Session, seconds_now};

/// Sessions remembered; a day of logouts of a large cluster at 64 bytes each.
const SESSIONS: usize = 1 << 20;
/// Users remembered.
const USERS: usize = 1 << 16;

/// What was revoked. Part of State.
#[derive(Default)]
pub struct Revoked {
    list: RwLock<List>,
    file: Arc<Mutex<Option<Journal>>>,
    /// Lines on their way to the file.
    waiting: Arc<Mutex<String>>,
}

/// What an operator revokes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// One session.
    Session([u8; 16]),
    /// All sessions of a user that began until now, at every site.
    User(String),
    /// All sessions that began until now.
    All,
}

/// Times are seconds since 1970.
#[derive(Debug, Default)]
struct List {
    /// Sessions, and when they would end anyway.
    sessions: HashMap<[u8; 16], u64>,
    /// Sessions of these users that began at this time or before.
    users: HashMap<String, u64>,
    /// All sessions that began at this time or before.
    all: u64,
}

struct Journal {
    path: PathBuf,
    file: File,
}

impl Revoked {
    /// Whether the session was ended.
    pub(super) fn has(&self, session: &Session) -> bool {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        session.started <= list.all
            || (!list.sessions.is_empty() && list.sessions.contains_key(&session.id))
            || (!list.users.is_empty()
                && list.users.get(&folded(&session.user)).is_some_and(|until| session.started <= *until))
    }

    /// Ends one session, in a time that a worker has: the file is written elsewhere, and a second later is soon enough.
    pub(super) fn end(&self, session: &Session, until: u64) {
        self.change(|list| list.add_session(session.id, until));
        if Journal::is_open(&self.file) {
            let line = session_line(&session.id, until) + "\n";
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
            let (file, waiting) = (self.file.clone(), self.waiting.clone());
            drop(tokio::task::spawn_blocking(move || Journal::write_waiting(&file, &waiting)));
        }
    }

    /// Writes what is on its way to the file. A process that ends may have no time left for it otherwise.
    pub fn settle(&self) {
        Journal::write_waiting(&self.file, &self.waiting);
    }

    /// Does what an operator asks for. It is in the file when this returns. `lifetime` is the longest of a session.
    ///
    /// # Errors
    /// It holds, but the file cannot be written.
    pub fn revoke(&self, what: &Revocation, lifetime: u64) -> std::io::Result<()> {
        let now = seconds_now();
        let line = match what {
            Revocation::Session(id) => session_line(id, now.saturating_add(lifetime)),
            Revocation::User(user) => user_line(&folded(user), now),
            Revocation::All => all_line(now),
        };
        self.change(|list| list.read_line(&line));
        Journal::write(&self.file, &(line + "\n"), true)
    }

    /// Reads what an earlier process wrote, and goes on writing there. `None` writes nowhere. With `rewrite`, what has had
    /// its time is left out of the file from now on.
    ///
    /// # Errors
    /// The file that cannot be read or written; nothing changes then.
    pub fn keep_in(&self, path: Option<&Path>, lifetime: u64, rewrite: bool) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_ref().map(|journal| journal.path.as_path()) == path {
            return Ok(());
        }
        let Some(path) = path else {
            *file = None;
            return Ok(());
        };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            read => read.unwrap_or_default(),
        };
        let lines = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            text.lines().for_each(|line| list.read_line(line));
            list.forget(seconds_now(), lifetime);
            list.lines()
        };
        if rewrite {
            let new = path.with_extension("new");
            std::fs::write(&new, lines)?;
            std::fs::rename(&new, path)?;
        }
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        *file = Some(Journal { path: path.to_owned(), file: opened });
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut List)) {
        change(&mut self.list.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Journal {
    fn is_open(file: &Mutex<Option<Self>>) -> bool {
        file.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Writes lines in the order in which they came.
    fn write_waiting(file: &Mutex<Option<Self>>, waiting: &Mutex<String>) {
        let lines = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.is_empty() {
            // What is wrong with the file is in the log.
            let _ = Self::write(file, &lines, false);
        }
    }

    fn write(file: &Mutex<Option<Self>>, lines: &str, sync: bool) -> std::io::Result<()> {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(journal) = file.as_mut() else { return Ok(()) };
        let written = journal.file.write_all(lines.as_bytes());
        let written = written.and_then(|()| if sync { journal.file.sync_data() } else { Ok(()) });
        written.inspect_err(|error| {
            tracing::error!(file = %journal.path.display(), %error, "an ended session is not kept over a restart");
        })
    }
}

impl List {
    fn add_session(&mut self, id: [u8; 16], until: u64) {
        if self.sessions.len() >= SESSIONS {
            let now = seconds_now();
            self.sessions.retain(|_, until| *until > now);
            // Still full: those that would end first anyway make room, half of them at once so that this is rare.
            make_room(&mut self.sessions, SESSIONS);
        }
        self.sessions.insert(id, until);
    }

    /// A line of the file. One that makes no sense, such as half of one, is passed over.
    fn read_line(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(time)) = (words.next(), words.next().and_then(|time| time.parse::<u64>().ok())) else {
            return;
        };
        match (kind, words.next()) {
            ("session", Some(id)) => {
                if let Some(id) = parse_id(id) {
                    self.add_session(id, time);
                }
            }
            ("user", Some(user)) => {
                make_room(&mut self.users, USERS);
                let until = self.users.entry(user.to_owned()).or_default();
                *until = time.max(*until);
            }
            ("all", None) => self.all = self.all.max(time),
            _ => {}
        }
    }

    fn forget(&mut self, now: u64, lifetime: u64) {
        self.sessions.retain(|_, until| *until > now);
        self.users.retain(|_, time| time.saturating_add(lifetime) > now);
    }

    fn lines(&self) -> String {
        let sessions = self.sessions.iter().map(|(id, until)| session_line(id, *until));
        let users = self.users.iter().map(|(user, time)| user_line(user, *time));
        let all = (self.all > 0).then(|| all_line(self.all));
        sessions.chain(users).chain(all).map(|line| line + "\n").collect()
    }
}

fn make_room<K>(table: &mut HashMap<K, u64>, most: usize) {
    if table.len() >= most {
        let mut times: Vec<u64> = table.values().copied().collect();
        let (_, middle, _) = times.select_nth_unstable(most / 2);
        let middle = *middle;
        table.retain(|_, time| *time > middle);
    }
}

/// A user's spellings are one user; a name has no line break in it.
fn folded(user: &str) -> String {
    user.trim().to_lowercase().replace(['\n', '\r'], " ")
}

fn session_line(id: &[u8; 16], until: u64) -> String {
    format!("session {until} {}", super::hex(id))
}

fn user_line(user: &str, time: u64) -> String {
    format!("user {time} {user}")
}

fn all_line(time: u64) -> String {
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

    fn session(id: u8, user: &str, ago: u64) -> Session {
        let started = seconds_now() - ago;
        let (site, user, backend) = ("a.test".to_owned(), user.to_owned(), "node-a".to_owned());
        Session { id: [id; 16], site, user, backend, started, seen: started, kept: crate::secret::Values::default() }
    }

    #[test]
    fn sessions_users_and_all_are_revoked_and_a_restart_keeps_it() {
        let folder = std::env::temp_dir().join(format!("doorward-revoked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("revoked");
        let (first, lifetime) = (Revoked::default(), 1000);
        first.keep_in(Some(&path), lifetime, true).unwrap();
        first.revoke(&Revocation::Session([1; 16]), lifetime).unwrap();
        first.revoke(&Revocation::User("Zoë X".to_owned()), lifetime).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"user 5 old\nsession half").unwrap();
        let check = |revoked: &Revoked| {
            assert!(revoked.has(&session(1, "alice", 10)) && !revoked.has(&session(2, "alice", 10)));
            assert!(revoked.has(&session(2, "zoë x", 10)));
            // Whoever logs in after that has a session.
            let later = Session { started: seconds_now() + 5, ..session(2, "zoë x", 0) };
            assert!(!revoked.has(&later));
        };
        check(&first);
        let second = Revoked::default();
        second.keep_in(Some(&path), lifetime, true).unwrap();
        check(&second);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("old"));
        second.revoke(&Revocation::All, lifetime).unwrap();
        let third = Revoked::default();
        third.keep_in(Some(&path), lifetime, false).unwrap();
        assert!(third.has(&session(3, "carol", 1)));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_list_is_bounded_and_an_id_is_read_as_it_is_written() {
        let mut list = List::default();
        for n in 0..(SESSIONS as u64 + 10) {
            list.add_session(u128::from(n).to_be_bytes(), u64::MAX - SESSIONS as u64 + n.min(SESSIONS as u64));
        }
        assert!(list.sessions.len() <= SESSIONS);
        assert_eq!(parse_id(&super::super::hex(&[0xab; 16])), Some([0xab; 16]));
        for bad in ["", "x", "+00000000000000000000000000000ab", "zz000000000000000000000000000000"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
