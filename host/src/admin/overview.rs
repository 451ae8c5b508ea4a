//! How all of it does, in one answer: for the page's overview, and for programs that watch.

use std::sync::PoisonError;

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::{cluster, status};
use crate::control::Generations;
use crate::times::seconds_now;
use crate::tls;

/// A certificate that holds for fewer days is an alarm: automatic renewal comes weeks before.
const DAYS: i64 = 14;

pub(super) async fn overview(call: Call) -> Answer {
    let generations = call.control.generations();
    let sees_people = call.caller.sees_people();
    let status = if sees_people { status::status(generations) } else { status::without_people(generations) };
    Answer::told(of(generations, status))
}

fn of(generations: &Generations, status: Json) -> Json {
    let (mut up, mut requests, mut waiting) = (0, 0, 0);
    for node in status["backends"].as_array().into_iter().flatten() {
        up += u64::from(node["up"] == json!(true));
        requests += node["requests"].as_u64().unwrap_or_default();
        waiting += node["waiting"].as_u64().unwrap_or_default();
    }
    let outcomes = status["logins"].as_object();
    let others = outcomes.into_iter().flatten().filter(|(outcome, _)| *outcome != "in");
    let others: u64 = others.filter_map(|(_, count)| count.as_u64()).sum();
    let life = status["history"].as_array().and_then(|lives| lives.last()).cloned().unwrap_or_default();
    let certificates = certificates(generations);
    json!({
        "alarms": alarms(&status, &certificates), "certificates": certificates, "life": life, "other_logins": others,
        "processes": processes(generations), "requests": requests, "up": up, "waiting": waiting, "status": status,
    })
}

/// This process, and during an upgrade the one before it.
fn processes(generations: &Generations) -> Json {
    let shared = generations.proxy().shared();
    let workers = shared.seen.lock().unwrap_or_else(PoisonError::into_inner).len();
    let version = env!("CARGO_PKG_VERSION");
    let mut processes = vec![json!({
        "pid": std::process::id(), "version": version, "does": format!("serves, with {workers} workers"),
    })];
    if let Some(older) = shared.state.revoked.older() {
        let does = "serves the connections that it has to their end, and then ends";
        processes.push(json!({"pid": older, "version": "the one before", "does": does}));
    }
    json!(processes)
}

/// The listeners' certificates, with the days that they hold.
fn certificates(generations: &Generations) -> Vec<Json> {
    let snapshot = generations.proxy().shared().live.load();
    let now = i64::try_from(seconds_now()).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for (name, listener) in &snapshot.listeners {
        for certificate in &listener.config.certificates {
            let Some(until) = tls::chain_end(&certificate.chain) else { continue };
            let days = (until - now).div_euclid(86_400);
            let names = tls::names(&certificate.chain);
            let file = certificate.chain.display().to_string();
            found.push(json!({"listener": name, "file": file, "names": names, "until": until, "days": days}));
        }
    }
    found
}

/// What somebody should look at: the same that the shipped alert rules tell of.
fn alarms(status: &Json, certificates: &[Json]) -> Vec<Json> {
    let mut alarms = Vec::new();
    let mut alarm = |kind: &str, bad: bool, text: String| alarms.push(alarm_of(kind, bad, text));
    let list = |key: &str| status[key].as_array().into_iter().flatten();
    let table = |key: &str| status[key].as_object().into_iter().flatten();
    if let Some(fallback) = status["fallback"].as_object() {
        alarm(
            "fallback",
            true,
            format!(
                "The files were refused at the start, and an earlier generation serves: {}",
                text(&fallback["error"])
            ),
        );
    }
    if status["last-reload"]["good"] == json!(false) {
        let faults = &status["last-reload"]["faults"];
        alarm(
            "reload",
            true,
            format!("The last reload was refused: {faults} faults. The generation before it serves on."),
        );
    }
    for node in list("backends").filter(|node| node["up"] == json!(false)) {
        alarm("node", true, format!("The node {} is down.", text(&node["name"])));
    }
    for node in list("backends").filter(|node| node["waiting"].as_u64() > Some(0)) {
        alarm("queue", false, format!("{} requests wait for the node {}.", node["waiting"], text(&node["name"])));
    }
    for server in list("directory").filter(|server| ["silent", "failed"].contains(&&*text(&server["state"]))) {
        alarm("directory", true, format!("The directory server {} does not answer.", text(&server["url"])));
    }
    for policy in list("policies") {
        let name = text(&policy["name"]);
        if policy["breaker"]["open"] == json!(true) {
            alarm("policy", true, format!("The policy {name} failed too often and is left alone."));
        }
        if policy["impure"] == json!(true) {
            alarm("policy", false, format!("The policy {name} is not pure: nothing of it is remembered."));
        }
    }
    for (digest, why) in table("quarantine") {
        alarm("quarantine", false, format!("{digest}: {}", text(why)));
    }
    for (file, trouble) in table("files").filter(|(_, trouble)| !trouble.is_null()) {
        alarm("file", true, format!("{file} cannot be written: {}", text(trouble)));
    }
    for (bad, text) in cluster::alarms(&status["cluster"]) {
        alarms.push(alarm_of("cluster", bad, text));
    }
    alarms.extend(of_logs(status));
    alarms.extend(of_certificates(certificates));
    alarms.extend(list("warnings").map(|warning| alarm_of("warning", false, text(warning))));
    alarms
}

