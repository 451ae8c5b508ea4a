//! The control plane's verbs: start, reload, drain. Wires sockets to workers, and swaps Snapshots.
//!
//! Invariants: a Snapshot goes live whole or not at all; a socket that stays in the configuration is never closed.

mod outcome;
mod sockets;
mod threads;
mod upgrade;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

pub use self::outcome::{Error, LastReload, Reloaded};
use self::sockets::Sockets;
use self::threads::Threads;
pub use self::upgrade::give_up;
use self::upgrade::{Before, Legacy, Stop};
use crate::config::{Config, Fixed};
use crate::directory::Shrink;
use crate::door::Phase;
use crate::log::{self, access::Log};
use crate::policy::{Compiler, Desk, Policy};
use crate::session::{Keys, Past, seconds_now};
use crate::snapshot::{Fingerprint, Listener, Materials, Renewed, Snapshot};
use crate::state::{Cause, Shared, State};

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    compiler: Compiler,
    keys: Keys,
    tickets: Arc<Renewed>,
    sockets: Arc<Sockets>,
    threads: Arc<Threads>,
    history: Mutex<History>,
    before: Mutex<Option<Before>>,
    takes_over: bool,
    upgrade: Stop,
    last_reload: Mutex<Option<LastReload>>,
    /// What the keys said that no reload can apply.
    fixed: Vec<Fixed>,
}

/// Generations that were live.
struct History {
    /// The highest number given to any.
    last: u64,
    /// The live one.
    live: Life,
    /// Those that may be rolled back to, in the order in which they were live.
    past: VecDeque<(Arc<Snapshot>, Life)>,
}

/// What is known of a generation that is or was live.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Life {
    /// Its number.
    pub generation: u64,
    /// Since when it was live the last time: seconds since 1970.
    pub since: u64,
    /// Why it went live then.
    pub reason: &'static str,
}

impl Life {
    fn now(generation: u64, reason: &'static str) -> Self {
        Self { generation, since: seconds_now(), reason }
    }
}

/// So many generations may be rolled back to.
const GENERATIONS: usize = 5;

/// How long a process that ends waits for the reader of a log.
const FLUSH: Duration = Duration::from_secs(2);
/// How often a process that retires looks whether the one before it has ended.
const OLDER_LOOK: Duration = Duration::from_millis(100);

fn keep_revocations(state: &State, config: &Config, past: Past) -> Result<(), Error> {
    let (file, lifetime) = (config.session.revocations_file.as_deref(), config.session.absolute_timeout.as_secs());
    state.revoked.keep_in(file, lifetime, past).map_err(|source| {
        let file = file.unwrap_or(Path::new("")).display();
        Error::Io { what: format!("session.revocations-file {file} cannot be used"), source }
    })
}

