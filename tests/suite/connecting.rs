//! How nodes are connected to: from where, with which TLS, in which protocol, and with whose address in front.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use harness::{Answer, Backend, Certs, Hold, Http2Node, Pair, Request};

use crate::support::{backend, config, log_in, logins, proxy, setup, webmail};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn connections_come_from_the_local_address_of_the_family() {
    let node = webmail(|_| Answer::text("fine"));
    for addresses in ["\"127.0.0.9\"", "[\"::1\", \"127.0.0.9\"]"] {
        let proxy = proxy("", &[("node-a", &node, &format!("local-address = {addresses}"))]);
        log_in(&proxy, "alice").get("/x").expect(200);
        let hits = node.hits();
        let peer = hits.last().and_then(|seen| seen.peer).expect("a hit");
        assert_eq!(peer.ip().to_string(), "127.0.0.9", "{addresses}");
    }
}

#[test]
fn two_local_addresses_of_one_family_are_a_fault() {
    let node = webmail(|_| Answer::text("fine"));
    let text = config("", &[("node-a", &node, "local-address = [\"127.0.0.9\", \"127.0.0.8\"]")]);
    let ran = setup().file("doorward.toml", text).run(&["check", "--config", "doorward.toml"]);
    assert!(ran.stdout.contains("backend[0].local-address"), "{}", ran.stdout);
}

#[test]
fn a_node_is_shown_a_certificate_when_it_asks_for_one() {
    let certs = Certs::new();
    let (server, client) = (certs.server(&["localhost", "127.0.0.1"]), certs.client("doorward"));
    let node = Backend::tls_asking(&server, certs.ca(), logins(|_| Answer::text("fine")));
    let ca = format!("[backend.tls]\nca = \"{}\"\n", certs.ca().display());
    let own = format!("{ca}certificate = \"{}\"\nkey = \"{}\"\n", client.chain.display(), client.key.display());
    log_in(&proxy("", &[("node-a", &node, &own)]), "alice").get("/x").expect(200);
    let stranger = proxy("", &[("node-a", &node, &ca)]);
    let page = crate::support::post_login(&mut stranger.client(), "/", "alice", "alice-secret");
    assert!(page.status >= 500, "{}", page.status);
}

#[test]
fn a_node_that_speaks_older_tls_than_allowed_is_not_spoken_to() {
    let certs = Certs::new();
    let server = certs.server(&["localhost", "127.0.0.1"]);
    let node = Backend::tls_1_2(&server, logins(|_| Answer::text("fine")));
    let tls = |more: &str| format!("[backend.tls]\nca = \"{}\"\n{more}", certs.ca().display());
    log_in(&proxy("", &[("node-a", &node, &tls("min-version = \"1.2\"\n"))]), "alice").get("/x").expect(200);
    let strict = proxy("", &[("node-a", &node, &tls("min-version = \"1.3\"\n"))]);
    let page = crate::support::post_login(&mut strict.client(), "/", "alice", "alice-secret");
    assert_eq!(page.status, 503);
    strict.wait_for_log("a node cannot be reached", SOON);
}

#[test]
fn a_node_is_known_by_the_name_in_its_certificate() {
    let certs = Certs::new();
    let node = Backend::tls(&certs.server(&["other.test"]), logins(|_| Answer::text("fine")));
    let tls = |more: &str| format!("[backend.tls]\nca = \"{}\"\n{more}", certs.ca().display());
    for (more, status) in [("", 503), ("name = \"wrong.test\"\n", 503), ("name = \"other.test\"\n", 303)] {
        let proxy = proxy("", &[("node-a", &node, &tls(more))]);
        let answer = crate::support::post_login(&mut proxy.client(), "/", "alice", "alice-secret");
        assert_eq!(answer.status, status, "{more}");
    }
}

#[test]
fn a_certificate_that_is_not_checked_is_told_at_each_load() {
    let certs = Certs::new();
    let node = Backend::tls(&certs.expired(&["other.test"]), logins(|_| Answer::text("fine")));
    let proxy = proxy("", &[("node-a", &node, "[backend.tls]\ninsecure = true\n")]);
    log_in(&proxy, "alice").get("/x").expect(200);
    let told = "WARN the node's certificate is not checked";
    proxy.wait_for_log(told, SOON);
    let from = proxy.log().len();
    let text = std::fs::read_to_string(proxy.dir().join("doorward.toml")).expect("the configuration");
    proxy.write("doorward.toml", format!("drain-timeout = \"7s\"\n{text}"));
    proxy.reload();
    proxy.wait_for_log_after(from, told, SOON);
}

