//! The bounded queue of a node: who waits, who is turned away at once, and who frees a place.

use std::thread;
use std::time::{Duration, Instant};

use harness::{Answer, Client, Hold};

use crate::support::{config, log_in, proxy, setup, webmail};

#[test]
fn one_over_the_queue_is_told_at_once_and_the_rest_are_served() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |_| Answer::text("served").after(&held));
    let admin = "[admin]\nsocket = \"admin.sock\"\n";
    let proxy = proxy(admin, &[("node-a", &node, "max-connections = 2\nqueue-max-size = 3\n")]);
    let clients: Vec<Client> = (0..6).map(|_| log_in(&proxy, "alice")).collect();
    let logins = node.hits().len();
    let mut clients = clients.into_iter();
    let mut waiting = Vec::new();
    let mut last_one = clients.next_back().expect("a client");
    for mut client in clients {
        waiting.push(thread::spawn(move || client.get("/x").status));
    }
    node.wait_for_hits(logins + 2, Duration::from_secs(10));
    let status = proxy.wait_for_status("three wait", |status| status["backends"][0]["waiting"] == 3);
    assert_eq!(status["backends"][0]["requests"], 2);
    let refused = last_one.get("/x");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(node.hits().len(), logins + 2, "those who wait are not at the node yet");
    hold.release();
    for one in waiting {
        assert_eq!(one.join().expect("a client"), 200);
    }
    assert_eq!(node.hits().len(), logins + 5);
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |request| {
        let answer = Answer::text("served");
        if request.what().1 == "/held" { answer.after(&held) } else { answer }
    });
    let proxy = proxy("", &[("node-a", &node, "max-connections = 1\nqueue-max-size = 0\n")]);
    let (first, mut second) = (log_in(&proxy, "alice"), log_in(&proxy, "alice"));
    let session = first.cookie("doorward").expect("a session").to_owned();
    let mut connection = proxy.client().connect();
    connection.write(format!("GET /held HTTP/1.1\r\nHost: x\r\nCookie: doorward={session}\r\n\r\n"));
    node.wait_for_hits(3, Duration::from_secs(10));
    assert_eq!(second.get("/x").status, 503);
    connection.reset();
    let started = Instant::now();
    while second.get("/x").status != 200 {
        assert!(started.elapsed() < Duration::from_secs(10), "the place was never given back");
    }
    hold.release();
}

#[test]
fn nobody_waits_longer_than_the_queue_timeout() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |_| Answer::text("served").after(&held));
    let settings = "max-connections = 1\nqueue-max-size = 5\nqueue-timeout = \"200ms\"\n";
    let proxy = proxy("", &[("node-a", &node, settings)]);
    let (mut first, mut second) = (log_in(&proxy, "alice"), log_in(&proxy, "alice"));
    let logins = node.hits().len();
    let one = thread::spawn(move || first.get("/x").status);
    node.wait_for_hits(logins + 1, Duration::from_secs(10));
    assert_eq!(second.get("/x").status, 503);
    hold.release();
    assert_eq!(one.join().expect("a client"), 200);
}

#[test]
fn whatever_changes_of_a_back_end_no_more_requests_are_at_it_than_may_be() {
    let holds: Vec<Hold> = (0..5).map(|_| Hold::new()).collect();
    let held = holds.clone();
    let node =
        webmail(move |request| match request.what().1.strip_prefix("/held/").and_then(|n| n.parse::<usize>().ok()) {
            Some(number) => Answer::text("served").after(&held[number]),
            None => Answer::text("served"),
        });
    let settings = "max-connections = 2\nuser-max-connections = 2\nqueue-max-size = 9\nqueue-timeout = \"1h\"\n";
    let text = config("[admin]\nsocket = \"admin.sock\"\n", &[("node-a", &node, settings)]);
    let proxy = setup().serve(&text);
    let clients: Vec<Client> = (0..5).map(|_| log_in(&proxy, "alice")).collect();
    let logins = node.hits().len();
    let is_so = |requests: u64, waiting: u64| {
        proxy.wait_for_status("so many are there and wait", |status| {
            (&status["backends"][0]["requests"], &status["backends"][0]["waiting"])
                == (&requests.into(), &waiting.into())
        });
    };
    let reload = |text: String| {
        proxy.write("doorward.toml", text);
        assert_eq!(proxy.admin("POST", "/reload").0, 200);
    };
    let mut answers = Vec::new();
    for (number, mut client) in (0_u64..).zip(clients) {
        answers.push(thread::spawn(move || client.get(&format!("/held/{number}")).status));
        is_so((number + 1).min(2), (number + 1).saturating_sub(2));
    }
    reload(text.replace("queue-max-size", "rw-timeout = \"390s\"\nqueue-max-size"));
    is_so(2, 3);
    assert_eq!(node.hits().len(), logins + 2, "they have not left the gate");
    reload(text.replace("max-connections = 2", "max-connections = 1"));
    holds[0].release();
    is_so(1, 3);
    assert_eq!(node.hits().len(), logins + 2, "the place that came free is withheld");
    holds[1].release();
    node.wait_for_hits(logins + 3, Duration::from_secs(10));
    is_so(1, 2);
    reload(text.replace("max-connections = 2", "max-connections = 3"));
    node.wait_for_hits(logins + 5, Duration::from_secs(10));
    is_so(3, 0);
    holds.iter().for_each(Hold::release);
    assert!(answers.into_iter().all(|one| one.join().expect("a client") == 200));
}
