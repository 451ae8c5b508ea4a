//! The directory: servers that hang, lie or go away, what they say of accounts, and which node a user is on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Answer, Asked, Backend, Certs, LdapQuestion, LdapServer, Proxy, Reply, Response, Setup};

use crate::support::{backend, body_attribute, post_login, setup, webmail};

const SOON: Duration = Duration::from_secs(15);

fn inbox() -> Backend {
    webmail(|request| Answer::text(format!("inbox of {}", request.seen.header("cookie").unwrap_or("nobody"))))
}

/// A directory where everybody has the password `NAME-secret` and is on `node-a`, but for `nobody`.
fn people(question: &LdapQuestion) -> Reply {
    match &question.asked {
        Asked::Search { filter, .. } => {
            let name = filter.split("(uid=").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
            if name == "nobody" {
                return Reply::result(0);
            }
            Reply::result(0).entry(&format!("uid={name},dc=test"), &[("mailHost", "node-a")])
        }
        Asked::Bind { dn, password, .. } => {
            let name = dn.trim_start_matches("uid=").split(',').next().unwrap_or_default();
            Reply::result(if password == &format!("{name}-secret") { 0 } else { 49 })
        }
        _ => Reply::result(0),
    }
}

fn config(servers: &[&LdapServer], extra: &str, node: &Backend) -> String {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    let safe = if extra.contains("start-tls") || urls[0].starts_with("ldaps") { "" } else { "insecure = true" };
    format!(
        "[admin]\nsocket = \"admin.sock\"\n[threads]\nmin = 2\nmax = 2\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n\
         [directory]\nkind = \"ldap\"\nurls = {urls:?}\nbase = \"dc=test\"\nbind-dn = \"uid=service,dc=test\"\n\
         bind-password-file = \"bind.secret\"\n{safe}\n{extra}\n[[site]]\nhosts = [\"*\"]\n{}",
        backend("node-a", &node.url(), ""),
    )
}

fn serve(servers: &[&LdapServer], extra: &str, node: &Backend) -> Proxy {
    setup().file("bind.secret", "service-secret\n").serve(&config(servers, extra, node))
}

fn log_in(proxy: &Proxy, name: &str, password: &str) -> Response {
    post_login(&mut proxy.client(), "/", name, password)
}

fn binds(server: &LdapServer) -> Vec<(String, String)> {
    let asked = server.asked().into_iter();
    asked
        .filter_map(|question| match question.asked {
            Asked::Bind { dn, password, .. } => Some((dn, password)),
            _ => None,
        })
        .collect()
}

fn searches(server: &LdapServer) -> usize {
    server.asked().iter().filter(|question| matches!(question.asked, Asked::Search { .. })).count()
}

