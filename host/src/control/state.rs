//! Commands that change what lives, and no generation: done at once, whatever else is under way.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Answer, Generations};
use crate::session::Revocation;
use crate::text::hex;

/// Ends sessions. What waits for a disk does it where no command waits behind it.
pub(super) fn revoke(generations: &Generations, what: Revocation, answer: Answer<std::io::Result<()>>) {
    match &what {
        Revocation::Session(id) => tracing::warn!(session = hex(id), "a session is revoked"),
        Revocation::User(user) => tracing::warn!(user, "all sessions of a user are revoked"),
        Revocation::All => tracing::warn!("all sessions of all users are revoked"),
    }
    let shared = generations.proxy().shared().clone();
    if matches!(what, Revocation::Session(_)) {
        // Of how many sessions a user has, or all have, nobody knows.
        shared.state.counters.sessions_ended.mine().of("", ["revoked", ""]).add(1);
    }
    spawn_blocking(move || {
        let lifetime = shared.live.load().sessions.lifetime();
        let ended = shared.state.mails.end(|mail| what.ends(mail.id.get(), &mail.user));
        if ended > 0 {
            tracing::info!(ended, "mail sessions end");
        }
        let _ = answer.send(shared.state.revoked.revoke(&what, lifetime));
    });
}

/// Lifts the quarantine of a component: whether there was one.
pub(super) fn lift(generations: &Generations, digest: String, answer: Answer<bool>) {
    let shared = generations.proxy().shared().clone();
    spawn_blocking(move || {
        let lifted = shared.desk.quarantine.lift(&digest);
        if lifted {
            tracing::warn!(digest, "a quarantine is lifted");
        }
        let _ = answer.send(lifted);
    });
}

/// Forgets on which back-end a user is, or all users: how many.
pub(super) fn purge_routes(generations: &Generations, user: Option<&str>, answer: Answer<usize>) {
    let directory = &generations.proxy().shared().live.load().directory;
    let name = user.map(|typed| directory.canonical(typed).unwrap_or_default());
    let _ = answer.send(directory.purge(name.as_deref()));
}

/// Lets nobody new in at a back-end for a while, or lets them in again: whether there is such a back-end.
pub(super) fn drain(generations: &Generations, backend: &str, time: Option<Duration>, answer: Answer<bool>) {
    let live = generations.proxy().shared().live.load();
    let node = live.nodes().iter().find(|node| node.name().eq_ignore_ascii_case(backend));
    if let Some(node) = node {
        node.drain(time);
        let backend = node.name();
        match time {
            Some(time) => tracing::warn!(backend, seconds = time.as_secs(), "an operator drains a node"),
            None => tracing::warn!(backend, "an operator drains a node no more"),
        }
    }
    let _ = answer.send(node.is_some());
}
