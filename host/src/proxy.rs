//! The control plane's verbs: start, reload, drain. Wires sockets to workers, and swaps Snapshots.
//!
//! Invariants: a Snapshot goes live whole or not at all; a socket that stays in the configuration is never closed.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use crate::config::{Collector, Config, Faults};
use crate::front;
use crate::log::access::Log;
use crate::policy::{Compiler, Desk, Policy};
use crate::session::Keys;
use crate::snapshot::{Materials, Snapshot};
use crate::state::{Shared, State};
use crate::worker::Worker;

/// A worker's stack: room for a guest's 512 KiB and for our own frames.
const STACK: usize = 4 << 20;
/// Connections that the kernel keeps waiting for accept.
const BACKLOG: i32 = 4096;

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    compiler: Compiler,
    keys: Keys,
    sockets: Arc<Mutex<Sockets>>,
    generation: watch::Sender<u64>,
    drain: watch::Sender<bool>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    history: Mutex<History>,
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

/// Listening sockets by the listener's name, with the address asked for (whose port may be 0).
type Sockets = HashMap<String, (SocketAddr, TcpListener)>;

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

impl Proxy {
    /// Starts sockets and workers for a configuration.
    ///
    /// # Errors
    /// Nothing runs then.
    pub fn start(config: &Config) -> Result<Self, Error> {
        let state = config.state_directory.as_deref();
        let compiler = Compiler::start(state).map_err(|error| Error::Engine(format!("{error:#}")))?;
        let keys = Keys::random();
        let desk = Desk::start(&config.log, state)
            .map_err(|source| Error::Io { what: "the decision log cannot be opened".to_owned(), source })?;
        let materials = Materials {
            compiler: &compiler,
            keys: &keys,
            previous: None,
            generation: 1,
            quarantine: Some(&desk.quarantine),
            trial: false,
        };
        let snapshot = Snapshot::build(config, &materials)?;
        snapshot.policies.all().iter().for_each(|policy| policy.goes_live());
        let sockets = bind(&snapshot, &Sockets::new())?;
        let log = Log::start(&config.log.access)
            .map_err(|source| Error::Io { what: "the access log cannot be opened".to_owned(), source })?;
        let snapshot = ArcSwap::from_pointee(snapshot);
        let shared = Shared { snapshot, state: State::default(), log, desk, seen: Mutex::default() };
        let proxy = Self {
            shared: Arc::new(shared),
            compiler,
            keys,
            sockets: Arc::new(Mutex::new(sockets)),
            generation: watch::Sender::new(1),
            drain: watch::Sender::new(false),
            workers: Mutex::default(),
            history: Mutex::new(History { last: 1, past: VecDeque::new() }),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..cores.clamp(config.threads.min, config.threads.max) {
            proxy.start_worker(number)?;
        }
        Ok(proxy)
    }

    /// One more worker. It finds the sockets and the Snapshot by itself, so workers may come at any time.
    fn start_worker(&self, number: usize) -> Result<(), Error> {
        let (shared, sockets) = (self.shared.clone(), self.sockets.clone());
        let (generation, drain) = (self.generation.subscribe(), self.drain.subscribe());
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).stack_size(STACK).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => LocalSet::new().block_on(&runtime, work(shared, sockets, generation, drain)),
                Err(error) => tracing::error!(%error, "a worker cannot start"),
            }
        });
        let thread = thread.map_err(|source| Error::Io { what: "no thread for a worker".to_owned(), source })?;
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
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
            previous: Some(&previous),
            generation: self.history().last + 1,
            quarantine: Some(&self.shared.desk.quarantine),
            trial: false,
        };
        let next = Snapshot::build(config, &materials).inspect_err(|_| self.forget_unused(&self.history()))?;
        let built = Instant::now();
        let generation = next.generation;
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
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        *sockets = bind(&next, &sockets)?;
        drop(sockets);
        next.policies.all().iter().for_each(|policy| policy.goes_live());
        let live = self.shared.snapshot.swap(next.clone());
        history.last = history.last.max(next.generation);
        history.past.retain(|past| past.generation != next.generation && past.generation != live.generation);
        history.past.push_back(live);
        while history.past.len() > GENERATIONS {
            history.past.pop_front();
        }
        self.forget_unused(&history);
        self.generation.send_replace(next.generation);
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
    pub fn listening(&self) -> Vec<(String, SocketAddr, bool)> {
        let (snapshot, sockets) = (self.shared.snapshot.load(), self.sockets.lock());
        let sockets = sockets.unwrap_or_else(PoisonError::into_inner);
        let address = |name: &str| sockets.get(name).and_then(|(_, socket)| socket.local_addr().ok());
        let listeners = snapshot.listeners.iter();
        listeners.filter_map(|(name, one)| Some((name.clone(), address(name)?, one.tls.is_some()))).collect()
    }

    /// The live generation.
    pub fn generation(&self) -> u64 {
        self.shared.snapshot.load().generation
    }

    /// Stops accepting and lets every request finish, until the drain deadline. True when all of them did.
    pub fn drain(&self) -> bool {
        let timeout = self.shared.snapshot.load().drain_timeout;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.drain.send_replace(true);
        let (done, all_done) = std::sync::mpsc::channel();
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::spawn(move || {
            let clean = workers.into_iter().all(|worker| worker.join().is_ok());
            let _ = done.send(clean);
        });
        let clean = all_done.recv_timeout(timeout).unwrap_or(false);
        self.shared.log.flush();
        clean
    }
}

