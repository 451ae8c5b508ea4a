//! Policies as a product, from outside: remembered decisions, audits, records, shadows, breakers, ways back, grants, bounds.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use harness::{Answer, Guest, Proxy, Question, Request, Setup, VERSION};
use serde_json::{Value, json};

use crate::support::{body_attribute, config, last, setup, webmail};

const SOON: Duration = Duration::from_secs(15);
const ADMIN: &str = "[threads]\nmax = 1\n[admin]\nsocket = \"admin.sock\"\n";
const LOOK: &str = "[[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"look.wasm\"\n";

/// A proxy with one worker, an admin socket, and these tables in front of a node that says what it was told.
fn start(setup: Setup, tables: &str) -> (harness::Backend, Proxy) {
    let node = webmail(|request| {
        let told = ["x-doorward-device", "x-doorward-template", "x-tenant"]
            .map(|name| request.seen.header(name).unwrap_or("-").to_owned());
        Answer::text(told.join(" "))
    });
    let text = config(&format!("{ADMIN}{tables}"), &[("node-a", &node, "")]);
    (node, setup.serve(&text))
}

fn policy(name: &str, question: Question, settings: &str) -> String {
    let asks = question.name();
    format!("[[policy]]\nname = \"{name}\"\nasks = \"{asks}\"\nfile = \"{name}.wasm\"\n{settings}\n")
}

fn look(proxy: &Proxy) -> String {
    body_attribute(&proxy.client().get("/").expect(200).text(), "data-look")
}

fn replace(proxy: &Proxy, file: &str, bytes: &[u8]) {
    proxy.write("next", bytes);
    std::fs::rename(proxy.dir().join("next"), proxy.dir().join(file)).expect("a rename");
}

/// What is said of the only policy.
fn health(proxy: &Proxy) -> Value {
    proxy.status()["policies"][0].clone()
}

/// Reads `fact` of `interface`, which takes no name and gives a text, and says "bot".
fn reader(interface: &str, fact: &str) -> Guest {
    Guest::new(Question::Device)
        .imports(&format!("(import \"doorward:policy/{interface}@{VERSION}\" \"{fact}\" (func $fact (param i32)))"))
        .answer("(call $fact (i32.const 64)) (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 17) (i32.const 3)) i32.const 16")
}

/// Traps where the header `x-bad` is there, and else has no opinion.
fn trap_if_bad(question: Question) -> Guest {
    Guest::new(question)
        .imports(&format!(
            "(import \"doorward:policy/request@{VERSION}\" \"header\" (func $header (param i32 i32 i32)))"
        ))
        .extra("(data (i32.const 2048) \"x-bad\")")
        .answer(
            "(call $header (i32.const 2048) (i32.const 5) (i32.const 3072)) \
             (if (i32.load8_u (i32.const 3072)) (then unreachable)) i32.const 16",
        )
}

#[test]
fn a_decision_is_found_again_by_what_it_read() {
    let (_node, proxy) =
        start(setup().file("p.wasm", reader("request", "path").build()), &policy("p", Question::Device, ""));
    for path in ["/a", "/a", "/b", "/a", "/b"] {
        proxy.client().get(path).expect(200);
    }
    let memo = health(&proxy)["memo"].clone();
    assert_eq!((&memo["hits"], &memo["misses"]), (&json!(3), &json!(2)), "{memo}");
}

#[test]
fn a_decision_that_read_the_clock_is_not_remembered() {
    let guest = Guest::new(Question::Device)
        .imports(&format!("(import \"doorward:policy/clock@{VERSION}\" \"now\" (func $now (result i64)))"))
        .answer("(drop (call $now)) i32.const 16");
    let (_node, proxy) = start(setup().file("p.wasm", guest.build()), &policy("p", Question::Device, ""));
    for _ in 0..3 {
        proxy.client().get("/").expect(200);
    }
    let memo = health(&proxy)["memo"].clone();
    assert_eq!((&memo["hits"], &memo["misses"]), (&json!(0), &json!(3)), "{memo}");
}

