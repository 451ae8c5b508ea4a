//! Worker threads: more under load, fewer without, and no connection lost by either.

use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Answer, Client};

use crate::support::{proxy, webmail};

#[test]
fn workers_come_and_go_and_every_connection_lives_on() {
    let node = webmail(|_| Answer::text("x"));
    let extra = "[admin]\nsocket = \"admin.sock\"\n\
        [threads]\nmin = 1\nmax = 3\ngrow-after = \"300ms\"\nshrink-after = \"300ms\"\n\
        [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
        [listener.limits]\npeer-max-connections = 0\npeer-max-interval-connections = 0\n";
    let proxy = proxy(extra, &[("node-a", &node, "")]);
    let accepting = |status: &serde_json::Value| status["threads"]["accepting"].as_u64().unwrap_or(0);
    proxy.wait_for_status("idle, it shrinks", |status| accepting(status) == 1);
    let mut kept: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    let ask = |clients: &mut [Client]| clients.iter_mut().for_each(|client| drop(client.get("/").expect(200)));
    ask(&mut kept);
    let (enough, address) = (AtomicBool::new(false), proxy.address("public"));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let enough = &enough;
            scope.spawn(move || {
                let mut client = Client::new(address);
                while !enough.load(Ordering::Relaxed) {
                    client.get("/").expect(200);
                }
                assert_eq!(client.opened(), 1);
            });
        }
        let grown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            proxy.wait_for_status("busy, it grows", |status| accepting(status) > 1);
        }));
        // Some of these are the new worker's.
        let mut more: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
        ask(&mut more);
        kept.extend(more);
        enough.store(true, Ordering::Relaxed);
        grown.expect("growth");
    });
    proxy.wait_for_status("idle again, it shrinks again", |status| accepting(status) == 1);
    ask(&mut kept);
    assert!(kept.iter().all(|client| client.opened() == 1), "every connection is the same as before");
    assert!(proxy.admin("GET", "/metrics").1.contains("doorward_workers{state=\"accepting\"} 1"));
    drop(kept);
    let gone = |status: &serde_json::Value| status["threads"]["retiring"] == 0;
    let status = proxy.wait_for_status("those that retired are gone", gone);
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(1), "{status}");
    proxy.client().get("/").expect(200);
}
