//! Sessions of mail programs: which are open, by protocol, and who has how many.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::limits::network_text;
use crate::mails::{Mail, Mails};
use crate::text::hex;

/// So many sessions are listed, the newest; who has more asks for those of a node or a user.
const LISTED: usize = 1000;
/// So many users, those with the most sessions.
const USERS: usize = 100;

/// What a user has.
#[derive(Default)]
struct OfUser<'a> {
    sessions: u64,
    protocols: BTreeMap<&'static str, u64>,
    nodes: BTreeSet<&'a str>,
}

/// Those that are meant.
pub(super) fn shown(mails: &Mails, which: impl Fn(&Mail) -> bool) -> Json {
    let found = mails.find(which);
    let (mut protocols, mut users) = (BTreeMap::<_, u64>::new(), BTreeMap::<&str, OfUser<'_>>::new());
    for mail in &found {
        let protocol = mail.protocol.name();
        *protocols.entry(protocol).or_default() += 1;
        let user = users.entry(&mail.user).or_default();
        user.sessions += 1;
        *user.protocols.entry(protocol).or_default() += 1;
        user.nodes.insert(&mail.node);
    }
    let mut users: Vec<_> = users.into_iter().collect();
    users.sort_by_key(|(_, user)| std::cmp::Reverse(user.sessions));
    let users = users.into_iter().take(USERS).map(|(name, OfUser { sessions, protocols, nodes })| {
        json!({"user": name, "sessions": sessions, "protocols": protocols, "nodes": nodes})
    });
    let sessions = found.iter().take(LISTED).map(|mail| {
        json!({
            "session": mail.id.get().map(|id| hex(id)),
            "user": mail.user,
            "protocol": mail.protocol.name(),
            "node": mail.node,
            "network": network_text(mail.client),
            "since": mail.since,
        })
    });
    json!({
        "in-all": found.len(), "protocols": protocols, "users": users.collect::<Json>(),
        "sessions": sessions.collect::<Json>(),
    })
}
