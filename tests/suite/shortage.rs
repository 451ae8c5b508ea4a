//! What this machine lacks is no fault of others: without descriptors no node is marked down, and all is well again when
//! there are some.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use harness::{Answer, Connection, Hold, Setup};

use crate::support::{PEOPLE, RECIPE, config, log_in, webmail};

const SOON: Duration = Duration::from_secs(30);

/// Doorward with so many open files at most, and a soft limit that is lower.
fn limited(setup: &Setup, soft: u32, hard: u32) -> Setup {
    let script = setup.dir().join("limited");
    let program = harness::binary();
    let text = format!("#!/bin/sh\nulimit -Sn {soft} && ulimit -Hn {hard} && exec '{}' \"$@\"\n", program.display());
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    Setup::with(script).file("people.ldif", PEOPLE).file("test.toml", RECIPE)
}

#[test]
fn without_descriptors_no_node_is_marked_down_and_all_is_well_afterwards() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |request| match request.what().1 {
        "/held" => Answer::text("held").after(&held),
        _ => Answer::text("served"),
    });
    let folder = Setup::new();
    let text = config("[threads]\nmax = 1\n[admin]\nsocket = \"admin.sock\"\n", &[("node-a", &node, "")]);
    let proxy = limited(&folder, 40, 80).serve(&text);
    proxy.wait_for_log("the limit of open files is raised.*limit=80", SOON);
    proxy.wait_for_log("connections that may need [0-9]* open files, where the hard limit is 80", SOON);
    let (mut alice, mut other) = (log_in(&proxy, "alice"), log_in(&proxy, "alice"));
    let before = node.hits().len();
    // The connection that was kept is in use.
    let session = other.cookie("doorward").expect("a session").to_owned();
    let mut one = other.connect();
    one.write(format!("GET /held HTTP/1.1\r\nHost: a.test\r\nCookie: doorward={session}\r\n\r\n"));
    node.wait_for_hits(before + 1, SOON);
    let idle: Vec<Connection> = (0..90).map(|_| other.connect()).collect();
    proxy.wait_for_log("a connection cannot be accepted", SOON);
    for _ in 0..5 {
        assert_eq!(alice.get("/x").status, 503);
    }
    drop(idle);
    let end = Instant::now() + SOON;
    while alice.get("/x").status != 200 {
        assert!(Instant::now() < end, "no descriptor came back");
    }
    let backend = &proxy.status()["backends"][0];
    assert_eq!((&backend["up"], &backend["downs"], &backend["failed-connects"]), (&true.into(), &0.into(), &0.into()));
    hold.release();
}
