//! Rollbacks: they supersede what is under way and what waits.

use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::{Answer, End, ROLLBACK, Task, Waiting, Work, no_end};
use crate::control::generations::Earlier;
use crate::control::systemd;
use crate::directory::Shrink;
use crate::proxy::Error;
use crate::snapshot::Snapshot;

/// A rollback to a generation that is kept on disk, which is built again.
pub(super) struct RollBack {
    pub(super) job: JoinHandle<Result<Arc<Snapshot>, Error>>,
    /// None where it was superseded by another one.
    answer: Option<Answer<Result<u64, Error>>>,
}

/// A rollback that waits until an upgrade has stopped.
pub(super) struct Deferred {
    pub(super) to: Option<u64>,
    pub(super) answer: Answer<Result<u64, Error>>,
}

impl Task {
    /// What was asked for before is not done any more, as far as it is not done already.
    pub(super) fn supersede(&mut self) {
        let mut answers = Vec::new();
        for waiting in self.waiting.drain(..) {
            match waiting {
                Waiting::Reload(_, waits) => answers.extend(waits),
                Waiting::Upgrade(answer) => {
                    let _ = answer.map(|answer| answer.send(Err(Error::Superseded(ROLLBACK))));
                }
                Waiting::RollBack(_, answer) => drop(answer.send(Err(Error::Superseded(ROLLBACK)))),
            }
        }
        if let Work::RollBack(rollback) = &mut self.work {
            let answer = rollback.answer.take();
            let _ = answer.map(|answer| answer.send(Err(Error::Superseded(ROLLBACK))));
        }
        if let Work::Reload(reload) = &mut self.work
            && !reload.superseded
        {
            reload.superseded = true;
            answers.append(&mut reload.answers);
            tracing::warn!(generation = self.generations.generation(), "a reload is superseded by a rollback");
            systemd::ready();
        }
        let superseded = Arc::new(Error::Superseded(ROLLBACK));
        answers.into_iter().for_each(|answer| _ = answer.send(Err(superseded.clone())));
        // What changed until now is what the rollback is about.
        self.watch.mark();
    }

    /// Back to an earlier generation: at once, if it is in memory; or else when it is built again, which nothing that was
    /// asked for before comes before.
    pub(super) async fn roll_back(&mut self, to: Option<u64>, answer: Answer<Result<u64, Error>>) -> Option<End> {
        let Some(past) = self.generations.past(to) else {
            let _ = answer.send(Err(Error::NoSuchGeneration));
            return None;
        };
        if let Work::Upgrade(upgrade) = &mut self.work {
            // The new process would serve what the files say.
            upgrade.stop.stop();
            upgrade.rollbacks.push(Deferred { to, answer });
            return None;
        }
        match past {
            Earlier::Here(past) => self.go_back(past, answer, true).await,
            Earlier::Kept(generation) => {
                self.supersede();
                self.waiting.push_front(Waiting::RollBack(generation, answer));
                None
            }
        }
    }

    /// Makes it live. Where it had to be built, what was asked for before is superseded already, and what waits is to come
    /// after it.
    async fn go_back(
        &mut self,
        past: Arc<Snapshot>,
        answer: Answer<Result<u64, Error>>,
        supersedes: bool,
    ) -> Option<End> {
        let generations = self.generations.clone();
        let rolled_back = self.at_once(move || generations.roll_back(past)).await;
        let Some(rolled_back) = rolled_back else { return Some(End::Stop) };
        if rolled_back.is_ok() && supersedes {
            self.supersede();
        }
        let _ = answer.send(rolled_back);
        None
    }

    pub(super) fn begin_rollback(&mut self, to: u64, answer: Answer<Result<u64, Error>>) {
        let generations = self.generations.clone();
        let job = spawn_blocking(move || generations.build_kept(to));
        self.work = Work::RollBack(RollBack { job, answer: Some(answer) });
    }

    pub(super) async fn kept_built(&mut self, built: Result<Result<Arc<Snapshot>, Error>, JoinError>) -> Option<End> {
        let Work::RollBack(rollback) = std::mem::replace(&mut self.work, Work::None) else { return None };
        let Some(answer) = rollback.answer else {
            self.generations.forget_unused();
            return None;
        };
        match built.unwrap_or_else(|error| Err(no_end(error))) {
            Ok(snapshot) => self.go_back(snapshot, answer, false).await,
            Err(error) => {
                tracing::error!(%error, "a kept generation cannot be gone back to");
                let _ = answer.send(Err(error));
                // What was superseded for it counts again, and so does what the files say.
                self.want_reload(Shrink::Refused, None)
            }
        }
    }
}