#[test]
fn memory_is_bounded_and_says_what_the_policy_says() {
    let agents = |n: usize| match n % 3 {
        0 => format!("Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0"),
        1 => format!("Mozilla/5.0 (Linux; Android 14; SM-S{n}) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36"),
        _ => format!("curl/8.{n}"),
    };
    let device = |memo: &str| {
        let text = format!("[[policy]]\nname = \"device-detection\"\nasks = \"device\"\nmemo = \"{memo}\"\n");
        start(setup(), &text)
    };
    let ((_one, small), (_two, none)) = (device("16KiB"), device("0B"));
    let (mut remembering, mut asking) =
        (crate::support::log_in(&small, "alice"), crate::support::log_in(&none, "alice"));
    for n in (0..300).flat_map(|n| [n, n]).chain(0..20) {
        let request = || Request::new("GET", "/").header("User-Agent", &agents(n));
        assert_eq!(remembering.send(request()).expect(200).text(), asking.send(request()).expect(200).text(), "{n}");
    }
    let memo = health(&small)["memo"].clone();
    let number = |key: &str| memo[key].as_u64().expect("a number");
    assert!(number("evictions") > 100 && number("hits") > 20, "{memo}");
    assert!(number("bytes") <= 16 << 10, "{memo}");
    assert_eq!(health(&none)["memo"]["hits"], 0);
}

#[test]
fn a_policy_that_is_not_pure_is_found_out_and_asked_anew_each_time() {
    let (_node, proxy) = start(setup().file("p.wasm", forgetful().build()), &policy("p", Question::Device, ""));
    let mut client = crate::support::log_in(&proxy, "alice");
    for path in ["/a", "/b", "/c"] {
        client.get(path).expect(200);
    }
    for _ in 0..200 {
        client.get("/b").expect(200);
    }
    proxy.wait_for_status("the policy is impure", |status| status["policies"][0]["impure"] == true);
    proxy.wait_for_log("a policy is not pure", SOON);
    // Fresh instances all begin alike.
    let answers: Vec<String> = (0..4).map(|_| client.get("/b").expect(200).text()).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

/// Reads the path, and answers by how often it was asked before: right at first, wrong later.
fn forgetful() -> Guest {
    reader("request", "path").extra("(global $n (mut i32) (i32.const 0))").answer(
        "(call $fact (i32.const 64)) (i32.store8 (i32.const 16) (i32.const 1)) \
         (i32.store8 (i32.const 17) (i32.and (global.get $n) (i32.const 1))) \
         (global.set $n (i32.add (global.get $n) (i32.const 1))) i32.const 16",
    )
}

fn records(proxy: &Proxy, count: usize) -> Vec<Value> {
    proxy.wait_for_status("the records are written", |status| {
        status["decisions"]["written"].as_u64().is_some_and(|written| written as usize >= count)
    });
    let end = Instant::now() + SOON;
    loop {
        let text = std::fs::read_to_string(proxy.dir().join("decisions.jsonl")).expect("the decision log");
        if text.lines().count() >= count {
            return text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        }
        assert!(Instant::now() < end, "{count} records in {text}");
        std::thread::yield_now();
    }
}

#[test]
fn decisions_are_recorded_and_what_is_secret_is_masked() {
    let tables = "[[log.to]]\nwhat = [\"decision\"]\nformat = \"json\"\ntarget = \"decisions.jsonl\"\n\
        [[policy]]\nname = \"device-detection\"\nasks = \"device\"\ndecisions = \"full\"\n\
        [[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\ndecisions = \"full\"\n[policy.settings]\ndefault = \"ldap-bind\"\nrules = [{ attribute = { name = \"mailAuth\", value = \"never\" }, mode = \"ldap-password\" }]\n\
        [[policy]]\nname = \"virtual-hosts\"\nasks = \"template\"\ndecisions = \"off\"\n[policy.settings]\ndefault = \"blue\"\n";
    let (_node, proxy) = start(setup(), tables);
    let page = last(proxy.client().follow().header("User-Agent", "curl/8").login("alice", "alice-secret"));
    assert_eq!(page.status, 200);
    let records = records(&proxy, 4);
    for record in &records {
        for key in
            ["id", "time", "generation", "policy", "asks", "digest", "reads", "verdict", "cached", "us", "request"]
        {
            assert!(record.get(key).is_some(), "{key} in {record}");
        }
        assert_ne!(record["policy"], "virtual-hosts");
    }
    let devices: Vec<&Value> = records.iter().filter(|record| record["asks"] == "device").collect();
    assert!(devices.iter().all(|record| record["verdict"] == "bot"), "{records:?}");
    assert_eq!(devices.iter().filter(|record| record["cached"] == false).count(), 1);
    let login = records.iter().find(|record| record["asks"] == "auth-mode").expect("a login");
    assert!(login["reads"].as_array().expect("reads").iter().any(|read| read["masked"] == true), "{login}");
    let whole = std::fs::read_to_string(proxy.dir().join("decisions.jsonl")).expect("the log");
    assert!(!whole.contains("alice"), "{whole}");
}

#[test]
fn a_sample_has_every_refusal_and_an_empty_mask_shows_all() {
    let tables = "[log]\ndecisions-mask = []\ndecisions-sample = 1000000\n[[log.to]]\nwhat = [\"decision\"]\nformat = \"json\"\ntarget = \"decisions.jsonl\"\n\
        [[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\n[policy.settings]\ndefault = \"ldap-bind\"\nrules = [{ attribute = { name = \"mailAuth\", value = \"bind\" }, refuse = \"not here\" }]\n";
    let (_node, proxy) = start(setup(), tables);
    assert_eq!(last(proxy.client().login("nomad", "nomad-secret")).status, 503);
    assert_eq!(last(proxy.client().login("alice", "alice-secret")).status, 403);
    let records = records(&proxy, 1);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["verdict"], json!({"refuse": "not here"}));
    assert!(records[0].to_string().contains("\"bind\"") && !records[0].to_string().contains("secret"));
}

