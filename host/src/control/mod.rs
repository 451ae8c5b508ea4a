//! Control: one loop that owns everything which changes what is live. The command line, the admin socket, signals, the
//! watcher of files and breakers of policies only send it a [`Command`].
//!
//! Invariants: commands are done one after the other; what is refused has changed nothing; whatever is under way, a
//! rollback, a revocation and a signal that stops wait for nothing that may take long.

mod background;
mod build;
mod doors;
mod generations;
mod signals;
mod source;
mod start;
mod state;
mod store;
mod systemd;
mod task;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::directory::Shrink;
use crate::policy::Policy;
use crate::proxy::Error;
use crate::session::Revocation;

pub use generations::{Generations, Life, Reloaded};
pub use source::Source;
pub use start::{Fallback, Started, start};
pub use store::Store;
pub use task::Control;

/// Commands on their way to the loop. It takes them quickly, and whoever sends more waits.
const COMMANDS: usize = 64;

/// Where the outcome of a command goes. Nobody may be there to hear of it.
pub type Answer<T> = oneshot::Sender<T>;

/// What came of a reload, of which several may have been asked for at once.
pub type Outcome = Result<Reloaded, Arc<Error>>;

/// What the loop is told to do.
#[derive(Debug)]
pub enum Command {
    /// Read the files again, and make live what they say; lists of users may lose most of their entries or not. Of those
    /// that wait for their turn, one is done for all.
    Reload(Shrink, Answer<Outcome>),
    /// Make an earlier generation live: the one of that number, or the last before this one. What was asked for before
    /// and is not live yet is superseded.
    RollBack(Option<u64>, Answer<Result<u64, Error>>),
    /// A breaker opened: where the policy is new, what was before it is live again.
    PolicyFailed(Arc<Policy>),
    /// Start the program on disk anew, which takes over: its process.
    Upgrade(Answer<Result<u32, Error>>),
    /// End sessions before their time.
    Revoke(Revocation, Answer<io::Result<()>>),
    /// Lift the quarantine of a component: whether there was one.
    Lift(String, Answer<bool>),
    /// Forget on which back-end a user is, or all users: how many are forgotten.
    PurgeRoutes(Option<String>, Answer<usize>),
    /// Let nobody new in at a back-end for a while; without a time, let them in again: whether there is such a back-end.
    Drain(String, Option<Duration>, Answer<bool>),
}

/// Sends commands to the loop, and shows what is live.
#[derive(Clone)]
pub struct Handle {
    generations: Arc<Generations>,
    source: Arc<Source>,
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// What is live.
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Where the configuration comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// Every fault; the old generation serves on.
    pub async fn reload(&self, shrink: Shrink) -> Outcome {
        self.ask(|answer| Command::Reload(shrink, answer)).await.map_err(Arc::new)?
    }

    /// Makes an earlier generation live again: the one of that number, or the last before this one.
    ///
    /// # Errors
    /// There is none, or it may not go live.
    pub async fn roll_back(&self, to: Option<u64>) -> Result<u64, Error> {
        self.ask(|answer| Command::RollBack(to, answer)).await?
    }

    /// Hands over to the program on disk: the process that serves then.
    ///
    /// # Errors
    /// It does not come up, and nothing has changed.
    pub async fn upgrade(&self) -> Result<u32, Error> {
        self.ask(Command::Upgrade).await?
    }

    /// Ends sessions.
    ///
    /// # Errors
    /// The process ends; or it holds, but is not kept over a restart yet.
    pub async fn revoke(&self, what: Revocation) -> Result<io::Result<()>, Error> {
        self.ask(|answer| Command::Revoke(what, answer)).await
    }

    /// Lifts a quarantine; false when there was none.
    ///
    /// # Errors
    /// The process ends.
    pub async fn lift(&self, digest: &str) -> Result<bool, Error> {
        self.ask(|answer| Command::Lift(digest.to_owned(), answer)).await
    }

    /// Lets nobody new in at a back-end for a while; without a time, lets them in again. False when there is no such
    /// back-end.
    ///
    /// # Errors
    /// The process ends.
    pub async fn drain(&self, backend: &str, time: Option<Duration>) -> Result<bool, Error> {
        self.ask(|answer| Command::Drain(backend.to_owned(), time, answer)).await
    }

    /// Forgets on which back-end a user is, or all users: how many.
    ///
    /// # Errors
    /// The process ends.
    pub async fn purge_routes(&self, user: Option<&str>) -> Result<usize, Error> {
        self.ask(|answer| Command::PurgeRoutes(user.map(str::to_owned), answer)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Error::Ending)?;
        answered.await.map_err(|_| Error::Ending)
    }
}
