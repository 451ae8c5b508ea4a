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

/// The modes, each with a proxy of its own in front of the same servers.
fn start_all(stack: &Stack, extra: &str) -> Vec<(&'static str, Proxy)> {
    let modes = ["ldap-bind", "ldap-password", "back-end"];
    let start = |mode: &'static str| {
        let (_, password) = if mode == "ldap-password" { stack.password_reader() } else { stack.service() };
        let times = "connect-timeout = \"1s\"\ntimeout = \"1s\"\nretry-interval = \"300ms\"\nroute-lifetime = \"1ms\"";
        let text =
            config(stack, mode, &Wire::Tls, false).replace("kind = \"ldap\"", &format!("kind = \"ldap\"\n{times}"));
        let text = text.replace("recipe = \"roundcube\"", "recipe = \"roundcube\"\nrw-timeout = \"3s\"");
        let text = format!("[admin]\nsocket = \"admin.sock\"\n{extra}\n{text}");
        (mode, Setup::new().file("bind.secret", format!("{password}\n")).serve(&text))
    };
    modes.into_iter().map(start).collect()
}

/// What a login comes to, for each mode: alice's at node A, bob's at node B, and one with a wrong password.
#[track_caller]
fn expect(stack: &Stack, proxies: &[(&str, Proxy)], when: &str, [alice, bob, wrong]: [u16; 3]) {
    for (mode, proxy) in proxies {
        let status = |name: &str, password: &str| {
            let mut client = proxy.client().site("localhost").tls(stack.ca());
            crate::support::post_login(&mut client, "/", name, password).status
        };
        let seen = [status("alice", "alice-secret"), status("bob", "bob-secret"), status("alice", "not-it")];
        let expected = if wrong == 0 { [alice, bob, seen[2]] } else { [alice, bob, wrong] };
        assert_eq!(seen, expected, "{when}, {mode}");
    }
}

/// Waits until the first server is asked again: somebody has to ask, so that it is tried.
fn wait_for_primary(stack: &Stack, proxies: &[(&str, Proxy)]) {
    let started = std::time::Instant::now();
    for (mode, proxy) in proxies {
        while proxy.status()["directory"][0]["state"] != "up" {
            let mut client = proxy.client().site("localhost").tls(stack.ca());
            crate::support::post_login(&mut client, "/", "alice", "not-it");
            assert!(
                started.elapsed() < std::time::Duration::from_secs(30),
                "{mode}: the first server is not asked again"
            );
        }
    }
}

#[test]
fn what_fails_stops_those_whom_it_concerns_and_nobody_when_it_is_back() {
    // Otherwise the nodes ask the same directory, and it would not be ours that is seen.
    let stack = Stack::own(&[("RS_IMAP_AUTH", "static")]);
    let proxies = start_all(&stack, "");
    let expect = |when: &str, outcome: [u16; 3]| expect(&stack, &proxies, when, outcome);
    let fine = [303, 303, 403];
    // A user with a session works on, whatever becomes of the directory.
    let (_, first) = &proxies[0];
    let mut carol = first.client().site("localhost").tls(stack.ca());
    assert_eq!(crate::support::post_login(&mut carol, "/", "carol", "carol-secret").status, 303);

    expect("all are well", fine);
    stack.ctl(&["kill", "ldap1"]);
    expect("the primary directory is killed", fine);
    stack.ctl(&["start", "ldap1"]);
    wait_for_primary(&stack, &proxies);
    expect("it is back", fine);
    stack.ctl(&["pause", "ldap1"]);
    expect("the primary directory hangs", fine);
    stack.ctl(&["pause", "ldap2"]);
    expect("both hang", [503; 3]);
    assert_eq!(carol.get("/?_task=mail").status, 200);
    stack.ctl(&["resume", "ldap1", "ldap2"]);
    wait_for_primary(&stack, &proxies);
    expect("both go on", fine);
    stack.ctl(&["kill", "ldap1", "ldap2"]);
    expect("both are killed", [503; 3]);
    assert_eq!(carol.get("/?_task=mail").status, 200);
    stack.ctl(&["start", "ldap1", "ldap2"]);
    wait_for_primary(&stack, &proxies);
    expect("both are back", fine);

    stack.ctl(&["kill", "web-a"]);
    // Where the node checks the password, a wrong one is not found out without it.
    expect("node A is killed", [503, 303, 0]);
    stack.ctl(&["start", "web-a"]);
    wait_for_logins(&stack, &proxies);
    expect("node A is back", fine);
    stack.ctl(&["pause", "web-a"]);
    expect("node A hangs", [504, 303, 0]);
    stack.ctl(&["resume", "web-a"]);
    wait_for_logins(&stack, &proxies);
    expect("node A goes on", fine);
    stack.ctl(&["kill", "imap-a"]);
    expect("IMAP behind node A is down", [502, 303, 0]);
    stack.ctl(&["start", "imap-a"]);
    wait_for_logins(&stack, &proxies);
    expect("IMAP is back", fine);
}

