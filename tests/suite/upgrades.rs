//! Connections that change to another protocol: only as asked for, only after the node agreed, only with a session.

use std::time::Duration;

use harness::{Answer, Backend, Client, Connection, Hold, Proxy};

use crate::support::{config, log_in, one_worker, setup, webmail};

const ASKS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A node that agrees to every upgrade that it sees, and echoes.
fn node() -> Backend {
    webmail(|request| match request.seen.header("upgrade") {
        Some(protocol) => Answer::echo_upgrade(protocol),
        None => Answer::text("plain"),
    })
}

fn ask(client: &mut Client, headers: &str, early: &str) -> Connection {
    let session = client.cookie("doorward").unwrap_or("none").to_owned();
    let mut connection = client.connect();
    connection.write(format!(
        "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: doorward={session}\r\n{headers}\r\n{early}"
    ));
    connection
}

fn read_exactly(connection: &mut Connection, expected: &str) {
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let some = connection.read_some().expect("bytes");
        assert!(!some.is_empty(), "the end after {read:?}");
        read.extend(some);
    }
    assert_eq!(String::from_utf8_lossy(&read), expected);
}

/// A tunnel that was agreed on.
fn tunnel(proxy: &Proxy) -> Connection {
    let mut connection = ask(&mut log_in(proxy, "alice"), ASKS, "");
    assert_eq!(connection.read_response("GET").expect("an answer").status, 101);
    connection.write("ping");
    read_exactly(&mut connection, "ping");
    connection
}

#[test]
fn a_websocket_goes_both_ways_and_loses_nothing_that_came_early() {
    let node = node();
    let access = "[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"";
    let proxy = one_worker(access, &[("node-a", &node, "")]);
    let early = "GET /not-http HTTP/1.1\r\n\0\n\n";
    let mut connection = ask(&mut log_in(&proxy, "alice"), ASKS, early);
    let answer = connection.read_response("GET").expect("an answer");
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    read_exactly(&mut connection, early);
    connection.write("more");
    read_exactly(&mut connection, "more");
    let hits = node.hits();
    assert_eq!(hits.len(), 2, "the login and the upgrade: {hits:?}");
    assert_eq!(hits[1].header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(hits[1].header("x-forwarded-for"), Some("127.0.0.1"));
    drop(connection);
    node.wait_for_open(0, Duration::from_secs(10));
}

#[test]
fn a_wish_behind_another_request_waits_for_its_own_answer() {
    let node = node();
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let session = client.cookie("doorward").expect("a session").to_owned();
    let request = format!("HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: doorward={session}\r\n");
    let mut connection = client.connect();
    connection.write(format!("GET /first {request}\r\nGET /socket {request}{ASKS}\r\n\0no http\n"));
    assert_eq!(connection.read_response("GET").expect("an answer").text(), "plain");
    assert_eq!(connection.read_response("GET").expect("an answer").status, 101);
    read_exactly(&mut connection, "\0no http\n");
}

#[test]
fn every_other_wish_is_dropped_and_the_request_goes_on_as_http() {
    let node = node();
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let websocket = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for asks in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n".to_owned(),
        format!("Upgrade: websocket\r\n{websocket}"),
        format!("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n{websocket}"),
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n{websocket}"),
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        ASKS.replace("13", "12"),
        ASKS.replace("dGhl", ""),
        format!("{ASKS}Sec-WebSocket-Version: 13\r\n"),
    ] {
        // What comes behind it is HTTP too, also when it came before the answer.
        let behind = format!(
            "GET /behind HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: doorward={}\r\n\r\n",
            client.cookie("doorward").expect("a session")
        );
        let mut connection = ask(&mut client, &asks, &behind);
        for _ in 0..2 {
            let answer = connection.read_response("GET").unwrap_or_else(|error| panic!("{asks}: {error}"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "plain"), "{asks}");
        }
        let hits = node.hits();
        let last = &hits[hits.len() - 2..];
        assert!(last.iter().all(|hit| hit.header("upgrade").is_none()), "{last:?}");
        assert_eq!(last[1].target, "/behind");
    }
}

