//! The control plane's verbs: start, reload, drain. Wires sockets to workers, and swaps Snapshots.
//!
//! Invariants: a Snapshot goes live whole or not at all; a socket that stays in the configuration is never closed.

mod sockets;
mod threads;
mod upgrade;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use self::sockets::Sockets;
use self::threads::Threads;
use self::upgrade::Before;
use crate::config::{Config, Faults};
use crate::log::{self, access::Log};
use crate::policy::{Compiler, Desk, Policy};
use crate::session::Keys;
use crate::snapshot::{Listener, Materials, Renewed, Snapshot};
use crate::state::{Shared, State};

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    compiler: Compiler,
    keys: Keys,
    tickets: Arc<Renewed>,
    sockets: Arc<Sockets>,
    threads: Arc<Threads>,
    history: Mutex<History>,
    before: Option<Before>,
}

/// Generations that were live.
struct History {
    /// The highest number given to any.
    last: u64,
    /// Those that may be rolled back to, oldest first.
    past: VecDeque<Arc<Snapshot>>,
}

/// So many generations may be rolled back to.
const GENERATIONS: usize = 5;

/// Why a proxy cannot start or reload.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is refused, whole.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The machine refuses something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// There is no such generation to go back to.
    #[error("there is no such generation to go back to")]
    NoSuchGeneration,
    /// A component may not go live.
    #[error("sha256:{digest} is under quarantine; `doorward ctl lift sha256:{digest}` lifts that")]
    Quarantined {
        /// The component's digest.
        digest: String,
    },
    /// wasmtime does not run here.
    #[error("the policy engine does not start: {0}")]
    Engine(String),
}

fn keep_revocations(state: &State, config: &Config, rewrite: bool) -> Result<(), Error> {
    let (file, lifetime) = (config.session.revocations_file.as_deref(), config.session.absolute_timeout.as_secs());
    state.revoked.keep_in(file, lifetime, rewrite).map_err(|source| {
        let file = file.unwrap_or(Path::new("")).display();
        Error::Io { what: format!("session.revocations-file {file} cannot be used"), source }
    })
}

impl Proxy {
    /// Starts sockets and workers for a configuration.
    ///
    /// # Errors
    /// Nothing runs then.
    pub fn start(config: &Config) -> Result<Self, Error> {
        let state = config.state_directory.as_deref();
        let compiler = Compiler::start(state).map_err(|error| Error::Engine(format!("{error:#}")))?;
        let (keys, tickets) = (Keys::random(), Arc::default());
        let desk = Desk::start(&config.log, state)
            .map_err(|source| Error::Io { what: "the decision log cannot be opened".to_owned(), source })?;
        let materials = Materials {
            compiler: &compiler,
            keys: &keys,
            tickets: &tickets,
            previous: None,
            generation: 1,
            quarantine: Some(&desk.quarantine),
            trial: false,
        };
        let snapshot = Snapshot::build(config, &materials)?;
        log::warnings(&snapshot.warnings);
        snapshot.policies.all().iter().for_each(|policy| policy.goes_live());
        let no_sockets = |source| Error::Io { what: "the sockets are not handed over".to_owned(), source };
        let (before, handed) = upgrade::before().map_err(no_sockets)?.unzip();
        let sockets = Arc::new(Sockets::from_environment(handed.unwrap_or_default()));
        sockets.follow(&snapshot)?;
        let log = Log::start(&config.log.access)
            .map_err(|source| Error::Io { what: "the access log cannot be opened".to_owned(), source })?;
        let state = State::default();
        // While the process before this one still serves, it writes to the file as it is.
        keep_revocations(&state, config, before.is_none())?;
        let snapshot = ArcSwap::from_pointee(snapshot);
        let shared = Arc::new(Shared { snapshot, state, log, desk, seen: Mutex::default() });
        let threads = Threads::start(shared.clone(), sockets.clone(), config.threads)
            .map_err(|source| Error::Io { what: "no thread for a worker".to_owned(), source })?;
        let history = Mutex::new(History { last: 1, past: VecDeque::new() });
        Ok(Self { shared, compiler, keys, tickets, sockets, threads, history, before })
    }

    /// Builds the next generation and makes it live, or says why not and changes nothing.
    ///
    /// # Errors
    /// Every fault; the old generation serves on.
    pub fn reload(&self, config: &Config) -> Result<u64, Error> {
        let previous = self.shared.snapshot.load_full();
        let materials = Materials {
            compiler: &self.compiler,
            keys: &self.keys,
            tickets: &self.tickets,
            previous: Some(&previous),
            generation: self.history().last + 1,
            quarantine: Some(&self.shared.desk.quarantine),
            trial: false,
        };
        let next = Snapshot::build(config, &materials).inspect_err(|_| self.forget_unused(&self.history()))?;
        keep_revocations(&self.shared.state, config, false)?;
        let built = Instant::now();
        let generation = next.generation;
        log::warnings(&next.warnings);
        self.go_live(Arc::new(next))?;
        tracing::info!(generation, us = built.elapsed().as_micros(), "reloaded");
        Ok(generation)
    }

    /// Makes an earlier generation live again: the one of that number, or the last before this one. Nothing is
    /// compiled for it. The files still say otherwise, so the next reload does what they say.
    ///
    /// # Errors
    /// There is none, or it has a component that is under quarantine.
    pub fn roll_back(&self, to: Option<u64>) -> Result<u64, Error> {
        let live = self.generation();
        let found = {
            let history = self.history();
            let mut past = history.past.iter().rev();
            past.find(|past| to.map_or(past.generation != live, |to| past.generation == to)).cloned()
        };
        let past = found.ok_or(Error::NoSuchGeneration)?;
        let generation = past.generation;
        self.go_live(past)?;
        tracing::warn!(from = live, generation, "rolled back");
        Ok(generation)
    }

