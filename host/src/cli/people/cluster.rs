//! The front doors that are one.
//!
//! Pure.

use serde_json::Value as Json;

use super::table::{Table, safe, span, text};

/// The doors, the store, and what differs.
pub(super) fn cluster(answer: &Json, now: u64, width: Option<usize>) -> String {
    if answer["name"].is_null() {
        return "this front door is alone: there is no [cluster]\n".to_owned();
    }
    let store = &answer["store"];
    let since = store["since"].as_u64().filter(|since| *since > 0);
    let since = since.map_or_else(String::new, |since| format!(" for {}", span(now.saturating_sub(since))));
    let mut out = format!("cluster {}, door {}\n", text(&answer["name"]), text(&answer["door"]));
    out += &format!("the store {} is {}{since}", text(&store["server"]), text(&store["state"]));
    if let Some(trouble) = store["trouble"].as_str() {
        out += &format!(": {}", safe(trouble));
    }
    out += "\n";
    if let Some(policy) = store["evicts"].as_str() {
        out += &format!("it may forget ended sessions: its maxmemory-policy is {}, not noeviction\n", safe(policy));
    }
    if answer["differs"].as_array().is_some_and(|differs| !differs.is_empty()) {
        out += &format!("doors differ in: {}\n", text(&answer["differs"]));
    }
    if answer["twin"] == true {
        out += "another process has the name of this door\n";
    }
    if answer["refused"].as_u64() > Some(0) {
        out += &format!("{} entries of the store were written by no door of this cluster\n", text(&answer["refused"]));
    }
    let columns = [
        ("DOOR", "name"),
        ("HERE", "here"),
        ("VERSION", "version"),
        ("GENERATION", "generation"),
        ("FAULTS", "faults"),
        ("REQUESTS", "requests"),
        ("SESSIONS", "sessions"),
        ("CLOCK (MS)", "clock"),
        ("DRAINS", "drains"),
    ];
    out + "\n" + &Table::of(&columns, &answer["doors"]).print(width)
}

/// Who has heard of what was done.
pub(super) fn told(doors: &Json) -> String {
    if doors.is_null() {
        return String::new();
    }
    let silent = match doors["silent"].as_array().filter(|silent| !silent.is_empty()) {
        Some(_) => format!("; not heard of by now: {}", text(&doors["silent"])),
        None => String::new(),
    };
    format!("known at {}{silent}\n", text(&doors["known"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn doors_and_what_differs_are_printed_as_text() {
        assert!(cluster(&json!({"name": null}), 0, None).contains("alone"));
        let answer = json!({
            "name": "mail", "door": "a", "store": {"state": "away", "since": 10, "server": "s:1", "trouble": "\u{1b}x"},
            "differs": ["limits"], "doors": [{"name": "b", "here": false, "version": "1", "drains": ["n"]}], "refused": 1,
        });
        let text = cluster(&answer, 70, Some(80));
        assert!(
            text.contains("the store s:1 is away for 60 s: \\u{1b}x\n") && text.contains("differ in: limits"),
            "{text}"
        );
        assert!(text.lines().any(|line| line.starts_with("b     no    1")), "{text}");
        assert_eq!(told(&json!({"known": ["a"], "silent": ["b"]})), "known at a; not heard of by now: b\n");
        assert_eq!(told(&Json::Null), "");
    }
}