#[test]
fn a_shadow_is_asked_the_same_and_harms_nobody() {
    let files = |shadow: Guest| {
        setup().file("look.wasm", Guest::template("blue").build()).file("candidate.wasm", shadow.build())
    };
    let tables = format!("{LOOK}memo = \"0B\"\nshadow = \"candidate.wasm\"\n");
    let (_node, proxy) = start(files(Guest::template("green")), &tables);
    for _ in 0..5 {
        assert_eq!(look(&proxy), "blue");
    }
    proxy.wait_for_status("it differed", |status| status["policies"][0]["shadow"]["differed"] == 5);
    proxy.wait_for_log("a shadow says otherwise", SOON);
    let (_node, proxy) = start(files(Guest::template("blue")), &tables);
    assert_eq!(look(&proxy), "blue");
    proxy.wait_for_status("it agreed", |status| status["policies"][0]["shadow"]["agreed"] == 1);
    let (_node, proxy) = start(files(Guest::new(Question::Template).answer("(loop (br 0)) unreachable")), &tables);
    for _ in 0..5 {
        assert_eq!(look(&proxy), "blue");
    }
    let status = proxy.wait_for_status("it failed", |status| status["policies"][0]["shadow"]["failed"] == 5);
    assert_eq!(status["policies"][0]["failures"], 0);
}

#[test]
fn a_shadow_that_does_not_load_is_a_fault_at_its_key() {
    let node = webmail(|_| Answer::text(""));
    let text = config(&format!("{LOOK}shadow = \"candidate.wasm\"\n"), &[("node-a", &node, "")]);
    let setup = setup()
        .file("look.wasm", Guest::template("blue").build())
        .file("candidate.wasm", "no wasm")
        .file("c.toml", text);
    let ran = setup.run(&["check", "--config", "c.toml"]);
    assert!(ran.stdout.contains("policy[0].shadow: found ") && ran.stdout.contains("candidate.wasm"), "{}", ran.stdout);
}

#[test]
fn a_breaker_opens_answers_at_once_and_closes_again() {
    let tables = policy("p", Question::Filter, "memo = \"0B\"\n[policy.breaker]\nfailures = 2\npause = \"50ms\"");
    let (_node, proxy) = start(setup().file("p.wasm", trap_if_bad(Question::Filter).build()), &tables);
    let status = |bad: bool| {
        let request = Request::new("GET", "/");
        proxy.client().send(if bad { request.header("x-bad", "1") } else { request }).status
    };
    assert_eq!(status(false), 200);
    assert_eq!((status(true), status(true)), (503, 503));
    proxy.wait_for_log("left alone for a while", SOON);
    assert_eq!(health(&proxy)["breaker"]["open"], true);
    // Good requests are refused too until the pause is over; then one of them is the probe.
    let end = Instant::now() + SOON;
    while status(false) != 200 {
        assert!(Instant::now() < end, "{}", health(&proxy));
    }
    proxy.wait_for_log("a policy answers again", SOON);
    assert_eq!((status(false), &health(&proxy)["breaker"]["open"]), (200, &json!(false)));
    assert_eq!(health(&proxy)["failures"], 2);
}

/// The status of a request from an address, with the header on which a filter traps or without.
fn from(proxy: &harness::Proxy, address: &str, bad: bool) -> u16 {
    let request = Request::new("GET", "/");
    proxy.client().from(address).send(if bad { request.header("x-bad", "1") } else { request }).status
}

