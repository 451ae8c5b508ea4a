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
        (10, "listener[1].name"),
        (13, "http.headers-max-size"),
        (16, "policy[0].asks"),
        (18, "policy[1].name"),
        (20, "policy[1].digest"),
        (23, "directory.urls"),
        (24, "directory.base"),
        (27, "backend[0].url"),
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

/// A fault of one file hides none of another.
#[test]
fn each_broken_file_is_told_and_not_only_the_first() {
    let certs = harness::Certs::new();
    let right = certs.server(&["a.test"]);
    let (chain, key) = (right.chain.display(), right.key.display());
    let text = format!(
        "[tls]\nticket-key-file = \"keys\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\ncertificates = [\n\
         {{ chain = \"none.pem\", key = \"{key}\" }},\n{{ chain = \"broken.pem\", key = \"{key}\" }},\n\
         {{ chain = \"{chain}\", key = \"{key}\", ocsp = \"keys\" }},\n]\n[listener.tls]\nclient-auth = \"required\"\n\
         client-ca = \"broken.pem\"\n[[backend]]\nname = \"b\"\nurl = \"http://127.0.0.1:99999/\"\nrecipe = \"non\"\n\
         [[backend]]\nname = \"c\"\nurl = \"https://127.0.0.1:1/\"\nrecipe = \"non\"\n[backend.tls]\nca = \"broken.pem\"\n\
         [[backend]]\nname = \"d\"\nurl = \"http://me:secret@127.0.0.1/\"\nrecipe = \"form\"\n[[site]]\nhosts = [\"*\"]\n"
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let setup = Setup::new().file("doorward.toml", text).file("broken.pem", broken).file("keys", "no key\n");
    let expected = [
        (2, "tls.ticket-key-file"),
        (7, "listener[0].certificates[0].chain"),
        (8, "listener[0].certificates[1].chain"),
        (9, "listener[0].certificates[2].ocsp"),
        (13, "listener[0].tls.client-ca"),
        (16, "backend[0].url"),
        (17, "backend[0].recipe"),
        (21, "backend[1].recipe"),
        (23, "backend[1].tls.ca"),
        (26, "backend[2].url"),
    ];
    assert_eq!(told(&setup, "faults"), expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn what_a_policy_expects_of_its_settings_is_told_as_for_other_keys() {
    let policy = "[[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\n[policy.settings]\nrules = [\n{ mode = \"ldap-bindd\" } ]\n";
    let ran = Setup::new().file("doorward.toml", small(policy)).run(&["check", "--config", "doorward.toml"]);
    let told = "doorward.toml:6: policy[0].settings.rules[0].mode: found unknown variant `ldap-bindd`, expected one of \
                `ldap-bind`, `ldap-password`, `back-end`; did you mean \"ldap-bind\"?";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
}

#[test]
fn tls_of_a_back_end_without_tls_is_warned_of() {
    let setup = Setup::new()
        .file("doorward.toml", small("").replace("[[site]]", "[backend.tls]\nmin-version = \"1.3\"\n[[site]]"));
    assert_eq!(told(&setup, "faults"), []);
    assert_eq!(told(&setup, "warnings"), [(9, "backend[0].tls".to_owned())]);
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
[[log.to]]
nope = 1
[http]
nope = 1
[session]
nope = 1
[mail]
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
[traces]
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
            for key in fault["expected"].as_str().expect("keys").trim_start_matches("one of these: ").split(", ") {
                assert!(docs.contains(&format!("`{key}`")), "{key} of {} is not in docs/config.md", fault["key"]);
                known += 1;
            }
        }
    }
    assert!(known > 60, "{known}");
}

/// What `check` says, by severity: line and key of each.
fn told(setup: &Setup, kind: &str) -> Vec<(u64, String)> {
    let ran = setup.run(&["check", "--config", "doorward.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let place = |fault: &serde_json::Value| {
        (fault["line"].as_u64().expect("a line"), fault["key"].as_str().expect("a key").to_owned())
    };
    report[kind].as_array().expect("a list").iter().map(place).collect()
}

/// A listener, a back-end and a site, with what else is to be tried in front of them.
fn small(more: &str) -> String {
    format!(
        "{more}\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:8080\"\n[[backend]]\nname = \"b\"\n\
         url = \"http://127.0.0.1:1/\"\nrecipe = \"roundcube\"\n[[site]]\nhosts = [\"*\"]\n"
    )
}

#[test]
fn what_is_hardly_meant_is_a_warning_that_refuses_nothing() {
    let setup = Setup::new().file("doorward.toml", small("[session]\nidle-timeout = \"0s\""));
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("doorward.toml:2: warning: session.idle-timeout: found a time of 0"), "{}", ran.stdout);
    let ran = setup.run(&["check", "--config", "doorward.toml", "--strict"]);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    assert_eq!(told(&setup, "faults"), []);
    assert_eq!(told(&setup, "warnings"), [(2, "session.idle-timeout".to_owned())]);
}

#[test]
fn certificates_that_do_not_hold_and_hosts_without_one_are_warned_of() {
    let certs = harness::Certs::new();
    let (old, soon) = (certs.expired(&["old.a.test"]), certs.expires_in(5, &["soon.a.test", "*.b.test"]));
    let (good, late) = (certs.server(&["good.a.test"]), certs.expires_in(40, &["late.a.test"]));
    let mut text = String::from("[[listener]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\n");
    for (name, pair) in [("old.a.test", &old), ("soon.a.test", &soon), ("good.a.test", &good), ("other.test", &late)] {
        let (chain, key) = (pair.chain.display(), pair.key.display());
        text.push_str(&format!(
            "[[listener.certificates]]\nnames = [\"{name}\"]\nchain = \"{chain}\"\nkey = \"{key}\"\n"
        ));
    }
    text.push_str("[[backend]]\nname = \"b\"\nurl = \"http://127.0.0.1:1/\"\nrecipe = \"form\"\n");
    text.push_str("[[site]]\nhosts = [\n\"good.a.test\",\n\"none.a.test\", \"x.b.test\", \"*\"]\n");
    let setup = Setup::new().file("doorward.toml", text);
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    assert!(ran.status.success(), "{}", ran.stdout);
    assert!(ran.stdout.contains("a certificate that has expired, on Dec 31"), "{}", ran.stdout);
    assert!(ran.stdout.contains("a certificate that expires in "), "{}", ran.stdout);
    let expected = [
        (6, "listener[0].certificates[0].chain"),
        (10, "listener[0].certificates[1].chain"),
        (17, "listener[0].certificates[3].names"),
        (27, "site[0].hosts[1]"),
        // The listener's first certificate is shown for it, since no other is chosen for that name.
        (27, "site[0].hosts[2]"),
    ];
    assert_eq!(told(&setup, "warnings"), expected.map(|(line, key)| (line, key.to_owned())), "{}", ran.stdout);
}

#[test]
fn what_a_library_says_of_a_certificate_is_told_in_words() {
    let certs = harness::Certs::new();
    let (one, two) = (certs.server(&["a.test"]), certs.server(&["b.test"]));
    let check = |chain: &std::path::Path, key: &std::path::Path, words: &str| {
        let tls = format!("certificates = [{{ chain = \"{}\", key = \"{}\" }}]", chain.display(), key.display());
        let text = small("").replace("[[backend]]", &format!("{tls}\n[[backend]]"));
        let ran = Setup::new().file("doorward.toml", text).run(&["check", "--config", "doorward.toml"]);
        assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
        assert!(ran.stdout.contains(words), "{words} in {}", ran.stdout);
    };
    check(&one.chain, &two.key, "the key of another certificate");
    check(&one.chain, &one.chain, "no private key in it");
    check(&one.key, &one.key, "no certificate in it");
}

#[test]
fn names_that_lead_nowhere_are_warned_of_where_they_stand() {
    let text = "\
state-directory = \"missing/state\"
[limits.office]
max-connections = 1
[[policy]]
name = \"access-control\"
asks = \"access\"
[policy.settings]
rules = [
  { allow = \"10.0.0.0/8\", limits = \"office\" },
  { allow = \"11.0.0.0/8\", limits = \"ofice\" },
]
listener-rules.publik = []
[[policy]]
name = \"virtual-hosts\"
asks = \"template\"
[policy.settings]
default = \"green\"
hosts.\"a.test\" = { desktop = \"blue\",
  mobile = \"blau\" }
[[policy]]
name = \"auth-mode\"
asks = \"auth-mode\"
[policy.settings]
rules = [ { attribute = { name = \"mailAut\" }, mode = \"ldap-bind\" },
  { attribute = { name = \"mailauth\" }, mode = \"ldap-bind\" } ]
[directory]
file = \"people.ldif\"
exposed-attributes = [\"mailAuth\"]
[[backend]]
name = \"node-a\"
url = \"http://127.0.0.1:1/\"
recipe = \"attribute.toml\"
[[listener]]
name = \"public\"
address = \"127.0.0.1:0\"
[[site]]
hosts = [\"*\"]
";
    let recipe = crate::support::RECIPE.replace("{user}", "{attr.uid}{attr.mailAuth}");
    let setup = setup().file("doorward.toml", text).file("attribute.toml", recipe);
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    let expected = [
        (1, "state-directory"),
        (10, "policy[0].settings.rules[1].limits"),
        (12, "policy[0].settings.listener-rules.publik"),
        (19, "policy[1].settings.hosts.a.test.mobile"),
        (24, "policy[2].settings.rules[0].attribute.name"),
        (27, "directory.file"),
        (32, "backend[0].recipe"),
    ];
    assert_eq!(told(&setup, "warnings"), expected.map(|(line, key)| (line, key.to_owned())), "{}", ran.stdout);
    for words in [
        "did you mean \"office\"?",
        "did you mean \"public\"?",
        "did you mean \"mailAuth\"?",
        "uid=bob,dc=test: \"node-b\"; uid=lost,dc=test: \"127.0.0.1:25\"",
    ] {
        assert!(ran.stdout.contains(words), "{words} in\n{}", ran.stdout);
    }
    assert!(ran.status.success());
}

#[test]
fn keys_that_a_reload_cannot_apply_are_named_by_the_reload_and_by_check() {
    let node = webmail(|_| harness::Answer::text(""));
    let admin = "[admin]\nsocket = \"admin.sock\"\n";
    let proxy = setup().serve(&config(admin, &[("node-a", &node, "")]));
    let next = "state-directory = \"state\"\n[threads]\nmin = 2\nmax = 3\n";
    // Ours alone, as it has to be.
    let mut folder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700).create(proxy.dir().join("state")).expect("a folder");
    proxy.write("doorward.toml", config(&format!("{next}{admin}"), &[("node-a", &node, "")]));
    let ran = harness::Setup::new().run(&[
        "check",
        "--json",
        "--config",
        &format!("{}/doorward.toml", proxy.dir().display()),
    ]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let warned: Vec<_> =
        report["warnings"].as_array().expect("a list").iter().map(|warning| warning["key"].clone()).collect();
    let warned: Vec<_> = warned.into_iter().filter(|key| key != "directory.file").collect();
    assert_eq!(warned, ["state-directory", "threads.min", "threads.max"]);
    let (status, body) = proxy.admin("POST", "/reload");
    assert_eq!(status, 200, "{body}");
    for key in ["state-directory", "threads.min", "threads.max"] {
        assert!(body.contains(key), "{key} in {body}");
        let line = format!("the configuration is taken, with a warning.*key=\"{key}\"");
        proxy.wait_for_log(&line, std::time::Duration::from_secs(10));
    }
}

/// By name, whether a table or a file says something else: in the answer, and in the log for who reloads by a signal.
#[test]
fn a_reload_says_what_changed() {
    let node = webmail(|_| harness::Answer::text(""));
    let text = |timeout: &str, more: &str| {
        let admin = format!("[admin]\nsocket = \"admin.sock\"\n[session]\nidle-timeout = \"{timeout}\"\n");
        config(&admin, &[("node-a", &node, ""), ("node-b", &node, "")]) + more
    };
    let proxy = setup().serve(&text("10m", ""));
    let reload = || {
        let (status, body) = proxy.admin("POST", "/reload");
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        body["changes"].as_array().expect("a list").iter().map(|one| one.as_str().expect("a name").to_owned()).collect()
    };
    let check = |expected: &[&str]| {
        // The watcher may have been sooner; the line is there in any case.
        let (told, line): (Vec<String>, _) = (reload(), format!("reloaded .*changed=\"?{}", expected.join(", ")));
        assert!(told == expected || told.is_empty(), "{told:?}");
        proxy.wait_for_log(&line, std::time::Duration::from_secs(10));
    };
    proxy.write("doorward.toml", text("20m", "[[site]]\nhosts = [\"b.test\"]\n"));
    check(&["session", "new site b.test"]);
    // A file that two back-ends name, with the line numbers moved by a comment that changes nothing.
    proxy.write("test.toml", crate::support::RECIPE.replace("/inbox", "/start"));
    check(&["backend node-a", "backend node-b"]);
    proxy.write("doorward.toml", format!("# a comment\n{}", text("20m", "")));
    check(&["gone site b.test"]);
}

#[test]
fn a_block_that_no_template_shows_is_a_fault_and_a_page_without_its_form_a_warning() {
    let login = "{% extends \"blue/base.html\" %}{% block content %}x{% endblock %}";
    let text = small("templates = \"looks\"").replace("hosts = [\"*\"]", "hosts = [\"*\"]\ntemplate = \"own\"");
    let setup = Setup::new().file("doorward.toml", text).file("looks/own/desktop/login.html", login);
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    for part in ["doorward.toml:1: templates", "own/desktop/login.html", "\"content\"", "blue/base.html: body, heading"]
    {
        assert!(ran.stdout.contains(part), "{part} in {}", ran.stdout);
    }
    let setup = setup.file("looks/own/desktop/login.html", login.replace("content", "body"));
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    assert!(ran.status.success(), "{}", ran.stdout);
    assert!(ran.stdout.contains("warning: templates: found own/desktop/login.html without a form"), "{}", ran.stdout);
}

#[test]
fn the_templates_can_be_listed_shown_and_written_to_begin_own_ones() {
    let setup = Setup::new();
    let list = setup.run(&["template", "list"]).stdout;
    assert!(list.lines().any(|path| path == "blue/base.html"), "{list}");
    assert!(setup.run(&["template", "show", "blue/form.html"]).stdout.contains("name=\"password\""));
    assert!(!setup.run(&["template", "show", "blue/nothing.html"]).status.success());
    assert!(setup.run(&["template", "export", "looks"]).status.success());
    for path in list.lines() {
        assert!(setup.dir().join("looks").join(path).is_file(), "{path}");
    }
    assert!(!setup.run(&["template", "export", "looks"]).status.success(), "nothing is written over");
    let setup = setup.file("doorward.toml", small("templates = \"looks\""));
    assert_eq!(told(&setup, "faults"), []);
    assert_eq!(told(&setup, "warnings"), []);
}
