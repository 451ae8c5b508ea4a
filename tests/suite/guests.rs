//! Hostile and broken policies: each is refused at load, or becomes its `on-error` outcome in bounded time, and the
//! request is always answered.

use std::time::{Duration, Instant};

use harness::{Answer, Guest, Question, Request, VERSION};
use serde_json::json;

use crate::support::{config, last, post_login, setup, webmail};

const LOOP: &str = "(loop (br 0)) unreachable";

fn policy(question: Question, settings: &str) -> String {
    format!("[[policy]]\nname = \"hostile\"\nasks = \"{}\"\nfile = \"hostile.wasm\"\n{settings}\n", question.name())
}

/// The hostile guests: `tests/guests/hostile/*.wat`, by name.
fn hostile() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/hostile");
    let files = std::fs::read_dir(folder).expect("the hostile guests").map(|entry| entry.expect("a guest").path());
    let mut guests: Vec<(String, String)> = files
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a guest"))
        })
        .collect();
    guests.sort();
    assert!(guests.len() > 20, "{}", guests.len());
    guests
}

/// Those that do not even start: they are refused when they are loaded.
const NEVER_START: [&str; 4] = ["loop-in-configure", "loop-in-start", "too-much-memory", "trap-in-configure"];
/// After so many failures the breaker opens; the same number of questions more is then not asked at all.
const FAILURES: usize = 5;
const ASKED: usize = FAILURES + 3;

/// Each hostile guest, with each `on-error`: the client is always answered in time, and as the operator chose; the worker
/// lives; what failed and what was not asked any more is counted.
fn each_is_answered(question: Question, on_errors: &[&str]) {
    for (name, text) in hostile() {
        let Some(guest) = Guest::hostile(question, &text) else { continue };
        if NEVER_START.contains(&name.as_str()) {
            continue;
        }
        for on_error in on_errors {
            let what = format!("{name}, {question:?}, {on_error}");
            let node = webmail(|_| Answer::text("inbox"));
            let admin = "[threads]\nmax = 1\n[admin]\nsocket = \"admin.sock\"\n";
            let settings = format!("on-error = \"{on_error}\"");
            let proxy = setup()
                .file("hostile.wasm", guest.build())
                .serve(&config(&format!("{admin}{}", policy(question, &settings)), &[("node-a", &node, "")]));
            for asked in 1..=ASKED {
                let started = Instant::now();
                ask(&proxy, question, (on_error, asked), &what);
                assert!(started.elapsed() < Duration::from_secs(5), "{what}: {:?}", started.elapsed());
            }
            let status = proxy.status();
            let policy = &status["policies"][0];
            assert_eq!(policy["failures"], FAILURES, "{what}: {status:#}");
            assert_eq!(policy["breaker"], json!({"open": true, "shut-out": ASKED - FAILURES}), "{what}");
            proxy.wait_for_log("a policy failed", Duration::from_secs(5));
        }
    }
}

/// Asks the policy once, by what makes Doorward ask it, and looks at what comes of its failing.
fn ask(proxy: &harness::Proxy, question: Question, (on_error, asked): (&str, usize), what: &str) {
    let mut client = proxy.client();
    match (question, on_error) {
        (Question::Access, "deny") => assert!(client.try_send(Request::new("GET", "/")).is_err(), "{what}"),
        (Question::AuthMode, "refuse") => {
            let page = last(client.login("alice", "alice-secret"));
            assert_eq!(page.status, 403, "{what}");
            assert!(page.text().contains("not possible at the moment"), "{what}");
        }
        // The built-in answer: LDAP bind; but nobody gets it by making the policy fail until it is left alone.
        (Question::AuthMode, _) => {
            let status = if asked < FAILURES { 303 } else { 503 };
            assert_eq!(post_login(&mut client, "/", "alice", "alice-secret").status, status, "{what}, {asked}");
        }
        (Question::Route, on_error) => {
            let status = if on_error == "refuse" { 503 } else { 303 };
            assert_eq!(post_login(&mut client, "/", "alice", "alice-secret").status, status, "{what}, {asked}");
        }
        (Question::Filter, "refuse") => assert_eq!(client.get("/").status, 503, "{what}"),
        // The built-in answers: let in, a desktop, the site's template, let pass.
        _ => assert!(client.get("/").expect(200).text().contains("data-look=\"blue\""), "{what}"),
    }
}

