//! Why somebody could not log in, who is there, and what the directory says.
//!
//! Pure.

use serde_json::Value as Json;

use super::table::{Table, clock, safe, span, text};

/// The attempts of a user, the newest first, each with what to do; then what the throttle has against the name.
pub(super) fn why(answer: &Json, now: u64) -> String {
    let tries = answer["tries"].as_array().map_or(&[][..], Vec::as_slice);
    let user = text(&answer["user"]);
    let mut out = match tries.len() {
        0 => format!("no attempt of {user} to log in is remembered\n"),
        1 => format!("{user}: the last attempt to log in\n"),
        many => format!("{user}: the last {many} attempts to log in, the newest first\n"),
    };
    for one in tries {
        out += &format!("\n{}", attempt(one, now));
    }
    let shut = answer["shut-out"].as_array().map_or(&[][..], Vec::as_slice);
    out += "\n";
    if shut.is_empty() {
        out += "The throttle has nothing against this name, nor against the networks of these attempts.\n";
    }
    for row in shut {
        out += &format!("{}\n", shut_out(row));
    }
    out
}

fn attempt(one: &Json, now: u64) -> String {
    let time = one["time"].as_u64().unwrap_or_default();
    let word = if one["reason"].is_null() { &one["outcome"] } else { &one["reason"] };
    let by = |key: &str, before: &str| match &one[key] {
        Json::Null => String::new(),
        value => format!("{before}{}", text(value)),
    };
    let mut out =
        format!("{}, {} ago: {} ({})\n", clock(time), span(now.saturating_sub(time)), text(&one["what"]), text(word));
    out += &format!(
        "  typed \"{}\"{}, from {} at {} (site {}), {}{}{}{}{}{}, {} ms\n",
        safe(one["typed"].as_str().unwrap_or_default()),
        by("user", ", which is "),
        text(&one["client"]),
        text(&one["host"]),
        text(&one["site"]),
        text(&one["protocol"]),
        by("policy", ", policy "),
        by("mode", ", mode "),
        by("node", ", node "),
        by("route", ", by policy "),
        by("usual", " instead of "),
        text(&one["ms"]),
    );
    out += &format!("  request {}{}\n", text(&one["id"]), by("session", ", session "));
    if let Some(advice) = one["to-do"].as_str() {
        out += &format!("  to do: {advice}\n");
    }
    out
}

fn shut_out(row: &Json) -> String {
    let (left, until) = (row["left"].as_u64().unwrap_or_default(), row["until"].as_u64().unwrap_or_default());
    let name = || format!("{} (site {})", text(&row["name"]), text(&row["site"]));
    let network = text(&row["network"]);
    let (what, release) = match row["what"].as_str() {
        Some("network") => {
            (format!("The network {network} is shut out, whatever the name,"), format!("--network {network}"))
        }
        Some("device") => {
            (format!("A known device of {} is shut out", name()), format!("--user {}", text(&row["name"])))
        }
        Some("slow") => {
            (format!("Logins of {} from unknown devices wait", name()), format!("--user {}", text(&row["name"])))
        }
        _ => (format!("{} is shut out from {network}", name()), format!("--user {}", text(&row["name"]))),
    };
    format!("{what} for {} more, until {}: doorward ctl release {release}", span(left), clock(until))
}

