//! The helpdesk: why somebody could not log in, who is there, what the directory says, and the release of who is shut out.

use std::time::Duration;

use harness::{Answer, Asked, Backend, Guest, LdapServer, Proxy, Question, Ran, Reply, Request};
use regex_lite::Regex;

use crate::recipes::send_code;
use crate::support::{ADMIN, backend, config, log_in, post_login, proxy, setup, webmail};

const SOON: Duration = Duration::from_secs(10);

/// What a node says to a login, by its user.
const RECIPE: &str = "\
[login]\npath = \"/login\"\n[login.fields]\nuser = \"{user}\"\npass = \"{password}\"\n\
[success]\nstatus = [303]\n[second-factor]\nstatus = [202]\n[second-factor.request]\npath = \"/code\"\n\
[second-factor.request.fields]\ncode = \"{otp}\"\n\
[password-expired]\nstatus = [410]\n[down]\nstatus = [503]\n[throttled]\nstatus = [429]\n[failure]\nstatus = [401]\n\
[landing]\npath = \"/inbox\"\n";

/// No password is in it.
const OPEN: &str = "[inject]\nX-User = \"{user}\"\n";

fn node() -> Backend {
    Backend::start(|request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let is_of = |user: &str| body.split('&').any(|field| field == format!("user={user}"));
        let statuses = [("refused", 401), ("limited", 429), ("expired", 410), ("sick", 503), ("code", 202)];
        match request.what() {
            ("POST", "/login") if is_of("broken") => Answer::text("what?"),
            ("POST", "/login") if is_of("hung") || is_of("gone") => Answer::hang(),
            ("POST", "/login") => match statuses.iter().find(|(user, _)| is_of(user)) {
                Some((_, status)) => Answer::text("").status(*status),
                None => Answer::redirect("/inbox").status(303).header("Set-Cookie", "sid=1; Path=/"),
            },
            ("POST", "/code") => Answer::text("").status(401),
            _ => Answer::text("inbox"),
        }
    })
}

/// Users of these nodes, with what else is in their entries.
fn people(users: &[(&str, &str, &str)]) -> String {
    let entry = |(user, host, more): &(&str, &str, &str)| {
        format!(
            "dn: uid={user},dc=test\nuid: {user}\nmail: {user}@a.test\nmailHost: {host}\nuserPassword: {user}-secret\n{more}\n"
        )
    };
    users.iter().map(entry).collect()
}

/// `doorward ctl`, asking this proxy.
fn ctl(proxy: &Proxy, arguments: &[&str]) -> Ran {
    let socket = proxy.dir().join("admin.sock").display().to_string();
    harness::Setup::new().run(&[&["ctl", "--socket", &socket], arguments].concat())
}