#[test]
fn hostile_access_policies_are_survived() {
    each_is_answered(Question::Access, &["deny", "allow"]);
}

#[test]
fn hostile_device_policies_are_survived() {
    each_is_answered(Question::Device, &["default"]);
}

#[test]
fn hostile_template_policies_are_survived() {
    each_is_answered(Question::Template, &["default"]);
}

#[test]
fn hostile_auth_mode_policies_are_survived() {
    each_is_answered(Question::AuthMode, &["default", "refuse"]);
}

#[test]
fn hostile_route_policies_are_survived() {
    each_is_answered(Question::Route, &["default", "refuse"]);
}

#[test]
fn hostile_filters_are_survived() {
    each_is_answered(Question::Filter, &["refuse", "pass"]);
}

#[test]
fn a_guest_that_cannot_start_is_refused_whatever_it_is_for() {
    let node = webmail(|_| Answer::text(""));
    for question in Question::ALL {
        for (name, text) in hostile().into_iter().filter(|(name, _)| NEVER_START.contains(&name.as_str())) {
            let guest = Guest::hostile(question, &text).expect("one for every question");
            let text = config(&policy(question, ""), &[("node-a", &node, "")]);
            let ran =
                setup().file("hostile.wasm", guest.build()).file("c.toml", text).run(&["check", "--config", "c.toml"]);
            assert_eq!(ran.status.code(), Some(1), "{name} {question:?}: {}", ran.stdout);
            for part in ["policy[0].file", "hostile.wasm", "expected"] {
                assert!(ran.stdout.contains(part), "{name} {question:?}: {part} in {}", ran.stdout);
            }
        }
    }
}

#[test]
fn a_flood_of_log_lines_is_dammed() {
    let guest = Guest::new(Question::Device)
        .imports(&format!("(import \"doorward:policy/log@{VERSION}\" \"write\" (func $log (param i32 i32 i32)))"))
        .extra("(data (i32.const 2048) \"forged\\0aline\") (global $n (mut i32) (i32.const 0))")
        .answer(
            "(global.set $n (i32.const 0)) (loop (call $log (i32.const 3) (i32.const 2048) (i32.const 11)) \
             (global.set $n (i32.add (global.get $n) (i32.const 1))) \
             (br_if 0 (i32.lt_u (global.get $n) (i32.const 1000)))) i32.const 16",
        );
    let node = webmail(|_| Answer::text("inbox"));
    let text = config(&policy(Question::Device, "memo = \"0B\""), &[("node-a", &node, "")]);
    let proxy = setup().file("hostile.wasm", guest.build()).serve(&text);
    proxy.client().get("/").expect(200);
    proxy.wait_for_log("policy says", Duration::from_secs(5));
    proxy.client().get("/").expect(200);
    let lines: Vec<String> = proxy.log().into_iter().filter(|line| line.contains("policy says")).collect();
    assert!((1..=32).contains(&lines.len()), "{}", lines.len());
    assert!(lines.iter().all(|line| line.contains("forged\\nline")), "{lines:?}");
}

#[test]
fn the_log_says_what_a_guest_said_before_it_failed_and_no_record_does() {
    let guest = Guest::new(Question::Device)
        .imports("(import \"doorward:policy/log@0.1.1\" \"write\" (func $log (param i32 i32 i32)))")
        .extra("(data (i32.const 2048) \"no such\\ntenant\")")
        // More lines than the log takes: the last one says why.
        .answer(
            "(local $n i32) (loop (call $log (i32.const 0) (i32.const 2048) (i32.const 1)) \
             (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40)))) \
             (call $log (i32.const 3) (i32.const 2048) (i32.const 14)) unreachable",
        );
    let node = webmail(|_| Answer::text("inbox"));
    let recording = format!(
        "[[log.to]]\nwhat = [\"decision\"]\nformat = \"json\"\ntarget = \"decisions.jsonl\"\n{}",
        policy(Question::Device, "decisions = \"full\"")
    );
    let proxy = setup().file("hostile.wasm", guest.build()).serve(&config(&recording, &[("node-a", &node, "")]));
    proxy.client().get("/").expect(200);
    let line = proxy.wait_for_log("a policy failed", Duration::from_secs(5));
    assert!(line.contains("| no such | tenant"), "{line}");
    let record = std::fs::read_to_string(proxy.dir().join("decisions.jsonl")).unwrap_or_default();
    assert!(!record.contains("tenant"), "what it said may hold any fact: {record}");
}