#[test]
fn who_makes_a_policy_fail_pays_alone() {
    let tables = policy("p", Question::Filter, "memo = \"0B\"\n[policy.breaker]\npause = \"1h\"");
    let (_node, proxy) = start(setup().file("p.wasm", trap_if_bad(Question::Filter).build()), &tables);
    for round in 0..20 {
        assert_eq!(from(&proxy, "127.0.0.2", true), 503, "{round}");
        for _ in 0..3 {
            assert_eq!(from(&proxy, "127.0.0.1", false), 200, "{round}");
        }
    }
    proxy.wait_for_log("a policy failed too often for a client.*", SOON);
    assert_eq!(from(&proxy, "127.0.0.2", false), 503, "it is left alone with him");
    let health = health(&proxy);
    assert_eq!((&health["breaker"]["open"], &health["failures"]), (&json!(false), &json!(5)));
}

#[test]
fn one_client_cannot_have_a_new_policy_rolled_back_nor_keep_others_out() {
    let tables = policy("p", Question::Filter, "memo = \"0B\"\n[policy.breaker]\npause = \"1h\"");
    let (_node, proxy) = start(setup().file("p.wasm", Guest::new(Question::Filter).build()), &tables);
    replace(&proxy, "p.wasm", &trap_if_bad(Question::Filter).build());
    proxy.wait_for_log("reloaded generation=2", SOON);
    // Nobody else is there, so its breaker opens for all.
    for _ in 0..8 {
        assert_eq!(from(&proxy, "127.0.0.2", true), 503);
    }
    proxy.wait_for_log("a new policy fails for one client and for nobody else: it stays", SOON);
    let status = proxy.status();
    assert_eq!((&status["generation"], &status["quarantine"]), (&json!(2), &json!({})));
    assert_eq!(from(&proxy, "127.0.0.1", false), 200, "the first other client is asked about");
    assert_eq!(health(&proxy)["breaker"]["open"], false);
}

#[test]
fn a_policy_that_knows_no_hosts_but_real_ones_is_not_rolled_back() {
    let tables = policy("p", Question::Filter, "memo = \"0B\"\n[policy.breaker]\npause = \"1h\"");
    let node = webmail(|_| Answer::text("inbox"));
    let text = config(&format!("{ADMIN}{tables}"), &[("node-a", &node, "")]);
    let text = text.replace("hosts = [\"*\"]", "hosts = [\"web.test\", \"*\"]");
    let proxy = setup().file("p.wasm", Guest::new(Question::Filter).build()).serve(&text);
    // It traps where the host does not begin with a "w".
    let knows = Guest::new(Question::Filter)
        .imports(&format!("(import \"doorward:policy/request@{VERSION}\" \"host\" (func $host (param i32)))"))
        .answer(
            "(call $host (i32.const 3072)) \
             (if (i32.ne (i32.load8_u (i32.load (i32.const 3072))) (i32.const 119)) (then unreachable)) i32.const 16",
        );
    replace(&proxy, "p.wasm", &knows.build());
    proxy.wait_for_log("reloaded generation=2", SOON);
    for _ in 0..8 {
        assert_eq!(from(&proxy, "127.0.0.2", false), 503);
    }
    proxy.wait_for_log("a new policy fails for one client and for nobody else: it stays", SOON);
    assert_eq!(proxy.status()["generation"], 2);
}

#[test]
fn who_makes_an_auth_mode_policy_fail_gets_no_other_mode() {
    let tables = policy("p", Question::AuthMode, "memo = \"0B\"\n[policy.breaker]\npause = \"1h\"");
    let (_node, proxy) = start(setup().file("p.wasm", trap_if_bad(Question::AuthMode).build()), &tables);
    let log_in = |address: &str, bad: bool| {
        let mut client = proxy.client().from(address);
        let page = client.get("/").expect(200).text();
        let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a login form");
        let fields = form.filled("alice", "alice-secret");
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Request::new("POST", &form.action).form(&fields);
        client.send(if bad { request.header("x-bad", "1") } else { request }).status
    };
    for _ in 0..5 {
        log_in("127.0.0.2", true);
    }
    assert_eq!(log_in("127.0.0.2", false), 503, "it is left alone with him");
    assert_eq!(log_in("127.0.0.1", false), 303, "and nobody else is affected");
}

