//! The code that some nodes ask for after the password.
//!
//! Invariants: nothing of a login that waits for its code is kept here. The door gives it to the client, sealed, and gets
//! it back; each is good for one try.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::underway::Underway;
use super::{Attempt, Denial, Login, Neighbours, Outcome, Reason, of_node};
use crate::back::{Dialogue, LoginError, Pending};
use crate::secret::Secret;
use crate::session::{self, Session};

/// How long the code may take: long enough to find the telephone.
pub const CODE_LIFETIME: Duration = Duration::from_secs(300);
/// Wrong codes for one password. Then it is asked for again, and that is counted as any login is.
const TRIES: u8 = 5;
/// Codes have six or eight digits; words of recovery are longer.
const CODE_SIZE: usize = 64;

/// A login that waits for its code. Whoever has it may try one code, so a door seals it, for one client, and takes it back
/// for no longer than [`CODE_LIFETIME`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Tells this state from all others.
    id: String,
    /// The canonical name that was typed.
    name: String,
    /// What the user will have: the password was right, so it was proved who this is.
    session: Session,
    pending: Pending,
    tries: u8,
    /// The door of a cluster that made it: while nobody knows of the others, only that one takes it.
    #[serde(default)]
    door: String,
}

impl Waiting {
    pub(super) fn new(name: String, session: Session, pending: Pending, door: String) -> Self {
        Self { id: session::random_text(), name, session, pending, tries: 0, door }
    }

    /// The user.
    pub fn user(&self) -> &str {
        self.session.user()
    }

    /// The name of the node that asks for the code.
    pub fn backend(&self) -> &str {
        self.session.backend()
    }

    /// Whether a code was wrong already.
    pub fn is_again(&self) -> bool {
        self.tries > 0
    }
}

/// Goes on with a login that waited for its code.
pub async fn resume<D: Dialogue>(
    neighbours: Neighbours<'_>,
    attempt: &Attempt<'_>,
    (waiting, code): (Waiting, &Secret),
    dialogue: &D,
) -> Outcome<D::Opened> {
    let user = waiting.session.user().to_owned();
    let mut underway = Underway::begin(neighbours, attempt, &user, code);
    underway.mode("second-factor");
    underway.user(Some(user.clone()));
    underway.node_named(waiting.backend());
    let outcome = match underway.take_once(&waiting).await {
        Err(reason) => Outcome::Refused(Denial::TooLate, reason),
        // Whose code is guessed is known by now, however the name was typed.
        Ok(()) => match underway.admit(&user, &waiting.name).await {
            Err(not) => not.into(),
            Ok(()) => Login { neighbours, attempt, underway: &underway, dialogue }.second(waiting, code).await,
        },
    };
    underway.end(&outcome);
    outcome
}

impl Underway<'_> {
    /// A state is good for one try, at its own site.
    async fn take_once(&mut self, waiting: &Waiting) -> Result<(), Reason> {
        let began = Instant::now();
        let right = waiting.session.site() == &**self.attempt.site;
        let state = &self.neighbours.worker.shared.state;
        let here = || state.once.first(&waiting.id, CODE_LIFETIME);
        let first = right && state.cluster.first(&waiting.id, CODE_LIFETIME, &waiting.door, here).await;
        self.waited = began.elapsed();
        if first { Ok(()) } else { Err(Reason::CodeTooLate) }
    }
}

impl<D: Dialogue> Login<'_, D> {
    async fn second(&self, mut waiting: Waiting, code: &Secret) -> Outcome<D::Opened> {
        let Some(node) = self.neighbours.snapshot.node(waiting.session.backend()).cloned() else {
            return Outcome::Refused(Denial::TooLate, Reason::NoNode);
        };
        let given = code.expose();
        let nonsense = code.is_blank() || given.len() > CODE_SIZE || given.chars().any(char::is_control);
        let answered = match nonsense {
            true => Err(LoginError::Wrong),
            false => self.dialogue.second_factor(&node, waiting.session.user(), (&waiting.pending, code)).await,
        };
        match answered {
            Ok(opened) => {
                let session = Box::new(waiting.session.begun_now());
                Outcome::LoggedIn { name: waiting.name, session, node, opened }
            }
            Err(LoginError::Wrong | LoginError::SecondFactor(_)) => {
                waiting.tries += 1;
                if waiting.tries >= TRIES {
                    return Outcome::Refused(Denial::WrongCode, Reason::WrongCode);
                }
                waiting.id = session::random_text();
                waiting.door = self.door();
                Outcome::SecondFactor(Box::new(waiting))
            }
            Err(other) => of_node(other),
        }
    }
}