impl Proxy {
    /// Starts sockets and workers for a configuration, whose files have this fingerprint.
    ///
    /// # Errors
    /// Nothing runs then.
    pub fn start(config: &Config, fingerprint: Option<Fingerprint>) -> Result<Self, Error> {
        let no_sockets = |source| Error::Io { what: "the sockets are not handed over".to_owned(), source };
        let (before, handed, link) = match upgrade::before().map_err(no_sockets)? {
            Some(Legacy { before, sockets, link }) => (Some(before), sockets, link),
            None => (None, Vec::new(), None),
        };
        let folder = config.state_directory.as_deref();
        let compiler = Compiler::start(folder).map_err(|error| Error::Engine(format!("{error:#}")))?;
        before.iter().for_each(|before| before.tell_of(compiler.compiling()));
        let (keys, tickets) = (Keys::random(), Arc::default());
        let desk = Desk::start(&config.log, folder)
            .map_err(|source| Error::Io { what: "the decision log cannot be opened".to_owned(), source })?;
        let materials = Materials {
            compiler: &compiler,
            keys: &keys,
            tickets: &tickets,
            previous: None,
            generation: 1,
            quarantine: Some(&desk.quarantine),
            shrink: Shrink::Refused,
            trial: false,
        };
        let mut snapshot = Snapshot::build(config, &materials)?;
        // When a quarantine is lifted, the same files say something else.
        let whole = !snapshot.policies.all().iter().any(|policy| policy.is_left_alone());
        snapshot.fingerprint = fingerprint.filter(|_| whole);
        log::warnings(&snapshot.warnings);
        let sockets = Arc::new(Sockets::from_environment(handed));
        sockets.follow(&snapshot)?;
        let log = Log::start(&config.log.access)
            .map_err(|source| Error::Io { what: "the access log cannot be opened".to_owned(), source })?;
        let state = State::default();
        // While the process before this one still serves, it writes to the file as it is.
        if let Some(link) = link {
            state.revoked.join(link, upgrade::PATIENCE).map_err(Error::NotHandedOver)?;
        }
        keep_revocations(&state, config, if before.is_none() { Past::Goes } else { Past::Stays })?;
        let live = ArcSwap::new(state.follow(&Arc::new(snapshot), Cause::Operator));
        let shared = Arc::new(Shared { live, state, log, desk, seen: Mutex::default() });
        let takes_over = before.is_some();
        let phase = if takes_over { Phase::Waiting } else { Phase::Accepting };
        let threads = Threads::start(shared.clone(), sockets.clone(), config.threads, phase)
            .map_err(|source| Error::Io { what: "no thread for a worker".to_owned(), source })?;
        let history = Mutex::new(History { last: 1, live: Life::now(1, "start"), past: VecDeque::new() });
        let (before, upgrade) = (Mutex::new(before), Stop::default());
        Ok(Self {
            shared,
            compiler,
            keys,
            tickets,
            sockets,
            threads,
            history,
            before,
            takes_over,
            upgrade,
            last_reload: Mutex::default(),
            fixed: config.fixed(),
        })
    }

    /// Builds the next generation and makes it live, or says why not and changes nothing. Files that say what they said
    /// when the live generation was built make none.
    ///
    /// # Errors
    /// Every fault; the old generation serves on.
    pub fn reload(
        &self,
        config: &Config,
        (fingerprint, shrink): (Option<Fingerprint>, Shrink),
    ) -> Result<Reloaded, Error> {
        let previous = self.shared.live.load_full();
        if fingerprint.is_some() && previous.fingerprint == fingerprint {
            tracing::info!(generation = previous.generation, "nothing to reload: the files say what they said");
            return Ok(Reloaded { generation: previous.generation, changed: false });
        }
        let materials = Materials {
            compiler: &self.compiler,
            keys: &self.keys,
            tickets: &self.tickets,
            previous: Some(&previous),
            generation: self.history().last + 1,
            quarantine: Some(&self.shared.desk.quarantine),
            shrink,
            trial: false,
        };
        let mut next = Snapshot::build(config, &materials).inspect_err(|_| self.forget_unused(&self.history()))?;
        next.fingerprint = fingerprint;
        next.warnings.extend(config.needs_restart(&self.fixed));
        keep_revocations(&self.shared.state, config, Past::Stays)?;
        let built = Instant::now();
        let generation = next.generation;
        log::warnings(&next.warnings);
        self.go_live(Arc::new(next), "reload", Cause::Operator)?;
        tracing::info!(generation, us = built.elapsed().as_micros(), "reloaded");
        Ok(Reloaded { generation, changed: true })
    }