/// What it prints.
#[track_caller]
fn said(proxy: &Proxy, arguments: &[&str]) -> String {
    let ran = ctl(proxy, arguments);
    assert!(ran.status.success(), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// The last attempt of a user, with this reason, is in the log, in the metrics, and in the words of `ctl why`.
#[track_caller]
fn is_told(proxy: &Proxy, user: &str, reason: &str, words: &[&str]) {
    let line = proxy.wait_for_log(&format!(" login .*account=\"{user}\".*reason=\"{reason}\""), SOON);
    for word in ["id=\"", "client=127.0.0.1", "site=\"", "protocol=\"http\"", "ms="].iter().chain(words) {
        assert!(line.contains(word), "{word} in {line}");
    }
    let counted =
        Regex::new(&format!("doorward_logins_total\\{{[^}}]*reason=\"{reason}\"[^}}]*\\}} [1-9]")).expect("a pattern");
    let metrics = proxy.admin("GET", "/metrics").1;
    assert!(counted.is_match(&metrics), "{reason} in {metrics}");
    let text = said(proxy, &["why", user]);
    assert!(text.contains(&format!("({reason})")) && text.contains("to do: "), "{reason} in {text}");
}

/// A login page's form that another browser sends.
fn send_forged(proxy: &Proxy, user: &str) {
    let page = proxy.client().get("/").expect(200).text();
    let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a form");
    let token = form.field("token").expect("a token").value.clone();
    let fields = [("username", user), ("password", "x"), ("token", &*token), ("next", "/")];
    assert_eq!(proxy.client().post_form("/.doorward/login", &fields).status, 403);
}

/// Users of these nodes, each with what happens to a login of that name.
const USERS: &[(&str, &str, &str)] = &[
    ("alice", "node-a", ""),
    ("guessed", "node-a", ""),
    ("refused", "node-a", ""),
    ("limited", "node-a", ""),
    ("expired", "node-a", ""),
    ("sick", "node-a", ""),
    ("broken", "node-a", ""),
    ("code", "node-a", ""),
    ("hung", "node-slow", ""),
    ("gone", "node-busy", ""),
    ("busy", "node-busy", ""),
    ("drained", "node-drained", ""),
    ("down", "node-down", ""),
    ("lost", "nowhere", ""),
    ("reset", "node-a", "pwdReset: TRUE\n"),
    ("locked", "node-a", "pwdAccountLockedTime: 000001010000Z\n"),
    ("forbidden", "node-a", "mailAuth: no\n"),
    ("unchecked", "node-open", "mailAuth: node\n"),
];

const POLICIES: &str = "\
[authentication.throttle]\nmax-failures = 3\nfree-failures = 3\nmax-delay = \"0s\"\n\
[[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\n[policy.settings]\nrules = [\n\
  { attribute = { name = \"mailAuth\", value = \"no\" }, refuse = \"Not you.\" },\n\
  { attribute = { name = \"mailAuth\", value = \"node\" }, mode = \"back-end\" },\n]\n\
[[policy]]\nname = \"trap\"\nfile = \"trap.wasm\"\nasks = \"auth-mode\"\non-error = \"refuse\"\nsites = [\"trap.test\"]\n\
[[site]]\nhosts = [\"trap.test\"]\n";

/// A proxy in front of a node at which anything may go wrong, one that is slow, busy, drained, away, or checks no password.
fn troubled(node: &Backend) -> Proxy {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut text = config(&format!("{ADMIN}{POLICIES}"), &[("node-a", node, "")]);
    text = text.replace("[directory]\n", "[directory]\nname-attribute = \"uid\"\n");
    for (name, url, settings) in [
        ("node-slow", node.url(), "rw-timeout = \"100ms\""),
        ("node-busy", node.url(), "max-connections = 1\nqueue-max-size = 0"),
        ("node-drained", node.url(), "drain = true"),
        ("node-down", format!("http://{closed}"), ""),
    ] {
        text.push_str(&backend(name, &url, settings));
    }
    text.push_str(&backend("node-open", &node.url(), "").replace("test.toml", "open.toml"));
    let trap = Guest::new(Question::AuthMode).answer("unreachable").build();
    let files = setup().file("people.ldif", people(USERS)).file("test.toml", RECIPE).file("open.toml", OPEN);
    files.file("trap.wasm", trap).serve(&text)
}

#[test]
fn what_is_wrong_with_name_password_or_form_is_told() {
    let node = node();
    let proxy = troubled(&node);
    let try_as = |user: &str| post_login(&mut proxy.client(), "/", user, &format!("{user}-secret"));
    let wrong = |user: &str, password: &str| post_login(&mut proxy.client(), "/", user, password);
    wrong("alice", " ");
    is_told(&proxy, "alice", "blank", &[]);
    wrong("nobody", "x");
    is_told(&proxy, "nobody", "unknown", &["mode=\"ldap-bind\""]);
    wrong("Alice@A.test", "x");
    is_told(&proxy, "alice", "wrong", &["user=\"Alice@A.test\"", "mode=\"ldap-bind\""]);
    post_login(&mut proxy.client().site("trap.test"), "/", "alice", "alice-secret");
    is_told(&proxy, "alice", "policy-failed", &["policy=\"trap\"", "site=\"trap.test\""]);
    send_forged(&proxy, "alice");
    is_told(&proxy, "alice", "form-token", &["outcome=\"stale\""]);
    for password in ["1", "2", "3", "4"] {
        wrong("guessed", password);
    }
    is_told(&proxy, "guessed", "throttled", &["outcome=\"throttled\"", "wait="]);
    // All spellings are one user's.
    assert_eq!(try_as("alice").status, 303);
    let text = said(&proxy, &["why", "ALICE@a.test"]);
    for word in ["logged in (in)", "(form-token)", "(wrong)", "policy trap", "session "] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!proxy.log().iter().any(|line| line.contains("alice-secret")) && !text.contains("alice-secret"));
}

#[test]
fn what_is_wrong_with_account_node_or_policy_is_told() {
    let node = node();
    let proxy = troubled(&node);
    let try_as = |user: &str| post_login(&mut proxy.client(), "/", user, &format!("{user}-secret"));
    for (user, reason, words) in [
        ("refused", "node-refused", &["mode=\"ldap-bind\"", "node=\"node-a\"", "outcome=\"wrong\""][..]),
        ("limited", "node-throttled", &["node=\"node-a\"", "wait=60"]),
        ("expired", "password-expired", &["node=\"node-a\""]),
        ("sick", "node-down", &["node=\"node-a\"", "outcome=\"failed\""]),
        ("broken", "node-broken", &["node=\"node-a\""]),
        ("hung", "node-timeout", &["node=\"node-slow\""]),
        ("drained", "node-drained", &["node=\"node-drained\"", "mode=\"ldap-bind\""]),
        ("down", "node-down", &["node=\"node-down\""]),
        ("lost", "no-node", &["mode=\"ldap-bind\""]),
        ("reset", "must-change", &["outcome=\"must-change\""]),
        ("locked", "locked", &["outcome=\"locked\""]),
        ("forbidden", "policy", &["policy=\"auth-mode\"", "outcome=\"refused\""]),
        ("unchecked", "internal", &["mode=\"back-end\"", "node=\"node-open\""]),
    ] {
        try_as(user);
        is_told(&proxy, user, reason, words);
    }
}

#[test]
fn what_is_wrong_with_a_code_is_told() {
    let node = node();
    let proxy = troubled(&node);
    let mut client = proxy.client();
    let page = post_login(&mut client, "/", "code", "code-secret").expect(200);
    let mode = "mode=\"second-factor\"";
    send_code(&mut client, &page, "0");
    is_told(&proxy, "code", "wrong-code", &[mode, "node=\"node-a\"", "outcome=\"wrong-code\""]);
    send_code(&mut client, &page, "1");
    is_told(&proxy, "code", "code-too-late", &[mode, "node=\"node-a\"", "outcome=\"stale\""]);
}

#[test]
fn who_finds_no_place_and_whose_client_leaves_is_told() {
    let node = node();
    let proxy = troubled(&node);
    let try_as = |user: &str| post_login(&mut proxy.client(), "/", user, &format!("{user}-secret"));
    // While one login waits for the only place, another finds none; then the first one's client leaves.
    let mut gone = proxy.client();
    let page = gone.get("/").expect(200).text();
    let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a form");
    let fields = form.filled("gone", "gone-secret");
    // What is in it needs no encoding.
    let body = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let cookie = gone.cookie("doorward-form").expect("a cookie").to_owned();
    let mut connection = gone.connect();
    connection.write(format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nCookie: doorward-form={cookie}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        form.action,
        gone.host_name(),
        body.len()
    ));
    proxy.wait_for_status("one login is at the node", |status| status["backends"][2]["requests"] == 1);
    try_as("busy");
    is_told(&proxy, "busy", "node-busy", &["node=\"node-busy\""]);
    drop(connection);
    is_told(&proxy, "gone", "client-gone", &["outcome=\"gone\"", "node=\"node-busy\"", "mode=\"ldap-bind\""]);
}

