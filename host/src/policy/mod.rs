//! What is thought: four questions, each answered by policies in WebAssembly, and by a built-in answer where none is.
//!
//! Invariants: a question always gets an answer, in bounded time; an instance that erred is never asked again.

mod engine;
mod facts;
mod guest;
mod imports;
mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::component::InstancePre;

pub use engine::{Compiler, digest};
pub use facts::{Facts, LoginFacts, RequestFacts};
pub use guest::{Error, Form};
pub use imports::WIT_VERSION;
pub use load::load;

use crate::config::{Mode, OnError, Question};
use guest::{Guest, Start, WitMode, WitVerdict};
use imports::Living;

/// Names and texts that a policy answers with may have so many bytes.
const ANSWER_SIZE: usize = 1024;

/// A policy of one Snapshot: compiled, linked, and proved by a canary.
pub struct Policy {
    id: u64,
    /// Its name in the configuration.
    pub name: String,
    /// `sha256` of the component.
    pub digest: String,
    /// The question it answers.
    pub question: Question,
    on_error: OnError,
    memory: u64,
    time: Duration,
    settings: String,
    wasi: bool,
    pre: InstancePre<Living>,
    failures: AtomicU64,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// What an access policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The client may connect, under a limit class.
    Allow(Option<String>),
    /// The connection is closed, for a reason that the log gets.
    Deny(String),
}

/// The policies of a Snapshot, by question, each in order of the configuration: the first opinion wins, but for
/// access one denial is enough.
#[derive(Debug, Default)]
pub struct Policies {
    all: Vec<Arc<Policy>>,
}

/// A worker's instances, by policy. Only those of the worker's current Snapshot are kept.
#[derive(Default)]
pub struct Guests(HashMap<u64, Guest>);

impl Guests {
    /// Forgets instances of policies that the Snapshot no longer has.
    pub fn keep_only(&mut self, policies: &Policies) {
        self.0.retain(|id, _| policies.all.iter().any(|policy| policy.id == *id));
    }
}

impl Policies {
    /// The policies of a Snapshot.
    pub fn new(all: Vec<Arc<Policy>>) -> Self {
        Self { all }
    }

    /// All of them, in order.
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.all
    }

    /// May this client connect? Without an opinion, yes.
    pub fn access(&self, guests: &mut Guests, facts: &Facts) -> Access {
        let mut answer = Access::Allow(None);
        for policy in self.asked(Question::Access) {
            match policy.ask(guests, |guest| guest.access(facts).and_then(checked_verdict)) {
                Ok(WitVerdict::Deny(reason)) => return Access::Deny(format!("{}: {reason}", policy.name)),
                Ok(WitVerdict::Allow(class)) if answer == Access::Allow(None) => answer = Access::Allow(class),
                Err(()) if policy.on_error == OnError::Deny => {
                    return Access::Deny(format!("{} failed", policy.name));
                }
                Ok(WitVerdict::Allow(_) | WitVerdict::Abstain) | Err(()) => {}
            }
        }
        answer
    }

    /// What kind of device is this? A desktop where nobody knows.
    pub fn device(&self, guests: &mut Guests, facts: &Facts) -> Form {
        let mut policies = self.asked(Question::Device);
        policies.find_map(|policy| policy.ask(guests, |guest| guest.device(facts)).ok()?).unwrap_or(Form::Desktop)
    }

    /// Which template is shown? The site's own where no policy says.
    pub fn template(&self, guests: &mut Guests, facts: &Facts, form: Form) -> Option<String> {
        self.asked(Question::Template).find_map(|policy| {
            policy.ask(guests, |guest| guest.template(facts, form).and_then(|name| checked(name, String::len))).ok()?
        })
    }

    /// How is this login checked? As `[authentication]` says where no policy does.
    pub fn auth_mode(&self, guests: &mut Guests, facts: &Facts) -> Option<Mode> {
        self.asked(Question::AuthMode).find_map(|policy| {
            let size = |mode: &WitMode| if let WitMode::Refuse(text) = mode { text.len() } else { 0 };
            match policy.ask(guests, |guest| guest.auth_mode(facts).and_then(|mode| checked(mode, size))) {
                Ok(mode) => mode.map(|mode| match mode {
                    WitMode::LdapBind => Mode::LdapBind,
                    WitMode::LdapPassword => Mode::LdapPassword,
                    WitMode::BackEnd => Mode::BackEnd,
                    WitMode::Refuse(text) => Mode::Refuse(text),
                }),
                Err(()) if policy.on_error == OnError::Deny => {
                    Some(Mode::Refuse("Logging in is not possible at the moment.".to_owned()))
                }
                Err(()) => None,
            }
        })
    }

    fn asked(&self, question: Question) -> impl Iterator<Item = &Arc<Policy>> {
        self.all.iter().filter(move |policy| policy.question == question)
    }
}

impl Policy {
    fn start(&self) -> Start<'_> {
        Start {
            pre: &self.pre,
            name: &self.name,
            question: self.question,
            settings: &self.settings,
            memory: self.memory,
            time: self.time,
            wasi: self.wasi,
        }
    }

    /// Asks an instance. It is out of the pool while it thinks, and comes back only with an answer. Login decisions
    /// get a fresh instance each time, so that nothing of one user is ever near another.
    fn ask<T>(&self, guests: &mut Guests, ask: impl FnOnce(&mut Guest) -> Result<T, Error>) -> Result<T, ()> {
        let guest = match guests.0.remove(&self.id) {
            Some(guest) => Ok(guest),
            None => Guest::start(&self.start()),
        };
        let answer = guest.and_then(|mut guest| ask(&mut guest).map(|answer| (guest, answer)));
        match answer {
            Ok((guest, answer)) => {
                if self.question != Question::AuthMode {
                    guests.0.insert(self.id, guest);
                }
                Ok(answer)
            }
            Err(error) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                // The first failures are told one by one, then every power of two: a trap storm is no log storm.
                if failures <= 8 || failures.is_power_of_two() {
                    tracing::warn!(policy = self.name, digest = self.digest, failures, %error, "a policy failed");
                }
                Err(())
            }
        }
    }
}

fn checked_verdict(verdict: WitVerdict) -> Result<WitVerdict, Error> {
    let size = match &verdict {
        WitVerdict::Allow(Some(text)) | WitVerdict::Deny(text) => text.len(),
        WitVerdict::Allow(None) | WitVerdict::Abstain => 0,
    };
    if size > ANSWER_SIZE { Err(Error::Lied("a text of over 1 KiB")) } else { Ok(verdict) }
}

fn checked<T>(answer: Option<T>, size: impl Fn(&T) -> usize) -> Result<Option<T>, Error> {
    match answer {
        Some(value) if size(&value) > ANSWER_SIZE => Err(Error::Lied("a text of over 1 KiB")),
        answer => Ok(answer),
    }
}