/// Waits until alice can log in: a node that was down is tried again after a pause.
fn wait_for_logins(stack: &Stack, proxies: &[(&str, Proxy)]) {
    let started = std::time::Instant::now();
    for (mode, proxy) in proxies {
        let alice = || {
            let mut client = proxy.client().site("localhost").tls(stack.ca());
            crate::support::post_login(&mut client, "/", "alice", "alice-secret").status
        };
        while alice() != 303 {
            assert!(started.elapsed() < std::time::Duration::from_secs(30), "{mode}: the node is not asked again");
        }
    }
}

#[test]
fn the_directory_sees_one_search_and_one_bind_for_a_login_and_nothing_for_a_request() {
    let stack = Stack::own(&[("RS_IMAP_AUTH", "static")]);
    let count = |what: &[&str]| {
        let log = stack.log("ldap1.out");
        log.lines().filter(|line| what.iter().all(|word| line.contains(word))).count()
    };
    let seen = |name: &str| {
        [count(&["SRCH base=", &format!("uid={name}")]), count(&["BIND dn=\"uid=", &format!("uid={name},"), "method="])]
    };
    let proxies = start_all(&stack, "");
    for ((mode, proxy), (name, expected)) in proxies.iter().zip([("alice", [1, 1]), ("bob", [2, 0]), ("carol", [1, 0])])
    {
        let mut client = proxy.client().site("localhost").tls(stack.ca());
        assert_eq!(crate::support::post_login(&mut client, "/", name, &format!("{name}-secret")).status, 303);
        for _ in 0..10 {
            client.get("/?_task=mail").expect(200);
        }
        // "ldap-password" reads the stored password with a search of its own.
        assert_eq!(seen(name), expected, "{mode}");
    }
}

#[test]
fn a_real_password_policy_tells_that_a_password_has_expired_or_must_change() {
    let stack = Stack::directory();
    stack.modify(
        "dn: cn=strict,ou=policies,dc=example,dc=test\nchangetype: add\nobjectClass: device\nobjectClass: pwdPolicy\n\
         cn: strict\npwdAttribute: userPassword\npwdMustChange: TRUE\n\n\
         dn: cn=short,ou=policies,dc=example,dc=test\nchangetype: add\nobjectClass: device\nobjectClass: pwdPolicy\n\
         cn: short\npwdAttribute: userPassword\npwdMaxAge: 1\n\n\
         dn: uid=dave,ou=people,dc=example,dc=test\nchangetype: modify\nadd: pwdPolicySubentry\n\
         pwdPolicySubentry: cn=short,ou=policies,dc=example,dc=test\n-\nreplace: userPassword\n\
         userPassword: dave-secret\n\n\
         dn: uid=frank,ou=people,dc=example,dc=test\nchangetype: modify\nadd: pwdPolicySubentry\n\
         pwdPolicySubentry: cn=strict,ou=policies,dc=example,dc=test\n-\nreplace: pwdReset\npwdReset: TRUE\n",
    );
    for (mode, outcomes) in [
        (
            "ldap-bind",
            &[("dave", "password has expired"), ("frank", "change your password"), ("locked", "is not right")][..],
        ),
        ("ldap-password", &[("frank", "change your password"), ("locked", "account is locked")]),
    ] {
        let proxy = start(&stack, mode, &Wire::Tls, false);
        for (name, text) in outcomes {
            let say = |password: &str| {
                let mut client = proxy.client().site("localhost").tls(stack.ca());
                crate::support::post_login(&mut client, "/", name, password).text()
            };
            // A password lives for a second at least.
            let started = std::time::Instant::now();
            loop {
                let page = say(&format!("{name}-secret"));
                if page.contains(text) {
                    break;
                }
                assert!(started.elapsed() < std::time::Duration::from_secs(15), "{mode}, {name}: {page}");
            }
            assert!(say("not-it").contains("is not right"), "{mode}, {name}");
        }
    }
}

