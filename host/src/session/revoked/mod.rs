//! Sessions that were ended before their time: by a logout, or by an operator for one session, a user, or all. A file
//! keeps them over a restart, and another process of an upgrade hears of them at once.
//!
//! Invariants: what is said to be in the file is there; nothing is kept for longer than a session can live; who ended a
//! session has told the other process before anybody is told that it ended.

mod ledger;
mod link;
mod list;

use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

use super::Session;
use crate::times::seconds_now;
use ledger::Ledger;
pub use ledger::Past;
use link::{Link, Other};
pub use list::parse_id;
use list::{List, Read};

/// How often it is looked whether another process wrote to the file, or somebody removed it.
const LOOK: Duration = Duration::from_secs(1);
/// The same for a link that has no room for what is to be sent.
const LINK_LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Bytes of lines that wait for a disk that has no room. What is over is written with the whole list.
const WAITING: usize = 4 << 20;
/// Lines of a list that are sent while the links are locked: all workers wait for that.
const AT_ONCE: usize = 256;
/// No user has a longer name.
const NAME: usize = 1024;

/// What was revoked. Part of State.
#[derive(Default, Clone)]
pub struct Revoked(Arc<Inner>);

#[derive(Default)]
struct Inner {
    list: RwLock<List>,
    ledger: Mutex<Option<Ledger>>,
    /// Lines on their way to the file.
    waiting: Mutex<Vec<u8>>,
    more: Condvar,
    writes: AtomicBool,
    /// Why the file cannot be written.
    trouble: Mutex<Option<String>>,
    links: Mutex<Vec<Link>>,
    /// Whether there are links: nobody else need lock them.
    linked: AtomicBool,
    /// Whether the whole list of an older process has come.
    has_list: AtomicBool,
    /// Tells the other doors of a cluster.
    doors: OnceLock<Tell>,
    /// So much later sessions of a user may have begun by the clock of another door: seconds.
    margin: AtomicU64,
}

/// Tells the other doors a line; never waits.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// What a line of another door says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// What was not known here. It is on its way to the file.
    News,
    /// What was known, or has had its time.
    Known,
    /// Nothing that makes sense.
    Nonsense,
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

impl Revocation {
    /// Whether it ends a session that is open now.
    pub fn ends(&self, id: Option<&[u8; 16]>, user: &str) -> bool {
        match self {
            Self::Session(session) => Some(session) == id,
            Self::User(name) => list::folded(name) == list::folded(user),
            Self::All => true,
        }
    }
}

impl Revoked {
    /// Whether the session was ended, here or in the other process of an upgrade.
    pub fn has(&self, session: &Session) -> bool {
        if self.0.linked.load(Ordering::Acquire) {
            self.0.hear();
        }
        lock_read(&self.0.list).has(session)
    }

    /// Ends one session, in a time that a worker has: the file is written elsewhere, and a second later is soon enough.
    pub(super) fn end(&self, session: &Session, until: u64) {
        let line = list::session_line(&session.id, until);
        lock_write(&self.0.list).add_session(session.id, until);
        self.0.tell(&line);
        self.0.write_soon(&line);
    }

    /// Writes what is on its way to the file. A process that ends may have no time left for it otherwise.
    pub fn settle(&self) {
        self.0.write_waiting();
    }

    /// Does what an operator asks for. It is in the file when this returns. `lifetime` is the longest of a session.
    ///
    /// # Errors
    /// It holds, but the file cannot be written; that is tried again.
    pub fn revoke(&self, what: &Revocation, lifetime: u64) -> Result<()> {
        let now = seconds_now();
        let until = now.saturating_add(self.0.margin.load(Ordering::Relaxed));
        let line = match what {
            Revocation::Session(id) => list::session_line(id, now.saturating_add(lifetime)),
            Revocation::User(user) if user.len() > NAME => {
                return Err(Error::new(ErrorKind::InvalidInput, "no user has such a long name"));
            }
            Revocation::User(user) => list::user_line(&list::folded(user), until),
            Revocation::All => list::all_line(until),
        };
        lock_write(&self.0.list).read_line(&line);
        self.0.tell(&line);
        let mut ledger = lock(&self.0.ledger);
        let Some(open) = ledger.as_mut() else { return Ok(()) };
        let written = open.write(&self.0.list, format!("{line}\n").as_bytes());
        drop(ledger);
        written.inspect_err(|error| {
            self.0.tell_trouble(Some(error));
            self.0.write_soon(&line);
        })
    }