#[test]
fn long_polls_have_places_and_a_timeout_of_their_own() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |request| match request.what().1 {
        "/poll?user=alice" => Answer::text("news").after(&held),
        "/poll/silent" => Answer::hang(),
        _ => Answer::text("fine"),
    });
    let settings = "max-connections = 1\nqueue-max-size = 0\nlong-poll = [\"/poll\"]\n\
        long-poll-max-connections = 2\nlong-poll-timeout = \"300ms\"\n";
    let patient = settings.replace("300ms", "300s");
    let proxy_of = |settings: &str| proxy("", &[("node-a", &node, settings)]);
    let (proxy, impatient) = (proxy_of(&patient), proxy_of(settings));
    let mut other = log_in(&proxy, "alice");
    let before = node.hits().len();
    let polls: Vec<_> = (0..2)
        .map(|_| {
            let mut client = log_in(&proxy, "alice");
            thread::spawn(move || client.get("/poll?user=alice").text())
        })
        .collect();
    node.wait_for_hits(before + 4, SOON);
    other.get("/x").expect(200);
    let refused = other.get("/poll?user=alice");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    hold.release();
    for poll in polls {
        assert_eq!(poll.join().expect("a client"), "news");
    }
    assert_eq!(log_in(&impatient, "alice").get("/poll/silent").status, 504);
}

/// What stands before a node: takes the PROXY header of each connection, and hands the rest on.
struct Recorder {
    address: SocketAddr,
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    fn start(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let headers: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let record = Arc::clone(&headers);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let record = Arc::clone(&record);
                thread::spawn(move || hand_on(stream, node, &record));
            }
        });
        Self { address, headers }
    }

    fn headers(&self) -> Vec<Vec<u8>> {
        self.headers.lock().expect("no panic").clone()
    }
}

fn hand_on(mut stream: TcpStream, node: SocketAddr, record: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
    let mut header = vec![0; 16];
    stream.read_exact(&mut header)?;
    if header.starts_with(b"PROXY") {
        while !header.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            header.push(byte[0]);
        }
    } else {
        let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
        stream.read_exact(&mut rest)?;
        header.extend(rest);
    }
    record.lock().expect("no panic").push(header);
    let mut to = TcpStream::connect(node)?;
    let (mut back, mut answers) = (stream.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut stream, &mut to);
    to.shutdown(std::net::Shutdown::Write)
}

