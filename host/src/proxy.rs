//! The machine that `control` drives: starts, serves, hands over, drains. Wires sockets to workers, and swaps Snapshots.
//!
//! Invariants: a Snapshot goes live whole or not at all; a socket that stays in the configuration is never closed.

mod outcome;
mod sockets;
mod threads;
mod upgrade;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub use self::outcome::Error;
use self::sockets::Sockets;
pub use self::sockets::{AdminSockets, NewSockets};
use self::threads::Threads;
use self::upgrade::{Before, Legacy};
pub use self::upgrade::{Stop, give_up, is_upgrade};
use crate::config::{Config, Faults, Protocol};
use crate::directory::Shrink;
use crate::door::Phase;
use crate::log::{self, Decisions, Prepared};
use crate::policy::{Compiler, Desk, Suspect};
use crate::session::{Keys, Past};
use crate::snapshot::{Listener, Materials, Renewed, Snapshot};
use crate::state::{Cause, Shared, State};

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    compiler: Compiler,
    keys: Keys,
    tickets: Arc<Renewed>,
    sockets: Arc<Sockets>,
    threads: Arc<Threads>,
    before: Mutex<Option<Before>>,
    takes_over: bool,
    /// As it was at the start: another one needs a restart.
    state_directory: Option<PathBuf>,
}

/// Where somebody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListensAt {
    /// The listener's name.
    pub name: String,
    /// Its address, with the port that it got.
    pub address: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether TLS comes first.
    pub tls: bool,
}

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

/// What a process has before it serves: the policy engine, keys, and what the process before it handed over.
pub struct Ground {
    before: Option<Before>,
    /// Where the process before this one says which sessions it ends.
    link: Option<OwnedFd>,
    compiler: Compiler,
    keys: Keys,
    tickets: Arc<Renewed>,
    desk: Arc<Desk>,
    sockets: Sockets,
}

impl Ground {
    /// Prepares it, for a configuration that may be another one than what serves in the end.
    ///
    /// # Errors
    /// The machine refuses something, or the process before this one does not hand over.
    pub fn prepare(config: &Config) -> Result<Self, Error> {
        let no_sockets = |source| Error::Io { what: "the sockets are not handed over".to_owned(), source };
        let (before, handed, link) = match upgrade::before().map_err(no_sockets)? {
            Some(Legacy { before, sockets, link }) => (Some(before), sockets, link),
            None => (None, Vec::new(), None),
        };
        let folder = config.state_directory.as_deref();
        let compiler = Compiler::start(folder).map_err(|error| Error::Engine(format!("{error:#}")))?;
        before.iter().for_each(|before| before.tell_of(compiler.compiling()));
        let desk = Desk::start(&config.log, folder, Decisions)
            .map_err(|source| Error::Io { what: "the decision log cannot be opened".to_owned(), source })?;
        let (keys, tickets, sockets) = (Keys::random(), Arc::default(), Sockets::from_environment(handed));
        Ok(Self { before, link, compiler, keys, tickets, desk, sockets })
    }

    /// Builds the first generation.
    ///
    /// # Errors
    /// Every fault.
    pub fn build(&self, config: &Config, generation: u64, suspect: Suspect) -> Result<Snapshot, Faults> {
        let materials = Materials {
            compiler: &self.compiler,
            keys: &self.keys,
            tickets: &self.tickets,
            previous: None,
            generation,
            quarantine: Some((&self.desk.quarantine, suspect)),
            shrink: Shrink::Refused,
            trial: false,
        };
        Snapshot::build(config, &materials)
    }

    /// Sockets for every listener of a generation.
    ///
    /// # Errors
    /// Every listener that cannot listen.
    pub fn sockets_for(&self, next: &Snapshot) -> Result<NewSockets, Faults> {
        self.sockets.prepare(next)
    }

    /// Starts workers for a configuration, with its generation.
    ///
    /// # Errors
    /// Nothing runs then.
    pub fn start(self, config: &Config, snapshot: Snapshot, new: NewSockets) -> Result<Proxy, Error> {
        let Self { before, link, compiler, keys, tickets, desk, sockets } = self;
        log::warnings(&snapshot.warnings);
        sockets.commit(new);
        let sockets = Arc::new(sockets);
        let logs = log::prepare(&snapshot.log.to, config.state_directory.as_deref()).map_err(Faults::from)?;
        logs.commit();
        let state = State::default();
        // While the process before this one still serves, it writes to the file as it is.
        if let Some(link) = link {
            state.revoked.join(link, upgrade::PATIENCE).map_err(Error::NotHandedOver)?;
        }
        keep_revocations(&state, config, if before.is_none() { Past::Goes } else { Past::Stays })?;
        let live = ArcSwap::new(state.follow(&Arc::new(snapshot), Cause::Operator));
        let shared = Arc::new(Shared { live, state, desk, seen: Mutex::default() });
        let takes_over = before.is_some();
        let phase = if takes_over { Phase::Waiting } else { Phase::Accepting };
        let threads = Threads::start(shared.clone(), sockets.clone(), config.threads, phase)
            .map_err(|source| Error::Io { what: "no thread for a worker".to_owned(), source })?;
        let before = Mutex::new(before);
        let state_directory = config.state_directory.clone();
        Ok(Proxy { shared, compiler, keys, tickets, sockets, threads, before, takes_over, state_directory })
    }
}

