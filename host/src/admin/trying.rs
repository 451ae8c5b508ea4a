//! A policy from its upload to its promotion: checked as by `policy check`, run on test vectors, asked what others were asked,
//! then a shadow, then live. Each step is a verb.
//!
//! Invariants: nothing live changes before a step says so; one is tried at a time, behind all traffic, for a bounded time, and
//! its component is compiled in the compile process.

use std::fs::File;
use std::io::{BufReader, Cursor, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::{candidates, configuration};
use crate::config::{self, Config, LogFormat, LogKind, LogTarget, Place};
use crate::control::{Handle, Source};
use crate::feed::Kind;
use crate::policy::{self, Trial};
use crate::workbench::{self, Candidate, Difference, Replayed, Shown, Stop, Try, run_file};

/// How long a replay may go on, and what it reads of a log: its end.
const PATIENCE: Duration = Duration::from_secs(60);
const TAIL: u64 = 256 << 20;
/// Bytes of a component: the largest, of Python and JavaScript, have some 12 MiB.
pub(super) const LARGEST: usize = 24 << 20;
/// Behind traffic, as the compile process.
const NICE: i32 = 10;

pub(super) async fn trial(call: Call) -> Answer {
    let shared = call.control.generations().proxy().shared();
    shared.desk.feed.attend();
    let snapshot = shared.live.load();
    let policies: Vec<Json> = snapshot.policies.all().iter().map(|policy| {
        let health = policy.health();
        let shadow = health.shadow.map(|(digest, [agreed, differed, failed, dropped])| {
            json!({"digest": format!("sha256:{digest}"), "agreed": agreed, "differed": differed, "failed": failed, "dropped": dropped})
        });
        json!({"name": policy.name, "asks": policy.question.name(), "digest": format!("sha256:{}", policy.digest), "shadow": shadow})
    }).collect();
    let last = shared.state.trying.last();
    let under_way = last.as_ref().is_some_and(|last| last.is_under_way());
    let is_file = matches!(call.control.source(), Source::File(_));
    Answer::told(json!({
        "policies": policies, "last": last.as_ref().map(|last| last.shown()), "under_way": under_way, "is_file": is_file,
        "good": last.is_some_and(|last| last.is_good()), "policy": call.parameter("policy").unwrap_or_default(),
        "earlier": call.control.generations().lives().iter().rev().nth(1).map(|life| life.generation),
    }))
}

/// The configuration as it is on disk, and the file.
fn written(control: &Handle) -> Result<(Config, &Path), Answer> {
    let Source::File(path) = control.source() else {
        return Err(Answer::refused(
            StatusCode::CONFLICT,
            "the configuration is no file, so nothing can be tried in it",
        ));
    };
    let loaded = config::load_anyway(path).map_err(|faults| Answer::refused(StatusCode::CONFLICT, faults))?;
    Ok((loaded.0, path))
}

pub(super) async fn try_policy(call: Call) -> Answer {
    let (config, path) = match written(&call.control) {
        Ok(written) => written,
        Err(answer) => return answer,
    };
    let name = call.parameter("policy").unwrap_or_default();
    let Some(policy) = config.policies.iter().find(|policy| policy.name == name).cloned() else {
        return Answer::refused(StatusCode::NOT_FOUND, "the configuration has no policy of this name");
    };
    if call.body.is_empty() {
        return Answer::refused(StatusCode::BAD_REQUEST, "no component was sent");
    }
    let vectors = match call.parameter("vectors").filter(|text| !text.trim().is_empty()) {
        None => None,
        Some(text) => match doorward_vectors::parse(Path::new("vectors.toml"), &text.replace("\r\n", "\n")) {
            Ok(file) => Some(file),
            Err(faults) => return Answer::refused(StatusCode::UNPROCESSABLE_ENTITY, faults),
        },
    };
    let digest = policy::digest(&call.body);
    let base = path.parent().unwrap_or(Path::new("."));
    let file = match candidates::keep(&config, base, &digest, &call.body) {
        Ok(file) => file,
        Err(error) => return Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, format!("it cannot be kept: {error}")),
    };
    let who = call.caller.proof.to_string();
    let next = Try::new(name.to_owned(), digest.clone(), file.clone(), call.body.len(), who);
    let shared = call.control.generations().proxy().shared().clone();
    if !shared.state.trying.begin(next.clone()) {
        return Answer::refused(StatusCode::CONFLICT, "another policy is being tried; wait until that is done");
    }
    let live = policy.clone();
    let mut candidate = policy;
    (candidate.file, candidate.digest, candidate.shadow) = (Some(file), None, None);
    candidate.remote = None;
    // What is wrong with it is told of the file, and not of the configuration, which is as it was.
    candidate.place = Place::whole(&Arc::new(config::Source::new(path, "")));
    let (control, log) = (call.control.clone(), decisions_file(&config.log));
    let of_thread = next.clone();
    let work = move || {
        let _ = rustix::process::nice(NICE);
        match steps(&control, &of_thread, (&live, &candidate), vectors.as_ref(), log.as_deref()) {
            Ok(()) => of_thread.end(),
            Err(Stop::Faults(faults)) => of_thread.refuse(json!({"error": faults.to_string(), "faults": faults.0})),
            Err(stop) => of_thread.refuse(json!({"error": stop.to_string()})),
        }
    };
    if std::thread::Builder::new().name("policy-try".to_owned()).stack_size(4 << 20).spawn(work).is_err() {
        next.refuse(json!({"error": "there is no thread for it"}));
    }
    Answer::told(json!({"policy": name, "digest": format!("sha256:{digest}"), "trying": true}))
}

