//! Before TLS and before a byte of the client's is read: may it connect, and is there room for it?

use std::rc::Rc;
use std::sync::Arc;

use crate::limits::{Clients, FlowPermit};
use crate::peer::Peer;
use crate::policy::{Access, Facts};
use crate::worker::Worker;

/// Asks the access policies, then counts the connection. `None` closes it; the reason is in the log and the metrics.
pub(super) fn admit(worker: &Worker, peer: &Arc<Peer>) -> Option<(FlowPermit, Rc<Clients>)> {
    let (snapshot, state, listener) = (worker.live(), &worker.shared.state, peer.listener.as_str());
    let facts = Facts::of_connection(peer.clone());
    let class = match snapshot.policies.access(&mut worker.guests.borrow_mut(), &facts) {
        Access::Allow(class) => class,
        Access::Deny(reason) => {
            if let Some(before) = state.refused.count(listener, "access") {
                tracing::info!(client = %peer.address, listener, reason, before, "connection denied");
            }
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
        let own = snapshot.listeners.get(listener)?;
        Some((format!("listener {listener}"), own.config.limits))
    })?;
    let is_proxy = snapshot.forwarding.trusted.contain(peer.address);
    let permit = state.flow.admit(&scope, &limits, &snapshot.flow, (!is_proxy).then_some(peer.address));
    permit
        .map_err(|(scope, limit)| {
            if let Some(before) = state.refused.count(listener, limit.name()) {
                tracing::info!(client = %peer.address, listener, scope, %limit, before, "connection over a limit");
            }
        })
        .ok()
        .map(|permit| (permit, Rc::new(Clients::new(scope))))
}
