//! What is live, and what was: the generations, and the one way in which one of them goes live.
//!
//! Invariant: only the loop changes anything here. Everybody may look.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Fallback, Started, Store};
use crate::config::{Config, Fixed};
use crate::directory::Shrink;
use crate::policy::Policy;
use crate::proxy::{Error, Proxy};
use crate::snapshot::{Fingerprint, Snapshot};
use crate::state::Cause;
use crate::times::seconds_now;

/// So many generations may be rolled back to.
const GENERATIONS: usize = 5;

/// What is live.
pub struct Generations {
    proxy: Proxy,
    history: Mutex<History>,
    last_reload: Mutex<Option<LastReload>>,
    /// What the keys said that no reload can apply.
    fixed: Vec<Fixed>,
    /// The file of ended sessions.
    revocations: Mutex<Option<PathBuf>>,
    /// Those that are kept over a restart.
    store: Arc<Store>,
    /// A kept one serves, since the files were refused.
    fallback: Mutex<Option<Fallback>>,
}

/// Where a generation that may be rolled back to is.
pub(super) enum Earlier {
    /// In memory, whole.
    Here(Arc<Snapshot>),
    /// On disk: it has to be built.
    Kept(u64),
}

/// Generations that were live.
struct History {
    /// The highest number given to any.
    last: u64,
    /// The live one.
    live: Life,
    /// Those that may be rolled back to, in the order in which they were live.
    past: VecDeque<(Arc<Snapshot>, Life)>,
}

/// What is known of a generation that is or was live.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Life {
    /// Its number.
    pub generation: u64,
    /// Since when it was live the last time: seconds since 1970.
    pub since: u64,
    /// Why it went live then.
    pub reason: Cow<'static, str>,
}

impl Life {
    pub(super) fn now(generation: u64, reason: &'static str) -> Self {
        Self { generation, since: seconds_now(), reason: reason.into() }
    }
}

/// What came of a reload that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation that is live.
    pub generation: u64,
    /// Whether it is a new one.
    pub changed: bool,
    /// What is different in it, by name.
    pub changes: Vec<String>,
}

/// The last reload, good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReload {
    /// When it came to its end: seconds since 1970.
    pub time: u64,
    /// What is wrong with the configuration: so many faults. None where it is good.
    pub faults: Option<usize>,
}

impl Generations {
    /// What was started, which is kept.
    pub(super) fn of(started: Started) -> Self {
        let Started { proxy, config, store, fallback } = started;
        let generation = proxy.generation();
        let reason = if fallback.is_some() { "fallback" } else { "start" };
        let (last, live) = (store.highest().max(generation), Life::now(generation, reason));
        let faults = fallback.as_ref().map(|fallback| fallback.faults);
        Self {
            proxy,
            history: Mutex::new(History { last, live, past: VecDeque::new() }),
            last_reload: Mutex::new(faults.map(|faults| LastReload { time: seconds_now(), faults: Some(faults) })),
            fixed: config.fixed(),
            revocations: Mutex::new(config.session.revocations_file),
            store,
            fallback: Mutex::new(fallback),
        }
    }

    /// Those that are kept over a restart.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a kept generation serves, since the files were refused when the process started.
    pub fn fallback(&self) -> Option<Fallback> {
        lock(&self.fallback).clone()
    }

    /// Keeps the live generation over a restart. It has this configuration.
    pub(super) fn keep(&self, config: &Config) {
        let (live, life) = (self.proxy.shared().live.load_full(), self.history().live.clone());
        if let Some(fingerprint) = live.fingerprint.filter(|_| live.generation == life.generation) {
            let mut config = config.clone();
            for policy in &mut config.policies {
                let loaded = live.policies.all().iter().find(|loaded| loaded.name == policy.name);
                let provenance = loaded.and_then(|loaded| loaded.provenance.clone());
                policy.remote.iter_mut().for_each(|remote| remote.provenance.clone_from(&provenance));
            }
            self.store.keep(&config, &fingerprint, &life);
        }
    }