#[test]
fn a_node_that_wants_it_is_told_the_clients_address_by_a_proxy_header() {
    for version in ["v1", "v2"] {
        let node = webmail(|_| Answer::text("fine"));
        let recorder = Recorder::start(node.address());
        let text = config("", &[("node-a", &node, &format!("proxy-protocol = \"{version}\""))]);
        let proxy = setup().serve(&text.replace(&node.address().to_string(), &recorder.address.to_string()));
        let session = log_in(&proxy, "alice").cookie("doorward").expect("a session").to_owned();
        let mut connection = proxy.client().from("127.0.0.7").connect();
        for _ in 0..2 {
            connection.write(format!("GET /x HTTP/1.1\r\nHost: x\r\nCookie: doorward={session}\r\n\r\n"));
            assert_eq!(connection.read_response("GET").expect("an answer").status, 200);
        }
        let client = connection.local_address();
        let public = proxy.client().address();
        let expected = if version == "v1" {
            format!("PROXY TCP4 127.0.0.7 127.0.0.1 {} {}\r\n", client.port(), public.port()).into_bytes()
        } else {
            let ports = [client.port().to_be_bytes(), public.port().to_be_bytes()].concat();
            [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x07\x7f\0\0\x01".to_vec(), ports].concat()
        };
        let headers = recorder.headers();
        assert_eq!(headers.len(), 3, "one connection for each request");
        assert_eq!(headers[1..], [expected.clone(), expected], "{version}");
    }
}

#[test]
fn a_put_with_a_broken_body_is_the_clients_fault() {
    let node = webmail(|_| Answer::text("fine"));
    let proxy = proxy("", &[("node-a", &node, "")]);
    let session = log_in(&proxy, "alice").cookie("doorward").expect("a session").to_owned();
    let head =
        format!("PUT /x HTTP/1.1\r\nHost: x\r\nCookie: doorward={session}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = proxy.client().raw(head + "zz\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    log_in(&proxy, "alice").send(Request::new("GET", "/x")).expect(200);
}

/// A node that speaks HTTP/2: it takes logins, says which body it got, and gives a header that has no place there.
fn http2_node(pair: Option<&Pair>) -> Http2Node {
    Http2Node::start(pair, |request| {
        let answer = hyper::Response::builder();
        let answer = match request.uri().path() {
            "/large" => return answer.body(vec![b'x'; 16 << 20]).expect("an answer"),
            "/login" => answer.status(303).header("location", "/inbox").header("set-cookie", "sid=alice; Path=/"),
            _ => answer.header("x-answer", "1"),
        };
        answer.body(request.body().clone()).expect("an answer")
    })
}

#[test]
fn a_node_that_speaks_http2_is_spoken_to_on_one_connection_of_each_worker() {
    let certs = Certs::new();
    let pair = certs.server(&["localhost", "127.0.0.1"]);
    for pair in [None, Some(&pair)] {
        let node = http2_node(pair);
        let tls = format!("http = \"2\"\n[backend.tls]\nca = \"{}\"\n", certs.ca().display());
        let workers = "[threads]\nmax = 1\n";
        let proxy = setup().serve(&format!("{}{}", config(workers, &[]), backend("node-a", &node.url(), &tls)));
        let clients: Vec<_> = (0..8).map(|_| log_in(&proxy, "alice")).collect();
        let threads: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                thread::spawn(move || {
                    for size in [0, 1, 1000, 60_000] {
                        let body = vec![b'x'; size];
                        let answer = client.send(Request::new("POST", "/x?y=1").header("TE", "gzip").body(body));
                        assert_eq!((answer.status, answer.body.len()), (200, size));
                        assert_eq!(answer.header("x-answer"), Some("1"));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("all answers"));
        assert_eq!(node.accepted(), 1);
        for seen in node.hits() {
            let host = proxy.client().address().to_string();
            assert_eq!(seen.uri().authority().map(ToString::to_string), Some(host));
            assert_eq!(seen.headers().get("x-forwarded-for").expect("a header"), "127.0.0.1");
            for gone in ["host", "connection", "te", "transfer-encoding"] {
                assert!(!seen.headers().contains_key(gone), "{gone}");
            }
        }
    }
}

#[test]
fn a_node_that_should_speak_http2_and_does_not_is_told_and_not_used() {
    let certs = Certs::new();
    let node = Backend::tls(&certs.server(&["localhost", "127.0.0.1"]), logins(|_| Answer::text("fine")));
    let tls = format!("http = \"2\"\n[backend.tls]\nca = \"{}\"\n", certs.ca().display());
    let proxy = proxy("", &[("node-a", &node, &tls)]);
    let page = crate::support::post_login(&mut proxy.client(), "/", "alice", "alice-secret");
    assert_eq!(page.status, 503);
    proxy.wait_for_log("does not speak HTTP/2", SOON);
    assert_eq!(node.hits().len(), 0);
}

#[test]
fn clients_that_do_not_read_stop_nobody_elses_stream() {
    let node = http2_node(None);
    let workers = "[threads]\nmax = 1\n";
    let text = format!("{}{}", config(workers, &[]), backend("node-a", &node.url(), "http = \"2\""));
    let proxy = setup().serve(&text);
    let mut client = log_in(&proxy, "alice");
    let session = client.cookie("doorward").expect("a session").to_owned();
    let head = format!("GET /large HTTP/1.1\r\nHost: x\r\nCookie: doorward={session}\r\n\r\n");
    let mut slow: Vec<_> = (0..8).map(|_| proxy.client().connect()).collect();
    for connection in &mut slow {
        connection.write(&head);
        // The answer has begun, and is not read on.
        connection.read_some().expect("the beginning of an answer");
    }
    for size in [1, 60_000] {
        let answer = client.send(Request::new("POST", "/x").body(vec![b'x'; size]));
        assert_eq!((answer.status, answer.body.len()), (200, size));
    }
    assert_eq!(node.accepted(), 1);
}
