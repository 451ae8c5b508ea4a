//! Connections to nodes that are used again: never with another's answer, and tried once more where nobody can tell.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use harness::{Answer, Backend, Client, Request};

use crate::support::{config, log_in, proxy, setup, webmail};

const SOON: Duration = Duration::from_secs(10);
/// Each worker has connections of its own; with one, it is known which is used again.
const ONE_WORKER: &str = "[threads]\nmax = 1\n";

/// Answers each connection's first request, and closes when a second one comes.
fn closes_when_used_again() -> Backend {
    let seen: Mutex<HashMap<usize, usize>> = Mutex::default();
    Backend::start(crate::support::logins(move |request| {
        let mut seen = seen.lock().expect("a script that does not panic");
        let count = seen.entry(request.seen.connection).or_default();
        *count += 1;
        // The login came first on the first connection.
        if *count > usize::from(request.seen.connection > 1) { Answer::close() } else { Answer::text("fine") }
    }))
}

#[test]
fn a_request_without_a_body_is_tried_once_more_when_a_kept_connection_fails() {
    for (method, tries, status) in [("GET", 2, 200), ("DELETE", 2, 200), ("POST", 1, 502)] {
        let node = closes_when_used_again();
        let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
        let answer = log_in(&proxy, "alice").send(Request::new(method, "/x"));
        assert_eq!(answer.status, status, "{method}");
        assert_eq!(node.hits().iter().filter(|seen| seen.target == "/x").count(), tries, "{method}");
    }
}

#[test]
fn a_request_with_a_body_is_sent_once() {
    let node = closes_when_used_again();
    let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
    let answer = log_in(&proxy, "alice").send(Request::new("PUT", "/x").body("a draft"));
    assert_eq!(answer.status, 502);
    assert_eq!(node.hits().iter().filter(|seen| seen.target == "/x").count(), 1);
}

#[test]
fn nothing_is_tried_twice_on_a_new_connection() {
    let node = webmail(|_| Answer::close().closing());
    let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    assert_eq!(client.get("/x").status, 502);
    // Once on the connection of the login, and once on a new one; then no connection is kept.
    assert_eq!(node.hits().len(), 3);
    assert_eq!(client.get("/x").status, 502);
    assert_eq!(node.hits().len(), 4);
}

/// Answers, and then leaves the connection open without reading on.
fn answer_and_stay(bytes: String) -> Answer {
    Answer::script(move |line| {
        std::io::Write::write_all(line, bytes.as_bytes())?;
        std::io::Write::flush(line)?;
        std::io::copy(line, &mut std::io::sink()).map(drop)
    })
    .early()
}

fn text(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn an_answer_before_the_end_of_the_request_ends_the_connection() {
    let node = webmail(|request| match request.what().1 {
        "/early" => answer_and_stay(text("early")),
        _ => Answer::text("later"),
    });
    let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let session = client.cookie("doorward").expect("a session").to_owned();
    let mut connection = proxy.client().connect();
    let head = format!("POST /early HTTP/1.1\r\nHost: x\r\nCookie: doorward={session}\r\nContent-Length: 10\r\n\r\n");
    connection.write(head + "half.");
    assert_eq!(connection.read_response("POST").expect("an answer").text(), "early");
    node.wait_for_open(0, SOON);
    assert_eq!(client.get("/x").text(), "later");
}

#[test]
fn bytes_behind_an_answer_are_nobodys_answer() {
    let node = webmail(|request| match request.what().1 {
        "/surplus" => answer_and_stay(text("mine") + &text("poison")),
        _ => Answer::text("mine too"),
    });
    let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    for _ in 0..20 {
        assert_eq!(client.get("/surplus").text(), "mine");
        assert_eq!(client.get("/x").text(), "mine too");
    }
}

#[test]
fn answers_that_are_badly_framed_are_told_and_end_the_connection() {
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX y: z\r\n\r\n",
    ] {
        let node = webmail(move |_| answer_and_stay(broken.to_owned()));
        let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
        assert_eq!(log_in(&proxy, "alice").get("/x").status, 502, "{broken:?}");
        node.wait_for_open(0, SOON);
        assert_eq!(node.hits().len(), 2, "{broken:?}");
    }
}

