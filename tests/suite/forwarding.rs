//! What a node gets, what a browser gets back, and what is refused on the way.

use std::time::Duration;

use harness::{Answer, Backend, Request};

use crate::support::{config, log_in, post_login, proxy, webmail};

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
fn no_header_that_names_a_user_gets_from_a_client_to_a_node() {
    let node = echo();
    let recipe = crate::support::RECIPE
        .replace("[login.fields]", "[login.headers]\n\"X-Own-Login\" = \"{user}\"\n[login.fields]");
    let recipe = format!("{recipe}[inject]\n\"X-Own-Mail\" = \"{{user}}@a.test\"\n");
    let extra = "[http]\nheaders-max-count = 200\nidentity-headers = [\"X-Corp-User\", \"Corp-*\"]\n";
    let proxy = crate::support::setup().file("test.toml", recipe).serve(&config(extra, &[("node-a", &node, "")]));
    let names = [
        "X-Auth-User",
        "X-Auth-Request-Email",
        "X-Remote-User",
        "Remote-Groups",
        "X-Forwarded-User",
        "X-Webauth-User",
        "X-Authenticated-User",
        "X-authentik-username",
        "X-SSL-Client-Verify",
        "X-Client-Cert",
        "X-Original-URL",
        "X-Rewrite-URL",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "Client-IP",
        "X-GSSAPI-Name",
        "X-Ldap-User",
        "X-Vouch-User",
        "X-Shib-User",
        "x-webobjects-remote-user",
        "Ssl-Client-Verify",
        "Tailscale-User-Login",
        "X-Corp-User",
        "Corp-Role",
        "X-Own-Login",
        "X-Own-Mail",
    ];
    let mut client = proxy.client();
    for name in names {
        for spelled in [name.to_owned(), name.replace('-', "_"), name.to_lowercase(), name.replace('-', ".")] {
            client = client.header(&spelled, "root");
        }
    }
    assert_eq!(post_login(&mut client, "/", "alice", "alice-secret").status, 303);
    client.get("/later").expect(200);
    let hits = node.hits();
    for hit in &hits[hits.len() - 2..] {
        let forged: Vec<_> = hit.headers.0.iter().filter(|(_, value)| value == "root").collect();
        assert!(forged.is_empty(), "{} gets {forged:?}", hit.target);
    }
    assert_eq!(hits[hits.len() - 2].header("x-own-login"), Some("alice"));
    assert_eq!(hits[hits.len() - 1].header("x-own-mail"), Some("alice@a.test"));
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
        ("GET /a%2fb HTTP/1.1\r\nHost: a\r\n", "400"),
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

/// What webmails, phones and calendars send.
const TYPES: [(&str, &str); 9] = [
    ("POST", "application/x-www-form-urlencoded"),
    ("POST", "application/json"),
    ("POST", "message/rfc822"),
    ("POST", "application/vnd.ms-sync.wbxml"),
    ("POST", "image/png"),
    ("PUT", "application/octet-stream"),
    ("PUT", "text/calendar"),
    ("PROPFIND", "text/xml"),
    ("POST", "multipart/form-data; boundary=x"),
];

#[test]
fn with_a_session_the_limit_for_uploads_holds_for_every_method_and_type() {
    let node = webmail(|request| Answer::text(request.body().len().to_string()));
    let proxy = proxy("[http]\nupload-max-size = \"1MiB\"", &[("node-a", &node, "")]);
    let sent = |(method, media_type): (&str, &str), size: u64, length| {
        let request = Request::new(method, "/in").header("Content-Type", media_type);
        log_in(&proxy, "alice").send(request.stream(std::io::Read::take(std::io::repeat(7), size), length))
    };
    for what in TYPES {
        let size = 200 << 10;
        for length in [Some(size), None] {
            let answer = sent(what, size, length);
            assert_eq!((answer.status, answer.text()), (200, size.to_string()), "{what:?}");
        }
    }
    for (what, length) in [(TYPES[0], Some((1 << 20) + 1)), (TYPES[5], Some((1 << 20) + 1)), (TYPES[3], None)] {
        let refused = sent(what, (1 << 20) + 1, length);
        assert!(
            refused.status == 413 && refused.text().contains("upload-max-size is 1024 KiB"),
            "{what:?} {refused:?}"
        );
    }
}

#[test]
fn bodies_over_a_limit_are_refused_with_its_name() {
    let node = echo();
    // Whoever wrote a larger limit for all bodies meant those with a session too.
    for (key, other, limit) in [("upload-max-size", "body-max-size", 128), ("body-max-size", "upload-max-size", 256)] {
        let extra = format!("[http]\n{key} = \"{limit}KiB\"\n{other} = \"64KiB\"");
        let proxy = proxy(&extra, &[("node-a", &node, "")]);
        for media_type in ["text/plain", "multipart/form-data; boundary=x"] {
            for (size, over) in [(limit << 10, false), ((limit << 10) + 1, true)] {
                for length in [Some(size), None] {
                    let request = Request::new("POST", "/in").header("Content-Type", media_type);
                    let body = std::io::Read::take(std::io::repeat(7), size);
                    let answer = log_in(&proxy, "alice").send(request.stream(body, length));
                    let told = format!("{key} is {limit} KiB");
                    assert_eq!(answer.status, if over { 413 } else { 200 }, "{answer:?}");
                    assert!(!over || answer.text().contains(&told), "{answer:?}");
                }
            }
        }
    }
}

#[test]
fn the_small_limit_is_for_forms_that_come_without_a_session() {
    let node = echo();
    let proxy = proxy("[http]\nbody-max-size = \"2KiB\"", &[("node-a", &node, "")]);
    let large = "x".repeat(3000);
    let refused = proxy.client().post_form("/.doorward/login", &[("username", &large)]);
    assert!(refused.status == 413 && refused.text().contains("body-max-size is 2 KiB"), "{refused:?}");
    // What came without a session is asked to log in, whatever its size.
    let answer = proxy.client().send(Request::new("POST", "/x").header("Accept", "application/json").body(large));
    assert_eq!(answer.status, 401);
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

/// A webmail below `/app/`, whose answers have the headers that a request names: `X-Say-Location`, say.
fn says() -> Backend {
    Backend::start(|request| {
        if request.what() == ("POST", "/app/login") {
            return Answer::redirect("/app/inbox").status(303).header("Set-Cookie", "sid=alice; Path=/app");
        }
        let said = ["location", "content-location", "refresh", "link"]
            .map(|name| (name, request.seen.header(&format!("x-say-{name}")).map(str::to_owned)));
        said.into_iter().fold(Answer::new(201, "x"), |answer, (name, value)| match value {
            Some(value) => answer.header(name, &value),
            None => answer,
        })
    })
}

fn below_a_path(node: &Backend) -> harness::Proxy {
    let url = format!("{}/app/", node.url());
    let nowhere = "[[backend]]\nname = \"node-b\"\nurl = \"http://127.0.0.1:9/\"\nrecipe = \"test.toml\"\n";
    let before = config("", &[]) + nowhere;
    crate::support::setup().serve(&(before + &crate::support::backend("node-a", &url, "aliases = [\"Alias.test\"]")))
}

#[test]
fn no_answer_leads_the_browser_to_the_node() {
    let node = says();
    let proxy = below_a_path(&node);
    let port = node.address().port();
    let mut client = log_in(&proxy, "alice").site("mail.test");
    let cookies: Vec<_> = ["doorward", "sid"]
        .iter()
        .map(|name| (*name, log_in(&proxy, "alice").cookie(name).expect("a cookie").to_owned()))
        .collect();
    for (name, value) in &cookies {
        client.cookies.set("mail.test", name, value);
    }
    let public = proxy.address("public").port();
    let here = [
        ("http://127.0.0.1:{}/app/dir/", "/dir/"),
        ("HTTP://127.0.0.1:{}/app/x", "/x"),
        ("http://127.0.0.1:{}/app?a=1", "/?a=1"),
        ("http://127.0.0.1:{}/app/\u{fc}?\u{e4}", "/%C3%BC?%C3%A4"),
        ("//127.0.0.1:{}/app/x", "/x"),
        ("https://127.0.0.1:{}/app/x", "/x"),
        ("http://mail.test:{}/app/dir/", "/dir/"),
        ("http://node-a:{}/app/x#f", "/x#f"),
        ("http://ALIAS.test:{}/app", "/"),
        ("http://127.0.0.1:{}", "/"),
        ("http://127.0.0.1:{}/app//evil.test/", "/.//evil.test/"),
        ("/app/x", "/x"),
    ];
    let mut check = |written: &str, fitted: &str| {
        let request = Request::new("GET", "/x")
            .header("X-Say-Location", written)
            .header("X-Say-Content-Location", written)
            .header("X-Say-Refresh", &format!("5; url={written}"))
            .header("X-Say-Link", &format!("<{written}>; rel=next, <https://e.test/{{}}>"));
        let answer = client.send(request).expect(201);
        assert_eq!(answer.header("location"), Some(fitted), "{written}");
        assert_eq!(answer.header("content-location"), Some(fitted), "{written}");
        assert_eq!(answer.header("refresh"), Some(&*format!("5; url={fitted}")), "{written}");
        assert_eq!(answer.header("link"), Some(&*format!("<{fitted}>; rel=next, <https://e.test/{{}}>")), "{written}");
    };
    for (written, fitted) in here {
        check(&written.replace("{}", &port.to_string()), fitted);
    }
    check(&format!("http://mail.test:{public}/y"), "/y");
    let elsewhere = [
        "https://elsewhere.test/app/\u{fc}",
        "http://127.0.0.1:1/app/x",
        "//mail.test.evil.test/",
        "./x?a",
        "/other/\u{fc}",
    ];
    for written in elsewhere {
        check(written, written);
    }
}

#[test]
fn where_dav_moves_something_to_is_below_the_nodes_path() {
    let node = says();
    let proxy = below_a_path(&node);
    let mut client = log_in(&proxy, "alice");
    let public = proxy.address("public");
    for (written, fitted) in [
        (format!("http://{public}/dav/b"), format!("http://{public}/app/dav/b")),
        ("/dav/b".to_owned(), "/app/dav/b".to_owned()),
        ("https://elsewhere.test/dav/b".to_owned(), "https://elsewhere.test/dav/b".to_owned()),
    ] {
        client.send(Request::new("MOVE", "/dav/a").header("Destination", &written)).expect(201);
        let hits = node.hits();
        let seen = hits.last().expect("a hit");
        assert_eq!((seen.target.as_str(), seen.header("destination")), ("/app/dav/a", Some(fitted.as_str())));
    }
}
