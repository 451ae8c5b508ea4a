//! How a node is asked to let somebody in. A login knows no more of it than this: HTTP's doors ask by the node's recipe,
//! and a door of another protocol brings a dialogue of its own.

use std::rc::Rc;
use std::sync::Arc;

use hyper::HeaderMap;

use super::login::{self, LoggedIn, LoginError, Pending, Person, Visitor, Watcher};
use super::{Hop, Idle, Node, Times};
use crate::limits::{Allowance, Holder};
use crate::peer::Peer;
use crate::secret::Secret;

/// How a door asks nodes.
pub trait Dialogue {
    /// What a login at a node leaves for the door.
    type Opened;

    /// Whether the node checks the password in it. One that does not is never the only one to be asked.
    fn checks_password(&self, node: &Node) -> bool;

    /// Logs somebody in at a node.
    fn log_in(&self, node: &Arc<Node>, person: &Person<'_>) -> impl Future<Output = Result<Self::Opened, LoginError>>;

    /// Brings a node the code that a pending login waits for.
    fn second_factor(
        &self,
        node: &Arc<Node>,
        user: &str,
        code: (&Pending, &Secret),
    ) -> impl Future<Output = Result<Self::Opened, LoginError>>;
}

/// By the node's recipe, over HTTP.
pub struct ByRecipe<'a> {
    /// The worker's connections.
    pub idle: &'a Rc<Idle>,
    /// The client.
    pub peer: &'a Peer,
    /// What somebody may take of what all share.
    pub allowance: Box<dyn Fn(Holder) -> Rc<Allowance> + 'a>,
    /// The headers that a node gets with any request of this client.
    pub headers: Box<dyn Fn(&Node) -> HeaderMap + 'a>,
    /// What a recipe may know of the client.
    pub visitor: Visitor<'a>,
    /// Who is told of each step.
    pub watcher: Watcher<'a>,
}

impl ByRecipe<'_> {
    /// The way to a node. A login is no request of a client: nobody asks how long it waited.
    fn hop<'h>(&'h self, node: &'h Arc<Node>, (allowance, times): (&'h Rc<Allowance>, &'h Times)) -> Hop<'h> {
        Hop { node, idle: self.idle, peer: self.peer, owner: None, allowance, times }
    }
}

impl Dialogue for ByRecipe<'_> {
    type Opened = LoggedIn;

    fn checks_password(&self, node: &Node) -> bool {
        node.recipe.checks_password()
    }

    async fn log_in(&self, node: &Arc<Node>, person: &Person<'_>) -> Result<LoggedIn, LoginError> {
        let allowance = (self.allowance)(Holder::login(person.name));
        let (allowance, times) = (&allowance, &Times::default());
        let hop = self.hop(node, (allowance, times));
        login::log_in(hop, &(self.headers)(node), (person, &self.visitor), self.watcher).await
    }

    async fn second_factor(
        &self,
        node: &Arc<Node>,
        user: &str,
        (pending, code): (&Pending, &Secret),
    ) -> Result<LoggedIn, LoginError> {
        let allowance = (self.allowance)(Holder::user(user));
        let (allowance, times) = (&allowance, &Times::default());
        let hop = self.hop(node, (allowance, times));
        login::second_factor(hop, &(self.headers)(node), pending, code, self.watcher).await
    }
}