    /// Reads what an earlier process wrote, and goes on writing there. `None` writes nowhere.
    ///
    /// # Errors
    /// The file that cannot be read or written; nothing changes then.
    pub fn keep_in(&self, path: Option<&Path>, lifetime: u64, past: Past) -> Result<()> {
        let mut ledger = lock(&self.0.ledger);
        if ledger.as_ref().map(Ledger::path) == path {
            return Ok(());
        }
        // First, so that what ends while the file is opened is written to it.
        if path.is_some() && !self.0.writes.swap(true, Ordering::AcqRel) {
            let inner = Arc::downgrade(&self.0);
            std::thread::Builder::new().name("revocations".to_owned()).spawn(move || write_on(&inner))?;
        }
        *ledger = path.map(|path| Ledger::open(path, &self.0.list, lifetime, past)).transpose()?;
        drop(ledger);
        self.0.tell_trouble(None);
        Ok(())
    }

    /// Why the file cannot be written, if so. What was ended holds, and is written when it can be.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.0.trouble).clone()
    }

    /// The end of a new link for a newer process, which gets all that is known here, and hears of what comes.
    ///
    /// # Errors
    /// The machine has no socket.
    pub fn link(&self) -> Result<OwnedFd> {
        let (ours, theirs) = link::pair()?;
        let link = Link::new(ours, Other::Newer);
        let socket = link.socket.clone();
        let mut links = lock(&self.0.links);
        self.0.linked.store(true, Ordering::Release);
        links.push(link);
        drop(links);
        // From here on whoever ends a session sends it there too; what ended before is in the list.
        self.0.send_list(&socket);
        self.0.start_hearing().map(|()| theirs)
    }

    /// Takes the other end: all that the older process knows is known when this returns.
    ///
    /// # Errors
    /// It ended, or its list does not come in time.
    pub fn join(&self, socket: OwnedFd, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        let mut links = lock(&self.0.links);
        self.0.linked.store(true, Ordering::Release);
        links.push(Link::new(socket, Other::Older));
        drop(links);
        while !self.0.has_list.load(Ordering::Acquire) {
            if Instant::now() >= end || !self.0.wait_for_news() {
                return Err(Error::other("the process before this one does not say which sessions have ended"));
            }
            self.0.hear();
        }
        self.0.start_hearing()
    }

    /// Whether a process lives that is older than this one, and that hears only from this one of what comes.
    pub fn has_older(&self) -> bool {
        lock(&self.0.links).iter().any(|link| link.other == Other::Older)
    }
}

impl Revoked {
    /// The number of that process, where there is one.
    pub fn older(&self) -> Option<u32> {
        let links = lock(&self.0.links);
        let older = links.iter().find(|link| link.other == Other::Older)?;
        // The one that made the pair of sockets.
        let peer = rustix::net::sockopt::socket_peercred(&older.socket).ok()?;
        u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
    }
}

impl Revoked {
    /// From now on what is ended here is told to the other doors; the first one who asks for it does that.
    pub fn tell_doors(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.0.doors.set(Box::new(tell));
    }

    /// How far the clocks of doors may differ, in seconds: sessions that began so much later end with those that began
    /// until now.
    pub fn set_margin(&self, seconds: u64) {
        self.0.margin.store(seconds, Ordering::Relaxed);
    }

    /// Takes a line that another door told.
    pub fn learn(&self, line: &str) -> Learned {
        if line.len() > 2 * NAME {
            return Learned::Nonsense;
        }
        let read = lock_write(&self.0.list).read_line(line);
        match read {
            Read::News => {
                self.0.tell_links(line);
                self.0.write_soon(line);
                Learned::News
            }
            Read::Known => Learned::Known,
            Read::Broken => Learned::Nonsense,
        }
    }

    /// All that is known here, as lines.
    pub fn lines(&self) -> Vec<String> {
        let list = lock_read(&self.0.list).clone();
        list.lines().map(|line| line.trim_end_matches('\n').to_owned()).collect()
    }
}

impl Inner {
    /// Reads what other processes have said, and says it to the others.
    fn hear(&self) {
        let mut links = lock(&self.links);
        let mut at = 0;
        while at < links.len() {
            match links[at].receive() {
                Ok(Some(lines)) => {
                    let news: String =
                        lines.lines().filter(|line| self.heard(line)).map(|l| format!("{l}\n")).collect();
                    for (other, link) in links.iter_mut().enumerate().filter(|_| !news.is_empty()) {
                        if other != at {
                            let _ = link.tell(&news);
                        }
                    }
                }
                Ok(None) => at += 1,
                Err(link::Gone) => drop(links.remove(at)),
            }
        }
        self.linked.store(!links.is_empty(), Ordering::Release);
    }

