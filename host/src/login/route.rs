//! Who a name is, and which node has the mailbox.

use std::sync::Arc;
use std::time::Instant;

use super::Neighbours;
use crate::back::Node;
use crate::config::{Mode, Question};
use crate::directory::{self, User};
use crate::reply::Refusal;

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
        self.snapshot.mode == Mode::BackEnd && !self.snapshot.policies.answer(Question::AuthMode) && !needed()
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
