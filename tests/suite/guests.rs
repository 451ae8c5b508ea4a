//! Hostile and broken policies: each is refused at load, or becomes its `on-error` outcome in bounded time, and the
//! request is always answered.

use std::time::{Duration, Instant};

use harness::{Answer, Guest, Question, Request};

use crate::support::{config, last, setup, webmail};

const LOOP: &str = "(loop (br 0)) unreachable";

fn policy(question: Question, settings: &str) -> String {
    format!("[[policy]]\nname = \"hostile\"\nasks = \"{}\"\nfile = \"hostile.wasm\"\n{settings}\n", question.name())
}

/// What a call may do wrong. All of it must look alike from outside.
fn hostile(question: Question) -> Vec<(&'static str, Guest)> {
    let guest = || Guest::new(question);
    let some_text = |pointer: u32, length: u32| {
        // Access "deny", template "some", auth mode "some refuse", and for device "some" of a form that is not there.
        let stores = match question {
            Question::Access => "(i32.store8 (i32.const 16) (i32.const 1))",
            Question::Device | Question::Template => "(i32.store (i32.const 16) (i32.const 0x901))",
            Question::AuthMode => "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 3))",
            Question::Filter => "(i32.store8 (i32.const 16) (i32.const 2))",
        };
        let at = if question == Question::AuthMode { 24 } else { 20 };
        format!(
            "{stores} (i32.store (i32.const {at}) (i32.const {pointer})) \
             (i32.store (i32.const {}) (i32.const {length})) i32.const 16",
            at + 4
        )
    };
    vec![
        ("loop", guest().answer(LOOP)),
        ("trap", guest().answer("unreachable")),
        ("recursion", {
            let parameter = if question == Question::Template { "(i32.const 0)" } else { "" };
            guest().answer(&format!("(call $answer {parameter})"))
        }),
        ("memory bomb", guest().answer("(loop (drop (memory.grow (i32.const 64))) (br 0)) unreachable")),
        ("out of bounds", guest().answer(&some_text(0xffff_0000, 8))),
        ("giant text", guest().answer(&format!("(drop (memory.grow (i32.const 100))) {}", some_text(0, 4 << 20)))),
        ("bad UTF-8", guest().extra("(data (i32.const 2048) \"\\ff\\fe\")").answer(&some_text(2048, 2))),
    ]
}

#[test]
fn whatever_a_call_does_the_client_is_answered_in_time() {
    for question in [Question::Access, Question::Device, Question::Template, Question::AuthMode] {
        for (what, guest) in hostile(question) {
            let node = webmail(|_| Answer::text("inbox"));
            let proxy = setup()
                .file("hostile.wasm", guest.build())
                .serve(&config(&policy(question, ""), &[("node-a", &node, "")]));
            let started = Instant::now();
            if question == Question::Access {
                // On error an access policy denies: the connection is closed, and the next one as well.
                for _ in 0..3 {
                    assert!(proxy.client().try_send(Request::new("GET", "/")).is_err(), "{what}");
                }
            } else {
                // The others fall back to the built-in answer: a desktop, the site's template, LDAP bind.
                let page = last(proxy.client().follow().login("alice", "alice-secret"));
                assert_eq!((page.status, page.text().as_str()), (200, "inbox"), "{question:?} {what}");
            }
            assert!(started.elapsed() < Duration::from_secs(5), "{question:?} {what}: {:?}", started.elapsed());
            // "giant text" of a device is a form that does not exist; all that matters is that it failed.
            proxy.wait_for_log("a policy failed", Duration::from_secs(5));
        }
    }
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
        ("a core module", wat_module(), "hostile.wasm"),
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