/// The file that has whole records of decisions, if there is one.
fn decisions_file(log: &config::Log) -> Option<PathBuf> {
    log.to.iter().find_map(|to| match &to.target {
        LogTarget::File(path) if to.format == LogFormat::Json && to.what.has(LogKind::Decision) => Some(path.clone()),
        _ => None,
    })
}

/// What is different from the policy of the configuration, if that can be read.
fn difference(live: &config::Policy, candidate: Candidate<'_>) -> Option<Difference> {
    let shown =
        |config: &config::Policy| Shown::of(config, &policy::bytes_of(config).ok()?, Some(candidate.compiler)).ok();
    Some(Difference::between(shown(live)?, shown(candidate.config)?))
}

/// What is different, check, vectors, replay.
fn steps(
    control: &Handle,
    progress: &Try,
    (live, config): (&config::Policy, &config::Policy),
    vectors: Option<&doorward_vectors::File>,
    log: Option<&Path>,
) -> Result<(), Stop> {
    let candidate = Candidate { config, compiler: control.generations().proxy().compiler() };
    // First of all, for one that wants more than it is granted is refused.
    if let Some(difference) = difference(live, candidate) {
        progress.tell("difference", difference.json());
    }
    let checked = workbench::check(candidate, vectors)?;
    if let Some(wrong) = checked.wrong.first() {
        return Err(Stop::Bad(format!("{}: {}", wrong.about, wrong.text)));
    }
    progress.tell("check", json!({"asked": checked.asked}));
    progress.begin("vectors");
    if let Some(file) = vectors {
        let failures = run_file(candidate, file, |_| {})?;
        let told: Vec<Json> = failures
            .iter()
            .map(|(vector, failure)| json!({"name": vector.name, "line": vector.line, "reason": failure.reason}))
            .collect();
        progress.tell("vectors", json!({"vectors": file.vectors.len(), "failures": told}));
        if !failures.is_empty() {
            return Err(Stop::Bad(format!("{} of {} test vectors failed", failures.len(), file.vectors.len())));
        }
    }
    progress.begin("replay");
    let mut trial = candidate.load()?;
    let (outcome, of, cut) = replay(control, progress, (config.asks.name(), &config.name), &mut trial, log)?;
    progress.tell("replay", told_of(&outcome, of, cut, false));
    Ok(())
}