#[test]
fn a_session_that_roundcube_has_forgotten_is_over_for_pages_frames_and_scripts() {
    let stack = Stack::start();
    let proxy = start(stack, "ldap-bind", &Wire::Plain, false);
    let alice = stack.user("alice");
    let client = || {
        let mut client = proxy.client().site("localhost").tls(stack.ca());
        assert_eq!(client.login(&alice.uid, &alice.password).last().expect("an answer").status, 200);
        client
    };
    let (page, script) = ("document", "empty");
    for (target, destination) in [
        ("/?_task=mail", page),
        ("/?_task=mail&_action=show&_uid=1&_framed=1", page),
        ("/?_task=mail&_action=list&_remote=1", script),
        ("/?_task=mail&_action=refresh&_remote=1", script),
    ] {
        let mut client = client();
        let request = || {
            let kind = if destination == script { "XMLHttpRequest" } else { "-" };
            let request = harness::Request::new("GET", target).header("Sec-Fetch-Dest", destination);
            // As browsers have it: what the node packs has to be looked at too.
            request.header("Accept-Encoding", "gzip, deflate, br").header("X-Requested-With", kind)
        };
        assert_eq!(client.send(request()).status, 200, "{target}: alive");
        assert!(client.cookie("__Host-doorward").is_some(), "{target}: alive");
        let ours = client.cookie("__Host-doorward").expect("a session").to_owned();
        let forgotten =
            format!("__Host-doorward={ours}; roundcube_sessid=0123456789abcdef0123456789; roundcube_sessauth=x-1");
        let answer = client.send(request().header("Cookie", &forgotten));
        if destination == page {
            assert_eq!(answer.header("location"), Some("/.doorward/login?gone"), "{target}");
        } else {
            assert_eq!((answer.status, answer.json()["login"].as_str()), (401, Some("/")), "{target}");
        }
        assert_eq!(client.cookie("__Host-doorward"), None, "{target}");
    }
}

#[test]
fn a_roundcube_that_limits_logins_is_told_apart_from_a_wrong_password() {
    let stack = Stack::own(&[("RS_RC_LOGIN_RATE", "2")]);
    let proxy = start(&stack, "ldap-bind", &Wire::Plain, false);
    let user = stack.user("alice");
    let try_it = || {
        let mut client = proxy.client().site("localhost").tls(stack.ca());
        client.login(&user.uid, &user.password).last().expect("an answer").status
    };
    // Roundcube counts only for users whom it has seen before.
    assert_eq!(try_it(), 200);
    // From now on the directory takes her and the node does not, so it is the node that counts.
    let disable = "changetype: modify\nreplace: accountStatus\naccountStatus: disabled\n";
    stack.modify(&format!("dn: {}\n{disable}", user.dn));
    let statuses = [try_it(), try_it(), try_it(), try_it()];
    assert_eq!(statuses, [403, 403, 429, 429]);
}
