//! A login: one attempt, whatever the door. Name → throttle → directory → mode → proof → node → [`Outcome`].
//!
//! Invariants: it knows no HTTP, only what a door saw of the client ([`Attempt`]) and how the door asks nodes
//! ([`Dialogue`]). Each attempt writes one line to the log, also when its client leaves before the end. A login that
//! fails says the same whatever failed, and takes the same time. A second factor is a state of the same machine.

mod denial;
mod route;
mod second_factor;
#[cfg(test)]
mod tests;
mod underway;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::auth::Credentials;
use crate::auth::{self, Claim, Identity, Problem, Verdict};
use crate::back::{Dialogue, LoginError, Node, Person};
use crate::config::{Mode, Protocol};
use crate::directory::User;
use crate::live::Live;
use crate::policy::{Facts, LoginCheck};
use crate::reply::{Message, Refusal};
use crate::session::{Device, Session};
use crate::worker::Worker;

pub use crate::tries::{Reason, Record};
pub use denial::Denial;
pub use second_factor::{CODE_LIFETIME, Waiting, resume};
use underway::Underway;

/// A node that does not say how long to wait is asked again in a minute.
const NODE_WAIT: Duration = Duration::from_secs(60);

/// What a login asks: the worker's connections and the State, and the generation that its request keeps.
#[derive(Clone, Copy)]
pub struct Neighbours<'a> {
    /// The worker.
    pub worker: &'a Worker,
    /// The generation.
    pub snapshot: &'a Live,
    /// What the log calls the request, or the connection of another protocol.
    pub id: &'a str,
}

/// What a door saw of an attempt. Data only.
pub struct Attempt<'a> {
    /// What the door speaks.
    pub protocol: Protocol,
    /// The host name that the client came to.
    pub host: &'a str,
    /// The virtual host's first name: each site has users of its own.
    pub site: &'a Arc<str>,
    /// What policies may know: the connection, and the request where there is one.
    pub facts: &'a Facts,
    /// The device, if it has logged in before.
    pub device: Option<&'a Device>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome<T> {
    /// Logged in, at the node too.
    LoggedIn {
        /// The canonical name that was typed, which the device is known by from now on.
        name: String,
        /// Who it is, and where.
        session: Box<Session>,
        /// The node that has the mailbox.
        node: Arc<Node>,
        /// What the login at the node left for the door.
        opened: T,
    },
    /// The password is right, and the node wants a code: the first one, or another one behind a wrong one.
    SecondFactor(Box<Waiting>),
    /// No: what the person may know of it, and why, which only the log may know.
    Refused(Denial, Reason),
    /// Nobody can say now.
    Unavailable(Refusal),
    /// Too many have failed, here or at the node.
    Throttled {
        /// When to try again.
        retry_after: Duration,
        /// Who says so.
        reason: Reason,
    },
}

impl<T> Outcome<T> {
    /// What it is counted as, and the log's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::LoggedIn { .. } => "in",
            Self::SecondFactor(waiting) if waiting.is_again() => "wrong-code",
            Self::SecondFactor(_) => "second-factor",
            Self::Refused(denial, _) => denial.word(),
            Self::Unavailable(_) => "failed",
            Self::Throttled { .. } => "throttled",
        }
    }

    /// Why nobody got in.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::LoggedIn { .. } => None,
            Self::SecondFactor(waiting) => waiting.is_again().then_some(Reason::WrongCode),
            Self::Refused(_, reason) | Self::Throttled { reason, .. } => Some(*reason),
            Self::Unavailable(refusal) => Some(Reason::of(refusal)),
        }
    }

    /// Whether it counts as a guess.
    fn is_wrong(&self) -> bool {
        match self {
            Self::SecondFactor(waiting) => waiting.is_again(),
            Self::Refused(Denial::Wrong | Denial::WrongCode, _) => true,
            Self::LoggedIn { .. } | Self::Refused(..) | Self::Unavailable(_) | Self::Throttled { .. } => false,
        }
    }
}

/// Logs somebody in who has a name and credentials.
pub async fn log_in<D: Dialogue>(
    neighbours: Neighbours<'_>,
    attempt: &Attempt<'_>,
    (typed, credentials): (&str, &Credentials),
    dialogue: &D,
) -> Outcome<D::Opened> {
    // However a name is typed, it is one name that is guessed at.
    let name = neighbours.snapshot.directory.canonical(typed);
    // All names that cannot be one are counted as one.
    let counted = name.as_deref().unwrap_or_default();
    let mut underway = Underway::begin(neighbours, attempt, typed, credentials.guess());
    let outcome = match underway.admit(counted, counted).await {
        Ok(()) => {
            let login = Login { neighbours, attempt, underway: &underway, dialogue };
            login.first(name, credentials).await.unwrap_or_else(|outcome| outcome)
        }
        Err(not) => not.into(),
    };
    underway.end(&outcome);
    outcome
}