#[test]
fn a_login_is_one_search_and_one_bind_and_a_request_is_nothing() {
    let (node, server) = (inbox(), LdapServer::start(people));
    let proxy = serve(&[&server], "", &node);
    let mut client = proxy.client();
    assert_eq!(post_login(&mut client, "/", "alice", "alice-secret").status, 303);
    for _ in 0..5 {
        client.get("/x").expect(200);
    }
    let of_alice = binds(&server).into_iter().filter(|(dn, _)| dn == "uid=alice,dc=test").count();
    assert_eq!((searches(&server), of_alice), (1, 1));
    let connection =
        |is: fn(&Asked) -> bool| server.asked().iter().find(|question| is(&question.asked)).map(|q| q.connection);
    let search = connection(|asked| matches!(asked, Asked::Search { .. }));
    let bind = connection(|asked| matches!(asked, Asked::Bind { dn, .. } if dn.starts_with("uid=alice")));
    assert_ne!(search, bind, "a user's bind is on a connection that never searches");
    let metrics = proxy.admin("GET", "/metrics").1;
    for operation in ["search", "bind"] {
        let labels = format!("server=\"{}\",operation=\"{operation}\",result=\"answered\"", server.url());
        let line = format!("doorward_directory_duration_seconds_count{{{labels}}} 1\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn nothing_is_asked_for_a_blank_password_or_a_name_that_nobody_can_have() {
    let (node, server) = (
        inbox(),
        LdapServer::start(|question| match &question.asked {
            // As directories do that take a name without a password for "anonymous".
            Asked::Bind { .. } => Reply::result(0),
            _ => people(question),
        }),
    );
    let proxy = serve(&[&server], "", &node);
    for (name, password) in
        [("alice", ""), ("alice", " "), ("alice", "\0"), ("alice", "a\0b"), ("  ", "x"), ("al\0ice", "x")]
    {
        assert_eq!(log_in(&proxy, name, password).status, 403, "{name:?} {password:?}");
    }
    // Bytes that are no UTF-8, in the name and in the password.
    for body in ["username=%ff&password=x", "username=alice&password=%ff"] {
        let mut client = proxy.client();
        let page = client.get("/").expect(200).text();
        let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a form");
        let body = format!("{body}&token={}", form.field("token").expect("a token").value);
        let request =
            harness::Request::new("POST", &form.action).header("Content-Type", "application/x-www-form-urlencoded");
        assert_eq!(client.send(request.body(body)).status, 403);
    }
    assert!(binds(&server).iter().all(|(dn, _)| dn == "uid=service,dc=test"), "{:?}", binds(&server));
}

#[test]
fn names_that_look_alike_are_one_user() {
    let (node, server) = (inbox(), LdapServer::start(people));
    let proxy = serve(&[&server], "", &node);
    for typed in ["ALICE", " alice ", "Alice\u{a0}"] {
        let answer = log_in(&proxy, typed, "alice-secret");
        // The directory takes the one name; the test's node knows only what is typed.
        assert!([303, 403].contains(&answer.status), "{typed}");
    }
    let filters: Vec<String> = server
        .asked()
        .into_iter()
        .filter_map(|question| match question.asked {
            Asked::Search { filter, .. } => Some(filter),
            _ => None,
        })
        .collect();
    assert_eq!(filters, vec!["(|(uid=alice)(mail=alice))"; 3]);
    assert_eq!(binds(&server).iter().filter(|bind| bind.0 == "uid=alice,dc=test").count(), 3);
}

#[test]
fn a_silent_server_costs_one_deadline_and_not_one_for_each_login() {
    let node = inbox();
    let silent = LdapServer::start(|_| Reply::silence());
    let well = LdapServer::start(people);
    let times = "timeout = \"1s\"\nretry-interval = \"600s\"";
    let proxy = serve(&[&silent, &well], times, &node);
    let unknown = |server: &serde_json::Value| server["state"] == "unknown";
    assert!(proxy.status()["directory"].as_array().expect("servers").iter().all(unknown), "nobody was asked yet");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut client = proxy.client();
            scope.spawn(move || assert_eq!(post_login(&mut client, "/", "alice", "alice-secret").status, 303));
        }
    });
    let tried = silent.accepted();
    assert!(tried > 0);
    // Both workers know by now.
    for _ in 0..16 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    }
    assert_eq!(silent.accepted(), tried);
    let states = |status: &serde_json::Value| [0, 1].map(|server| status["directory"][server]["state"].clone());
    assert_eq!(states(&proxy.status()), ["silent", "up"]);
    let log = proxy.log();
    assert_eq!(log.iter().filter(|line| line.contains("passed over")).count(), 1, "told once");
}

#[test]
fn while_all_servers_are_silent_logins_are_told_at_once() {
    let (node, silent) = (inbox(), LdapServer::start(|_| Reply::silence()));
    let proxy = serve(&[&silent], "timeout = \"1s\"\nretry-interval = \"600s\"", &node);
    for _ in 0..5 {
        let page = log_in(&proxy, "alice", "alice-secret");
        assert_eq!((page.status, page.header("retry-after")), (503, Some("5")));
        assert!(page.text().contains("value=\"alice\""));
    }
    assert_eq!(silent.accepted(), 1);
}

#[test]
fn of_servers_that_are_silent_in_turn_the_one_that_is_well_is_asked() {
    let node = inbox();
    let hanging = Arc::new(AtomicUsize::new(usize::MAX));
    let server = |own: usize| {
        let hanging = hanging.clone();
        LdapServer::start(move |question| match hanging.load(Ordering::SeqCst) {
            one if one == own => Reply::silence(),
            _ => people(question),
        })
    };
    let (first, second) = (server(0), server(1));
    let times = "timeout = \"1s\"\nretry-interval = \"600s\"";
    let proxy = serve(&[&first, &second], times, &node);
    for turn in [usize::MAX, 0, 1, 0, 1, usize::MAX] {
        hanging.store(turn, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303, "while {turn} hangs");
        }
    }
}

