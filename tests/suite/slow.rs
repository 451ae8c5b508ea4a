//! Clients that are slow on purpose, by slowhttptest: they do not stop anybody else.

use std::process::{Command, Stdio};
use std::time::Duration;

use harness::Answer;

use crate::support::{config, log_in, setup, webmail};

/// More connections than workers could ever hold up one by one.
const CONNECTIONS: &str = "400";

fn others_are_served(attack: &[&str]) {
    let node = webmail(|_| Answer::text("served"));
    let listener = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nidle-timeout = \"5s\"\n\
        [listener.limits]\nmax-connections = 0\nmax-interval-connections = 0\npeer-max-connections = 0\n\
        peer-max-interval-connections = 0\n[http]\nheader-timeout = \"2s\"\nbody-timeout = \"2s\"\n";
    let proxy = setup().serve(&config(listener, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice").timeout(Duration::from_secs(10));
    let url = format!("http://{}/", client.address());
    let mut slow = Command::new("slowhttptest")
        .args(attack)
        .args(["-c", CONNECTIONS, "-r", CONNECTIONS, "-l", "6", "-u", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("slowhttptest (tests/run packages)");
    let mut served = 0;
    while slow.try_wait().expect("a child").is_none() {
        assert_eq!(client.get("/x").expect(200).text(), "served");
        served += 1;
    }
    assert!(served > 0);
    assert_eq!(client.get("/x").expect(200).text(), "served");
}

#[test]
fn slow_heads_stop_nobody_else() {
    others_are_served(&["-H", "-i", "1"]);
}

#[test]
fn slow_bodies_stop_nobody_else() {
    others_are_served(&["-B", "-i", "1"]);
}

#[test]
fn slow_readers_stop_nobody_else() {
    others_are_served(&["-X", "-n", "1", "-w", "1", "-y", "8", "-z", "1", "-k", "3"]);
}
