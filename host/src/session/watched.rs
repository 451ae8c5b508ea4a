//! When sessions with an open tunnel were used last: a tunnel has no requests that would renew the session's cookie, so it
//! must know of those that came beside it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Session;
use crate::times::seconds_now;

/// Sessions with tunnels. Part of State.
#[derive(Debug, Default)]
pub struct Watched {
    /// How many there are, so that requests of others cost nothing.
    count: AtomicUsize,
    sessions: Mutex<HashMap<[u8; 16], Used>>,
}

#[derive(Debug, Clone, Copy)]
struct Used {
    tunnels: usize,
    seen: u64,
}

impl Watched {
    /// A tunnel begins.
    pub fn begin(&self, session: &Session) {
        let mut sessions = self.sessions();
        let used = sessions.entry(session.id).or_insert(Used { tunnels: 0, seen: seconds_now() });
        used.tunnels += 1;
        self.count.store(sessions.len(), Ordering::Relaxed);
    }

    /// A tunnel ends.
    pub fn end(&self, session: &Session) {
        let mut sessions = self.sessions();
        if let Some(used) = sessions.get_mut(&session.id) {
            used.tunnels -= 1;
            if used.tunnels == 0 {
                sessions.remove(&session.id);
            }
        }
        self.count.store(sessions.len(), Ordering::Relaxed);
    }

    /// A request of this session came.
    pub fn touch(&self, session: &Session) {
        if self.count.load(Ordering::Relaxed) > 0
            && let Some(used) = self.sessions().get_mut(&session.id)
        {
            used.seen = seconds_now();
        }
    }

    /// When the session was used last, so far as is known here.
    pub(super) fn seen(&self, session: &Session) -> u64 {
        self.sessions().get(&session.id).map_or(0, |used| used.seen).max(session.seen)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 16], Used>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
