//! Flow control of connections: the six limits, and the count of those that were not let in.
//!
//! Invariants: check and count are one step under one lock, over both scopes of a connection. No table grows without
//! bound, whoever connects.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{self, Limits, prefix};

/// Counts of connections for each scope: a listener, a limit class, and all of them together.
///
/// Lives in `State`: counts survive a reload, and limits are those of the Snapshot of the moment.
#[derive(Debug, Default)]
pub struct Flow(Mutex<BTreeMap<String, Counts>>);

/// A place in the counts of the scopes of a connection.
#[derive(Debug)]
pub struct FlowPermit {
    flow: Arc<Flow>,
    counted: Counted,
    /// Each scope, with the peer where that is counted too: a full table has no room for another.
    places: [(String, Option<IpAddr>); 2],
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// A connection, with its peer.
    Connection,
    /// A client that a proxy names on one.
    Client,
    /// Such a client, which was counted as new there before.
    Again,
}

/// Which of the limits a connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowLimit {
    /// `max-connections`.
    Connections,
    /// `max-interval-connections`.
    IntervalConnections,
    /// `peer-max-connections`.
    PeerConnections,
    /// `peer-max-interval-connections`.
    PeerIntervalConnections,
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    peers: HashMap<IpAddr, Count>,
    purged: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    open: u64,
    since: Option<Instant>,
    new: u64,
}

/// Peers remembered in a scope: 64 Ki entries of about 64 bytes are 4 MiB. Beyond that, peers without an open
/// connection are forgotten; the limits on all connections of the scope hold whatever happens.
const PEERS_KEPT: usize = 1 << 16;

/// The scope of all connections.
const ALL: &str = "all";

impl Flow {
    /// Counts a new connection in `scope` and in the scope of all, or says which limit of which scope it met. A trusted proxy
    /// is no peer: then there is none, and its clients are counted as their requests come.
    ///
    /// # Errors
    /// The scope and the limit met; nothing is counted then.
    pub fn admit(
        self: &Arc<Self>,
        scope: &str,
        limits: &Limits,
        global: &config::Flow,
        peer: Option<IpAddr>,
    ) -> Result<FlowPermit, (String, FlowLimit)> {
        self.count(scope, limits, global, (peer, Counted::Connection))
    }

    /// Counts a client that a trusted proxy names on a connection for the first time.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn admit_client(
        self: &Arc<Self>,
        scope: &str,
        limits: &Limits,
        global: &config::Flow,
        client: IpAddr,
    ) -> Result<FlowPermit, (String, FlowLimit)> {
        self.count(scope, limits, global, (Some(client), Counted::Client))
    }

    /// Counts a client that is named on a connection once more: it is there, but not new.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn admit_again(
        self: &Arc<Self>,
        scope: &str,
        limits: &Limits,
        global: &config::Flow,
        client: IpAddr,
    ) -> Result<FlowPermit, (String, FlowLimit)> {
        self.count(scope, limits, global, (Some(client), Counted::Again))
    }

    fn count(
        self: &Arc<Self>,
        scope: &str,
        limits: &Limits,
        global: &config::Flow,
        (peer, counted): (Option<IpAddr>, Counted),
    ) -> Result<FlowPermit, (String, FlowLimit)> {
        let (peer, now) = (peer.map(|peer| peer_of(peer, global)), Instant::now());
        let mut scopes = self.scopes();
        let each = [(scope, limits), (ALL, &global.all)];
        for (scope, limits) in each {
            if !scopes.contains_key(scope) {
                scopes.insert(scope.to_owned(), Counts::default());
            }
            let met = scopes.get_mut(scope).and_then(|counts| counts.meets(limits, peer, counted, now));
            if let Some(limit) = met {
                return Err((scope.to_owned(), limit));
            }
        }
        let places = each.map(|(scope, _)| {
            let peer = scopes.get_mut(scope).and_then(|counts| counts.add(peer, counted, now));
            (scope.to_owned(), peer)
        });
        drop(scopes);
        Ok(FlowPermit { flow: self.clone(), counted, places })
    }

    /// Open connections of each scope, by its name.
    pub fn open(&self) -> BTreeMap<String, u64> {
        self.scopes().iter().map(|(scope, counts)| (scope.clone(), counts.all.open)).collect()
    }

    fn scopes(&self) -> MutexGuard<'_, BTreeMap<String, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// The limit that another connection of this peer would meet. Intervals that are over begin anew.
    fn meets(&mut self, limits: &Limits, peer: Option<IpAddr>, counted: Counted, now: Instant) -> Option<FlowLimit> {
        let over = |count: u64, limit: u64| limit > 0 && count >= limit;
        self.all.roll(now, limits.interval);
        if counted == Counted::Connection && over(self.all.open, limits.max_connections) {
            return Some(FlowLimit::Connections);
        }
        if counted == Counted::Connection && over(self.all.new, limits.max_interval_connections) {
            return Some(FlowLimit::IntervalConnections);
        }
        let peer = peer?;
        self.make_room(limits, peer, now);
        let one = self.peers.get_mut(&peer)?;
        one.roll(now, limits.peer_interval);
        if over(one.open, limits.peer_max_connections) {
            return Some(FlowLimit::PeerConnections);
        }
        let is_new = counted != Counted::Again;
        (is_new && over(one.new, limits.peer_max_interval_connections)).then_some(FlowLimit::PeerIntervalConnections)
    }

    /// Forgets peers when the table is full: those whose interval is over; when that is not enough, all that have no
    /// open connection. A look through a full table is not free: once a second is often enough.
    fn make_room(&mut self, limits: &Limits, peer: IpAddr, now: Instant) {
        let full = self.peers.len() >= PEERS_KEPT && !self.peers.contains_key(&peer);
        if !full || self.purged.is_some_and(|purged| now.duration_since(purged) < Duration::from_secs(1)) {
            return;
        }
        self.purged = Some(now);
        self.peers.retain(|_, count| count.open > 0 || !count.is_over(now, limits.peer_interval));
        if self.peers.len() > PEERS_KEPT / 2 {
            self.peers.retain(|_, count| count.open > 0);
        }
    }

    /// Counts a connection or a client; its peer, if that is counted.
    fn add(&mut self, peer: Option<IpAddr>, counted: Counted, now: Instant) -> Option<IpAddr> {
        if counted == Counted::Connection {
            self.all.add(now);
        }
        let room = |peer: &IpAddr| self.peers.len() < PEERS_KEPT || self.peers.contains_key(peer);
        let peer = peer.filter(room)?;
        let one = self.peers.entry(peer).or_default();
        match counted {
            Counted::Again => one.open += 1,
            Counted::Connection | Counted::Client => one.add(now),
        }
        Some(peer)
    }
}

