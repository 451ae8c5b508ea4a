//! What the verbs do that change or show the whole: each asks `control`, and says in words what came of it.

use std::io::ErrorKind;

use hyper::StatusCode;
use serde_json::json;

use super::call::{Answer, Call, Content};
use super::metrics::{self, FORMAT, Format};
use super::{audit, status};
use crate::directory::Shrink;
use crate::session::{self, Revocation};

/// Lines of the audit log that are shown at once.
const MOST_LINES: usize = 1000;

pub(super) async fn status(call: Call) -> Answer {
    Answer::told(status::status(call.control.generations()))
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
    let mut done = json!({"generation": reloaded.generation, "changed": reloaded.changed});
    let snapshot = call.control.generations().proxy().shared().live.load();
    if !snapshot.warnings.is_empty() {
        done["warnings"] = snapshot.warnings.iter().map(ToString::to_string).collect();
    }
    Answer::told(done)
}

pub(super) async fn upgrade(call: Call) -> Answer {
    call.control.upgrade().await.map_or_else(|error| Answer::failed(&error), |process| Answer::done("pid", process))
}

/// For who moved the files of logs away, as `SIGUSR1`.
pub(super) async fn reopen_logs(call: Call) -> Answer {
    call.control.generations().proxy().shared().reopen_logs();
    Answer::done("reopened", true)
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
    purged.map_or_else(|error| Answer::failed(&error), |purged| Answer::done("purged", purged))
}

pub(super) async fn lift(call: Call) -> Answer {
    let digest = call.parameter("digest").unwrap_or_default();
    match call.control.lift(digest).await {
        Err(error) => Answer::failed(&error),
        Ok(true) => Answer::done("lifted", digest),
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
        Ok(Ok(())) => Answer::done("revoked", true),
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
