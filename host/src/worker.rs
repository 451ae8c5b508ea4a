//! What belongs to one worker thread: policy instances, and connections to nodes and directory. No locks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use crate::back::Idle;
use crate::counters::Seat;
use crate::directory::Connections;
use crate::live::Live;
use crate::policy::Guests;
use crate::session::Opened;
use crate::state::Shared;

/// One worker's own things.
pub struct Worker {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Warm policy instances.
    pub guests: RefCell<Guests>,
    /// Directory connections.
    pub directory: Connections,
    /// Sessions whose cookies were opened of late.
    pub opened: RefCell<Opened>,
    /// Idle connections to nodes.
    pub idle: Rc<Idle>,
    /// The generation seen last; only this worker writes it.
    seen: Arc<AtomicU64>,
    /// Where it counts.
    _seat: Seat,
}

impl Worker {
    /// A worker with nothing warm yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        let seen = Arc::new(AtomicU64::new(0));
        shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
        Self {
            guests: RefCell::new(Guests::new(shared.desk.clone())),
            shared,
            directory: Connections::default(),
            opened: RefCell::default(),
            idle: Rc::default(),
            seen,
            _seat: Seat::take(),
        }
    }

    /// The live generation. When it is a new one, instances and connections that it has no use for go.
    pub fn live(&self) -> Arc<Live> {
        let live = self.shared.live.load_full();
        if self.seen.load(Ordering::Relaxed) != live.generation {
            self.guests.borrow_mut().keep_only(&live.policies, live.generation);
            self.opened.borrow_mut().clear();
            self.idle.keep_only(live.nodes().iter().map(AsRef::as_ref));
            self.seen.store(live.generation, Ordering::Release);
        }
        live
    }
}

impl Drop for Worker {
    /// A worker that retired has nothing more to see.
    fn drop(&mut self) {
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|one| !Arc::ptr_eq(one, &self.seen));
    }
}
