//! What belongs to one worker thread: policy instances, and connections to nodes and directory. No locks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::back::Idle;
use crate::directory::Connections;
use crate::policy::Guests;
use crate::snapshot::Snapshot;
use crate::state::Shared;

/// One worker's own things.
pub struct Worker {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Warm policy instances.
    pub guests: RefCell<Guests>,
    /// Directory connections.
    pub directory: Connections,
    /// Idle connections to nodes.
    pub idle: Rc<Idle>,
    seen: Cell<u64>,
}

impl Worker {
    /// A worker with nothing warm yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            guests: RefCell::default(),
            directory: Connections::default(),
            idle: Rc::default(),
            seen: Cell::new(0),
        }
    }

    /// The live Snapshot. When it is a new one, instances and connections that it has no use for go.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let snapshot = self.shared.snapshot.load_full();
        if self.seen.replace(snapshot.generation) != snapshot.generation {
            self.guests.borrow_mut().keep_only(&snapshot.policies);
            self.idle.keep_only(snapshot.nodes().iter().map(AsRef::as_ref));
        }
        snapshot
    }
}
