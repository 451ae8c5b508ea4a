//! The question `route`: a policy says which node a login goes to, whatever the directory says.

use std::time::Duration;

use harness::{Answer, Backend, Guest, Proxy, Question, Setup, VERSION};
use serde_json::{Value, json};

use crate::support::{ADMIN, config, log_in, post_login, setup, webmail};

const SOON: Duration = Duration::from_secs(60);

/// A policy that sends everybody to this node while it is up, and else to none.
fn to(node: &str) -> Vec<u8> {
    let length = node.len();
    Guest::new(Question::Route)
        .imports(&format!(
            "(import \"doorward:policy/nodes@{VERSION}\" \"node-state\" (func $state (param i32 i32 i32)))"
        ))
        .extra(&format!("(data (i32.const 2048) \"{node}\")"))
        // Of the three states only "up" has two letters.
        .answer(&format!(
            "(call $state (i32.const 2048) (i32.const {length}) (i32.const 3072))
             (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 2))
             (if (i32.eq (i32.load (i32.const 3080)) (i32.const 2)) (then
               (i32.store8 (i32.const 20) (i32.const 1)) (i32.store (i32.const 24) (i32.const 2048))
               (i32.store (i32.const 28) (i32.const {length}))))
             i32.const 16"
        ))
        .build()
}

/// A policy that always answers this node, or keeps the usual one.
fn always(node: Option<&str>) -> Vec<u8> {
    let (name, kind) = (node.unwrap_or_default(), u8::from(node.is_some()));
    Guest::new(Question::Route)
        .extra(&format!("(data (i32.const 2048) \"{name}\")"))
        .answer(&format!(
            "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const {kind}))
             (i32.store (i32.const 24) (i32.const 2048)) (i32.store (i32.const 28) (i32.const {}))
             i32.const 16",
            name.len()
        ))
        .build()
}

/// Two nodes that say who they are, behind a proxy with these route policies.
fn start(policies: &[(&str, Vec<u8>, &str)], more: &str) -> ([Backend; 2], Proxy) {
    let nodes = ["node-a", "node-b"].map(|name| webmail(move |_| Answer::text(name)));
    let (mut setup, mut extra) = (setup(), format!("{ADMIN}{more}"));
    for (name, bytes, settings) in policies {
        setup = setup.file(&format!("{name}.wasm"), bytes);
        extra.push_str(&format!(
            "[[policy]]\nname = \"{name}\"\nasks = \"route\"\nfile = \"{name}.wasm\"\n{settings}\n"
        ));
    }
    let proxy = setup.serve(&config(&extra, &[("node-a", &nodes[0], ""), ("node-b", &nodes[1], "")]));
    (nodes, proxy)
}

