//! An attempt on its way: its place in the throttle, and the one record that it leaves, however it ends.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use super::{Attempt, Neighbours, Outcome, Reason, Record};
use crate::back::Node;
use crate::cluster::{LoginStanding, SharedPermit};
use crate::config::Throttle;
use crate::limits::{Failures, LoginPermit, Who};
use crate::reply::Refusal;
use crate::secret::Secret;
use crate::session::Device;

/// Settles an attempt when it ends, or when its client leaves and this is dropped.
pub(super) struct Underway<'a> {
    pub(super) neighbours: Neighbours<'a>,
    pub(super) attempt: &'a Attempt<'a>,
    /// What was typed for a name.
    typed: &'a str,
    /// What was wrong, if it is.
    guess: &'a Secret,
    permit: Option<LoginPermit>,
    /// The same at all doors of a cluster.
    shared: Option<SharedPermit>,
    /// How long the store of the cluster was waited for.
    pub(super) waited: Duration,
    began: Instant,
    found: RefCell<Found>,
    is_wrong: Cell<bool>,
    /// Somebody is being asked whether it is right.
    is_asked: Cell<bool>,
    is_over: bool,
}

/// How far an attempt came, for its record.
#[derive(Default)]
struct Found {
    user: Option<String>,
    policy: Option<String>,
    mode: Option<&'static str>,
    node: Option<String>,
    route: Option<String>,
    usual: Option<String>,
}

/// Why an attempt is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// Too many have failed: when to try again.
    Throttled(Duration),
    /// The store of the cluster is away, and then nobody logs in.
    Closed,
}

impl<T> From<NotAdmitted> for Outcome<T> {
    fn from(not: NotAdmitted) -> Self {
        match not {
            NotAdmitted::Throttled(retry_after) => Self::Throttled { retry_after, reason: Reason::Throttled },
            NotAdmitted::Closed => Self::Unavailable(Refusal::StoreAway),
        }
    }
}

/// What only the end of an attempt says.
struct End {
    outcome: &'static str,
    reason: Option<Reason>,
    retry_after: Option<Duration>,
    session: Option<String>,
}

impl<'a> Underway<'a> {
    pub(super) fn begin(
        neighbours: Neighbours<'a>,
        attempt: &'a Attempt<'a>,
        typed: &'a str,
        guess: &'a Secret,
    ) -> Self {
        let found = Found { user: neighbours.snapshot.directory.canonical(typed), ..Found::default() };
        Self {
            neighbours,
            attempt,
            typed,
            guess,
            permit: None,
            shared: None,
            waited: Duration::ZERO,
            began: Instant::now(),
            found: RefCell::new(found),
            is_wrong: Cell::new(false),
            is_asked: Cell::new(false),
            is_over: false,
        }
    }

