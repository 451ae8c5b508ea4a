//! `doorward check`: every fault at once, each with its place; and a docs page that knows every key.

use harness::Setup;

use crate::support::{config, setup, webmail};

#[test]
fn a_right_configuration_has_no_fault() {
    let node = webmail(|_| harness::Answer::text(""));
    let setup = setup().file("doorward.toml", config("", &[("node-a", &node, "")]));
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
}

const WRONG: &str = "\
thread = 1
[threads]
min = 200
[[listener]]
name = \"a\"
address = \"here\"
idle-timeout = \"5 parsecs\"
certificates = [{ chain = \"none.pem\", key = \"none.key\" }]
[[listener]]
name = \"a\"
address = \"127.0.0.1:0\"
[http]
headers-max-size = 64
[[policy]]
name = \"access-control\"
asks = \"acces\"
[[policy]]
name = \"no-such\"
asks = \"device\"
digest = \"sha256:12\"
[directory]
kind = \"ldap\"
urls = [\"ldap://x\"]
base = \"\"
[[backend]]
name = \"b\"
url = \"ftp://x\"
recipe = \"roundcube\"
[[site]]
hosts = [\"a b\"]
";

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let setup = Setup::new().file("wrong.toml", WRONG);
    let ran = setup.run(&["check", "--config", "wrong.toml", "--json"]);
    assert_eq!(ran.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let faults: Vec<(u64, String)> = report["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| (fault["line"].as_u64().expect("a line"), fault["key"].as_str().expect("a key").to_owned()))
        .collect();
    let expected = [
        (1, "thread"),
        (3, "threads.min"),
        (6, "listener[0].address"),
        (7, "listener[0].idle-timeout"),
        (8, "listener[0].certificates[0].chain"),
        (9, "listener[1]"),
        (13, "http.headers-max-size"),
        (16, "policy[0].asks"),
        (17, "policy[1].name"),
        (20, "policy[1].digest"),
        (23, "directory.urls"),
        (24, "directory.base"),
        (25, "backend[0].url"),
        (30, "site[0].hosts"),
    ];
    for (line, key) in expected {
        assert!(faults.contains(&(line, key.to_owned())), "{line} {key} in {faults:?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
}

#[test]
fn what_other_files_do_wrong_is_told_at_once_too() {
    let text = "\
[[listener]]
name = \"a\"
address = \"127.0.0.1:0\"
certificates = [{ chain = \"none.pem\", key = \"none.key\" }]
[[policy]]
name = \"no-such\"
asks = \"device\"
[[policy]]
name = \"access-control\"
asks = \"access\"
[policy.settings]
rules = [ { deny = \"10.0.0.0/33\" }, { allow = \"10.0.0.1\", priority = 2000 } ]
[directory]
file = \"broken.ldif\"
[[backend]]
name = \"b\"
url = \"ftp://x\"
recipe = \"none\"
[[site]]
hosts = [\"*\"]
template = \"pink\"
";
    let ran =
        Setup::new().file("broken.ldif", "uid: x\n").file("wrong.toml", text).run(&["check", "--config", "wrong.toml"]);
    assert_eq!(ran.status.code(), Some(1));
    for part in [
        "listener[0].certificates[0].chain",
        "none.pem",
        "policy[0].name",
        "policy[1].settings.rules[0]",
        "policy[1].settings.rules[1]",
        "directory.file",
        "line 1",
        "backend[0].url",
        "site[0].template",
        "pink",
    ] {
        assert!(ran.stdout.contains(part), "{part} in\n{}", ran.stdout);
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    let ran = Setup::new().file("wrong.toml", "a = 1\n[[listener\nb = 2\n").run(&["check", "--config", "wrong.toml"]);
    assert!(ran.stdout.contains("wrong.toml:2: "), "{}", ran.stdout);
    let ran = Setup::new().run(&["serve", "--config", "missing.toml"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("missing.toml"), "{}", ran.stderr);
}

/// The keys that the program knows are those it names when it meets one that it does not know.
#[test]
fn every_key_is_documented() {
    let text = "\
nope = 1
[admin]
nope = 1
[threads]
nope = 1
[log]
nope = 1
[http]
nope = 1
[session]
nope = 1
[authentication]
nope = 1
[authentication.throttle]
nope = 1
[limits.x]
nope = 1
[[listener]]
nope = 1
[[listener.certificates]]
nope = 1
[listener.tls]
nope = 1
[tls]
nope = 1
[[policy]]
nope = 1
[policy.limits]
nope = 1
[policy.breaker]
nope = 1
[directory]
kind = \"ldap\"
nope = 1
[[backend]]
nope = 1
[backend.tls]
nope = 1
[[site]]
nope = 1
";
    let ran = Setup::new().file("c.toml", text).run(&["check", "--config", "c.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let docs = include_str!("../../docs/config.md");
    let mut known = 0;
    for fault in report["faults"].as_array().expect("faults") {
        if fault["found"] == "an unknown key" {
            for key in fault["expected"].as_str().expect("keys").trim_start_matches("one of ").split(", ") {
                assert!(docs.contains(&format!("`{key}`")), "{key} of {} is not in docs/config.md", fault["key"]);
                known += 1;
            }
        }
    }
    assert!(known > 60, "{known}");
}
