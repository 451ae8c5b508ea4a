//! What is thought: five questions, each answered by policies in WebAssembly, and by a built-in answer where none is.
//!
//! Invariants: a question always gets an answer, in bounded time; an instance that erred is never asked again.

mod answer;
mod aside;
mod breaker;
mod cache;
mod compile;
#[path = "../../../policy-sdk/src/date.rs"]
#[allow(dead_code, unreachable_pub, reason = "the crate for authors has it; one reader of times for both")]
mod date;
mod decide;
mod desk;
mod engine;
mod facts;
mod guest;
mod imports;
mod load;
mod manifest;
mod memo;
mod quarantine;
mod record;
mod trace;
mod trial;
mod words;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::InstancePre;

pub use answer::{Action, Answer, Form, Header, Mode as AuthMode, Reply, Verdict};
pub use compile::{COMMAND as COMPILE_COMMAND, run as compile_run};
pub use decide::Guests;
pub use desk::Desk;
pub use engine::{Compiler, Compiling, digest};
pub use facts::{Facts, LoginFacts, RequestFacts};
pub use guest::{Error, Problem};
pub use imports::WIT_VERSION;
pub use load::{BUILT_IN, Suspect, bytes_of, load, manifest_of, schema_of};
pub use manifest::{Grants, Manifest};
pub use memo::Read;
pub use quarantine::Quarantine;
pub use record::{Mask, Record, Recorded};
pub use trace::{Fact, Given, Trace, Value, unknown as unknown_fact};
pub use trial::{Figures, Told, Trial};
pub use words::Words;

use crate::config::{self, Mode, OnError, Question, Recording};
use breaker::Breaker;
use decide::Tally;
use guest::Start;
use imports::Living;

/// A policy of one Snapshot: compiled, linked, and proved by a canary.
pub struct Policy {
    id: u64,
    /// Its name in the configuration.
    pub name: String,
    /// `sha256` of the component.
    pub digest: String,
    /// The question it answers.
    pub question: Question,
    /// What it imports.
    pub manifest: Manifest,
    grants: Grants,
    on_error: OnError,
    memory: u64,
    time: Duration,
    memo: usize,
    fresh: bool,
    recording: Recording,
    breaker_settings: config::Breaker,
    scope: Scope,
    settings: String,
    pre: InstancePre<Living>,
    shadow: Option<Shadow>,
    counts: Counts,
    tallies: Mutex<Vec<Arc<Tally>>>,
    breaker: Mutex<Breaker>,
    /// Whether the breaker is open for all.
    open: AtomicBool,
    /// Whether it has to be asked for anybody: looked at before every question, so without its lock.
    troubled: AtomicBool,
    live_since: OnceLock<Instant>,
    /// It was under quarantine when the process started, and is never asked.
    left_alone: bool,
}

/// Where a policy is asked: everywhere, or at some listeners and virtual hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Scope {
    listeners: HashSet<String>,
    /// First names of virtual hosts.
    sites: HashSet<String>,
}

/// A candidate that is asked what the live policy was asked.
struct Shadow {
    policy: Arc<Policy>,
    agreed: AtomicU64,
    differed: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// What happened to a policy since it was loaded.
#[derive(Debug, Default)]
struct Counts {
    failures: AtomicU64,
    shut_out: AtomicU64,
    audits: AtomicU64,
    audit_nanos: AtomicU64,
    impure: AtomicBool,
}

/// How a policy does: for the status, and for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Decisions found again.
    pub hits: u64,
    /// Decisions that were asked for.
    pub misses: u64,
    /// Answers that went from memory for want of room.
    pub evictions: u64,
    /// Bytes of memory.
    pub bytes: u64,
    /// Questions that it failed to answer.
    pub failures: u64,
    /// Questions that it was not asked, since its breaker was open.
    pub shut_out: u64,
    /// Audits of remembered answers.
    pub audits: u64,
    /// Whether it was found not to be pure.
    pub impure: bool,
    /// Whether its breaker is open.
    pub open: bool,
    /// Its shadow's digest, and how often that agreed, differed, failed, and was not asked for want of room.
    pub shadow: Option<(String, [u64; 4])>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// What access policies say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The client may connect, under a limit class.
    Allow(Option<String>),
    /// The connection is closed, for a reason that the log gets.
    Deny(String),
}

/// What filters say together.
#[derive(Debug, Clone)]
pub enum Filtered {
    /// A filter's opinion, or none.
    Said(Option<Arc<Answer>>),
    /// A filter failed, and what it guards is not to be had without it.
    Failed,
}

/// A policy is not asked about this client for a while, since it failed for him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftAlone;

/// The policies of a Snapshot, by question, each in order of the configuration: the first opinion wins, but for
/// access one denial is enough.
#[derive(Debug, Default)]
pub struct Policies {
    all: Vec<Arc<Policy>>,
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

    /// Whether it is one of these, with the settings and all.
    pub fn has(&self, policy: &Policy) -> bool {
        self.all.iter().any(|one| one.id == policy.id)
    }

    /// Whether a component is in use here, as a policy or as a shadow.
    pub fn uses(&self, digest: &str) -> bool {
        self.all.iter().any(|policy| {
            policy.digest == digest || policy.shadow.as_ref().is_some_and(|shadow| shadow.policy.digest == digest)
        })
    }