    /// A policy's breaker opened. If the policy went live just now, what was before it is better: back to the last
    /// generation without it. If that has not even its component, the component is put under quarantine; otherwise its
    /// settings are to blame.
    pub fn heed(&self, policy: &Policy) {
        let live = self.shared.snapshot.load_full();
        if !policy.is_on_probation() || !live.policies.has(policy) {
            return;
        }
        let (name, digest) = (policy.name.as_str(), policy.digest.as_str());
        let quarantine = &self.shared.desk.quarantine;
        let is_good = |past: &Snapshot| {
            let mut policies = past.policies.all().iter();
            !past.policies.has(policy) && policies.all(|policy| quarantine.reason(&policy.digest).is_none())
        };
        let Some(good) = self.history().past.iter().rev().find(|past| is_good(past)).cloned() else {
            return tracing::warn!(policy = name, digest, "a new policy went bad, and there is nothing to go back to");
        };
        let generation = good.generation;
        let quarantined = !good.policies.all().iter().any(|policy| policy.digest == digest);
        if quarantined {
            let reason = format!("{name} failed again and again after generation {} went live", live.generation);
            quarantine.add(digest, &reason);
        }
        match self.go_live(good) {
            Ok(()) => {
                tracing::error!(policy = name, digest, generation, quarantined, "a new policy went bad: rolled back")
            }
            Err(error) => {
                tracing::error!(policy = name, digest, %error, "a new policy went bad, and there is no way back")
            }
        }
    }

    /// The one way in which a generation goes live.
    fn go_live(&self, next: Arc<Snapshot>) -> Result<(), Error> {
        let mut history = self.history();
        let quarantine = &self.shared.desk.quarantine;
        if let Some(policy) = next.policies.all().iter().find(|policy| quarantine.reason(&policy.digest).is_some()) {
            return Err(Error::Quarantined { digest: policy.digest.clone() });
        }
        self.sockets.follow(&next)?;
        next.policies.all().iter().for_each(|policy| policy.goes_live());
        let live = self.shared.snapshot.swap(next.clone());
        history.last = history.last.max(next.generation);
        history.past.retain(|past| past.generation != next.generation && past.generation != live.generation);
        history.past.push_back(live);
        while history.past.len() > GENERATIONS {
            history.past.pop_front();
        }
        self.forget_unused(&history);
        self.threads.follow(next.generation);
        Ok(())
    }

    /// Forgets compiled components that no generation uses which is live or may be again.
    fn forget_unused(&self, history: &History) {
        let live = self.shared.snapshot.load();
        let uses = |digest: &str| history.past.iter().any(|past| past.policies.uses(digest));
        self.compiler.keep_only(|digest| live.policies.uses(digest) || uses(digest));
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Generations that may be rolled back to, oldest first.
    pub fn past(&self) -> Vec<u64> {
        self.history().past.iter().map(|past| past.generation).collect()
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where it listens: name, bound address, and whether with TLS.
    pub fn listening(&self) -> Vec<(String, String, bool)> {
        let (snapshot, live) = (self.shared.snapshot.load(), self.sockets.live());
        let one = |(name, listener): (&String, &Arc<Listener>)| {
            let (configured, socket) = live.get(name)?;
            Some((name.clone(), socket.address(configured), listener.tls.is_some()))
        };
        snapshot.listeners.iter().filter_map(one).collect()
    }

    /// How many workers accept, and how many only serve the connections that they have.
    pub fn workers(&self) -> (usize, usize) {
        self.threads.counts()
    }

    /// The live generation.
    pub fn generation(&self) -> u64 {
        self.shared.snapshot.load().generation
    }

    /// Whether this process is to take over from another.
    pub fn takes_over(&self) -> bool {
        self.before.is_some()
    }

    /// All is ready: the process before this one, if there is one, may go.
    pub fn ready(&self) {
        if let Some(before) = &self.before {
            self.sockets.own_files();
            before.let_go();
        }
    }

    /// Starts the program anew with copies of the listening sockets, and waits until the new process serves: its number.
    /// From then on both accept; this one is to retire.
    ///
    /// # Errors
    /// It does not come up, and nothing has changed.
    pub fn upgrade(&self, program: &Path) -> Result<u32, Error> {
        let io =
            |source| Error::Io { what: "the new process does not serve, the old one serves on".to_owned(), source };
        let process = upgrade::start(program, &self.sockets.hand_over().map_err(io)?).map_err(io)?;
        self.sockets.leave_files();
        Ok(process)
    }

    /// Stops accepting, and serves connections on until they close; after the drain timeout, they are told to. True when
    /// all did.
    pub fn retire(&self) -> bool {
        let timeout = self.shared.snapshot.load().drain_timeout;
        let ended = self.threads.retire(timeout) || self.drain();
        self.shared.state.revoked.settle();
        ended
    }

    /// Stops accepting and lets every request finish, until the drain deadline. True when all of them did.
    pub fn drain(&self) -> bool {
        let timeout = self.shared.snapshot.load().drain_timeout;
        self.sockets.live().clear();
        let clean = self.threads.drain(timeout);
        self.shared.log.flush();
        self.shared.state.revoked.settle();
        clean
    }
}
