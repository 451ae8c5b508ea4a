//! The status that the admin socket shows, as JSON.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde_json::{Value as Json, json};

use super::cluster;
use super::metrics::sums;
use crate::back::Node;
use crate::config::{Fault, Provenance};
use crate::control::Generations;
use crate::directory::State;
use crate::log;
use crate::policy::Policy;
use crate::proxy::ListensAt;

/// What is live, and how it does.
pub(super) fn status(generations: &Generations) -> Json {
    let shared = generations.proxy().shared();
    let snapshot = shared.live.load();
    let workers = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let workers: Vec<u64> = workers.iter().map(|seen| seen.load(Ordering::Acquire)).collect();
    let (written, dropped) = shared.desk.records.counts();
    let quarantine: serde_json::Map<String, Json> = shared
        .desk
        .quarantine
        .all()
        .into_iter()
        .map(|(digest, why)| (format!("sha256:{digest}"), json!(why)))
        .collect();
    let sessions = shared.sessions_by_node();
    let (accepting, retiring) = generations.proxy().workers();
    let lives = generations.lives();
    let mut past: Vec<u64> =
        lives.iter().map(|life| life.generation).filter(|one| *one != snapshot.generation).collect();
    past.sort_unstable();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "older-process": shared.state.revoked.older(),
        "generation": snapshot.generation,
        "past": past,
        "history": lives,
        "fallback": generations.fallback(),
        "started-with": generations.fixed(),
        "warnings": snapshot.warnings.iter().map(ToString::to_string).collect::<Json>(),
        "workers": workers,
        "threads": {"accepting": accepting, "retiring": retiring},
        "listeners": listeners(generations),
        "admin": generations.proxy().admin_address(),
        "policies": snapshot.policies.all().iter().map(|policy| of_policy(policy)).collect::<Json>(),
        "backends": snapshot.nodes().iter().map(|node| of_node(node, &sessions)).collect::<Json>(),
        "sessions": sessions.values().sum::<u64>(),
        "mail-sessions": sums(generations, "doorward_mail_sessions", "protocol"),
        "logins": shared.state.logins.by_outcome(),
        "requests": {
            "by-status": sums(generations, "doorward_requests_total", "status"),
            "by-end": sums(generations, "doorward_requests_total", "ended"),
        },
        "sessions-opened": shared.state.counters.sessions_opened.sum(),
        "sessions-ended": sums(generations, "doorward_sessions_ended_total", "reason"),
        "tls-handshakes": sums(generations, "doorward_tls_handshakes_total", "result"),
        "throttle": {"entries": shared.state.throttle.size()},
        "directory": snapshot.directory.servers().into_iter().map(|(url, state)| of_server(&url, state)).collect::<Json>(),
        "quarantine": quarantine,
        "decisions": {"written": written, "dropped": dropped},
        "cluster": cluster::of(generations),
        "aside": {"dropped": shared.desk.dropped()},
        "read-ahead": shared.state.read_ahead.held(),
        "logs": log::counts().into_iter().map(of_log).collect::<Json>(),
        "last-reload": generations.last_reload().map(|last| json!({
            "time": last.time, "good": last.faults.is_none(), "faults": last.faults.unwrap_or_default(),
        })),
        "files": troubles(generations).into_iter().collect::<serde_json::Map<String, Json>>(),
    })
}

/// The same for those who see no people: what was found in files, and what policies said when they failed, may name some.
pub(super) fn without_people(generations: &Generations) -> Json {
    let mut status = status(generations);
    let warnings = &generations.proxy().shared().live.load_full().snapshot.warnings;
    let place = |warning: &Fault| format!("{}:{}: warning: {}", warning.file.display(), warning.line, warning.key);
    status["warnings"] = warnings.iter().map(place).collect();
    if let Some(fallback) = status["fallback"].as_object_mut() {
        fallback.insert("error".to_owned(), json!(HIDDEN));
    }
    for reason in status["quarantine"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        *reason = json!(HIDDEN);
    }
    status
}

/// What stands where somebody may not look.
const HIDDEN: &str = "operators see it";

/// What is wrong with each of the files that Doorward writes; nothing, where it is well.
pub(super) fn troubles(generations: &Generations) -> [(String, Json); 4] {
    let shared = generations.proxy().shared();
    let audit = shared.state.audit_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let troubles = [
        ("audit", audit),
        ("generations", generations.store().trouble()),
        ("quarantine", shared.desk.quarantine.trouble()),
        ("revocations", shared.state.revoked.trouble()),
    ];
    troubles.map(|(name, trouble)| (name.to_owned(), json!(trouble)))
}

/// Each listener's name, its address, and whom it did not let in.
fn listeners(generations: &Generations) -> Json {
    let refused = generations.proxy().shared().state.refused.all();
    let one = |ListensAt { name, address, protocol, tls }: &ListensAt| {
        let of_this = refused.iter().filter(|(listener, ..)| listener == name);
        let refused: serde_json::Map<String, Json> =
            of_this.map(|(_, reason, count)| ((*reason).to_owned(), json!(count))).collect();
        json!({"name": name, "address": address, "protocol": protocol.name(), "tls": tls, "refused": refused})
    };
    generations.proxy().listening().iter().map(one).collect()
}

fn of_log(counts: log::Counts) -> Json {
    json!({"target": counts.target, "written": counts.written, "lost": counts.lost, "trouble": counts.trouble})
}

pub(super) fn of_node(node: &Node, sessions: &BTreeMap<String, u64>) -> Json {
    let (status, [requests, waiting, long_polls]) = (node.status(), node.load());
    json!({
        "name": node.name(),
        "up": status.up,
        "draining": node.is_draining(),
        "drained-until": node.drained_until(),
        "requests": requests,
        "waiting": waiting,
        "long-polls": long_polls,
        "sessions": sessions.get(node.name()).copied().unwrap_or_default(),
        "mail-sessions": node.mail_sessions(),
        "failed-connects": status.failed,
        "downs": status.downs,
    })
}

fn of_server(url: &str, state: State) -> Json {
    json!({"url": url, "state": state.word()})
}

fn of_policy(policy: &Policy) -> Json {
    let health = policy.health();
    let shadow = health.shadow.map(|(digest, [agreed, differed, failed, dropped])| {
        json!({
            "digest": format!("sha256:{digest}"), "agreed": agreed, "differed": differed, "failed": failed,
            "dropped": dropped,
        })
    });
    json!({
        "name": policy.name,
        "asks": policy.question.name(),
        "digest": format!("sha256:{}", policy.digest),
        "wit": policy.manifest.version,
        "source": policy.provenance.as_ref().map(of_source),
        "memo": {
            "hits": health.hits, "misses": health.misses, "evictions": health.evictions, "bytes": health.bytes,
        },
        "failures": health.failures,
        "breaker": {"open": health.open, "shut-out": health.shut_out},
        "audits": health.audits,
        "impure": health.impure,
        "shadow": shadow,
    })
}

/// Where a policy comes from, where that is a registry.
fn of_source(source: &Provenance) -> Json {
    json!({
        "reference": source.reference,
        "manifest": source.manifest,
        "version": source.version,
        "signed-by": source.signed_by,
    })
}
