//! The configuration: as it is on disk, what another one would change, and how it takes its place.
//!
//! Invariants: what is shown has no secret in it; what has a fault is not written; the file that was there is kept.

use std::path::{Path, PathBuf};

use hyper::StatusCode;
use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;

use super::call::{Answer, Call, Content};
use super::changes::changes;
use super::masked::{mask, unmask};
use crate::config::{self, Fault, Faults, Severity};
use crate::control::{Handle, Source};
use crate::directory::Shrink;
use crate::files::keep_and_replace;
use crate::snapshot::{Materials, Snapshot};

/// A longer text is no configuration.
pub(super) const LONGEST: usize = 4 << 20;

pub(super) async fn configuration(call: Call) -> Answer {
    Answer::told(shown(&call.control))
}

/// What there is to see without trying anything.
fn shown(control: &Handle) -> Json {
    let snapshot = control.generations().proxy().shared().live.load();
    let warnings: Json = snapshot.warnings.iter().map(ToString::to_string).collect();
    match control.source() {
        Source::File(path) => match config::text_of(path) {
            Ok(text) => json!({"file": path, "text": mask(&text), "warnings": warnings}),
            Err(faults) => json!({"file": path, "why": faults.to_string(), "warnings": warnings}),
        },
        Source::Text(source) => json!({"file": null, "text": mask(&source.text), "warnings": warnings}),
    }
}

/// What somebody proposes, with the masked values put back; or why it cannot be tried.
fn proposed(call: &Call) -> Result<(PathBuf, String, String), Answer> {
    let Source::File(path) = call.control.source() else {
        return Err(Answer::refused(StatusCode::CONFLICT, "the configuration is no file"));
    };
    let old = config::text_of(path).map_err(|faults| Answer::refused(StatusCode::CONFLICT, faults))?;
    let text = String::from_utf8(call.body.to_vec())
        .map_err(|_| Answer::refused(StatusCode::BAD_REQUEST, "a configuration is a text in UTF-8"))?;
    if text.len() > LONGEST {
        return Err(Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, "a configuration has at most 4 MiB"));
    }
    // Forms send lines with both.
    let text = text.replace("\r\n", "\n");
    let next = unmask(&text, &old).map_err(|why| Answer::refused(StatusCode::BAD_REQUEST, why))?;
    Ok((path.clone(), old, next))
}

pub(super) async fn try_configuration(call: Call) -> Answer {
    let (path, old, next) = match proposed(&call) {
        Ok(proposed) => proposed,
        Err(answer) => return answer,
    };
    let control = call.control.clone();
    let tried = spawn_blocking(move || tried(&control, &path, &old, next)).await;
    match tried {
        Ok((mut tried, text)) => {
            tried["proposed"] = json!(mask(&text));
            let mut all = shown(&call.control);
            (all["tried"], all["proposed"]) = (tried, json!(mask(&text)));
            all["reason"] = json!(call.parameter("reason").unwrap_or_default());
            Answer::told(all)
        }
        Err(error) => Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

pub(super) async fn apply_configuration(call: Call) -> Answer {
    match proposed(&call) {
        Ok((path, old, next)) => apply(&call.control, path, old, next).await,
        Err(answer) => answer,
    }
}

/// One writes at a time, until what was written is live or taken back.
static WRITING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Lets another text take the place of the file, if it has no fault, and reloads.
pub(super) async fn apply(control: &Handle, path: PathBuf, old: String, next: String) -> Answer {
    let _one = WRITING.lock().await;
    let shared = control.clone();
    let (before, file) = (old.clone(), path.clone());
    let written = spawn_blocking(move || {
        let (tried, next) = tried(&shared, &path, &old, next);
        if tried["faults"].as_array().is_some_and(|faults| !faults.is_empty()) {
            let content = json!({"error": "it has faults, and nothing has changed", "faults": tried["faults"]});
            return Err(Answer { status: StatusCode::UNPROCESSABLE_ENTITY, content: Content::Json(content) });
        }
        if !std::fs::read_to_string(&path).is_ok_and(|now| now == old) {
            return Err(Answer::refused(StatusCode::CONFLICT, "somebody changed the file meanwhile"));
        }
        keep_and_replace(&path, next.as_bytes()).map_err(|error| {
            let why = format!("{} cannot be written: {error}", path.display());
            Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, why)
        })
    })
    .await;
    let previous = match written {
        Ok(Ok(previous)) => previous,
        Ok(Err(answer)) => return answer,
        Err(error) => return Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    };
    match control.reload(Shrink::Refused).await {
        Ok(reloaded) => Answer::told(json!({
            "generation": reloaded.generation, "changed": reloaded.changed, "previous": previous,
        })),
        Err(error) => {
            // It may not go live: then it does not stay either, for the next start would meet it.
            let restored = spawn_blocking(move || keep_and_replace(&file, before.as_bytes())).await;
            if !matches!(restored, Ok(Ok(_))) {
                tracing::error!("a refused configuration could not be taken back: its predecessor is .previous");
            }
            Answer::failed(&error)
        }
    }
}

/// What would come of a text: its faults, its warnings, and what is other than in the old one.
fn tried(control: &Handle, path: &Path, old: &str, next: String) -> (Json, String) {
    let generations = control.generations();
    let (config, Faults(mut faults)) = config::parse_anyway(path, next.clone());
    let live = generations.proxy().shared().live.load_full();
    let materials = generations.proxy().materials(&live.snapshot, generations.generation() + 1, Shrink::Refused);
    let materials = Materials { trial: true, ..materials };
    let of_parts = Snapshot::build(&config, &materials).map_or_else(|Faults(faults)| faults, |built| built.warnings);
    // Where a key was wrong its default stands in; what is wrong with that is no news.
    let told: Vec<String> = faults.iter().map(|fault| fault.key.clone()).collect();
    faults.extend(of_parts.into_iter().filter(|fault| !told.iter().any(|key| fault.key.starts_with(key))));
    let is_fault = |fault: &Fault| fault.severity == Severity::Error;
    let (faults, warnings): (Vec<Fault>, Vec<Fault>) = faults.into_iter().partition(is_fault);
    let restart: Vec<String> = config.needs_restart(generations.fixed()).into_iter().map(|fault| fault.key).collect();
    let changes = changes(&mask(old), &mask(&next));
    (json!({"faults": faults, "warnings": warnings, "changes": changes, "restart": restart}), next)
}
