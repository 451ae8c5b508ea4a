//! Clients behind a trusted proxy: limits count them, and not the proxy.

use std::time::Duration;

use harness::{Answer, Backend, Client, Proxy};

use crate::support::{config, proxy, setup, webmail};

fn inbox() -> Backend {
    webmail(|_| Answer::text("inbox"))
}

fn limited(node: &Backend, extra: &str) -> Proxy {
    let limits = "[http]\ntrusted-proxies = [\"127.0.0.1\"]\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n[listener.limits]\n";
    proxy(&format!("{limits}{extra}"), &[("node-a", node, "")])
}

fn of(proxy: &Proxy, client: &str) -> Client {
    proxy.client().header("X-Forwarded-For", client)
}

#[test]
fn a_balancer_is_no_peer_whoever_comes_by_it() {
    let proxy = limited(&inbox(), "peer-max-connections = 2\npeer-max-interval-connections = 3\n");
    // Each keeps its connection.
    let mut clients: Vec<_> = (1..=60).map(|n| of(&proxy, &format!("192.0.2.{n}"))).collect();
    for client in &mut clients {
        client.get("/").expect(200);
    }
    // The balancer's own checks name nobody.
    let mut checks: Vec<_> = (0..10).map(|_| proxy.client()).collect();
    for check in &mut checks {
        check.get("/").expect(200);
    }
}

#[test]
fn a_client_that_a_balancer_names_has_the_limits_of_a_peer() {
    let proxy = limited(&inbox(), "peer-max-connections = 2\npeer-max-interval-connections = 0\n");
    let mut connections: Vec<_> = (0..3).map(|_| of(&proxy, "192.0.2.1")).collect();
    assert_eq!(connections.iter_mut().map(|one| one.get("/").status).collect::<Vec<_>>(), [200, 200, 429]);
    let refused = connections[2].get("/");
    assert!(refused.header("retry-after").is_some() && refused.text().contains("too many connections"), "{refused:?}");
    proxy.wait_for_log("client over a limit.*192.0.2.1.*peer-max-connections", Duration::from_secs(5));
    of(&proxy, "192.0.2.2").get("/").expect(200);
    // A connection that is gone, or that names another one, gives the place back.
    connections.remove(0).close();
    while connections[1].get("/").status != 200 {
        std::thread::yield_now();
    }
}

#[test]
fn new_clients_are_counted_in_their_interval() {
    let proxy = limited(&inbox(), "peer-max-connections = 0\npeer-max-interval-connections = 2\n");
    let mut first = of(&proxy, "192.0.2.1");
    for _ in 0..5 {
        first.get("/").expect(200);
    }
    of(&proxy, "192.0.2.1").get("/").expect(200);
    assert_eq!(of(&proxy, "192.0.2.1").get("/").status, 429);
    of(&proxy, "2001:db8::1").get("/").expect(200);
    first.get("/").expect(200);
    assert_eq!(first.opened(), 1);
}

#[test]
fn whoever_trusts_everybody_is_warned() {
    let node = inbox();
    let text = config("[http]\ntrusted-proxies = [\"0.0.0.0/0\"]", &[("node-a", &node, "")]);
    let ran = setup().file("doorward.toml", text).run(&["check", "--config", "doorward.toml"]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("http.trusted-proxies"), "{}", ran.stdout);
}