/// A directory as Active Directory is, in which each user has the problem of that sub-code.
fn with_problems(question: &harness::LdapQuestion) -> Reply {
    match &question.asked {
        Asked::Search { filter, .. } => {
            let name = filter.split("uid=").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
            let (dn, host) = (format!("uid={name},dc=test"), [("mailHost", "node-a"), ("uid", name)]);
            if name == "nobody" { Reply::result(0) } else { Reply::result(0).entry(&dn, &host) }
        }
        Asked::Bind { dn, .. } if dn == "uid=service,dc=test" => Reply::result(0),
        Asked::Bind { dn, password, .. } if password == "right" => {
            match dn.split(['=', ',']).nth(1).unwrap_or_default() {
                "well" => Reply::result(0),
                code => Reply::result(49).text(&format!("80090308: AcceptSecurityContext error, data {code}, v1db1")),
            }
        }
        _ => Reply::result(49),
    }
}

/// A proxy in front of these directory servers.
fn with_servers(urls: &[String], node: &Backend) -> Proxy {
    let text = format!(
        "{ADMIN}[directory]\nkind = \"ldap\"\nurls = {urls:?}\nbase = \"dc=test\"\ninsecure = true\n\
         bind-dn = \"uid=service,dc=test\"\nbind-password-file = \"bind.secret\"\nfilter = \"(uid={{user}})\"\n\
         name-attribute = \"uid\"\nexposed-attributes = [\"mailHost\"]\n\
         [[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n{}",
        backend("node-a", &node.url(), "")
    );
    setup().file("bind.secret", "service-secret\n").serve(&text)
}