    /// May this client connect? Without an opinion, yes.
    pub fn access(&self, guests: &mut Guests, facts: &Facts) -> Access {
        let mut answer = Access::Allow(None);
        for policy in self.asked(Question::Access, facts) {
            match policy.decide(guests, facts).as_deref() {
                Ok(Answer::Access(Verdict::Deny(reason))) => {
                    return Access::Deny(format!("{}: {reason}", policy.name));
                }
                Ok(Answer::Access(Verdict::Allow(class))) if answer == Access::Allow(None) => {
                    answer = Access::Allow(class.clone());
                }
                Err(()) if policy.on_error == OnError::Deny => {
                    return Access::Deny(format!("{} failed", policy.name));
                }
                _ => {}
            }
        }
        answer
    }

    /// What kind of device is this? A desktop where nobody knows.
    pub fn device(&self, guests: &mut Guests, facts: &Facts) -> Form {
        let opinion =
            self.asked(Question::Device, facts).find_map(|policy| match *policy.decide(guests, facts).ok()? {
                Answer::Device(form) => form,
                _ => None,
            });
        opinion.unwrap_or(Form::Desktop)
    }

    /// Which template is shown? The site's own where no policy says.
    pub fn template(&self, guests: &mut Guests, facts: &Facts) -> Option<Arc<Answer>> {
        let mut policies = self.asked(Question::Template, facts);
        policies.find_map(|policy| policy.decide(guests, facts).ok().filter(|answer| answer.is_opinion()))
    }

    /// Whether any policy answers this question.
    pub fn answer(&self, question: Question) -> bool {
        self.all.iter().any(|policy| policy.question == question)
    }

    /// How is this login checked? As `[authentication]` says where no policy does.
    ///
    /// # Errors
    /// A policy is left alone with this client, who made it fail. Nobody gets another mode by that.
    pub fn auth_mode(&self, guests: &mut Guests, facts: &Facts) -> Result<Option<Mode>, LeftAlone> {
        for policy in self.asked(Question::AuthMode, facts) {
            match policy.decide(guests, facts).as_deref() {
                Ok(Answer::AuthMode(Some(mode))) => {
                    return Ok(Some(match mode {
                        AuthMode::LdapBind => Mode::LdapBind,
                        AuthMode::LdapPassword => Mode::LdapPassword,
                        AuthMode::BackEnd => Mode::BackEnd,
                        AuthMode::Refuse(text) => Mode::Refuse(text.clone()),
                    }));
                }
                Err(()) if policy.on_error == OnError::Deny => {
                    return Ok(Some(Mode::Refuse("Logging in is not possible at the moment.".to_owned())));
                }
                Err(()) if policy.breaker().is_left_alone_with(facts.peer.address) => return Err(LeftAlone),
                _ => {}
            }
        }
        Ok(None)
    }

    /// What happens to this request?
    pub fn filter(&self, guests: &mut Guests, facts: &Facts) -> Filtered {
        for policy in self.asked(Question::Filter, facts) {
            match policy.decide(guests, facts) {
                Ok(answer) if answer.is_opinion() => return Filtered::Said(Some(answer)),
                Err(()) if policy.on_error == OnError::Deny => return Filtered::Failed,
                _ => {}
            }
        }
        Filtered::Said(None)
    }

    fn asked(&self, question: Question, facts: &Facts) -> impl Iterator<Item = &Arc<Policy>> {
        self.all.iter().filter(move |policy| policy.question == question && policy.scope.has(facts))
    }
}

impl Scope {
    fn has(&self, facts: &Facts) -> bool {
        let at_listener = self.listeners.is_empty() || self.listeners.contains(&facts.peer.listener);
        let site = facts.request.as_ref().map(|request| &*request.site);
        at_listener && (self.sites.is_empty() || site.is_some_and(|site| self.sites.contains(site)))
    }
}

impl Policy {
    fn start(&self) -> Start<'_> {
        Start {
            pre: &self.pre,
            name: &self.name,
            question: self.question,
            version: &self.manifest.version,
            settings: &self.settings,
            memory: self.memory,
            time: self.time,
            wasi: self.grants.wasi() && !self.manifest.wasi.is_empty(),
        }
    }

    fn impure(&self) -> bool {
        self.counts.impure.load(Ordering::Acquire)
    }

    fn tallies(&self) -> MutexGuard<'_, Vec<Arc<Tally>>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn audit_took(&self, took: Duration) {
        self.counts.audit_nanos.store(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn audit_cost(&self) -> Duration {
        Duration::from_nanos(self.counts.audit_nanos.load(Ordering::Relaxed))
    }

    /// It goes live; the first time counts.
    pub fn goes_live(&self) {
        self.live_since.get_or_init(Instant::now);
    }

    /// Whether it is never asked, since it was under quarantine when the process started.
    pub fn is_left_alone(&self) -> bool {
        self.left_alone
    }

    /// Whether it went live so lately that the operator's change is to blame for what goes wrong.
    pub fn is_on_probation(&self) -> bool {
        self.live_since.get().is_some_and(|since| since.elapsed() <= self.breaker_settings.watch)
    }

    /// How it does.
    pub fn health(&self) -> Health {
        let tallies = self.tallies();
        let sum = |of: fn(&Tally) -> &AtomicU64| tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            hits: sum(|tally| &tally.hits),
            misses: sum(|tally| &tally.misses),
            evictions: sum(|tally| &tally.evictions),
            bytes: sum(|tally| &tally.bytes),
            failures: of(&self.counts.failures),
            shut_out: of(&self.counts.shut_out),
            audits: of(&self.counts.audits),
            impure: self.impure(),
            open: self.left_alone || self.open.load(Ordering::Acquire),
            shadow: self.shadow.as_ref().map(|shadow| {
                let counts = [&shadow.agreed, &shadow.differed, &shadow.failed, &shadow.dropped].map(of);
                (shadow.policy.digest.clone(), counts)
            }),
        }
    }
}
