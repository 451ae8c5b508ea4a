//! How each exchange ended, as its access line tells it: whole, or by whose fault not.

use std::time::Duration;

use harness::{Answer, Backend, Client, Connection, Proxy};

use crate::support::{config, log_in, setup, wait_for_file, webmail};

const LONG: Duration = Duration::from_secs(60);

/// A node whose answers come whole, in part, or never.
pub(crate) fn node() -> Backend {
    webmail(|request| match request.what().1 {
        // More than any buffer on its way.
        "/big" => Answer::text("x".repeat(32 << 20)),
        "/half" => Answer::half("x".repeat(1000), 2000),
        "/cut" => Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        "/hangs" => Answer::hang(),
        "/stalls" => Answer::script(|line| {
            line.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")?;
            line.flush()?;
            line.read_to_end(&mut Vec::new()).map(drop)
        }),
        "/socket" => Answer::echo_upgrade("websocket"),
        "/echo" => {
            let body = request.body().to_vec();
            Answer::new(200, body)
        }
        _ => Answer::text("inbox"),
    })
}

/// A field of the one access line of a path.
#[track_caller]
pub(crate) fn field(log: &str, path: &str, name: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&format!(" path={path} "))).collect();
    assert_eq!(lines.len(), 1, "{path}: {log}");
    let value = lines[0].split(&format!(" {name}=")).nth(1).and_then(|rest| rest.split(' ').next());
    value.unwrap_or_else(|| panic!("{name}: {log}")).to_owned()
}

/// Waits for the access line of a path: how it ended, its status, and what was sent.
#[track_caller]
pub(crate) fn ended(proxy: &Proxy, path: &str) -> (String, String, u64) {
    let log = wait_for_file(&proxy.dir().join("access.log"), |text| text.contains(&format!(" path={path} ")));
    let sent = field(&log, path, "sent").parse().expect("a number");
    (field(&log, path, "ended"), field(&log, path, "status"), sent)
}

fn front(node: &Backend, settings: &str, listener: &str) -> Proxy {
    let text = config(
        &format!("{settings}\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\""),
        &[("node-a", node, "rw-timeout = \"3s\"")],
    );
    setup().serve(&text.replace("address = \"127.0.0.1:0\"\n", &format!("address = \"127.0.0.1:0\"\n{listener}\n")))
}

fn ask(client: &mut Client, request: &str, rest: &str) -> Connection {
    let session = client.cookie("doorward").expect("a session").to_owned();
    let mut connection = client.connect();
    connection.write(format!("{request} HTTP/1.1\r\nHost: a.test\r\nCookie: doorward={session}\r\n{rest}\r\n"));
    connection
}

#[test]
fn a_whole_exchange_says_so_and_counts_both_ways() {
    let node = node();
    let proxy = front(&node, "", "");
    let mut client = log_in(&proxy, "alice");
    client.post_form("/echo", &[("a", "12345")]).expect(200);
    assert_eq!(ended(&proxy, "/echo"), ("whole".to_owned(), "200".to_owned(), 7));
    let log = std::fs::read_to_string(proxy.dir().join("access.log")).expect("a log");
    for (name, value) in [
        ("received", "7"),
        ("protocol", "HTTP/1.1"),
        ("tls", "-"),
        ("listener", "public"),
        ("site", "*"),
        ("user", "alice"),
        ("node", "node-a"),
        ("queue_ms", "0"),
    ] {
        assert_eq!(field(&log, "/echo", name), value, "{name}");
    }
    let form: u64 = log
        .lines()
        .find(|line| line.contains("method=POST path=/.doorward/login"))
        .and_then(|line| line.split(" received=").nth(1)?.split(' ').next()?.parse().ok())
        .expect("the login's own line");
    assert!(form > 20, "its form came in: {log}");
    // An answer without a body is whole too.
    client.send(harness::Request::new("HEAD", "/head")).expect(200);
    assert_eq!(ended(&proxy, "/head").0, "whole");
}

#[test]
fn a_node_that_breaks_off_is_told_apart_from_one_that_falls_silent() {
    let node = node();
    let proxy = front(&node, "", "");
    let mut client = log_in(&proxy, "alice");
    for (path, by, sent) in [("/half", "node", 1000), ("/cut", "node", 3), ("/stalls", "timeout", 10)] {
        ask(&mut client, &format!("GET {path}"), "").read_to_end();
        assert_eq!(ended(&proxy, path), (by.to_owned(), "200".to_owned(), sent), "{path}");
    }
    // A node that does not begin is answered for.
    client.get("/hangs").expect(504);
    assert_eq!(ended(&proxy, "/hangs").0, "whole");
}

#[test]
fn a_client_that_leaves_is_told_apart_from_one_that_is_too_slow() {
    let node = node();
    let proxy = front(&node, "", "idle-timeout = \"1s\"");
    let mut client = log_in(&proxy, "alice");
    let mut leaving = ask(&mut client, "GET /big", "");
    leaving.read_some().expect("bytes");
    leaving.reset();
    let (by, status, sent) = ended(&proxy, "/big");
    assert_eq!((by.as_str(), status.as_str()), ("client", "200"));
    assert!(sent < 32 << 20, "{sent}");
    std::fs::write(proxy.dir().join("access.log"), "").expect("a file");
    let _slow = ask(&mut client, "GET /big", "");
    assert_eq!(ended(&proxy, "/big").0, "timeout");
    // Before there was an answer.
    let hits = node.hits().len();
    let leaving = ask(&mut client, "GET /hangs", "");
    node.wait_for_hits(hits + 1, LONG);
    drop(leaving);
    let (by, status, sent) = ended(&proxy, "/hangs");
    assert_eq!((by.as_str(), status.as_str(), sent), ("client", "0", 0));
}

#[test]
fn the_drain_deadline_is_to_blame_for_what_it_ends() {
    let node = node();
    let text = config(
        "drain-timeout = \"300ms\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"",
        &[("node-a", &node, "")],
    );
    let mut proxy = setup().serve(&text);
    let mut client = log_in(&proxy, "alice");
    let hits = node.hits().len();
    let mut stalls = ask(&mut client, "GET /stalls", "");
    stalls.read_some().expect("bytes");
    let _hangs = ask(&mut client, "GET /hangs", "");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n";
    let mut socket = ask(&mut client, "GET /socket", upgrade);
    assert_eq!(socket.read_response("GET").expect("an answer").status, 101);
    socket.write("ping");
    socket.read_some().expect("bytes");
    node.wait_for_hits(hits + 3, LONG);
    assert!(proxy.terminate().success());
    for (path, status, sent) in [("/stalls", "200", 10), ("/hangs", "0", 0), ("/socket", "101", 4)] {
        assert_eq!(ended(&proxy, path), ("drain".to_owned(), status.to_owned(), sent), "{path}");
    }
    let log = std::fs::read_to_string(proxy.dir().join("access.log")).expect("a log");
    assert_eq!(field(&log, "/socket", "received"), "4", "a tunnel counts both ways");
}
