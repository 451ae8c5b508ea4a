//! Connections to nodes that serve one connection of one client, since the node may have authenticated them.
//!
//! Invariants: a pinned connection is used by its owner only: for the same session and address, on the client's same
//! connection; it ends with that. It holds no place in the node's gate while it is idle.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

use super::connect::Idle;
use super::http1;

/// A browser opens six connections to a site at once (a script that keeps one open, some more): so many a session may
/// always have pinned, however few the node takes.
const LEAST_SHARE: usize = 8;
/// Of the connections that a node takes at once, a session may have pinned one in so many.
const SHARE: usize = 4;

/// A client's connection over HTTP/1.1. What is pinned to it ends with it.
pub struct ClientConnection {
    idle: Rc<Idle>,
    number: u64,
}

impl ClientConnection {
    /// A connection that a worker has accepted, which uses these connections to nodes.
    pub fn new(idle: &Rc<Idle>) -> Self {
        thread_local! {
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        let number = NEXT.get();
        NEXT.set(number + 1);
        Self { idle: idle.clone(), number }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.idle.pinned.borrow_mut().retain(|pin| pin.owner.client != self.number);
    }
}

/// Who may have connections to nodes authenticated.
#[derive(Clone)]
pub struct Owner {
    /// Nothing is pinned to a connection that ended.
    _connection: Rc<ClientConnection>,
    id: OwnerId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OwnerId {
    client: u64,
    session: [u8; 16],
    /// Behind a proxy the same connection may bring others.
    address: IpAddr,
}

impl Owner {
    /// The user of a session on a connection.
    pub fn new(connection: &Rc<ClientConnection>, session: [u8; 16], address: IpAddr) -> Self {
        let id = OwnerId { client: connection.number, session, address };
        Self { _connection: connection.clone(), id }
    }

    /// A connection for this owner.
    pub(super) fn pin(&self, node: u64, since: u64, connection: http1::Connection) -> Pin {
        Pin { owner: self.id, node, since, connection }
    }
}

/// A connection that waits for its owner's next request.
pub(super) struct Pin {
    owner: OwnerId,
    pub(super) node: u64,
    /// The number of the sweep before which it was put here.
    pub(super) since: u64,
    pub(super) connection: http1::Connection,
}

/// A worker's pinned connections, oldest first: one for each client's connection at most.
#[derive(Default)]
pub(super) struct Pinned(Vec<Pin>);

impl Pinned {
    /// What is pinned to the client's connection, if it is this owner's and still good. Whatever else is pinned to it
    /// ends.
    pub(super) fn take(&mut self, owner: &Owner, node: u64) -> Option<http1::Connection> {
        let at = self.0.iter().position(|pin| pin.owner.client == owner.id.client)?;
        let mut pin = self.0.remove(at);
        let same = pin.owner == owner.id && pin.node == node;
        (same && pin.connection.is_quiet()).then_some(pin.connection)
    }

    /// Keeps a connection. Of those to the same node the oldest one ends when there are as many as the node takes at
    /// once, and the oldest one of the same session when that has its share.
    pub(super) fn put(&mut self, pin: Pin, most: usize) {
        let share = (most / SHARE).max(LEAST_SHARE).min(most);
        self.0.retain(|other| other.owner.client != pin.owner.client);
        let (node, session) = (pin.node, pin.owner.session);
        self.make_room(share, |other| other.node == node && other.owner.session == session);
        self.make_room(most, |other| other.node == node);
        self.0.push(pin);
    }

    fn make_room(&mut self, most: usize, counts: impl Fn(&Pin) -> bool) {
        if self.0.iter().filter(|pin| counts(pin)).count() >= most
            && let Some(oldest) = self.0.iter().position(counts)
        {
            self.0.remove(oldest);
        }
    }

    /// Keeps some of them only.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Pin) -> bool) {
        self.0.retain_mut(keep);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const NODE: u64 = 7;

    fn owner(connection: &Rc<ClientConnection>, session: u8, address: &str) -> Owner {
        Owner::new(connection, [session; 16], address.parse().unwrap())
    }

    /// Pins a connection; its other end.
    fn pin(idle: &Idle, owner: &Owner, most: usize) -> DuplexStream {
        let (node, line) = duplex(64);
        idle.pinned.borrow_mut().put(owner.pin(NODE, 0, http1::Connection::new(Box::new(line))), most);
        node
    }

    fn is_there(idle: &Idle, owner: &Owner, node: u64) -> bool {
        idle.pinned.borrow_mut().take(owner, node).is_some()
    }

    #[tokio::test]
    async fn a_pinned_connection_is_its_owners_only() {
        let idle = Rc::<Idle>::default();
        let [mine, other] = [(); 2].map(|()| Rc::new(ClientConnection::new(&idle)));
        let me = owner(&mine, 1, "192.0.2.1");
        for (who, node) in [
            (owner(&mine, 2, "192.0.2.1"), NODE),
            (owner(&mine, 1, "192.0.2.2"), NODE),
            (owner(&mine, 1, "192.0.2.1"), NODE + 1),
        ] {
            let _node = pin(&idle, &me, 9);
            assert!(!is_there(&idle, &who, node));
            assert!(!is_there(&idle, &me, NODE), "it has ended");
        }
        let _node = pin(&idle, &me, 9);
        assert!(!is_there(&idle, &owner(&other, 1, "192.0.2.1"), NODE));
        assert!(is_there(&idle, &me, NODE));
        drop(pin(&idle, &me, 9));
        assert!(!is_there(&idle, &me, NODE), "the node closed it");
        let _node = pin(&idle, &me, 9);
        drop((me, mine));
        assert!(idle.pinned.borrow().is_empty(), "the client left");
    }

    #[tokio::test]
    async fn a_session_has_its_share_and_a_node_its_bound() {
        let idle = Rc::<Idle>::default();
        let clients: Vec<_> = (0..200).map(|_| Rc::new(ClientConnection::new(&idle))).collect();
        let mut nodes = Vec::new();
        let mut count = |most: usize, session: &dyn Fn(u8) -> u8| {
            idle.pinned.borrow_mut().0.clear();
            for (client, number) in clients.iter().zip(0..) {
                nodes.push(pin(&idle, &owner(client, session(number), "192.0.2.1"), most));
            }
            idle.pinned.borrow().0.len()
        };
        assert_eq!(count(100, &|_| 1), 25, "a quarter");
        assert_eq!(count(12, &|_| 1), LEAST_SHARE);
        assert_eq!(count(5, &|_| 1), 5);
        assert_eq!(count(100, &|number| number), 100);
        assert!(is_there(&idle, &owner(&clients[199], 199, "192.0.2.1"), NODE), "the newest");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_pinned_and_not_used_ends() {
        let idle = Rc::<Idle>::default();
        let client = Rc::new(ClientConnection::new(&idle));
        let _node = pin(&idle, &owner(&client, 1, "192.0.2.1"), 9);
        let swept = async {
            idle.begin_to_sweep();
            tokio::time::sleep(std::time::Duration::from_secs(49)).await;
            assert!(!idle.pinned.borrow().is_empty());
            tokio::time::sleep(std::time::Duration::from_secs(11)).await;
            assert!(idle.pinned.borrow().is_empty());
        };
        tokio::task::LocalSet::new().run_until(swept).await;
    }
}