#[test]
fn an_answer_that_ends_early_is_never_a_whole_one() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf of it",
    ] {
        let node = webmail(move |_| Answer::raw(half));
        let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
        assert!(log_in(&proxy, "alice").try_send(Request::new("GET", "/x")).is_err(), "{half:?}");
        node.wait_for_open(0, SOON);
    }
}

#[test]
fn the_head_of_an_answer_is_bounded() {
    let node = webmail(|_| {
        Answer::script(|line| {
            std::io::Write::write_all(line, b"HTTP/1.1 200 OK\r\n")?;
            // 1 MiB of headers; the proxy gives up before.
            for n in 0..1024 {
                std::io::Write::write_all(line, format!("X-{n}: {}\r\n", "x".repeat(1016)).as_bytes())?;
            }
            std::io::Write::write_all(line, b"\r\n")
        })
    });
    let proxy = proxy(ONE_WORKER, &[("node-a", &node, "")]);
    assert_eq!(log_in(&proxy, "alice").get("/x").status, 502);
    node.wait_for_open(0, SOON);
}

/// 50 users ask 4 nodes in parallel, each node's connections are shared by all of its users, and now and then
/// something goes wrong on one. An answer that is none is allowed; another's answer is not.
#[test]
fn no_user_ever_gets_the_answer_of_another() {
    let nodes: Vec<Backend> = (0..4).map(|_| webmail(echo)).collect();
    let users: Vec<String> = (0..50).map(|n| format!("user{n}")).collect();
    let people: String = (users.iter().enumerate())
        .map(|(n, name)| {
            let node = n % nodes.len();
            format!("dn: uid={name},dc=test\nuid: {name}\nmailHost: node-{node}\nuserPassword: {name}-secret\n\n")
        })
        .collect();
    let listener = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n[listener.limits]\n\
        max-connections = 0\nmax-interval-connections = 0\npeer-max-connections = 0\npeer-max-interval-connections = 0\n";
    let names: Vec<String> = (0..nodes.len()).map(|n| format!("node-{n}")).collect();
    let nodes: Vec<(&str, &Backend, &str)> =
        names.iter().zip(&nodes).map(|(name, node)| (name.as_str(), node, "")).collect();
    let proxy = setup().file("people.ldif", people).serve(&config(listener, &nodes));
    let threads: Vec<_> = users
        .into_iter()
        .map(|user| {
            let client = log_in(&proxy, &user);
            thread::spawn(move || work(client, &user))
        })
        .collect();
    let answered: usize = threads.into_iter().map(|thread| thread.join().expect("only own answers")).sum();
    assert!(answered > 50 * 30, "{answered} requests were answered");
}

/// The size of a body that is on its way for a while.
const DRAFT: usize = 60_000;

/// Says who the node was told is there, in one of several ways.
fn echo(request: &mut harness::Incoming<'_>) -> Answer {
    let cookies = request.seen.header("cookie").unwrap_or_default();
    let user = cookies.split("; ").find_map(|pair| pair.strip_prefix("sid=")).unwrap_or_default();
    match request.what().1 {
        "/early" => {
            let answer = text(user);
            // Answers first, and then reads what it was sent.
            Answer::script(move |line| {
                std::io::Write::write_all(line, answer.as_bytes())?;
                std::io::Read::read_exact(line, &mut vec![0; DRAFT / 2])
            })
            .early()
        }
        "/surplus" => answer_and_stay(text(user) + &text("surplus")),
        _ => Answer::text(user),
    }
}

fn work(mut client: Client, user: &str) -> usize {
    let session = client.cookie("doorward").expect("a session").to_owned();
    let mut answered = 0;
    for turn in 0..40 {
        let answer = match turn % 10 {
            3 => {
                // Leaves before the answer comes.
                let mut connection = client.connect();
                let cookies = format!("Cookie: doorward={session}; sid={user}\r\n");
                connection.write(format!("GET /echo HTTP/1.1\r\nHost: x\r\n{cookies}\r\n"));
                connection.reset();
                continue;
            }
            5 => client.try_send(Request::new("POST", "/early").body(vec![b'x'; DRAFT])),
            7 => client.try_send(Request::new("GET", "/surplus")),
            _ => client.try_send(Request::new("GET", "/echo")),
        };
        if let Ok(answer) = answer
            && answer.status == 200
        {
            assert_eq!(answer.text(), user, "turn {turn}");
            answered += 1;
        }
    }
    answered
}
