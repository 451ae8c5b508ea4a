//! A policy as plain data: what a generation says of it, compiled and proved. What lives of it is [`super::state`]'s.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use doorward_engine::{BreakerSettings, Grants, Linked, Manifest, Start};

use super::facts::Facts;
use super::lists::Lists;
use crate::config::{self, OnError, Question, Recording};

/// A policy of one Snapshot: compiled, linked, and proved by a canary.
pub struct PolicySpec {
    /// Its name in the configuration.
    pub name: String,
    /// `sha256` of the component.
    pub digest: String,
    /// Where it comes from, where that is a registry.
    pub provenance: Option<config::Provenance>,
    /// The question it answers.
    pub question: Question,
    /// What it imports.
    pub manifest: Manifest,
    pub(super) grants: Grants,
    pub(super) on_error: OnError,
    pub(super) memory: u64,
    pub(super) time: Duration,
    pub(super) memo: usize,
    /// Whether each call has an instance of its own.
    pub(super) per_call: bool,
    pub(super) recording: Recording,
    pub(super) breaker: config::Breaker,
    pub(super) scope: Scope,
    pub(super) settings: String,
    /// What it may ask for by `list-contains`.
    pub(super) lists: Arc<Lists>,
    /// Follows from the digest and the grants.
    pub(super) linked: Linked,
    /// A candidate that is asked what this one was asked.
    pub(super) shadow: Option<Arc<PolicySpec>>,
    /// It was under quarantine when the process started, and is never asked.
    pub(super) left_alone: bool,
}

/// Where a policy is asked: everywhere, or at some listeners and virtual hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) listeners: HashSet<String>,
    /// First names of virtual hosts.
    pub(super) sites: HashSet<String>,
}

impl Scope {
    pub(super) fn has(&self, facts: &Facts) -> bool {
        let at_listener = self.listeners.is_empty() || self.listeners.contains(&facts.peer.listener);
        at_listener && (self.sites.is_empty() || facts.site().is_some_and(|site| self.sites.contains(&**site)))
    }
}

impl PolicySpec {
    /// The candidate beside it, which decides nothing.
    pub fn candidate(&self) -> Option<&Arc<Self>> {
        self.shadow.as_ref()
    }

    /// Whether it runs as another one does: the same component is asked the same, and under the same limits. Then its
    /// instances, what they remember, its counters and its breaker are the other's too.
    pub(super) fn runs_as(&self, other: &Self) -> bool {
        self.digest == other.digest
            && (&self.settings, &self.lists) == (&other.settings, &other.lists)
            && (&self.name, self.question) == (&other.name, other.question)
            && (self.memory, self.time, self.memo, self.per_call)
                == (other.memory, other.time, other.memo, other.per_call)
            && (&self.grants, &self.scope, self.left_alone) == (&other.grants, &other.scope, other.left_alone)
    }

    /// Whether it is never asked, since it was under quarantine when the process started.
    pub fn is_left_alone(&self) -> bool {
        self.left_alone
    }

    /// When its breaker opens.
    pub(super) fn breaker_settings(&self) -> BreakerSettings {
        let config::Breaker { failures, window, pause, watch: _ } = self.breaker;
        BreakerSettings { failures, window, pause }
    }

    pub(super) fn start(&self) -> Start<'_> {
        Start {
            linked: &self.linked,
            name: &self.name,
            question: self.question,
            version: &self.manifest.version,
            settings: &self.settings,
            memory: self.memory,
            time: self.time,
            wasi: self.grants.wasi() && !self.manifest.wasi.is_empty(),
            headers: super::headers::RULES,
        }
    }
}

impl PartialEq for PolicySpec {
    fn eq(&self, other: &Self) -> bool {
        self.runs_as(other)
            && (self.on_error, self.recording, self.breaker) == (other.on_error, other.recording, other.breaker)
            && (&self.shadow, &self.provenance) == (&other.shadow, &other.provenance)
    }
}

impl std::fmt::Debug for PolicySpec {
    /// Without the settings, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySpec").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// The policies of a Snapshot, in order of the configuration.
#[derive(Debug, Default, PartialEq)]
pub struct PolicySpecs {
    all: Vec<Arc<PolicySpec>>,
}

impl PolicySpecs {
    /// The policies of a Snapshot.
    pub fn new(all: Vec<Arc<PolicySpec>>) -> Self {
        Self { all }
    }

    /// All of them, in order.
    pub fn all(&self) -> &[Arc<PolicySpec>] {
        &self.all
    }

    /// Whether a policy is one of these, with the settings and all.
    pub fn has(&self, policy: &PolicySpec) -> bool {
        self.all.iter().any(|one| one.runs_as(policy))
    }

    /// Whether a component is in use here, as a policy or as a shadow.
    pub fn uses(&self, digest: &str) -> bool {
        let shadow = |policy: &PolicySpec| policy.shadow.as_ref().is_some_and(|shadow| shadow.digest == digest);
        self.all.iter().any(|policy| policy.digest == digest || shadow(policy))
    }
}
