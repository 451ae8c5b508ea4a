//! What lives of policies: breakers, counters, probation. One for the process, and told of each generation that goes live.
//!
//! Invariants: a policy that runs as before keeps what lives of it; any other begins anew, also one that was live before.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use doorward_engine::Breaker;

use super::decide::Tally;
use super::spec::{PolicySpec, PolicySpecs};
use super::{Health, Policies, Reads};
use crate::config::Question;
use crate::counters::{Observed, Scale};
use crate::traces;

/// A live policy: what the generation says of it, and what lives of it.
pub struct Policy {
    /// Tells it from others: a worker keeps instances and memory by it.
    pub(super) id: u64,
    /// The question it answers.
    pub question: Question,
    pub(super) spec: Arc<PolicySpec>,
    pub(super) state: Arc<PolicyState>,
    pub(super) shadow: Option<Shadow>,
}

/// What lives of a policy, over all generations in which it runs the same.
#[derive(Debug, Default)]
pub(super) struct PolicyState {
    pub(super) counts: Counts,
    tallies: Mutex<Vec<Arc<Tally>>>,
    breaker: Mutex<Breaker>,
    /// Whether the breaker is open for all.
    open: AtomicBool,
    /// Whether it has to be asked for anybody: looked at before every question, so without its lock.
    pub(super) troubled: AtomicBool,
    /// Since when a change of the operator's is to blame for what goes wrong.
    on_probation_since: Option<Instant>,
}

/// What happened to a policy since it went live.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) failures: AtomicU64,
    pub(super) shut_out: AtomicU64,
    pub(super) audits: AtomicU64,
    audit_nanos: AtomicU64,
    pub(super) impure: AtomicBool,
}

/// A candidate that is asked what the live policy was asked.
pub(super) struct Shadow {
    pub(super) policy: Arc<Policy>,
    pub(super) counts: Arc<ShadowCounts>,
}

/// How often a shadow said what.
#[derive(Debug, Default)]
pub(super) struct ShadowCounts {
    pub(super) agreed: AtomicU64,
    pub(super) differed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// Ids of policies.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What lives of all policies.
#[derive(Debug, Default)]
pub struct States(Mutex<Vec<Arc<Policy>>>);

impl States {
    /// These policies go live: what runs as before goes on, and what is new begins, on probation if the operator changed
    /// something.
    pub fn follow(&self, specs: &PolicySpecs, on_probation: bool) -> Policies {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next: Vec<Arc<Policy>> = specs
            .all()
            .iter()
            .map(|spec| {
                let before = live.iter().find(|before| before.spec.runs_as(spec));
                if let Some(same) = before.filter(|before| *before.spec == **spec) {
                    return same.clone();
                }
                let shadow = spec.shadow.as_ref().map(|shadow| {
                    let old = before.and_then(|before| before.shadow.as_ref());
                    let old = old.filter(|old| old.policy.spec.runs_as(shadow));
                    let counts = old.map(|old| old.counts.clone()).unwrap_or_default();
                    Shadow { policy: Policy::next(shadow, old.map(|old| &*old.policy), None, false), counts }
                });
                Policy::next(spec, before.map(|before| &**before), shadow, on_probation)
            })
            .collect();
        live.clone_from(&next);
        let reads = Reads::of(&next);
        Policies { all: next, reads }
    }
}

impl Policy {
    /// A policy of the next generation, which takes the place of one that runs the same, if there is one.
    fn next(spec: &Arc<PolicySpec>, before: Option<&Self>, shadow: Option<Shadow>, on_probation: bool) -> Arc<Self> {
        let begin = || {
            let state = PolicyState { on_probation_since: on_probation.then(Instant::now), ..PolicyState::default() };
            (NEXT_ID.fetch_add(1, Ordering::Relaxed), Arc::new(state))
        };
        let (id, state) = before.map_or_else(begin, |before| (before.id, before.state.clone()));
        Arc::new(Self { id, question: spec.question, spec: spec.clone(), state, shadow })
    }

    /// Whether it went live so lately that the operator's change is to blame for what goes wrong.
    pub fn is_on_probation(&self) -> bool {
        self.state.on_probation_since.is_some_and(|since| since.elapsed() <= self.spec.breaker.watch)
    }

    /// How it does.
    pub fn health(&self) -> Health {
        let (counts, tallies) = (&self.state.counts, self.state.tallies());
        let sum = |of: fn(&Tally) -> &AtomicU64| tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            hits: sum(|tally| &tally.hits),
            misses: sum(|tally| &tally.misses),
            evictions: sum(|tally| &tally.evictions),
            bytes: sum(|tally| &tally.bytes),
            took: Observed::sum(Scale::Compute, tallies.iter().map(|tally| &tally.took)),
            failures: of(&counts.failures),
            shut_out: of(&counts.shut_out),
            audits: of(&counts.audits),
            impure: self.state.is_impure(),
            open: self.spec.left_alone || self.state.open.load(Ordering::Acquire),
            shadow: self.shadow.as_ref().map(|shadow| {
                let all = &shadow.counts;
                let counts = [&all.agreed, &all.differed, &all.failed, &all.dropped].map(of);
                (shadow.policy.digest.clone(), counts)
            }),
        }
    }
}

impl traces::Named for Policy {
    fn name(&self) -> &str {
        &self.spec.name
    }
}

impl std::ops::Deref for Policy {
    type Target = PolicySpec;

    fn deref(&self) -> &PolicySpec {
        &self.spec
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.spec.fmt(f)
    }
}

impl PolicyState {
    pub(super) fn is_impure(&self) -> bool {
        self.counts.impure.load(Ordering::Acquire)
    }

    pub(super) fn tallies(&self) -> MutexGuard<'_, Vec<Arc<Tally>>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is looked at without the breaker's lock.
    pub(super) fn noted(&self, breaker: &Breaker) {
        self.open.store(breaker.is_open(), Ordering::Release);
        self.troubled.store(!breaker.is_quiet(), Ordering::Release);
    }

    pub(super) fn audit_took(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts.audit_nanos.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn audit_cost(&self) -> Duration {
        Duration::from_nanos(self.counts.audit_nanos.load(Ordering::Relaxed))
    }
}