    /// Remembers what came of a reload, for status and metrics.
    pub fn note_reload(&self, outcome: &Result<Reloaded, Error>) {
        let faults = outcome.as_ref().err().map(|error| match error {
            Error::Faults(faults) => faults.0.len(),
            _ => 1,
        });
        let last = LastReload { time: SystemTime::now(), faults };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// What came of the last reload, if there was one.
    pub fn last_reload(&self) -> Option<LastReload> {
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner)
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
            let mut past = history.past.iter().rev().map(|(past, _)| past);
            past.find(|past| to.map_or(past.generation != live, |to| past.generation == to)).cloned()
        };
        let past = found.ok_or(Error::NoSuchGeneration)?;
        let generation = past.generation;
        self.go_live(past, "rollback", Cause::Operator)?;
        tracing::warn!(from = live, generation, "rolled back");
        Ok(generation)
    }

    /// A policy's breaker opened. If the policy went live just now, what was before it is better: back to the last
    /// generation without it. If that has not even its component, the component is put under quarantine; otherwise its
    /// settings are to blame.
    pub fn heed(&self, policy: &Policy) {
        let live = self.shared.live.load_full();
        if !policy.is_on_probation() || !live.policies.has(policy) {
            return;
        }
        let (name, digest) = (policy.name.as_str(), policy.digest.as_str());
        let listener = live.listeners.keys().next().map_or("", String::as_str);
        if !policy.is_bad((listener, &live.foremost_site().name)) {
            return tracing::warn!(
                policy = name,
                digest,
                "a new policy fails for one client and for nobody else: it stays"
            );
        }
        let quarantine = &self.shared.desk.quarantine;
        let is_good = |past: &Snapshot| {
            let mut policies = past.policies.all().iter();
            !past.policies.has(policy) && policies.all(|policy| quarantine.reason(&policy.digest).is_none())
        };
        let Some(good) = self.history().past.iter().rev().map(|(past, _)| past).find(|past| is_good(past)).cloned()
        else {
            return tracing::warn!(policy = name, digest, "a new policy went bad, and there is nothing to go back to");
        };
        let generation = good.generation;
        let quarantined = !good.policies.all().iter().any(|policy| policy.digest == digest);
        if quarantined {
            let reason = format!("{name} failed again and again after generation {} went live", live.generation);
            quarantine.add(digest, &reason);
        }
        match self.go_live(good, "a policy went bad", Cause::Relapse) {
            Ok(()) => {
                tracing::error!(policy = name, digest, generation, quarantined, "a new policy went bad: rolled back")
            }
            Err(error) => {
                tracing::error!(policy = name, digest, %error, "a new policy went bad, and there is no way back")
            }
        }
    }

    /// Looks whether the files that this process keeps are as it left them, and writes again what was lost.
    pub fn look_after_files(&self) {
        self.shared.desk.quarantine.look_after();
    }

    /// The one way in which a generation goes live.
    fn go_live(&self, next: Arc<Snapshot>, reason: &'static str, cause: Cause) -> Result<(), Error> {
        let mut history = self.history();
        let quarantine = &self.shared.desk.quarantine;
        if let Some(policy) = next.policies.all().iter().find(|policy| quarantine.reason(&policy.digest).is_some()) {
            return Err(Error::Quarantined { digest: policy.digest.clone() });
        }
        self.sockets.follow(&next)?;
        let live = self.shared.live.swap(self.shared.state.follow(&next, cause)).snapshot.clone();
        history.last = history.last.max(next.generation);
        history.past.retain(|(past, _)| past.generation != next.generation && past.generation != live.generation);
        let was = std::mem::replace(&mut history.live, Life::now(next.generation, reason));
        history.past.push_back((live, was));
        while history.past.len() > GENERATIONS {
            history.past.pop_front();
        }
        self.forget_unused(&history);
        self.threads.follow(next.generation);
        Ok(())
    }

    /// Forgets compiled components that no generation uses which is live or may be again.
    fn forget_unused(&self, history: &History) {
        let live = self.shared.live.load();
        let uses = |digest: &str| history.past.iter().any(|(past, _)| past.policies.uses(digest));
        self.compiler.keep_only(|digest| live.snapshot.policies.uses(digest) || uses(digest));
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Generations in the order in which they were live, those that may be rolled back to and last the live one.
    pub fn lives(&self) -> Vec<Life> {
        let history = self.history();
        history.past.iter().map(|(_, life)| life).chain([&history.live]).cloned().collect()
    }

    /// What the keys said at the start that no reload can apply.
    pub fn fixed(&self) -> &[Fixed] {
        &self.fixed
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where it listens: name, bound address, and whether with TLS.
    pub fn listening(&self) -> Vec<(String, String, bool)> {
        let (snapshot, live) = (self.shared.live.load(), self.sockets.live());
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
        self.shared.live.load().generation
    }

    /// Whether this process is to take over from another.
    pub fn takes_over(&self) -> bool {
        self.takes_over
    }

    /// Waits until the process before this one, if there is one, lets go; from then on this one takes connections.
    ///
    /// # Errors
    /// It does not let go: it ended, or was told to end. Then this one is not to serve either.
    pub fn take_over(&self) -> Result<(), Error> {
        if let Some(before) = &*self.before() {
            before.wait_for_go().map_err(Error::NotHandedOver)?;
        }
        self.threads.accept();
        Ok(())
    }

    /// All is there that a front door has: the process before this one, if there is one, may go.
    pub fn serves(&self) {
        if let Some(before) = self.before().take() {
            // Not sooner: where something goes wrong until here, the one before serves on.
            self.sockets.own_files();
            before.serves();
        }
    }

    fn before(&self) -> MutexGuard<'_, Option<Before>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the program anew with copies of the listening sockets, and waits until the new process serves: its number.
    /// From then on it alone accepts; this one is to retire.
    ///
    /// # Errors
    /// It does not come up, and nothing has changed.
    pub fn upgrade(&self, program: &Path) -> Result<u32, Error> {
        let io =
            |source| Error::Io { what: "the new process does not serve, the old one serves on".to_owned(), source };
        let (handed, link) = (self.sockets.hand_over().map_err(io)?, self.shared.state.revoked.link().map_err(io)?);
        let (process, version) =
            upgrade::start(program, &handed, link, &self.upgrade, upgrade::PATIENCE).map_err(io)?;
        self.sockets.leave_files();
        let from = env!("CARGO_PKG_VERSION");
        tracing::info!(process, from, to = version, "another process serves, this one retires");
        Ok(process)
    }

    /// This process is to end: an upgrade that is under way ends too, unless the new process was told to serve already.
    pub fn stop_upgrade(&self) {
        self.upgrade.stop();
    }

    /// Stops accepting, and serves connections on until they close; after the drain timeout, they are told to. True when
    /// all did.
    pub fn retire(&self) -> bool {
        let timeout = self.shared.live.load().drain_timeout;
        let began = Instant::now();
        let ended = self.threads.retire(timeout) || self.drain();
        // A process that is older still hears of ended sessions by this one. It has no longer to live.
        while self.shared.state.revoked.has_older() && began.elapsed() < timeout * 2 {
            std::thread::sleep(OLDER_LOOK);
        }
        self.settle();
        ended
    }

    /// Stops accepting and lets every request finish, until the drain deadline. True when all of them did.
    pub fn drain(&self) -> bool {
        self.shared.state.begin_draining();
        let (delay, timeout) = {
            let snapshot = self.shared.live.load();
            (snapshot.drain_delay, snapshot.drain_timeout)
        };
        // Everything is served as before, but for health checks, until balancers have seen one of them.
        std::thread::sleep(delay);
        self.sockets.live().clear();
        let clean = self.threads.drain(timeout);
        self.shared.log.flush(FLUSH);
        self.shared.desk.records.flush(FLUSH);
        self.settle();
        clean
    }

    /// Writes which sessions have ended, and what else is lost, if the disk takes it in time.
    fn settle(&self) {
        let (shared, (done, settled)) = (self.shared.clone(), std::sync::mpsc::channel());
        let settle = move || {
            shared.state.revoked.settle();
            shared.desk.quarantine.look_after();
            done.send(())
        };
        if std::thread::Builder::new().name("settle".to_owned()).spawn(settle).is_ok() {
            let _ = settled.recv_timeout(FLUSH);
        }
    }
}