impl Count {
    fn is_over(&self, now: Instant, interval: Duration) -> bool {
        self.since.is_none_or(|since| now.duration_since(since) >= interval)
    }

    fn roll(&mut self, now: Instant, interval: Duration) {
        if self.is_over(now, interval) {
            (self.since, self.new) = (None, 0);
        }
    }

    fn add(&mut self, now: Instant) {
        self.since = self.since.or(Some(now));
        self.open += 1;
        self.new += 1;
    }
}

impl Drop for FlowPermit {
    fn drop(&mut self) {
        let mut scopes = self.flow.scopes();
        for (scope, peer) in &self.places {
            let Some(counts) = scopes.get_mut(scope) else { continue };
            if self.counted == Counted::Connection {
                counts.all.open = counts.all.open.saturating_sub(1);
            }
            if let Some(one) = peer.and_then(|peer| counts.peers.get_mut(&peer)) {
                one.open = one.open.saturating_sub(1);
            }
        }
    }
}

/// Whom a connection is counted for.
fn peer_of(address: IpAddr, flow: &config::Flow) -> IpAddr {
    let address = address.to_canonical();
    prefix(address, if address.is_ipv4() { flow.prefix_v4 } else { flow.prefix_v6 })
}

impl FlowLimit {
    /// The key of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::IntervalConnections => "max-interval-connections",
            Self::PeerConnections => "peer-max-connections",
            Self::PeerIntervalConnections => "peer-max-interval-connections",
        }
    }
}