#[test]
fn a_password_that_a_silent_server_may_have_heard_is_sent_no_second_time() {
    let (node, slow) = (inbox(), Arc::new(AtomicUsize::new(0)));
    let server = || {
        let slow = slow.clone();
        LdapServer::start(move |question| match &question.asked {
            Asked::Bind { dn, .. } if dn.starts_with("uid=alice") && slow.load(Ordering::SeqCst) > 0 => {
                Reply::silence()
            }
            _ => people(question),
        })
    };
    let (first, second) = (server(), server());
    let proxy = serve(&[&first, &second], "timeout = \"1s\"", &node);
    let asked =
        || [&first, &second].map(|server| binds(server).iter().filter(|bind| bind.0.starts_with("uid=alice")).count());
    // Until both workers keep a connection for binds.
    for _ in 0..8 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    }
    slow.store(1, Ordering::SeqCst);
    for round in 1..=2 {
        let before: usize = asked().iter().sum();
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 503);
        assert_eq!(asked().iter().sum::<usize>(), before + 1, "{round}: one password is one bind");
    }
}

#[test]
fn while_all_servers_are_silent_a_login_does_not_wait_for_each_of_them() {
    let node = inbox();
    let silent: Vec<LdapServer> = (0..4).map(|_| LdapServer::start(|_| Reply::silence())).collect();
    let servers: Vec<&LdapServer> = silent.iter().collect();
    let proxy = serve(&servers, "timeout = \"1s\"\nretry-interval = \"600s\"", &node);
    let tried = || silent.iter().map(LdapServer::accepted).sum::<usize>();
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 503);
    let before = tried();
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 503);
    assert_eq!(tried(), before + 1, "it waits for one of them");
}

#[test]
fn a_kept_connection_that_is_dead_without_a_word_says_nothing_of_its_server() {
    let node = inbox();
    let dead = Arc::new(AtomicUsize::new(0));
    let dead_until = dead.clone();
    let server = LdapServer::start(move |question| match question.connection {
        one if one <= dead_until.load(Ordering::SeqCst) => Reply::silence(),
        _ => people(question),
    });
    let proxy = serve(&[&server], "timeout = \"2s\"", &node);
    for _ in 0..3 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
        dead.store(server.accepted(), Ordering::SeqCst);
    }
    assert!(!proxy.log().join("\n").contains("passed over"));
}

#[test]
fn a_server_that_never_begins_tls_is_silent_too() {
    let (node, well) = (inbox(), LdapServer::start(people));
    // The kernel takes connections, and nobody ever reads.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let text = config(&[&well], "connect-timeout = \"1s\"\nretry-interval = \"600s\"", &node);
    let url = format!("\"ldaps://{}\", ", silent.local_addr().expect("an address"));
    let proxy =
        setup().file("bind.secret", "service-secret\n").serve(&text.replace("urls = [", &format!("urls = [{url}")));
    for _ in 0..3 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    }
    silent.set_nonblocking(true).expect("a socket");
    assert_eq!(std::iter::from_fn(|| silent.accept().ok()).count(), 1);
}

#[test]
fn connections_are_kept_until_they_are_too_old() {
    let node = inbox();
    let server = LdapServer::start(people);
    let proxy = serve(&[&server], "", &node);
    for _ in 0..5 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    }
    assert!(server.accepted() <= 4, "two for each worker");
    for setting in ["idle-timeout = \"1ms\"", "max-age = \"1ms\""] {
        let server = LdapServer::start(people);
        let proxy = serve(&[&server], setting, &node);
        let started = Instant::now();
        while server.accepted() <= 8 {
            assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
            assert!(started.elapsed() < SOON, "{setting}: connections are kept for ever");
        }
    }
}

#[test]
fn a_kept_connection_that_died_costs_nobody_a_login() {
    let (node, server) = (inbox(), LdapServer::start(people));
    let proxy = serve(&[&server], "", &node);
    for _ in 0..5 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
        server.cut();
    }
    assert!(!proxy.log().join("\n").contains("passed over"));
}

