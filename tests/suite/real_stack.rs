//! Real servers: slapd, and two Roundcube nodes, each in front of its own Dovecot.

use harness::{Proxy, Setup, Stack, User};

/// Whether a login at Doorward must work for this user.
fn should_pass(user: &User) -> bool {
    user.status == "active" && matches!(user.node.as_deref(), Some("A" | "B")) && !user.password.is_empty()
}

enum Wire {
    Plain,
    StartTls,
    Tls,
}

fn config(stack: &Stack, mode: &str, wire: &Wire, https: bool) -> String {
    let (urls, how) = match wire {
        Wire::Plain => (stack.ldap(), "insecure = true"),
        Wire::StartTls => (stack.ldap(), "start-tls = true"),
        Wire::Tls => (stack.ldaps(), ""),
    };
    let (dn, _) = if mode == "ldap-password" { stack.password_reader() } else { stack.service() };
    let (ca, people) = (stack.ca().display(), stack.people_dn());
    let (chain, key) = stack.server_pair();
    let mut text = format!(
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         certificates = [{{ chain = \"{}\", key = \"{}\" }}]\n\
         [listener.limits]\nmax-interval-connections = 0\npeer-max-interval-connections = 0\n\
         [directory]\nkind = \"ldap\"\nurls = {urls:?}\n{how}\nca = \"{ca}\"\nbase = \"{people}\"\n\
         bind-dn = \"{dn}\"\nbind-password-file = \"bind.secret\"\n\
         [authentication]\nmode = \"{mode}\"\n[[site]]\nhosts = [\"*\"]\n",
        chain.display(),
        key.display(),
    );
    for name in ["A", "B"] {
        let node = stack.node(name);
        let url = if https { &node.https } else { &node.http };
        text.push_str(&format!(
            "[[backend]]\nname = \"{}\"\nurl = \"{url}\"\nrecipe = \"roundcube\"\n[backend.tls]\nca = \"{ca}\"\n",
            node.mail_host
        ));
    }
    text
}

fn start(stack: &Stack, mode: &str, wire: &Wire, https: bool) -> Proxy {
    let (_, password) = if mode == "ldap-password" { stack.password_reader() } else { stack.service() };
    Setup::new().file("bind.secret", format!("{password}\n")).serve(&config(stack, mode, wire, https))
}

/// `check.py` as a browser at the proxy: logs in, reads, attaches, logs out; or must be refused.
fn check(stack: &Stack, proxy: &Proxy, user: &User, quick: bool) {
    let base = format!("https://localhost:{}/", proxy.address("public").port());
    let ca = stack.ca().display().to_string();
    let password = if user.password.is_empty() { "x" } else { &user.password };
    let mut arguments = vec!["--base", &base, "--cafile", &ca, "--quiet", "--user", &user.uid, "--password", password];
    if quick {
        arguments.push("--quick");
    }
    match (should_pass(user), user.node.as_deref()) {
        (true, Some(node)) => arguments.extend(["--expect-node", node]),
        _ => arguments.extend(["--expect", "fail", "--kept"]),
    }
    let nodes =
        ["A", "B"].map(|name| stack.node(name).http.trim_start_matches("http://").trim_end_matches('/').to_owned());
    for node in &nodes {
        arguments.extend(["--forbid", node]);
    }
    let said = stack.check(&arguments);
    assert!(said.trim_end().ends_with(" 0 failed"), "{}: {said}", user.uid);
}

#[test]
fn every_user_has_the_right_outcome_in_every_mode() {
    let stack = Stack::start();
    let combinations =
        [("ldap-bind", Wire::Tls, true), ("ldap-password", Wire::StartTls, false), ("back-end", Wire::Plain, false)];
    for (mode, wire, https) in combinations {
        let proxy = start(stack, mode, &wire, https);
        for user in stack.users() {
            // The whole round, attachments and all, for some users of each mode; the others log in and read.
            check(stack, &proxy, user, !["alice", "bob", "heavy", "pwchars"].contains(&user.uid.as_str()));
        }
        let log = proxy.log().join("\n");
        for user in stack.users().iter().filter(|user| user.password.len() > 8) {
            assert!(!log.contains(&user.password), "a password in the log, {mode}");
        }
    }
}

#[test]
fn an_empty_password_is_refused_though_the_directory_would_take_it() {
    let stack = Stack::start();
    let proxy = start(stack, "ldap-bind", &Wire::Tls, false);
    let mut client = proxy.client().site("localhost").tls(stack.ca());
    for password in ["", " ", "\t"] {
        assert_eq!(client.login("alice", password).last().expect("an answer").status, 403);
    }
}

#[test]
fn a_node_or_directory_with_the_wrong_certificate_is_not_talked_to() {
    let stack = Stack::start();
    let rogue = stack.rogue_ca().display().to_string();
    let ca = format!("ca = \"{}\"", stack.ca().display());
    let text = config(stack, "ldap-bind", &Wire::Tls, true);
    let (directory, backends) = text.split_once("[[backend]]").expect("back-ends");
    let (_, password) = stack.service();
    for (what, text, status) in [
        ("directory", format!("{}[[backend]]{backends}", directory.replace(&ca, &format!("ca = \"{rogue}\""))), 503),
        ("node", format!("{directory}[[backend]]{}", backends.replace(&ca, &format!("ca = \"{rogue}\""))), 503),
    ] {
        let proxy = Setup::new().file("bind.secret", password).serve(&text);
        let mut client = proxy.client().site("localhost").tls(stack.ca());
        assert_eq!(client.login("alice", "alice-secret").last().expect("an answer").status, status, "{what}");
    }
}

#[test]
fn logins_go_on_when_the_first_directory_server_is_gone_and_it_may_be_gone_at_the_start() {
    let stack = Stack::own(&[]);
    stack.ctl(&["kill", "ldap1"]);
    let proxy = start(&stack, "ldap-bind", &Wire::Tls, false);
    let alice = || {
        let mut client = proxy.client().site("localhost").tls(stack.ca());
        crate::support::post_login(&mut client, "/", "alice", "alice-secret").status
    };
    assert_eq!(alice(), 303);
    stack.ctl(&["kill", "ldap2"]);
    assert_eq!(alice(), 503);
    stack.ctl(&["start", "ldap1"]);
    let started = std::time::Instant::now();
    while alice() != 303 {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "the first server is not asked again");
    }
}
