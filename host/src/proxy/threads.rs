//! Worker threads: one runtime each, all accepting from the same sockets; more of them under load, fewer without.
//!
//! Invariants: between `min` and `max` workers accept; one that retires drops no connection.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::sockets::Sockets;
use crate::config;
use crate::door::{self, Phase};
use crate::state::Shared;
use crate::worker::Worker;

/// A worker's stack: room for a guest's 512 KiB and for our own frames.
const STACK: usize = 4 << 20;
/// How long dropping all that has not finished may take: milliseconds, on a machine that has time for it.
const DROPPING: Duration = Duration::from_secs(5);
/// How often it is looked at how busy workers are.
const LOOK: Duration = Duration::from_millis(250);
/// All workers busier than this for a while: one more. The rest of the time is theirs to answer bursts with.
const BUSY: f64 = 0.75;
/// All workers together less busy than this for a while, and the others could do the work: one fewer.
const IDLE: f64 = 0.2;

/// The workers of a process.
pub(super) struct Threads {
    shared: Arc<Shared>,
    sockets: Arc<Sockets>,
    bounds: config::Threads,
    generation: watch::Sender<u64>,
    /// What all workers do.
    phase: watch::Sender<Phase>,
    workers: Mutex<Vec<Thread>>,
}

/// One of them.
struct Thread {
    handle: JoinHandle<()>,
    retire: watch::Sender<bool>,
    metrics: RuntimeMetrics,
    /// The busy time at the last look.
    busy: Duration,
}

