//! `doorward policy`: each command on a policy that is right, and on one that is not, with its exit status and JSON.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Guest, Program, Question, Ran, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{config, setup as front_door, webmail};

const DEVICE: &str = include_str!("../../policies/device-detection/vectors.toml");
const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/138.0.0.0 Mobile Safari/537.36";

/// Runs `doorward policy` with these words, and compares its exit status.
#[track_caller]
fn policy(setup: &Setup, words: &[&str], status: i32) -> Ran {
    let words: Vec<&str> = ["policy"].iter().chain(words).copied().collect();
    let ran = setup.run(&words);
    assert_eq!(ran.status.code(), Some(status), "{words:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

/// The same with `--json`; all that is printed is one line.
#[track_caller]
fn json_of(setup: &Setup, words: &[&str], status: i32) -> Value {
    let words: Vec<&str> = words.iter().chain(&["--json"]).copied().collect();
    let ran = policy(setup, &words, status);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

/// A device policy that says "mobile" and "desktop" by turns: it counts.
fn counter() -> Guest {
    Guest::new(Question::Device).extra("(global $n (mut i32) (i32.const 0))").answer(
        "(global.set $n (i32.add (global.get $n) (i32.const 1))) \
         (i32.store (i32.const 16) \
           (i32.or (i32.const 1) (i32.shl (i32.and (global.get $n) (i32.const 1)) (i32.const 8)))) i32.const 16",
    )
}

#[test]
fn inspect_shows_what_a_component_is() {
    let setup = Setup::new().file("core.wasm", b"\0asm\x01\0\0\0").file("look.wasm", Guest::template("blue").build());
    let report = json_of(&setup, &["inspect", "device-detection"], 0);
    assert_eq!(report["questions"], json!(["device"]));
    assert_eq!(report["version"], "0.1.1");
    assert!(report["imports"].as_array().expect("imports").contains(&json!("request.header")), "{report}");
    assert!(report["digest"].as_str().expect("a digest").starts_with("sha256:"));
    assert_eq!(report["schema"]["type"], "object");
    let text = policy(&setup, &["inspect", "look.wasm"], 0).stdout;
    assert!(text.contains("template") && text.contains("no schema"), "{text}");
    let core = json_of(&setup, &["inspect", "core.wasm"], 1);
    assert!(core["faults"][0]["found"].as_str().expect("what was found").contains("a core module"), "{core}");
    assert!(policy(&setup, &["inspect", "none.wasm"], 2).stderr.contains("none.wasm"));
}

/// Where a command keeps compiled code: files with their inodes, which a file that is written anew has another of.
fn kept(setup: &Setup) -> Vec<(std::ffi::OsString, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let folder = std::fs::read_dir(setup.dir().join(".cache/doorward/compiled")).into_iter().flatten().flatten();
    let code = folder.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "code"));
    code.map(|entry| (entry.file_name(), entry.metadata().expect("a file").ino())).collect()
}

#[test]
fn what_a_command_compiled_the_next_one_finds() {
    use std::os::unix::fs::PermissionsExt as _;
    // Large enough to be told of: 5 MiB of data, which take no time.
    let fill = format!("(memory $large 81) (data (memory $large) (i32.const 0) \"{}\")", "x".repeat(5 << 20));
    let setup = Setup::new().file("large.wasm", Guest::new(Question::Device).extra(&fill).build());
    assert!(policy(&setup, &["check", "large.wasm"], 0).stderr.contains("compiling large (5 MiB)"));
    let first = kept(&setup);
    assert_eq!(first.len(), 1, "{first:?}");
    for command in [&["check"][..], &["inspect"], &["bench"], &["eval", "--fact", "host=a"]] {
        let words: Vec<&str> = command[..1].iter().chain(&["large.wasm"]).chain(&command[1..]).copied().collect();
        assert_eq!(policy(&setup, &words, 0).stderr.matches("compiling").count(), 0, "{words:?}");
    }
    assert_eq!(kept(&setup), first);
    let mode = |path: &str| std::fs::metadata(setup.dir().join(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!((mode(".cache"), mode(".cache/doorward"), mode(".cache/doorward/compiled")), (0o700, 0o700, 0o700));
    // Where nothing can be kept the commands work all the same.
    let nowhere = Setup::new().file("look.wasm", Guest::template("blue").build()).env("XDG_CACHE_HOME", "/dev/null");
    policy(&nowhere, &["inspect", "look.wasm"], 0);
}

#[test]
fn inspect_needs_no_compiler_but_for_the_schema() {
    let setup = Setup::new().file("bomb.wasm", crate::policies::bomb());
    let report = json_of(&setup, &["inspect", "bomb.wasm", "--no-schema"], 0);
    assert_eq!((&report["questions"], report.get("schema")), (&json!(["template"]), None));
    let report = json_of(&setup, &["inspect", "bomb.wasm", "--compile-time", "1s"], 0);
    assert_eq!(report["questions"], json!(["template"]));
    let error = report["schema-error"].as_str().expect("why there is none");
    assert!(error.contains("longer than 1s"), "{error}");
    assert!(policy(&setup, &["check", "bomb.wasm", "--compile-time", "1s"], 1).stdout.contains("longer than 1s"));
    policy(&setup, &["check", "bomb.wasm", "--compile-time", "1h"], 2);
    assert_eq!(kept(&setup), []);
}

/// A device policy that logs a line of two and then traps.
fn talker() -> Guest {
    Guest::new(Question::Device)
        .imports("(import \"doorward:policy/log@0.1.1\" \"write\" (func $log (param i32 i32 i32)))")
        .extra("(data (i32.const 2048) \"line one\\nno such \\1b[31mtenant\")")
        .answer("(call $log (i32.const 1) (i32.const 2048) (i32.const 28)) unreachable")
}

#[test]
fn what_a_policy_said_before_it_failed_is_part_of_the_error() {
    let vectors = "[[vector]]\nname = \"a\"\nexpect = \"bot\"\n";
    let setup = Setup::new().file("talker.wasm", talker().build()).file("vectors.toml", vectors);
    let report = json_of(&setup, &["eval", "talker.wasm"], 1);
    let error = report["error"].as_str().expect("an error");
    assert!(error.ends_with("it said: line one | no such \\u{1b}[31mtenant"), "{error}");
    for words in [&["eval", "talker.wasm"][..], &["test", "talker.wasm"], &["check", "talker.wasm"]] {
        let told = policy(&setup, words, 1).stdout;
        assert!(told.contains("said line one\n    said no such \\u{1b}[31mtenant"), "{words:?}: {told}");
    }
    // Also of the settings, and of what nothing was wrong with.
    let talks = talker()
        .answer("i32.const 16")
        .configure("(call $log (i32.const 1) (i32.const 2048) (i32.const 8)) (unreachable)");
    let setup = setup.file("refuses.wasm", talks.build()).file(
        "well.wasm",
        talker().answer("(call $log (i32.const 1) (i32.const 2048) (i32.const 8)) i32.const 16").build(),
    );
    let faults = policy(&setup, &["eval", "refuses.wasm"], 1).stdout;
    assert!(faults.contains("it said: line one"), "{faults}");
    assert_eq!(json_of(&setup, &["eval", "well.wasm"], 0)["said"], json!(["line one"]));
}

#[test]
fn check_finds_what_is_not_pure_and_what_fails() {
    let setup = Setup::new()
        .file("counter.wasm", counter().build())
        .file("trap.wasm", Guest::new(Question::Device).answer("unreachable").build())
        .file("vectors/v.toml", DEVICE)
        .file("wrong.toml", "override = 1");
    let right = json_of(&setup, &["check", "device-detection", "--vectors", "vectors/v.toml"], 0);
    assert_eq!((&right["ok"], &right["asked"]), (&json!(true), &json!(40)));
    let counted = json_of(&setup, &["check", "counter.wasm"], 1);
    let impure = &counted["faults"][0]["decision"]["impure"];
    assert_eq!((&impure["fresh"]["verdict"], &impure["other"]["verdict"]), (&json!("mobile"), &json!("desktop")));
    let text = policy(&setup, &["check", "counter.wasm"], 1).stdout;
    assert!(text.contains("not pure") && text.contains("expected the same answer"), "{text}");
    assert!(policy(&setup, &["check", "trap.wasm"], 1).stdout.contains("trapped"));
    let faults = policy(&setup, &["check", "device-detection", "--settings", "wrong.toml"], 1).stdout;
    assert!(faults.contains("wrong.toml:1: settings") && faults.contains("did you mean"), "{faults}");
    policy(&setup, &["check", "device-detection", "--settings", "none.toml"], 2);
    policy(&setup, &["check", "device-detection", "--memory", "1GiB"], 2);
    policy(&setup, &["check", "device-detection", "--name", "x"], 2);
    policy(&setup, &["check"], 2);
}

#[test]
fn a_grant_and_a_limit_may_be_given() {
    let reads_cookie = Guest::new(Question::Access)
        .imports("(import \"doorward:policy/connection@0.1.1\" \"client-port\" (func $port (result i32)))")
        .answer("(drop (call $port)) i32.const 16")
        .build();
    let config = "[[policy]]\nname = \"p\"\nasks = \"access\"\nfile = \"p.wasm\"\ngrants = [\"log\"]\n";
    let setup = Setup::new().file("p.wasm", reads_cookie).file("d.toml", config);
    policy(&setup, &["check", "p.wasm"], 0);
    let of_config = ["check", "--config", "d.toml", "--name", "p"];
    let lacking = policy(&setup, &of_config, 1).stdout;
    assert!(lacking.contains("policy[0].file") && lacking.contains("connection.client-port"), "{lacking}");
    let granted: Vec<&str> = of_config.iter().chain(&["--grant", "connection.client-port"]).copied().collect();
    policy(&setup, &granted, 0);
    let other: Vec<&str> = granted.iter().chain(&["--settings", "none.toml"]).copied().collect();
    policy(&setup, &other, 2);
    let missing = policy(&setup, &["check", "--config", "d.toml", "--name", "q"], 2).stderr;
    assert!(missing.contains("no policy \"q\"; it has: p"), "{missing}");
}

#[test]
fn eval_shows_the_verdict_and_what_was_read() {
    let setup = Setup::new().file("facts.toml", "header = { user-agent = \"curl/8\" }\n");
    let fact = format!("header.user-agent={PHONE}");
    let report = json_of(&setup, &["eval", "device-detection", "--fact", &fact], 0);
    assert_eq!(report["verdict"], "mobile");
    let reads = report["reads"].as_array().expect("reads");
    assert!(reads.contains(&json!({"fact": "request.header(user-agent)", "value": PHONE})), "{report}");
    assert!(report["warm-us"].as_f64().is_some() && report["memory"].as_u64() > Some(0), "{report}");
    let from_file = policy(&setup, &["eval", "device-detection", "--facts", "facts.toml"], 0).stdout;
    assert!(from_file.starts_with("device \"bot\""), "{from_file}");
    let lacking = policy(&setup, &["eval", "access-control"], 1).stderr;
    assert!(lacking.contains("add --fact client-address=VALUE"), "{lacking}");
    let wrong = policy(&setup, &["eval", "access-control", "--fact", "client=1"], 2).stderr;
    assert!(wrong.contains("client is no fact") && wrong.contains("client-address, client-port"), "{wrong}");
    let clock = Guest::new(Question::Device)
        .imports("(import \"doorward:policy/clock@0.1.1\" \"now\" (func $now (result i64)))")
        .answer("(drop (call $now)) i32.const 16");
    let setup = setup.file("clock.wasm", clock.build());
    let at = json_of(&setup, &["eval", "clock.wasm", "--fact", "now=2026-12-01T08:00Z"], 0);
    assert_eq!(at["reads"], json!([{"fact": "clock.now", "value": 1_796_112_000}]));
    let record = r#"{"policy":"a","asks":"device","reads":[{"fact":"clock.now","value":7}],"verdict":null}"#;
    let again = json_of(&setup, &["eval", "clock.wasm", "--record", record], 0);
    assert_eq!(again["reads"], json!([{"fact": "clock.now", "value": 7}]));
    let masked = record.replace("\"value\":7", "\"masked\":true");
    policy(&setup, &["eval", "clock.wasm", "--record", &masked], 1);
    policy(&setup, &["eval", "clock.wasm", "--record", &masked, "--fact", "now=8"], 0);
    assert!(policy(&setup, &["eval", "clock.wasm", "--record", "{}"], 2).stderr.contains("no record"));
    let vectors = "[[vector]]\nname = \"a\"\nexpect = \"none\"\nfacts = { now = 2026-12-01T08:00:00Z }\n\
                   [[vector]]\nname = \"b\"\nexpect = \"none\"\nfacts = { now = \"2026-12-01T08:00Z\" }\n";
    policy(&setup.file("vectors.toml", vectors), &["test", "clock.wasm"], 0);
}

#[test]
fn test_runs_vectors_and_tells_those_that_fail() {
    let failing = "[[vector]]\nname = \"wrong\"\nexpect = \"bot\"\nfacts = { header = {} }\n\
                   [[vector]]\nname = \"lacks\"\nexpect = \"bot\"\n\
                   [[vector]]\nname = \"settings\"\nexpect = \"bot\"\nsettings = { nope = 1 }\n\
                   [[vector]]\nname = \"no such word\"\nexpect = \"phone\"\n\
                   [[vector]]\nname = \"right\"\nexpect = \"desktop\"\nfacts = { header = {} }\n";
    let setup = Setup::new()
        .file("vectors.toml", DEVICE)
        .file("failing.toml", failing)
        .file("odd.toml", "[[vector]]\nname = \"a\"\nexpects = \"bot\"\n")
        .file("counter.wasm", counter().build());
    let all = policy(&setup, &["test", "device-detection"], 0).stdout;
    assert!(all.contains("all 8 vectors hold"), "{all}");
    let report = json_of(&setup, &["test", "device-detection", "failing.toml", "vectors.toml"], 1);
    assert_eq!((&report["vectors"], &report["failed"]), (&json!(13), &json!(4)));
    let failures = report["files"][0]["failures"].as_array().expect("failures");
    let reasons: Vec<&str> = failures.iter().map(|failure| failure["reason"].as_str().expect("a reason")).collect();
    for (reason, part) in reasons.iter().zip([
        "expected \"bot\", found \"desktop\"",
        "the policy read request.header(sec-ch-ua-mobile), which the vector does not give",
        "the policy does not take the settings: nope: ",
        "found \"phone\", expected one of desktop, mobile, tablet, bot, none",
    ]) {
        assert!(reason.contains(part), "{part} in {reason}");
    }
    assert_eq!(failures[1]["line"], 5);
    let impure = policy(&setup, &["test", "counter.wasm"], 1).stdout;
    assert!(impure.contains("not pure"), "{impure}");
    let odd = policy(&setup, &["test", "device-detection", "odd.toml"], 2).stderr;
    assert!(odd.contains("odd.toml:3: vector[0].expects: found an unknown key"), "{odd}");
}

#[test]
fn every_policy_that_is_built_in_passes_its_vectors() {
    for (name, vectors) in [
        ("access-control", include_str!("../../policies/access-control/vectors.toml")),
        ("auth-mode", include_str!("../../policies/auth-mode/vectors.toml")),
        ("device-detection", DEVICE),
        ("virtual-hosts", include_str!("../../policies/virtual-hosts/vectors.toml")),
    ] {
        policy(&Setup::new().file("vectors.toml", vectors), &["test", name], 0);
    }
}

#[test]
fn bench_measures_and_holds_to_bounds() {
    let setup = Setup::new();
    let report = json_of(&setup, &["bench", "device-detection", "--max-warm", "1s", "--max-memo", "1s"], 0);
    for way in ["fresh", "warm", "memo"] {
        assert!(report["ways"][way]["p50-ns"].as_u64() > Some(0), "{report}");
        assert!(report["ways"][way]["p99-ns"].as_u64() >= report["ways"][way]["p50-ns"].as_u64(), "{report}");
    }
    let over = policy(&setup, &["bench", "device-detection", "--max-warm", "1ns"], 1);
    assert!(over.stdout.contains("p99") && over.stderr.contains("warm is over its bound of 1ns"), "{}", over.stderr);
    policy(&setup, &["bench", "device-detection", "--max-warm", "3"], 2);
    policy(&setup, &["bench", "device-detection", "--fact", "host=a"], 1);
}

#[test]
fn replay_shows_what_changes() {
    let record = |policy: &str, agent: Value, outcome: &str| {
        let hint = json!({"fact": "request.header(sec-ch-ua-mobile)", "value": null});
        let agent = if agent.is_null() {
            json!({"fact": "request.header(user-agent)", "masked": true})
        } else {
            json!({"fact": "request.header(user-agent)", "value": agent})
        };
        let reads = json!([hint, agent]);
        format!("{{\"policy\":\"{policy}\",\"asks\":\"device\",\"reads\":{reads},{outcome}}}\n")
    };
    let same = record("a", json!(PHONE), "\"verdict\":\"mobile\"");
    let changed = record("a", json!("curl/8"), "\"verdict\":\"desktop\"");
    let log = [
        same.clone(),
        same.clone(),
        changed.clone(),
        record("b", json!("curl/8"), "\"error\":\"it trapped\""),
        record("a", Value::Null, "\"verdict\":\"desktop\""),
        record("a/shadow", json!("x"), "\"verdict\":\"bot\",\"live\":\"bot\""),
        "no record\n".to_owned(),
    ];
    let trap = Guest::new(Question::Device).answer("unreachable").build();
    let setup = Setup::new()
        .file("all.jsonl", log.concat())
        .file("same.jsonl", same.repeat(3))
        .file("empty.jsonl", "\n\n")
        .file("trap.wasm", trap);
    let report = json_of(&setup, &["replay", "all.jsonl", "--policy", "device-detection"], 1);
    let count = |key: &str| report[key].as_u64().expect("a count");
    let counts = ["lines", "asked", "same", "changed", "diverged", "failed", "others", "unreadable"].map(count);
    assert_eq!(counts, [7, 5, 2, 2, 1, 0, 1, 1], "{report}");
    let kinds: Vec<(&Value, &Value)> =
        report["changes"].as_array().expect("changes").iter().map(|kind| (&kind["old"], &kind["new"])).collect();
    assert_eq!(kinds, [(&json!("desktop"), &json!("bot")), (&json!("failed"), &json!("bot"))]);
    assert_eq!(report["divergences"][0]["fact"], "request.header(user-agent)");
    let of_b = json_of(&setup, &["replay", "all.jsonl", "--policy", "device-detection", "--name", "b"], 1);
    assert_eq!(of_b["asked"], 1);
    let text = policy(&setup, &["replay", "all.jsonl", "--policy", "device-detection"], 1).stdout;
    assert!(text.contains("1 × desktop → bot") && text.contains("curl/8"), "{text}");
    policy(&setup, &["replay", "same.jsonl", "--policy", "device-detection"], 0);
    assert_eq!(json_of(&setup, &["replay", "same.jsonl", "--policy", "trap.wasm"], 1)["failed"], 3);
    policy(&setup, &["replay", "empty.jsonl", "--policy", "device-detection"], 2);
    policy(&setup, &["replay", "none.jsonl", "--policy", "device-detection"], 2);
}

#[test]
fn a_core_module_is_built_into_a_component_and_told_from_one() {
    let text = r#"(module
        (import "env" "abort" (func (param i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "doorward:policy/settings@0.1.1#schema") (result i32) i32.const 16)
        (func (export "doorward:policy/settings@0.1.1#configure") (param i32 i32) (result i32) i32.const 16)
        (func (export "doorward:policy/device@0.1.1#classify") (result i32)
            (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 17) (i32.const 3)) i32.const 16))"#;
    let setup = Setup::new()
        .file("device.wat", text)
        .file("module.wasm", wat::parse_str(text).expect("a module"))
        .file("empty.wasm", b"\0asm\x01\0\0\0")
        .file("folder/policy.toml", "question = \"device\"\nsource = \"device.wat\"\n")
        .file("folder/device.wat", text);
    for words in [&["device.wat"][..], &["module.wasm"], &["module.wasm", "--asks", "device"], &["folder"]] {
        let words: Vec<&str> = [&["build"], words, &["-o", "out.wasm"]].concat();
        policy(&setup, &words, 0);
        assert_eq!(json_of(&setup, &["eval", "out.wasm"], 0)["verdict"], "bot", "{words:?}");
    }
    let known = policy(&setup, &["check", "module.wasm"], 1).stdout;
    assert!(known.contains("a core module") && known.contains("doorward policy build"), "{known}");
    let again = policy(&setup, &["build", "out.wasm", "-o", "again.wasm"], 1).stderr;
    assert!(again.contains("component already"), "{again}");
    let lacking = policy(&setup, &["build", "empty.wasm", "--asks", "filter", "-o", "x.wasm"], 1).stderr;
    assert!(lacking.contains("exports no \"doorward:policy/filter@0.1.1#decide\"; it exports nothing"), "{lacking}");
}

/// A core module that answers `device` with a form.
fn classifier(form: u8) -> String {
    format!(
        r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "doorward:policy/settings@0.1.1#schema") (result i32) i32.const 16)
        (func (export "doorward:policy/settings@0.1.1#configure") (param i32 i32) (result i32) i32.const 16)
        (func (export "doorward:policy/device@0.1.1#classify") (result i32)
            (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 17) (i32.const {form})) i32.const 16))"#
    )
}

