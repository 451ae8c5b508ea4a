//! State: what outlives a generation. And the pair of both, which every worker shares.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::auth::Pace;
use crate::limits::{Flow, Refused};
use crate::log::access::Log;
use crate::policy::Desk;
use crate::session::Ended;
use crate::snapshot::Snapshot;

/// What survives a reload.
#[derive(Default)]
pub struct State {
    /// Counts of connections.
    pub flow: Arc<Flow>,
    /// Counts of connections that were not let in.
    pub refused: Refused,
    /// Sessions that were ended.
    pub ended: Ended,
    /// How long wrong logins take.
    pub pace: Pace,
}

/// What all workers share.
pub struct Shared {
    /// The live generation: the one atomic pointer.
    pub snapshot: ArcSwap<Snapshot>,
    /// What outlives it.
    pub state: State,
    /// Where access lines go.
    pub log: Log,
    /// Where decisions are recorded and decided again.
    pub desk: Arc<Desk>,
    /// The generation that each worker has seen last.
    pub seen: Mutex<Vec<Arc<AtomicU64>>>,
}
