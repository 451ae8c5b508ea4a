//! What lives of nodes: gates, health, and which connections may be used again. One for the process, by the back-ends' names,
//! and told of each generation that goes live.
//!
//! Invariants: behind a name no more requests are at once than its `max-connections`, whatever changes; what is known of a
//! node's health holds as long as its URL does, and of another node behind the same name nothing is known.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::NodeSpec;
use super::health::{Health, NodeStatus, Transition};
use crate::config::{self, Protocol};
use crate::counters::{Histogram, Observed, PerWorker, Scale};
use crate::limits::Gate;
use crate::times::seconds_now;
use crate::traces;

/// A live node: what the generation says of it, and what lives of it.
#[derive(Debug)]
pub struct Node {
    /// Tells by which connections it is reached: a worker keeps them by it.
    pub(super) id: u64,
    spec: Arc<NodeSpec>,
    pool: Arc<Pool>,
    pub(super) health: Arc<Health>,
    /// The health of each of its mail servers.
    mail: Vec<(Protocol, Arc<Health>)>,
}

/// What lives behind a back-end's name.
#[derive(Debug)]
struct Pool {
    gate: Gate,
    /// Long polls have places of their own, and none waits: those inside stay there for minutes.
    long_polls: Gate,
    /// Mail sessions; none waits.
    mail: Gate,
    /// Logins of mail sessions.
    mail_logins: Gate,
    /// The health of the live node, for which requests wait here.
    health: Mutex<Arc<Health>>,
    waits: Waits,
    /// Until when an operator lets nobody in there: seconds since 1970.
    drained_until: AtomicU64,
}

/// How long requests waited for a node.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// For a place.
    queue: PerWorker<Histogram>,
    /// From then on until the head of its answer was there.
    first_byte: PerWorker<Histogram>,
}

/// Ids of ways to nodes.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What lives of all nodes.
#[derive(Debug, Default)]
pub struct Pools(Mutex<BTreeMap<String, Known>>);

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    /// Whether the live generation has it.
    is_live: bool,
}

impl Pools {
    /// These nodes go live.
    pub fn follow(&self, specs: &[Arc<NodeSpec>]) -> Vec<Arc<Node>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        let next = specs.iter().map(|spec| {
            let node = Node::next(spec, before.get(spec.name()));
            known.insert(spec.name().to_owned(), Known { node: node.clone(), is_live: true });
            node
        });
        let next = next.collect();
        for (name, Known { node, .. }) in before {
            // Those who are inside count when the name comes back.
            if !known.contains_key(&name) && node.pool.is_used() {
                known.insert(name, Known { node, is_live: false });
            }
        }
        next
    }
}

impl Pool {
    fn is_used(&self) -> bool {
        let gates = [&self.gate, &self.long_polls, &self.mail, &self.mail_logins];
        self.drained_until().is_some() || gates.iter().any(|gate| gate.inside() + gate.waiting() > 0)
    }

    fn drained_until(&self) -> Option<u64> {
        let until = self.drained_until.load(Ordering::Relaxed);
        (until > 0 && until > seconds_now()).then_some(until)
    }
}

impl Node {
    /// A node by itself.
    pub fn alone(spec: NodeSpec) -> Arc<Self> {
        Self::next(&Arc::new(spec), None)
    }

    /// A node of the next generation, behind a name that may be known.
    fn next(spec: &Arc<NodeSpec>, known: Option<&Known>) -> Arc<Self> {
        let before = known.filter(|known| known.is_live).map(|known| &known.node);
        if let Some(same) = before.filter(|before| *before.spec == **spec) {
            return same.clone();
        }
        let same_way = before.filter(|before| before.spec.is_reached_as(spec));
        let id = same_way.map_or_else(|| NEXT_ID.fetch_add(1, Ordering::Relaxed), |before| before.id);
        let health = match before.filter(|before| before.spec.is_node(spec)) {
            Some(before) => {
                before.health.follow(&spec.config.health);
                before.health.clone()
            }
            None => Arc::new(Health::new(spec.config.health.clone())),
        };
        let mail = spec.mail_urls().map(|(protocol, url)| {
            let known = before.filter(|before| before.spec.config.mail.at(protocol) == Some(url));
            let known = known.and_then(|before| before.mail_health(protocol).cloned());
            let settings = without_probes(&spec.config.health);
            known.iter().for_each(|known| known.follow(&settings));
            (protocol, known.unwrap_or_else(|| Arc::new(Health::new(settings))))
        });
        let mail = mail.collect();
        let ((shares, patience), (polls, none)) = (spec.places(), spec.long_poll_places());
        let (mail_shares, login_shares, login_patience) = spec.mail_places();
        let pool = match known {
            Some(Known { node, .. }) => {
                node.pool.gate.resize(shares, patience);
                node.pool.long_polls.resize(polls, none);
                node.pool.mail.resize(mail_shares, Duration::ZERO);
                node.pool.mail_logins.resize(login_shares, login_patience);
                *node.pool.health.lock().unwrap_or_else(PoisonError::into_inner) = health.clone();
                node.pool.clone()
            }
            None => Arc::new(Pool {
                gate: Gate::new(shares, patience),
                long_polls: Gate::new(polls, none),
                mail: Gate::new(mail_shares, Duration::ZERO),
                mail_logins: Gate::new(login_shares, login_patience),
                health: Mutex::new(health.clone()),
                drained_until: AtomicU64::new(0),
                waits: Waits::default(),
            }),
        };
        Arc::new(Self { id, spec: spec.clone(), pool, health, mail })
    }

