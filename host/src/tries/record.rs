//! The record of one attempt to log in. Every attempt has one, whatever the door and however it ended.
//!
//! Invariants: no password, code, cookie or token is in it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use super::Reason;
use crate::config::Protocol;
use crate::feed::Show;
use crate::times::{millis, since_1970};

/// So many bytes of what was typed for a name are kept; no name is longer.
const NAME_SIZE: usize = 256;

/// One attempt to log in, as far as it came.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it ended.
    pub time: SystemTime,
    /// The request id, or that of the connection of another protocol.
    pub id: Arc<str>,
    /// What the door speaks.
    pub protocol: Protocol,
    /// The virtual host's first name in the configuration.
    pub site: Arc<str>,
    /// The host name that the client came to.
    pub host: String,
    /// The name as it was typed, shortened. A stranger wrote it.
    pub typed: String,
    /// Whose name it is: as the directory has it, or else its canonical form. None where it cannot be one.
    pub user: Option<String>,
    /// Where from.
    pub client: IpAddr,
    /// How it ended: what it is counted as.
    pub outcome: &'static str,
    /// Why nobody got in.
    pub reason: Option<Reason>,
    /// The policy that refused it, or failed.
    pub policy: Option<String>,
    /// How it was checked who this is, if it came so far.
    pub mode: Option<&'static str>,
    /// The node that was asked, or would have been, if it came so far.
    pub node: Option<String>,
    /// The route policy that said where it goes.
    pub route: Option<String>,
    /// The node that it would have gone to without that policy, where that is another one.
    pub usual: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The id of the session that began with it.
    pub session: Option<String>,
}

impl Record {
    /// A name as far as it is kept: who types a longer one has no such name, and fills nothing with it.
    pub fn shortened(typed: &str) -> &str {
        &typed[..typed.floor_char_boundary(NAME_SIZE)]
    }

    /// A name as records are found by it.
    pub fn folded(typed: &str) -> String {
        typed.trim().to_lowercase()
    }

    /// The reason's word.
    pub fn reason_word(&self) -> Option<&'static str> {
        self.reason.map(Reason::word)
    }

    /// Writes the security line. What is typed is escaped by the log.
    pub(crate) fn write(&self) {
        let Self { host, client, outcome, mode, .. } = self;
        let id = &*self.id;
        let (user, account, site) = (&*self.typed, self.user.as_deref(), &*self.site);
        let (protocol, reason) = (self.protocol.name(), self.reason_word());
        let (policy, node, session) = (self.policy.as_deref(), self.node.as_deref(), self.session.as_deref());
        let (route, usual) = (self.route.as_deref(), self.usual.as_deref());
        let ms = millis(self.took);
        match self.retry_after.map(|wait| wait.as_secs()) {
            Some(wait) => tracing::warn!(
                target: "login", id, user, account, %client, site, host, protocol, outcome, reason, policy, mode, node, route,
                usual, ms, wait, "login"
            ),
            None => tracing::info!(
                target: "login", id, user, account, %client, site, host, protocol, outcome, reason, policy, mode, node, route,
                usual, ms, session, "login"
            ),
        }
    }
}

impl Show for Arc<Record> {
    fn request(&self) -> Option<Arc<str>> {
        Some(self.id.clone())
    }

    fn show(&self) -> Json {
        json!({
            "id": &*self.id, "time": since_1970(self.time).as_secs_f64(),
            "protocol": self.protocol.name(), "site": &*self.site, "host": self.host, "typed": self.typed, "user": self.user,
            "client": self.client.to_string(), "outcome": self.outcome, "reason": self.reason_word(), "policy": self.policy,
            "mode": self.mode, "node": self.node, "route": self.route, "usual": self.usual, "ms": millis(self.took),
        })
    }
}
