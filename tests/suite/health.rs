//! Nodes that go away and come back: what their users see, and what the operator sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Hold, Proxy, Request};

use crate::support::{ADMIN, PEOPLE, backend, config, log_in, logins, post_login, proxy, setup, webmail};

const SOON: Duration = Duration::from_secs(15);
const PROBES: &str = "[backend.health]\npath = \"/up\"\ninterval = \"100ms\"\nrise = 2\nfall = 2\n";

fn fine() -> impl Fn(&mut harness::Incoming<'_>) -> Answer + Send + Sync + 'static {
    logins(|_| Answer::text("fine"))
}

fn is_up(status: &serde_json::Value, index: usize) -> bool {
    status["backends"][index]["up"] == true
}

fn wait_until_up(proxy: &Proxy, up: bool) {
    proxy.wait_for_status("the node's state", |status| is_up(status, 0) == up);
}

#[test]
fn users_of_a_node_that_went_away_are_told_at_once_and_served_when_it_is_back() {
    let node = Backend::start(fine());
    let address = node.address().to_string();
    let settings = "[backend.health]\nfailures = 2\npause = \"50ms\"\n";
    let proxy = proxy(ADMIN, &[("node-a", &node, settings)]);
    let mut client = log_in(&proxy, "alice");
    drop(node);
    for _ in 0..2 {
        let page = client.get("/x");
        assert_eq!((page.status, page.header("retry-after")), (503, Some("5")));
        assert!(page.text().contains("<meta http-equiv=\"refresh\" content=\"5\">"), "{}", page.text());
    }
    proxy.wait_for_log("a node is down .*node-a", SOON);
    wait_until_up(&proxy, false);
    let page = client.send(Request::new("POST", "/x").body("a draft"));
    assert_eq!(page.status, 503);
    assert!(!page.text().contains("http-equiv=\"refresh\""), "what was sent is not to be asked for again");
    let metrics = proxy.admin("GET", "/metrics").1;
    assert!(metrics.contains("doorward_backend_up{backend=\"node-a\"} 0"), "{metrics}");
    let _node = Backend::start_at(&address, None, fine());
    let started = Instant::now();
    while client.get("/x").status != 200 {
        assert!(started.elapsed() < SOON, "the node is back and not used");
    }
    proxy.wait_for_log("a node is up again .*node-a", SOON);
    wait_until_up(&proxy, true);
}

#[test]
fn only_the_first_requests_wait_for_a_node_that_does_not_answer_a_connect() {
    // A listener whose queue is full lets connects hang; the kernel holds one or two beyond the backlog.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("a listening socket");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let mut fillers = Vec::new();
    while let Ok(filler) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        fillers.push(filler);
    }
    let settings = "connect-timeout = \"300ms\"\n[backend.health]\nfailures = 1\npause = \"1h\"\n";
    let text = format!("{}{}", config(ADMIN, &[]), backend("node-a", &format!("http://{address}"), settings));
    let proxy = setup().serve(&text);
    let page = post_login(&mut proxy.client(), "/", "alice", "alice-secret");
    assert_eq!(page.status, 503);
    wait_until_up(&proxy, false);
    let failed = proxy.status()["backends"][0]["failed-connects"].clone();
    for _ in 0..20 {
        assert_eq!(post_login(&mut proxy.client(), "/", "alice", "alice-secret").status, 503);
    }
    assert_eq!(proxy.status()["backends"][0]["failed-connects"], failed, "nobody tried again");
}

#[test]
fn probes_mark_a_node_down_and_bring_it_up() {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let node = Backend::start(logins(move |request| match request.what().1 {
        "/up" => Answer::text("as I am").status(told.load(Ordering::Relaxed)),
        _ => Answer::text("fine"),
    }));
    let proxy = proxy(ADMIN, &[("node-a", &node, PROBES)]);
    let mut client = log_in(&proxy, "alice");
    client.get("/x").expect(200);
    status.store(500, Ordering::Relaxed);
    proxy.wait_for_log("a node is down .*the probe is answered 500", SOON);
    let hits = || node.hits().iter().filter(|seen| seen.target == "/x").count();
    let before = hits();
    client.get("/x").expect(503);
    assert_eq!(hits(), before, "a node that is down is asked nothing");
    status.store(200, Ordering::Relaxed);
    proxy.wait_for_log("a node is up again", SOON);
    client.get("/x").expect(200);
    let probe = node.hits().into_iter().find(|seen| seen.target == "/up").expect("a probe");
    assert_eq!((probe.header("user-agent"), probe.header("x-forwarded-for")), (Some("doorward-probe"), None));
}

