//! What a node gets, what a browser gets back, and what is refused on the way.

use std::time::Duration;

use harness::{Answer, Backend, Request};

use crate::support::{log_in, proxy, webmail};

fn echo() -> Backend {
    webmail(|request| {
        let text = request.seen.text();
        Answer::text(text)
    })
}

#[test]
fn the_node_reads_what_is_true_and_nothing_forged() {
    let node = echo();
    let proxy = proxy("", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let mut request = Request::new("GET", "/x?y=1");
    for name in ["X-Forwarded-For", "X_Forwarded_For", "X-Real-IP", "Forwarded", "Remote-User", "X-Doorward-Device"] {
        request = request.header(name, "6.6.6.6");
    }
    client.send(request.header("Connection", "keep-alive, x-real-ip, x-secret").header("X-Secret", "1")).expect(200);
    let hits = node.hits();
    let seen = hits.last().expect("a hit");
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/x?y=1"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-doorward-device"), Some("desktop"));
    for gone in ["x_forwarded_for", "forwarded", "remote-user", "x-secret"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("cookie"), Some("sid=alice"), "our own cookie stays here");
}

#[test]
fn the_browser_gets_no_cookie_of_our_name_and_no_address_of_the_node() {
    let node = webmail(|request| {
        let host = request.seen.header("host").unwrap_or_default().to_owned();
        Answer::redirect(&format!("http://{host}/there"))
            .header("Set-Cookie", "a=1; Domain=node.internal; Path=/")
            .header("Set-Cookie", "doorward=forged; Path=/")
            .header("Alt-Svc", "h3=\":8443\"")
            .header("Alt-Svc", "h2=\"node.internal:443\"")
    });
    let proxy = proxy("", &[("node-a", &node, "")]);
    let answer = log_in(&proxy, "alice").get("/x").expect(302);
    assert_eq!(answer.header("location"), Some("/there"));
    assert_eq!(answer.headers.all("set-cookie"), ["a=1; Path=/"]);
    assert_eq!(answer.header("alt-svc"), None);
}

#[test]
fn ambiguous_requests_are_refused_and_never_forwarded() {
    let node = echo();
    let proxy = proxy("", &[("node-a", &node, "")]);
    let client = log_in(&proxy, "alice");
    let cookie = format!("Cookie: doorward={}; sid=alice\r\n", client.cookie("doorward").expect("a session"));
    let before = node.hits().len();
    let refused = [
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", "400"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n", "400"),
        ("GET /a/../b HTTP/1.1\r\nHost: a\r\n", "400"),
        ("GET /a%2f..%2fb HTTP/1.1\r\nHost: a\r\n", "400"),
        ("GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\n", "400"),
        ("GET /a%00b HTTP/1.1\r\nHost: a\r\n", "400"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n", "405"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n", "405"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n", "501"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n", "400"),
    ];
    for (head, status) in refused {
        let answer = proxy.client().raw(format!("{head}{cookie}Connection: close\r\n\r\n"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head:?}: {answer:.200}");
    }
    assert_eq!(node.hits().len(), before);
}

#[test]
fn bodies_over_a_limit_are_refused_with_its_name() {
    let node = echo();
    let proxy = proxy("[http]\nbody-max-size = \"64KiB\"\nupload-max-size = \"128KiB\"", &[("node-a", &node, "")]);
    let multipart = "multipart/form-data; boundary=x";
    for (media_type, size, limit) in [
        ("text/plain", 64 << 10, None),
        ("text/plain", (64 << 10) + 1, Some("body-max-size is 64 KiB")),
        (multipart, 128 << 10, None),
        (multipart, (128 << 10) + 1, Some("upload-max-size is 128 KiB")),
    ] {
        for length in [Some(size), None] {
            let request = Request::new("POST", "/in").header("Content-Type", media_type);
            let answer =
                log_in(&proxy, "alice").send(request.stream(std::io::Read::take(std::io::repeat(7), size), length));
            match limit {
                None => assert_eq!(answer.status, 200),
                Some(text) => assert!(answer.status == 413 && answer.text().contains(text), "{}", answer.text()),
            }
        }
    }
}

#[test]
fn a_node_that_fails_is_told_as_what_it_is() {
    let node = webmail(|request| match request.what().1 {
        "/close" => Answer::close(),
        "/garbage" => Answer::raw("this is no HTTP\r\n\r\n"),
        "/silent" => Answer::hang(),
        _ => Answer::text("fine"),
    });
    let proxy = proxy("", &[("node-a", &node, "rw-timeout = \"500ms\"")]);
    let mut client = log_in(&proxy, "alice");
    for (path, status) in [("/close", 502), ("/fine", 200), ("/garbage", 502), ("/silent", 504), ("/fine", 200)] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
}

#[test]
fn a_node_that_stops_in_the_middle_never_looks_like_a_whole_answer() {
    let node = webmail(|_| Answer::half("half of it", 100));
    let proxy = proxy("", &[("node-a", &node, "")]);
    assert!(log_in(&proxy, "alice").try_send(Request::new("GET", "/x")).is_err());
}

#[test]
fn connections_to_a_node_are_used_again() {
    let node = echo();
    let proxy = proxy("", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    for _ in 0..50 {
        client.get("/again").expect(200);
    }
    assert!(node.accepted() <= 3, "{} connections for 51 requests", node.accepted());
}

#[test]
fn a_session_that_the_node_forgot_leads_to_the_login_page() {
    let node = webmail(|_| Answer::redirect("/login?expired=1").status(303));
    let recipe = format!("{}[expired]\nlocation = \"/login?expired\"\n", crate::support::RECIPE);
    let proxy =
        crate::support::setup().file("test.toml", recipe).serve(&crate::support::config("", &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice").follow();
    let page = client.get("/inbox").expect(200).text();
    assert!(page.contains("Your session has ended"), "{page}");
    assert_eq!(client.cookie("doorward"), None);
    proxy.wait_for_log("logged out", Duration::from_secs(5));
}

#[test]
fn a_client_that_never_ends_its_head_is_given_up() {
    let node = echo();
    let proxy = proxy("[http]\nheader-timeout = \"300ms\"", &[("node-a", &node, "")]);
    let mut connection = proxy.client().connect();
    connection.write("GET / HTTP/1.1\r\nHost: a\r\nX-Slow:");
    assert_eq!(connection.read_response("GET").expect("an answer").status, 408);
    connection.read_end().expect("the end");
    // One that is merely idle between requests is not.
    let mut client = proxy.client();
    client.get("/").expect(200);
    std::thread::sleep(Duration::from_millis(600));
    client.get("/").expect(200);
    assert_eq!(client.opened(), 1);
}

#[test]
fn headers_over_the_limit_are_refused() {
    let node = echo();
    let proxy = proxy("[http]\nheaders-max-size = \"16KiB\"", &[("node-a", &node, "")]);
    let mut client = proxy.client().header("X-Large", &"x".repeat(15 << 10));
    assert_eq!(client.get("/").status, 200);
    let mut client = proxy.client().header("X-Large", &"x".repeat(17 << 10));
    assert_eq!(client.get("/").status, 431);
}