/// Over the end of the decision log; where there is none, over the decisions that are kept while somebody looks here.
fn replay(
    control: &Handle,
    progress: &Try,
    (asks, name): (&str, &str),
    trial: &mut Trial,
    log: Option<&Path>,
) -> Result<(Replayed, &'static str, bool), Stop> {
    let (began, mut cut) = (Instant::now(), false);
    let of = if log.is_some() { "the decision log" } else { "the decisions of late, since there is no decision log" };
    let told = |outcome: &Replayed, _| {
        progress.tell("replay", told_of(outcome, of, false, true));
        cut = began.elapsed() > PATIENCE;
        if cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = match log {
        Some(path) => {
            let unusable = |error: std::io::Error| Stop::Unusable(format!("{}: {error}", path.display()));
            let mut file = File::open(path).map_err(unusable)?;
            let size = file.metadata().map_err(unusable)?.len();
            // Where it begins in the middle of a line, that is no record.
            file.seek(SeekFrom::Start(size.saturating_sub(TAIL))).map_err(unusable)?;
            let mut reader = BufReader::with_capacity(1 << 18, file.take(TAIL));
            workbench::replay(&mut reader, trial, (asks, Some(name)), told)?
        }
        None => {
            let feed = &control.generations().proxy().shared().desk.feed;
            let is_his = |event: &crate::feed::Event| event.shown["policy"].as_str() == Some(name);
            let events = feed.recent(Kind::Decision, &is_his, usize::MAX);
            let lines: String = events.iter().map(|event| format!("{}\n", event.shown)).collect();
            workbench::replay(&mut Cursor::new(lines), trial, (asks, Some(name)), told)?
        }
    };
    Ok((outcome, of, cut))
}

fn told_of(outcome: &Replayed, of: &str, cut: bool, goes_on: bool) -> Json {
    let mut told = outcome.json();
    (told["of"], told["cut"], told["goes-on"]) = (json!(of), json!(cut), json!(goes_on));
    told
}

/// The tried policy of this name, if it came through.
fn good(call: &Call) -> Result<Arc<Try>, Answer> {
    let name = call.parameter("policy").unwrap_or_default();
    let last = call.control.generations().proxy().shared().state.trying.last();
    let last = last.filter(|last| last.policy == name && last.is_good());
    last.ok_or_else(|| Answer::refused(StatusCode::CONFLICT, "no candidate of this policy has come through its trial"))
}

pub(super) async fn shadow(call: Call) -> Answer {
    match good(&call) {
        Ok(tried) => change(&call, &tried.policy, |file| vec![("shadow", Some(file))], &tried).await,
        Err(answer) => answer,
    }
}

pub(super) async fn promote(call: Call) -> Answer {
    let tried = match good(&call) {
        Ok(tried) => tried,
        Err(answer) => return answer,
    };
    let digest = format!("sha256:{}", tried.digest);
    let pinned = written(&call.control).is_ok_and(|(config, _)| {
        config.policies.iter().any(|policy| policy.name == tried.policy && policy.digest.is_some())
    });
    let keys = |file| {
        let mut keys = vec![("file", Some(file)), ("shadow", None)];
        if pinned {
            keys.push(("digest", Some(digest.clone())));
        }
        keys
    };
    change(&call, &tried.policy, keys, &tried).await
}

/// Changes keys of the policy in the configuration, and applies that.
async fn change(
    call: &Call,
    policy: &str,
    keys: impl FnOnce(String) -> Vec<(&'static str, Option<String>)>,
    tried: &Try,
) -> Answer {
    let Source::File(path) = call.control.source() else {
        return Answer::refused(StatusCode::CONFLICT, "the configuration is no file");
    };
    let old = match config::text_of(path) {
        Ok(old) => old,
        Err(faults) => return Answer::refused(StatusCode::CONFLICT, faults),
    };
    let file = std::path::absolute(&tried.file).unwrap_or_else(|_| tried.file.clone());
    let Some(next) = candidates::with_keys(&old, policy, &keys(file.display().to_string())) else {
        let why =
            format!("the table [[policy]] of {policy} is not found in {}: write it there by hand", path.display());
        return Answer::refused(StatusCode::CONFLICT, why);
    };
    configuration::apply(&call.control, path.clone(), old, next).await
}