#[test]
fn a_new_policy_that_goes_bad_is_rolled_back_and_quarantined() {
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("green").build()), LOOK);
    assert_eq!(look(&proxy), "green");
    let bad = Guest::new(Question::Template).answer("unreachable").build();
    replace(&proxy, "look.wasm", &bad);
    proxy.wait_for_log("reloaded generation=2", SOON);
    // Until its breaker opens the site's own look is shown; then it goes back by itself.
    for _ in 0..5 {
        assert!(["blue", "green"].contains(&look(&proxy).as_str()));
    }
    proxy.wait_for_log("a new policy went bad: rolled back", SOON);
    let status = proxy.wait_for_status("generation 1 is live", |status| status["generation"] == 1);
    assert_eq!(look(&proxy), "green");
    let digest = status["quarantine"].as_object().expect("a table").keys().next().expect("a digest").clone();
    let (code, told) = proxy.admin("POST", "/reload");
    assert!(code == 422 && told.contains("quarantine") && told.contains("doorward ctl --config"), "{code} {told}");
    assert_eq!(proxy.admin("POST", "/lift?digest=sha256:00").0, 404);
    assert_eq!(proxy.admin("POST", &format!("/lift?digest={digest}")).0, 200);
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    assert_eq!(look(&proxy), "blue");
}

#[test]
fn a_promoted_shadow_that_goes_bad_is_rolled_back_as_well() {
    let files = setup()
        .file("look.wasm", Guest::template("green").build())
        .file("candidate.wasm", Guest::new(Question::Template).answer("unreachable").build());
    let (_node, proxy) = start(files, &format!("{LOOK}shadow = \"candidate.wasm\"\n"));
    assert_eq!(look(&proxy), "green");
    replace(&proxy, "look.wasm", &std::fs::read(proxy.dir().join("candidate.wasm")).expect("the candidate"));
    proxy.wait_for_log("reloaded generation=2", SOON);
    for _ in 0..5 {
        look(&proxy);
    }
    proxy.wait_for_log("a new policy went bad: rolled back", SOON);
    let status = proxy.wait_for_status("generation 1 is live", |status| status["generation"] == 1);
    assert_eq!(status["quarantine"].as_object().expect("a table").len(), 1);
}

#[test]
fn settings_that_make_a_policy_fail_are_rolled_back_without_a_quarantine() {
    // Traps when its settings are longer than `{}`.
    let guest = Guest::template("green")
        .extra("(data (i32.const 1024) \"green\") (global $length (mut i32) (i32.const 0))")
        .configure("(global.set $length (local.get 1)) i32.const 16")
        .answer(
            "(if (i32.gt_u (global.get $length) (i32.const 2)) (then unreachable)) \
             (i32.store (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 1024)) \
             (i32.store (i32.const 24) (i32.const 5)) i32.const 16",
        );
    let (_node, proxy) = start(setup().file("look.wasm", guest.build()), LOOK);
    assert_eq!(look(&proxy), "green");
    let text = std::fs::read_to_string(proxy.dir().join("doorward.toml")).expect("the configuration");
    replace(&proxy, "doorward.toml", text.replace(LOOK, &format!("{LOOK}settings = {{ a = 1 }}\n")).as_bytes());
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    for _ in 0..5 {
        look(&proxy);
    }
    let status = proxy.wait_for_status("generation 1 is live", |status| status["generation"] == 1);
    assert_eq!(status["quarantine"], json!({}));
    assert_eq!(look(&proxy), "green");
}

#[test]
fn a_rollback_brings_no_old_breaker_back_and_a_reload_of_other_keys_forgets_none() {
    let filter = policy("p", Question::Filter, "memo = \"0B\"\n[policy.breaker]\nfailures = 2\npause = \"1h\"");
    let (_node, proxy) = start(setup().file("p.wasm", trap_if_bad(Question::Filter).build()), &filter);
    assert_eq!([(); 2].map(|()| from(&proxy, "127.0.0.2", true)), [503; 2]);
    proxy.wait_for_log("left alone for a while", SOON);
    let text = std::fs::read_to_string(proxy.dir().join("doorward.toml")).expect("the configuration");
    let changed = text.replace("failures = 2", "failures = 2\nwindow = \"9s\"");
    replace(&proxy, "doorward.toml", changed.as_bytes());
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    assert_eq!((&proxy.status()["generation"], &health(&proxy)["breaker"]["open"]), (&json!(2), &json!(true)));
    replace(&proxy, "p.wasm", &Guest::new(Question::Filter).build());
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    assert_eq!(from(&proxy, "127.0.0.1", false), 200);
    assert_eq!(proxy.admin("POST", "/rollback?generation=2").0, 200);
    let (health, closed) = (health(&proxy), json!({"open": false, "shut-out": 0}));
    assert_eq!((&health["breaker"], &health["failures"]), (&closed, &json!(0)), "it begins anew");
}