impl Proxy {
    /// What the next generation is built with.
    pub fn materials<'a>(&'a self, previous: &'a Snapshot, generation: u64, shrink: Shrink) -> Materials<'a> {
        Materials {
            compiler: &self.compiler,
            keys: &self.keys,
            tickets: &self.tickets,
            previous: Some(previous),
            generation,
            quarantine: Some((&self.shared.desk.quarantine, Suspect::Refused)),
            shrink,
            trial: false,
        }
    }

    /// Sockets for every listener of a generation: those that stay, and new ones. Without them nothing has changed.
    ///
    /// # Errors
    /// Every listener that cannot listen.
    pub fn sockets_for(&self, next: &Snapshot) -> Result<NewSockets, Faults> {
        self.sockets.prepare(next)
    }

    /// Targets of the log for a generation: those that stay, and new ones. Without them nothing has changed.
    ///
    /// # Errors
    /// A target that cannot be opened.
    pub fn logs_for(&self, next: &Snapshot) -> Result<Prepared, Faults> {
        log::prepare(&next.log.to, self.state_directory.as_deref()).map_err(Faults::from)
    }

    /// Ended sessions are kept in the file that this configuration names.
    ///
    /// # Errors
    /// It cannot be read or written, and nothing has changed.
    pub fn keep_revocations(&self, config: &Config) -> Result<(), Error> {
        keep_revocations(&self.shared.state, config, Past::Stays)
    }

    /// Makes a generation live, with its sockets and logs: the one that was live. Nothing of this can fail.
    pub fn switch(&self, next: &Arc<Snapshot>, (sockets, logs): (NewSockets, Prepared), cause: Cause) -> Arc<Snapshot> {
        self.sockets.commit(sockets);
        self.shared.desk.records.follow(&next.log);
        logs.commit();
        let live = self.shared.live.swap(self.shared.state.follow(next, cause));
        self.threads.follow(next.generation);
        live.snapshot.clone()
    }

    /// Forgets compiled components that are not in use.
    pub fn keep_compiled(&self, is_in_use: impl Fn(&str) -> bool) {
        self.compiler.keep_only(is_in_use);
    }

    /// What compiles components.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where it listens: name, bound address, and whether with TLS.
    pub fn listening(&self) -> Vec<ListensAt> {
        let (snapshot, live) = (self.shared.live.load(), self.sockets.live());
        let one = |(name, listener): (&String, &Arc<Listener>)| {
            let (configured, socket) = live.get(name)?;
            let (address, protocol) = (socket.address(configured), listener.config.protocol);
            // Where TLS begins on demand, the address is that of the plain protocol.
            let tls = listener.tls.is_some() && !listener.config.start_tls;
            Some(ListensAt { name: name.clone(), address, protocol, tls })
        };
        snapshot.listeners.iter().filter_map(one).collect()
    }

    /// Where the admin address is bound, where there is one.
    pub fn admin_address(&self) -> Option<String> {
        self.sockets.admin_address()
    }

    /// The socket of the admin address.
    pub fn admin_sockets(&self) -> AdminSockets {
        self.sockets.admin()
    }

    /// The folder for what lasts longer than the process.
    pub fn state_directory(&self) -> Option<&Path> {
        self.state_directory.as_deref()
    }

    /// How many workers accept, and how many only serve the connections that they have.
    pub fn workers(&self) -> (usize, usize) {
        self.threads.counts()
    }

    /// Whether it takes connections: no other process does in its place, and it was not told to end.
    pub fn is_accepting(&self) -> bool {
        self.threads.are_accepting() && !self.shared.state.is_draining()
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
    /// From then on it alone accepts; this one is to retire. It may be stopped until the new one was told to go.
    ///
    /// # Errors
    /// It does not come up, and nothing has changed.
    pub fn upgrade(&self, program: &Path, stop: &Stop) -> Result<u32, Error> {
        let io =
            |source| Error::Io { what: "the new process does not serve, the old one serves on".to_owned(), source };
        let (handed, link) = (self.sockets.hand_over().map_err(io)?, self.shared.state.revoked.link().map_err(io)?);
        let (process, version) = upgrade::start(program, &handed, link, stop, upgrade::PATIENCE).map_err(io)?;
        self.sockets.leave();
        let from = env!("CARGO_PKG_VERSION");
        tracing::info!(process, from, to = version, "another process serves, this one retires");
        Ok(process)
    }

    /// Stops accepting, and serves connections on until they close; after the drain timeout, they are told to. True when
    /// all did.
    pub fn retire(&self) -> bool {
        // The new process is this door from now on.
        self.shared.state.cluster.leave();
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
        self.shared.state.exporter.flush(FLUSH);
        self.shared.desk.records.flush(FLUSH);
        log::flush(FLUSH);
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
