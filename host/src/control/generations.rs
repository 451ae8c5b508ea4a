//! What is live, and what was: the generations, and the one way in which one of them goes live.
//!
//! Invariant: only the loop changes anything here. Everybody may look.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::config::{Config, Fixed};
use crate::directory::Shrink;
use crate::policy::Policy;
use crate::proxy::{Error, Proxy};
use crate::session::seconds_now;
use crate::snapshot::{Fingerprint, Snapshot};
use crate::state::Cause;

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
    pub reason: &'static str,
}

impl Life {
    fn now(generation: u64, reason: &'static str) -> Self {
        Self { generation, since: seconds_now(), reason }
    }
}

/// What came of a reload that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation that is live.
    pub generation: u64,
    /// Whether it is a new one.
    pub changed: bool,
}

/// The last reload, good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReload {
    /// When it came to its end.
    pub time: SystemTime,
    /// What is wrong with the configuration: so many faults. None where it is good.
    pub faults: Option<usize>,
}

impl Generations {
    /// What was started with this configuration.
    pub(super) fn of(proxy: Proxy, config: &Config) -> Self {
        let history = History { last: 1, live: Life::now(1, "start"), past: VecDeque::new() };
        Self {
            proxy,
            history: Mutex::new(history),
            last_reload: Mutex::default(),
            fixed: config.fixed(),
            revocations: Mutex::new(config.session.revocations_file.clone()),
        }
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
        history.past.iter().map(|(_, life)| life).chain([&history.live]).cloned().collect()
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
        let previous = self.proxy.shared().live.load_full();
        if fingerprint.is_some() && previous.fingerprint == fingerprint {
            tracing::info!(generation = previous.generation, "nothing to reload: the files say what they said");
            return Ok(None);
        }
        let materials = self.proxy.materials(&previous, self.history().last + 1, shrink);
        let mut next = Snapshot::build(config, &materials).inspect_err(|_| self.forget_unused())?;
        next.fingerprint = fingerprint;
        next.warnings.extend(config.needs_restart(&self.fixed));
        Ok(Some(next))
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
        let sockets = self.proxy.sockets_for(&next)?;
        if let Some(config) = config {
            self.keep_revocations(config)?;
        }
        let mut history = self.history();
        let live = self.proxy.switch(&next, sockets, cause);
        history.last = history.last.max(next.generation);
        history.past.retain(|(past, _)| past.generation != next.generation && past.generation != live.generation);
        let was = std::mem::replace(&mut history.live, Life::now(next.generation, reason));
        history.past.push_back((live, was));
        while history.past.len() > GENERATIONS {
            history.past.pop_front();
        }
        drop(history);
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

    /// Makes an earlier generation live again: the one of that number, or the last before this one. Nothing is
    /// compiled for it. The files still say otherwise, so the next reload does what they say.
    ///
    /// # Errors
    /// There is none, or it has a component that is under quarantine.
    pub(super) fn roll_back(&self, to: Option<u64>) -> Result<u64, Error> {
        let live = self.generation();
        let past = self.past(to).ok_or(Error::NoSuchGeneration)?;
        let generation = past.generation;
        self.go_live(past, "rollback", Cause::Operator, None)?;
        tracing::warn!(from = live, generation, "rolled back");
        Ok(generation)
    }

    /// Whether there is such a generation to go back to.
    pub(super) fn has(&self, to: Option<u64>) -> bool {
        self.past(to).is_some()
    }

    fn past(&self, to: Option<u64>) -> Option<Arc<Snapshot>> {
        let live = self.generation();
        self.last_that(|past| to.map_or(past.generation != live, |to| past.generation == to))
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
        *lock(&self.last_reload) = Some(LastReload { time: SystemTime::now(), faults });
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
