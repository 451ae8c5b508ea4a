//! What is thought: six questions, each answered by policies in WebAssembly, and by a built-in answer where none is.
//!
//! Invariants: a question always gets an answer, in bounded time; an instance that erred is never asked again.

mod aside;
mod cache;
mod compile;
mod compiler;
mod decide;
mod desk;
mod facts;
mod headers;
mod lists;
mod load;
mod quarantine;
mod record;
mod spec;
mod state;
mod trial;

use std::sync::Arc;

pub use compile::{COMMAND as COMPILE_COMMAND, run as compile_run};
pub use compiler::{Compiler, Compiling, digest};
pub use decide::Guests;
pub use desk::Desk;
pub use doorward_engine::{
    Action, Answer, BothWays, Destination, Error, Fact, Form, Given, Grants, Header, Manifest, Mode as AuthMode,
    Problem, Read, Reply, SitePage, Trace, TypedAnswer, Value, Verdict, Words,
};
pub use doorward_vectors::WIT_VERSION;
pub use facts::{Facts, LoginFacts, NodeFacts, RequestFacts, SessionFacts};
pub use lists::Lists;
pub use load::{BUILT_IN, Suspect, bytes_of, load, manifest_of, schema_of};
pub use quarantine::Quarantine;
pub use record::{Mask, Record, Recorded, Taker};
pub use spec::{PolicySpec, PolicySpecs};
pub use state::{Policy, States};
pub use trial::{Figures, Told, Trial};

use crate::config::{Mode, OnError, Question};
use crate::counters::Observed;
use crate::limits::Wanted;

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
    /// How long it took for an answer, where none was remembered.
    pub took: Observed,
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

/// What auth-mode policies say together: how a login is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginCheck {
    /// As `[authentication]` says: no policy has an opinion.
    Unsaid,
    /// In this mode.
    By(Mode),
    /// Not at all.
    Refused {
        /// The policy that says so.
        policy: String,
        /// For the person: a key of the language files, or a sentence.
        text: String,
    },
    /// Not at all, since this policy failed, whose `on-error` says so.
    Failed(String),
    /// Not now: this policy is not asked about this client for a while, since it failed for him. Nobody gets another mode by
    /// that.
    LeftAlone(String),
}

/// What route policies say together: where a login goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginRoute {
    /// Where the directory says: no policy has an opinion.
    Unsaid,
    /// Where the directory says, as this policy says too.
    Kept(String),
    /// To a node.
    To {
        /// The policy that says so.
        policy: String,
        /// The node's name.
        node: String,
    },
    /// Nowhere now, says this policy.
    Later(String),
    /// Nowhere, since this policy failed, whose `on-error` says so.
    Failed(String),
}

/// The live policies, by question, each in order of the configuration: the first opinion wins, but for access one denial is
/// enough.
#[derive(Debug, Default)]
pub struct Policies {
    all: Vec<Arc<Policy>>,
    reads: Reads,
}

/// What filters may read that is looked up before they are asked, and only where one of them may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// The session.
    pub session: bool,
    /// What is counted of requests.
    pub usage: Wanted,
}

impl Reads {
    /// What these policies, and candidates beside them, may read.
    fn of(policies: &[Arc<Policy>]) -> Self {
        let filters = policies.iter().filter(|policy| policy.question == Question::Filter);
        let specs = || filters.clone().flat_map(|policy| [Some(&policy.spec), policy.spec.candidate()]).flatten();
        let is_read = |fact: &str| specs().any(|spec| spec.manifest.facts.contains(fact));
        let usage = Wanted {
            session: is_read("usage.requests-of-session"),
            address: is_read("usage.requests-of-address"),
            path: is_read("usage.requests-for-path"),
        };
        let is_of_session = |fact: &String| fact.starts_with("session.");
        Self { session: usage.session || specs().any(|spec| spec.manifest.facts.iter().any(is_of_session)), usage }
    }

