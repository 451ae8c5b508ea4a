//! State: what outlives a generation. And the pair of both, which every worker shares.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::limits::Flow;
use crate::log::access::Log;
use crate::session::Ended;
use crate::snapshot::Snapshot;

/// What survives a reload.
#[derive(Default)]
pub struct State {
    /// Counts of connections.
    pub flow: Arc<Flow>,
    /// Sessions that were ended.
    pub ended: Ended,
}

/// What all workers share.
pub struct Shared {
    /// The live generation: the one atomic pointer.
    pub snapshot: ArcSwap<Snapshot>,
    /// What outlives it.
    pub state: State,
    /// Where access lines go.
    pub log: Log,
}
