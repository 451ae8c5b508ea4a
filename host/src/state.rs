//! State: what outlives a generation. And the pair of both, which every worker shares.

mod slowest;
mod user_trace;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use hyper::StatusCode;

use crate::auth::Pace;
use crate::back::Pools;
use crate::cluster::Cluster;
use crate::counters::{Answered, Counters, ENDS, Exemplar, Logins, METHODS, OTHER, Scale, class_of, method_of};
use crate::directory::DirectoryState;
use crate::feed::Kind;
use crate::limits::{Flow, Refused, Room, Throttle, Usage};
use crate::live::{Counted, Live};
use crate::log;
use crate::log::access::{Ended, Line};
use crate::log::shown::Shown;
use crate::mails::Mails;
use crate::policy::{self, Desk};
use crate::session::{Once, Revoked, Sighting, Sightings, Watched};
use crate::snapshot::Snapshot;
use crate::traces::{Exporter, Finished, Trace};
use crate::tries::{Record, Tries};
use crate::workbench::Trying;

pub use slowest::Slowest;
pub use user_trace::{LONGEST, UserTraces};

/// All that lives, by name. Each generation that goes live is told to it, and nothing of it is in a generation.
#[derive(Default)]
pub struct State {
    /// Breakers, counters and probation of policies.
    pub policies: policy::States,
    /// Gates and health of nodes.
    pub pools: Pools,
    /// How directory servers stand, what they said of users, and where passwords are checked.
    pub directory: DirectoryState,
    /// Counts of connections.
    pub flow: Arc<Flow>,
    /// Counts of connections that were not let in.
    pub refused: Refused,
    /// What was read of bodies before it is wanted.
    pub read_ahead: Arc<Room>,
    /// Sessions with tunnels.
    pub watched: Watched,
    /// Sessions seen of late.
    pub sightings: Sightings,
    /// Sessions that were ended early.
    pub revoked: Revoked,
    /// Counts of failed logins.
    pub throttle: Arc<Throttle>,
    /// Counts of requests, for policies.
    pub usage: Usage,
    /// Counts of all logins.
    pub logins: Logins,
    /// The last attempts to log in.
    pub tries: Tries,
    /// What is counted of the whole process.
    pub counters: Counters,
    /// Where traces go.
    pub exporter: Exporter,
    /// The slowest requests of late.
    pub slowest: Slowest,
    /// The policy that an operator tries.
    pub trying: Trying,
    /// Sessions of mail programs.
    pub mails: Mails,
    /// The other front doors.
    pub cluster: Cluster,
    /// Users whom an operator follows.
    pub followed: UserTraces,
    /// What may be used once only.
    pub once: Once,
    /// How long wrong logins take.
    pub pace: Pace,
    /// Why the audit log cannot be written, if so.
    pub audit_trouble: Arc<Mutex<Option<String>>>,
    draining: AtomicBool,
    over: AtomicBool,
}

/// What metrics call the site of requests that are for none.
const NO_SITE: &str = "none";

/// There is a counter for each way to end.
const _: () = assert!(Ended::ALL.len() == ENDS);

/// Why a generation goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The operator changed something, who may have made a mistake.
    Operator,
    /// What went live before went bad.
    Relapse,
}

impl State {
    /// A generation goes live: what it has in common with the one before lives on, and what is new begins.
    pub fn follow(&self, next: &Arc<Snapshot>, cause: Cause) -> Arc<Live> {
        let policies = self.policies.follow(&next.policies, cause == Cause::Operator);
        let nodes = self.pools.follow(&next.nodes);
        let directory = self.directory.follow(&next.directory);
        self.cluster.follow(next.cluster.clone(), (&self.revoked, &self.mails));
        let of = |site: &Arc<str>| self.counters.sites.of(site);
        let counted = Counted { sites: next.site_names().iter().map(of).collect(), none: of(&NO_SITE.into()) };
        Arc::new(Live { snapshot: next.clone(), policies, directory, nodes, counted })
    }