#[test]
fn the_first_server_is_asked_again_when_it_is_back_and_need_not_be_there_at_the_start() {
    let node = inbox();
    let first = LdapServer::start(people);
    let second = LdapServer::start(people);
    let address = first.address();
    let text = config(&[&first, &second], "retry-interval = \"100ms\"", &node);
    drop(first);
    let proxy = setup().file("bind.secret", "service-secret\n").serve(&text);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    drop(second);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 503);
    let first = LdapServer::start_at(address, people);
    let started = Instant::now();
    while log_in(&proxy, "alice", "alice-secret").status != 303 {
        assert!(started.elapsed() < SOON, "the first server is not asked again");
    }
    assert!(searches(&first) > 0);
    proxy.wait_for_log("a directory server answers again", SOON);
}

#[test]
fn without_the_tls_that_was_asked_for_no_password_is_sent() {
    let node = inbox();
    let certs = Certs::new();
    let (good, other_name) = (certs.server(&["127.0.0.1"]), certs.server(&["elsewhere.test"]));
    let ca = format!("start-tls = true\nca = \"{}\"", certs.ca().display());
    // The answer to a bind that was not sent yet: success, for whoever reads on.
    let injected = [0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00];
    let refuses = LdapServer::start_tls(&good, |question| match question.asked {
        Asked::StartTls => Reply::result(2).text("no TLS here"),
        _ => people(question),
    });
    let injects = LdapServer::start_tls(&good, move |question| match question.asked {
        Asked::StartTls => Reply::result(0).behind(&injected),
        _ => people(question),
    });
    let wrong_name = LdapServer::start_tls(&other_name, people);
    let stranger = LdapServer::start_tls(&Certs::new().server(&["127.0.0.1"]), people);
    let closes = LdapServer::start_tls(&good, |_| Reply::close());
    for server in [&refuses, &injects, &wrong_name, &stranger, &closes] {
        let proxy = serve(&[server], &ca, &node);
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 503);
        assert!(server.accepted() > 0);
        assert!(binds(server).is_empty(), "{:?}", binds(server));
    }
    let right = LdapServer::start_tls(&good, people);
    let proxy = serve(&[&right], &ca, &node);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    assert!(right.asked().iter().all(|question| question.tls || question.asked == Asked::StartTls));
    let right = LdapServer::tls(&good, people);
    let proxy = serve(&[&right], &format!("ca = \"{}\"", certs.ca().display()), &node);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    let wrong_name = LdapServer::tls(&other_name, people);
    let proxy = serve(&[&wrong_name], &format!("ca = \"{}\"", certs.ca().display()), &node);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 503);
    assert!(wrong_name.asked().is_empty());
}

#[test]
fn nobody_is_asked_whom_a_server_refers_to() {
    let node = inbox();
    let recorder = LdapServer::start(people);
    let url = format!("{}/dc=test", recorder.url());
    let elsewhere = url.clone();
    let bind = LdapServer::start(move |question| match &question.asked {
        Asked::Bind { dn, .. } if dn.starts_with("uid=alice") => Reply::result(10).referral(&elsewhere),
        _ => people(question),
    });
    assert_eq!(log_in(&serve(&[&bind], "", &node), "alice", "alice-secret").status, 403);
    let elsewhere = url.clone();
    let search = LdapServer::start(move |question| match &question.asked {
        Asked::Search { .. } => Reply::result(10).referral(&elsewhere),
        _ => people(question),
    });
    assert_eq!(log_in(&serve(&[&search], "", &node), "alice", "alice-secret").status, 503);
    // A reference beside the entry is left aside; one without an entry is nobody.
    let elsewhere = url.clone();
    let beside = LdapServer::start(move |question| match &question.asked {
        Asked::Search { filter, .. } if filter.contains("bob") => Reply::result(0).reference(&elsewhere),
        Asked::Search { .. } => people(question).reference(&elsewhere),
        _ => people(question),
    });
    let proxy = serve(&[&beside], "", &node);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    assert_eq!(log_in(&proxy, "bob", "bob-secret").status, 403);
    assert_eq!(recorder.accepted(), 0);
}