/// Sessions seen of late.
pub(super) fn sessions(answer: &Json, now: u64, width: Option<usize>) -> String {
    let rows = answer["sessions"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(&["USER", "NODE", "SITE", "NETWORK", "BEGAN", "LAST SEEN", "SESSION"]);
    for row in rows {
        let ago = |key: &str| format!("{} ago", span(now.saturating_sub(row[key].as_u64().unwrap_or(now))));
        let of = |key: &str| text(&row[key]);
        table.row([of("user"), of("node"), of("site"), of("network"), ago("since"), ago("last"), of("session")]);
    }
    let all = answer["in-all"].as_u64().unwrap_or_default();
    let shown = rows.len() as u64;
    let more = if all > shown { format!(", of which these {shown} were seen last") } else { String::new() };
    let web = format!("{}{all} sessions seen since the start and still alive{more}\n", table.print(width));
    web + &mail_sessions(&answer["mail"], now, width)
}

/// Sessions of mail programs; nothing where there are none.
fn mail_sessions(answer: &Json, now: u64, width: Option<usize>) -> String {
    let (all, rows) = (answer["in-all"].as_u64().unwrap_or_default(), answer["sessions"].as_array());
    if all == 0 {
        return String::new();
    }
    let mut table = Table::new(&["USER", "NODE", "PROTOCOL", "NETWORK", "BEGAN", "SESSION"]);
    for row in rows.into_iter().flatten() {
        let of = |key: &str| text(&row[key]);
        let ago = format!("{} ago", span(now.saturating_sub(row["since"].as_u64().unwrap_or(now))));
        table.row([of("user"), of("node"), of("protocol"), of("network"), ago, of("session")]);
    }
    let shown = rows.map_or(0, Vec::len) as u64;
    let more = if all > shown { format!(", of which these {shown} began last") } else { String::new() };
    format!("\n{}{all} sessions of mail programs ({}){more}\n", table.print(width), text(&answer["protocols"]))
}

/// Who did what.
pub(super) fn audit(answer: &Json, width: Option<usize>) -> String {
    let mut table = Table::new(&["TIME", "WHO", "FROM", "VERB", "OUTCOME", "WHY"]);
    for row in answer["lines"].as_array().into_iter().flatten() {
        let of = |key: &str| if row[key].is_null() { String::new() } else { text(&row[key]) };
        let why = if row["error"].is_null() { of("reason") } else { of("error") };
        table.row([of("time"), of("who"), of("from"), of("verb"), of("outcome"), why]);
    }
    table.print(width)
}

/// What each server says of a user.
pub(super) fn directory_test(answer: &Json, width: Option<usize>) -> String {
    let mut out = match &answer["name"] {
        Json::Null => return format!("{}: nobody can have this name\n", text(&answer["user"])),
        name => format!("asked for {}\n", text(name)),
    };
    if !answer["map"].is_null() {
        out += &format!("the map says: {}\n", text(&answer["map"]));
    }
    let mut table = Table::new(&["SERVER", "MS", "FOUND", "NODE", "PASSWORD"]);
    let mut details = String::new();
    for server in answer["servers"].as_array().into_iter().flatten() {
        let of = |key: &str| text(&server[key]);
        let entries = server["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let found = match (&server["error"], entries) {
            (Json::Null, []) => "nobody".to_owned(),
            (Json::Null, [one]) => text(&one["dn"]),
            (Json::Null, _) => "two entries: neither may log in".to_owned(),
            (error, _) => text(error),
        };
        let node = match entries {
            [one] if one["node"].is_null() => "none".to_owned(),
            [one] => text(&one["node"]),
            _ => "-".to_owned(),
        };
        table.row([of("server"), of("ms"), found, node, of("password")]);
        for entry in entries {
            details += &format!("\n{} at {}\n", text(&entry["dn"]), of("server"));
            for (name, key) in [("name", "name"), ("hosts", "hosts"), ("node", "node"), ("attributes", "attributes")] {
                details += &format!("  {name}: {}\n", text(&entry[key]));
            }
        }
    }
    out + "\n" + &table.print(width) + &details
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attempt_is_told_in_words_with_what_to_do() {
        let answer = json!({"user": "alice", "tries": [{
            "time": 40, "id": "0f", "protocol": "http", "site": "*", "host": "a.test", "typed": "Al\u{1b}ice", "user": "alice",
            "client": "192.0.2.7", "outcome": "failed", "reason": "node-down", "policy": null, "mode": "ldap-bind",
            "node": "node-a", "ms": 12, "wait": null, "session": null, "what": "the node cannot be reached", "to-do": "look",
        }], "shut-out": [
            {"what": "name", "site": "*", "name": "alice", "network": "192.0.2.0/24", "left": 600, "until": 700},
            {"what": "network", "site": null, "name": null, "network": "192.0.2.0/24", "left": 60, "until": 160},
        ]});
        let text = why(&answer, 100);
        for line in [
            "1970-01-01 00:00:40Z, 60 s ago: the node cannot be reached (node-down)",
            "  typed \"Al\\u{1b}ice\", which is alice, from 192.0.2.7 at a.test (site *), http, mode ldap-bind, node node-a, 12 ms",
            "  request 0f",
            "  to do: look",
            "alice (site *) is shut out from 192.0.2.0/24 for 10 min more, until 1970-01-01 00:11:40Z: doorward ctl release --user alice",
            "The network 192.0.2.0/24 is shut out, whatever the name, for 60 s more, until 1970-01-01 00:02:40Z: doorward ctl release --network 192.0.2.0/24",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
        let none = json!({"user": "x", "tries": [], "shut-out": []});
        assert!(why(&none, 0).starts_with("no attempt of x to log in is remembered\n"));
    }
}
