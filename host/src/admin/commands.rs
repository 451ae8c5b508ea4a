//! What the verbs do that change or show the whole: each asks `control`, and says in words what came of it.

use std::io::ErrorKind;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;

use super::call::{Answer, Call, Content};
use super::cluster::everywhere;
use super::metrics::{self, FORMAT, Format};
use super::{audit, status};
use crate::cluster::Order;
use crate::config::units;
use crate::control::Reloaded;
use crate::directory::Shrink;
use crate::session::{self, Revocation};

/// Lines of the audit log that are shown at once.
const MOST_LINES: usize = 1000;

/// How long a back-end is drained where nobody says so, and the shortest and longest time that may be said: what is
/// switched without a file ends by itself.
const DRAIN: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

pub(super) async fn status(call: Call) -> Answer {
    let generations = call.control.generations();
    let sees_people = call.caller.sees_people();
    Answer::told(if sees_people { status::status(generations) } else { status::without_people(generations) })
}

pub(super) async fn metrics(call: Call) -> Answer {
    let Some(format) = Format::named(call.parameter(FORMAT).unwrap_or_default()) else {
        return Answer::refused(StatusCode::BAD_REQUEST, "format is prometheus or openmetrics");
    };
    let text = metrics::metrics(call.control.generations(), format);
    Answer { status: StatusCode::OK, content: Content::Text(format.content_type(), text) }
}

/// A reload that was not refused, with the warnings of what is live then.
pub(super) async fn reload(call: Call) -> Answer {
    let shrink = call.parameter("accept-shrink").map_or(Shrink::Refused, |_| Shrink::Accepted);
    let reloaded = match call.control.reload(shrink).await {
        Ok(reloaded) => reloaded,
        Err(error) => return Answer::failed(&error),
    };
    let Reloaded { generation, changed, changes } = reloaded;
    let mut done = json!({"generation": generation, "changed": changed, "changes": changes});
    let snapshot = call.control.generations().proxy().shared().live.load();
    if !snapshot.warnings.is_empty() {
        done["warnings"] = snapshot.warnings.iter().map(ToString::to_string).collect();
    }
    Answer::told(done)
}

/// For who moved the files of logs away.
pub(super) async fn reopen_logs(call: Call) -> Answer {
    call.control.generations().proxy().shared().reopen_logs();
    Answer::done("reopened", true)
}

pub(super) async fn upgrade(call: Call) -> Answer {
    call.control.upgrade().await.map_or_else(|error| Answer::failed(&error), |process| Answer::done("pid", process))
}

pub(super) async fn rollback(call: Call) -> Answer {
    let Ok(to) = call.parameter("generation").map(str::parse::<u64>).transpose() else {
        return Answer::refused(StatusCode::BAD_REQUEST, "generation is no number");
    };
    let rolled_back = call.control.roll_back(to).await;
    rolled_back.map_or_else(|error| Answer::failed(&error), |generation| Answer::done("generation", generation))
}

pub(super) async fn purge_routes(call: Call) -> Answer {
    let purged = call.control.purge_routes(call.parameter("user")).await;
    let answer = purged.map_or_else(|error| Answer::failed(&error), |purged| Answer::done("purged", purged));
    everywhere(&call.control, Order::PurgeRoutes(call.parameter("user").map(str::to_owned)), answer).await
}

/// Ends sessions of mail programs, which log in again at once, perhaps elsewhere.
pub(super) async fn kick(call: Call) -> Answer {
    let shared = call.control.generations().proxy().shared().clone();
    let ended = match (call.parameter("user"), call.parameter("node")) {
        (Some(user), None) => {
            let name = shared.live.load().directory.canonical(user);
            let name = name.unwrap_or_else(|| user.to_owned());
            shared.state.mails.end(|mail| mail.user == name || mail.user == user)
        }
        (None, Some(node)) => {
            let ended = shared.state.mails.end(|mail| mail.node.eq_ignore_ascii_case(node));
            // One that the configuration has no more may still have sessions.
            let live = shared.live.load();
            if ended == 0 && live.nodes().iter().all(|one| !one.name().eq_ignore_ascii_case(node)) {
                let why = format!("no back-end is named \"{}\"", node.escape_debug());
                return Answer::refused(StatusCode::NOT_FOUND, why);
            }
            ended
        }
        _ => return Answer::refused(StatusCode::BAD_REQUEST, "one of user and node"),
    };
    tracing::warn!(ended, "mail sessions are told to end");
    Answer::done("kicked", ended)
}

