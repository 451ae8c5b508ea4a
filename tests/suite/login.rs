//! Logging in: modes, refusals that tell nothing, outages, forged forms, and where a login leads.

use std::time::Duration;

use harness::{Answer, Backend, Client, Request};

use crate::support::{body_attribute, config, last, post_login, proxy, setup, webmail};

fn inbox() -> Backend {
    webmail(|request| Answer::text(format!("inbox of {}", request.seen.header("cookie").unwrap_or("nobody"))))
}

fn form_of(client: &mut Client) -> (String, String) {
    let page = client.get("/").expect(200).text();
    let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a form");
    (form.field("token").expect("a token").value.clone(), form.field("next").expect("next").value.clone())
}

#[test]
fn each_mode_lets_the_right_in_and_the_wrong_out() {
    let (a, b) = (inbox(), inbox());
    for mode in ["ldap-bind", "ldap-password", "back-end"] {
        let proxy = proxy(&format!("[authentication]\nmode = \"{mode}\""), &[("node-a", &a, ""), ("node-b", &b, "")]);
        for (name, password, reply) in [
            ("alice", "alice-secret", Some("inbox of sid=alice")),
            ("bob", "bob-secret", Some("inbox of sid=bob")),
            ("alice", "bob-secret", None),
            ("alice", "", None),
            ("nobody", "nobody-secret", None),
            ("twin@a.test", "twin1-secret", None),
            ("alice)(uid=*", "alice-secret", None),
        ] {
            let page = last(proxy.client().follow().login(name, password));
            match reply {
                Some(text) => assert_eq!(page.text(), text, "{mode}"),
                None => assert_eq!((page.status, body_attribute(&page.text(), "data-page")), (403, "login".to_owned())),
            }
        }
    }
}

#[test]
fn the_log_says_why_nobody_got_in_and_the_page_does_not() {
    let a = inbox();
    let proxy = proxy("", &[("node-a", &a, ""), ("node-b", &a, "drain = true")]);
    let said = |name: &str, password: &str, words: &[&str]| {
        let from = proxy.log().len();
        let page = post_login(&mut proxy.client(), "/", name, password).text();
        let line = proxy.wait_for_log_after(from, "outcome=", Duration::from_secs(5));
        words.iter().for_each(|word| assert!(line.contains(word), "{word} in {line}"));
        let alert = page.split("role=\"alert\"").nth(1).and_then(|rest| rest.split('<').next());
        alert.expect("a message").to_owned()
    };
    let unknown = said("nobody", "x", &["outcome=\"wrong\"", "reason=\"unknown\"", "mode=\"ldap-bind\""]);
    let wrong = said("alice", "x", &["outcome=\"wrong\"", "reason=\"wrong\""]);
    let blank = said("alice", "", &["outcome=\"wrong\"", "reason=\"blank\""]);
    assert_eq!((unknown, blank), (wrong.clone(), wrong));
    said("bob", "bob-secret", &["outcome=\"failed\"", "reason=\"node-drained\""]);
    said("lost", "lost-secret", &["outcome=\"failed\"", "reason=\"no-node\""]);
    // A form of another browser.
    let from = proxy.log().len();
    let (token, next) = form_of(&mut proxy.client());
    let fields = [("username", "alice"), ("password", "alice-secret"), ("token", &*token), ("next", &*next)];
    assert_eq!(proxy.client().post_form("/.doorward/login", &fields).status, 403);
    let line = proxy.wait_for_log_after(from, "outcome=", Duration::from_secs(5));
    assert!(line.contains("outcome=\"stale\"") && line.contains("reason=\"form-token\""), "{line}");
}

