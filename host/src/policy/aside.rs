//! What is decided beside the request path, in a thread of its own: audits of remembered answers, and shadows.
//!
//! Invariants: nobody waits for it; what finds no room is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use doorward_engine::{Guest, Source};

use super::Policy;
use super::decide::{Guests, Outcome};
use super::desk::Desk;
use super::facts::Facts;
use super::record::Record;

/// Jobs that may wait. Each holds a request's headers: with the usual 1 KiB, 256 KiB; at most 16 MiB.
const WAITING: usize = 256;
/// Candidates whose instances and memory are kept.
const CANDIDATES: usize = 16;

/// Something to decide again.
pub(super) enum Job {
    /// Ask a fresh instance what the memory said.
    Audit(Asked),
    /// Ask the shadow what the live policy was asked.
    Shadow(Asked),
}

/// A decision that was made.
pub(super) struct Asked {
    pub(super) policy: Arc<Policy>,
    pub(super) facts: Facts,
    pub(super) outcome: Outcome,
    pub(super) generation: u64,
}

/// Starts the thread; it ends when the sender is gone.
pub(super) fn start(desk: impl Fn() -> Option<Arc<Desk>> + Send + 'static) -> std::io::Result<SyncSender<Job>> {
    let (sender, jobs) = sync_channel(WAITING);
    std::thread::Builder::new().name("policy-aside".to_owned()).stack_size(4 << 20).spawn(move || work(&jobs, desk))?;
    Ok(sender)
}

fn work(jobs: &Receiver<Job>, desk: impl Fn() -> Option<Arc<Desk>>) {
    let mut guests = Guests::default();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Audit(asked) => audit(&asked),
            Job::Shadow(asked) => shadow(&mut guests, &asked, desk().as_deref()),
        }
        guests.keep_last(CANDIDATES);
    }
}

/// A remembered answer must be what a fresh instance says. An audit that fails says nothing about that.
fn audit(asked: &Asked) {
    let (policy, Ok(remembered)) = (&asked.policy, &asked.outcome) else { return };
    let started = Instant::now();
    let Ok(mut guest) = Guest::start(&policy.start()) else { return };
    let (answer, _) = guest.ask(Source::Live(Box::new(asked.facts.clone())));
    policy.state.counts.audits.fetch_add(1, Ordering::Relaxed);
    policy.state.audit_took(started.elapsed());
    if answer.is_ok_and(|answer| answer != **remembered) {
        policy.is_impure("a fresh instance gave another answer");
    }
}

fn shadow(guests: &mut Guests, asked: &Asked, desk: Option<&Desk>) {
    let Some(shadow) = &asked.policy.shadow else { return };
    let started = Instant::now();
    let (outcome, trace) = shadow.policy.decide_with_trace(guests, &asked.facts);
    let same = match (&outcome, &asked.outcome) {
        (Ok(a), Ok(b)) => a == b,
        (Err(_), Err(_)) => true,
        _ => false,
    };
    let count = match (&outcome, same) {
        (_, true) => &shadow.counts.agreed,
        (Ok(_), false) => &shadow.counts.differed,
        (Err(_), false) => &shadow.counts.failed,
    };
    let count = count.fetch_add(1, Ordering::Relaxed) + 1;
    if same {
        return;
    }
    let said = |outcome: &Outcome| outcome.as_ref().map_or_else(|()| "no answer".into(), |answer| answer.to_json());
    let (live, candidate) = (said(&asked.outcome), said(&outcome));
    if count <= 8 || count.is_power_of_two() {
        let policy = asked.policy.name.as_str();
        tracing::info!(policy, digest = shadow.policy.digest, count, %live, %candidate, "a shadow says otherwise");
    }
    let Some(desk) = desk else { return };
    let (is_recorded, is_watched) = (desk.records.on(), desk.feed.takes());
    if is_recorded || is_watched {
        let outcome = outcome.map_err(|()| "failed".to_owned());
        let record = shadow.policy.recorded(&asked.facts, trace, outcome, asked.generation);
        desk.note(Record { took: started.elapsed(), live: Some(live), ..record }, is_recorded, is_watched);
    }
}
