//! Start, reload by signal, sessions that survive a restart, and an end that finishes what has begun.

use std::time::Duration;

use harness::{Answer, Hold};

use crate::support::{config, last, log_in, setup, webmail};

#[test]
fn a_signal_reloads() {
    let node = webmail(|_| Answer::text("x"));
    let proxy = setup().serve(&config("", &[("node-a", &node, "")]));
    assert_eq!(proxy.generation(), 1);
    proxy.write("doorward.toml", config("drain-timeout = \"7s\"", &[("node-a", &node, "")]));
    proxy.reload();
    proxy.wait_for_log("reloaded.*generation=2|generation=2.*reloaded", Duration::from_secs(10));
}

#[test]
fn a_reload_that_changes_nothing_makes_no_generation() {
    let node = webmail(|_| Answer::text("x"));
    let text = |drain: u8| {
        let extra = format!(
            "drain-timeout = \"{drain}s\"\n[admin]\nsocket = \"admin.sock\"\n[session]\nkey-file = \"session.keys\""
        );
        config(&extra, &[("node-a", &node, "")])
    };
    let proxy = setup().serve(&text(5));
    let reload = |proxy: &harness::Proxy| -> (u64, bool) {
        let (status, body) = proxy.admin("POST", "/reload");
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        (body["generation"].as_u64().expect("a number"), body["changed"].as_bool().expect("a boolean"))
    };
    assert_eq!(reload(&proxy), (1, false), "also though it made a key file");
    assert_eq!(proxy.status()["last-reload"]["good"], true);
    proxy.write("doorward.toml", text(6));
    let (second, _) = reload(&proxy);
    for _ in 0..6 {
        // Written again, with the same text.
        proxy.write("doorward.toml", text(6));
        assert_eq!(reload(&proxy), (second, false));
    }
    assert_eq!(proxy.status()["past"][0], 1, "the first one can still be gone back to");
    assert_eq!(proxy.admin("POST", "/rollback?generation=1").0, 200);
    // The files say something else than what is live.
    assert_eq!(reload(&proxy), (second + 1, true));
    proxy.write("doorward.toml", "nope = 1\nneither = 2");
    assert_eq!(proxy.admin("POST", "/reload").0, 422);
    let last = proxy.status()["last-reload"].clone();
    assert_eq!((&last["good"], last["faults"].as_u64() > Some(1)), (&serde_json::json!(false), true), "{last}");
    let metrics = proxy.admin("GET", "/metrics").1;
    assert!(metrics.contains("doorward_last_reload_faults") && !metrics.contains("doorward_last_reload_faults 0"));
}

#[test]
fn sessions_survive_a_restart_with_the_same_keys() {
    let node = webmail(|_| Answer::text("inbox"));
    let keys = harness::temp_dir();
    let key_file = keys.path().join("session.keys");
    let text = config(&format!("[session]\nkey-file = \"{}\"", key_file.display()), &[("node-a", &node, "")]);
    let mut first = setup().serve(&text);
    let mut client = first.client().follow();
    last(client.login("alice", "alice-secret")).expect(200);
    let cookie = format!("doorward={}", client.cookie("doorward").expect("a session"));
    assert!(first.terminate().success());
    let second = setup().serve(&text);
    assert_eq!(second.client().header("Cookie", &cookie).get("/").expect(200).text(), "inbox");
    let without = setup().serve(&config("", &[("node-a", &node, "")]));
    assert!(without.client().header("Cookie", &cookie).get("/").expect(200).text().contains("data-page=\"login\""));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&key_file).expect("the keys").permissions().mode() & 0o777, 0o600);
}

#[test]
fn requests_under_way_are_finished_and_new_connections_are_not_taken() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |_| Answer::text("finished").after(&held));
    let mut proxy = setup().serve(&config("", &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    let logins = node.hits().len();
    let address = client.address();
    let under_way = std::thread::spawn(move || client.get("/x").text());
    node.wait_for_hits(logins + 1, Duration::from_secs(10));
    proxy.program().signal(rustix::process::Signal::TERM);
    proxy.wait_for_log("draining", Duration::from_secs(10));
    let started = std::time::Instant::now();
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(10), "it still listens");
    }
    hold.release();
    assert_eq!(under_way.join().expect("a client"), "finished");
    assert!(proxy.program().wait(Duration::from_secs(20)).success());
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let node = webmail(|_| Answer::hang());
    let mut proxy = setup().serve(&config("drain-timeout = \"300ms\"", &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    let logins = node.hits().len();
    let under_way = std::thread::spawn(move || client.try_send(harness::Request::new("GET", "/x")).is_err());
    node.wait_for_hits(logins + 1, Duration::from_secs(10));
    assert!(proxy.terminate().success());
    assert!(under_way.join().expect("a client"));
    assert!(proxy.log().iter().any(|line| line.contains("drain deadline")));
}

/// Files of several kinds that a configuration names and that are not there: the last one that is made mends it, and
/// nobody has to say so.
#[test]
fn what_mends_a_refused_configuration_is_seen() {
    let node = webmail(|_| Answer::text("x"));
    let people = setup();
    let read = |name: &str| std::fs::read_to_string(people.dir().join(name)).expect("a file");
    let before = config("[admin]\nsocket = \"admin.sock\"", &[("node-a", &node, "")]);
    let after = before.replace("people.ldif", "late.ldif").replace("test.toml", "late.toml")
        + "[[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"late/look.wasm\"\n";
    let proxy = setup().serve(&before);
    proxy.write("doorward.toml", after);
    proxy.wait_for_log("refused, the old generation serves on", Duration::from_secs(10));
    proxy.wait_for_status("the faults are counted", |status| status["last-reload"]["faults"] == 3);
    proxy.write("late.ldif", read("people.ldif"));
    proxy.wait_for_status("one is mended", |status| status["last-reload"]["faults"] == 2);
    proxy.write("late/look.wasm", harness::Guest::template("green").build());
    proxy.wait_for_status("two are", |status| status["last-reload"]["faults"] == 1);
    proxy.write("late.toml", read("test.toml"));
    proxy.wait_for_status("it is mended", |status| status["generation"] == 2);
}