    /// Notes that the live generation went well, once all of its policies are through their probation.
    pub(super) fn note_if_it_went_well(&self) {
        let live = self.proxy.shared().live.load_full();
        let is_new = live.policies.all().iter().any(|policy| policy.is_on_probation());
        if !is_new && self.is_doing_well() && self.store.has(live.generation) == Some(false) {
            self.store.note_went_well(live.generation);
        }
    }

    /// Whether no policy of the live generation is left alone.
    pub(super) fn is_doing_well(&self) -> bool {
        let live = self.proxy.shared().live.load_full();
        !live.policies.all().iter().any(|policy| policy.health().open)
    }

    /// The machine that it runs on.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The live generation.
    pub fn generation(&self) -> u64 {
        self.proxy.generation()
    }

    /// Generations in the order in which they were live, those that may be rolled back to and last the live one.
    pub fn lives(&self) -> Vec<Life> {
        let history = self.history();
        let here: Vec<Life> = history.past.iter().map(|(_, life)| life).chain([&history.live]).cloned().collect();
        drop(history);
        let is_here = |kept: &Life| here.iter().any(|life| life.generation == kept.generation);
        let kept: Vec<Life> = self.store.went_well().into_iter().filter(|kept| !is_here(kept)).collect();
        kept.into_iter().chain(here).collect()
    }

    /// What the keys said at the start that no reload can apply.
    pub fn fixed(&self) -> &[Fixed] {
        &self.fixed
    }

    /// What came of the last reload, if there was one.
    pub fn last_reload(&self) -> Option<LastReload> {
        *lock(&self.last_reload)
    }

    /// Builds the next generation, and changes nothing but for compiled code that is kept. None where the files say what
    /// they said when the live one was built.
    ///
    /// # Errors
    /// Every fault.
    pub(super) fn build(
        &self,
        config: &Config,
        (fingerprint, shrink): (Option<Fingerprint>, Shrink),
    ) -> Result<Option<Snapshot>, Error> {
        let live = self.proxy.shared().live.load();
        if fingerprint.is_some() && live.fingerprint == fingerprint {
            tracing::info!(generation = live.generation, "nothing to reload: the files say what they said");
            return Ok(None);
        }
        let number = self.history().last + 1;
        let mut next = self.build_as(number, config, shrink)?;
        next.fingerprint = fingerprint;
        Ok(Some(next))
    }

    fn build_as(&self, number: u64, config: &Config, shrink: Shrink) -> Result<Snapshot, Error> {
        let previous = self.proxy.shared().live.load_full();
        let materials = self.proxy.materials(&previous, number, shrink);
        let mut next = Snapshot::build(config, &materials).inspect_err(|_| self.forget_unused())?;
        next.warnings.extend(config.needs_restart(&self.fixed));
        Ok(next)
    }

    /// Makes a generation live: everything that may fail first, and for last what no step after it can undo. The files of
    /// ended sessions are those of `config`, where it is a reload.
    ///
    /// # Errors
    /// Nothing has changed.
    pub(super) fn go_live(
        &self,
        next: Arc<Snapshot>,
        reason: &'static str,
        cause: Cause,
        config: Option<&Config>,
    ) -> Result<(), Error> {
        let quarantine = &self.proxy.shared().desk.quarantine;
        if let Some(policy) = next.policies.all().iter().find(|policy| quarantine.reason(&policy.digest).is_some()) {
            return Err(Error::Quarantined { digest: policy.digest.clone() });
        }
        let (sockets, logs) = (self.proxy.sockets_for(&next)?, self.proxy.logs_for(&next)?);
        if let Some(config) = config {
            self.keep_revocations(config)?;
        }
        let mut history = self.history();
        let live = self.proxy.switch(&next, (sockets, logs), cause);
        history.last = history.last.max(next.generation);
        history.past.retain(|(past, _)| past.generation != next.generation && past.generation != live.generation);
        let was = std::mem::replace(&mut history.live, Life::now(next.generation, reason));
        history.past.push_back((live, was));
        while history.past.len() > GENERATIONS {
            history.past.pop_front();
        }
        drop(history);
        if config.is_some() {
            *lock(&self.fallback) = None;
        }
        self.forget_unused();
        Ok(())
    }

