//! One user never takes a node away from the others, and nobody does by being slow: shares of places, and what is read ahead.

use std::time::Duration;

use harness::{Answer, Backend, Client, Connection, Proxy};

use crate::support::{config, log_in, setup, webmail};

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
const LARGE: usize = 10 << 20;

/// A node with eight places in front of which these people have sessions. What is not `/big` is small.
fn start(http: &str, size: usize) -> (Backend, Proxy) {
    let node = webmail(move |request| match request.what().1 {
        "/big" => Answer::text("x".repeat(size)),
        _ => Answer::text(format!("{} bytes", request.body().len())),
    });
    let people = NAMES
        .map(|name| format!("dn: uid={name},dc=test\nuid: {name}\nmailHost: node-a\nuserPassword: {name}-secret\n\n"));
    let text = config(
        &format!("[admin]\nsocket = \"admin.sock\"\n{http}"),
        &[("node-a", &node, "max-connections = 8\nqueue-max-size = 8\nqueue-timeout = \"1h\"\n")],
    );
    let proxy = setup().file("people.ldif", people.concat()).serve(&text);
    (node, proxy)
}

/// Begins a request on a connection of its own, and reads nothing of its answer.
fn begin(client: &mut Client, request: &str, rest: &str) -> Connection {
    let session = client.cookie("doorward").expect("a session").to_owned();
    let mut connection = client.connect();
    connection.write(format!("{request} HTTP/1.1\r\nHost: a.test\r\nCookie: doorward={session}\r\n{rest}"));
    connection
}

fn inside(status: &serde_json::Value) -> (u64, u64) {
    let backend = &status["backends"][0];
    (backend["requests"].as_u64().expect("a number"), backend["waiting"].as_u64().expect("a number"))
}

/// So much that no kernel keeps it all.
const HUGE: usize = 32 << 20;

#[test]
fn who_reads_nothing_has_a_share_of_the_places_and_others_are_answered() {
    let (_node, proxy) = start("[http]\nread-ahead-size = \"0B\"", HUGE);
    let (mut alice, mut bob) = (log_in(&proxy, "alice"), log_in(&proxy, "bob"));
    let mut other_alice = log_in(&proxy, "alice");
    let begun: Vec<_> = (0..5).map(|_| begin(&mut alice, "GET /big", "\r\n")).collect();
    let more: Vec<_> = (0..5).map(|_| begin(&mut other_alice, "GET /big", "\r\n")).collect();
    proxy.wait_for_status("all but a share wait", |status| inside(status) == (2, 8));
    assert_eq!(alice.get("/x").status, 503, "nobody more of hers may wait");
    for _ in 0..20 {
        assert_eq!(bob.get("/x").status, 200);
    }
    drop((begun, more));
    proxy.wait_for_status("who leaves leaves everything", |status| inside(status) == (0, 0));
}

#[test]
fn who_sends_slowly_has_a_share_of_the_places_and_others_are_answered() {
    let (_node, proxy) = start("", LARGE);
    let (mut alice, mut bob) = (log_in(&proxy, "alice"), log_in(&proxy, "bob"));
    let _begun: Vec<_> = (0..10).map(|_| begin(&mut alice, "POST /up", "Content-Length: 1000\r\n\r\nabc")).collect();
    proxy.wait_for_status("all but a share wait", |status| inside(status) == (2, 8));
    for _ in 0..20 {
        assert_eq!(bob.get("/x").status, 200);
    }
}

#[test]
fn an_answer_that_fits_is_read_ahead_and_gives_its_place_back() {
    // More than a kernel keeps of a connection.
    let sizes = "read-ahead-size = \"16MiB\"\nread-ahead-user-size = \"32MiB\"\nread-ahead-total-size = \"1GiB\"";
    let (_node, proxy) = start(&format!("[http]\n{sizes}"), LARGE);
    let mut begun = Vec::new();
    for name in NAMES {
        let mut client = log_in(&proxy, name);
        begun.extend((0..2).map(|_| begin(&mut client, "GET /big", "\r\n")));
    }
    proxy.wait_for_status("no places are taken", |status| {
        inside(status) == (0, 0) && status["read-ahead"].as_u64().is_some_and(|bytes| bytes > 0)
    });
    for mut connection in begun {
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, LARGE));
    }
    proxy.wait_for_status("nothing is held", |status| status["read-ahead"] == 0);
}

#[test]
fn where_places_are_scarce_a_slow_upload_takes_none_before_it_is_there() {
    let (node, proxy) = start("", LARGE);
    let mut clients: Vec<Client> = NAMES.iter().map(|name| log_in(&proxy, name)).collect();
    let before = node.hits().len();
    let mut begun: Vec<Connection> = Vec::new();
    for client in &mut clients[..4] {
        begun.extend((0..2).map(|_| begin(client, "POST /up", "Content-Length: 6\r\n\r\nabc")));
    }
    // Half of the places are taken by the first that came; the others wait outside.
    node.wait_for_hits(before + 4, Duration::from_secs(10));
    proxy.wait_for_status("half of the places are taken", |status| inside(status) == (4, 0));
    assert_eq!(clients[4].get("/x").status, 200);
    for connection in &mut begun {
        connection.write("def");
    }
    for mut connection in begun {
        assert_eq!(connection.read_response("POST").expect("an answer").text(), "6 bytes");
    }
    let seen = node.hits();
    assert!(seen[before..].iter().filter(|hit| hit.method == "POST").all(|hit| hit.complete && hit.text() == "abcdef"));
}
