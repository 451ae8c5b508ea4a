//! The status, and what is busy right now.
//!
//! Pure.

use serde_json::Value as Json;

use super::table::{Table, clock, safe, span, text};

/// What is live, what is wrong, and how each part does.
pub(super) fn status(answer: &Json, now: u64, width: Option<usize>) -> String {
    let threads = &answer["threads"];
    let mut out = format!(
        "doorward {}, process {}: generation {}{}\n",
        text(&answer["version"]),
        text(&answer["pid"]),
        text(&answer["generation"]),
        since(answer, now)
    );
    out += &format!(
        "{} workers accept, {} retire; {} sessions\n",
        text(&threads["accepting"]),
        text(&threads["retiring"]),
        text(&answer["sessions"])
    );
    if answer["mail-sessions"].as_object().is_some_and(|counts| !counts.is_empty()) {
        out += &format!("sessions of mail programs: {}\n", text(&answer["mail-sessions"]));
    }
    let wrong = alarms(answer);
    if !wrong.is_empty() {
        out += "\nTo look at:\n";
        wrong.iter().for_each(|line| out += &format!("  {line}\n"));
    }
    let nodes = [
        ("BACK-END", "name"),
        ("UP", "up"),
        ("DRAINS", "draining"),
        ("REQUESTS", "requests"),
        ("WAITING", "waiting"),
        ("SESSIONS", "sessions"),
        ("MAIL", "mail-sessions"),
        ("DOWNS", "downs"),
    ];
    let sections = [
        Table::of(&nodes, &answer["backends"]),
        Table::of(
            &[("LISTENER", "name"), ("ADDRESS", "address"), ("TLS", "tls"), ("REFUSED", "refused")],
            &answer["listeners"],
        ),
        Table::of(&[("DIRECTORY", "url"), ("STATE", "state")], &answer["directory"]),
        Table::of(
            &[
                ("POLICY", "name"),
                ("ASKS", "asks"),
                ("FAILURES", "failures"),
                ("BREAKER", "breaker"),
                ("DIGEST", "digest"),
            ],
            &answer["policies"],
        ),
        counts("LOGINS", &answer["logins"]),
    ];
    for section in sections.iter().map(|table| table.print(width)).filter(|lines| !lines.is_empty()) {
        out += &format!("\n{section}");
    }
    out
}

/// Since when the generation is live, and why.
fn since(answer: &Json, now: u64) -> String {
    let Some(life) = answer["history"].as_array().and_then(|lives| lives.last()) else { return String::new() };
    let since = life["since"].as_u64().unwrap_or(now);
    format!(", live for {} ({})", span(now.saturating_sub(since)), text(&life["reason"]))
}

/// What somebody has to look at.
fn alarms(answer: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    if !answer["fallback"].is_null() {
        lines.push(format!(
            "an earlier generation serves, since the files were refused: {}",
            text(&answer["fallback"]["error"])
        ));
    }
    let last = &answer["last-reload"];
    if last["good"] == false {
        let when = last["time"].as_u64().map_or_else(String::new, clock);
        lines.push(format!("the reload at {when} was refused: {} faults", text(&last["faults"])));
    }
    for (file, trouble) in answer["files"].as_object().into_iter().flatten().filter(|(_, trouble)| !trouble.is_null()) {
        lines.push(format!("{}: {}", safe(file), text(trouble)));
    }
    for log in answer["logs"].as_array().into_iter().flatten() {
        if !log["trouble"].is_null() {
            lines.push(format!("log {}: {}", text(&log["target"]), text(&log["trouble"])));
        }
        if log["lost"].as_u64().is_some_and(|lost| lost > 0) {
            lines.push(format!("log {}: {} lines were lost", text(&log["target"]), text(&log["lost"])));
        }
    }
    let store = &answer["cluster"]["store"];
    if ["away", "clock"].iter().any(|state| store["state"] == **state) {
        lines.push(format!("the store of the cluster: {} {}", text(&store["state"]), text(&store["trouble"])));
    }
    for (digest, why) in answer["quarantine"].as_object().into_iter().flatten() {
        lines.push(format!("under quarantine: {}: {}", safe(digest), text(why)));
    }
    let of = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    lines.extend(of("warnings").iter().map(text));
    lines
}

/// Names with numbers, in one row.
fn counts(title: &str, counts: &Json) -> Table {
    let mut table = Table::new(&[title, "NUMBER"]);
    for (name, count) in counts.as_object().into_iter().flatten() {
        table.row([safe(name), text(count)]);
    }
    table
}

/// What is busy.
pub(super) fn top(answer: &Json, width: Option<usize>) -> String {
    let time = answer["time"].as_u64().map_or_else(String::new, clock);
    let logins = text(&answer["logins"]);
    let mut out = format!(
        "{time}  generation {}  {} sessions  connections: {}\nlogins: {logins}\n",
        text(&answer["generation"]),
        text(&answer["sessions"]),
        text(&answer["connections"]["all"])
    );
    let nodes = [
        ("BACK-END", "name"),
        ("UP", "up"),
        ("DRAINS", "draining"),
        ("REQUESTS", "requests"),
        ("WAITING", "waiting"),
        ("LONG POLLS", "long-polls"),
        ("SESSIONS", "sessions"),
    ];
    let slowest = [
        ("SLOWEST MS", "ms"),
        ("QUEUE MS", "queue-ms"),
        ("AGO S", "ago"),
        ("STATUS", "status"),
        ("NODE", "node"),
        ("USER", "user"),
        ("METHOD", "method"),
        ("PATH", "path"),
        ("REQUEST", "id"),
    ];
    for table in [Table::of(&nodes, &answer["backends"]), Table::of(&slowest, &answer["slowest"])] {
        out += &format!("\n{}", table.print(width));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_stands_before_the_tables() {
        let answer = json!({
            "version": "0.1.0", "pid": 7, "generation": 3, "sessions": 2, "threads": {"accepting": 1, "retiring": 0},
            "history": [{"generation": 3, "since": 40, "reason": "reload"}], "fallback": null,
            "last-reload": {"time": 50, "good": false, "faults": 2}, "files": {"revocations": "disk full", "quarantine": null},
            "logs": [{"target": "a.log", "trouble": "disk full", "lost": 3}, {"target": "stderr", "trouble": null, "lost": 0}],
            "quarantine": {"sha256:aa": "it failed"}, "warnings": ["a\u{1b}b"],
            "backends": [{"name": "node-a", "up": false, "draining": true, "requests": 1, "waiting": 2, "sessions": 3, "downs": 4}],
            "logins": {"in": 5},
        });
        let text = status(&answer, 100, Some(80));
        for line in [
            "doorward 0.1.0, process 7: generation 3, live for 60 s (reload)",
            "  the reload at 1970-01-01 00:00:50Z was refused: 2 faults",
            "  revocations: disk full",
            "  log a.log: disk full",
            "  log a.log: 3 lines were lost",
            "  under quarantine: sha256:aa: it failed",
            "  a\\u{1b}b",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
        assert!(text.contains("\nnode-a    no  yes     1         2        3         -     4\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
