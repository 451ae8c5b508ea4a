//! One decision of one policy: found again, or asked for; then counted, recorded, audited and shadowed.
//!
//! Invariants: an answer is what the policy would say to these facts; an instance that erred is never asked again; a
//! policy that is found not to be pure is asked anew each time, on a fresh instance.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use doorward_engine::{Answer, Error, Failure, Guest, Memo, Source, Trace, Transition};

use super::aside::{Asked, Job};
use super::desk::Desk;
use super::facts::Facts;
use super::record::Record;
use super::{Policies, Policy};
use crate::config::Recording;
use crate::counters::{Histogram, Scale};
use crate::traces::{self, Label};

/// The answer; or nothing, for a reason that was told.
pub(super) type Outcome = Result<Arc<Answer>, ()>;

/// Whether it is time for an audit is looked at every so many hits, since the clock costs more than a hit.
const LOOK: u64 = 64;
/// An audit may cost a two-hundredth of the time, and there is never more than one in that of an interval.
const AUDIT_SHARE: u32 = 200;
const AUDIT_INTERVAL: Duration = Duration::from_millis(100);

/// A worker's instances and memory, by policy. Only those of the worker's current Snapshot are kept.
#[derive(Default)]
pub struct Guests {
    shelves: Vec<(u64, Shelf)>,
    desk: Option<Arc<Desk>>,
    generation: u64,
}

/// What a worker keeps for a policy.
struct Shelf {
    guest: Option<Guest>,
    memo: Memo,
    tally: Arc<Tally>,
    /// Decisions, to sample from.
    decided: u64,
    next_audit: Instant,
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.tally.bytes.store(0, Ordering::Relaxed);
    }
}

/// Counts of one worker's memory. Only that worker writes, so adding is no more than adding.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Decisions found again.
    pub hits: AtomicU64,
    /// Decisions that were not known.
    pub misses: AtomicU64,
    /// Answers that went for want of room.
    pub evictions: AtomicU64,
    /// Bytes held.
    pub bytes: AtomicU64,
    /// How long the policy took for an answer.
    pub took: Histogram,
}

impl Tally {
    /// One more worker's. Those of workers that are gone become one, so that coming and going does not fill the list.
    fn join(self: Arc<Self>, all: &mut Vec<Arc<Self>>) {
        let mut gone: Option<Arc<Self>> = None;
        all.retain(|one| {
            if Arc::strong_count(one) > 1 {
                return true;
            }
            let Some(sum) = &gone else {
                gone = Some(one.clone());
                return true;
            };
            for (sum, one) in [(&sum.hits, &one.hits), (&sum.misses, &one.misses), (&sum.evictions, &one.evictions)] {
                sum.fetch_add(one.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            sum.took.absorb(&one.took);
            false
        });
        all.push(self);
    }
}

/// Adds one where nobody else writes.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl Guests {
    /// A worker's, which has nothing warm yet.
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { shelves: Vec::new(), desk: Some(desk), generation: 0 }
    }

    /// Forgets what belongs to policies that the Snapshot no longer has.
    pub fn keep_only(&mut self, policies: &Policies, generation: u64) {
        self.generation = generation;
        self.shelves.retain(|(id, _)| policies.all().iter().any(|policy| policy.id == *id));
    }

    /// Forgets all but the newest shelves.
    pub(super) fn keep_last(&mut self, most: usize) {
        let surplus = self.shelves.len().saturating_sub(most);
        self.shelves.drain(..surplus);
    }

    fn place(&mut self, policy: &Policy) -> Place<'_> {
        let at = self.shelves.iter().position(|(id, _)| *id == policy.id).unwrap_or_else(|| {
            let tally = Arc::new(Tally::default());
            tally.clone().join(&mut policy.state.tallies());
            let memo = Memo::new(policy.memo);
            let shelf = Shelf { guest: None, memo, tally, decided: 0, next_audit: Instant::now() };
            self.shelves.push((policy.id, shelf));
            self.shelves.len() - 1
        });
        Place { shelf: &mut self.shelves[at].1, desk: self.desk.as_ref(), generation: self.generation }
    }
}

/// Where a decision is made: a worker's shelf of the policy, and the desk.
struct Place<'a> {
    shelf: &'a mut Shelf,
    desk: Option<&'a Arc<Desk>>,
    generation: u64,
}