#[test]
fn the_last_five_generations_can_be_gone_back_to() {
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("green").build()), LOOK);
    for number in 0..7 {
        let name = if number % 2 == 0 { "blue" } else { "green" };
        replace(&proxy, "look.wasm", &Guest::template(name).build());
        assert_eq!(proxy.admin("POST", "/reload").0, 200);
    }
    let status = proxy.status();
    assert_eq!((&status["generation"], &status["past"]), (&json!(8), &json!([3, 4, 5, 6, 7])));
    assert_eq!(look(&proxy), "blue");
    let compiled = proxy.log().iter().filter(|line| line.contains("compiled a policy")).count();
    assert_eq!(proxy.admin("POST", "/rollback"), (200, "{\"generation\":7}\n".to_owned()));
    assert_eq!(look(&proxy), "green");
    assert_eq!(proxy.admin("POST", "/rollback?generation=4").0, 200);
    assert_eq!(look(&proxy), "blue");
    assert_eq!(proxy.admin("POST", "/rollback?generation=1").0, 409);
    assert_eq!(proxy.admin("POST", "/rollback?generation=x").0, 400);
    // Oldest first, whatever was gone back to; the history has them as they were live, with time and reason.
    let status = proxy.status();
    assert_eq!(status["past"], json!([3, 5, 6, 7, 8]));
    let history = status["history"].as_array().expect("a list");
    let lives: Vec<_> = history.iter().map(|life| (life["generation"].as_u64(), life["reason"].as_str())).collect();
    let expected = [(3, "reload"), (5, "reload"), (6, "reload"), (8, "reload"), (7, "rollback"), (4, "rollback")];
    assert_eq!(lives, expected.map(|(generation, reason)| (Some(generation), Some(reason))));
    assert!(history.windows(2).all(|pair| pair[0]["since"].as_u64() <= pair[1]["since"].as_u64()));
    assert_eq!(proxy.log().iter().filter(|line| line.contains("compiled a policy")).count(), compiled);
}

#[test]
fn a_component_gets_what_it_is_granted_and_no_more() {
    let node = webmail(|_| Answer::text(""));
    let guest = Guest::new(Question::Device)
        .imports(&format!(
            "(import \"doorward:policy/request@{VERSION}\" \"cookie\" (func $cookie (param i32 i32 i32)))"
        ))
        .answer("(call $cookie (i32.const 0) (i32.const 1) (i32.const 64)) i32.const 16")
        .build();
    let check = |grants: &str| {
        let text = config(&policy("p", Question::Device, grants), &[("node-a", &node, "")]);
        setup().file("p.wasm", &guest).file("c.toml", text).run(&["check", "--config", "c.toml"])
    };
    let ran = check("grants = [\"request.header\"]");
    let line = "grants = [\"request.header\", \"request.cookie\"]";
    assert!(ran.stdout.contains("request.cookie, which is not granted") && ran.stdout.contains(line), "{}", ran.stdout);
    for grants in ["", line, "grants = [\"request\"]"] {
        assert_eq!(check(grants).status.code(), Some(0), "{grants}");
    }
    let ran = check("grants = [\"files\"]");
    assert!(ran.stdout.contains("policy[0].grants") && ran.stdout.contains("wasi"), "{}", ran.stdout);
}

#[test]
fn components_of_a_released_version_still_load_and_answer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/released-0.1.0");
    let released = |name: &str| std::fs::read(folder.join(format!("{name}.wasm"))).expect("a released component");
    let names = ["access-control", "device-detection", "virtual-hosts", "auth-mode"];
    let setup = names.iter().fold(setup(), |setup, name| setup.file(&format!("{name}.wasm"), released(name)));
    let tables = [
        policy("access-control", Question::Access, "settings = { rules = [{ deny = \"127.0.0.9\" }] }"),
        policy("device-detection", Question::Device, ""),
        policy("virtual-hosts", Question::Template, "settings = { default = \"green\" }"),
        policy("auth-mode", Question::AuthMode, "settings = { default = \"ldap-password\" }"),
    ];
    let (_node, proxy) = start(setup, &tables.concat());
    let agent =
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1";
    let page = last(proxy.client().follow().header("User-Agent", agent).login("alice", "alice-secret"));
    assert_eq!(page.text(), "mobile green -");
    assert!(proxy.client().from("127.0.0.9").try_send(Request::new("GET", "/")).is_err());
    proxy.wait_for_log("mode=\"ldap-password\"", SOON);
    let status = proxy.status();
    for policy in status["policies"].as_array().expect("policies") {
        assert_eq!((&policy["wit"], &policy["failures"]), (&json!("0.1.0"), &json!(0)), "{policy}");
    }
}