#[test]
fn what_a_directory_says_of_an_account_is_told() {
    let (node, server) = (node(), LdapServer::start(with_problems));
    let proxy = with_servers(&[server.url()], &node);
    for (user, reason) in [
        ("532", "password-expired"),
        ("773", "must-change"),
        ("533", "disabled"),
        ("701", "account-expired"),
        ("531", "not-now"),
    ] {
        post_login(&mut proxy.client(), "/", user, "right");
        is_told(&proxy, user, reason, &[&format!("outcome=\"{reason}\""), "mode=\"ldap-bind\""]);
    }
    drop(server);
    post_login(&mut proxy.client(), "/", "well", "right");
    is_told(&proxy, "well", "directory-away", &["outcome=\"failed\""]);
}

#[test]
fn each_directory_server_is_asked_for_a_user() {
    let (node, first, spare) = (node(), LdapServer::start(with_problems), LdapServer::start(with_problems));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let away = format!("ldap://{closed}");
    let proxy = with_servers(&[first.url(), away.clone(), spare.url()], &node);
    let states = || {
        let status = proxy.status();
        [0, 1, 2].map(|server| status["directory"][server]["state"].as_str().unwrap_or_default().to_owned())
    };
    post_login(&mut proxy.client(), "/", "well", "right").expect(303);
    assert_eq!(states(), ["up", "unknown", "unknown"], "who was never asked is not said to be up");
    let text = said(&proxy, &["directory-test", "--user", " WELL "]);
    for server in [first.url(), spare.url()] {
        let row = text.lines().find(|line| line.starts_with(&server)).unwrap_or_else(|| panic!("{server} in {text}"));
        assert!(row.contains("uid=well,dc=test") && row.contains("node-a") && row.trim_end().ends_with('-'), "{row}");
    }
    let row = text.lines().find(|line| line.starts_with(&away)).expect("the server that is away");
    assert!(row.contains("refused"), "{row}");
    assert_eq!(states(), ["up", "unknown", "up"], "what answered is known to");
    assert!(said(&proxy, &["directory-test", "--user", "nobody"]).contains("nobody"));
    // With a password, as a login checks it.
    for (user, password, word) in
        [("well", "right", "right"), ("well", "no", "wrong"), ("532", "right", "password-expired")]
    {
        let answer = directory_test(&proxy, user, password);
        assert_eq!(
            (&answer["servers"][0]["password"], &answer["servers"][2]["password"]),
            (&word.into(), &word.into()),
            "{answer:#}"
        );
        assert_eq!(answer["servers"][0]["entries"][0]["node"], "node-a", "{answer:#}");
    }
    assert!(!proxy.log().iter().any(|line| line.contains("right\"")));
}