    /// Ended sessions are kept in another file, where the configuration names another.
    fn keep_revocations(&self, config: &Config) -> Result<(), Error> {
        let mut kept_in = lock(&self.revocations);
        let file = &config.session.revocations_file;
        if *kept_in != *file {
            self.proxy.keep_revocations(config)?;
            kept_in.clone_from(file);
        }
        Ok(())
    }

    /// Makes an earlier generation live again. The files still say otherwise, so the next reload does what they say.
    ///
    /// # Errors
    /// It has a component that is under quarantine, or cannot listen.
    pub(super) fn roll_back(&self, past: Arc<Snapshot>) -> Result<u64, Error> {
        let (from, generation) = (self.generation(), past.generation);
        self.go_live(past, "rollback", Cause::Operator, None)?;
        tracing::warn!(from, generation, "rolled back");
        self.store.note_live(&self.history().live.clone());
        Ok(generation)
    }

    /// Builds a generation that is kept on disk.
    ///
    /// # Errors
    /// It is not what was kept, or something that it needs besides is not there any more.
    pub(super) fn build_kept(&self, generation: u64) -> Result<Arc<Snapshot>, Error> {
        let config = self.store.load(generation).map_err(|why| Error::NotKept { generation, why })?;
        Ok(Arc::new(self.build_as(generation, &config, Shrink::Refused)?))
    }

    /// The generation of that number to go back to, or the last before this one.
    pub(super) fn past(&self, to: Option<u64>) -> Option<Earlier> {
        let live = self.generation();
        let here = self.last_that(|past| to.map_or(past.generation != live, |to| past.generation == to));
        let mut kept = self.store.went_well().into_iter().rev().map(|life| life.generation);
        let kept = || kept.find(|kept| *kept != live && to.is_none_or(|to| *kept == to)).map(Earlier::Kept);
        here.map(Earlier::Here).or_else(kept)
    }

    /// Whether it is the operator's last change that is to blame for a policy that fails, as far as can be told without
    /// asking it.
    pub(super) fn is_new(&self, policy: &Policy) -> bool {
        policy.is_on_probation() && self.proxy.shared().live.load().policies.has(policy)
    }

    /// Asks a policy that fails whether it fails for others too.
    pub(super) fn is_bad(&self, policy: &Policy) -> bool {
        let live = self.proxy.shared().live.load_full();
        let listener = live.listeners.keys().next().map_or("", String::as_str);
        policy.is_bad((listener, &live.foremost_site().name))
    }

    /// The last generation without this policy, and without any component under quarantine; and whether not even its
    /// component is in there.
    pub(super) fn last_without(&self, policy: &Policy) -> Option<(Arc<Snapshot>, bool)> {
        let quarantine = &self.proxy.shared().desk.quarantine;
        let good = self.last_that(|past| {
            let mut policies = past.policies.all().iter();
            !past.policies.has(policy) && policies.all(|policy| quarantine.reason(&policy.digest).is_none())
        })?;
        let has_component = good.policies.all().iter().any(|one| one.digest == policy.digest);
        Some((good, !has_component))
    }

    fn last_that(&self, is_meant: impl Fn(&Snapshot) -> bool) -> Option<Arc<Snapshot>> {
        self.history().past.iter().rev().map(|(past, _)| past).find(|past| is_meant(past)).cloned()
    }

    /// Remembers what came of a reload, for status and metrics.
    pub(super) fn note_reload(&self, error: Option<&Error>) {
        let faults = error.map(|error| match error {
            Error::Faults(faults) => faults.0.len(),
            _ => 1,
        });
        *lock(&self.last_reload) = Some(LastReload { time: seconds_now(), faults });
    }

    /// Forgets compiled components that no generation uses which is live or may be again.
    pub(super) fn forget_unused(&self) {
        let (history, live) = (self.history(), self.proxy.shared().live.load());
        let uses = |digest: &str| history.past.iter().any(|(past, _)| past.policies.uses(digest));
        self.proxy.keep_compiled(|digest| live.snapshot.policies.uses(digest) || uses(digest));
    }

    fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