#[test]
fn a_node_that_takes_connections_and_says_nothing_is_found_by_probes() {
    let node = Backend::start(logins(|request| match request.what().1 {
        "/up" => Answer::hang(),
        _ => Answer::text("fine"),
    }));
    let proxy = proxy(ADMIN, &[("node-a", &node, &format!("{PROBES}timeout = \"100ms\"\n"))]);
    proxy.wait_for_log("a node is down .*the probe is not answered in time", SOON);
}

#[test]
fn nobody_waits_in_the_queue_of_a_node_that_went_down() {
    let (hold, status) = (Hold::new(), Arc::new(AtomicU16::new(200)));
    let (held, told) = (hold.clone(), Arc::clone(&status));
    let node = Backend::start(logins(move |request| match request.what().1 {
        "/up" => Answer::text("as I am").status(told.load(Ordering::Relaxed)),
        _ => Answer::text("late").after(&held),
    }));
    let settings = format!("max-connections = 1\nqueue-timeout = \"1h\"\n{PROBES}");
    let proxy = proxy(ADMIN, &[("node-a", &node, &settings)]);
    let (mut first, mut second) = (log_in(&proxy, "alice"), log_in(&proxy, "alice"));
    let first = thread::spawn(move || first.get("/x").status);
    proxy.wait_for_status("one is there", |status| status["backends"][0]["requests"] == 1);
    let second = thread::spawn(move || second.get("/x").status);
    proxy.wait_for_status("one waits", |status| status["backends"][0]["waiting"] == 1);
    status.store(500, Ordering::Relaxed);
    assert_eq!(second.join().expect("an answer"), 503);
    hold.release();
    assert_eq!(first.join().expect("an answer"), 200, "what was on its way comes");
}

#[test]
fn what_is_known_of_a_node_outlives_a_reload() {
    let node = Backend::start(logins(|_| Answer::text("no").status(500)));
    let text = config(ADMIN, &[("node-a", &node, PROBES)]);
    let proxy = setup().serve(&text);
    wait_until_up(&proxy, false);
    let downs = proxy.status()["backends"][0]["downs"].clone();
    proxy.write("doorward.toml", text.replace("[[backend]]", "[[backend]]\ndrain = true"));
    let status = proxy.wait_for_status("draining", |status| status["backends"][0]["draining"] == true);
    assert!(!is_up(&status, 0));
    assert_eq!(status["backends"][0]["downs"], downs);
}

#[test]
fn a_node_that_is_back_starts_slowly() {
    let status = Arc::new(AtomicU16::new(200));
    let (told, hold) = (Arc::clone(&status), Hold::new());
    let held = hold.clone();
    let node = Backend::start(logins(move |request| match request.what().1 {
        "/up" => Answer::text("as I am").status(told.load(Ordering::Relaxed)),
        _ => Answer::text("fine").after(&held),
    }));
    let settings = format!("max-connections = 20\nqueue-max-size = 0\nslow-start = \"1h\"\n{PROBES}");
    let proxy = proxy(ADMIN, &[("node-a", &node, &settings)]);
    let clients: Vec<_> = (0..3).map(|_| log_in(&proxy, "alice")).collect();
    status.store(500, Ordering::Relaxed);
    wait_until_up(&proxy, false);
    status.store(200, Ordering::Relaxed);
    wait_until_up(&proxy, true);
    let threads: Vec<_> =
        clients.into_iter().map(|mut client| thread::spawn(move || client.get("/x").status)).collect();
    // A tenth of 20 are let in, and the third is told to come again; only then the two are answered.
    proxy.wait_for_log("refusal=QueueFull", SOON);
    hold.release();
    let mut answers: Vec<u16> = threads.into_iter().map(|thread| thread.join().expect("a client")).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 503]);
}

