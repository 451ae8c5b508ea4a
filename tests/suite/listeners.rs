//! Listeners: the PROXY protocol in front of them, sockets of all kinds, and reloads that leave the others alone.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use harness::{Answer, Backend, Certs, Client, Proxy};

use crate::support::{config, log_in, proxy, setup, webmail};

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
fn believing_everybody_and_limits_with_a_slip_are_faults() {
    let text = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\nproxy-protocol = \"required\"\n\
        [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\nproxy-protocol-from = [\"10.0.0.1/8\"]\n\
        [limits]\nmax-connection = 5\n[[backend]]\nname = \"n\"\nurl = \"http://127.0.0.1:1\"\nrecipe = \"roundcube\"\n[[site]]\nhosts = [\"*\"]\n";
    let ran = harness::Setup::new().refused(text);
    for key in ["listener[0].proxy-protocol-from", "listener[1].proxy-protocol-from", "limits.max-connection:"] {
        assert!(ran.stderr.contains(key), "{key} in {}", ran.stderr);
    }
}

#[test]
fn the_client_is_whom_a_trusted_proxy_names_and_nodes_are_told_as_they_like() {
    let node = webmail(|request| Answer::text(request.seen.text()));
    let extra = "[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"\n[http]\ntrusted-proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]\n\
        forwarded-headers = [\"x-forwarded\", \"forwarded\"]\n";
    let proxy = proxy(extra, &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let cookie = client.cookie("doorward").expect("a session").to_owned();
    let seen = |from: &str, lines: &[(&str, &str)]| {
        let mut request = harness::Request::new("GET", "/x").header("Cookie", &format!("doorward={cookie}"));
        for (name, value) in lines {
            request = request.header(name, value);
        }
        proxy.client().from(from).site("a.test").send(request).expect(200);
        let hits = node.hits();
        let hit = hits.last().expect("a hit");
        let header = |name: &str| hit.header(name).unwrap_or("-").to_owned();
        (header("x-forwarded-for"), header("x-forwarded-proto"), header("forwarded"), header("x-real-ip"))
    };
    let port = client.address().port();
    let check = |seen: (String, String, String, String), client: &str, scheme: &str, name: &str| {
        let forwarded = format!("for={name};host=\"a.test:{port}\";proto={scheme}");
        assert_eq!(seen, (client.to_owned(), scheme.to_owned(), forwarded, client.to_owned()));
    };
    let forged = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=6.6.6.6")];
    check(seen("127.0.0.1", &forged), "127.0.0.1", "http", "127.0.0.1");
    let chain = [("X-Forwarded-For", "6.6.6.6, 2001:db8::7, 10.1.1.1"), ("Forwarded", "for=6.6.6.6")];
    check(seen("127.0.0.2", &chain), "2001:db8::7", "http", "\"[2001:db8::7]\"");
    check(seen("127.0.0.2", &[]), "127.0.0.2", "http", "127.0.0.2");
    let mut browser = proxy.client().from("127.0.0.2").header("X-Forwarded-Proto", "https");
    let page = browser.get("/").expect(200);
    assert!(page.headers.all("set-cookie").iter().any(|cookie| cookie.contains("Secure")), "{page:?}");
    client.close();
}

fn http(mut stream: impl std::io::Read + std::io::Write) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_unix_socket_is_a_listener_and_its_file_comes_and_goes_with_it() {
    let node = webmail(|_| Answer::text("x"));
    let listener = "[admin]\nsocket = \"admin.sock\"\n\
        [[listener]]\nname = \"public\"\naddress = \"unix:web.sock\"\nmode = \"0600\"\n";
    let setup = setup();
    let path = setup.dir().join("web.sock");
    drop(UnixListener::bind(&path).expect("what a process left behind"));
    let mut proxy = setup.serve(&config(listener, &[("node-a", &node, "")]));
    assert_eq!(http(UnixStream::connect(&path).expect("a connection")), "HTTP/1.1 200 OK");
    let mode = || std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let mut kept = UnixStream::connect(&path).expect("a connection");
    proxy.write("doorward.toml", config(&listener.replace("0600", "0660"), &[("node-a", &node, "")]));
    proxy.wait_for_log("reloaded", Duration::from_secs(10));
    assert_eq!(mode(), 0o660);
    assert_eq!(http(&mut kept), "HTTP/1.1 200 OK");
    let address = proxy.status()["listeners"][0]["address"].as_str().map(str::to_owned);
    assert_eq!(address, Some(format!("unix:{}", path.display())));
    assert!(proxy.terminate().success());
    assert!(!path.exists());
}

#[test]
fn sockets_of_systemd_are_known_by_their_names() {
    let node = webmail(|_| Answer::text("x"));
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let script = format!(
        "#!/bin/sh\nexport LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web\nexec {} \"$@\" 3<&0 0</dev/null\n",
        harness::binary().display()
    );
    let dir = harness::temp_dir();
    let program = dir.path().join("launcher");
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let listener = "[[listener]]\nname = \"public\"\naddress = \"systemd:web\"\n";
    let setup = |_: ()| {
        let setup = harness::Setup::with(&program).file("people.ldif", crate::support::PEOPLE);
        setup.file("test.toml", crate::support::RECIPE).input(socket.try_clone().expect("a socket"))
    };
    let proxy = setup(()).serve(&config(listener, &[("node-a", &node, "")]));
    assert_eq!(proxy.address("public"), address);
    proxy.client().get("/").expect(200);
    drop(proxy);
    let text = config(&listener.replace("systemd:web", "systemd:other"), &[("node-a", &node, "")]);
    let ran = harness::Setup::new()
        .file("people.ldif", crate::support::PEOPLE)
        .file("test.toml", crate::support::RECIPE)
        .refused(&text);
    assert!(ran.stderr.contains("listener[0].address"), "{}", ran.stderr);
}

#[test]
fn an_ipv6_address_takes_ipv4_too_unless_it_is_told_not_to() {
    let node = webmail(|_| Answer::text("x"));
    for (v6_only, taken) in [("", true), ("v6-only = true", false)] {
        let listener = format!("[[listener]]\nname = \"public\"\naddress = \"[::]:0\"\n{v6_only}\n");
        let proxy = proxy(&listener, &[("node-a", &node, "")]);
        let port = proxy.address("public").port();
        assert_eq!(http(TcpStream::connect(("::1", port)).expect("IPv6")), "HTTP/1.1 200 OK");
        assert_eq!(TcpStream::connect(("127.0.0.1", port)).is_ok(), taken, "{v6_only}");
    }
}

#[test]
fn a_reload_adds_and_removes_listeners_and_leaves_the_others_their_connections() {
    let node = webmail(|_| Answer::text("x"));
    let one = |name: &str| format!("[[listener]]\nname = \"{name}\"\naddress = \"unix:{name}.sock\"\n");
    let text = |names: &[&str]| {
        let listeners: String = names.iter().map(|name| one(name)).collect();
        let public = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n";
        config(&format!("[admin]\nsocket = \"admin.sock\"\n{public}{listeners}"), &[("node-a", &node, "")])
    };
    let proxy = setup().serve(&text(&["old"]));
    let socket = |name: &str| UnixStream::connect(proxy.dir().join(format!("{name}.sock")));
    let mut client = log_in(&proxy, "alice");
    let opened = client.opened();
    let mut of_old = socket("old").expect("a connection");
    of_old.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("a request");
    let mut start = [0; 12];
    of_old.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 200");
    proxy.write("doorward.toml", text(&["new"]));
    proxy.wait_for_log("reloaded", Duration::from_secs(10));
    assert_eq!(http(socket("new").expect("a new listener")), "HTTP/1.1 200 OK");
    assert!(socket("old").is_err(), "it does not listen any more");
    // Its connection is closed once it has answered.
    of_old.read_to_end(&mut Vec::new()).expect("an end");
    client.get("/x").expect(200);
    assert_eq!(client.opened(), opened, "the connection of the listener that stayed is the same");
}
