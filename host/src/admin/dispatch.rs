//! The one place where verbs are done, whoever asks and whichever way: compared with the table, with what the caller saw,
//! and told to the audit log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::json;

use super::audit::{Audit, Entry};
use super::call::{Answer, Call, Content};
use super::caller::{Caller, Proof};
use super::verbs::{Kind, REASON, Verb};
use crate::control::Handle;

/// Does what is asked for.
pub struct Dispatcher {
    control: Handle,
    audit: Audit,
    turns: Mutex<Turns>,
}

/// A verb that somebody wants done, not compared with the table yet.
pub struct Invocation {
    /// Who wants it.
    pub caller: Caller,
    /// What.
    pub verb: &'static Verb,
    /// What he said besides; the reason too.
    pub parameters: Vec<(String, String)>,
    /// What he sent.
    pub body: Bytes,
    /// The generation that he saw (`If-Match`).
    pub expected: Option<u64>,
    /// Whether he has proved of late who he is.
    pub confirmed: bool,
}

/// Who changes what, and who did last.
#[derive(Default)]
struct Turns {
    /// Who is making a new generation, having said which one he saw.
    under_way: Option<String>,
    /// What made the live generation what it is, where it was asked for here.
    last: Option<Change>,
}

/// What somebody did.
#[derive(Clone)]
struct Change {
    generation: u64,
    who: String,
    verb: &'static str,
}

/// The turn of somebody, until this is dropped.
struct Turn(Arc<Dispatcher>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turns().under_way = None;
    }
}

impl Dispatcher {
    pub(super) fn new(control: Handle, audit: Audit) -> Arc<Self> {
        Arc::new(Self { control, audit, turns: Mutex::default() })
    }

    /// What is asked and told.
    pub fn control(&self) -> &Handle {
        &self.control
    }

    /// Writes a line of the audit log of something that is no verb.
    pub(super) async fn note(&self, entry: Entry) {
        let path = self.control.generations().proxy().shared().live.load().admin.audit.clone();
        self.audit.write(path.as_deref(), entry).await;
    }

