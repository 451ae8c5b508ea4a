//! Connections to nodes that serve one connection of one client, since the node may have authenticated them.
//!
//! Invariants: a pinned connection is used by its owner only: for the same session and address, on the client's same
//! connection; it ends with that. It holds no place in the node's gate while it is idle.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::connect::Idle;
use super::http1;
use crate::limits::Holder;

/// A browser opens six connections to a site at once (a script that keeps one open, some more): so many a user may
/// always have pinned, however few the node takes.
const LEAST_SHARE: usize = 8;
/// Of the connections that a node takes at once, a user may have pinned one in so many.
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
    /// Whose share its connections are of, whatever the session.
    holder: Holder,
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
    pub fn new(connection: &Rc<ClientConnection>, session: [u8; 16], address: IpAddr, holder: Holder) -> Self {
        let id = OwnerId { client: connection.number, session, address };
        Self { _connection: connection.clone(), id, holder }
    }

    /// A connection for this owner.
    pub(super) fn pin(&self, node: u64, since: u64, connection: http1::Connection) -> Pin {
        Pin { owner: self.id, holder: self.holder, node, since, connection }
    }
}

/// A connection that waits for its owner's next request.
pub(super) struct Pin {
    owner: OwnerId,
    holder: Holder,
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

    /// Keeps a connection. Of those to the same node the user's oldest one ends when he has his share; and when there are
    /// as many as the node takes at once, the oldest one of whoever has most.
    pub(super) fn put(&mut self, pin: Pin, most: usize) {
        let share = (most / SHARE).max(LEAST_SHARE).min(most);
        self.0.retain(|other| other.owner.client != pin.owner.client);
        let (node, holder) = (pin.node, pin.holder);
        let is_his = |other: &Pin| other.node == node && other.holder == holder;
        if self.0.iter().filter(|other| is_his(other)).count() >= share {
            self.end_oldest(is_his);
        }
        if self.0.iter().filter(|other| other.node == node).count() >= most {
            let mut held = HashMap::from([(holder, 1_usize)]);
            for other in self.0.iter().filter(|other| other.node == node) {
                *held.entry(other.holder).or_default() += 1;
            }
            let largest = held.values().max().copied();
            self.end_oldest(|other| other.node == node && held.get(&other.holder).copied() == largest);
        }
        self.0.push(pin);
    }

    fn end_oldest(&mut self, counts: impl Fn(&Pin) -> bool) {
        if let Some(oldest) = self.0.iter().position(counts) {
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

    fn of_user(connection: &Rc<ClientConnection>, session: u8, address: &str, user: &str) -> Owner {
        Owner::new(connection, [session; 16], address.parse().unwrap(), Holder::user(user))
    }

    fn owner(connection: &Rc<ClientConnection>, session: u8, address: &str) -> Owner {
        of_user(connection, session, address, "alice")
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
    async fn a_user_has_his_share_and_a_node_its_bound() {
        let idle = Rc::<Idle>::default();
        let clients: Vec<_> = (0..200).map(|_| Rc::new(ClientConnection::new(&idle))).collect();
        let mut nodes = Vec::new();
        let mut count = |most: usize, user: &dyn Fn(u8) -> u8| {
            idle.pinned.borrow_mut().0.clear();
            for (client, number) in clients.iter().zip(0..) {
                let user = user(number).to_string();
                nodes.push(pin(&idle, &of_user(client, number, "192.0.2.1", &user), most));
            }
            idle.pinned.borrow().0.len()
        };
        assert_eq!(count(100, &|_| 1), 25, "a quarter, over all sessions");
        assert_eq!(count(12, &|_| 1), LEAST_SHARE);
        assert_eq!(count(5, &|_| 1), 5);
        assert_eq!(count(100, &|number| number), 100);
        assert!(is_there(&idle, &owner(&clients[199], 199, "192.0.2.1"), NODE), "the newest");
    }

    #[tokio::test]
    async fn where_a_node_is_full_whoever_has_most_gives_way() {
        let idle = Rc::<Idle>::default();
        let clients: Vec<_> = (0..20).map(|_| Rc::new(ClientConnection::new(&idle))).collect();
        // Of ten, bob's is the oldest; alice has eight, and carol comes with her second and third.
        let users = ["bob"].into_iter().chain([(); 8].map(|()| "alice")).chain(["carol"; 3]);
        let owners: Vec<_> = clients
            .iter()
            .zip(0..)
            .zip(users)
            .map(|((client, n), user)| of_user(client, n, "192.0.2.1", user))
            .collect();
        let _nodes: Vec<_> = owners.iter().map(|owner| pin(&idle, owner, 10)).collect();
        let there: Vec<_> = owners.iter().map(|owner| is_there(&idle, owner, NODE)).collect();
        let gone: Vec<_> = (0..there.len()).filter(|at| !there[*at]).collect();
        assert_eq!(gone, [1, 2], "alice's oldest");
    }

    #[tokio::test]
    async fn a_shortage_closes_what_is_pinned_and_idle_too() {
        let idle = Rc::<Idle>::default();
        let client = Rc::new(ClientConnection::new(&idle));
        let _node = pin(&idle, &owner(&client, 1, "192.0.2.1"), 9);
        idle.clear();
        assert!(idle.pinned.borrow().is_empty());
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
