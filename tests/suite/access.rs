//! Who may connect: rules, limit classes and the six limits, before a byte is read.

use std::time::Duration;

use harness::{Answer, Client, Proxy};

use crate::support::{proxy, webmail};

const LISTENER: &str = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n";

fn served(client: &mut Client) -> bool {
    client.close();
    client.try_send(harness::Request::new("GET", "/")).is_ok_and(|answer| answer.status == 200)
}

fn with(listener: &str, rules: &str) -> (harness::Backend, Proxy) {
    let node = webmail(|_| Answer::text("x"));
    let policy = format!(
        "[[policy]]\nname = \"access-control\"\nasks = \"access\"\n[policy.settings]\nrules = [{rules}]\n\
         listener-rules = {{ inner = [{{ allow = \"127.0.0.3\" }}] }}\n"
    );
    let proxy = proxy(&format!("{listener}\n{policy}"), &[("node-a", &node, "")]);
    (node, proxy)
}

#[test]
fn rules_decide_by_priority_and_the_listener_s_own_come_first() {
    let listeners = format!("{LISTENER}[[listener]]\nname = \"inner\"\naddress = \"127.0.0.1:0\"\n");
    let rules = "{ deny = \"127.0.0.3\", priority = 10 }, { allow = \"127.0.0.0/8\" }, \
        { deny = \"127.0.0.4-127.0.0.5\", priority = 600 }, { deny = \"127.0.0.6\" }";
    let (_node, proxy) = with(&listeners, rules);
    for (address, public, inner) in
        [("127.0.0.1", true, true), ("127.0.0.3", false, true), ("127.0.0.4", true, true), ("127.0.0.6", false, false)]
    {
        assert_eq!(served(&mut proxy.client_of("public").from(address)), public, "{address}");
        assert_eq!(served(&mut proxy.client_of("inner").from(address)), inner, "{address}");
    }
    proxy.wait_for_log("connection denied.*127.0.0.3|127.0.0.3.*denied", Duration::from_secs(5));
}

#[test]
fn a_class_sets_other_limits_than_the_listener() {
    let listener = format!(
        "{LISTENER}[listener.limits]\npeer-max-connections = 1\npeer-max-interval-connections = 0\n\
         [limits.office]\npeer-max-connections = 3\npeer-max-interval-connections = 0\n"
    );
    let (_node, proxy) = with(&listener, "{ allow = \"127.0.0.2\", limits = \"office\" }");
    for (address, most) in [("127.0.0.1", 1), ("127.0.0.2", 3)] {
        let mut open: Vec<Client> = (0..most).map(|_| proxy.client().from(address)).collect();
        for client in &mut open {
            client.get("/").expect(200);
        }
        assert!(!served(&mut proxy.client().from(address)), "{address}");
        drop(open);
        // The places come back when the connections are seen to be closed.
        let mut again = proxy.client().from(address);
        let started = std::time::Instant::now();
        while !served(&mut again) {
            assert!(started.elapsed() < Duration::from_secs(10));
        }
    }
}

#[test]
fn an_interval_has_so_many_new_connections() {
    let listener = format!("{LISTENER}[listener.limits]\nmax-interval-connections = 5\ninterval = \"1h\"\n");
    let (_node, proxy) = with(&listener, "");
    let served = (0..8).filter(|_| served(&mut proxy.client())).count();
    assert_eq!(served, 5);
    proxy.wait_for_log("max-interval-connections", Duration::from_secs(5));
}

/// How many of 1000 connections, made at once, are answered while all stay open.
fn let_in_at_once(proxy: &Proxy) -> usize {
    let address = proxy.address("public");
    let all = std::sync::Barrier::new(20);
    let served = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                all.wait();
                let mut open: Vec<std::net::TcpStream> =
                    (0..50).filter_map(|_| std::net::TcpStream::connect(address).ok()).collect();
                for stream in &mut open {
                    use std::io::{Read as _, Write as _};
                    let mut start = [0; 12];
                    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
                    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                    if stream.read_exact(&mut start).is_ok() && &start == b"HTTP/1.1 200" {
                        served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
                all.wait();
            });
        }
    });
    served.into_inner()
}

#[test]
fn of_a_thousand_at_once_exactly_as_many_get_in_as_fit() {
    let none = "max-connections = 0\nmax-interval-connections = 0\npeer-max-connections = 0\n\
        peer-max-interval-connections = 0\n";
    for (limit, global) in [
        ("max-connections", false),
        ("peer-max-connections", false),
        ("max-interval-connections", false),
        ("peer-max-interval-connections", false),
        ("max-connections", true),
    ] {
        // A key begins a line: "max-connections" stands in "peer-max-connections" too.
        let own = format!("\n{none}");
        let own = if global { own } else { own.replace(&format!("\n{limit} = 0"), &format!("\n{limit} = 100")) };
        let mut text = format!("[admin]\nsocket = \"admin.sock\"\n{LISTENER}[listener.limits]\n{own}");
        if global {
            text.push_str("[limits]\nmax-connections = 100\n");
        }
        let (_node, proxy) = with(&text, "");
        assert_eq!(let_in_at_once(&proxy), 100, "{limit} {global}");
        let (_, metrics) = proxy.admin("GET", "/metrics");
        let line = format!("doorward_refused_connections_total{{listener=\"public\",reason=\"{limit}\"}} 900");
        assert!(metrics.contains(&line), "{metrics}");
    }
}