    /// Takes a line that another process sent: whether it is news.
    fn heard(&self, line: &str) -> bool {
        if line == link::END_OF_LIST {
            self.has_list.store(true, Ordering::Release);
            return false;
        }
        let is_news = lock_write(&self.list).read_line(line) == Read::News;
        if is_news {
            self.write_soon(line);
        }
        is_news
    }

    /// Sends all that is known here by one link, part by part: nobody waits until the whole list is text.
    fn send_list(&self, socket: &Arc<OwnedFd>) {
        let list = lock_read(&self.list).clone();
        let mut lines = list.lines().chain([link::END_OF_LIST.to_owned()]).peekable();
        while lines.peek().is_some() {
            let part: String = lines.by_ref().take(AT_ONCE).collect();
            let mut links = lock(&self.links);
            let Some(link) = links.iter_mut().find(|link| Arc::ptr_eq(&link.socket, socket)) else { return };
            // A process that is gone already is found to be so later.
            let _ = link.tell(&part);
        }
    }

    /// Tells who has to know: the other process of an upgrade, and the other doors of a cluster.
    fn tell(&self, line: &str) {
        self.tell_links(line);
        if let Some(tell) = self.doors.get() {
            tell(line);
        }
    }

    fn tell_links(&self, line: &str) {
        if self.linked.load(Ordering::Acquire) {
            // Who is gone is found to be so when this end is read.
            lock(&self.links).iter_mut().for_each(|link| _ = link.tell(line));
        }
    }

    /// Starts the thread that hears what is said while nobody looks a session up.
    fn start_hearing(self: &Arc<Self>) -> Result<()> {
        let inner = Arc::downgrade(self);
        let hear = move || {
            while let Some(inner) = inner.upgrade()
                && inner.wait_for_news()
            {
                inner.hear();
            }
        };
        std::thread::Builder::new().name("link".to_owned()).spawn(hear).map(drop)
    }

    /// Waits a while for something to read, or for room; false when there are no links any more.
    fn wait_for_news(&self) -> bool {
        let sockets: Vec<_> = lock(&self.links).iter().map(|link| (link.socket.clone(), link.interest())).collect();
        let mut waited: Vec<_> = sockets.iter().map(|(socket, interest)| PollFd::new(socket, *interest)).collect();
        let _ = poll(&mut waited, Some(&LINK_LOOK));
        lock(&self.links).iter_mut().for_each(|link| _ = link.send_on());
        !sockets.is_empty()
    }

    fn write_soon(&self, line: &str) {
        if !self.writes.load(Ordering::Acquire) {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() < WAITING {
            waiting.extend_from_slice(line.as_bytes());
            waiting.push(b'\n');
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// Writes lines in the order in which they came, and looks after the file.
    fn write_waiting(&self) {
        let mut ledger = lock(&self.ledger);
        let lines = std::mem::take(&mut *lock(&self.waiting));
        let Some(open) = ledger.as_mut() else { return };
        let written = if lines.is_empty() { open.catch_up(&self.list) } else { open.write(&self.list, &lines) };
        drop(ledger);
        self.tell_trouble(written.as_ref().err());
        if written.is_err() {
            let mut waiting = lock(&self.waiting);
            let later = std::mem::replace(&mut *waiting, lines);
            waiting.extend(later);
        }
    }

    /// Tells what is wrong with the file, once for each time that it begins.
    fn tell_trouble(&self, error: Option<&Error>) {
        let (mut trouble, now) = (lock(&self.trouble), error.map(ToString::to_string));
        if *trouble == now {
            return;
        }
        match &now {
            Some(error) => tracing::error!(error, "ended sessions are not kept over a restart"),
            None => tracing::warn!("ended sessions are kept over a restart again"),
        }
        *trouble = now;
    }
}

/// The thread that writes.
fn write_on(inner: &Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        let failing = lock(&inner.trouble).is_some();
        let waiting = lock(&inner.waiting);
        // What could not be written waits for the next look.
        drop(inner.more.wait_timeout_while(waiting, LOOK, |waiting| failing || waiting.is_empty()));
        inner.write_waiting();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_read(list: &RwLock<List>) -> std::sync::RwLockReadGuard<'_, List> {
    list.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock_write(list: &RwLock<List>) -> std::sync::RwLockWriteGuard<'_, List> {
    list.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
