//! Logouts that Doorward makes: what the user asks for, and the end of whoever was logged in here before.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper::header;

use super::own::{self, append};
use super::{Answer, Exchange, Visit};
use crate::back::{self, Node};
use crate::limits::Holder;
use crate::own_path::OwnPath;
use crate::session::{self, Session};
use crate::text;

/// So long a login waits for the logout of who was here before. A node that is well answers in a tenth of it.
const FORMER_LOGOUT: Duration = Duration::from_secs(3);

impl Exchange {
    /// [`OwnPath::Logout`], where a user logs out without the node's own button: ends the session here, and at the node
    /// where the recipe knows how.
    ///
    /// A node's cookies may have a path. Then it goes on to the same below that path, where the browser sends them.
    pub(super) async fn log_out(&mut self, visit: &Visit) -> Answer {
        // Another site must not be able to log a user out.
        let from_elsewhere = matches!(visit.fetch_site(), Some(b"cross-site" | b"same-site"));
        let Some((session, node)) = self.session(visit).filter(|_| !from_elsewhere) else {
            return self.login_page(visit, "/", "");
        };
        let below = node.recipe.session_path.trim_end_matches('/');
        let here = OwnPath::Logout.path();
        if !below.is_empty() && visit.head.uri.path() == here {
            return own::redirect(&format!("{below}{here}"));
        }
        let headers = self.headers_for_node(visit, &node);
        let allowance = self.allowance(Holder::user(session.user()));
        let hop = self.hop(&node, &allowance);
        if let Err(refusal) = back::log_out(hop, &headers, session.user(), session.kept()).await {
            tracing::warn!(backend = node.name(), ?refusal, "the node was not told of a logout");
        }
        self.end_session(&session, "logout");
        self.after_logout(own::Gone::LoggedOut, visit, &node)
    }

    /// A session is dead from now on, wherever its cookie turns up; `why` is what metrics tell.
    pub(super) fn end(&self, session: &Session, why: &'static str) {
        let state = &self.worker.shared.state;
        self.snapshot.sessions.end(session, &state.revoked);
        state.counters.sessions_ended.mine().of("", [why, ""]).add(1);
    }

    /// The user is logged out.
    pub(super) fn end_session(&self, session: &Session, why: &'static str) {
        self.end(session, why);
        tracing::info!(user = session.user(), client = %self.peer.address, "logged out");
    }

    /// Whoever was logged in here before with a session that no cookie holds is logged out at the node too. A node that
    /// does not answer soon keeps nobody waiting.
    pub(super) async fn log_out_former(&self, visit: &Visit) {
        let Some(former) = self.find_session(visit) else { return };
        let Some(node) = self.snapshot.node(former.backend()).filter(|node| node.recipe.ends_by_call()) else { return };
        let headers = self.headers_for_node(visit, node);
        let allowance = self.allowance(Holder::user(former.user()));
        let call = back::log_out(self.hop(node, &allowance), &headers, former.user(), former.kept());
        if !matches!(tokio::time::timeout(FORMER_LOGOUT, call).await, Ok(Ok(()))) {
            tracing::warn!(backend = node.name(), user = former.user(), "the node was not told of a logout");
        }
    }

    /// Whoever was logged in here before is not any more, wherever copies of the cookie are; and what the former node
    /// set must not reach the new one.
    pub(super) fn end_former(&self, answer: &mut Answer, visit: &Visit, node: &Node, new: &[String]) {
        let scheme = self.scheme();
        let headers = &visit.head.headers;
        if let Some(former) = self.find_session(visit) {
            self.end(&former, "new-login");
            tracing::info!(user = former.user(), session = former.id(), "a new login ends the former session");
        }
        let stale = self.snapshot.nodes().iter().flat_map(|node| &node.recipe.session_cookies);
        let stale: BTreeSet<&str> = stale.chain(&node.recipe.session_cookies).map(String::as_str).collect();
        let sent: BTreeSet<&str> = text::cookies(headers).map(|(name, _)| name).collect();
        for name in stale.intersection(&sent).filter(|name| !new.iter().any(|cookie| cookie_name_of(cookie) == **name))
        {
            append(answer, header::SET_COOKIE, &session::clear_cookie(name, "/", scheme));
        }
    }
}

/// The name of the cookie that a `Set-Cookie` sets.
fn cookie_name_of(set_cookie: &str) -> &str {
    set_cookie.split(['=', ';']).next().unwrap_or_default().trim()
}
