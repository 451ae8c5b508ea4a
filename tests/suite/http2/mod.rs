//! HTTP/2 in frames of our own: what has no place in it is refused, and nobody holds a stream for ever.

mod cases;
mod endings;

use harness::{Answer, Backend, Certs, Connection, Proxy};

use crate::support::{config, last, setup, webmail};

pub(crate) const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields without indexing (RFC 7541, section 6.2.2), as short as they are.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = text.len();
        // An integer with a prefix of 7 bits.
        let mut out = vec![u8::try_from(length.min(127)).expect("7 bits")];
        if length >= 127 {
            let mut rest = length - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).expect("7 bits") | 128);
                rest /= 128;
            }
            out.push(u8::try_from(rest).expect("7 bits"));
        }
        out.extend_from_slice(text.as_bytes());
        out
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

struct Front {
    certs: Certs,
    node: Backend,
    proxy: Proxy,
    client: harness::Client,
    cookie: String,
}

impl Front {
    fn new(extra: &str) -> Self {
        Self::with_idle_timeout("600ms", extra)
    }

    fn with_idle_timeout(idle: &str, extra: &str) -> Self {
        let node = webmail(|request| match request.what().1 {
            "/big" => Answer::text("x".repeat(3 << 20)),
            "/hangs" => Answer::hang(),
            _ => Answer::text(format!("{} bytes", request.body().len())),
        });
        Self::in_front_of(node, idle, extra, "")
    }

    /// In front of this node, with settings of it.
    fn in_front_of(node: Backend, idle: &str, extra: &str, settings: &str) -> Self {
        let certs = Certs::new();
        let pair = certs.server(&["mail.test"]);
        let read = |path: &std::path::Path| std::fs::read(path).expect("a PEM file");
        let listener = format!(
            "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nidle-timeout = \"{idle}\"\n\
             certificates = [{{ chain = \"a.pem\", key = \"a.key\" }}]\n\
             [listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n"
        );
        let people = ["alice", "bob"]
            .map(|name| format!("dn: uid={name}\nuid: {name}\nmailHost: node-a\nuserPassword: {name}-secret\n\n"));
        let setup = setup()
            .file("people.ldif", people.concat())
            .file("a.pem", read(&pair.chain))
            .file("a.key", read(&pair.key));
        let proxy = setup.serve(&config(&format!("{extra}\n{listener}"), &[("node-a", &node, settings)]));
        let mut client = proxy.client().site("mail.test").tls(certs.ca());
        last(client.login("alice", "alice-secret"));
        let cookie = format!("__Host-doorward={}", client.cookie("__Host-doorward").expect("a session"));
        let client = proxy.client().site("mail.test").tls(certs.ca()).alpn("h2");
        Self { certs, node, proxy, client, cookie }
    }

    /// Somebody else, with a session and a connection of HTTP/1.1.
    fn other(&self, name: &str) -> harness::Client {
        let mut client = self.proxy.client().site("mail.test").tls(self.certs.ca());
        last(client.login(name, &format!("{name}-secret")));
        client
    }

    /// A connection with these settings on which these frames were sent.
    fn send(&mut self, settings: &[u8], frames: &[u8]) -> Frames {
        self.raw(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, settings)[..], frames].concat())
    }

    /// A connection on which these bytes were sent.
    fn raw(&mut self, bytes: &[u8]) -> Frames {
        let mut connection = self.client.connect();
        connection.write(bytes);
        Frames { connection, bytes: Vec::new() }
    }

    /// The fields of a good request, but for those that are given.
    fn request(&self, method: &str, other: &[(&str, &str)]) -> Vec<u8> {
        let given = |name: &str| other.iter().any(|(other, _)| *other == name) && name.starts_with(':');
        let usual = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "mail.test"),
            (":path", "/x"),
            ("cookie", self.cookie.as_str()),
        ];
        let mut fields: Vec<(&str, &str)> = usual.into_iter().filter(|(name, _)| !given(name)).collect();
        // Pseudo fields come first.
        fields.splice(0..0, other.iter().filter(|(name, _)| name.starts_with(':')).copied());
        fields.extend(other.iter().filter(|(name, _)| !name.starts_with(':')));
        block(&fields)
    }
}

struct Frames {
    connection: Connection,
    bytes: Vec<u8>,
}

impl Frames {
    fn write(&mut self, bytes: &[u8]) {
        // The proxy may have ended the connection; that is found when it is read.
        let _ = self.try_write(bytes);
    }

    fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.connection.try_write(bytes)
    }

    /// The next frame of one of these kinds; none at the end.
    fn next(&mut self, kinds: &[u8]) -> Option<(u8, Vec<u8>)> {
        loop {
            if self.bytes.len() >= 9 {
                let length = u32::from_be_bytes([0, self.bytes[0], self.bytes[1], self.bytes[2]]) as usize;
                if self.bytes.len() >= 9 + length {
                    let rest = self.bytes.split_off(9 + length);
                    let whole = std::mem::replace(&mut self.bytes, rest);
                    if kinds.contains(&whole[3]) {
                        return Some((whole[3], whole[9..].to_vec()));
                    }
                    continue;
                }
            }
            let some = self.connection.read_some().unwrap_or_default();
            if some.is_empty() {
                return None;
            }
            self.bytes.extend(some);
        }
    }

    /// Whether the answer is 200: its first field is the one byte 0x88 (RFC 7541, appendix A).
    fn is_accepted(&mut self) -> bool {
        let first = self.next(&[HEADERS, RESET, GOAWAY]);
        first.is_some_and(|(kind, payload)| kind == HEADERS && payload.first() == Some(&0x88))
    }
}

#[test]
fn what_has_no_place_in_http_2_is_refused_and_never_forwarded() {
    let mut front = Front::new("");
    let long = format!("/{}", "x".repeat(9000));
    let good: [&[(&str, &str)]; 4] =
        [&[], &[("te", "trailers")], &[("host", "mail.test")], &[("cookie", "a=1"), ("cookie", "b=2")]];
    let bad: [&[(&str, &str)]; 30] = [
        &[("connection", "x")],
        &[("keep-alive", "5")],
        &[("proxy-connection", "x")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("host", "other.test")],
        &[("host", "mail.test"), ("host", "mail.test")],
        &[("X-Upper", "1")],
        &[("x-split", "1\r\nx-evil: 1")],
        &[("x-nul", "a\0b")],
        &[("x space", "1")],
        &[("x:colon", "1")],
        &[("", "1")],
        &[(":authority", "user@mail.test")],
        &[(":authority", "mail.test/x")],
        &[(":authority", "mail test")],
        &[(":path", "")],
        &[(":path", "x")],
        &[(":path", "/a/../b")],
        &[(":path", "/a%2fb")],
        &[(":path", "/a\\b")],
        &[(":path", "/a b")],
        &[(":path", &long)],
        &[(":scheme", "ftp")],
        &[(":method", "TRACE")],
        &[(":method", "G ET")],
        &[(":status", "200")],
        &[("content-length", "0"), ("content-length", "0")],
        &[("content-length", "5")],
    ];
    for (accepted, fields) in good.iter().map(|fields| (true, fields)).chain(bad.iter().map(|fields| (false, fields))) {
        let before = front.node.hits().len();
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &front.request("GET", fields));
        assert_eq!(front.send(&[], &request).is_accepted(), accepted, "{fields:?}");
        assert_eq!(front.node.hits().len() - before, usize::from(accepted), "{fields:?}");
    }
    let hits = front.node.hits();
    let cookies = hits.iter().filter_map(|hit| hit.header("cookie")).next_back();
    assert!(cookies.is_some_and(|cookies| cookies.contains("a=1; b=2")), "{cookies:?}");
}

#[test]
fn trailers_name_nothing_to_the_node() {
    let mut front = Front::new("");
    let body = frame(0, 0, 1, b"hello");
    let trailers = block(&[("x-forwarded-for", "6.6.6.6"), ("x-sum", "1")]);
    let request = [
        frame(HEADERS, END_HEADERS, 1, &front.request("POST", &[])),
        body,
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers),
    ];
    assert!(front.send(&[], &request.concat()).is_accepted());
    let hits = front.node.hits();
    let seen = hits.last().expect("a hit");
    assert_eq!((seen.text().as_str(), seen.header("x-forwarded-for")), ("hello", Some("127.0.0.1")));
}

/// A request whose trailers are malformed is malformed (RFC 9113, section 8.1): the node never has it whole.
#[test]
fn what_has_no_place_in_trailers_makes_a_request_malformed() {
    let mut front = Front::new("");
    let good: [&[(&str, &str)]; 3] = [&[("x-sum", "1")], &[], &[("te", "trailers")]];
    let bad: [&[(&str, &str)]; 10] = [
        &[(":path", "/")],
        &[(":method", "GET")],
        &[(":status", "200")],
        &[("x-sum", "1"), (":authority", "mail.test")],
        &[(":unknown", "1")],
        &[("connection", "x")],
        &[("transfer-encoding", "chunked")],
        &[("X-Upper", "1")],
        &[("x y", "1")],
        &[("x-nul", "a\0b")],
    ];
    for (accepted, trailers) in good.iter().map(|fields| (true, fields)).chain(bad.iter().map(|fields| (false, fields)))
    {
        for length in [Some("5"), None] {
            let before = front.node.hits().len();
            let fields: Vec<_> = length.map(|length| ("content-length", length)).into_iter().collect();
            let request = [
                frame(HEADERS, END_HEADERS, 1, &front.request("POST", &fields)),
                frame(0, 0, 1, b"hello"),
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(trailers)),
            ];
            assert_eq!(front.send(&[], &request.concat()).is_accepted(), accepted, "{trailers:?} {length:?}");
            let whole = front.node.hits().iter().skip(before).filter(|seen| seen.complete).count();
            assert_eq!(whole, usize::from(accepted), "{trailers:?} {length:?}");
        }
    }
}

