//! The loop: takes commands, does one after the other, and hears signals meanwhile.
//!
//! What may take long (a build, an upgrade) is done on another thread, one at a time; reloads and upgrades wait for it. A
//! rollback does not: it supersedes what is under way and what waits. What changes no generation (revocations, say) is
//! done at once.

mod failing;
mod rollback;
mod upgrade;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet, LocalSet, spawn_blocking, spawn_local};
use tokio::time::Interval;

use self::rollback::RollBack;
use self::upgrade::{Upgrade, upgrade_is_under_way};
use super::build::{Built, Next, build};
use super::signals::{Order, Signals};
use super::{
    Answer, COMMANDS, Command, Generations, Handle, Outcome, Reloaded, Source, Started, background, state, systemd,
};
use crate::directory::Shrink;
use crate::log;
use crate::policy::Policy;
use crate::proxy::Error;
use crate::snapshot::Snapshot;
use crate::state::Cause;
use crate::watch::Watch;

/// How often it is looked whether what is live went well.
const LOOK: Duration = Duration::from_secs(2);

/// What was done instead.
const ROLLBACK: &str = "a rollback";

/// The control plane's own runtime, and the signals it hears. Made before anything is announced: whoever reads the
/// announcement may send one at once, and one that nobody hears ends the process.
pub struct Control {
    runtime: Runtime,
    /// What an upgrade starts: the file that this program was started from, whatever is in it then.
    program: Option<PathBuf>,
    signals: Signals,
}

impl Control {
    /// Hears all signals but those that stop.
    ///
    /// # Errors
    /// The machine has no thread, or no signal for it.
    pub fn start(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let signals = Signals::hear()?;
        drop(entered);
        Ok(Self { runtime, program, signals })
    }

    /// Hears those that stop, too.
    ///
    /// # Errors
    /// The machine has no signal for it.
    pub fn hear_stop(&mut self) -> anyhow::Result<()> {
        let _entered = self.runtime.enter();
        Ok(self.signals.hear_stop()?)
    }

    /// Runs the loop until the process is told to end, and drains it then; after an upgrade it retires, which the same
    /// signals cut short. `beside` gets what sends commands, and what it gives is kept as long.
    pub fn run<T>(self, started: Started, watch: Watch, source: Source, beside: impl FnOnce(Handle) -> T) -> ExitCode {
        let config = started.config.clone();
        let generations = Arc::new(Generations::of(started));
        let Self { runtime, program, signals } = self;
        let (sender, commands) = mpsc::channel(COMMANDS);
        let beside = beside(Handle {
            generations: generations.clone(),
            source: Arc::new(source.clone()),
            commands: sender.clone(),
        });
        generations.proxy().serves();
        systemd::ready();
        let retired = LocalSet::new().block_on(&runtime, async {
            // It keeps a sender, so that `commands` is never closed.
            let background = spawn_local(background::run(generations.clone(), sender));
            let keeping = generations.clone();
            spawn_blocking(move || keeping.keep(&config));
            let mut task = Task {
                generations: generations.clone(),
                watch,
                signals,
                commands,
                source,
                program,
                work: Work::None,
                waiting: VecDeque::new(),
                assessments: JoinSet::new(),
                look: tokio::time::interval(LOOK),
            };
            let end = task.run().await;
            background.abort();
            match end {
                End::Stop => systemd::stopping(),
                End::Upgraded => return task.retire().await,
            }
            false
        });
        if !retired {
            tracing::info!("draining");
            if !generations.proxy().drain() {
                tracing::warn!("not every request came to its end before the drain deadline");
            }
        }
        drop(beside);
        // A reload may still be compiling; nobody waits for it.
        runtime.shutdown_background();
        ExitCode::SUCCESS
    }
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was told to.
    Stop,
    /// Another process serves.
    Upgraded,
}

struct Task {
    generations: Arc<Generations>,
    watch: Watch,
    signals: Signals,
    commands: mpsc::Receiver<Command>,
    source: Source,
    program: Option<PathBuf>,
    /// What is under way.
    work: Work,
    /// What waits until that is done: one reload at most, and one upgrade.
    waiting: VecDeque<Waiting>,
    /// Policies that are asked whether they fail for nobody in particular.
    assessments: JoinSet<(Arc<Policy>, bool)>,
    /// When it is looked whether what is live went well.
    look: Interval,
}

/// What takes long. One at a time is under way.
enum Work {
    None,
    Reload(Reload),
    RollBack(RollBack),
    Upgrade(Upgrade),
}

/// A reload that builds the next generation.
struct Reload {
    job: JoinHandle<Built>,
    answers: Vec<Answer<Outcome>>,
    /// It was rolled back meanwhile: what is built does not go live.
    superseded: bool,
    /// Policies that went bad meanwhile: nothing with one of them goes live.
    bad: Vec<Arc<Policy>>,
}

