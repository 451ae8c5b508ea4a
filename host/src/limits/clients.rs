//! The clients that a trusted proxy names on one connection: each is counted as if it had connected itself.
//!
//! A client holds a place from its first request on a connection until the connection names another one and its last answer
//! was sent. It counts as one new connection on each connection that names it, however often others come between.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::flow::{Flow, FlowLimit, FlowPermit};
use crate::config::{self, Limits};

/// So many clients are remembered of a connection: more are counted as new once more.
const REMEMBERED: usize = 64;

/// The clients of one connection.
#[derive(Debug)]
pub struct Clients {
    /// The scope that the connection is counted in.
    pub scope: String,
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    present: Option<(IpAddr, Rc<FlowPermit>)>,
    counted: Vec<IpAddr>,
}

impl Clients {
    /// None yet.
    pub fn new(scope: String) -> Self {
        Self { scope, known: RefCell::default() }
    }

    /// A place for a client whose request has come.
    ///
    /// # Errors
    /// The scope and the limit that the client has met.
    pub fn place(
        &self,
        flow: &Arc<Flow>,
        limits: &Limits,
        global: &config::Flow,
        client: IpAddr,
    ) -> Result<Rc<FlowPermit>, (String, FlowLimit)> {
        let mut known = self.known.borrow_mut();
        if let Some((_, place)) = known.present.as_ref().filter(|(present, _)| *present == client) {
            return Ok(place.clone());
        }
        let place = if known.counted.contains(&client) {
            Rc::new(flow.admit_again(&self.scope, limits, global, client)?)
        } else {
            let place = Rc::new(flow.admit_client(&self.scope, limits, global, client)?);
            if known.counted.len() >= REMEMBERED {
                known.counted.remove(0);
            }
            known.counted.push(client);
            place
        };
        known.present = Some((client, place.clone()));
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_holds_one_place_on_each_connection_that_named_it_last() {
        let flow = Arc::new(Flow::default());
        let limits = Limits { peer_max_connections: 2, peer_max_interval_connections: 3, ..Limits::NONE };
        let global = config::Flow::default();
        let [alice, bob]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let connections = [(); 4].map(|()| Clients::new("x".to_owned()));
        let ask =
            |at: usize, client| connections[at].place(&flow, &limits, &global, client).map_err(|(_, limit)| limit);
        for _ in 0..10 {
            assert!(ask(0, alice).is_ok() && ask(1, alice).is_ok());
        }
        assert_eq!(ask(2, alice).unwrap_err(), FlowLimit::PeerConnections);
        // Others are not troubled, and a connection that names another one gives the place back.
        assert!(ask(2, bob).is_ok() && ask(1, bob).is_ok());
        assert!(ask(2, alice).is_ok());
        // She has been new three times: a fourth connection is one too many, and the third goes on.
        assert!(ask(0, bob).is_ok());
        assert_eq!(ask(3, alice).unwrap_err(), FlowLimit::PeerIntervalConnections);
        assert!(ask(2, alice).is_ok() && ask(0, alice).is_ok());
        assert_eq!(flow.open()["x"], 0, "the connections themselves are counted elsewhere");
    }

    #[test]
    fn an_answer_on_its_way_holds_its_place() {
        let flow = Arc::new(Flow::default());
        let limits = Limits { peer_max_connections: 1, ..Limits::NONE };
        let global = config::Flow::default();
        let [alice, bob]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let [one, other] = [(); 2].map(|()| Clients::new("x".to_owned()));
        let answering = one.place(&flow, &limits, &global, alice).unwrap();
        assert!(one.place(&flow, &limits, &global, bob).is_ok());
        assert!(other.place(&flow, &limits, &global, alice).is_err());
        drop(answering);
        assert!(other.place(&flow, &limits, &global, alice).is_ok());
    }
}
