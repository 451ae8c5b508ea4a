//! A node that is away: has the user's mailbox moved to another one?

use std::sync::Arc;
use std::time::Duration;

use super::own::Gone;
use super::{Answer, Exchange, Visit};
use crate::back::Node;
use crate::config::{Protocol, Question};
use crate::limits::Failures;
use crate::session::Session;

/// The directory is asked so often for one user: a page that tries again by itself does so at this pace.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Exchange {
    /// Whether a login would go to another node by now than the one that is away. Where a policy says so, that node has to be
    /// up, and to take logins: policies may name another one each time, and a session ends for good.
    pub(super) async fn has_moved(&self, visit: &Visit, session: &Session, away: &Arc<Node>) -> bool {
        let user = session.user();
        let known = match self.snapshot.directory.known(&self.worker.directory, user, AGAIN_AFTER).await {
            Ok(known) => known,
            Err(error) => {
                self.neighbours().directory_away(&error);
                None
            }
        };
        let named = known.and_then(|known| {
            // Nobody logs in yet, so nobody has failed.
            let whose = (&visit.site.name, user);
            let facts = || self.neighbours().facts(&visit.facts, whose, Some(&known), Failures::default());
            let routed = self.neighbours().routed(&known, Protocol::Http, facts);
            routed.node.ok().filter(|_| !routed.has_failed)
        });
        let by_policy = self.snapshot.policies.answer(Question::Route);
        let is_open = |node: &Arc<Node>| !by_policy || node.status().up && !node.is_draining();
        let moved = named.filter(|named| named.name() != away.name() && is_open(named));
        if let Some(to) = &moved {
            tracing::info!(user, from = away.name(), to = to.name(), "a mailbox has moved: the session ends");
        }
        moved.is_some()
    }

    /// The new node knows nothing of the old one's session: a login is needed.
    pub(super) fn after_move(&self, visit: &Visit, session: &Session, away: &Arc<Node>) -> Answer {
        self.end(session, "moved");
        self.after_logout(Gone::Moved, visit, away)
    }
}