    /// Waits as long as the throttle says before anybody is asked, so that right and wrong take the same time; or says how
    /// long the name is refused.
    /// Failures count for `name`; a device may be known by that name, or by the one that was typed.
    pub(super) async fn admit(&mut self, name: &str, typed: &str) -> Result<(), NotAdmitted> {
        let Neighbours { worker, snapshot, .. } = self.neighbours;
        let (state, who) = (&worker.shared.state, self.who(name, typed));
        let here = |settings: &Throttle| state.throttle.admit(&who, settings).map_err(NotAdmitted::Throttled);
        let mut permit = here(&snapshot.throttle)?;
        let mut delay = permit.delay;
        match state.cluster.admit(&who, &snapshot.throttle, self.waited).await {
            LoginStanding::Alone => {}
            LoginStanding::Admitted(least, shared) => {
                delay = delay.max(least);
                self.shared = Some(shared);
            }
            LoginStanding::Refused(wait) => return Err(NotAdmitted::Throttled(wait)),
            LoginStanding::Closed => return Err(NotAdmitted::Closed),
            // What the other doors let fail is not known.
            LoginStanding::Away(doors, shared) => {
                drop(permit);
                permit = here(&snapshot.throttle.divided(doors))?;
                delay = permit.delay;
                self.shared = shared;
            }
        }
        self.permit = Some(permit);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// Logins that failed of late, for policies.
    pub(super) fn failures(&self, name: &str) -> Failures {
        let Neighbours { worker, snapshot, .. } = self.neighbours;
        let here = worker.shared.state.throttle.failures(&self.who(name, name), &snapshot.throttle);
        let shared = self.shared.as_ref().map(SharedPermit::failures).unwrap_or_default();
        Failures {
            from_network: here.from_network.max(shared.from_network),
            for_user: here.for_user.max(shared.for_user),
        }
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
        self.found.borrow_mut().mode = Some(mode);
    }

    /// Whose name it is, where the directory says so.
    pub(super) fn user(&self, user: Option<String>) {
        if user.is_some() {
            self.found.borrow_mut().user = user;
        }
    }

    /// The policy that refuses it, or failed.
    pub(super) fn policy(&self, policy: String) {
        self.found.borrow_mut().policy = Some(policy);
    }

    /// The route policy that says where it goes, and where it would go without it, if that is elsewhere.
    pub(super) fn routed(&self, policy: Option<String>, usual: Option<String>) {
        let mut found = self.found.borrow_mut();
        (found.route, found.usual) = (policy, usual);
    }

    /// The node that has the mailbox.
    pub(super) fn node(&self, node: &Node) {
        self.node_named(node.name());
    }

    /// The same, by its name.
    pub(super) fn node_named(&self, node: &str) {
        self.found.borrow_mut().node = Some(node.to_owned());
    }

    /// Asks somebody whether it is right. It counts as wrong if the client leaves before the answer: whoever guesses knows
    /// what takes longer than a yes, and would leave then.
    pub(super) async fn asking<T>(&self, answer: impl Future<Output = T>) -> T {
        self.is_asked.set(true);
        let answer = answer.await;
        self.is_asked.set(false);
        answer
    }

    /// It is found to be wrong, and counts as that even if the client leaves before it is told.
    pub(super) fn is_wrong(&self) {
        self.is_wrong.set(true);
    }

    /// The end: what failed is counted, and the record is handed over.
    pub(super) fn end<T>(mut self, outcome: &Outcome<T>) {
        self.is_over = true;
        match (outcome.is_wrong(), outcome) {
            (true, _) => self.is_wrong(),
            (false, Outcome::LoggedIn { .. }) => {
                self.permit.take().into_iter().for_each(LoginPermit::right);
                self.shared.take().into_iter().for_each(SharedPermit::right);
            }
            _ => {}
        }
        let (session, retry_after) = match outcome {
            Outcome::LoggedIn { session, .. } => {
                self.user(Some(session.user().to_owned()));
                (Some(session.id()), None)
            }
            Outcome::Throttled { retry_after, .. } => (None, Some(*retry_after)),
            _ => (None, None),
        };
        self.leave_record(End { outcome: outcome.word(), reason: outcome.reason(), retry_after, session });
    }

    fn leave_record(&self, end: End) {
        let (Neighbours { worker, id, .. }, Attempt { protocol, host, site, facts, .. }) =
            (self.neighbours, self.attempt);
        let Found { user, policy, mode, node, route, usual } = self.found.take();
        worker.shared.login_ended(Record {
            time: SystemTime::now(),
            id: id.into(),
            protocol: *protocol,
            site: (*site).clone(),
            host: (*host).to_owned(),
            typed: Record::shortened(self.typed).to_owned(),
            user,
            client: facts.peer.address,
            outcome: end.outcome,
            reason: end.reason,
            policy,
            mode,
            node,
            route,
            usual,
            took: self.began.elapsed(),
            retry_after: end.retry_after,
            session: end.session,
        });
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let reason = Some(Reason::ClientGone);
            self.leave_record(End { outcome: "gone", reason, retry_after: None, session: None });
        }
        if self.is_wrong.get() || self.is_asked.get() {
            self.permit.take().into_iter().for_each(|permit| permit.wrong(self.guess.expose()));
            self.shared.take().into_iter().for_each(|permit| permit.wrong(self.guess.expose()));
        }
    }
}