fn alarm_of(kind: &str, bad: bool, text: String) -> Json {
    json!({"kind": kind, "bad": bad, "text": text})
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Targets of the log that lose lines, or take none.
fn of_logs(status: &Json) -> Vec<Json> {
    let mut alarms = Vec::new();
    for log in status["logs"].as_array().into_iter().flatten() {
        let (target, trouble) = (text(&log["target"]), &log["trouble"]);
        if log["lost"].as_u64() > Some(0) {
            alarms.push(alarm_of(
                "log",
                false,
                format!("{} lines for {target} were lost: they were not taken in time.", log["lost"]),
            ));
        }
        if !trouble.is_null() {
            alarms.push(alarm_of("log", true, format!("{target} takes no lines: {}", text(trouble))));
        }
    }
    if status["decisions"]["dropped"].as_u64() > Some(0) {
        let dropped = &status["decisions"]["dropped"];
        alarms.push(alarm_of(
            "log",
            false,
            format!("{dropped} records of decisions were lost: they were not taken in time."),
        ));
    }
    alarms
}

/// Certificates that end soon.
fn of_certificates(certificates: &[Json]) -> Vec<Json> {
    let mut alarms = Vec::new();
    for certificate in certificates {
        let days = certificate["days"].as_i64().unwrap_or_default();
        if days < DAYS {
            let (file, listener) = (text(&certificate["file"]), text(&certificate["listener"]));
            let how = if days < 0 { "has expired".to_owned() } else { format!("holds for {days} days") };
            alarms.push(alarm_of(
                "certificate",
                days < DAYS / 2,
                format!("The certificate {file} of the listener {listener} {how}."),
            ));
        }
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_an_alarm_and_what_is_well_is_none() {
        let mut status = json!({
            "fallback": null, "last-reload": {"good": true, "faults": 0}, "backends": [{"name": "a", "up": true, "waiting": 0}],
            "directory": [{"url": "ldap://a", "state": "up"}], "policies": [{"name": "p", "breaker": {"open": false}, "impure": false}],
            "quarantine": {}, "files": {"generations": null}, "logs": [{"target": "stderr", "lost": 0, "trouble": null}],
            "decisions": {"dropped": 0}, "warnings": [],
        });
        let good = json!({"listener": "public", "file": "a.pem", "days": 30});
        assert_eq!(alarms(&status, std::slice::from_ref(&good)), Vec::<Json>::new());
        status["last-reload"] = json!({"good": false, "faults": 2});
        status["backends"][0] = json!({"name": "a", "up": false, "waiting": 3});
        status["directory"][0]["state"] = json!("silent");
        status["policies"][0] = json!({"name": "p", "breaker": {"open": true}, "impure": true});
        status["files"]["generations"] = json!("no space");
        status["logs"][0]["lost"] = json!(7);
        let soon = json!({"listener": "public", "file": "a.pem", "days": 3});
        let kinds = |alarms: Vec<Json>| alarms.iter().map(|alarm| alarm["kind"].clone()).collect::<Vec<_>>();
        let expected = ["reload", "node", "queue", "directory", "policy", "policy", "file", "log", "certificate"];
        assert_eq!(kinds(alarms(&status, &[good, soon])), expected);
    }
}
