//! An attempt on its way: its place in the throttle, and the one line that it writes to the log.

use std::cell::Cell;
use std::time::Duration;

use super::{Attempt, Neighbours, Outcome, Reason};
use crate::limits::{Failures, LoginPermit, Who};
use crate::secret::Secret;
use crate::session::Device;

/// So many bytes of what was typed for a name are in the log; no name is longer.
const NAME_IN_LOG: usize = 256;

/// Settles an attempt when it ends, or when its client leaves and this is dropped.
pub(super) struct Underway<'a> {
    pub(super) neighbours: Neighbours<'a>,
    pub(super) attempt: &'a Attempt<'a>,
    /// What was typed for a name.
    typed: &'a str,
    /// What was wrong, if it is.
    guess: &'a Secret,
    permit: Option<LoginPermit>,
    mode: Cell<&'static str>,
    is_wrong: Cell<bool>,
    is_over: bool,
}

impl<'a> Underway<'a> {
    pub(super) fn begin(
        neighbours: Neighbours<'a>,
        attempt: &'a Attempt<'a>,
        typed: &'a str,
        guess: &'a Secret,
    ) -> Self {
        let (mode, is_wrong) = (Cell::new("-"), Cell::new(false));
        Self { neighbours, attempt, typed, guess, permit: None, mode, is_wrong, is_over: false }
    }

    /// Waits as long as the throttle says before anybody is asked, so that right and wrong take the same time; or says how
    /// long the name is refused.
    /// Failures count for `name`; a device may be known by that name, or by the one that was typed.
    pub(super) async fn admit(&mut self, name: &str, typed: &str) -> Result<(), (Duration, Reason)> {
        let Neighbours { worker, snapshot, .. } = self.neighbours;
        let admitted = worker.shared.state.throttle.admit(&self.who(name, typed), &snapshot.throttle);
        let permit = admitted.map_err(|wait| (wait, Reason::Throttled))?;
        let delay = permit.delay;
        self.permit = Some(permit);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// Logins that failed of late, for policies.
    pub(super) fn failures(&self, name: &str) -> Failures {
        let Neighbours { worker, snapshot, .. } = self.neighbours;
        worker.shared.state.throttle.failures(&self.who(name, name), &snapshot.throttle)
    }

    fn who<'w>(&self, name: &'w str, typed: &str) -> Who<'w>
    where
        'a: 'w,
    {
        let Attempt { site, facts, device, .. } = *self.attempt;
        let known = |device: &Device| device.known_for(site, name).or_else(|| device.known_for(site, typed));
        let device = device.and_then(known);
        Who { address: facts.peer.address, site, name, device }
    }

    /// How it is proved who this is.
    pub(super) fn mode(&self, mode: &'static str) {
        self.mode.set(mode);
    }

    /// It is found to be wrong, and counts as that even if the client leaves before it is told.
    pub(super) fn is_wrong(&self) {
        self.is_wrong.set(true);
    }

    /// The end: what failed is counted, and the line is written.
    pub(super) fn end<T>(mut self, outcome: &Outcome<T>) {
        self.is_over = true;
        match (outcome.is_wrong(), outcome) {
            (true, _) => self.is_wrong(),
            (false, Outcome::LoggedIn { .. }) => self.permit.take().into_iter().for_each(LoginPermit::right),
            _ => {}
        }
        let (session, wait) = match outcome {
            Outcome::LoggedIn { session, .. } => (session.id(), None),
            Outcome::Throttled { retry_after, .. } => (String::new(), Some(retry_after.as_secs())),
            _ => Default::default(),
        };
        self.write((outcome.word(), outcome.reason()), &session, wait);
    }

    /// The one line of an attempt; what is typed is escaped by the log.
    fn write(&self, (outcome, reason): (&'static str, Option<Reason>), session: &str, wait: Option<u64>) {
        let Neighbours { worker, id, .. } = self.neighbours;
        worker.shared.state.logins.count(outcome);
        let (user, host, client) = (short(self.typed), self.attempt.host, self.attempt.facts.peer.address);
        let (reason, mode) = (reason.map_or("-", Reason::word), self.mode.get());
        match wait {
            Some(wait) => tracing::warn!(id, ?user, %client, %host, outcome, reason, wait, "login"),
            None => tracing::info!(id, ?user, %client, %host, outcome, reason, mode, session, "login"),
        }
    }
}

/// A name as far as the log has it: who types a longer one has no such name, and fills no log with it.
fn short(typed: &str) -> &str {
    &typed[..typed.floor_char_boundary(NAME_IN_LOG)]
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.write(("gone", Some(Reason::ClientGone)), "", None);
        }
        if let Some(permit) = self.permit.take().filter(|_| self.is_wrong.get()) {
            permit.wrong(self.guess.expose());
        }
    }
}
