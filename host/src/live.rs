//! Live: a generation together with what lives of it, as `State` paired them when it went live. A request takes it once and
//! finds what it needs without a look into `State`.

use std::ops::Deref;
use std::sync::Arc;

use crate::back::Node;
use crate::counters::OfSite;
use crate::directory::Directory;
use crate::policy::Policies;
use crate::snapshot::Snapshot;

/// The live generation. What it says of policies, nodes and the directory is in the Snapshot; here they are with what
/// lives of them.
pub struct Live {
    /// What the operator wrote.
    pub snapshot: Arc<Snapshot>,
    /// The six questions.
    pub policies: Policies,
    /// Where users are found.
    pub directory: Arc<Directory>,
    /// The back-ends, each at its number.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// What is counted of each site.
    pub(crate) counted: Counted,
}

/// What is counted of each site.
pub(crate) struct Counted {
    /// Each at its number.
    pub(crate) sites: Vec<Arc<OfSite>>,
    /// Of requests that are for none.
    pub(crate) none: Arc<OfSite>,
}

impl Live {
    /// The node that a value of a directory's host attribute names.
    pub fn node(&self, host: &str) -> Option<&Arc<Node>> {
        self.nodes.get(self.snapshot.number_of(host)?)
    }

    /// The node of users whose entry names none: the first that takes logins and is up, or else the first.
    pub fn default_node(&self) -> Option<&Arc<Node>> {
        let mut nodes = self.snapshot.default_nodes.iter().filter_map(|number| self.nodes.get(*number));
        let first = nodes.clone().next();
        nodes.find(|node| node.status().up && !node.is_draining()).or(first)
    }

    /// What is counted of a site, or of requests that are for none.
    pub fn counted(&self, site: Option<usize>) -> &OfSite {
        site.and_then(|number| self.counted.sites.get(number)).unwrap_or(&self.counted.none)
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }
}

impl Deref for Live {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}