#[test]
fn a_server_that_talks_nonsense_is_one_that_does_not_answer() {
    let node = inbox();
    let mut nested = vec![0x04, 0x00];
    for _ in 0..20_000 {
        let length = u32::try_from(nested.len()).expect("short").to_be_bytes();
        nested = [&[0x30, 0x84][..], &length, &nested].concat();
        if nested.len() > 60_000 {
            break;
        }
    }
    let nonsense: Vec<Vec<u8>> = vec![
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x02],
        vec![0x30, 0x80, 0x02, 0x01, 0x01],
        vec![0x30, 0x00],
        vec![0x30, 0x05, 0x02, 0x01, 0x02, 0x61, 0x00],
        vec![0x30, 0x05, 0x02, 0x01, 0x02, 0x65, 0x00],
        vec![0x30, 0x07, 0x02, 0x01, 0x02, 0x64, 0x02, 0x04, 0x00],
        vec![0x30, 0x0c, 0x02, 0x01, 0x02, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00],
        nested,
        vec![0x30; 100_000],
    ];
    let said = std::sync::Mutex::new(nonsense.into_iter());
    let server = LdapServer::start(move |question| match question.asked {
        Asked::Search { .. } => {
            said.lock().unwrap().next().map_or_else(|| people(question), |bytes| Reply::raw(&bytes))
        }
        _ => people(question),
    });
    let mut proxy = serve(&[&server], "timeout = \"1s\"\nretry-interval = \"1ms\"", &node);
    let started = Instant::now();
    let mut failed = 0;
    while log_in(&proxy, "alice", "alice-secret").status != 303 {
        failed += 1;
        assert!(started.elapsed() < 4 * SOON, "it does not recover");
    }
    assert!(failed >= 5, "{failed}");
    assert!(proxy.terminate().success());
}

/// What a login page tells.
fn told(page: &Response) -> (u16, String) {
    let text = page.text();
    assert!(["login", "account"].contains(&body_attribute(&text, "data-page").as_str()), "{text}");
    (page.status, text)
}

#[test]
fn problems_that_active_directory_tells_after_the_right_password_are_told() {
    let node = inbox();
    let server = LdapServer::start(|question| match &question.asked {
        Asked::Search { filter, .. } => {
            let name =
                filter.split("(sAMAccountName=").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
            Reply::result(0).entry(&format!("CN={name},DC=corp"), &[("mailHost", "node-a")])
        }
        Asked::Bind { dn, .. } if dn.starts_with("CN=") => {
            let code = &dn[4..7];
            Reply::result(49).text(&format!(
                "80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext error, data {code}, v1db1\0"
            ))
        }
        _ => people(question),
    });
    let extra = "filter = \"(|(userPrincipalName={user})(sAMAccountName={user.local}))\"\n\
        account-help = { password-expired = \"https://help.test/password\" }";
    let proxy = serve(&[&server], extra, &node);
    let wrong = "The user name or the password is not right.";
    for (code, text) in [
        ("52e", wrong),
        ("525", wrong),
        ("775", wrong),
        ("530", "You cannot sign in at this time"),
        ("531", "You cannot sign in at this time"),
        ("532", "Your password has expired."),
        ("533", "Your account is switched off."),
        ("701", "Your account has expired."),
        ("773", "You have to change your password"),
    ] {
        for name in [format!("u{code}@corp.test"), format!("CORP\\u{code}")] {
            let (status, page) = told(&log_in(&proxy, &name, "secret"));
            assert!(status == 403 && page.contains(text), "{name}: {page}");
            assert_eq!(
                page.contains("https:&#x2f;&#x2f;help.test") || page.contains("https://help.test/password"),
                code == "532"
            );
        }
    }
    let filters = server.asked().into_iter().filter_map(|question| match question.asked {
        Asked::Search { filter, .. } => Some(filter),
        _ => None,
    });
    assert!(filters.into_iter().any(|filter| filter == "(|(userPrincipalName=corp\\u532)(sAMAccountName=u532))"));
}

