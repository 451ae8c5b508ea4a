//! Every bound is a gate: passing it yields a permit, and dropping the permit gives the place back.
//!
//! Invariants: check and count are one step under one lock (or one atomic), so two never pass where one fits.

mod gate;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use gate::{Gate, Permit, Shut};

use crate::config::Limits;

/// Flow control of connections: the six limits, counted for each scope (a listener or a limit class).
///
/// Lives in `State`: counts survive a reload, and limits are those of the Snapshot of the moment.
#[derive(Debug, Default)]
pub struct Flow(Mutex<HashMap<String, Counts>>);

/// A connection's place in a scope's counts.
#[derive(Debug)]
pub struct FlowPermit {
    flow: Arc<Flow>,
    scope: String,
    peer: IpAddr,
}

/// Which of the six limits a connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlowLimit {
    /// `max-connections`.
    #[error("max-connections")]
    Connections,
    /// `max-interval-connections`.
    #[error("max-interval-connections")]
    IntervalConnections,
    /// `peer-max-connections`.
    #[error("peer-max-connections")]
    PeerConnections,
    /// `peer-max-interval-connections`.
    #[error("peer-max-interval-connections")]
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
/// connection are forgotten first; the limit on all connections of the scope holds whatever happens.
const PEERS_KEPT: usize = 1 << 16;

impl Flow {
    /// Counts a new connection of `peer` in `scope`, or says which limit it met.
    ///
    /// # Errors
    /// The limit met; nothing is counted then.
    pub fn admit(self: &Arc<Self>, scope: &str, limits: &Limits, peer: IpAddr) -> Result<FlowPermit, FlowLimit> {
        let (peer, now) = (peer_key(peer), Instant::now());
        let mut scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !scopes.contains_key(scope) {
            scopes.insert(scope.to_owned(), Counts::default());
        }
        let Some(counts) = scopes.get_mut(scope) else { return Err(FlowLimit::Connections) };
        let full = counts.peers.len() >= PEERS_KEPT && !counts.peers.contains_key(&peer);
        // A look through a full table is not free: once a second is often enough.
        if full && counts.purged.is_none_or(|purged| now.duration_since(purged) >= Duration::from_secs(1)) {
            counts.purged = Some(now);
            counts.peers.retain(|_, count| count.open > 0);
        }
        let mut one = counts.peers.get(&peer).copied().unwrap_or_default();
        counts.all.roll(now, limits.interval);
        one.roll(now, limits.peer_interval);
        let over = |count: u64, limit: u64| limit > 0 && count >= limit;
        let checks = [
            (over(counts.all.open, limits.max_connections), FlowLimit::Connections),
            (over(counts.all.new, limits.max_interval_connections), FlowLimit::IntervalConnections),
            (over(one.open, limits.peer_max_connections), FlowLimit::PeerConnections),
            (over(one.new, limits.peer_max_interval_connections), FlowLimit::PeerIntervalConnections),
        ];
        if let Some((_, limit)) = checks.into_iter().find(|(met, _)| *met) {
            return Err(limit);
        }
        counts.all.add();
        one.add();
        if counts.peers.len() < PEERS_KEPT || counts.peers.contains_key(&peer) {
            counts.peers.insert(peer, one);
        }
        Ok(FlowPermit { flow: self.clone(), scope: scope.to_owned(), peer })
    }
}

impl Count {
    fn roll(&mut self, now: Instant, interval: Duration) {
        if self.since.is_none_or(|since| now.duration_since(since) >= interval) {
            (self.since, self.new) = (Some(now), 0);
        }
    }

    fn add(&mut self) {
        self.open += 1;
        self.new += 1;
    }
}

impl Drop for FlowPermit {
    fn drop(&mut self) {
        let mut scopes = self.flow.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = scopes.get_mut(&self.scope) else { return };
        counts.all.open = counts.all.open.saturating_sub(1);
        if let Some(one) = counts.peers.get_mut(&self.peer) {
            one.open = one.open.saturating_sub(1);
        }
    }
}

/// Whom a connection is counted for: an IPv4 address, or an IPv6 /64, which is what one customer has (RFC 6177).
fn peer_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_limits_is_met_and_given_back() {
        let none = Limits {
            max_connections: 0,
            max_interval_connections: 0,
            peer_max_connections: 0,
            peer_max_interval_connections: 0,
            ..Limits::default()
        };
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let flow = Arc::new(Flow::default());
        let check = |scope: &str, limits: &Limits, second: IpAddr, expected: FlowLimit| {
            let first = flow.admit(scope, limits, a).unwrap();
            assert_eq!(flow.admit(scope, limits, second).unwrap_err(), expected);
            drop(first);
            flow.admit(scope, limits, second).map(drop)
        };
        assert!(check("c", &Limits { max_connections: 1, ..none }, b, FlowLimit::Connections).is_ok());
        assert!(check("p", &Limits { peer_max_connections: 1, ..none }, a, FlowLimit::PeerConnections).is_ok());
        let interval = Limits { max_interval_connections: 1, ..none };
        assert!(check("i", &interval, b, FlowLimit::IntervalConnections).is_err());
        let peer_interval = Limits { peer_max_interval_connections: 1, ..none };
        assert!(check("pi", &peer_interval, a, FlowLimit::PeerIntervalConnections).is_err());
        assert!(flow.admit("pi", &peer_interval, b).is_ok());
    }

    #[test]
    fn ipv6_peers_are_counted_by_their_network() {
        let key = |text: &str| peer_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn a_million_peers_do_not_grow_the_table() {
        let flow = Arc::new(Flow::default());
        let limits = Limits { max_connections: 0, max_interval_connections: 0, ..Limits::default() };
        for n in 0..200_000_u32 {
            let _ = flow.admit("x", &limits, IpAddr::from(n.to_be_bytes()));
        }
        assert!(flow.0.lock().unwrap()["x"].peers.len() <= PEERS_KEPT);
    }
}