impl Policy {
    /// What the policy says to these facts.
    pub(super) fn decide(self: &Arc<Self>, guests: &mut Guests, facts: &Facts) -> Outcome {
        let facts = &*facts.with(&self.lists);
        let mut place = guests.place(self);
        if let Some(answer) = self.remembered(place.shelf, facts) {
            self.found(&mut place, facts, &answer);
            traces::note("policy", "cached", None, || Label::Named(self.clone()));
            return Ok(answer);
        }
        let started = Instant::now();
        let (outcome, trace) = self.think(&mut place, facts);
        let result = if outcome.is_ok() { "answered" } else { "failed" };
        traces::note("policy", result, Some(started), || Label::Named(self.clone()));
        let told = outcome.as_ref().map(Arc::clone).map_err(|_| ());
        if let Some(desk) = place.desk {
            // What was not even asked is no news each time.
            let news = outcome.as_ref().map_or_else(|error| *error != Error::Open, |answer| answer.is_refusal());
            let (is_recorded, is_watched) = (self.is_recorded(place.shelf, news, desk), desk.feed.takes());
            if is_recorded || is_watched {
                let outcome = outcome.map_err(|error| error.cause().to_string());
                let record = self.recorded(facts, trace, outcome, place.generation);
                desk.note(Record { took: started.elapsed(), ..record }, is_recorded, is_watched);
            }
            self.shadow(desk, facts, &told, place.generation);
        }
        told
    }

    /// After an answer was found again: a look at whether it is still right, a record, and the shadow.
    fn found(self: &Arc<Self>, place: &mut Place<'_>, facts: &Facts, answer: &Arc<Answer>) {
        let Some(desk) = place.desk else { return };
        if place.shelf.tally.hits.load(Ordering::Relaxed).is_multiple_of(LOOK) {
            self.audit(place.shelf, facts, answer, desk, place.generation);
        }
        let (is_recorded, is_watched) = (self.is_recorded(place.shelf, answer.is_refusal(), desk), desk.feed.takes());
        if is_recorded || is_watched {
            let trace = place.shelf.memo.trace(facts);
            let record = self.recorded(facts, trace, Ok(answer.clone()), place.generation);
            desk.note(Record { cached: true, ..record }, is_recorded, is_watched);
        }
        if self.shadow.is_some() {
            self.shadow(desk, facts, &Ok(answer.clone()), place.generation);
        }
    }

    /// What a shadow says, and what it read.
    pub(super) fn decide_with_trace(self: &Arc<Self>, guests: &mut Guests, facts: &Facts) -> (Outcome, Trace) {
        let facts = &*facts.with(&self.lists);
        let mut place = guests.place(self);
        if let Some(answer) = self.remembered(place.shelf, facts) {
            let trace = place.shelf.memo.trace(facts);
            return (Ok(answer), trace);
        }
        let (outcome, trace) = self.think(&mut place, facts);
        (outcome.map_err(|_| ()), trace)
    }

    /// The answer that is known already.
    fn remembered(&self, shelf: &mut Shelf, facts: &Facts) -> Option<Arc<Answer>> {
        if self.memo == 0 || self.state.is_impure() {
            if shelf.memo.bytes() > 0 {
                shelf.memo = Memo::new(0);
                shelf.tally.bytes.store(0, Ordering::Relaxed);
            }
            return None;
        }
        let answer = shelf.memo.find(facts)?;
        count(&shelf.tally.hits);
        Some(answer)
    }

    /// Asks an instance. It is out of its place while it thinks, and comes back only with an answer.
    fn think(self: &Arc<Self>, place: &mut Place<'_>, facts: &Facts) -> (Result<Arc<Answer>, Error>, Trace) {
        let shelf = &mut *place.shelf;
        let now = Instant::now();
        if !self.admits(facts, now) {
            self.state.counts.shut_out.fetch_add(1, Ordering::Relaxed);
            return (Err(Error::Open), Trace::default());
        }
        count(&shelf.tally.misses);
        let guest = match shelf.guest.take() {
            Some(guest) if !self.state.is_impure() => Ok(guest),
            _ => Guest::start(&self.start()),
        };
        let (outcome, trace) = match guest {
            Err(error) => (Err(error), Trace::default()),
            Ok(mut guest) => {
                let (outcome, trace) = guest.ask(Source::Live(Box::new(facts.clone())));
                let outcome = outcome.and_then(|answer| facts.checked(answer));
                if outcome.is_ok() && !self.per_call && !self.state.is_impure() {
                    shelf.guest = Some(guest);
                }
                (outcome.map(Arc::new), trace)
            }
        };
        shelf.tally.took.observe(Scale::Compute, now.elapsed());
        match &outcome {
            Ok(answer) => {
                self.answered(facts);
                if self.memo > 0 && !self.state.is_impure() && trace.is_cacheable() {
                    if shelf.memo.insert(&trace, answer).is_err() {
                        self.is_impure("after the same facts it did something else");
                    }
                    shelf.tally.evictions.store(shelf.memo.evicted(), Ordering::Relaxed);
                    shelf.tally.bytes.store(shelf.memo.bytes() as u64, Ordering::Relaxed);
                }
            }
            Err(error) => self.failed(error, facts, now, place.desk),
        }
        (outcome, trace)
    }