/// Writes the line of an attempt that a door turned away before anything of it was checked.
pub fn turn_away(neighbours: Neighbours<'_>, attempt: &Attempt<'_>, typed: &str, reason: Reason) {
    let nothing = crate::secret::Secret::new(String::new());
    let denial = if reason == Reason::ClearText { Denial::policy_failed() } else { Denial::TooLate };
    Underway::begin(neighbours, attempt, typed, &nothing).end::<()>(&Outcome::Refused(denial, reason));
}

/// Asks a node to let somebody in, if it may be asked at all.
///
/// # Errors
/// As [`LoginError`].
async fn at_node<D: Dialogue>(
    dialogue: &D,
    (node, is_draining): (&Arc<Node>, bool),
    mode: Mode,
    person: &Person<'_>,
) -> Result<D::Opened, LoginError> {
    if is_draining {
        return Err(Refusal::NodeDraining.into());
    }
    if mode == Mode::BackEnd && !dialogue.checks_password(node) {
        tracing::error!(backend = node.name(), "it checks no password, so mode back-end lets nobody in");
        return Err(Refusal::Internal.into());
    }
    dialogue.log_in(node, person).await
}

/// An attempt that is being checked.
struct Login<'a, D> {
    neighbours: Neighbours<'a>,
    attempt: &'a Attempt<'a>,
    underway: &'a Underway<'a>,
    dialogue: &'a D,
}

/// Who was proved to be who, and how.
struct Proved {
    mode: Mode,
    identity: Identity,
    user: User,
}

