//! A node that is away: has the user's mailbox moved to another one?

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::own::Gone;
use super::{Answer, Exchange, Visit};
use crate::back::Node;
use crate::session::Session;

/// The directory is asked so often for one user: a page that tries again by itself does so at this pace.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// So many users are remembered on a worker; some hundred kilobytes.
const REMEMBERED: usize = 4096;

impl Exchange {
    /// Whether the directory names another node by now than the one that is away.
    pub(super) async fn has_moved(&self, session: &Session, away: &Arc<Node>) -> bool {
        let user = session.user();
        let known = self.known_node(user);
        let named = match known {
            Some(named) => named,
            None => {
                let named = self.named_node(user).await;
                self.remember(user, named.clone());
                named
            }
        };
        let moved = named.filter(|named| named != away.name());
        if let Some(to) = &moved {
            tracing::info!(user, from = away.name(), to, "a mailbox has moved: the session ends");
        }
        moved.is_some()
    }

    /// What the directory said a moment ago, if it was asked then.
    fn known_node(&self, user: &str) -> Option<Option<String>> {
        let named = self.worker.named.borrow();
        named.get(user).filter(|(when, _)| when.elapsed() < AGAIN_AFTER).map(|(_, named)| named.clone())
    }

    async fn named_node(&self, user: &str) -> Option<String> {
        match self.snapshot.directory.find(&self.worker.directory, user).await {
            Ok(found) => Some(self.node_of(&found?)?.name().to_owned()),
            Err(error) => {
                self.directory_down(&error);
                None
            }
        }
    }

    fn remember(&self, user: &str, node: Option<String>) {
        let mut named = self.worker.named.borrow_mut();
        if named.len() >= REMEMBERED {
            named.retain(|_, (when, _)| when.elapsed() < AGAIN_AFTER);
        }
        if named.len() >= REMEMBERED {
            named.clear();
        }
        named.insert(user.to_owned(), (Instant::now(), node));
    }

    /// The new node knows nothing of the old one's session: a login is needed.
    pub(super) fn after_move(&self, visit: &Visit, session: &Session, away: &Arc<Node>) -> Answer {
        self.snapshot.sessions.end(session, &self.worker.shared.state.revoked);
        self.after_logout(Gone::Moved, visit, away)
    }
}