impl std::fmt::Display for FlowLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Connections that were not let in, by listener and reason. Both are of the configuration or of the program, so there
/// are few.
#[derive(Debug, Default)]
pub struct Refused(Mutex<BTreeMap<(String, &'static str), Refusals>>);

#[derive(Debug, Default)]
struct Refusals {
    all: u64,
    /// Those that no line of the log told of.
    untold: u64,
    told: Option<Instant>,
}

/// A flood must not become a flood of lines: one a second for each listener and reason.
const LINE_EACH: Duration = Duration::from_secs(1);

impl Refused {
    /// Counts one. When it is time for a line in the log, says how many there were since the last line.
    pub fn count(&self, listener: &str, reason: &'static str) -> Option<u64> {
        let (mut all, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let one = all.entry((listener.to_owned(), reason)).or_default();
        one.all += 1;
        if one.told.is_some_and(|told| now.duration_since(told) < LINE_EACH) {
            one.untold += 1;
            return None;
        }
        one.told = Some(now);
        Some(std::mem::take(&mut one.untold))
    }

    /// How many there were of each listener and reason.
    pub fn all(&self) -> Vec<(String, &'static str, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|((listener, reason), count)| (listener.clone(), *reason, count.all)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_of_the_limits_is_met_and_given_back() {
        let (none, global) = (Limits::NONE, config::Flow::default());
        let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
        let flow = Arc::new(Flow::default());
        let check = |scope: &str, limits: &Limits, second: IpAddr, expected: FlowLimit| {
            let first = flow.admit(scope, limits, &global, Some(a)).unwrap();
            assert_eq!(flow.admit(scope, limits, &global, Some(second)).unwrap_err(), (scope.to_owned(), expected));
            drop(first);
            flow.admit(scope, limits, &global, Some(second)).map(drop)
        };
        assert!(check("c", &Limits { max_connections: 1, ..none }, b, FlowLimit::Connections).is_ok());
        assert!(check("p", &Limits { peer_max_connections: 1, ..none }, a, FlowLimit::PeerConnections).is_ok());
        let interval = Limits { max_interval_connections: 1, ..none };
        assert!(check("i", &interval, b, FlowLimit::IntervalConnections).is_err());
        let peer_interval = Limits { peer_max_interval_connections: 1, ..none };
        assert!(check("pi", &peer_interval, a, FlowLimit::PeerIntervalConnections).is_err());
        assert!(flow.admit("pi", &peer_interval, &global, Some(b)).is_ok());
        assert_eq!(flow.open().values().sum::<u64>(), 0);
    }

    #[test]
    fn what_holds_for_all_holds_over_scopes_and_counts_nothing_when_met() {
        let global = config::Flow { all: Limits { max_connections: 1, ..Limits::NONE }, ..config::Flow::default() };
        let flow = Arc::new(Flow::default());
        let first = flow.admit("a", &Limits::NONE, &global, Some(address("192.0.2.1"))).unwrap();
        let met = flow.admit("b", &Limits::NONE, &global, Some(address("192.0.2.2"))).unwrap_err();
        assert_eq!(met, (ALL.to_owned(), FlowLimit::Connections));
        assert_eq!(flow.open()["b"], 0);
        drop(first);
        assert!(flow.admit("b", &Limits::NONE, &global, Some(address("192.0.2.2"))).is_ok());
    }

    #[test]
    fn peers_are_networks_of_so_many_bits() {
        let check = |flow: &config::Flow, one: &str, other: &str, same: bool| {
            assert_eq!(peer_of(address(one), flow) == peer_of(address(other), flow), same, "{one} {other}");
        };
        let flow = config::Flow::default();
        check(&flow, "2001:db8::1", "2001:db8::ffff", true);
        check(&flow, "2001:db8::1", "2001:db8:0:1::1", false);
        check(&flow, "::ffff:192.0.2.1", "192.0.2.1", true);
        check(&flow, "192.0.2.1", "192.0.2.2", false);
        let wide = config::Flow { prefix_v4: 24, prefix_v6: 48, ..flow };
        check(&wide, "192.0.2.1", "192.0.2.2", true);
        check(&wide, "192.0.3.1", "192.0.2.2", false);
        check(&wide, "2001:db8::1", "2001:db8:0:1::1", true);
    }

    #[test]
    fn a_million_peers_do_not_grow_the_table() {
        let (flow, global) = (Arc::new(Flow::default()), config::Flow::default());
        let limits = Limits { peer_max_connections: 1, ..Limits::NONE };
        let peer = |n: u64| IpAddr::from((u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64).to_be_bytes());
        let kept: Vec<_> = (0..100_000).filter_map(|n| flow.admit("x", &limits, &global, Some(peer(n))).ok()).collect();
        for n in 100_000..1_000_000 {
            drop(flow.admit("x", &limits, &global, Some(peer(n))));
        }
        let most = flow.scopes().values().map(|counts| counts.peers.len()).max();
        assert!(most <= Some(PEERS_KEPT), "{most:?}");
        assert_eq!(flow.open()["x"], kept.len() as u64);
        assert_eq!(flow.admit("x", &limits, &global, Some(peer(1))).unwrap_err().1, FlowLimit::PeerConnections);
        drop(kept);
        assert_eq!(flow.open()["x"], 0);
        let of_peers: u64 = flow.scopes().values().flat_map(|counts| counts.peers.values()).map(|one| one.open).sum();
        assert_eq!(of_peers, 0);
    }

    #[test]
    fn refusals_are_counted_and_told_once_a_second() {
        let refused = Refused::default();
        assert_eq!(refused.count("public", "access"), Some(0));
        assert_eq!(refused.count("public", "access"), None);
        assert_eq!(refused.count("inner", "access"), Some(0));
        assert_eq!(refused.all(), [("inner".to_owned(), "access", 1), ("public".to_owned(), "access", 2)]);
    }
}
