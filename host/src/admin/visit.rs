//! Somebody at the page, behind the gate: what he asked for, and all that a page may do about it.

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::body::Bytes;

use super::call::Answer;
use super::caller::Caller;
use super::dispatch::Invocation;
use super::people::Account;
use super::plane::Plane;
use super::sessions::{Key, Lifetimes};
use super::verbs::{self, Kind};
use crate::control::Handle;
use crate::secret::Secret;

/// A request of the page. Its host, session and role were looked at; where it is a form, also where that came from, and its
/// token.
pub struct Visit {
    /// Who it is.
    pub caller: Caller,
    /// Whether it is a form that was sent, and not a page that is looked at.
    pub is_form: bool,
    /// The path.
    pub path: String,
    /// The query.
    pub query: Vec<(String, String)>,
    /// The fields of a form, without those of the gate: [`FIELDS`].
    pub form: Vec<(String, String)>,
    /// The files of a form.
    pub files: Vec<Bytes>,
    /// What each form on the page has as its field `token`.
    pub token: Secret,
    /// What a form said for the gate.
    pub(super) said: Said,
    pub(super) pass: Pass,
}

/// Fields that any form may have, and that no verb sees: the session's token, the password where it is asked for again, and
/// the generation that the page showed.
pub const FIELDS: [&str; 3] = ["token", "password", "generation"];

/// What a form said for the gate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub generation: Option<u64>,
    /// Whether he has proved of late who he is.
    pub confirmed: bool,
}

/// Whether somebody may still be there.
#[derive(Clone)]
pub struct Pass {
    pub(super) plane: Arc<Plane>,
    /// As it was when he came in.
    pub(super) account: Account,
    /// None of a certificate, which is there as long as the connection.
    pub(super) key: Option<Key>,
    pub(super) lifetimes: Lifetimes,
}

impl Pass {
    /// Whether the session goes on. What is shown as it happens ends with it.
    pub fn is_alive(&self) -> bool {
        // An account that was changed, or is gone, sees nothing more.
        let accounts = self.plane.people.accounts(&self.plane.snapshot().admin);
        let is_same = accounts.contains(&self.account);
        is_same && self.key.is_none_or(|key| self.plane.sessions.is_alive(&key, Instant::now(), self.lifetimes))
    }
}

impl Visit {
    /// What is asked and told. What changes anything, or shows people's data, goes through [`Visit::ask`] or
    /// [`Visit::change`].
    pub fn control(&self) -> &Handle {
        self.pass.plane.control()
    }

    /// Whether the session goes on, for what is shown as it happens.
    pub fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// Asks for something that changes nothing.
    pub async fn ask(&self, verb: &str, parameters: &[(&str, &str)]) -> Answer {
        self.invoke(verb, parameters, Bytes::new(), Kind::Look).await
    }

    /// Does what the form asks for.
    pub async fn change(&self, verb: &str, parameters: &[(&str, &str)], body: Bytes) -> Answer {
        if !self.is_form {
            return Answer::refused(StatusCode::METHOD_NOT_ALLOWED, "who only looks at a page changes nothing");
        }
        self.invoke(verb, parameters, body, Kind::Change).await
    }

    async fn invoke(&self, verb: &str, parameters: &[(&str, &str)], body: Bytes, kind: Kind) -> Answer {
        let Some(verb) = verbs::find(verb).filter(|verb| verb.kind == kind) else {
            return Answer::refused(StatusCode::NOT_FOUND, "there is no such verb");
        };
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let Said { generation, confirmed } = self.said;
        let caller = self.caller.clone();
        self.pass
            .plane
            .dispatcher
            .run(Invocation { caller, verb, parameters, body, expected: generation, confirmed })
            .await
    }
}