    /// From now on balancers are told to send no more.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The time for draining is over: what has not finished is dropped.
    pub fn give_up(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether what has not finished is dropped, and its clients did not leave.
    pub fn gave_up(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// What all workers share.
pub struct Shared {
    /// The live generation: the one atomic pointer.
    pub live: ArcSwap<Live>,
    /// What outlives it.
    pub state: State,
    /// Where decisions are recorded and decided again.
    pub desk: Arc<Desk>,
    /// The generation that each worker has seen last.
    pub seen: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Shared {
    /// The live sessions that were seen of late.
    pub fn sessions(&self) -> Vec<Arc<Sighting>> {
        self.live.load().sessions.seen(&self.state.sightings, &self.state.revoked).collect()
    }

    /// How many of them there are at each node.
    pub fn sessions_by_node(&self) -> BTreeMap<String, u64> {
        let mut nodes = BTreeMap::new();
        self.sessions().iter().for_each(|one| *nodes.entry(one.session().backend().to_owned()).or_default() += 1);
        nodes
    }

    /// An attempt to log in has ended: the one place that its record goes through.
    pub fn login_ended(&self, record: Record) {
        let reason = record.reason_word().unwrap_or_default();
        self.state.logins.count((record.outcome, reason), record.mode.unwrap_or("none"), record.took);
        self.state.followed.login(&record, || record.shown());
        let record = Arc::new(record);
        if self.desk.feed.takes() {
            self.desk.feed.tell(Kind::Login, Box::new(record.clone()));
        }
        self.state.tries.keep(record.clone());
        // For last: who has seen the line finds all the rest.
        record.write();
    }

    /// An exchange came to its end: the one place from which all hear of it who want to know.
    pub fn exchange_ended(&self, line: &Line) {
        self.count(line);
        if !line.quiet {
            log::exchange(line);
        }
        self.state.slowest.note(line);
        self.state.followed.exchange(line);
        if self.desk.feed.takes() {
            let (line, time) = (line.clone(), SystemTime::now());
            self.desk.feed.tell(Kind::Exchange, Box::new(Shown { line, time }));
        }
    }

    /// A trace came to its end: failures and slow requests are told of, and of the others the sampled ones.
    pub fn trace_ended(&self, trace: &Rc<Trace>, line: &Line) {
        let live = self.live.load();
        let Some(settings) = live.traces.clone() else { return };
        let has_failed = line.status >= 500 || matches!(line.ended, Ended::Node | Ended::Timeout | Ended::Drain);
        let is_tunnel = line.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_slow = line.took >= settings.slow && !is_tunnel && !trace.is_patient();
        if line.quiet || !(has_failed || is_slow || trace.context().is_sampled) {
            return;
        }
        if live.generation == line.generation && !is_tunnel {
            let exemplar = Exemplar { trace: trace.context().id(), took: line.took, time: SystemTime::now() };
            live.counted(line.site_number).exemplars.keep(Scale::Network, exemplar);
        }
        let method = line.method().map_or("HTTP", |method| method.as_str());
        let name = METHODS[method_of(method)];
        let finished = Finished::new(trace, line.took, name.to_owned(), has_failed)
            .with("http.request.method", method)
            .with("url.path", line.path())
            .with("http.response.status_code", line.status)
            .with("network.protocol.version", line.protocol().trim_start_matches("HTTP/"))
            .with("server.address", line.host.as_deref().unwrap_or_default())
            .with("doorward.site", line.site.as_deref().unwrap_or(NO_SITE))
            .with("doorward.node", line.session.as_ref().map_or("", |session| session.backend()))
            .with("doorward.ended", line.ended.name())
            .with("doorward.request_id", line.id.as_str())
            .with("doorward.generation", line.generation);
        self.state.exporter.hand_over(finished, &settings);
    }

    fn count(&self, line: &Line) {
        let answered = Answered {
            method: line.method().map_or(OTHER, |method| method_of(method.as_str())),
            class: class_of(line.status),
            ended: line.ended as usize,
            took: (line.status != StatusCode::SWITCHING_PROTOCOLS).then_some(line.took),
            received: line.received,
            sent: line.sent,
        };
        let live = self.live.load();
        if live.generation == line.generation {
            return live.counted(line.site_number).count(&answered);
        }
        // A reload came in between, and numbers of sites may be others.
        let name = line.site.clone().unwrap_or_else(|| NO_SITE.into());
        self.state.counters.sites.of(&name).count(&answered);
    }

    /// Opens the files of logs anew, for who moved them away.
    pub fn reopen_logs(&self) {
        log::reopen();
        tracing::info!("the files of logs are opened anew");
    }
}