impl Threads {
    /// Starts as many workers as the machine has cores, within the bounds, and the thread that watches them.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        shared: Arc<Shared>,
        sockets: Arc<Sockets>,
        bounds: config::Threads,
        phase: Phase,
    ) -> std::io::Result<Arc<Self>> {
        let threads = Arc::new(Self {
            shared,
            sockets,
            bounds,
            generation: watch::Sender::new(1),
            phase: watch::Sender::new(phase),
            workers: Mutex::default(),
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.clamp(bounds.min, bounds.max) {
            threads.start_worker(&mut threads.workers())?;
        }
        if bounds.min < bounds.max {
            let watched = Arc::downgrade(&threads);
            std::thread::Builder::new().name("threads".to_owned()).spawn(move || {
                let mut trend = Trend::default();
                loop {
                    std::thread::sleep(LOOK);
                    let Some(threads) = watched.upgrade() else { return };
                    if *threads.phase.borrow() > Phase::Accepting {
                        return;
                    }
                    threads.look(&mut trend);
                }
            })?;
        }
        Ok(threads)
    }

    /// Takes connections from now on.
    pub(super) fn accept(&self) {
        self.phase.send_if_modified(|phase| {
            let waits = *phase == Phase::Waiting;
            *phase = if waits { Phase::Accepting } else { *phase };
            waits
        });
    }

    /// Whether they take connections.
    pub(super) fn are_accepting(&self) -> bool {
        *self.phase.borrow() == Phase::Accepting
    }

    /// Tells workers that there is another generation.
    pub(super) fn follow(&self, generation: u64) {
        self.generation.send_replace(generation);
    }

    /// How many workers accept, and how many only serve the connections that they have.
    pub(super) fn counts(&self) -> (usize, usize) {
        let workers = self.workers();
        let retiring = workers.iter().filter(|one| *one.retire.borrow() && !one.handle.is_finished()).count();
        (workers.iter().filter(|one| !*one.retire.borrow()).count(), retiring)
    }

    /// Takes no new connections; true when those that there are have ended, in time.
    pub(super) fn retire(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        self.phase.send_replace(Phase::Retiring);
        loop {
            let ended = self.workers().iter().all(|worker| worker.handle.is_finished());
            if ended || Instant::now() >= end {
                return ended;
            }
            std::thread::sleep(LOOK.min(timeout));
        }
    }

    /// Tells all connections to finish; true when all of them did, in time. Those that did not are dropped, so that each
    /// request has its access line.
    pub(super) fn drain(&self, timeout: Duration) -> bool {
        let workers = {
            let mut workers = self.workers();
            self.phase.send_replace(Phase::Draining);
            std::mem::take(&mut *workers)
        };
        let (done, all_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let clean = workers.into_iter().all(|worker| worker.handle.join().is_ok());
            let _ = done.send(clean);
        });
        if let Ok(clean) = all_done.recv_timeout(timeout) {
            return clean;
        }
        self.shared.state.give_up();
        self.phase.send_replace(Phase::Ended);
        // A worker that is in a guest's hands comes back within that guest's time.
        let _ = all_done.recv_timeout(DROPPING);
        false
    }

    /// One more worker. It finds the sockets and the Snapshot by itself, so workers may come at any time.
    fn start_worker(&self, workers: &mut Vec<Thread>) -> std::io::Result<()> {
        let (shared, sockets) = (self.shared.clone(), self.sockets.clone());
        let (generation, phase) = (self.generation.subscribe(), self.phase.subscribe());
        let retire = watch::Sender::new(false);
        let retired = retire.subscribe();
        let (telling, told) = std::sync::mpsc::channel();
        let name = format!("worker-{}", workers.len());
        let handle = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let _ =
                telling.send(runtime.as_ref().map(|runtime| runtime.handle().metrics()).map_err(ToString::to_string));
            if let Ok(runtime) = runtime {
                runtime.block_on(work(shared, sockets, generation, phase, retired));
                // A password hash that is under way keeps nobody.
                runtime.shutdown_background();
            }
        })?;
        let metrics = told.recv().unwrap_or_else(|gone| Err(gone.to_string())).map_err(std::io::Error::other)?;
        workers.push(Thread { handle, retire, metrics, busy: Duration::ZERO });
        Ok(())
    }

    /// Looks how busy the workers were since the last look, and starts or retires one when it has been so for long.
    fn look(&self, trend: &mut Trend) {
        let mut workers = self.workers();
        if *self.phase.borrow() != Phase::Accepting {
            return;
        }
        workers.retain(|one| !one.handle.is_finished());
        let now = Instant::now();
        let passed = trend.looked.replace(now).map_or(LOOK, |looked| now - looked).as_secs_f64();
        let mut shares = Vec::new();
        for one in workers.iter_mut() {
            let busy = one.metrics.worker_total_busy_duration(0);
            let share = busy.saturating_sub(one.busy).as_secs_f64() / passed;
            one.busy = busy;
            if !*one.retire.borrow() {
                shares.push(share);
            }
        }
        match trend.says(&shares, now, &self.bounds) {
            Change::None => {}
            Change::Grow => match self.start_worker(&mut workers) {
                Ok(()) => tracing::info!(workers = shares.len() + 1, "all workers are busy: one more"),
                Err(error) => tracing::warn!(%error, "no thread for a worker"),
            },
            Change::Shrink => {
                if let Some(newest) = workers.iter().rev().find(|one| !*one.retire.borrow()) {
                    newest.retire.send_replace(true);
                    tracing::info!(workers = shares.len() - 1, "workers are idle: one fewer");
                }
            }
        }
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when all have been busy, or idle.
#[derive(Default)]
struct Trend {
    looked: Option<Instant>,
    busy_since: Option<Instant>,
    idle_since: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    None,
    Grow,
    Shrink,
}

impl Trend {
    /// What to do, given each worker's busy share. After a change the time counts anew.
    fn says(&mut self, shares: &[f64], now: Instant, bounds: &config::Threads) -> Change {
        let since = |is: bool, since: Option<Instant>| is.then(|| since.unwrap_or(now));
        let workers = shares.len();
        let mean = shares.iter().sum::<f64>() / f64::from(u32::try_from(workers.max(1)).unwrap_or(u32::MAX));
        self.busy_since = since(shares.iter().all(|share| *share > BUSY), self.busy_since);
        self.idle_since = since(mean < IDLE, self.idle_since);
        let for_long = |since: Option<Instant>, long: Duration| since.is_some_and(|since| now - since >= long);
        let change = if workers < bounds.max && for_long(self.busy_since, bounds.grow_after) {
            Change::Grow
        } else if workers > bounds.min && for_long(self.idle_since, bounds.shrink_after) {
            Change::Shrink
        } else {
            return Change::None;
        };
        (self.busy_since, self.idle_since) = (None, None);
        change
    }
}

/// The life of a worker: serve the listeners of the Snapshot, follow its changes, and retire or drain at the end.
async fn work(
    shared: Arc<Shared>,
    sockets: Arc<Sockets>,
    mut generation: watch::Receiver<u64>,
    mut phase: watch::Receiver<Phase>,
    mut retire: watch::Receiver<bool>,
) {
    let worker = Rc::new(Worker::new(shared));
    worker.live();
    let mut serving: HashMap<String, (config::Address, watch::Sender<Phase>)> = HashMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    while *phase.borrow() < Phase::Draining {
        let retiring = *retire.borrow() || *phase.borrow() == Phase::Retiring;
        let waiting = *phase.borrow() == Phase::Waiting;
        let wanted: Vec<(String, config::Address, Option<door::Listening>)> = {
            let live = sockets.live();
            let wanted = live.iter().map(|(name, (address, socket))| {
                let new = !retiring && !waiting && serving.get(name).is_none_or(|(of, _)| of != address);
                let socket = new.then(|| socket.listening().ok()).flatten();
                (name.clone(), address.clone(), socket)
            });
            wanted.collect()
        };
        // A listener that went, or moved: its accept loop ends, and its connections finish what they do.
        serving.retain(|name, (of, _)| wanted.iter().any(|(wanted, address, _)| wanted == name && address == of));
        for (name, address, socket) in wanted {
            let Some(socket) = socket else { continue };
            let stop = watch::Sender::new(Phase::Accepting);
            tasks.spawn_local(door::serve(worker.clone(), name.clone(), socket, stop.subscribe()));
            serving.insert(name, (address, stop));
        }
        if retiring {
            for (_, stop) in serving.values() {
                stop.send_replace(Phase::Retiring);
            }
            if tasks.is_empty() {
                return;
            }
        }
        tokio::select! {
            _ = generation.changed() => { worker.live(); }
            _ = phase.changed() => {}
            _ = retire.changed() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(serving);
    loop {
        tokio::select! {
            ended = tasks.join_next() => if ended.is_none() { break },
            // What is left goes with this runtime.
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => return,
        }
    }
    // What nobody waits for any more: connections to nodes and directory.
    spawn_local(async {}).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_come_when_all_are_busy_for_long_and_go_when_idle_for_long() {
        let bounds = config::Threads {
            min: 1,
            max: 2,
            grow_after: Duration::from_secs(2),
            shrink_after: Duration::from_secs(30),
        };
        let (mut trend, start) = (Trend::default(), Instant::now());
        let mut says = |after: u64, shares: &[f64]| trend.says(shares, start + Duration::from_secs(after), &bounds);
        assert_eq!(says(0, &[0.9]), Change::None);
        assert_eq!(says(1, &[0.5]), Change::None, "a pause");
        assert_eq!(says(2, &[0.9]), Change::None);
        assert_eq!(says(4, &[0.9]), Change::Grow);
        assert_eq!(says(5, &[0.9, 0.9]), Change::None);
        assert_eq!(says(9, &[0.9, 0.9]), Change::None, "there may be no more");
        assert_eq!(says(10, &[0.9, 0.1]), Change::None, "not all are busy");
        assert_eq!(says(20, &[0.1, 0.1]), Change::None);
        assert_eq!(says(50, &[0.3, 0.0]), Change::Shrink);
        assert_eq!(says(60, &[0.0]), Change::None);
        assert_eq!(says(99, &[0.0]), Change::None, "there may be no fewer");
    }
}
