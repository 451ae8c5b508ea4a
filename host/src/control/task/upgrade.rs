//! Upgrades: another process comes up, and this one retires.

use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::rollback::Deferred;
use super::{Answer, End, Order, ROLLBACK, Task, Waiting, Work, no_end};
use crate::control::systemd;
use crate::proxy::{Error, Stop};

/// An upgrade whose new process comes up.
pub(super) struct Upgrade {
    pub(super) job: JoinHandle<Result<u32, Error>>,
    answer: Option<Answer<Result<u32, Error>>>,
    pub(super) stop: Arc<Stop>,
    /// This process was told to end.
    pub(super) ends: bool,
    /// Rollbacks that are done when it has stopped for them.
    pub(super) rollbacks: Vec<Deferred>,
}

impl Task {
    /// An upgrade, when its turn comes, if there is no other.
    pub(super) fn want_upgrade(&mut self, answer: Option<Answer<Result<u32, Error>>>) -> Option<End> {
        let waits = self.waiting.iter().any(|waiting| matches!(waiting, Waiting::Upgrade(_)));
        if waits || matches!(self.work, Work::Upgrade(_)) {
            let _ = answer.map(|answer| answer.send(Err(upgrade_is_under_way())));
        } else {
            self.waiting.push_back(Waiting::Upgrade(answer));
        }
        None
    }

    pub(super) fn begin_upgrade(&mut self, answer: Option<Answer<Result<u32, Error>>>) {
        let Some(program) = self.program.clone() else {
            let source = std::io::Error::other("it has nodes of its own");
            let error = Error::Io { what: "a demo is not upgraded".to_owned(), source };
            let _ = answer.map(|answer| answer.send(Err(error)));
            return;
        };
        let (generations, stop) = (self.generations.clone(), Arc::new(Stop::default()));
        let stopped = stop.clone();
        let job = spawn_blocking(move || generations.proxy().upgrade(&program, &stopped));
        self.work = Work::Upgrade(Upgrade { job, answer, stop, ends: false, rollbacks: Vec::new() });
    }

    pub(super) async fn upgraded(&mut self, upgraded: Result<Result<u32, Error>, JoinError>) -> Option<End> {
        let Work::Upgrade(upgrade) = std::mem::replace(&mut self.work, Work::None) else { return None };
        let Upgrade { answer, ends, rollbacks, .. } = upgrade;
        let mut outcome = upgraded.unwrap_or_else(|error| Err(no_end(error)));
        let end = match &outcome {
            // Who told this process to end meant the front door: it had already let go of it.
            Ok(process) if ends => {
                tracing::warn!(process, "told to end during an upgrade: the new process is told, too");
                let process = i32::try_from(*process).ok().and_then(Pid::from_raw);
                let _ = process.map(|process| kill_process(process, Signal::TERM));
                Some(End::Stop)
            }
            Ok(process) => {
                systemd::replaced_by(*process);
                Some(End::Upgraded)
            }
            Err(_) if !ends && !rollbacks.is_empty() => {
                tracing::warn!("an upgrade is superseded by a rollback");
                outcome = Err(Error::Superseded(ROLLBACK));
                None
            }
            Err(error) => {
                let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
                tracing::error!(why, "the new process does not serve, the old one serves on");
                ends.then_some(End::Stop)
            }
        };
        let _ = answer.map(|answer| answer.send(outcome));
        if end.is_some() {
            let too_late = || Error::Busy("another process serves already, with what the files say; ask that one");
            rollbacks.into_iter().for_each(|rollback| _ = rollback.answer.send(Err(too_late())));
            return end;
        }
        for Deferred { to, answer } in rollbacks {
            if let Some(end) = self.roll_back(to, answer).await {
                return Some(end);
            }
        }
        None
    }

    /// Serves the connections that there are; true when they have ended. Sessions may still be ended here, and logs be
    /// moved.
    pub(super) async fn retire(mut self) -> bool {
        let generations = self.generations.clone();
        let mut retiring = spawn_blocking(move || generations.proxy().retire());
        loop {
            tokio::select! {
                order = self.signals.next() => match order {
                    Order::Stop => return false,
                    Order::Reopen => drop(self.reopen_logs()),
                    Order::Reload | Order::Upgrade | Order::Nothing => {}
                },
                _ = &mut retiring => return true,
                Some(command) = self.commands.recv() => drop(self.change_state(command)),
            }
        }
    }
}

pub(super) fn upgrade_is_under_way() -> Error {
    Error::Busy("an upgrade is under way; it is over within a minute, or goes on compiling policies")
}