    /// Does what is asked for, or says why not. What was begun is done, and told of, also where nobody waits any more.
    pub async fn run(self: &Arc<Self>, wanted: Invocation) -> Answer {
        let dispatcher = self.clone();
        let ended = || Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, "it came to no end");
        tokio::spawn(async move { dispatcher.carry_out(wanted).await }).await.unwrap_or_else(|_| ended())
    }

    async fn carry_out(self: Arc<Self>, wanted: Invocation) -> Answer {
        let Invocation { caller, verb, parameters, body, expected, confirmed } = wanted;
        let before = self.control.generations().generation();
        let mut entry = Entry::of(&caller, verb.name).with("before", before);
        let given = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        entry = entry.with_arguments(given.clone().filter(|(name, _)| *name != REASON));
        let reason = given.clone().find(|(name, _)| *name == REASON).map(|(_, reason)| reason.trim().to_owned());
        if let Some(reason) = &reason {
            entry = entry.with("reason", reason.as_str());
        }
        let by_socket = matches!(caller.proof, Proof::Socket(_));
        let has_reason = by_socket || reason.is_some_and(|reason| !reason.is_empty());
        let refusal = self.refusal(&caller, verb, &parameters, (has_reason, by_socket || confirmed));
        let turn = refusal.map_or_else(|| self.take_turn(&caller, verb, expected), Err);
        let was_done = turn.is_ok();
        let answer = match turn {
            Ok(_turn) => {
                let call = Call { caller: caller.clone(), parameters, body, control: self.control.clone() };
                (verb.run)(call).await
            }
            Err(refusal) => refusal,
        };
        let after = self.control.generations().generation();
        if answer.is_done() && verb.kind == Kind::Change && after != before {
            let last = Change { generation: after, who: caller.proof.to_string(), verb: verb.name };
            self.turns().last = Some(last);
        }
        // What shows nobody's data and changes nothing is not worth a line, but for tries to see what one may not.
        if verb.kind == Kind::Change || verb.personal || !was_done {
            let outcome = match (was_done, answer.is_done()) {
                (true, true) => "done",
                (true, false) => "failed",
                (false, _) => "refused",
            };
            entry = entry.with("after", after).with("outcome", outcome).with("status", answer.status.as_u16());
            if let (false, Content::Json(told)) = (answer.is_done(), &answer.content) {
                entry = entry.with("error", told["error"].clone());
            }
            self.note(entry).await;
        }
        answer
    }

    /// Why it is not done, whatever is live.
    fn refusal(
        &self,
        caller: &Caller,
        verb: &Verb,
        parameters: &[(String, String)],
        (has_reason, confirmed): (bool, bool),
    ) -> Option<Answer> {
        if caller.role < verb.role {
            let why = format!("{} needs the role {}", verb.name, verb.role.name());
            return Some(Answer::refused(StatusCode::FORBIDDEN, why));
        }
        if let Some((unknown, _)) = parameters.iter().find(|(name, _)| !verb.takes(name)) {
            let why = format!("{} takes no \"{}\"", verb.name, unknown.escape_debug());
            return Some(Answer::refused(StatusCode::BAD_REQUEST, why));
        }
        // Of two, the verb would take one, and the line of the audit log could have the other.
        let is_twice = |at: &usize| parameters[..*at].iter().any(|(name, _)| *name == parameters[*at].0);
        if let Some(at) = (0..parameters.len()).find(is_twice) {
            let why = format!("{} takes \"{}\" once", verb.name, parameters[at].0.escape_debug());
            return Some(Answer::refused(StatusCode::BAD_REQUEST, why));
        }
        let is_dangerous = verb.is_dangerous(parameters);
        if is_dangerous && !has_reason {
            let why = format!("{} needs a reason, for the audit log", verb.name);
            return Some(Answer::refused(StatusCode::BAD_REQUEST, why).asking("reason"));
        }
        if is_dangerous && !confirmed {
            let why = format!("{} needs the password again: the login is older than 5 minutes", verb.name);
            return Some(Answer::refused(StatusCode::FORBIDDEN, why).asking("password"));
        }
        // The socket is the way in when all else fails.
        let trouble = self.audit.trouble().filter(|_| verb.kind == Kind::Change);
        trouble.filter(|_| !matches!(caller.proof, Proof::Socket(_))).map(|trouble| {
            let why = format!("the audit log cannot be written, so nothing is changed: {trouble}");
            Answer::refused(StatusCode::SERVICE_UNAVAILABLE, why)
        })
    }

    /// Refuses who saw another generation than the live one; and of two who make a new one of the same, the second.
    fn take_turn(
        self: &Arc<Self>,
        caller: &Caller,
        verb: &Verb,
        expected: Option<u64>,
    ) -> Result<Option<Turn>, Answer> {
        let Some(expected) = expected else { return Ok(None) };
        let mut turns = self.turns();
        let live = self.control.generations().generation();
        let changed = |why: String, by: Option<&Change>| {
            let by = by.map(|by| json!({"who": by.who, "verb": by.verb}));
            let told = json!({"error": why, "generation": live, "by": by});
            Answer { status: StatusCode::PRECONDITION_FAILED, content: Content::Json(told) }
        };
        if live != expected {
            let by = turns.last.as_ref().filter(|last| last.generation == live);
            let who = by.map_or_else(|| self.reason_of_live(), |by| format!("{} by {}", by.verb, by.who));
            return Err(changed(format!("generation {live} is live, and not {expected} any more: {who}"), by));
        }
        if !verb.makes_generation {
            return Ok(None);
        }
        if let Some(other) = &turns.under_way {
            return Err(changed(format!("another change of generation {live} is under way: {other}"), None));
        }
        turns.under_way = Some(format!("{} by {}", verb.name, caller.proof));
        Ok(Some(Turn(self.clone())))
    }

    /// Why the live generation is live, as the history says.
    fn reason_of_live(&self) -> String {
        let lives = self.control.generations().lives();
        lives.last().map_or_else(String::new, |life| life.reason.clone().into_owned())
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