pub(super) async fn lift(call: Call) -> Answer {
    let digest = call.parameter("digest").unwrap_or_default();
    match call.control.lift(digest).await {
        Err(error) => Answer::failed(&error),
        Ok(true) => everywhere(&call.control, Order::Lift(digest.to_owned()), Answer::done("lifted", digest)).await,
        Ok(false) => Answer::refused(StatusCode::NOT_FOUND, "no such digest is under quarantine"),
    }
}

pub(super) async fn revoke(call: Call) -> Answer {
    let what = match (call.parameter("session"), call.parameter("user"), call.parameter("all")) {
        (Some(id), None, None) => session::parse_id(id).map(Revocation::Session),
        (None, Some(user), None) if !user.trim().is_empty() => Some(Revocation::User(user.to_owned())),
        (None, None, Some(_)) => Some(Revocation::All),
        _ => None,
    };
    let Some(what) = what else {
        return Answer::refused(StatusCode::BAD_REQUEST, "one of user, all, and session with 32 digits");
    };
    match call.control.revoke(what).await {
        Err(error) => Answer::failed(&error),
        // What was told before is heard before.
        Ok(Ok(())) => everywhere(&call.control, Order::Hear, Answer::done("revoked", true)).await,
        Ok(Err(error)) if error.kind() == ErrorKind::InvalidInput => Answer::refused(StatusCode::BAD_REQUEST, error),
        Ok(Err(error)) => {
            let error = format!("revoked, but not kept over a restart yet: {error}; it is tried again");
            Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error)
        }
    }
}

/// The newest lines of the audit log, the newest last.
pub(super) async fn audit(call: Call) -> Answer {
    let lines = call.parameter("lines").map_or(Ok(200), str::parse::<usize>);
    let Ok(lines) = lines.map(|lines| lines.min(MOST_LINES)) else {
        return Answer::refused(StatusCode::BAD_REQUEST, "lines is no number");
    };
    let Some(path) = call.control.generations().proxy().shared().live.load().admin.audit.clone() else {
        return Answer::refused(StatusCode::NOT_FOUND, "[admin] audit names no file");
    };
    let read = tokio::task::spawn_blocking(move || audit::newest(&path, lines)).await;
    match read.map_err(std::io::Error::other).flatten() {
        Ok(lines) => Answer::told(json!({"lines": lines})),
        Err(error) => Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

/// A back-end that takes no new logins for a while.
pub(super) async fn drain(call: Call) -> Answer {
    let time = call.parameter("for").map_or(Some(DRAIN), units::duration);
    let Some(time) = time.filter(|time| (MINUTE..=MONTH).contains(time)) else {
        return Answer::refused(StatusCode::BAD_REQUEST, "for takes a time from 1m to 30d");
    };
    drain_for(&call, Some(time)).await
}

/// The same back-end takes new logins again, unless the configuration says otherwise.
pub(super) async fn undrain(call: Call) -> Answer {
    drain_for(&call, None).await
}

async fn drain_for(call: &Call, time: Option<Duration>) -> Answer {
    let backend = call.parameter("backend").unwrap_or_default();
    match call.control.drain(backend, time).await {
        Err(error) => Answer::failed(&error),
        Ok(false) => Answer::refused(StatusCode::NOT_FOUND, "there is no such back-end"),
        Ok(true) => {
            let seconds = time.map_or(0, |time| time.as_secs());
            let answer = Answer::told(json!({"backend": backend, "seconds": seconds}));
            everywhere(&call.control, Order::Drain(backend.to_owned(), seconds), answer).await
        }
    }
}
