//! Listeners: the PROXY protocol in front of them, sockets of all kinds, and reloads that leave the others alone.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Answer, Backend, Certs, Client, Proxy};

use crate::support::{proxy, setup, webmail};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A back-end that answers with the address it was told.
fn echo() -> Backend {
    webmail(|request| Answer::text(request.seen.header("x-forwarded-for").unwrap_or("-").to_owned()))
}

fn listener(kind: &str, from: &str, more: &str) -> String {
    format!(
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nproxy-protocol = \"{kind}\"\n\
         proxy-protocol-from = [\"{from}\"]\n{more}\n"
    )
}

/// What the node is told of a client that says this first, once it has logged in.
fn told(client: Client) -> String {
    let mut client = client.follow();
    crate::support::last(client.login("alice", "alice-secret")).text()
}

/// Whether a connection that begins with these bytes is answered.
fn answered(proxy: &Proxy, first: &[u8]) -> bool {
    let mut stream = TcpStream::connect(proxy.address("public")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let _ = stream.write_all(&[first, b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"].concat());
    let mut answer = Vec::new();
    // A connection that is closed with bytes unread is reset.
    let _ = stream.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 200")
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [V2, &[command, family, 0, u8::try_from(rest.len()).expect("a short rest")], rest].concat()
}

const FOUR: [u8; 12] = [192, 0, 2, 9, 10, 0, 0, 1, 0x13, 0x88, 1, 0xbb];

#[test]
fn a_trusted_balancer_says_who_the_client_is_and_others_are_closed() {
    let node = echo();
    let proxy = proxy(&listener("required", "127.0.0.1", ""), &[("node-a", &node, "")]);
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n";
    assert_eq!(told(proxy.client().preamble(line)), "192.0.2.7");
    let six = b"PROXY TCP6 2001:db8::7 ::1 5000 443\r\n";
    assert_eq!(told(proxy.client().preamble(six)), "2001:db8::7");
    assert_eq!(told(proxy.client().preamble(&v2(0x21, 0x11, &FOUR))), "192.0.2.9");
    let extended = [&FOUR[..], &[4, 0, 1, 0]].concat();
    assert_eq!(told(proxy.client().preamble(&v2(0x21, 0x11, &extended))), "192.0.2.9");
    assert_eq!(told(proxy.client().preamble(&v2(0x20, 0x00, &[]))), "127.0.0.1", "LOCAL");
    assert_eq!(told(proxy.client().preamble(b"PROXY UNKNOWN\r\n")), "127.0.0.1");
    let mut stranger = proxy.client().from("127.0.0.2").preamble(line);
    assert!(stranger.try_send(harness::Request::new("GET", "/")).is_err());
    for broken in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\n",
        b"PROXY TCP4 192.0.2.007 10.0.0.1 5000 443\r\n",
        &v2(0x21, 0x11, &FOUR[..11]),
        &v2(0x11, 0x11, &FOUR),
        &[V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
        &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
    ] {
        assert!(!answered(&proxy, broken), "{broken:?}");
    }
    proxy.wait_for_log("connection closed.*may not send|connection closed.*PROXY", Duration::from_secs(5));
}

#[test]
fn where_a_header_is_optional_others_are_served_as_they_come() {
    let node = echo();
    let proxy = proxy(&listener("optional", "127.0.0.1", ""), &[("node-a", &node, "")]);
    assert_eq!(told(proxy.client()), "127.0.0.1");
    assert_eq!(told(proxy.client().preamble(&v2(0x21, 0x11, &FOUR))), "192.0.2.9");
    assert_eq!(told(proxy.client().from("127.0.0.2")), "127.0.0.2");
    let mut stranger = proxy.client().from("127.0.0.2").preamble(&v2(0x21, 0x11, &FOUR));
    assert!(stranger.try_send(harness::Request::new("GET", "/")).map_or(true, |answer| answer.status == 400));
}

#[test]
fn the_header_comes_before_tls_and_limits_and_rules_see_the_client() {
    let (certs, node) = (Certs::new(), echo());
    let pair = certs.server(&["mail.test"]);
    let read = |path: &std::path::Path| std::fs::read(path).expect("a PEM file");
    let more = "certificates = [{ chain = \"a.pem\", key = \"a.key\" }]\n[listener.limits]\npeer-max-connections = 1\n\
        [[policy]]\nname = \"access-control\"\nasks = \"access\"\n[policy.settings]\n\
        rules = [{ deny = \"192.0.2.66\" }]\n";
    let setup = setup().file("a.pem", read(&pair.chain)).file("a.key", read(&pair.key));
    let text = crate::support::config(&listener("required", "127.0.0.0/8", more), &[("node-a", &node, "")]);
    let proxy = setup.serve(&text);
    let client = |address: &str| {
        let line = format!("PROXY TCP4 {address} 10.0.0.1 5000 443\r\n");
        proxy.client().site("mail.test").tls(certs.ca()).preamble(line.as_bytes())
    };
    let mut first = client("192.0.2.7");
    first.get("/").expect(200);
    assert!(client("192.0.2.7").try_connect().is_err(), "a second connection of the same client");
    client("192.0.2.8").get("/").expect(200);
    assert!(client("192.0.2.66").try_connect().is_err(), "a client that is denied");
    first.get("/").expect(200);
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let node = echo();
    let more = "proxy-protocol-timeout = \"50ms\"";
    let proxy = proxy(&listener("required", "127.0.0.1", more), &[("node-a", &node, "")]);
    let mut silent = TcpStream::connect(proxy.address("public")).expect("a connection");
    silent.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    silent.write_all(b"PROXY TCP4 192").expect("a part");
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    proxy.wait_for_log("no PROXY header in time", Duration::from_secs(5));
}

#[test]
fn believing_everybody_is_a_fault() {
    let text = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\nproxy-protocol = \"required\"\n\
        [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\nproxy-protocol-from = [\"10.0.0.1/8\"]\n\
        [[backend]]\nname = \"n\"\nurl = \"http://127.0.0.1:1\"\nrecipe = \"roundcube\"\n[[site]]\nhosts = [\"*\"]\n";
    let ran = harness::Setup::new().refused(text);
    for key in ["listener[0].proxy-protocol-from", "listener[1].proxy-protocol-from"] {
        assert!(ran.stderr.contains(key), "{key} in {}", ran.stderr);
    }
}