/// NTLM authenticates a connection, of which HTTP/2 has one for all requests: clients are told to come by HTTP/1.1.
#[test]
fn credentials_of_a_connection_need_http_1_1() {
    let mut front = Front::new("");
    let before = front.node.hits().len();
    for (authorization, destination, code) in [
        ("NTLM TYPE1", "document", Some(0xd)),
        ("Negotiate YII=", "document", Some(0xd)),
        ("Negotiate YII=", "empty", Some(0xd)),
        ("Basic YTpi", "document", None),
        ("Basic YTpi", "empty", None),
    ] {
        let fields = front.request("GET", &[("authorization", authorization), ("sec-fetch-dest", destination)]);
        let mut frames = front.send(&[], &frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields));
        let (kind, payload) = frames.next(&[HEADERS, RESET, GOAWAY]).expect("a frame");
        let told = (kind == RESET).then(|| payload.last().copied()).flatten();
        assert_eq!(told, code, "{authorization} {destination}");
    }
    assert_eq!(front.node.hits().len(), before + 2);
}

#[test]
fn a_client_that_takes_nothing_does_not_hold_its_stream() {
    let mut front = Front::new("");
    // SETTINGS_INITIAL_WINDOW_SIZE 0
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &front.request("GET", &[]));
    let mut frames = front.send(&[0, 4, 0, 0, 0, 0], &request);
    assert!(frames.is_accepted());
    let reset = frames.next(&[0, RESET, GOAWAY]).expect("a frame");
    assert_eq!(reset.0, RESET);
    assert!(frames.next(&[0, HEADERS]).is_none(), "the connection ends as well");
}

#[test]
fn many_streams_that_take_nothing_leave_the_node_to_others() {
    let mut front = Front::with_idle_timeout("1h", "[admin]\nsocket = \"admin.sock\"");
    let get = front.request("GET", &[(":path", "/big")]);
    let streams: Vec<u8> =
        (0..64).flat_map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &get)).collect();
    // SETTINGS_INITIAL_WINDOW_SIZE 0
    let _frames = front.send(&[0, 4, 0, 0, 0, 0], &streams);
    // Some answers were read ahead, and others have their share of the node's 64 places.
    front.proxy.wait_for_status("she has her share", |status| {
        let backend = &status["backends"][0];
        status["read-ahead"].as_u64().is_some_and(|bytes| bytes >= 3 << 20) && backend["requests"] == 16
    });
    let mut other = front.other("bob");
    for _ in 0..20 {
        assert_eq!(other.get("/x").status, 200);
    }
}

#[test]
fn a_body_that_does_not_come_ends_its_stream() {
    let mut front = Front::new("[http]\nbody-timeout = \"400ms\"");
    let request = [frame(HEADERS, END_HEADERS, 1, &front.request("POST", &[])), frame(0, 0, 1, b"hel")];
    let mut frames = front.send(&[], &request.concat());
    assert!(!frames.is_accepted());
    let seen = front.node.hits().into_iter().next_back().expect("a hit");
    assert!(!seen.complete, "{seen:?}");
}

#[test]
fn a_stream_that_the_drain_deadline_ends_has_its_access_line() {
    let mut front = Front::new("drain-timeout = \"300ms\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"");
    let (request, hits) = (front.request("GET", &[(":path", "/hangs")]), front.node.hits().len());
    let mut frames = front.send(&[], &frame(HEADERS, END_STREAM | END_HEADERS, 1, &request));
    front.node.wait_for_hits(hits + 1, std::time::Duration::from_secs(30));
    assert!(front.proxy.terminate().success());
    assert!(frames.next(&[HEADERS]).is_none(), "it is not answered");
    let log = std::fs::read_to_string(front.proxy.dir().join("access.log")).expect("a log");
    assert_eq!(log.lines().filter(|line| line.contains("path=/hangs")).count(), 1, "{log}");
}