#[test]
fn a_node_that_is_drained_keeps_its_users_and_takes_no_new_ones() {
    let (a, b) = (webmail(|_| Answer::text("at a")), webmail(|_| Answer::text("at b")));
    let extra = format!("default-backend = [\"node-a\", \"node-b\"]\n{ADMIN}");
    let text = config(&extra, &[("node-a", &a, ""), ("node-b", &b, "")]);
    let proxy = setup().serve(&text);
    let mut user = log_in(&proxy, "alice");
    let mut nomad = log_in(&proxy, "nomad");
    assert_eq!(nomad.get("/x").text(), "at a");
    proxy.write("doorward.toml", text.replacen("[[backend]]", "[[backend]]\ndrain = true", 1));
    proxy.wait_for_status("draining", |status| status["backends"][0]["draining"] == true);
    assert_eq!((user.get("/x").text(), nomad.get("/x").text()), ("at a".to_owned(), "at a".to_owned()));
    let page = post_login(&mut proxy.client(), "/", "alice", "alice-secret");
    assert_eq!((page.status, page.header("retry-after")), (503, Some("60")));
    assert!(page.text().contains("takes no new logins"), "{}", page.text());
    assert_eq!(log_in(&proxy, "nomad").get("/x").text(), "at b");
}

#[test]
fn a_user_whose_mailbox_moved_logs_in_again_when_the_old_node_is_away() {
    let (a, b) = (webmail(|_| Answer::text("at a")), webmail(|_| Answer::text("at b")));
    let proxy = proxy("", &[("node-a", &a, ""), ("node-b", &b, "")]);
    let (mut person, mut script) = (log_in(&proxy, "alice"), log_in(&proxy, "alice"));
    proxy.write("people.ldif", PEOPLE.replace("mailHost: node-a\nmailAuth", "mailHost: node-b\nmailAuth"));
    proxy.wait_for_log("reloaded", SOON);
    assert_eq!(person.get("/x").text(), "at a", "while the node is there it is asked");
    drop(a);
    assert_eq!(script.send(Request::new("GET", "/x").header("X-Requested-With", "XMLHttpRequest")).status, 401);
    let answer = person.get("/x");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/.doorward/login?moved")));
    let page = person.get("/.doorward/login?moved").expect(200).text();
    assert!(page.contains("Your mailbox has moved"), "{page}");
    assert_eq!(log_in(&proxy, "alice").get("/x").text(), "at b");
}

#[test]
fn a_node_that_is_down_gets_nothing_whatever_changes_and_of_another_one_behind_its_name_nothing_is_known() {
    let node = Backend::start(fine());
    let (address, other) = (node.address().to_string(), Backend::start(fine()));
    let text = config(ADMIN, &[("node-a", &node, "[backend.health]\nfailures = 1\npause = \"1h\"\n")]);
    let proxy = setup().serve(&text);
    let mut client = log_in(&proxy, "alice");
    drop(node);
    assert_eq!(client.get("/x").status, 503);
    wait_until_up(&proxy, false);
    let node = Backend::start_at(&address, None, fine());
    let reload = |text: &str| {
        proxy.write("doorward.toml", text);
        assert_eq!(proxy.admin("POST", "/reload").0, 200);
    };
    for keys in
        ["rw-timeout = \"390s\"", "max-connections = 7", "slow-start = \"1s\"", "aliases = [\"a\"]", "drain = true"]
    {
        reload(&text.replace("[[backend]]", &format!("[[backend]]\n{keys}")));
        assert_eq!(client.get("/x").status, 503, "{keys}");
    }
    reload(&text.replace("failures = 1", "failures = 2\nwindow = \"9s\""));
    assert_eq!((client.get("/x").status, node.accepted()), (503, 0));
    let generation = proxy.status()["generation"].clone();
    reload(&text.replace(&address, &other.address().to_string()));
    assert_eq!((client.get("/x").status, other.hits().len()), (200, 1));
    assert_eq!(proxy.admin("POST", &format!("/rollback?generation={generation}")).0, 200);
    assert_eq!((client.get("/x").status, node.hits().len()), (200, 1), "what was known of it is forgotten");
}