fn why(proxy: &Proxy, user: &str) -> Value {
    let (status, body) = proxy.admin("GET", &format!("/why?user={user}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).expect("JSON")["tries"][0].clone()
}

#[test]
fn a_policy_moves_a_user_to_another_node_and_says_later_while_that_is_drained() {
    let (_nodes, proxy) = start(&[("move", to("node-b"), "")], "[threads]\nmax = 1\n");
    for _ in 0..2 {
        assert_eq!(log_in(&proxy, "alice").get("/").expect(200).text(), "node-b");
    }
    let status = proxy.status();
    assert_eq!(status["policies"][0]["memo"]["hits"], 1, "the second login is the first one's decision: {status:#}");
    let line = proxy.wait_for_log(" login .*account=\"alice\"", SOON);
    for word in ["node=\"node-b\"", "route=\"move\"", "usual=\"node-a\"", "outcome=\"in\""] {
        assert!(line.contains(word), "{word} in {line}");
    }
    let attempt = why(&proxy, "alice");
    assert_eq!(
        (&attempt["route"], &attempt["usual"], &attempt["node"]),
        (&json!("move"), &json!("node-a"), &json!("node-b"))
    );
    // Whose node it is anyway.
    log_in(&proxy, "bob");
    let attempt = why(&proxy, "bob");
    assert_eq!((&attempt["route"], &attempt["usual"]), (&json!("move"), &Value::Null));

    assert_eq!(proxy.admin("POST", "/drain?backend=node-b&for=1h").0, 200);
    let page = post_login(&mut proxy.client(), "/", "alice", "alice-secret");
    assert_eq!(page.status, 503);
    assert!(page.header("retry-after").is_some() && page.text().contains("takes no new logins"), "{}", page.text());
    let attempt = why(&proxy, "alice");
    assert_eq!(
        (&attempt["reason"], &attempt["route"], &attempt["usual"]),
        (&json!("later"), &json!("move"), &json!("node-a"))
    );
    // Nobody learns by it whether a password is right.
    let wrong = post_login(&mut proxy.client(), "/", "alice", "wrong");
    assert_eq!(wrong.status, 403, "{}", wrong.text());
}

/// A policy that sends everybody to node-b while it is up, and else says this.
fn to_b_or(otherwise: &str) -> Vec<u8> {
    Guest::new(Question::Route)
        .imports(&format!(
            "(import \"doorward:policy/nodes@{VERSION}\" \"node-state\" (func $state (param i32 i32 i32)))"
        ))
        .extra("(data (i32.const 2048) \"node-bnode-a\")")
        .answer(&format!(
            "(call $state (i32.const 2048) (i32.const 6) (i32.const 3072))
             (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1))
             (i32.store (i32.const 28) (i32.const 6))
             (if (i32.eq (i32.load (i32.const 3080)) (i32.const 2))
               (then (i32.store (i32.const 24) (i32.const 2048)))
               (else {otherwise}))
             i32.const 16"
        ))
        .build()
}

#[test]
fn a_session_ends_as_moved_only_where_a_policy_names_a_node_that_takes_logins() {
    let node_a = "(i32.store (i32.const 24) (i32.const 2054))";
    for (otherwise, moves) in [("unreachable", false), (node_a, true)] {
        let (a, b) = (webmail(|_| Answer::text("node-a")), webmail(|_| Answer::text("node-b")));
        let extra = format!("{ADMIN}[[policy]]\nname = \"p\"\nasks = \"route\"\nfile = \"p.wasm\"\n");
        let health = "[backend.health]\nfailures = 1\npause = \"1h\"\n";
        let text = config(&extra, &[("node-a", &a, ""), ("node-b", &b, health)]);
        let proxy = setup().file("p.wasm", to_b_or(otherwise)).serve(&text);
        let mut client = log_in(&proxy, "alice");
        assert_eq!(client.get("/").expect(200).text(), "node-b");
        assert_eq!(proxy.admin("POST", "/drain?backend=node-a&for=1h").0, 200);
        drop(b);
        for _ in 0..2 {
            assert_eq!(client.get("/").status, 503, "{otherwise}: the policy fails, or node-a takes no logins");
        }
        assert_eq!(proxy.status()["backends"][1]["up"], false);
        assert_eq!(proxy.admin("POST", "/undrain?backend=node-a").0, 200);
        let answer = client.get("/");
        let moved = (303, Some("/.doorward/login?moved"));
        assert_eq!((answer.status, answer.header("location")) == moved, moves, "{otherwise}: {answer:?}");
    }
}

#[test]
fn a_user_goes_to_the_same_node_by_whatever_name_he_logs_in() {
    // Sends everybody whose name has five letters to node-b.
    let guest = Guest::new(Question::Route)
        .imports(&format!("(import \"doorward:policy/login@{VERSION}\" \"username\" (func $name (param i32)))"))
        .extra("(data (i32.const 2048) \"node-b\")")
        .answer(
            "(call $name (i32.const 3072))
             (i32.store8 (i32.const 16) (i32.eq (i32.load (i32.const 3076)) (i32.const 5)))
             (i32.store8 (i32.const 20) (i32.const 1))
             (i32.store (i32.const 24) (i32.const 2048)) (i32.store (i32.const 28) (i32.const 6)) i32.const 16",
        );
    let nodes = ["node-a", "node-b"].map(|name| webmail(move |_| Answer::text(name)));
    let extra = "[[policy]]\nname = \"p\"\nasks = \"route\"\nfile = \"p.wasm\"\n";
    let text = config(extra, &[("node-a", &nodes[0], ""), ("node-b", &nodes[1], "")]);
    let text = text.replace("[directory]\n", "[directory]\nname-attribute = \"uid\"\n");
    let proxy = setup().file("p.wasm", guest.build()).serve(&text);
    for name in ["alice", "alice@a.test"] {
        let mut client = proxy.client();
        assert_eq!(post_login(&mut client, "/", name, "alice-secret").status, 303, "{name}");
        assert_eq!(client.get("/").expect(200).text(), "node-b", "{name}");
    }
}

#[test]
fn a_policy_assigns_users_without_a_node_and_the_first_opinion_wins() {
    let policies =
        [("none", Guest::new(Question::Route).build(), ""), ("new", to("node-b"), ""), ("last", always(None), "")];
    let (_nodes, proxy) = start(&policies, "");
    // The directory gives neither of them a node that there is.
    for user in ["nomad", "lost"] {
        assert_eq!(log_in(&proxy, user).get("/").expect(200).text(), "node-b", "{user}");
    }
    let (_nodes, proxy) = start(&[("keep", always(None), ""), ("new", to("node-b"), "")], "");
    assert_eq!(log_in(&proxy, "alice").get("/").expect(200).text(), "node-a");
    assert_eq!(post_login(&mut proxy.client(), "/", "nomad", "nomad-secret").status, 503, "it has none to keep");
    assert_eq!(why(&proxy, "nomad")["reason"], "no-node");
}

#[test]
fn a_node_that_is_not_configured_is_a_failure_of_the_policy() {
    for (on_error, status, reason) in [("default", 303, Value::Null), ("refuse", 503, json!("policy-failed"))] {
        let (_nodes, proxy) = start(&[("odd", always(Some("node-z")), &format!("on-error = \"{on_error}\""))], "");
        assert_eq!(post_login(&mut proxy.client(), "/", "alice", "alice-secret").status, status, "{on_error}");
        assert_eq!(why(&proxy, "alice")["reason"], reason, "{on_error}");
        proxy.wait_for_log("a policy failed.*odd.*a node that is not configured.*node-z", SOON);
        let policy = &proxy.status()["policies"][0];
        assert_eq!(policy["failures"], 1, "{policy:#}");
        post_login(&mut proxy.client(), "/", "alice", "alice-secret");
        let policy = &proxy.status()["policies"][0];
        assert_eq!((&policy["failures"], &policy["memo"]["hits"]), (&json!(2), &json!(0)), "{policy:#}");
    }
}

#[test]
fn what_a_policy_said_of_a_login_is_recorded_and_replayed() {
    let more = "[[log.to]]\nwhat = [\"decision\"]\nformat = \"json\"\ntarget = \"decisions.jsonl\"\n";
    let (_nodes, proxy) = start(&[("move", to("node-b"), "decisions = \"full\"")], more);
    log_in(&proxy, "alice");
    let text = crate::support::wait_for_file(&proxy.dir().join("decisions.jsonl"), |text| text.ends_with('\n'));
    let record: Value = text.lines().find_map(|line| serde_json::from_str(line).ok()).expect("a record");
    assert_eq!((&record["asks"], &record["verdict"]), (&json!("route"), &json!({"node": "node-b"})), "{record}");
    assert_eq!(record["reads"], json!([{"fact": "nodes.node-state(node-b)", "value": "up"}]));
    // Another one is asked the same: the live one's answer again, and one that keeps the node.
    let desk = Setup::new().file("log.jsonl", text).file("move.wasm", to("node-b")).file("keep.wasm", always(None));
    for (file, code, changed) in [("move.wasm", 0, 0), ("keep.wasm", 1, 1)] {
        let ran = desk.run(&["policy", "replay", "log.jsonl", "--policy", file, "--json"]);
        assert_eq!(ran.status.code(), Some(code), "{}{}", ran.stdout, ran.stderr);
        let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!((&report["asked"], &report["changed"]), (&json!(1), &json!(changed)), "{report}");
    }
}
