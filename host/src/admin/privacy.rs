//! What a viewer sees of people: nothing whole. Here, and not in templates, data becomes what somebody with a role may see.
//!
//! Invariant: what is not known to be harmless is hidden from a viewer: a fact, a field or a text that is new is hidden until
//! it is named here.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::caller::Caller;

/// What stands for a text that a viewer does not see.
const HIDDEN: &str = "…";

/// Facts that say nothing about a person: of the connection, the request's form, and counts.
const HARMLESS: [&str; 16] = [
    "connection.listener",
    "connection.local-address",
    "connection.tls-server-name",
    "request.method",
    "request.scheme",
    "request.host",
    "request.http-version",
    "request.header(accept)",
    "request.header(accept-language)",
    "request.header(user-agent)",
    "request.header(sec-ch-ua-mobile)",
    "request.header(sec-ch-ua-platform)",
    "login.known",
    "nodes.usual-node",
    "session.session-node",
    "session.session-site",
];

/// Fields of an event with texts of ours, or of the configuration.
const OURS: [&str; 25] = [
    "asks",
    "digest",
    "ended",
    "fact",
    "generation",
    "host",
    "http",
    "id",
    "kind",
    "level",
    "listener",
    "method",
    "mode",
    "node",
    "outcome",
    "policy",
    "protocol",
    "reason",
    "request",
    "route",
    "site",
    "status",
    "time",
    "tls",
    "usual",
];

/// An event as this caller may see it.
pub(super) fn seen(event: &Json, caller: &Caller) -> Json {
    if caller.sees_people() {
        return event.clone();
    }
    let Some(fields) = event.as_object() else { return json!(HIDDEN) };
    fields.iter().map(|(key, value)| (key.clone(), field(key, value, caller))).collect()
}

fn field(key: &str, value: &Json, caller: &Caller) -> Json {
    match (key, value) {
        (_, Json::Number(_) | Json::Bool(_) | Json::Null) => value.clone(),
        ("reads", Json::Array(reads)) => reads.iter().map(|read| of_read(read, caller)).collect(),
        ("verdict" | "live", verdict) => word(verdict),
        // What a guest says before it fails may have anything in it.
        ("error", _) => json!("failed"),
        ("client" | "address", Json::String(text)) => address(text, caller),
        ("user" | "typed" | "account" | "name", Json::String(text)) => json!(caller.name_of(text)),
        ("path" | "target" | "uri", Json::String(text)) => path(text),
        (key, value) if OURS.contains(&key) => value.clone(),
        _ => json!(HIDDEN),
    }
}

/// A read of a decision.
fn of_read(read: &Json, caller: &Caller) -> Json {
    let fact = read["fact"].as_str().unwrap_or_default();
    if read["masked"] == json!(true) || read["value"].is_null() {
        return read.clone();
    }
    let value = match (fact, &read["value"]) {
        ("connection.client-address", Json::String(text)) => address(text, caller),
        ("login.username", Json::String(text)) => json!(caller.name_of(text)),
        ("request.path" | "request.target", Json::String(text)) => path(text),
        (fact, value) if HARMLESS.contains(&fact) || value.is_number() || value.is_boolean() => value.clone(),
        (fact, value) if fact.ends_with(".form") || fact == "clock.now" => value.clone(),
        _ => json!(HIDDEN),
    };
    // What was looked for on a list may be anybody's.
    let list = fact.strip_prefix("lists.list-contains(").and_then(|both| both.split(' ').next());
    let fact = list.map_or_else(|| fact.to_owned(), |list| format!("lists.list-contains({list} {HIDDEN})"));
    json!({"fact": fact, "value": value})
}

/// The word of a verdict without what goes with it, which may name somebody.
fn word(verdict: &Json) -> Json {
    match verdict {
        Json::Object(details) => details.keys().next().map_or(Json::Null, |word| json!(format!("{word} {HIDDEN}"))),
        other => other.clone(),
    }
}

fn address(text: &str, caller: &Caller) -> Json {
    text.parse::<IpAddr>().map_or_else(|_| json!(HIDDEN), |address| json!(caller.address_of(address)))
}

/// The first part of a path: webmails have names and folders in the rest.
fn path(text: &str) -> Json {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    json!(if path.len() == first.len() + 1 && path.len() == text.len() {
        path.to_owned()
    } else {
        format!("/{first}{}", if path.len() > first.len() + 1 { "/…" } else { HIDDEN })
    })
}

#[cfg(test)]
mod tests {
    use super::super::caller::{Proof, Role};
    use super::*;

    fn caller(role: Role) -> Caller {
        Caller { proof: Proof::Token("t".to_owned()), role, from: None }
    }

    #[test]
    fn a_viewer_sees_nobody_whole_and_an_operator_does() {
        let event = json!({
            "policy": "p", "site": "mail.test", "client": "192.0.2.77", "user": "alice", "path": "/SOGo/so/alice/Mail",
            "verdict": {"deny": "192.0.2.77 is not from here"}, "us": 3, "note": "alice",
            "reads": [
                {"fact": "connection.client-address", "value": "192.0.2.77"},
                {"fact": "login.username", "value": "alice"},
                {"fact": "login.attribute(mail)", "value": ["alice@example.com"]},
                {"fact": "request.target", "value": "/?user=alice"},
                {"fact": "request.header(referer)", "value": "https://a.test/alice"},
                {"fact": "request.cookie(kiosk)", "masked": true},
                {"fact": "request.host", "value": "mail.test"},
                {"fact": "lists.list-contains(vips alice)", "value": true},
                {"fact": "session.session-user", "value": "alice"},
            ],
        });
        let viewed = seen(&event, &caller(Role::Viewer));
        let text = viewed.to_string();
        assert!(!text.contains("alice") && !text.contains("192.0.2.77"), "{text}");
        assert_eq!(viewed["client"], "192.0.2.0/24");
        assert_eq!((&viewed["user"], &viewed["path"]), (&json!("a…"), &json!("/SOGo/…")));
        assert_eq!(viewed["verdict"], "deny …");
        assert_eq!((&viewed["policy"], &viewed["us"]), (&json!("p"), &json!(3)));
        assert_eq!(viewed["reads"][6]["value"], "mail.test");
        assert_eq!(viewed["reads"][5]["masked"], true);
        assert_eq!(seen(&event, &caller(Role::Operator)), event);
    }

    #[test]
    fn of_a_path_the_first_part_is_seen() {
        for (whole, seen) in [("/", "/"), ("/inbox", "/inbox"), ("/a/b", "/a/…"), ("/?q=1", "/…"), ("/a?b", "/a…")]
        {
            assert_eq!(path(whole), json!(seen), "{whole}");
        }
    }
}