#[test]
fn problems_of_a_password_policy_are_asked_for_and_told() {
    let node = inbox();
    let policy = "1.3.6.1.4.1.42.2.27.8.5.1";
    let server = LdapServer::start(move |question| {
        let error = |code: u8| [0x30, 0x03, 0x81, 0x01, code];
        match &question.asked {
            Asked::Bind { dn, .. } if dn.starts_with("uid=old,") => Reply::result(49).control(policy, &error(0)),
            Asked::Bind { dn, .. } if dn.starts_with("uid=locked,") => Reply::result(49).control(policy, &error(1)),
            Asked::Bind { dn, .. } if dn.starts_with("uid=reset,") => Reply::result(0).control(policy, &error(2)),
            Asked::Bind { dn, .. } if dn.starts_with("uid=broken,") => people(question).control(policy, &[0x30, 0x7f]),
            Asked::Bind { dn, .. } if dn.starts_with("uid=soon,") => {
                people(question).control(policy, &[0x30, 0x05, 0xa0, 0x03, 0x80, 0x01, 0x3c])
            }
            _ => people(question),
        }
    });
    let proxy = serve(&[&server], "", &node);
    for (name, status, text) in [
        ("old", 403, "Your password has expired."),
        // It comes for a wrong password too.
        ("locked", 403, "is not right"),
        ("reset", 403, "You have to change your password"),
        ("soon", 303, ""),
        ("broken", 303, ""),
    ] {
        let page = log_in(&proxy, name, &format!("{name}-secret"));
        assert_eq!(page.status, status, "{name}");
        assert!(page.text().contains(text), "{name}: {}", page.text());
    }
    let controls = server.asked().into_iter().find_map(|question| match question.asked {
        Asked::Bind { dn, controls, .. } if dn.starts_with("uid=old") => Some(controls),
        _ => None,
    });
    assert_eq!(controls, Some(vec![policy.to_owned()]));
    proxy.wait_for_log("outcome=\"password-expired\"", SOON);
}

#[test]
fn that_somebody_is_not_there_is_remembered_for_a_moment_and_can_be_forgotten() {
    let (node, server) = (inbox(), LdapServer::start(people));
    let proxy = serve(&[&server], "route-negative-lifetime = \"600s\"", &node);
    for _ in 0..3 {
        assert_eq!(log_in(&proxy, "nobody", "x").status, 403);
    }
    assert_eq!(searches(&server), 1);
    // As many binds as for somebody who is there.
    let others = |(dn, _): &(String, String)| dn != "uid=service,dc=test";
    assert_eq!(binds(&server).iter().filter(|bind| others(bind)).count(), 3);
    let ran = Setup::new().run(&[
        "ctl",
        "--json",
        "--socket",
        &proxy.dir().join("admin.sock").display().to_string(),
        "purge-routes",
        "Nobody ",
    ]);
    assert!(ran.status.success() && ran.stdout.contains("{\"purged\":1}"), "{ran:?}");
    assert_eq!(log_in(&proxy, "nobody", "x").status, 403);
    assert_eq!(searches(&server), 2);
    assert_eq!(proxy.admin("POST", "/purge-routes"), (200, "{\"purged\":1}\n".to_owned()));
}

#[test]
fn where_only_the_node_checks_a_route_is_remembered_until_the_node_refuses() {
    let (a, b) = (inbox(), inbox());
    let host = std::sync::Arc::new(std::sync::Mutex::new("node-a"));
    let now = host.clone();
    let server = LdapServer::start(move |question| match &question.asked {
        Asked::Search { .. } => Reply::result(0).entry("uid=alice,dc=test", &[("mailHost", *now.lock().unwrap())]),
        _ => people(question),
    });
    let text = config(&[&server], "route-lifetime = \"600s\"", &a);
    let text = format!("{text}{}\n[authentication]\nmode = \"back-end\"\n", backend("node-b", &b.url(), ""));
    let proxy = setup().file("bind.secret", "service-secret\n").serve(&text);
    for _ in 0..3 {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    }
    assert_eq!(searches(&server), 1, "the back-end is all that is wanted of the entry");
    assert_eq!(log_in(&proxy, "alice", "wrong").status, 403);
    assert_eq!(searches(&server), 2, "a node that refuses may be the wrong one");
    let at_a = a.hits().len();
    *host.lock().unwrap() = "node-b";
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    assert_eq!((a.hits().len(), b.hits().len()), (at_a + 1, 0), "what is remembered still holds");
    drop(a);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    assert!(!b.hits().is_empty(), "the mailbox has moved");
    assert_eq!(searches(&server), 3);
}

/// A directory of a file: `NAME` with these attributes, and everybody's password is `NAME-secret`.
fn ldif(people: &[(&str, &str)]) -> String {
    let one = |(name, more): &(&str, &str)| {
        format!("dn: uid={name},dc=test\nuid: {name}\nuserPassword: {name}-secret\n{more}\n\n")
    };
    people.iter().map(one).collect()
}

