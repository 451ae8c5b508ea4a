//! How each directory server stands, for all workers together: a server that hangs costs one deadline, and not one for each
//! login and each worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Even those who have nobody else to ask try a server no more often.
const EARLIEST: Duration = Duration::from_secs(1);

/// How one server stands; those who wait for an answer of it, or for the end of a probe, hear of every change.
#[derive(Debug)]
pub(super) struct Standing(watch::Sender<State>);

/// How a server stands, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has asked it yet.
    Unknown,
    /// It is asked, and answers.
    Well,
    /// It failed, and is passed over until then.
    Failed {
        /// When it failed last.
        since: Instant,
        /// When it is tried again.
        until: Instant,
        /// Whether it kept silent, which costs time, or said no at once.
        silent: bool,
        /// Whether somebody tries it right now.
        probed: bool,
    },
}

/// The right to try a server that is passed over; nobody else does meanwhile.
pub(super) struct Probe(Arc<Standing>);

impl State {
    /// Its word in the status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Well => "up",
            Self::Failed { silent: true, .. } => "silent",
            Self::Failed { silent: false, .. } => "failed",
        }
    }

    /// Whether it is asked: nothing speaks against it.
    pub(super) fn is_asked(self) -> bool {
        matches!(self, Self::Unknown | Self::Well)
    }

    fn failed(silent: bool, interval: Duration) -> Self {
        let since = Instant::now();
        Self::Failed { since, until: since + interval, silent, probed: false }
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self(watch::Sender::new(State::Unknown))
    }
}

impl Standing {
    pub(super) fn state(&self) -> State {
        *self.0.borrow()
    }

    /// It is passed over from now on. While somebody tries it, that one says how it ends.
    pub(super) fn failed(&self, silent: bool, interval: Duration) {
        self.0.send_if_modified(|state| {
            let free = !matches!(state, State::Failed { probed: true, .. });
            if free {
                *state = State::failed(silent, interval);
            }
            free
        });
    }

    /// It gave an answer; whether that is news, since it was passed over.
    pub(super) fn answered(&self) -> bool {
        let mut before = State::Well;
        self.0.send_if_modified(|state| {
            before = std::mem::replace(state, State::Well);
            before != State::Well
        });
        matches!(before, State::Failed { .. })
    }

    /// The right to try it, if its time has come and nobody does.
    pub(super) fn probe(self: &Arc<Self>) -> Option<Probe> {
        let begins = self.0.send_if_modified(|state| match state {
            State::Failed { until, probed, .. } if !*probed && *until <= Instant::now() => {
                *probed = true;
                true
            }
            _ => false,
        });
        begins.then(|| Probe(self.clone()))
    }

    /// The right to try it though its time has not come: for those who have nobody else to ask.
    pub(super) fn probe_early(self: &Arc<Self>, now: Instant) -> Option<Probe> {
        let begins = self.0.send_if_modified(|state| match state {
            State::Failed { since, probed, .. } if now.duration_since(*since) >= EARLIEST => {
                !std::mem::replace(probed, true)
            }
            _ => false,
        });
        begins.then(|| Probe(self.clone()))
    }

    /// Waits until somebody finds it silent: who waits for an answer of it then goes elsewhere at once. Where it only says
    /// no to one, the others may still get their answers.
    pub(super) async fn silenced(mut changes: watch::Receiver<State>) {
        while changes.changed().await.is_ok() {
            if matches!(*changes.borrow_and_update(), State::Failed { silent: true, probed: false, .. }) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Hears of changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    /// Waits until nobody tries it, or until the deadline.
    pub(super) async fn probed(&self, deadline: Instant) {
        let is_free = |state: &State| !matches!(state, State::Failed { probed: true, .. });
        let _ = tokio::time::timeout_at(deadline.into(), self.changes().wait_for(is_free)).await;
    }
}

impl Probe {
    /// The server is asked again.
    pub(super) fn well(self) -> bool {
        self.0.answered()
    }

    /// It is passed over again.
    pub(super) fn failed(self, silent: bool, interval: Duration) {
        self.0.0.send_replace(State::failed(silent, interval));
    }
}

impl Drop for Probe {
    /// A probe that was given up says nothing of the server: the next one may begin at once.
    fn drop(&mut self) {
        self.0.0.send_if_modified(|state| match state {
            State::Failed { probed, .. } => std::mem::replace(probed, false),
            State::Unknown | State::Well => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_tries_and_the_others_wait() {
        let standing = Arc::new(Standing::default());
        assert!(standing.probe().is_none(), "who is well is not tried");
        standing.failed(true, Duration::from_secs(60));
        assert!(standing.probe().is_none(), "not yet");
        standing.failed(true, Duration::ZERO);
        let probe = standing.probe().unwrap();
        assert!(standing.probe().is_none(), "not twice");
        standing.failed(true, Duration::ZERO);
        assert!(standing.probe().is_none(), "and not because somebody else is told");
        drop(probe);
        let probe = standing.probe().unwrap();
        let deadline = Instant::now() + Duration::from_secs(3600);
        let ((), ()) = tokio::join!(standing.probed(deadline), async { assert!(probe.well()) });
        assert_eq!(standing.state(), State::Well);
    }

    #[tokio::test]
    async fn who_has_nobody_else_to_ask_tries_it_once_a_second_and_does_not_wait_for_ever() {
        let standing = Arc::new(Standing::default());
        standing.failed(true, Duration::from_secs(60));
        let State::Failed { since, .. } = standing.state() else { panic!("it failed") };
        assert!(standing.probe_early(since).is_none());
        let _probe = standing.probe_early(since + EARLIEST).expect("a second later");
        assert!(standing.probe_early(since + 2 * EARLIEST).is_none(), "not twice");
        standing.probed(Instant::now()).await;
    }

    #[tokio::test]
    async fn all_who_wait_for_a_silent_server_are_told_and_those_of_one_that_said_no_are_not() {
        let standing = Standing::default();
        let told = Standing::silenced(standing.changes());
        standing.failed(true, Duration::ZERO);
        told.await;
        let told = Standing::silenced(standing.changes());
        standing.failed(false, Duration::ZERO);
        tokio::select! {
            biased;
            () = told => panic!("nobody was silent"),
            () = std::future::ready(()) => {}
        }
    }
}