impl<D: Dialogue> Login<'_, D> {
    async fn first(
        &self,
        name: Option<String>,
        credentials: &Credentials,
    ) -> Result<Outcome<D::Opened>, Outcome<D::Opened>> {
        let began = Instant::now();
        // Before anybody is asked: blank credentials, and a name that nobody can have.
        if credentials.is_blank() {
            return Err(Outcome::Refused(Denial::Wrong, Reason::Blank));
        }
        let Some(name) = name else { return Err(Outcome::Refused(Denial::Wrong, Reason::Unknown)) };
        let proved = self.prove(&name, credentials, began).await?;
        let (node, entered) = self.enter(&name, credentials, &proved, began).await?;
        let session = || Box::new(Session::open(&proved.identity, self.attempt.site, node.name()));
        match entered {
            Ok(opened) => Ok(Outcome::LoggedIn { session: session(), name, node, opened }),
            Err(LoginError::Wrong) if proved.mode == Mode::BackEnd => {
                Err(self.wrong(Reason::Wrong, proved.mode, began, true).await)
            }
            // Nobody has checked the password, so nobody may learn that the name exists.
            Err(LoginError::Refusal(Refusal::NoNode)) if proved.mode == Mode::BackEnd => {
                Err(self.wrong(Reason::NoNode, proved.mode, began, false).await)
            }
            Err(LoginError::Wrong) => {
                let backend = node.name();
                tracing::warn!(user = ?name, backend, "the node refuses a user whom the directory takes");
                Err(Outcome::Refused(Denial::Wrong, Reason::NodeRefused))
            }
            Err(LoginError::SecondFactor(pending)) => {
                Err(Outcome::SecondFactor(Box::new(Waiting::new(name, *session(), *pending, self.door()))))
            }
            Err(other) => Err(of_node(other)),
        }
    }

    /// What this door is called in its cluster.
    fn door(&self) -> String {
        self.neighbours.worker.shared.state.cluster.door().unwrap_or_default()
    }

    /// Name → directory → mode → proof.
    async fn prove(&self, name: &str, credentials: &Credentials, began: Instant) -> Result<Proved, Outcome<D::Opened>> {
        let Neighbours { worker, snapshot, .. } = self.neighbours;
        let user = self.neighbours.look_up(name).await.map_err(Outcome::Unavailable)?;
        self.underway.user(user.as_ref().and_then(|user| snapshot.directory.name_of(user)));
        let mode = self.mode(name, user.as_ref())?;
        self.underway.mode(mode.name());
        if mode != Mode::BackEnd && matches!(credentials, Credentials::Token(_)) {
            return Err(self.wrong(Reason::Token, mode, began, false).await);
        }
        let claim = Claim { name, user: user.as_ref(), credentials };
        let checking = auth::authenticate(&claim, mode, &snapshot.directory, &worker.directory);
        let verdict = self.underway.asking(checking).await;
        let verdict = verdict.map_err(|error| Outcome::Unavailable(self.neighbours.directory_away(&error)))?;
        let reason = match (verdict, user) {
            (Verdict::Right(identity), Some(user)) => return Ok(Proved { mode, identity, user }),
            (Verdict::Account(problem), _) => return Err(account(problem)),
            (Verdict::Wrong, _) => Reason::Wrong,
            (Verdict::Unknown | Verdict::Right(_), _) => Reason::Unknown,
        };
        Err(self.wrong(reason, mode, began, reason == Reason::Wrong).await)
    }

    /// Asks the policies how this attempt is checked.
    fn mode(&self, name: &str, user: Option<&User>) -> Result<Mode, Outcome<D::Opened>> {
        let Neighbours { worker, snapshot, .. } = self.neighbours;
        let facts = self.facts(name, user);
        let check = snapshot.policies.auth_mode(&mut worker.guests.borrow_mut(), &facts);
        let (outcome, policy) = match check {
            LoginCheck::Unsaid => return Ok(snapshot.mode),
            LoginCheck::By(mode) => return Ok(mode),
            LoginCheck::LeftAlone(policy) => (Outcome::Unavailable(Refusal::PolicyFailed), policy),
            LoginCheck::Refused { policy, text } => {
                (Outcome::Refused(Denial::Policy(Message::Given(text)), Reason::Policy), policy)
            }
            LoginCheck::Failed(policy) => (Outcome::Refused(Denial::policy_failed(), Reason::PolicyFailed), policy),
        };
        self.underway.policy(policy);
        Err(outcome)
    }

    /// What policies may know of this attempt.
    fn facts(&self, name: &str, user: Option<&User>) -> Facts {
        let Attempt { facts, site, .. } = self.attempt;
        self.neighbours.facts(facts, (site, name), user, self.underway.failures(name))
    }

    /// Finds the node, and asks it; another one where the first was remembered, and does not take the user.
    async fn enter(
        &self,
        name: &str,
        credentials: &Credentials,
        proved: &Proved,
        began: Instant,
    ) -> Result<(Arc<Node>, Result<D::Opened, LoginError>), Outcome<D::Opened>> {
        let Neighbours { snapshot, .. } = self.neighbours;
        // By his one name, however he typed it: the same user goes to the same node.
        let facts = || {
            let whose = (self.attempt.site, proved.identity.user());
            self.neighbours.facts(self.attempt.facts, whose, Some(&proved.user), self.underway.failures(name))
        };
        let routed = self.neighbours.routed(&proved.user, self.attempt.protocol, facts);
        self.underway.routed(routed.policy, routed.instead_of);
        let node = match routed.node {
            Ok(node) => node,
            // Nobody has checked the password yet, so nobody may learn that the name exists.
            Err(Refusal::NoNode) if proved.mode == Mode::BackEnd => {
                return Err(self.wrong(Reason::NoNode, proved.mode, began, false).await);
            }
            Err(refusal) => return Err(Outcome::Unavailable(refusal)),
        };
        self.underway.node(&node);
        let secret = credentials.guess();
        let attributes = snapshot.directory.exposed(&proved.user);
        let person = Person { name, user: proved.identity.user(), secret, attributes: &attributes };
        let entered = self.at(&node, proved.mode, &person).await;
        if matches!(entered, Err(LoginError::Wrong | LoginError::Refusal(_)))
            && let Some(other) = self.neighbours.other_node(name, began, &node).await
        {
            self.underway.node(&other);
            let entered = self.at(&other, proved.mode, &person).await;
            return Ok((other, entered));
        }
        Ok((node, entered))
    }

    /// Asks a node. Where nobody has checked the password yet, it does.
    async fn at(&self, node: &Arc<Node>, mode: Mode, person: &Person<'_>) -> Result<D::Opened, LoginError> {
        let asked = at_node(self.dialogue, (node, node.is_draining()), mode, person);
        if mode == Mode::BackEnd { self.underway.asking(asked).await } else { asked.await }
    }

    /// Wrong, in the time that it takes others. `real` says that somebody's password was checked.
    async fn wrong(&self, reason: Reason, mode: Mode, began: Instant, real: bool) -> Outcome<D::Opened> {
        self.underway.is_wrong();
        self.neighbours.worker.shared.state.pace.wrong(mode.name(), began, real).await;
        Outcome::Refused(Denial::Wrong, reason)
    }
}

fn account<T>(problem: Problem) -> Outcome<T> {
    Outcome::Refused(Denial::Account(problem), Reason::Account(problem))
}

/// What a node says, besides yes and no.
fn of_node<T>(error: LoginError) -> Outcome<T> {
    match error {
        LoginError::Wrong | LoginError::SecondFactor(_) => Outcome::Refused(Denial::Wrong, Reason::NodeRefused),
        LoginError::PasswordExpired => account(Problem::PasswordExpired),
        LoginError::Throttled(wait) => {
            Outcome::Throttled { retry_after: wait.unwrap_or(NODE_WAIT), reason: Reason::NodeThrottled }
        }
        LoginError::Refusal(refusal) => Outcome::Unavailable(refusal),
    }
}