#[test]
fn a_newer_component_is_refused_with_both_versions() {
    let node = webmail(|_| Answer::text(""));
    for version in ["0.1.9", "0.2.0"] {
        let text = config(&policy("p", Question::Device, ""), &[("node-a", &node, "")]);
        let setup = setup().file("p.wasm", Guest::new(Question::Device).version(version).build()).file("c.toml", text);
        let ran = setup.run(&["check", "--config", "c.toml"]);
        assert!(ran.stdout.contains(version) && ran.stdout.contains(VERSION), "{}", ran.stdout);
    }
}

/// A component that keeps the compiler busy for minutes: one function with very many branches over very many locals.
pub(crate) fn bomb() -> Vec<u8> {
    let locals = "(local i32) ".repeat(3000);
    let mut code = String::new();
    for n in 0..60_000 {
        let (a, b, c) = (n % 3000, (n * 7 + 1) % 3000, (n * 13 + 5) % 3000);
        code.push_str(&format!(
            "(if (local.get {a}) (then (local.set {b} (i32.add (local.get {c}) (local.get {a})))))"
        ));
    }
    Guest::new(Question::Template).extra(&format!("(func $bomb (export \"bomb\") {locals} {code})")).build()
}

#[test]
fn a_compile_bomb_is_refused_while_traffic_flows_on() {
    let tables = format!("{LOOK}[policy.limits]\ncompile-time = \"2s\"\ncompile-memory = \"256MiB\"\n");
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("green").build()), &tables);
    let from = proxy.log().len();
    replace(&proxy, "look.wasm", &bomb());
    let (mut client, mut answered) = (proxy.client(), 0);
    let end = Instant::now() + Duration::from_secs(60);
    while !proxy.log().iter().skip(from).any(|line| line.contains("old generation serves on")) {
        assert_eq!(body_attribute(&client.get("/").expect(200).text(), "data-look"), "green");
        answered += 1;
        assert!(Instant::now() < end, "{answered} answers");
    }
    proxy.wait_for_log_after(from, "limits.compile-", SOON);
    assert!(answered > 10, "{answered}");
    assert_eq!(look(&proxy), "green");
}

#[test]
fn compiled_code_is_kept_and_what_was_tampered_with_is_compiled_again() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = config(&format!("state-directory = \"state\"\n{ADMIN}{LOOK}"), &[("node-a", &node, "")]);
    let folder = tempfile();
    let state = folder.join("state");
    let text = text.replace("\"state\"", &format!("{state:?}"));
    let run = || setup().file("look.wasm", Guest::template("green").build()).serve(&text);
    let compiled = |proxy: &Proxy| proxy.log().iter().any(|line| line.contains("compiled a policy"));
    let proxy = run();
    assert!(compiled(&proxy));
    drop(proxy);
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it").permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("compiled")), mode(&state.join("compiled/key"))), (0o700, 0o700, 0o600));
    let proxy = run();
    assert!(!compiled(&proxy), "{:?}", proxy.log());
    assert_eq!(look(&proxy), "green");
    drop(proxy);
    for entry in std::fs::read_dir(state.join("compiled")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "code") {
            let mut bytes = std::fs::read(&path).expect("an entry");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).expect("an entry");
        }
    }
    let proxy = run();
    proxy.wait_for_log("tampered with", SOON);
    assert!(compiled(&proxy));
    assert_eq!(look(&proxy), "green");
    // As long as it runs it writes there: which generation is live.
    drop(proxy);
    std::fs::remove_dir_all(folder).expect("the folder");
}

fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("doorward-state-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A filter that answers with what lies at 2048, by the case of `action`: 1 sets the header `x-tenant`, 2 redirects to
/// `/elsewhere`, 3 answers `418` with "teapot".
fn filter(action: u8) -> Vec<u8> {
    let code = match action {
        1 => "(i32.store (i32.const 20) (i32.const 2112)) (i32.store (i32.const 24) (i32.const 1))",
        2 => "(i32.store (i32.const 20) (i32.const 2080)) (i32.store (i32.const 24) (i32.const 10))",
        _ => {
            "(i32.store16 (i32.const 20) (i32.const 418)) (i32.store (i32.const 24) (i32.const 0)) \
             (i32.store (i32.const 28) (i32.const 0)) (i32.store (i32.const 32) (i32.const 2096)) \
             (i32.store (i32.const 36) (i32.const 6))"
        }
    };
    Guest::new(Question::Filter)
        .extra(
            "(data (i32.const 2048) \"x-tenant\") (data (i32.const 2064) \"acme\") (data (i32.const 2080) \"/elsewhere\") \
             (data (i32.const 2096) \"teapot\") (data (i32.const 2112) \"\\00\\08\\00\\00\\08\\00\\00\\00\\10\\08\\00\\00\\04\\00\\00\\00\")",
        )
        .answer(&format!("(i32.store8 (i32.const 16) (i32.const {action})) {code} i32.const 16"))
        .build()
}

#[test]
fn a_filter_sets_headers_redirects_or_answers_and_the_first_opinion_wins() {
    let none = Guest::new(Question::Filter).build();
    let run = |action: u8| {
        let tables = [
            policy("none", Question::Filter, ""),
            policy("one", Question::Filter, ""),
            policy("two", Question::Filter, ""),
        ];
        let setup = setup().file("none.wasm", &none).file("one.wasm", filter(action)).file("two.wasm", filter(3));
        start(setup, &tables.concat())
    };
    let (_node, proxy) = run(1);
    let mut client = crate::support::log_in(&proxy, "alice");
    assert_eq!(
        client.send(Request::new("GET", "/").header("x-tenant", "forged")).expect(200).text(),
        "desktop blue acme"
    );
    let (_node, proxy) = run(2);
    let moved = proxy.client().get("/x");
    assert_eq!((moved.status, moved.header("location")), (307, Some("/elsewhere")));
    let (_node, proxy) = run(3);
    let answer = proxy.client().get("/.doorward/login");
    assert_eq!((answer.status, answer.text().as_str()), (418, "teapot"));
    let status = proxy.status();
    assert_eq!(status["policies"][2]["memo"]["misses"], 0, "the first opinion ends the chain: {status:#}");
}

#[test]
fn a_policy_is_asked_where_it_is_bound_to() {
    let node = webmail(|_| Answer::text("inbox"));
    let listener = |name: &str| format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n");
    let tables = format!(
        "{ADMIN}{}{}[[site]]\nhosts = [\"a.test\", \"alias.test\"]\n{}{}",
        listener("inner"),
        listener("outer"),
        policy("here", Question::Filter, "sites = [\"ALIAS.test\"]"),
        policy("there", Question::Filter, "listeners = [\"inner\"]"),
    );
    let text = config(&tables, &[("node-a", &node, "")]);
    let proxy = setup().file("here.wasm", filter(3)).file("there.wasm", filter(2)).serve(&text);
    let status = |listener: &str, host: &str| proxy.client_of(listener).host(host).get("/").status;
    assert_eq!(status("outer", "a.test"), 418);
    assert_eq!(status("outer", "b.test"), 200);
    assert_eq!(status("inner", "b.test"), 307);
    assert_eq!(status("inner", "a.test"), 418);
}

#[test]
fn what_a_policy_cannot_be_bound_to_is_a_fault() {
    let node = webmail(|_| Answer::text(""));
    let tables = format!(
        "{}{}{}",
        policy("one", Question::Filter, "sites = [\"nowhere.test\"]"),
        policy("two", Question::Filter, "listeners = [\"none\"]"),
        policy("three", Question::Access, "sites = [\"*\"]\nmemo = \"1MiB\""),
    );
    let text = config(&tables, &[("node-a", &node, "")]);
    let ran = setup().file("c.toml", text).run(&["check", "--config", "c.toml"]);
    for key in ["policy[0].sites", "policy[1].listeners", "policy[2].sites"] {
        assert!(ran.stdout.contains(key), "{key} in {}", ran.stdout);
    }
}

#[test]
fn the_admin_socket_is_the_owners_and_outlives_a_crash() {
    let setup = setup().file("look.wasm", Guest::template("green").build());
    // What a process that was killed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(setup.dir().join("admin.sock")).expect("a socket"));
    let (_node, mut proxy) = start(setup, LOOK);
    let socket = proxy.dir().join("admin.sock");
    assert_eq!(std::fs::metadata(&socket).expect("the socket").permissions().mode() & 0o777, 0o600);
    assert_eq!(proxy.admin("GET", "/nothing").0, 404);
    look(&proxy);
    let (status, metrics) = proxy.admin("GET", "/metrics");
    assert_eq!(status, 200);
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(
            (name.starts_with("doorward_") || name.starts_with("process_")) && value.parse::<f64>().is_ok(),
            "{line}"
        );
    }
    assert!(metrics.contains("doorward_policy_memo_misses_total{policy=\"look\"} 1"), "{metrics}");
    proxy.terminate();
    assert!(!socket.exists());
}