const DESCRIPTION: &str = "question = \"device\"\nsource = \"device.wat\"\n";
const IS_A_BOT: &str = "[[vector]]\nname = \"a\"\nexpect = \"bot\"\n";

#[test]
fn watch_builds_and_tests_once_for_scripts() {
    let setup = Setup::new()
        .file("mine/policy.toml", DESCRIPTION)
        .file("mine/device.wat", classifier(3))
        .file("mine/vectors.toml", IS_A_BOT)
        .file("wrong/policy.toml", DESCRIPTION)
        .file("wrong/device.wat", classifier(0))
        .file("wrong/vectors.toml", IS_A_BOT)
        .file("broken/policy.toml", DESCRIPTION)
        .file("broken/device.wat", "(module")
        .file("bare/policy.toml", DESCRIPTION)
        .file("bare/device.wat", classifier(0));
    let well = policy(&setup, &["watch", "mine", "--once", "-o", "out.wasm"], 0).stdout;
    assert!(well.contains("bytes; all 1 vectors hold"), "{well}");
    assert_eq!(json_of(&setup, &["eval", "out.wasm"], 0)["verdict"], "bot");
    let failed = policy(&setup, &["watch", "wrong", "--once"], 1).stdout;
    assert!(failed.contains("wrong/vectors.toml:1: a: expected \"bot\", found \"desktop\""), "{failed}");
    assert!(failed.contains("wrong: ") && failed.contains("1 of 1 vectors failed"), "{failed}");
    let report = json_of(&setup, &["watch", "wrong", "--once"], 1);
    assert_eq!((&report["failed"], &report["files"][0]["failures"][0]["name"]), (&json!(1), &json!("a")));
    assert!(policy(&setup, &["watch", "broken", "--once"], 1).stderr.contains("broken/device.wat"));
    assert!(policy(&setup, &["watch", "bare", "--once"], 0).stdout.contains("no test vectors"));
    policy(&setup, &["watch", "nowhere", "--once"], 2);
    policy(&setup, &["watch", "out.wasm", "--once"], 2);
}