#[test]
fn a_policy_chooses_the_mode_by_what_it_knows() {
    let a = inbox();
    let policy = "\
[[policy]]
name = \"auth-mode\"
asks = \"auth-mode\"
[policy.settings]
rules = [
  { host = \"closed.test\", refuse = \"Closed for today.\" },
  { attribute = { name = \"mailAuth\", value = \"bind\" }, mode = \"ldap-bind\" },
  { domain = \"a.test\", mode = \"back-end\" },
]
default = \"ldap-password\"
";
    let proxy = proxy(policy, &[("node-a", &a, ""), ("node-b", &a, "")]);
    for (name, mode) in [("alice", "ldap-bind"), ("bob", "ldap-password")] {
        let from = proxy.log().len();
        last(proxy.client().follow().login(name, &format!("{name}-secret"))).expect(200);
        let line = proxy.wait_for_log_after(from, "outcome=\"in\"", Duration::from_secs(5));
        assert!(line.contains(mode), "{line}");
    }
    let page = last(proxy.client().site("closed.test").login("alice", "alice-secret"));
    assert_eq!(page.status, 403);
    assert!(page.text().contains("Closed for today."));
}

#[test]
fn users_without_a_usable_node_are_told_only_after_the_right_password() {
    let a = inbox();
    let proxy_without = proxy("", &[("node-a", &a, "")]);
    for name in ["nomad", "lost"] {
        let page = last(proxy_without.client().login(name, &format!("{name}-secret")));
        assert_eq!((page.status, body_attribute(&page.text(), "data-page")), (503, "login".to_owned()));
        assert!(page.text().contains("no mailbox is assigned"));
        assert_eq!(last(proxy_without.client().login(name, "wrong")).status, 403);
    }
    let with_default = proxy("default-backend = \"node-a\"", &[("node-a", &a, "")]);
    assert_eq!(last(with_default.client().follow().login("nomad", "nomad-secret")).text(), "inbox of sid=nomad");
    // A node that the directory names but the configuration does not is never connected to.
    assert_eq!(last(with_default.client().login("lost", "lost-secret")).status, 503);
}

#[test]
fn forged_and_foreign_forms_are_not_taken() {
    let a = inbox();
    let proxy = proxy("", &[("node-a", &a, "")]);
    let mut client = proxy.client();
    let (token, next) = form_of(&mut client);
    let fields = |token: &str| {
        vec![
            ("username", "alice".to_owned()),
            ("password", "alice-secret".to_owned()),
            ("token", token.to_owned()),
            ("next", next.clone()),
        ]
    };
    let post = |client: &mut Client, fields: &[(&str, String)], site: &str| {
        let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.send(Request::new("POST", "/.doorward/login").header("Sec-Fetch-Site", site).form(&pairs)).status
    };
    assert_eq!(post(&mut client, &fields("x"), "same-origin"), 403);
    assert_eq!(post(&mut client, &fields(&token), "cross-site"), 403);
    assert_eq!(post(&mut proxy.client(), &fields(&token), "same-origin"), 403, "another browser");
    let mut twice = fields(&token);
    twice.push(("password", String::new()));
    assert_eq!(post(&mut client, &twice, "same-origin"), 403);
    assert_eq!(post(&mut client, &fields(&token), "same-origin"), 303);
    let large = vec![("username", "x".repeat(20_000)), ("token", token)];
    assert_eq!(post(&mut proxy.client(), &large, "same-origin"), 413);
}

#[test]
fn a_login_leads_back_to_where_it_began_and_never_elsewhere() {
    let a = inbox();
    let proxy = proxy("", &[("node-a", &a, "")]);
    for (asked, leads) in [("/", "/inbox"), ("/mail?box=1&x=%2F", "/mail?box=1&x=%2F")] {
        let mut client = proxy.client();
        let answer = post_login(&mut client, asked, "alice", "alice-secret").expect(303);
        assert_eq!(answer.header("location"), Some(leads));
    }
    for next in ["//evil.test", "/\\evil.test", "https://evil.test/", "/%09/evil.test", "/%5cevil.test", "javascript:x"]
    {
        let mut client = proxy.client();
        let (token, _) = form_of(&mut client);
        let fields = [("username", "alice"), ("password", "alice-secret"), ("token", token.as_str()), ("next", next)];
        let answer = client.post_form("/.doorward/login", &fields).expect(303);
        assert_eq!(answer.header("location"), Some("/inbox"), "{next}");
    }
}

#[test]
fn scripts_are_told_and_never_shown_a_page() {
    let a = inbox();
    let proxy = proxy("", &[("node-a", &a, "")]);
    for (name, value) in
        [("X-Requested-With", "XMLHttpRequest"), ("Accept", "application/json"), ("Sec-Fetch-Dest", "empty")]
    {
        let answer = proxy.client().header(name, value).get("/api");
        assert_eq!((answer.status, answer.json()["login"].as_str()), (401, Some("/")));
    }
    let answer = proxy.client().post_form("/send", &[("a", "b")]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
}

#[test]
fn an_outage_at_the_node_keeps_the_name_and_says_when_to_try_again() {
    let down = Backend::start(|_| Answer::close());
    let proxy = setup().serve(&config("", &[("node-a", &down, "")]));
    let page = last(proxy.client().login("alice", "alice-secret"));
    assert_eq!((page.status, body_attribute(&page.text(), "data-page")), (502, "login".to_owned()));
    assert!(page.text().contains("value=\"alice\""));
}

#[test]
fn a_crash_leaves_no_core_dump_with_passwords_in_it() {
    let mut proxy = proxy("", &[("node-a", &inbox(), "")]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.program().id())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit of core files");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn passwords_and_cookies_are_in_no_log() {
    let a = inbox();
    let proxy = proxy(
        "[[log.to]]\nwhat = [\"server\", \"login\", \"access\", \"protocol\"]\nlevel = \"debug\"\ntarget = \"stderr\"",
        &[("node-a", &a, "")],
    );
    let mut client = proxy.client().follow();
    last(client.login("alice", "wrong-canary-password"));
    last(client.login("alice", "alice-secret")).expect(200);
    let cookie = client.cookie("doorward").expect("a session").to_owned();
    client.get("/inbox?token=canary-query").expect(200);
    proxy.wait_for_log("access .*path=/inbox status=200.*user=alice node=node-a", Duration::from_secs(5));
    let log = proxy.log().join("\n");
    for secret in ["wrong-canary-password", "alice-secret", cookie.as_str(), "canary-query"] {
        assert!(!log.contains(secret), "{secret}");
    }
}