/// Sockets for every listener: those that stay are kept, new ones are bound.
fn bind(next: &Snapshot, current: &Sockets) -> Result<Sockets, Faults> {
    let faults = Collector::default();
    let mut sockets = Sockets::new();
    for listener in next.listeners.values().map(|listener| &listener.config) {
        let address = listener.address;
        // By name first; a listener that only got another name keeps its socket too.
        let by_name = current.get(&listener.name).filter(|(of, _)| *of == address);
        let by_address = || current.values().find(|(of, _)| *of == address && address.port() != 0);
        let kept = by_name.or_else(by_address).and_then(|(_, socket)| socket.try_clone().ok());
        let socket = kept.map_or_else(|| open(address), Ok).map_err(|error| {
            listener.place.key("address").fault(format!("{address}: {error}"), "an address that is free here").into()
        });
        if let Some(socket) = faults.keep(socket) {
            sockets.insert(listener.name.clone(), (address, socket));
        }
    }
    faults.finish().map(|()| sockets)
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The life of a worker: serve the listeners of the Snapshot, follow its changes, and drain at the end.
async fn work(
    shared: Arc<Shared>,
    sockets: Arc<Mutex<Sockets>>,
    mut generation: watch::Receiver<u64>,
    mut drain: watch::Receiver<bool>,
) {
    let worker = Rc::new(Worker::new(shared));
    worker.snapshot();
    let mut serving: HashMap<String, (SocketAddr, watch::Sender<bool>)> = HashMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    while !*drain.borrow() {
        let wanted: Vec<(String, SocketAddr, Option<TcpListener>)> = {
            let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let one = |(name, (address, socket)): (&String, &(SocketAddr, TcpListener))| {
                let new = serving.get(name).is_none_or(|(of, _)| of != address);
                (name.clone(), *address, new.then(|| socket.try_clone().ok()).flatten())
            };
            sockets.iter().map(one).collect()
        };
        // A listener that went, or moved: its accept loop ends, and its connections finish what they do.
        serving.retain(|name, (of, _)| wanted.iter().any(|(wanted, address, _)| wanted == name && address == of));
        for (name, address, socket) in wanted {
            let Some(socket) = socket.and_then(|socket| tokio::net::TcpListener::from_std(socket).ok()) else {
                continue;
            };
            let stop = watch::Sender::new(false);
            tasks.spawn_local(front::serve(worker.clone(), name.clone(), socket, stop.subscribe()));
            serving.insert(name, (address, stop));
        }
        tokio::select! {
            _ = generation.changed() => { worker.snapshot(); }
            _ = drain.changed() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(serving);
    while tasks.join_next().await.is_some() {}
    // What nobody waits for any more: connections to nodes and directory.
    spawn_local(async {}).await.ok();
}