#[test]
fn an_access_policy_may_fail_open_only_when_the_operator_says_so() {
    let node = webmail(|_| Answer::text("inbox"));
    let guest = Guest::new(Question::Access).answer("unreachable").build();
    let proxy = setup()
        .file("hostile.wasm", guest)
        .serve(&config(&policy(Question::Access, "on-error = \"allow\""), &[("node-a", &node, "")]));
    proxy.client().get("/").expect(200);
}

#[test]
fn an_auth_mode_policy_may_refuse_on_error() {
    let node = webmail(|_| Answer::text("inbox"));
    let guest = Guest::new(Question::AuthMode).answer(LOOP).build();
    let proxy = setup()
        .file("hostile.wasm", guest)
        .serve(&config(&policy(Question::AuthMode, "on-error = \"refuse\""), &[("node-a", &node, "")]));
    let page = last(proxy.client().login("alice", "alice-secret"));
    assert_eq!(page.status, 403);
    assert!(page.text().contains("not possible at the moment"));
}

#[test]
fn what_cannot_start_is_refused_with_its_file_and_reason() {
    let guest = || Guest::new(Question::Device);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("loops at its start", guest().extra("(func $s (loop (br 0))) (start $s)").build(), "took longer"),
        ("loops in configure", guest().configure(LOOP).build(), "took longer"),
        ("traps in configure", guest().configure("unreachable").build(), "trapped"),
        ("wants too much memory", guest().extra("(memory $big 2000)").build(), "hostile.wasm"),
        ("another version", guest().version("0.9.0").build(), "0.9.0"),
        ("another question", Guest::new(Question::Template).build(), "template"),
        ("a core module", wat_module(), "doorward policy build"),
        ("text", b"(component)".to_vec(), "no WebAssembly"),
        ("nothing", Vec::new(), "no WebAssembly"),
    ];
    let node = webmail(|_| Answer::text(""));
    for (what, bytes, reason) in cases {
        let started = Instant::now();
        let setup = setup()
            .file("hostile.wasm", bytes)
            .file("c.toml", config(&policy(Question::Device, ""), &[("node-a", &node, "")]));
        let ran = setup.run(&["check", "--config", "c.toml"]);
        assert_eq!(ran.status.code(), Some(1), "{what}: {}", ran.stdout);
        for part in ["policy[0].file", "hostile.wasm", reason, "expected"] {
            assert!(ran.stdout.contains(part), "{what}: {part} in {}", ran.stdout);
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
    }
}

fn wat_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}

#[test]
fn a_policy_cannot_read_what_it_is_not_given() {
    // Asks for the header `cookie`, which the browser has sent, and refuses when it is given one.
    let guest = Guest::new(Question::AuthMode)
        .imports("(import \"doorward:policy/request@0.1.1\" \"header\" (func $header (param i32 i32 i32)))")
        .extra("(data (i32.const 2048) \"cookie\")")
        .answer(
            "(call $header (i32.const 2048) (i32.const 6) (i32.const 3072)) \
             (i32.store8 (i32.const 16) (i32.load8_u (i32.const 3072))) (i32.store8 (i32.const 20) (i32.const 3)) \
             i32.const 16",
        );
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup()
        .file("hostile.wasm", guest.build())
        .serve(&config(&policy(Question::AuthMode, ""), &[("node-a", &node, "")]));
    let mut client = proxy.client().follow();
    assert_eq!(last(client.login("alice", "alice-secret")).text(), "inbox");
    assert!(!proxy.log().join("\n").contains("a policy failed"));
}
