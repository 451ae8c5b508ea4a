//! The control loop of a running front door: reloads, upgrades, signals, and the end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::signals::{Order, Signals};
use super::systemd;
use crate::admin::{Socket, Wish};
use crate::back::watch_over;
use crate::config::{self, Config, Faults};
use crate::demo::Demo;
use crate::directory::Shrink;
use crate::proxy::{Error, Proxy, Reloaded};
use crate::snapshot::load_at_rest;
use crate::watch::{Seen, Watch};

/// Where the configuration comes from.
#[derive(Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The demo's.
    Demo(Demo),
}

impl Source {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn load(&self) -> Result<Config, Faults> {
        match self {
            Self::File(path) => config::load(path),
            Self::Demo(demo) => demo.config(),
        }
    }

    /// The files that a configuration names which has faults: mending one of them may mend it.
    fn files_in_spite_of_faults(&self) -> Vec<PathBuf> {
        match self {
            Self::File(path) => config::load_anyway(path).map(|(config, _)| config.files()).unwrap_or_default(),
            Self::Demo(_) => Vec::new(),
        }
    }
}

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
    /// The machine has no signal for it.
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

    /// Reloads when a file changed, at SIGHUP and when asked to, heeds policies in trouble, and drains at Ctrl-C and
    /// SIGTERM. After an upgrade it retires, which the same signals cut short.
    ///
    /// # Errors
    /// None so far.
    pub fn follow(self, proxy: Proxy, watch: Watch, admin: Option<Socket>, source: Source) -> anyhow::Result<ExitCode> {
        let proxy = Arc::new(proxy);
        let Self { runtime, program, signals } = self;
        proxy.serves();
        systemd::ready();
        let retired = LocalSet::new().block_on(&runtime, async {
            let (asking, asked) = mpsc::channel(4);
            if let Some(socket) = admin {
                tokio::spawn(socket.serve(proxy.clone(), asking.clone()));
            }
            let beside = spawn_local(beside(proxy.clone()));
            // Kept, so that `asked` is never closed.
            let _asking = asking;
            let mut following = Following { proxy: proxy.clone(), watch, signals, asked, source, program };
            let end = following.run().await;
            beside.abort();
            match end {
                End::Stop => systemd::stopping(),
                End::Upgraded => return following.retire().await,
            }
            false
        });
        if !retired {
            tracing::info!("draining");
            if !proxy.drain() {
                tracing::warn!("not every request came to its end before the drain deadline");
            }
        }
        // A reload may still be compiling; nobody waits for it.
        runtime.shutdown_background();
        Ok(ExitCode::SUCCESS)
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

struct Following {
    proxy: Arc<Proxy>,
    watch: Watch,
    signals: Signals,
    asked: mpsc::Receiver<Wish>,
    source: Source,
    program: Option<PathBuf>,
}

impl Following {
    async fn run(&mut self) -> End {
        loop {
            let wish = tokio::select! {
                order = self.signals.next() => match order {
                    Order::Stop => return End::Stop,
                    Order::Reload => Wish::Reload(oneshot::channel().0, Shrink::Refused),
                    Order::Upgrade => Wish::Upgrade(oneshot::channel().0),
                    Order::Reopen => {
                        self.proxy.shared().reopen_logs();
                        continue;
                    }
                    Order::Nothing => continue,
                },
                Some(wish) = self.asked.recv() => wish,
                () = self.watch.changed() => Wish::Reload(oneshot::channel().0, Shrink::Refused),
            };
            let end = match wish {
                Wish::Upgrade(answer) => self.upgrade(answer).await,
                Wish::Reload(answer, shrink) => self.reload(answer, shrink).await,
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// One reload. Compiling a policy may take a while; signals that stop are heard all the same.
    async fn reload(&mut self, answer: oneshot::Sender<Result<Reloaded, Error>>, shrink: Shrink) -> Option<End> {
        // What was seen to change is marked already; who asks wants it all read now.
        self.watch.mark();
        systemd::reloading();
        let (proxy, source) = (self.proxy.clone(), self.source.clone());
        let reloading = tokio::task::spawn_blocking(move || reload(&proxy, &source, shrink));
        tokio::select! {
            () = self.signals.stop() => return Some(End::Stop),
            reloaded = reloading => match reloaded {
                Ok((files, seen, outcome)) => {
                    self.watch.follow_since(files.clone(), seen);
                    if outcome.is_ok() {
                        self.watch.follow_only(files);
                    }
                    let _ = answer.send(outcome);
                }
                Err(error) => tracing::error!(%error, "a reload came to no end"),
            },
        }
        systemd::ready();
        None
    }

    /// One upgrade. Who asks for something else meanwhile is told; the new process reads the files anyway.
    async fn upgrade(&mut self, answer: oneshot::Sender<Result<u32, Error>>) -> Option<End> {
        let Some(program) = self.program.clone() else {
            let source = std::io::Error::other("it has nodes of its own");
            let _ = answer.send(Err(Error::Io { what: "a demo is not upgraded".to_owned(), source }));
            return None;
        };
        let (proxy, mut stopped) = (self.proxy.clone(), false);
        let mut upgrading = tokio::task::spawn_blocking(move || proxy.upgrade(&program));
        let outcome = loop {
            tokio::select! {
                () = self.signals.stop(), if !stopped => {
                    stopped = true;
                    self.proxy.stop_upgrade();
                }
                Some(wish) = self.asked.recv() => refuse(wish),
                outcome = &mut upgrading => break outcome,
            }
        };
        let outcome = outcome.unwrap_or_else(|error| {
            let what = "an upgrade came to no end".to_owned();
            Err(Error::Io { what, source: std::io::Error::other(error) })
        });
        let end = match &outcome {
            // Who told this process to end meant the front door: it had already let go of it.
            Ok(process) if stopped => {
                tracing::warn!(process, "told to end during an upgrade: the new process is told, too");
                let process = i32::try_from(*process).ok().and_then(Pid::from_raw);
                let _ = process.map(|process| kill_process(process, Signal::TERM));
                Some(End::Stop)
            }
            Ok(process) => {
                systemd::replaced_by(*process);
                Some(End::Upgraded)
            }
            Err(error) => {
                let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
                tracing::error!(why, "the new process does not serve, the old one serves on");
                stopped.then_some(End::Stop)
            }
        };
        let _ = answer.send(outcome);
        end
    }

    /// Serves the connections that there are; true when they have ended.
    async fn retire(mut self) -> bool {
        let proxy = self.proxy.clone();
        let retiring = tokio::task::spawn_blocking(move || proxy.retire());
        tokio::select! {
            () = self.signals.stop() => false,
            _ = retiring => true,
        }
    }
}

fn refuse(wish: Wish) {
    let busy = || Error::Busy("an upgrade is under way; it is over within a minute, or goes on compiling policies");
    match wish {
        Wish::Reload(answer, _) => drop(answer.send(Err(busy()))),
        Wish::Upgrade(answer) => drop(answer.send(Err(busy()))),
    }
}

/// How often it is looked whether files that Doorward keeps are as it left them.
const LOOK: Duration = Duration::from_secs(2);

/// What goes on beside reloads: policies in trouble are heeded, nodes are probed, and files are looked after.
async fn beside(proxy: Arc<Proxy>) {
    let shared = proxy.shared().clone();
    let nodes = watch_over(move || shared.live.load().nodes().to_vec());
    tokio::join!(heed(proxy.clone()), nodes, look_after_files(proxy));
}

async fn look_after_files(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let proxy = proxy.clone();
        // A disk may take its time.
        let _ = tokio::task::spawn_blocking(move || proxy.look_after_files()).await;
    }
}

/// Heeds policies whose breakers open.
async fn heed(proxy: Arc<Proxy>) {
    loop {
        for policy in proxy.shared().desk.troubles().await {
            let proxy = proxy.clone();
            // It asks a guest and writes files, which take their time, and signals are heard meanwhile.
            let heeding = tokio::task::spawn_blocking(move || proxy.heed(&policy));
            if let Err(error) = heeding.await {
                tracing::error!(%error, "a policy in trouble is not heeded");
            }
        }
    }
}

/// One reload: the files that the new configuration names, how they were before they were read, and what came of it.
fn reload(proxy: &Proxy, source: &Source, shrink: Shrink) -> (Vec<PathBuf>, Seen, Result<Reloaded, Error>) {
    // Known before they are read, so that one which is mended right behind the reading is seen to have changed.
    let named = source.files_in_spite_of_faults();
    let seen = Watch::seen_of(&named);
    let (files, outcome) = match load_at_rest(|| source.load()) {
        Ok((config, fingerprint)) => (config.files(), proxy.reload(&config, (fingerprint, shrink))),
        Err(faults) => (named, Err(faults.into())),
    };
    proxy.note_reload(&outcome);
    if let Err(error) = &outcome {
        tracing::error!(generation = proxy.generation(), "refused, the old generation serves on:\n{error}");
    }
    (files, seen, outcome)
}