    /// Whether there is anything to look up.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl Policies {
    /// All of them, in order.
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.all
    }

    /// What is looked up for filters.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// Whether it is one of these, with the settings and all.
    pub fn has(&self, policy: &Policy) -> bool {
        self.all.iter().any(|one| one.id == policy.id)
    }

    /// May this client connect? Without an opinion, yes.
    pub fn access(&self, guests: &mut Guests, facts: &Facts) -> Access {
        let mut answer = Access::Allow(None);
        for policy in self.asked::<Verdict>(facts) {
            match policy.decide(guests, facts).as_deref().map(Verdict::of) {
                Ok(Verdict::Deny(reason)) => return Access::Deny(format!("{}: {reason}", policy.name)),
                Ok(Verdict::Allow(class)) => {
                    if answer == Access::Allow(None) {
                        answer = Access::Allow(class.clone());
                    }
                }
                Ok(Verdict::Abstain) => {}
                Err(()) => match policy.on_error {
                    OnError::Deny => return Access::Deny(format!("{} failed", policy.name)),
                    OnError::Allow | OnError::Default => {}
                },
            }
        }
        answer
    }

    /// What kind of device is this? A desktop where nobody knows.
    pub fn device(&self, guests: &mut Guests, facts: &Facts) -> Form {
        let mut policies = self.asked::<Option<Form>>(facts);
        let opinion = policies.find_map(|policy| *Option::<Form>::of(&*policy.decide(guests, facts).ok()?));
        opinion.unwrap_or(Form::Desktop)
    }

    /// Which template is shown? The site's own where no policy says.
    pub fn template(&self, guests: &mut Guests, facts: &Facts) -> Option<Arc<Answer>> {
        let mut policies = self.asked::<Option<String>>(facts);
        policies.find_map(|policy| policy.decide(guests, facts).ok().filter(|answer| answer.is_opinion()))
    }

    /// Whether any policy answers this question.
    pub fn answer(&self, question: Question) -> bool {
        self.all.iter().any(|policy| policy.question == question)
    }

    /// Whether a route policy, or a candidate beside it, may read how busy nodes are: that takes a lock of each.
    pub fn read_load(&self) -> bool {
        let policies = self.all.iter().filter(|policy| policy.question == Question::Route);
        let mut specs = policies.flat_map(|policy| [Some(&policy.spec), policy.spec.candidate()]).flatten();
        specs.any(|spec| spec.manifest.facts.contains("nodes.node-load"))
    }

    /// How is this login checked?
    pub fn auth_mode(&self, guests: &mut Guests, facts: &Facts) -> LoginCheck {
        for policy in self.asked::<Option<AuthMode>>(facts) {
            match policy.decide(guests, facts).as_deref().map(Option::<AuthMode>::of) {
                Ok(Some(AuthMode::LdapBind)) => return LoginCheck::By(Mode::LdapBind),
                Ok(Some(AuthMode::LdapPassword)) => return LoginCheck::By(Mode::LdapPassword),
                Ok(Some(AuthMode::BackEnd)) => return LoginCheck::By(Mode::BackEnd),
                Ok(Some(AuthMode::Refuse(text))) => {
                    return LoginCheck::Refused { policy: policy.name.clone(), text: text.clone() };
                }
                Ok(None) => {}
                Err(()) => match policy.on_error {
                    OnError::Deny => return LoginCheck::Failed(policy.name.clone()),
                    OnError::Allow | OnError::Default => {
                        if policy.state.breaker().is_left_alone_with(facts.peer.address) {
                            return LoginCheck::LeftAlone(policy.name.clone());
                        }
                    }
                },
            }
        }
        LoginCheck::Unsaid
    }

    /// Which node does this login go to? And whether a policy failed, so that this is not what all of them say.
    pub fn route(&self, guests: &mut Guests, facts: &Facts) -> (LoginRoute, bool) {
        let mut has_failed = false;
        for policy in self.asked::<Option<Destination>>(facts) {
            let name = || policy.name.clone();
            let said = match policy.decide(guests, facts).as_deref().map(Option::<Destination>::of) {
                Ok(None) => continue,
                Ok(Some(Destination::Keep)) => LoginRoute::Kept(name()),
                Ok(Some(Destination::Later)) => LoginRoute::Later(name()),
                Ok(Some(Destination::Node(node))) => LoginRoute::To { policy: name(), node: node.clone() },
                Err(()) => {
                    has_failed = true;
                    match policy.on_error {
                        OnError::Deny => LoginRoute::Failed(name()),
                        OnError::Allow | OnError::Default => continue,
                    }
                }
            };
            return (said, has_failed);
        }
        (LoginRoute::Unsaid, has_failed)
    }

    /// What happens to this request?
    pub fn filter(&self, guests: &mut Guests, facts: &Facts) -> Filtered {
        for policy in self.asked::<Action>(facts) {
            match policy.decide(guests, facts) {
                Ok(answer) => {
                    if answer.is_opinion() {
                        return Filtered::Said(Some(answer));
                    }
                }
                Err(()) => match policy.on_error {
                    OnError::Deny => return Filtered::Failed,
                    OnError::Allow | OnError::Default => {}
                },
            }
        }
        Filtered::Said(None)
    }

    fn asked<T: TypedAnswer>(&self, facts: &Facts) -> impl Iterator<Item = &Arc<Policy>> {
        self.all.iter().filter(move |policy| policy.question == T::QUESTION && policy.scope.has(facts))
    }
}
