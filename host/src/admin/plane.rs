//! What the admin plane has: one for the process, on its own thread.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::audit::Audit;
use super::dispatch::Dispatcher;
use super::people::People;
use super::sessions::Sessions;
use crate::config;
use crate::control::Handle;
use crate::limits::Throttle;
use crate::password::Hashing;
use crate::peer::Scheme;
use crate::session::random;
use crate::snapshot::Snapshot;

/// Passwords that are checked at the same time, and those that wait for it: an Argon2 takes a core and 19 MiB, and the
/// webmail's users need both.
const HASHING: (usize, usize) = (1, 16);

/// All of it.
pub(super) struct Plane {
    pub dispatcher: Arc<Dispatcher>,
    pub people: People,
    pub sessions: Sessions,
    /// Of operators alone: what guesses the webmail's passwords is no business of theirs.
    pub throttle: Arc<Throttle>,
    pub hashing: Hashing,
    /// Of the tokens of forms of those who have a certificate, and no session.
    pub key: [u8; 32],
    /// One file is sent at a time.
    pub uploads: Semaphore,
}

/// How somebody came.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub address: IpAddr,
    pub scheme: Scheme,
    /// The subject of his certificate, which was verified.
    pub subject: Option<String>,
}

impl Plane {
    pub(super) fn new(control: Handle, audit: Audit) -> Self {
        Self {
            dispatcher: Dispatcher::new(control, audit),
            people: People::default(),
            sessions: Sessions::default(),
            throttle: Arc::default(),
            hashing: Hashing::of(HASHING.0, HASHING.1),
            key: random(),
            uploads: Semaphore::new(1),
        }
    }

    /// What is asked and told.
    pub(super) fn control(&self) -> &Handle {
        self.dispatcher.control()
    }

    /// The live generation.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.control().generations().proxy().shared().live.load().snapshot.clone()
    }

    /// How long sessions of the page last.
    pub(super) fn lifetimes(admin: &config::Admin) -> super::sessions::Lifetimes {
        super::sessions::Lifetimes { idle: admin.idle_timeout, absolute: admin.absolute_timeout }
    }
}
