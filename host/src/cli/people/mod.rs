//! What `doorward ctl` prints for people: of each answer what they ask for, in tables that fit a terminal.
//!
//! Pure.

mod cluster;
mod helpdesk;
mod status;
mod table;

use serde_json::Value as Json;

use table::{safe, text};

/// An answer of a verb, for a terminal of this width; as wide as it is, where it goes elsewhere.
pub(super) fn print(verb: &str, answer: &Json, now: u64, width: Option<usize>) -> String {
    if let Some(error) = answer["error"].as_str() {
        return refused(error, &answer["faults"]);
    }
    match verb {
        "status" => status::status(answer, now, width),
        "cluster" => cluster::cluster(answer, now, width),
        "top" => status::top(answer, width),
        "why" => helpdesk::why(answer, now),
        "sessions" => helpdesk::sessions(answer, now, width),
        "audit" => helpdesk::audit(answer, width),
        "directory-test" => helpdesk::directory_test(answer, width),
        "trace" if answer["file"].is_string() => {
            let until = table::clock(answer["until"].as_u64().unwrap_or(now));
            format!("{} is followed until {until}: {}\n", text(&answer["user"]), text(&answer["file"]))
        }
        "release" if answer["released"] == 0 => "nothing was counted against it\n".to_owned(),
        "release" => format!("released: {}\n", text(&answer["released"])),
        "reload" if answer["changed"] == false => {
            format!("nothing to reload: generation {} says what the files say\n", text(&answer["generation"]))
        }
        "revoke" => format!("the sessions are ended\n{}", cluster::told(&answer["doors"])),
        "upgrade" => format!("process {} serves now\n", text(&answer["pid"])),
        _ => fields(answer),
    }
}

/// Why nothing was done; of a configuration, all faults.
fn refused(error: &str, faults: &Json) -> String {
    let faults = faults.as_array().map_or(&[][..], Vec::as_slice);
    if faults.is_empty() {
        return format!("refused: {}\n", safe(error));
    }
    let mut lines = "refused:\n".to_owned();
    for fault in faults {
        let of = |key: &str| text(&fault[key]);
        lines += &format!(
            "  {}:{}: {}: found {}, expected {}\n",
            of("file"),
            of("line"),
            of("key"),
            of("found"),
            of("expected")
        );
    }
    lines
}

/// A line for each field.
fn fields(answer: &Json) -> String {
    let Some(all) = answer.as_object() else { return text(answer) + "\n" };
    let line = |(key, value): (&String, &Json)| match value {
        Json::Array(rows) if rows.iter().any(|row| row.is_object() || row.is_string()) => {
            let rows: String = rows.iter().map(|row| format!("  {}\n", text(row))).collect();
            format!("{}:\n{rows}", safe(key))
        }
        value => format!("{}: {}\n", safe(key), text(value)),
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_done_and_what_was_not_is_said_in_words() {
        let said = |verb: &str, answer: &Json| print(verb, answer, 0, Some(80));
        assert_eq!(said("rollback", &json!({"generation": 7})), "generation: 7\n");
        assert_eq!(said("release", &json!({"released": 0})), "nothing was counted against it\n");
        let refused = json!({"error": "no", "faults": [{"file": "a.toml", "line": 3, "key": "x", "found": "\u{1b}[2J", "expected": "y"}]});
        assert_eq!(said("reload", &refused), "refused:\n  a.toml:3: x: found \\u{1b}[2J, expected y\n");
        assert_eq!(said("lift", &json!({"error": "there is none"})), "refused: there is none\n");
        let warned = json!({"generation": 2, "changed": true, "warnings": ["a", "b"]});
        assert_eq!(said("reload", &warned), "changed: yes\ngeneration: 2\nwarnings:\n  a\n  b\n");
    }
}
