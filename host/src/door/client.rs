//! A client that was let in.

use std::rc::Rc;
use std::sync::Arc;

use super::drain::Drain;
use crate::limits::Clients;
use crate::peer::Peer;
use crate::snapshot::Listener;
use crate::worker::Worker;

/// A client that was let in, before a byte of the listener's protocol is spoken.
pub(super) struct Client {
    /// The worker that serves it.
    pub(super) worker: Rc<Worker>,
    /// The listener that it came to.
    pub(super) listener: Arc<Listener>,
    /// Who it is.
    pub(super) peer: Arc<Peer>,
    /// Whom a trusted proxy names on the connection.
    pub(super) clients: Rc<Clients>,
    /// Says when it is time to stop.
    pub(super) drain: Drain,
}
