//! Connections to directory servers that a worker keeps.
//!
//! They belong to a worker and not to all: what drives a connection runs on the thread that opened it, a login needs one for
//! some milliseconds, and so few are kept that a lock would cost more than it saves.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ldap3::Ldap;

/// Idle connections of one kind to one server that a worker keeps.
const KEPT: usize = 4;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Bound as the service account.
    Search,
    /// Bound as whoever logged in last.
    UserBind,
}

impl Use {
    /// Its word in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::UserBind => "bind",
        }
    }
}

/// A connection that is nobody's at the moment.
pub(super) struct Kept {
    pub(super) ldap: Ldap,
    servers: u64,
    url: String,
    usage: Use,
    opened: Instant,
    used: Instant,
}

/// A worker's idle connections.
#[derive(Default)]
pub struct Connections {
    idle: RefCell<Vec<Kept>>,
}

impl Connections {
    /// The connection used last, so that those not needed grow old. What is too old, or was ended by the server, or belongs
    /// to an older Snapshot, goes.
    pub(super) fn take(&self, idle: Duration, age: Duration, of: (u64, &str, Use)) -> Option<Kept> {
        let mut kept = self.idle.borrow_mut();
        kept.retain_mut(|one| {
            one.servers == of.0 && one.used.elapsed() < idle && one.opened.elapsed() < age && !one.ldap.is_closed()
        });
        let newest = kept.iter().rposition(|one| one.url == of.1 && one.usage == of.2)?;
        Some(kept.remove(newest))
    }

    /// A new connection.
    pub(super) fn of(&self, ldap: Ldap, (servers, url, usage): (u64, &str, Use)) -> Kept {
        Kept { ldap, servers, url: url.to_owned(), usage, opened: Instant::now(), used: Instant::now() }
    }

    /// Closes those to a server that are idle.
    pub(super) fn forget(&self, url: &str) {
        self.idle.borrow_mut().retain(|one| one.url != url);
    }

    /// Keeps a connection whose question was answered.
    pub(super) fn put(&self, mut one: Kept) {
        let mut kept = self.idle.borrow_mut();
        let like_it = kept.iter().filter(|other| (&other.url, other.usage) == (&one.url, one.usage)).count();
        if like_it < KEPT {
            one.used = Instant::now();
            kept.push(one);
        }
    }
}

/// What comes of a question, or `None` where reading the answer panics: `ldap3` does so on some that are no LDAP.
pub(super) async fn caught<T>(question: impl Future<Output = T>) -> Option<T> {
    let mut question = pin!(question);
    std::future::poll_fn(move |cx| match std::panic::catch_unwind(AssertUnwindSafe(|| question.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