/// The next line that a command prints, as JSON.
#[track_caller]
fn next(program: &mut Program) -> Value {
    let line = program.line(Duration::from_secs(60));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn watch_brings_live_what_is_saved_if_its_vectors_hold() {
    let node = webmail(|_| harness::Answer::text("inbox"));
    let live =
        "[[policy]]\nname = \"forms\"\nasks = \"device\"\nfile = \"live.wasm\"\n[admin]\nsocket = \"admin.sock\"\n";
    let proxy = front_door()
        .file("live.wasm", Guest::new(Question::Device).build())
        .file("mine/policy.toml", DESCRIPTION)
        .file("mine/device.wat", classifier(3))
        .file("mine/vectors.toml", IS_A_BOT)
        .serve(&config(live, &[("node-a", &node, "")]));
    let digest = |proxy: &harness::Proxy| proxy.status()["policies"][0]["digest"].clone();
    let file = |path: &str| std::fs::read(proxy.dir().join(path)).expect(path);
    let is_live = |other_than: &Value| {
        proxy.wait_for_status("another component", |status| status["policies"][0]["digest"] != *other_than);
        digest(&proxy)
    };
    let (first, before) = (digest(&proxy), file("live.wasm"));
    let mut command = Command::new(harness::binary());
    let words =
        ["policy", "watch", "mine", "--config", "doorward.toml", "--name", "forms", "-o", "mine/out.wasm", "--json"];
    command.args(words).current_dir(proxy.dir()).env("XDG_CACHE_HOME", proxy.dir().join(".cache"));
    command.env("TMPDIR", proxy.dir());
    let mut watch = Program::start("watch", &mut command);
    let built = next(&mut watch);
    assert_eq!((&built["ok"], &built["changed"], &built["failed"]), (&json!(true), &json!(true), &json!(0)), "{built}");
    assert!(built["live"].as_str().is_some_and(|live| Path::new(live).ends_with("live.wasm")), "{built}");
    assert_eq!(file("live.wasm.previous"), before);
    let second = is_live(&first);

    // A vector fails: what is live stays.
    let bots = file("live.wasm");
    proxy.write("mine/device.wat", classifier(0));
    let failed = next(&mut watch);
    assert_eq!((&failed["ok"], &failed["failed"], &failed["live"]), (&json!(false), &json!(1), &Value::Null));
    proxy.write("mine/device.wat", "(module");
    assert!(next(&mut watch)["error"].as_str().expect("an error").contains("device.wat"));
    assert_eq!((file("live.wasm"), digest(&proxy)), (bots, second.clone()));

    // What editors and builds write is no save: the next line is that of the vectors.
    proxy.write("mine/device.wat", classifier(0));
    assert_eq!(next(&mut watch)["failed"], 1);
    proxy.write("mine/.device.wat.swp", "x");
    proxy.write("mine/target/x", "x");
    proxy.write("mine/vectors.toml", IS_A_BOT.replace("bot", "desktop"));
    let well = next(&mut watch);
    assert_eq!((&well["ok"], &well["changed"]), (&json!(true), &json!(true)), "{well}");
    is_live(&second);

    watch.signal(Signal::INT);
    assert_eq!(watch.wait(Duration::from_secs(60)).code(), Some(0));
    let left = std::fs::read_dir(proxy.dir()).expect("a folder").flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("doorward-watch")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_interface_is_printed_whole_or_for_a_question() {
    let setup = Setup::new();
    let whole = policy(&setup, &["wit"], 0).stdout;
    assert!(whole.contains("world filter-policy {") && whole.contains("interface login {"), "{whole}");
    let of_device = policy(&setup, &["wit", "device"], 0).stdout;
    assert!(of_device.contains("world device-policy {") && of_device.contains("classify: func()"), "{of_device}");
    assert!(!of_device.contains("filter") && !of_device.contains("interface login"), "{of_device}");
    policy(&setup, &["wit", "access", "--dir", "wit"], 0);
    assert!(setup.dir().join("wit/access.wit").is_file() && !setup.dir().join("wit/filter.wit").exists());
    assert_eq!(json_of(&setup, &["wit", "access"], 0)["world"], "access-policy");
    policy(&setup, &["wit", "weather"], 2);
}

#[test]
fn new_begins_a_policy_and_overwrites_nothing() {
    let setup = Setup::new();
    for question in Question::ALL.map(Question::name) {
        for language in ["rust", "javascript", "python"] {
            let name = format!("our-{question}-{language}");
            let report = json_of(&setup, &["new", &name, "--asks", question, "--language", language], 0);
            let files = report["files"].as_array().expect("files");
            assert!(files.contains(&json!("vectors.toml")) && files.contains(&json!("README.md")), "{report}");
            for file in files {
                let path = setup.dir().join(&name).join(file.as_str().expect("a name"));
                let text = std::fs::read_to_string(&path).expect("a text");
                assert!(!text.contains("{{"), "{}: {text}", path.display());
            }
        }
    }
    // A policy in Rust brings the crate that it is written with: no sources of Doorward are needed.
    let manifest = std::fs::read_to_string(setup.dir().join("our-access-rust/Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("path = \"doorward/policy-sdk\""), "{manifest}");
    for file in [
        "policy-sdk/Cargo.toml",
        "policy-sdk/src/lib.rs",
        "policy-sdk/src/testing/vectors.rs",
        "policy-sdk/vectors/Cargo.toml",
        "policy-sdk/vectors/src/lib.rs",
        "wit/worlds.wit",
    ] {
        assert!(setup.dir().join("our-access-rust/doorward").join(file).is_file(), "{file}");
    }
    let again = policy(&setup, &["new", "our-access-rust", "--asks", "access", "--language", "rust"], 2).stderr;
    assert!(again.contains("exists"), "{again}");
    policy(&setup, &["new", "../x", "--asks", "access", "--language", "rust"], 2);
    policy(&setup, &["new", "x", "--asks", "weather", "--language", "rust"], 2);
}

#[test]
fn promote_makes_a_shadow_live_and_keeps_what_was() {
    let entry = |name: &str, keys: &str| format!("[[policy]]\nname = \"{name}\"\nasks = \"template\"\n{keys}\n");
    let config = [
        entry("look", "file = \"live.wasm\"\nshadow = \"next.wasm\""),
        entry("broken", "file = \"live.wasm\"\nshadow = \"broken.wasm\""),
        entry("lone", "file = \"live.wasm\""),
        entry("virtual-hosts", "shadow = \"next.wasm\""),
        entry(
            "pinned",
            &format!("file = \"live.wasm\"\nshadow = \"next.wasm\"\ndigest = \"sha256:{}\"", "0".repeat(64)),
        ),
    ];
    let (blue, green) = (Guest::template("blue").build(), Guest::template("green").build());
    let setup = Setup::new()
        .file("live.wasm", &blue)
        .file("next.wasm", &green)
        .file("broken.wasm", Guest::template("green").configure("unreachable").build())
        .file("d.toml", config.concat());
    let promote = |name: &'static str| ["promote", name, "--config", "d.toml"];
    for (name, told) in [
        ("lone", "it has no shadow"),
        ("virtual-hosts", "it is built in"),
        ("pinned", "`digest` pins another component"),
    ] {
        let stderr = policy(&setup, &promote(name), 1).stderr;
        assert!(stderr.contains(told), "{name}: {stderr}");
    }
    assert!(policy(&setup, &promote("broken"), 1).stdout.contains("trapped"));
    policy(&setup, &promote("none"), 2);
    let read = |name: &str| std::fs::read(setup.dir().join(name)).expect("a file");
    assert_eq!(read("live.wasm"), blue);
    let report = json_of(&setup, &promote("look"), 0);
    assert_eq!((&report["ok"], &report["previous"]), (&json!(true), &json!("live.wasm.previous")));
    assert_eq!((read("live.wasm"), read("live.wasm.previous")), (green, blue));
    assert!(policy(&setup, &promote("look"), 1).stderr.contains("the same already"));
}