fn serve_file(people: &str, extra: &str, nodes: &[(&str, &Backend)]) -> Proxy {
    setup().file("people.ldif", people).serve(&file_config(extra, nodes))
}

fn file_config(extra: &str, nodes: &[(&str, &Backend)]) -> String {
    let mut text = format!(
        "{extra}\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n[[site]]\nhosts = [\"*\"]\n"
    );
    if !extra.contains("[directory]") {
        text.push_str("[directory]\nfile = \"people.ldif\"\n");
    }
    for (name, node) in nodes {
        text.push_str(&backend(name, &node.url(), ""));
    }
    text
}

#[test]
fn each_way_to_name_a_node_has_its_outcome() {
    let (a, b) = (inbox(), inbox());
    let (address, url) = (b.address(), b.url());
    let people = ldif(&[
        ("by-name", "mailHost: node-b"),
        ("by-case", "mailHost: NODE-B"),
        ("by-address", &format!("mailHost: {address}")),
        ("by-url", &format!("mailHost: {url}/ webmail of B")),
        // Both nodes are at this address: which one is meant cannot be known.
        ("by-host", "mailHost: 127.0.0.1"),
        ("several", "mailHost: elsewhere\nmailHost: node-b\nmailHost: node-a"),
        ("unknown", "mailHost: elsewhere"),
        ("none", "cn: none"),
    ]);
    let nodes = [("node-a", &a), ("node-b", &b)];
    let with_default = serve_file(&people, "default-backend = \"node-a\"", &nodes);
    let without = serve_file(&people, "", &nodes);
    for (name, status, node) in [
        ("by-name", 303, "node-b"),
        ("by-case", 303, "node-b"),
        ("by-address", 303, "node-b"),
        ("by-url", 303, "node-b"),
        ("several", 303, "node-b"),
        ("by-host", 503, ""),
        ("unknown", 503, ""),
    ] {
        for proxy in [&with_default, &without] {
            let before = (a.hits().len(), b.hits().len());
            assert_eq!(log_in(proxy, name, &format!("{name}-secret")).status, status, "{name}");
            let asked = (a.hits().len() > before.0, b.hits().len() > before.1);
            assert_eq!(asked, (node == "node-a", node == "node-b"), "{name}");
        }
    }
    assert_eq!(log_in(&with_default, "none", "none-secret").status, 303);
    assert_eq!(log_in(&without, "none", "none-secret").status, 503);
    for name in ["by-name", "unknown", "none", "nobody"] {
        assert_eq!(log_in(&without, name, "wrong").status, 403, "{name}: who has no password learns nothing");
    }
}

#[test]
fn a_file_tells_problems_only_to_who_has_the_password() {
    let a = inbox();
    let people = ldif(&[
        ("locked", "mailHost: node-a\npwdAccountLockedTime: 000001010000Z"),
        ("reset", "mailHost: node-a\npwdReset: TRUE"),
    ]);
    for mode in ["ldap-bind", "ldap-password"] {
        let proxy = serve_file(&people, &format!("[authentication]\nmode = \"{mode}\""), &[("node-a", &a)]);
        for (name, text) in [("locked", "Your account is locked."), ("reset", "You have to change your password")] {
            let page = log_in(&proxy, name, &format!("{name}-secret"));
            assert!(page.status == 403 && page.text().contains(text), "{}", page.text());
            assert!(log_in(&proxy, name, "wrong").text().contains("is not right"));
        }
    }
}

#[test]
fn a_changed_file_is_live_and_a_broken_one_leaves_the_old() {
    let a = inbox();
    let proxy = serve_file(&ldif(&[("alice", "mailHost: node-a")]), "", &[("node-a", &a)]);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    assert_eq!(log_in(&proxy, "bob", "bob-secret").status, 403);
    let from = proxy.log().len();
    proxy.write("people.ldif", "dn: uid=bob\nnonsense\n");
    proxy.wait_for_log_after(from, "people.ldif: line 2", SOON);
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
    proxy.write("people.ldif", ldif(&[("bob", "mailHost: node-a")]));
    let started = Instant::now();
    while log_in(&proxy, "bob", "bob-secret").status != 303 {
        assert!(started.elapsed() < SOON, "the new file is not live");
    }
    assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 403);
}

