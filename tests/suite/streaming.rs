//! Bodies on their way: slow ones, early answers, events as they happen, and what belongs to one connection only.

use std::time::Duration;

use harness::{Answer, Client, Connection, Hold};

use crate::support::{log_in, one_worker, webmail};

const SOON: Duration = Duration::from_secs(10);

/// A connection on which this request was begun, with a session.
fn begin(client: &mut Client, request: &str, rest: &str) -> Connection {
    let session = client.cookie("doorward").unwrap_or("none").to_owned();
    let mut connection = client.connect();
    connection.write(format!("{request} HTTP/1.1\r\nHost: a.test\r\nCookie: doorward={session}; sid=alice\r\n{rest}"));
    connection
}

fn session(proxy: &harness::Proxy) -> Client {
    let client = log_in(proxy, "alice");
    let session = client.cookie("doorward").expect("a session").to_owned();
    let mut client = proxy.client().host("a.test");
    client.cookies.take("a.test", "/", false, &format!("doorward={session}; Path=/"));
    client
}

#[test]
fn a_body_that_does_not_come_in_time_is_answered_408() {
    let node = webmail(|_| Answer::text("whole"));
    let proxy = one_worker("[http]\nbody-timeout = \"400ms\"\nbody-min-rate = 100000", &[("node-a", &node, "")]);
    let mut client = session(&proxy);
    for (request, rest) in [
        ("POST /slow", "Content-Length: 10\r\n\r\nabc"),
        ("POST /slow", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ("POST /slow", "Content-Length: 10\r\n\r\n"),
        ("POST /.doorward/login", "Content-Length: 10\r\n\r\nabc"),
    ] {
        let mut connection = begin(&mut client, request, rest);
        let answer = connection.read_response("POST").expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{request} {rest}");
        connection.read_end().expect("the end");
    }
    // One that drips is never silent for long, and is too slow all the same.
    let mut connection = begin(&mut client, "POST /drip", "Content-Length: 100000\r\n\r\n");
    while connection.try_write(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(node.hits().iter().filter(|hit| hit.method == "POST" && hit.target != "/login").all(|hit| !hit.complete));
    node.wait_for_open(0, SOON);
}

#[test]
fn a_client_that_leaves_in_its_body_leaves_no_request_behind() {
    let node = webmail(|request| Answer::text(format!("{}", request.body().len())));
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = session(&proxy);
    let before = node.hits().len();
    let connection = begin(&mut client, "POST /left", "Content-Length: 10\r\n\r\nabc");
    node.wait_for_hits(before + 1, SOON);
    drop(connection);
    node.wait_for_open(0, SOON);
    assert!(!node.hits()[before].complete);
}

#[test]
fn an_answer_before_the_end_of_the_request_ends_both_connections() {
    let node = webmail(|_| Answer::text("too much").status(413).early());
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = session(&proxy);
    let before = node.hits().len();
    for rest in ["Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut connection = begin(&mut client, "POST /early", rest);
        let answer = connection.read_response("POST").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
        // What looks like a request is part of the body that nobody wants.
        let _ = connection.try_write(b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
        connection.read_end().expect("the end");
    }
    node.wait_for_open(0, SOON);
    assert_eq!(node.hits().len(), before + 2);
}

#[test]
fn an_early_answer_arrives_also_while_much_is_being_sent() {
    let node = webmail(|_| Answer::text("too much").status(413).early());
    let proxy = one_worker("[http]\nbody-max-size = \"64MiB\"", &[("node-a", &node, "")]);
    for length in [Some(32 << 20), None] {
        let mut client = session(&proxy);
        let body = std::io::Read::take(std::io::repeat(7), 32 << 20);
        let answer = client.send(harness::Request::new("POST", "/early").stream(body, length));
        assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    }
}

#[test]
fn an_early_answer_with_a_kept_connection_is_not_kept() {
    // The node answers at once, says nothing of closing, and would read the rest of the body as it comes.
    let node = webmail(|_| {
        Answer::script(|line| {
            line.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")?;
            line.flush()?;
            let mut rest = Vec::new();
            line.read_to_end(&mut rest).map(|_| ())
        })
        .early()
    });
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = session(&proxy);
    let mut connection = begin(&mut client, "POST /early", "Content-Length: 1000\r\n\r\nabc");
    assert_eq!(connection.read_response("POST").expect("an answer").text(), "early");
    connection.read_end().expect("the end");
    node.wait_for_open(0, SOON);
}

#[test]
fn the_rest_of_a_body_is_invited_only_where_it_is_wanted() {
    let node = webmail(|request| Answer::text(format!("{} bytes", request.body().len())));
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let expects = "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut client = session(&proxy);
    let mut connection = begin(&mut client, "POST /in", expects);
    assert!(String::from_utf8_lossy(&connection.read_some().expect("bytes")).starts_with("HTTP/1.1 100 "));
    connection.write("hello");
    assert_eq!(connection.read_response("POST").expect("an answer").text(), "5 bytes");
    // Too large, and without a session: answered without it.
    let large = expects.replace('5', "99999999");
    for (client, rest, status) in [(&mut client, large.as_str(), 413), (&mut proxy.client(), expects, 303)] {
        let mut connection = begin(client, "POST /in", rest);
        let answer = connection.read_response("POST").expect("an answer");
        assert_eq!((answer.status, answer.interim.len()), (status, 0));
        connection.read_end().expect("the end");
    }
}

#[test]
fn events_arrive_while_the_answer_is_still_open() {
    let hold = Hold::new();
    let held = hold.clone();
    let node = webmail(move |_| {
        let held = held.clone();
        Answer::script(move |line| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            write!(line, "{head}data: one\n\n")?;
            line.flush()?;
            held.wait_here();
            line.write_all(b"data: two\n\n")
        })
    });
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut connection = begin(&mut session(&proxy), "GET /events", "\r\n");
    let mut seen = String::new();
    while !seen.contains("data: one") {
        seen += &String::from_utf8_lossy(&connection.read_some().expect("bytes"));
    }
    assert!(!seen.contains("data: two"));
    hold.release();
    while !seen.contains("data: two") {
        seen += &String::from_utf8_lossy(&connection.read_some().expect("bytes"));
    }
}

#[test]
fn answers_without_a_body_and_parts_of_one_stay_what_they_are() {
    let node = webmail(|request| match request.what().1 {
        "/none" => Answer::new(204, ""),
        "/same" => Answer::new(304, "").header("ETag", "\"1\""),
        "/part" => {
            let asked = request.seen.header("range").unwrap_or_default().to_owned();
            Answer::text("bc").status(206).header("Content-Range", "bytes 1-2/4").header("X-Asked", &asked)
        }
        "/hints" => Answer::script(|line| {
            line.write_all(
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
            )?;
            line.write_all(b"real")
        }),
        _ => Answer::text("four"),
    });
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = session(&proxy);
    let mut connection = begin(&mut client, "HEAD /head", "\r\n");
    assert_eq!(connection.read_response("HEAD").expect("an answer").header("content-length"), Some("4"));
    let cookie = format!("Cookie: doorward={}\r\n", client.cookie("doorward").expect("a session"));
    for (path, status, text) in
        [("/none", 204, ""), ("/same", 304, ""), ("/part", 206, "bc"), ("/hints", 200, "real"), ("/", 200, "four")]
    {
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nRange: bytes=1-2\r\n{cookie}\r\n"));
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{path}");
        if path == "/part" {
            assert_eq!(answer.header("x-asked"), Some("bytes=1-2"));
        }
    }
}

#[test]
fn what_belongs_to_one_connection_or_only_to_us_goes_no_further() {
    let node = webmail(|_| {
        Answer::script(|line| {
            line.write_all(
                b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 1\r\nTrailer: X-Sum, Set-Cookie\r\n\
                  Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: doorward=x\r\n\r\n",
            )
        })
    });
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = session(&proxy);
    let forged = "Connection: close, x-forwarded-for, X-Request-Id, host, cookie, x-named\r\nX-Named: 1\r\n\
        Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\n\
        X_Forwarded-For: 6.6.6.6\r\nx-forwarded_for: 6.6.6.6\r\nX-FORWARDED-FOR: 6.6.6.6\r\nX-Forwarded-User: root\r\n\
        X-Forwarded-Uri: /admin\r\nForwarded: for=6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\nRemote_User: root\r\n\
        X-Remote-User: root\r\nX_Doorward_Template: x\r\nX-Request_Id: x\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nhi\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: sid=root\r\nContent-Length: 5\r\n\r\n";
    let mut connection = begin(&mut client, "POST /x", forged);
    let raw = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
    assert!(raw.starts_with("HTTP/1.1 200") && raw.contains("x-kept: 1") && raw.contains("2\r\nok\r\n0\r\n"), "{raw}");
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "upgrade", "set-cookie"] {
        assert!(!raw.to_ascii_lowercase().contains(gone), "{gone} in {raw}");
    }
    let hits = node.hits();
    let seen = hits.last().expect("a hit");
    assert_eq!((seen.text().as_str(), seen.complete), ("hi", true));
    let all = format!("{:?}", seen.headers).to_ascii_lowercase();
    for gone in ["6.6.6.6", "root", "admin", "x-named", "keep-alive", "proxy-", "\"te\"", "_", "trailer"] {
        assert!(!all.contains(gone), "{gone} in {all}");
    }
    assert_eq!(seen.headers.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.headers.all("host"), ["a.test"]);
    assert_eq!(seen.headers.all("x-request-id").len(), 1);
    assert_eq!(seen.headers.all("transfer-encoding").len() + seen.headers.all("content-length").len(), 1);
}

#[test]
fn a_request_that_is_no_http_has_a_page_an_id_and_a_line() {
    let node = webmail(|_| Answer::text("x"));
    let proxy = one_worker(
        "[[log.to]]\nwhat = [\"server\", \"login\", \"access\", \"protocol\"]\nlevel = \"debug\"\ntarget = \"stderr\"",
        &[("node-a", &node, "")],
    );
    let answer = String::from_utf8_lossy(&proxy.client().raw("GET /x HTTP/1.1\nHost: a\n\n")).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("could not be understood"), "{answer}");
    // What is wrong with it is for the log, which has one language.
    assert!(!answer.contains("CR LF"), "{answer}");
    proxy.wait_for_log("refusal=.BadRequest.*CR LF", SOON);
    let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.split('\r').next()).expect("an id");
    assert_eq!(answer.matches(id).count(), 2, "the page shows it: {answer}");
    proxy.wait_for_log(&format!("id={id} .*method=- path=- status=400"), SOON);
}

#[test]
fn a_head_too_large_is_told_by_the_name_of_its_limit() {
    let node = webmail(|_| Answer::text("x"));
    let limits = "[http]\nuri-max-size = \"1KiB\"\nheaders-max-size = \"8KiB\"\nheaders-max-count = 20";
    let proxy = one_worker(limits, &[("node-a", &node, "")]);
    let long = |count| "x".repeat(count);
    for (request, status, text) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(1024)), "414", "uri-max-size is 1024 bytes"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", long(1023)), "200", ""),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(9000)), "431", "headers-max-size is 8 KiB"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(20)), "431", "headers-max-count is 20"),
    ] {
        let answer = String::from_utf8_lossy(&proxy.client().raw(&request)).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(text), "{answer}");
    }
}

#[test]
fn a_connection_that_is_idle_for_too_long_is_closed() {
    let node = webmail(|_| Answer::text("x"));
    let listener = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nidle-timeout = \"500ms\"";
    let proxy = one_worker(listener, &[("node-a", &node, "")]);
    let mut connection = proxy.client().timeout(SOON).connect();
    for _ in 0..2 {
        connection.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(connection.read_response("GET").expect("an answer").status, 200);
    }
    connection.read_end().expect("the end");
}