    /// What a failure does: it is told, and too many open the breaker, for the client or for all.
    fn failed(self: &Arc<Self>, error: &Error, facts: &Facts, began: Instant, desk: Option<&Arc<Desk>>) {
        let failures = self.state.counts.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // The first failures are told one by one, then every power of two: a trap storm is no log storm.
        let is_told = failures <= 8 || failures.is_power_of_two();
        let (policy, digest, client) = (self.name.as_str(), self.digest.as_str(), facts.peer.address);
        if is_told {
            tracing::warn!(policy, digest, failures, %client, %error, "a policy failed");
        }
        let asked = {
            let of = |tally: &Arc<Tally>| tally.hits.load(Ordering::Relaxed) + tally.misses.load(Ordering::Relaxed);
            self.state.tallies().iter().map(of).sum()
        };
        let transition = {
            let (mut breaker, now) = (self.state.breaker(), Instant::now());
            let failure = Failure { client, took: now.duration_since(began), asked };
            let transition = breaker.failed(failure, now, &self.breaker_settings());
            self.state.noted(&breaker);
            transition
        };
        match transition {
            Transition::Same | Transition::Closed => return,
            Transition::Shut if is_told => {
                return tracing::warn!(policy, %client, failures, "a policy failed too often for a client: nobody else is affected");
            }
            Transition::Shut => return,
            Transition::Blamed => tracing::warn!(policy, digest, failures, "a policy fails for several clients"),
            Transition::Opened => {
                tracing::error!(policy, digest, failures, "a policy failed too often: it is left alone for a while");
            }
        }
        if let Some(desk) = desk {
            desk.report(self.clone());
        }
    }

    fn answered(&self, facts: &Facts) {
        if !self.state.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut breaker = self.state.breaker();
        let transition = breaker.answered(facts.peer.address);
        self.state.noted(&breaker);
        drop(breaker);
        if transition == Transition::Closed {
            tracing::info!(policy = self.name, "a policy answers again");
        }
    }

    fn admits(&self, facts: &Facts, now: Instant) -> bool {
        if self.left_alone {
            return false;
        }
        if !self.state.troubled.load(Ordering::Acquire) {
            return true;
        }
        let mut breaker = self.state.breaker();
        let admits = breaker.admits(facts.peer.address, now);
        self.state.noted(&breaker);
        admits
    }

    /// Whether it is the policy that is bad, and not what one client sends: it fails for several, or also when it is asked
    /// about nobody in particular, at a listener and a site that it is asked at.
    pub fn is_bad(&self, (listener, site): (&str, &str)) -> bool {
        if self.state.breaker().clients() >= self.breaker.failures as usize {
            return true;
        }
        let own = |names: &HashSet<String>, usual: &str| names.iter().min().map_or(usual.to_owned(), String::clone);
        let facts = Facts::of_nobody(&own(&self.scope.listeners, listener), &own(&self.scope.sites, site));
        let asked = Guest::start(&self.start()).and_then(|mut guest| guest.ask(Source::Live(Box::new(facts))).0);
        asked
            .inspect_err(|error| tracing::warn!(policy = self.name, %error, "a policy fails for nobody in particular"))
            .is_err()
    }

    /// The policy is no pure function: from now on it is asked each time, on a fresh instance.
    pub(super) fn is_impure(&self, how: &str) {
        if !self.state.counts.impure.swap(true, Ordering::AcqRel) {
            tracing::error!(
                policy = self.name,
                digest = self.digest,
                how,
                "a policy is not pure: nothing of it is remembered"
            );
        }
    }

    fn audit(self: &Arc<Self>, shelf: &mut Shelf, facts: &Facts, answer: &Arc<Answer>, desk: &Desk, generation: u64) {
        let now = Instant::now();
        if now < shelf.next_audit {
            return;
        }
        shelf.next_audit = now + (self.state.audit_cost() * AUDIT_SHARE).max(AUDIT_INTERVAL);
        let asked = Asked { policy: self.clone(), facts: facts.clone(), outcome: Ok(answer.clone()), generation };
        desk.aside(Job::Audit(asked));
    }

    fn shadow(self: &Arc<Self>, desk: &Desk, facts: &Facts, outcome: &Outcome, generation: u64) {
        let Some(shadow) = &self.shadow else { return };
        let asked = Asked { policy: self.clone(), facts: facts.clone(), outcome: outcome.clone(), generation };
        if !desk.aside(Job::Shadow(asked)) {
            shadow.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether this decision is recorded: all, or a sample with every refusal and failure, or none.
    fn is_recorded(&self, shelf: &mut Shelf, news: bool, desk: &Desk) -> bool {
        if !desk.records.on() {
            return false;
        }
        shelf.decided += 1;
        match self.recording {
            Recording::Off => false,
            Recording::Full => true,
            Recording::Sampled => news || shelf.decided.is_multiple_of(desk.records.sample()),
        }
    }

    pub(super) fn recorded(
        self: &Arc<Self>,
        facts: &Facts,
        trace: Trace,
        outcome: Result<Arc<Answer>, String>,
        generation: u64,
    ) -> Record {
        Record {
            time: SystemTime::now(),
            generation,
            policy: self.clone(),
            request: facts.request.as_ref().map(|request| request.id),
            site: facts.site().cloned(),
            trace,
            outcome,
            cached: false,
            took: Duration::ZERO,
            live: None,
        }
    }
}