#[test]
fn a_map_stands_before_the_directory_and_is_live_when_it_changes() {
    let (a, b) = (inbox(), inbox());
    let nodes = [("node-a", &a), ("node-b", &b)];
    let people = ldif(&[("alice", "mailHost: node-b"), ("bob", "mailHost: node-b"), ("carol", "cn: carol")]);
    let text = "[directory]\nfile = \"people.ldif\"\nmap = \"routes.map\"";
    let map = "# who is where\nAlice node-a\n/c.*/ node-a\nghost node-a\n";
    let proxy = setup().file("people.ldif", &people).file("routes.map", map).serve(&file_config(text, &nodes));
    let goes_to = |proxy: &Proxy, name: &str| {
        let before = (a.hits().len(), b.hits().len());
        let status = log_in(proxy, name, &format!("{name}-secret")).status;
        (status, a.hits().len() > before.0, b.hits().len() > before.1)
    };
    assert_eq!(goes_to(&proxy, "alice"), (303, true, false));
    assert_eq!(goes_to(&proxy, "bob"), (303, false, true));
    assert_eq!(goes_to(&proxy, "carol"), (303, true, false));
    assert_eq!(goes_to(&proxy, "ghost"), (403, false, false), "without an entry there is no password to check");
    let from = proxy.log().len();
    proxy.write("routes.map", "alice node-a\n\nbob node-x\n");
    proxy.wait_for_log_after(from, "routes.map:3.*node-x", SOON);
    assert_eq!(goes_to(&proxy, "carol"), (303, true, false));
    proxy.write("routes.map", "bob node-a\n");
    let started = Instant::now();
    while goes_to(&proxy, "bob") != (303, true, false) {
        assert!(started.elapsed() < SOON, "the new map is not live");
    }
    // Where only the node checks, the map alone is enough.
    let text = format!("{text}\n[authentication]\nmode = \"back-end\"");
    let proxy = setup().file("people.ldif", &people).file("routes.map", map).serve(&file_config(&text, &nodes));
    assert_eq!(goes_to(&proxy, "ghost"), (303, true, false));
    assert_eq!(goes_to(&proxy, "nobody"), (403, false, false));
}

#[test]
fn a_reload_drops_no_connection_and_forgets_no_user_but_where_it_changes_how_the_directory_is_asked() {
    let (node, server, certs) = (inbox(), LdapServer::start(people), Certs::new());
    let pair = || {
        let pair = certs.server(&["mail.test"]);
        [pair.chain, pair.key].map(|path| std::fs::read(path).expect("a PEM file"))
    };
    let secure = "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\n\
                  certificates = [{ names = [\"mail.test\"], chain = \"a.pem\", key = \"a.key\" }]\n";
    let text = config(&[&server], &format!("route-negative-lifetime = \"600s\"\n{secure}"), &node);
    let text = text.replace("min = 2\nmax = 2", "min = 1\nmax = 1");
    let [chain, key] = pair();
    let files = setup().file("bind.secret", "service-secret\n").file("other.secret", "other-secret\n");
    let proxy = files.file("a.pem", chain).file("a.key", key).serve(&text);
    let ask = || {
        assert_eq!(log_in(&proxy, "alice", "alice-secret").status, 303);
        assert_eq!(log_in(&proxy, "nobody", "x").status, 403);
        (server.accepted(), searches(&server))
    };
    let reload = |text: &str| {
        let before = proxy.status()["generation"].clone();
        proxy.write("doorward.toml", text);
        assert_eq!(proxy.admin("POST", "/reload").0, 200);
        assert_ne!(proxy.status()["generation"], before);
    };
    assert_eq!(ask(), (2, 2), "one for searches and one for users' binds");
    let [chain, key] = pair();
    proxy.write("a.pem", chain);
    proxy.write("a.key", key);
    reload(&text);
    assert_eq!(ask(), (2, 3), "a search for her, and none for nobody");
    reload(&text.replace("bind-dn", "timeout = \"9s\"\nbind-dn"));
    assert_eq!(ask(), (2, 4));
    let exposed = text.replace("bind-dn", "exposed-attributes = [\"mail\"]\nbind-dn");
    reload(&exposed);
    assert_eq!(ask(), (2, 6), "nobody is asked for once more, on the same connections");
    reload(&exposed.replace("uid=service", "uid=other").replace("bind.secret", "other.secret"));
    assert_eq!(ask(), (4, 8), "somebody else asks, on connections of his own");
}