    /// The health of its server of a mail protocol.
    pub(super) fn mail_health(&self, protocol: Protocol) -> Option<&Arc<Health>> {
        self.mail.iter().find(|(of, _)| *of == protocol).map(|(_, health)| health)
    }

    /// The gate of mail sessions, and that of their logins.
    pub(super) fn mail_gates(&self) -> (&Gate, &Gate) {
        (&self.pool.mail, &self.pool.mail_logins)
    }

    /// Mail sessions that it has.
    pub fn mail_sessions(&self) -> usize {
        self.pool.mail.inside()
    }

    /// The gate of common requests.
    pub(super) fn gate(&self) -> &Gate {
        &self.pool.gate
    }

    /// The gate that a request goes through, and how long the node may be silent about it.
    pub(super) fn lane(&self, path: &str) -> (&Gate, Duration) {
        if self.is_long_poll(path) {
            (&self.pool.long_polls, self.config.long_poll_timeout)
        } else {
            (&self.pool.gate, self.config.rw_timeout)
        }
    }

    /// A request waited so long for a place.
    pub(super) fn queued(&self, time: Duration) {
        self.pool.waits.queue.mine().observe(Scale::Network, time);
    }

    /// It took so long for an answer to a request that went through a gate. That to a long poll takes as long as there is
    /// nothing to say.
    pub(super) fn answered(&self, gate: &Gate, time: Duration) {
        if std::ptr::eq(gate, &raw const self.pool.gate) {
            self.pool.waits.first_byte.mine().observe(Scale::Network, time);
        } else {
            traces::is_patient();
        }
    }

    /// How long requests waited for a place, and how long for an answer.
    pub fn waits(&self) -> [Observed; 2] {
        let waits = &self.pool.waits;
        [&waits.queue, &waits.first_byte].map(|parts| Observed::sum(Scale::Network, parts.all()))
    }

    /// Whether it takes no new logins: the configuration says so, or an operator does for a while.
    pub fn is_draining(&self) -> bool {
        self.spec.config.drain || self.drained_until().is_some()
    }

    /// Until when an operator lets nobody in there: seconds since 1970.
    pub fn drained_until(&self) -> Option<u64> {
        self.pool.drained_until()
    }

    /// It takes no new logins for so long; or, without a time, as many as before. Holds behind its name, over reloads, as
    /// long as the process lives.
    pub fn drain(&self, time: Option<Duration>) {
        let until = time.map_or(0, |time| seconds_now().saturating_add(time.as_secs()));
        self.pool.drained_until.store(until, Ordering::Relaxed);
    }

    /// How its server of a protocol is in a word, for policies: what changes with each request would let no decision be found
    /// again. Where it has no such server, nobody gets in.
    pub fn state_word(&self, protocol: Protocol) -> &'static str {
        let health = if protocol == Protocol::Http { Some(&self.health) } else { self.mail_health(protocol) };
        match (health.is_some_and(|health| health.status().up), self.is_draining()) {
            (false, _) => "down",
            (true, true) => "drained",
            (true, false) => "up",
        }
    }

    /// How busy it is in a word, with requests or with mail sessions.
    pub fn load_word(&self, protocol: Protocol) -> &'static str {
        let gate = if protocol == Protocol::Http { &self.pool.gate } else { &self.pool.mail };
        match (gate.is_wanted(), gate.is_half_full()) {
            (true, _) => "full",
            (false, true) => "busy",
            (false, false) => "free",
        }
    }

    /// How it is.
    pub fn status(&self) -> NodeStatus {
        self.health.status()
    }

    /// Requests that it is answering, requests that wait, and long polls.
    pub fn load(&self) -> [usize; 3] {
        [self.pool.gate.inside(), self.pool.gate.waiting(), self.pool.long_polls.inside()]
    }

    /// It took a connection, or gave an answer on a kept one.
    pub(super) fn is_reached(&self) {
        if self.health.is_troubled() {
            self.turned(self.health.reached(Instant::now()), "");
        }
    }

    /// Says in the log that it went down or came up. In the first case nobody waits for it any more, in the second it
    /// begins slowly.
    pub(super) fn turned(&self, transition: Transition, why: &str) {
        if !self.is_current() {
            // Another node has taken its place.
            return;
        }
        match transition {
            Transition::Same => {}
            Transition::Down => {
                self.pool.gate.send_away();
                tracing::error!(backend = self.name(), address = self.authority, why, "a node is down");
            }
            Transition::Up(after) => {
                self.pool.gate.start_slowly(self.config.slow_start);
                let seconds = after.as_secs();
                tracing::warn!(backend = self.name(), address = self.authority, seconds, "a node is up again");
            }
        }
    }

    /// Whether those who wait behind its name wait for it.
    fn is_current(&self) -> bool {
        Arc::ptr_eq(&self.health, &self.pool.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What connects say is all that is known of a mail server: probes are for HTTP.
fn without_probes(settings: &config::Health) -> config::Health {
    config::Health { path: None, ..settings.clone() }
}

impl traces::Named for Node {
    fn name(&self) -> &str {
        self.spec.name()
    }
}

impl Deref for Node {
    type Target = NodeSpec;

    fn deref(&self) -> &NodeSpec {
        &self.spec
    }
}
