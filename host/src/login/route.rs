//! Who a name is, and which node has the mailbox.

use std::sync::Arc;
use std::time::Instant;

use super::Neighbours;
use crate::back::Node;
use crate::config::{Mode, Protocol, Question};
use crate::directory::{self, User};
use crate::limits::Failures;
use crate::policy::{Facts, LoginFacts, LoginRoute, NodeFacts};
use crate::reply::Refusal;

/// Where a login goes, and who says so.
#[derive(Debug)]
pub struct Routed {
    /// The route policy that has an opinion.
    pub policy: Option<String>,
    /// The node that it would have gone to without that policy, where that is another one.
    pub instead_of: Option<String>,
    /// The node, or why it goes to none.
    pub node: Result<Arc<Node>, Refusal>,
    /// Whether a route policy was asked and failed: another time it may say something else.
    pub has_failed: bool,
}

impl Neighbours<'_> {
    /// What directory and map say of a canonical name.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn look_up(&self, name: &str) -> Result<Option<User>, Refusal> {
        let (directory, connections) = (&self.snapshot.directory, &self.worker.directory);
        let user = if self.needs_no_entry() {
            directory.route(connections, name).await
        } else {
            directory.find(connections, name).await
        };
        user.map_err(|error| self.directory_away(&error))
    }

    /// Whether a login needs of the directory only which node to ask: neither policy nor recipe looks at the entry, and no
    /// password is checked with it.
    fn needs_no_entry(&self) -> bool {
        let needed = || self.snapshot.nodes().iter().any(|node| node.recipe.needs_entry());
        let asks = |question| self.snapshot.policies.answer(question);
        self.snapshot.mode == Mode::BackEnd && !asks(Question::AuthMode) && !asks(Question::Route) && !needed()
    }

    /// The node that map or entry name, if it is one of ours: they choose among them, and no more. Of several values the
    /// first that is a node counts; the default node is for those who have none at all.
    pub fn node_of(&self, user: &User) -> Option<Arc<Node>> {
        let hosts = self.snapshot.directory.hosts_of(user);
        if hosts.is_empty() {
            return self.snapshot.default_node().cloned();
        }
        let node = hosts.iter().find_map(|host| self.snapshot.node(host));
        if node.is_none() {
            tracing::error!(dn = user.dn, ?hosts, "the directory names a node that is not configured");
        }
        node.cloned()
    }

    /// What policies may know of a login by a name.
    pub fn facts(
        &self,
        facts: &Facts,
        (site, name): (&Arc<str>, &str),
        user: Option<&User>,
        failed: Failures,
    ) -> Facts {
        let mut facts = facts.clone();
        facts.login = Some(Arc::new(LoginFacts {
            site: site.clone(),
            username: name.to_owned(),
            known: user.is_some_and(User::has_entry),
            attributes: user.map(|user| self.snapshot.directory.exposed(user)).unwrap_or_default(),
            failures_from_address: failed.from_network,
            failures_for_user: failed.for_user,
        }));
        facts
    }

    /// Where a user's login goes: where the directory says, or a route policy.
    pub fn routed(&self, user: &User, protocol: Protocol, facts: impl FnOnce() -> Facts) -> Routed {
        let Neighbours { worker, snapshot, .. } = self;
        let usual = self.node_of(user);
        let unsaid = |usual: Option<Arc<Node>>| usual.ok_or(Refusal::NoNode);
        if !snapshot.policies.answer(Question::Route) {
            return Routed { policy: None, instead_of: None, node: unsaid(usual), has_failed: false };
        }
        let reads_load = snapshot.policies.read_load();
        let states = |node: &Arc<Node>| {
            let load = if reads_load { node.load_word(protocol) } else { "free" };
            (node.name().to_owned(), (node.state_word(protocol), load))
        };
        let nodes = NodeFacts {
            hosts: snapshot.directory.hosts_of(user).to_vec(),
            usual: usual.as_ref().map(|node| node.name().to_owned()),
            all: snapshot.nodes().iter().map(states).collect(),
        };
        let mut facts = facts();
        facts.nodes = Some(Arc::new(nodes));
        let (said, has_failed) = snapshot.policies.route(&mut worker.guests.borrow_mut(), &facts);
        let named = |name: &str| snapshot.nodes().iter().find(|node| node.name() == name).cloned();
        let (policy, node) = match said {
            LoginRoute::Unsaid => (None, unsaid(usual.clone())),
            LoginRoute::Kept(policy) => (Some(policy), unsaid(usual.clone())),
            LoginRoute::To { policy, node } => (Some(policy), named(&node).ok_or(Refusal::NoNode)),
            LoginRoute::Later(policy) => (Some(policy), Err(Refusal::LoginLater)),
            LoginRoute::Failed(policy) => (Some(policy), Err(Refusal::PolicyFailed)),
        };
        let goes_there = |usual: &Arc<Node>| node.as_ref().is_ok_and(|node| node.name() == usual.name());
        let instead_of = usual.filter(|usual| !goes_there(usual)).map(|usual| usual.name().to_owned());
        Routed { policy, instead_of, node, has_failed }
    }

    /// Another node than the one that was remembered and did not take the user, if the directory names one by now.
    pub(super) async fn other_node(&self, name: &str, began: Instant, node: &Node) -> Option<Arc<Node>> {
        if !self.needs_no_entry() {
            return None;
        }
        let known = self.snapshot.directory.known(&self.worker.directory, name, began.elapsed()).await;
        let user = known.map_err(|error| self.directory_away(&error)).ok()??;
        self.node_of(&user).filter(|other| other.name() != node.name())
    }

    /// The directory gave no answer, which the log gets to know.
    pub fn directory_away(&self, error: &directory::Error) -> Refusal {
        tracing::error!(id = self.id, %error, "the directory gives no answer");
        Refusal::DirectoryDown
    }
}
