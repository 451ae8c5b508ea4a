//! Before TLS and before a byte is read: may this client connect, and is there room for it?

use std::sync::Arc;

use crate::limits::FlowPermit;
use crate::peer::Peer;
use crate::policy::{Access, Facts};
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// Asks the access policies, then counts the connection. `None` closes it; the reason is in the log only.
pub(super) fn admit(worker: &Worker, snapshot: &Snapshot, peer: &Arc<Peer>) -> Option<FlowPermit> {
    let facts = Facts::of_connection(peer.clone());
    let class = match snapshot.policies.access(&mut worker.guests.borrow_mut(), &facts) {
        Access::Allow(class) => class,
        Access::Deny(reason) => {
            tracing::info!(client = %peer.address, listener = peer.listener, reason, "connection denied");
            return None;
        }
    };
    let class = class.and_then(|name| {
        let limits = snapshot.classes.get(&name);
        if limits.is_none() {
            tracing::warn!(class = name, "an access policy names a limit class that is not configured");
        }
        limits.map(|limits| (format!("class {name}"), *limits))
    });
    let (scope, limits) = class.or_else(|| {
        let listener = snapshot.listeners.get(&peer.listener)?;
        Some((format!("listener {}", peer.listener), listener.config.limits))
    })?;
    let permit = worker.shared.state.flow.admit(&scope, &limits, peer.address);
    permit.map_err(|limit| tracing::info!(client = %peer.address, scope, %limit, "connection over a limit")).ok()
}