#[test]
fn only_a_101_that_was_asked_for_makes_a_tunnel() {
    let switch = |headers: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{headers}\r\nGET /x HTTP/1.1\r\n\r\n");
    for (asks, answer, status) in [
        ("", switch("Connection: Upgrade\r\nUpgrade: websocket\r\n"), 502),
        (ASKS, switch("Connection: Upgrade\r\nUpgrade: h2c\r\n"), 502),
        (ASKS, switch("Upgrade: websocket\r\n"), 502),
        (ASKS, switch("Connection: Upgrade\r\n"), 502),
        (ASKS, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno".to_owned(), 426),
        (
            ASKS,
            "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            200,
        ),
    ] {
        let node = webmail(move |_| Answer::raw(answer.clone()));
        let proxy = one_worker("", &[("node-a", &node, "")]);
        let mut client = log_in(&proxy, "alice");
        let mut connection = ask(&mut client, asks, "");
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!(answer.status, status, "{answer:?}");
        // It is no tunnel: what is no HTTP is refused and not passed on.
        connection.write("\0\0\0\0\n");
        assert_eq!(connection.read_response("GET").expect("an answer").status, 400);
    }
}

#[test]
fn a_tunnel_needs_a_session() {
    let node = node();
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut connection = ask(&mut proxy.client(), &format!("{ASKS}Sec-Fetch-Dest: websocket\r\n"), "");
    assert_eq!(connection.read_response("GET").expect("an answer").status, 401);
    assert!(node.hits().is_empty());
}

#[test]
fn only_protocols_of_the_list_are_let_through() {
    let node = node();
    let extra = "[http]\nupgrades = [\"chat\"]";
    let proxy = one_worker(extra, &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    for (asks, status) in [(ASKS, 200), ("Connection: upgrade\r\nUpgrade: chat\r\n", 101)] {
        let answer = ask(&mut client, asks, "").read_response("GET").expect("an answer");
        assert_eq!(answer.status, status, "{asks}");
    }
    let refused = setup().refused(&config("[http]\nupgrades = [\"h2c\"]", &[("node-a", &node, "")]));
    assert!(refused.stderr.contains("h2c"), "{}", refused.stderr);
}

#[test]
fn a_silent_tunnel_ends() {
    let node = node();
    let proxy = one_worker("[http]\ntunnel-idle-timeout = \"300ms\"", &[("node-a", &node, "")]);
    tunnel(&proxy).read_end().expect("the end");
    node.wait_for_open(0, Duration::from_secs(10));
}

#[test]
fn a_tunnel_outlives_a_reload_and_holds_its_place_at_the_node() {
    let node = node();
    let settings = "max-connections = 1\nqueue-max-size = 1\nqueue-timeout = \"200ms\"";
    let proxy = one_worker("", &[("node-a", &node, settings)]);
    let mut client = log_in(&proxy, "alice");
    let mut open = tunnel(&proxy);
    assert_eq!(client.get("/x").status, 503, "the one place is taken");
    proxy.reload();
    open.write("still there");
    read_exactly(&mut open, "still there");
    drop(open);
    node.wait_for_open(0, Duration::from_secs(10));
    client.get("/x").expect(200);
}

#[test]
fn a_stopping_proxy_lets_a_tunnel_go_on_until_the_deadline() {
    let node = node();
    let mut proxy = one_worker(
        "drain-timeout = \"500ms\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"",
        &[("node-a", &node, "")],
    );
    let mut open = tunnel(&proxy);
    proxy.program().signal(rustix::process::Signal::TERM);
    proxy.wait_for_log("draining", Duration::from_secs(10));
    open.write("last words");
    read_exactly(&mut open, "last words");
    assert!(proxy.terminate().success());
    open.read_end().expect("the end");
    let log = std::fs::read_to_string(proxy.dir().join("access.log")).expect("a log");
    assert_eq!(log.lines().filter(|line| line.contains("path=/socket")).count(), 1, "{log}");
}

#[test]
fn a_client_that_leaves_before_the_node_agreed_frees_the_place() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |_| Answer::text("late").after(&held));
    let proxy = one_worker("[admin]\nsocket = \"admin.sock\"\n", &[("node-a", &node, "")]);
    let before = node.hits().len() + 1;
    let connection = ask(&mut log_in(&proxy, "alice"), ASKS, "");
    node.wait_for_hits(before + 1, Duration::from_secs(10));
    drop(connection);
    proxy.wait_for_status("the place is free", |status| status["backends"][0]["requests"] == 0);
    hold.release();
    node.wait_for_open(0, Duration::from_secs(10));
}

#[test]
fn a_session_that_is_over_takes_its_tunnel_along() {
    let node = node();
    let proxy = one_worker("[admin]\nsocket = \"admin.sock\"", &[("node-a", &node, "")]);
    let mut connection = tunnel(&proxy);
    assert_eq!(proxy.admin("POST", "/revoke?user=alice").0, 200);
    assert_eq!(connection.read_to_end(), b"");
}

#[test]
fn a_session_that_is_idle_takes_its_tunnel_along_and_one_that_is_used_does_not() {
    let node = node();
    let proxy = one_worker("[session]\nidle-timeout = \"5s\"", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let mut connection = ask(&mut client, ASKS, "");
    assert_eq!(connection.read_response("GET").expect("an answer").status, 101);
    // Longer than a session may be idle: its requests keep the tunnel, though nothing moves in it.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        client.get("/").expect(200);
        std::thread::yield_now();
    }
    connection.write("ping");
    read_exactly(&mut connection, "ping");
    assert_eq!(connection.read_to_end(), b"");
}