/// What waits for its turn.
enum Waiting {
    /// One for all who asked.
    Reload(Shrink, Vec<Answer<Outcome>>),
    /// To a generation that is kept on disk.
    RollBack(u64, Answer<Result<u64, Error>>),
    Upgrade(Option<Answer<Result<u32, Error>>>),
}

/// What the loop hears.
enum Event {
    Signal(Order),
    Command(Command),
    FilesChanged,
    Built(Result<Built, JoinError>),
    Upgraded(Result<Result<u32, Error>, JoinError>),
    Assessed(Arc<Policy>, bool),
    KeptBuilt(Result<Result<Arc<Snapshot>, Error>, JoinError>),
    Look,
}

impl Work {
    /// Waits for its end.
    async fn end(&mut self) -> Event {
        match self {
            Self::None => std::future::pending().await,
            Self::Reload(reload) => Event::Built((&mut reload.job).await),
            Self::RollBack(rollback) => Event::KeptBuilt((&mut rollback.job).await),
            Self::Upgrade(upgrade) => Event::Upgraded((&mut upgrade.job).await),
        }
    }
}

impl Task {
    async fn run(&mut self) -> End {
        loop {
            self.begin_next();
            let end = match self.event().await {
                Event::Signal(Order::Stop) => self.stop(),
                Event::Signal(Order::Reload) | Event::FilesChanged => self.want_reload(Shrink::Refused, None),
                Event::Signal(Order::Upgrade) => self.want_upgrade(None),
                Event::Signal(Order::Reopen) => self.reopen_logs(),
                Event::Signal(Order::Nothing) => None,
                Event::Command(command) => self.command(command).await,
                Event::Built(built) => self.built(built).await,
                Event::Upgraded(upgraded) => self.upgraded(upgraded).await,
                Event::Assessed(policy, is_bad) => self.assessed(&policy, is_bad).await,
                Event::KeptBuilt(built) => self.kept_built(built).await,
                Event::Look => self.look(),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn event(&mut self) -> Event {
        tokio::select! {
            biased;
            order = self.signals.next() => Event::Signal(order),
            event = self.work.end() => event,
            Some(Ok((policy, is_bad))) = self.assessments.join_next() => Event::Assessed(policy, is_bad),
            Some(command) = self.commands.recv() => Event::Command(command),
            () = self.watch.changed() => Event::FilesChanged,
            _ = self.look.tick() => Event::Look,
        }
    }

    async fn command(&mut self, command: Command) -> Option<End> {
        match command {
            Command::Reload(shrink, answer) => self.want_reload(shrink, Some(answer)),
            Command::Upgrade(answer) => self.want_upgrade(Some(answer)),
            Command::RollBack(to, answer) => self.roll_back(to, answer).await,
            Command::PolicyFailed(policy) => self.assess(policy),
            Command::Revoke(..) | Command::Lift(..) | Command::PurgeRoutes(..) | Command::Drain(..) => {
                self.change_state(command)
            }
        }
    }

    /// What is done at once.
    fn change_state(&self, command: Command) -> Option<End> {
        match command {
            Command::Revoke(what, answer) => state::revoke(&self.generations, what, answer),
            Command::Lift(digest, answer) => state::lift(&self.generations, digest, answer),
            Command::Drain(backend, time, answer) => state::drain(&self.generations, &backend, time, answer),
            Command::PurgeRoutes(user, answer) => state::purge_routes(&self.generations, user.as_deref(), answer),
            // Who asks for another generation when there will be none hears that this process ends.
            Command::Reload(..) | Command::RollBack(..) | Command::PolicyFailed(_) | Command::Upgrade(_) => {}
        }
        None
    }

    fn reopen_logs(&self) -> Option<End> {
        self.generations.proxy().shared().reopen_logs();
        None
    }

    /// Told to end. An upgrade that is under way ends first, unless the new process was told to serve already.
    fn stop(&mut self) -> Option<End> {
        let Work::Upgrade(upgrade) = &mut self.work else { return Some(End::Stop) };
        upgrade.ends = true;
        upgrade.stop.stop();
        None
    }

    /// A reload, when its turn comes. One that waits already is for all who ask.
    fn want_reload(&mut self, shrink: Shrink, answer: Option<Answer<Outcome>>) -> Option<End> {
        if matches!(self.work, Work::Upgrade(_))
            && let Some(answer) = answer
        {
            let _ = answer.send(Err(Arc::new(upgrade_is_under_way())));
            return None;
        }
        let waits = self.waiting.iter_mut().find_map(|waiting| match waiting {
            Waiting::Reload(shrink, answers) => Some((shrink, answers)),
            Waiting::Upgrade(_) | Waiting::RollBack(..) => None,
        });
        match waits {
            Some((waits, answers)) => {
                if shrink == Shrink::Accepted {
                    *waits = shrink;
                }
                answers.extend(answer);
            }
            None => self.waiting.push_back(Waiting::Reload(shrink, answer.into_iter().collect())),
        }
        None
    }

    /// Begins what has waited, when nothing is under way.
    fn begin_next(&mut self) {
        while matches!(self.work, Work::None) {
            match self.waiting.pop_front() {
                None => return,
                Some(Waiting::Reload(shrink, answers)) => self.begin_reload(shrink, answers),
                Some(Waiting::RollBack(to, answer)) => self.begin_rollback(to, answer),
                Some(Waiting::Upgrade(answer)) => self.begin_upgrade(answer),
            }
        }
    }

    fn begin_reload(&mut self, shrink: Shrink, answers: Vec<Answer<Outcome>>) {
        // What was seen to change is marked already; who asks wants it all read now.
        self.watch.mark();
        systemd::reloading();
        let (generations, source) = (self.generations.clone(), self.source.clone());
        let job = spawn_blocking(move || build(&generations, &source, shrink));
        self.work = Work::Reload(Reload { job, answers, superseded: false, bad: Vec::new() });
    }

    async fn built(&mut self, built: Result<Built, JoinError>) -> Option<End> {
        let Work::Reload(reload) = std::mem::replace(&mut self.work, Work::None) else { return None };
        let Built { files, seen, made, next } = match built {
            Ok(built) => built,
            Err(error) => {
                tracing::error!(%error, "a reload came to no end");
                systemd::ready();
                return None;
            }
        };
        // Key files that were made are watched when it is live: with a refusal they go again.
        let lasting = files.iter().filter(|file| !made.contains(file)).cloned().collect();
        self.watch.follow_since(lasting, seen);
        if reload.superseded {
            drop(next);
            self.generations.forget_unused();
            tracing::info!("what a superseded reload built is dropped");
            return None;
        }
        let reloaded = match next {
            Err(error) => Err(error),
            Ok(None) => {
                let generation = self.generations.generation();
                Ok(Reloaded { generation, changed: false, changes: Vec::new() })
            }
            Ok(Some(next)) => match self.commit(next, &reload.bad).await {
                Some(reloaded) => reloaded,
                None => return Some(End::Stop),
            },
        };
        if reloaded.is_ok() {
            self.watch.follow_only(files);
        }
        self.generations.note_reload(reloaded.as_ref().err());
        if let Err(error) = &reloaded {
            let generation = self.generations.generation();
            tracing::error!(generation, "refused, the old generation serves on:\n{error}");
        }
        let reloaded = reloaded.map_err(Arc::new);
        reload.answers.into_iter().for_each(|answer| _ = answer.send(reloaded.clone()));
        systemd::ready();
        None
    }

    /// A generation that was built goes live, if it still may; none when the process was told to end.
    async fn commit(&mut self, next: Box<Next>, bad: &[Arc<Policy>]) -> Option<Result<Reloaded, Error>> {
        if bad.iter().any(|policy| next.snapshot.policies.has(policy)) {
            return Some(Err(Error::Superseded("the rollback of a policy that went bad")));
        }
        let generations = self.generations.clone();
        // What is superseded by a reload without having failed went well.
        let (before, went_well) = (generations.generation(), generations.is_doing_well());
        self.at_once(move || {
            let earlier = generations.proxy().shared().live.load_full();
            let changes = next.snapshot.contents.changes_since(&earlier.contents);
            let began = Instant::now();
            generations.go_live(next.snapshot.clone(), "reload", Cause::Operator, Some(&next.config))?;
            let generation = next.snapshot.generation;
            log::warnings(&next.snapshot.warnings);
            let us = began.elapsed().as_micros();
            tracing::info!(generation, us, changed = changes.join(", "), "reloaded");
            generations.note_reload(None);
            let config = next.keep();
            let keep = move || {
                if went_well {
                    generations.store().note_went_well(before);
                }
                generations.keep(&config);
            };
            // Nobody waits for the disk.
            spawn_blocking(keep);
            Ok(Reloaded { generation, changed: true, changes })
        })
        .await
    }

    /// Does what takes no longer than a disk takes, before anything else is heard but signals that stop: none then.
    async fn at_once<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        tokio::select! {
            () = self.signals.stop() => None,
            done = spawn_blocking(work) => Some(done.unwrap_or_else(|error| Err(no_end(error)))),
        }
    }

    fn look(&self) -> Option<End> {
        let generations = self.generations.clone();
        spawn_blocking(move || generations.note_if_it_went_well());
        None
    }
}

fn no_end(error: JoinError) -> Error {
    Error::Io { what: "it came to no end".to_owned(), source: std::io::Error::other(error) }
}