/// The answer to a test with a password, which is read from standard input.
fn directory_test(proxy: &Proxy, user: &str, password: &str) -> serde_json::Value {
    use std::io::Write as _;
    let mut child = std::process::Command::new(harness::binary())
        .args(["ctl", "--json", "--socket"])
        .arg(proxy.dir().join("admin.sock"))
        .args(["directory-test", "--password", "--user", user])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("doorward ctl");
    writeln!(child.stdin.take().expect("standard input"), "{password}").expect("a password");
    let output = child.wait_with_output().expect("an answer");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn sessions_are_listed_by_node_and_by_user() {
    let inbox = webmail(|_| Answer::text("inbox"));
    let proxy = proxy(ADMIN, &[("node-a", &inbox, ""), ("node-b", &inbox, "")]);
    for name in ["alice", "bob", "alice"] {
        log_in(&proxy, name).get("/").expect(200);
    }
    let all = said(&proxy, &["sessions"]);
    assert!(all.contains("3 sessions") && all.matches("127.0.0.0/24").count() == 3, "{all}");
    let of_node = said(&proxy, &["sessions", "--node", "node-b"]);
    assert!(of_node.contains("1 sessions") && of_node.contains("bob") && !of_node.contains("alice"), "{of_node}");
    let of_user = said(&proxy, &["sessions", "--user", " ALICE"]);
    assert!(of_user.contains("2 sessions") && !of_user.contains("bob"), "{of_user}");
    assert!(ctl(&proxy, &["sessions", "--node", "node-c"]).stdout.contains("no back-end is named"));
    // What is listed is what `revoke` takes.
    let json: serde_json::Value =
        serde_json::from_str(&said(&proxy, &["--json", "sessions", "--user", "bob"])).expect("JSON");
    let id = json["sessions"][0]["session"].as_str().expect("an id").to_owned();
    said(&proxy, &["revoke", "--session", &id]);
    assert!(said(&proxy, &["sessions", "--user", "bob"]).contains("0 sessions"));
}

#[test]
fn who_is_shut_out_is_seen_and_released() {
    let inbox = webmail(|_| Answer::text("inbox"));
    let throttle = "[authentication.throttle]\nmax-failures = 2\nmax-names = 2\nfree-failures = 9\n";
    let proxy = proxy(&format!("{ADMIN}{throttle}"), &[("node-a", &inbox, ""), ("node-b", &inbox, "")]);
    let try_as = |name: &str, password: &str| post_login(&mut proxy.client(), "/", name, password).status;
    assert!(said(&proxy, &["why", "alice"]).contains("has nothing against this name"));
    assert_eq!([try_as("alice", "1"), try_as("alice", "2"), try_as("alice", "alice-secret")], [403, 403, 429]);
    let text = said(&proxy, &["why", "alice"]);
    assert!(
        text.contains("alice (site *) is shut out from 127.0.0.0/24 for 1") && text.contains("release --user alice"),
        "{text}"
    );
    assert_eq!(said(&proxy, &["release", "--user", "ALICE"]), "released: 1\n");
    assert_eq!(said(&proxy, &["release", "--user", "alice"]), "nothing was counted against it\n");
    assert_eq!(try_as("alice", "alice-secret"), 303);
    // The network has failed with two names by now.
    assert_eq!([try_as("bob", "1"), try_as("bob", "bob-secret")], [403, 429]);
    let text = said(&proxy, &["why", "bob"]);
    assert!(text.contains("The network 127.0.0.0/24 is shut out, whatever the name"), "{text}");
    assert!(!ctl(&proxy, &["release", "--network", "127.0.0.1/8"]).status.success(), "a slip of the pen");
    said(&proxy, &["release", "--network", "127.0.0.1"]);
    assert_eq!(try_as("bob", "bob-secret"), 303);
}

#[test]
fn what_strangers_write_is_shown_as_text_and_programs_get_json() {
    let inbox = webmail(|_| Answer::text("inbox"));
    let proxy = proxy(ADMIN, &[("node-a", &inbox, ""), ("node-b", &inbox, "drain = true")]);
    let evil = "\u{1b}[2J\u{202e}ecila\r\n";
    post_login(&mut proxy.client(), "/", evil, "x");
    let text = said(&proxy, &["why", evil]);
    assert!(text.contains("\\u{1b}[2J\\u{202e}ecila"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    let status = said(&proxy, &["status"]);
    for line in ["doorward ", "BACK-END", "node-b    yes  yes", "LISTENER"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let json: serde_json::Value = serde_json::from_str(&said(&proxy, &["status", "--json"])).expect("JSON");
    assert_eq!(json["backends"][1]["draining"], true);
    let mut client = log_in(&proxy, "alice");
    client.send(Request::new("GET", "/a/page?secret")).expect(200);
    let top = said(&proxy, &["top"]);
    assert!(
        top.contains("BACK-END") && top.contains("/a/page") && !top.contains("secret") && !top.contains('\u{1b}'),
        "{top}"
    );
}

#[test]
fn a_user_is_followed_for_a_while_without_secrets_and_nobody_else_is() {
    let inbox = webmail(|_| Answer::text("inbox"));
    let text = format!("state-directory = \"state\"\n{ADMIN}");
    let text = config(&text, &[("node-a", &inbox, ""), ("node-b", &inbox, "")]);
    let proxy = setup().serve(&text);
    let (mut alice, mut bob) = (log_in(&proxy, "alice"), log_in(&proxy, "bob"));
    for bad in ["", "2h", "10", "x"] {
        assert!(!ctl(&proxy, &["trace", "--user", "alice", "--for", bad]).status.success(), "{bad:?}");
    }
    let begun: serde_json::Value =
        serde_json::from_str(&said(&proxy, &["--json", "trace", "--user", " ALICE", "--for", "10m"])).expect("JSON");
    let file = begun["file"].as_str().expect("a file").to_owned();
    assert!(begun["until"].as_u64().is_some(), "{begun}");
    for client in [&mut alice, &mut bob] {
        let request = Request::new("GET", "/mail/7?_token=SECRET&folder=INBOX").header("X-Csrf-Token", "SECRET");
        client.send(request.header("Authorization", "Bearer SECRET").header("Accept", "text/plain")).expect(200);
    }
    assert_eq!(post_login(&mut proxy.client(), "/", "alice", "SECRET").status, 403);
    assert_eq!(post_login(&mut proxy.client(), "/", "bob", "SECRET").status, 403);
    assert_eq!(said(&proxy, &["trace", "--user", "alice", "--for", "0s"]), "ended: 1\n");
    alice.get("/afterwards").expect(200);
    let path = proxy.dir().join(file);
    let text = crate::support::wait_for_file(&path, |text| text.contains("\"ends\""));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let request = lines.iter().find(|line| line["request"]["path"] == "/mail/7").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(request["request"]["parameters"], serde_json::json!(["_token", "folder"]));
    assert_eq!((&request["request"]["status"], &request["request"]["node"]), (&200.into(), &"node-a".into()));
    assert!(lines.iter().any(|line| line["login"]["reason"] == "wrong"), "{text}");
    // The request that the attempt came with has no session.
    assert!(lines.iter().any(|line| line["request"]["path"] == "/.doorward/login"), "{text}");
    for other in ["SECRET", "bob", "afterwards", "alice-secret"] {
        assert!(!text.contains(other), "{other} in {text}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("the file").permissions());
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
