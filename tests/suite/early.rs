//! What is answered before a session: health checks, certificate challenges, what programs ask for, refusals of strangers.

use std::time::Duration;

use harness::{Answer, Backend, Certs, Request};

use crate::http2::{END_HEADERS, END_STREAM, HEADERS, block, frame};
use crate::support::{body_attribute, config, log_in, proxy, setup, wait_for_file, webmail};

fn inbox() -> Backend {
    webmail(|_| Answer::text("inbox"))
}

const HEALTH: &str = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nhealth-path = \"/healthz\"\n\
                      [[listener]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n";

#[test]
fn a_balancer_is_answered_whatever_it_says_as_host() {
    let node = inbox();
    let text = config(&format!("drain-delay = \"3s\"\n{HEALTH}"), &[("node-a", &node, "")]);
    let mut proxy = setup().serve(&text.replace("hosts = [\"*\"]", "hosts = [\"mail.test\"]"));
    let ask = |proxy: &harness::Proxy, head: &str| {
        let answer = proxy.client().raw(format!("{head}\r\n\r\n"));
        String::from_utf8_lossy(&answer).into_owned()
    };
    for head in [
        "GET /healthz HTTP/1.0",
        "HEAD /healthz HTTP/1.0",
        "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nConnection: close",
        "GET /healthz HTTP/1.1\r\nHost: unknown.test\r\nConnection: close",
    ] {
        let answer = ask(&proxy, head);
        assert!(answer.starts_with("HTTP/1.") && answer[8..].starts_with(" 200 "), "{head}: {answer}");
        assert!(answer.to_lowercase().contains("cache-control: no-store"), "{answer}");
    }
    assert!(ask(&proxy, "GET /healthz/x HTTP/1.0")[8..].starts_with(" 400 "));
    let other = proxy.client_of("other").raw("GET /healthz HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n");
    assert!(other.starts_with(b"HTTP/1.1 421 "));
    // Until the delay is over it serves as before, and tells balancers to send no more.
    proxy.begin_to_terminate();
    while !ask(&proxy, "GET /healthz HTTP/1.0")[8..].starts_with(" 503 ") {
        std::thread::yield_now();
    }
    proxy.client().host("mail.test").get("/").expect(200);
    assert!(proxy.program().wait(Duration::from_secs(30)).success());
}

#[test]
fn a_balancer_is_answered_behind_a_proxy_header_and_over_http2_and_writes_no_line() {
    let (certs, node) = (Certs::new(), inbox());
    let pair = certs.server(&["mail.test"]);
    let read = |path: &std::path::Path| std::fs::read(path).expect("a PEM file");
    let listener = |name: &str, settings: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\nhealth-path = \"/healthz\"\n{settings}\n")
    };
    let listeners = [
        listener("told", "proxy-protocol = \"required\"\nproxy-protocol-from = [\"127.0.0.1\"]"),
        listener("tls", "certificates = [{ chain = \"a.pem\", key = \"a.key\" }]"),
        listener("loud", "health-log = true"),
    ];
    let extra = format!(
        "[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"\n[admin]\nsocket = \"admin.sock\"\n{}",
        listeners.concat()
    );
    let mut proxy = setup()
        .file("a.pem", read(&pair.chain))
        .file("a.key", read(&pair.key))
        .serve(&config(&extra, &[("node-a", &node, "")]).replace("hosts = [\"*\"]", "hosts = [\"mail.test\"]"));
    let check = "GET /healthz HTTP/1.0\r\n\r\n";
    let told = proxy.client_of("told").preamble(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n").raw(check);
    assert!(told[8..].starts_with(b" 200 "), "{}", String::from_utf8_lossy(&told));
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "10.0.0.1"), (":path", "/healthz")];
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields));
    let mut connection = proxy.client_of("tls").site("mail.test").tls(certs.ca()).alpn("h2").connect();
    connection.write([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..], &request].concat());
    let mut answer = Vec::new();
    // `:status: 200` is the eighth entry of the static table (RFC 7541, appendix A).
    let is_answer = |bytes: &[u8]| bytes[3] == HEADERS && bytes[5..10] == [0, 0, 0, 1, 0x88];
    while !answer.windows(10).any(is_answer) {
        let more = connection.read_some().expect("more of the answer");
        assert!(!more.is_empty(), "{answer:?}");
        answer.extend(more);
    }
    proxy.client_of("loud").raw(check);
    let log = proxy.dir().join("access.log");
    let lines = wait_for_file(&log, |text| text.contains("listener=loud"));
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let metrics = proxy.admin("GET", "/metrics").1;
    let all = "doorward_requests_total{site=\"none\",method=\"GET\",status=\"2xx\",ended=\"whole\"} 3\n";
    assert!(metrics.contains(all), "{metrics}");
    assert!(proxy.terminate().success());
}

#[test]
fn programs_that_ask_for_their_files_get_no_login_page() {
    let node = inbox();
    let own = "[[site]]\nhosts = [\"own.test\"]\ntemplate = \"own\"\n";
    let text = format!("templates = \"looks\"\n{}{own}", config("", &[("node-a", &node, "")]));
    let proxy = setup()
        .file("looks/own/assets/robots.txt", "User-agent: *\nDisallow: /\n")
        .file("looks/own/assets/well-known/security.txt", "Contact: mailto:a@own.test\n")
        .serve(&text);
    for path in [
        "/favicon.ico",
        "/robots.txt",
        "/.well-known/security.txt",
        "/.well-known/change-password",
        "/apple-touch-icon-120x120.png",
        "/.well-known/",
    ] {
        for (name, value) in [("Accept", "*/*"), ("Sec-Fetch-Dest", "image")] {
            let answer = proxy.client().send(Request::new("GET", path).header(name, value));
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    let mut client = proxy.client().host("own.test");
    for (path, text) in [("/robots.txt", "Disallow"), ("/.well-known/security.txt", "Contact")] {
        let answer = client.get(path).expect(200);
        assert!(answer.text().contains(text) && answer.header("content-type") == Some("text/plain; charset=utf-8"));
    }
    // With a session they are the node's.
    assert_eq!(log_in(&proxy, "alice").get("/robots.txt").expect(200).text(), "inbox");
}

#[test]
fn challenges_are_files_of_one_folder_and_come_before_redirects() {
    let listener = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nredirect-to-https = true\n";
    let node = inbox();
    let extra = format!("[http]\nacme-challenge-directory = \"acme\"\n{listener}");
    let text = config(&extra, &[("node-a", &node, "")]).replace("hosts = [\"*\"]", "hosts = [\"mail.test\"]");
    let proxy =
        setup().file("acme/token_-1", "token.digest").file("acme/below/x", "x").file("secret", "s").serve(&text);
    let mut client = proxy.client().host("mail.test");
    assert_eq!(client.get("/").status, 301);
    let answer = client.get("/.well-known/acme-challenge/token_-1").expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.header("content-type")),
        ("token.digest", Some("text/plain; charset=utf-8"))
    );
    for path in ["none", "", "below", "below/x", "%2e%2e%2fsecret", "..%2fsecret", "../secret", "token_-1%00", "."] {
        let status = client.get(&format!("/.well-known/acme-challenge/{path}")).status;
        assert_eq!(status, 404, "{path}");
    }
}

#[test]
fn strangers_are_refused_in_the_look_and_language_of_the_first_site() {
    let node = inbox();
    let text = config("", &[("node-a", &node, "")])
        .replace("hosts = [\"*\"]", "hosts = [\"mail.test\"]\ntemplate = \"green\"\ntitle = \"Our mail\"");
    let proxy = setup().serve(&text);
    let mut client = proxy.client().host("unknown.test").header("Accept-Language", "de");
    let page = client.get("/");
    assert_eq!((page.status, page.header("content-language")), (421, Some("de")));
    let html = page.text();
    assert!(html.contains("Our mail") && html.contains("Fehler 421"), "{html}");
    assert_eq!(
        (body_attribute(&html, "data-look"), body_attribute(&html, "data-page")),
        ("green".into(), "error".into())
    );
    // What the page needs is there at that name too.
    let style = html.split("href=\"").find(|rest| rest.contains("style.css")).and_then(|rest| rest.split('"').next());
    client.get(style.expect("a style sheet")).expect(200);
    for raw in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", "nonsense\r\n\r\n"] {
        let answer = String::from_utf8_lossy(&proxy.client().raw(raw)).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("data-look=\"green\""),
            "{raw:?}: {answer:.300}"
        );
        assert!(answer.to_lowercase().contains("connection: close"), "{answer:.300}");
    }
    let spoken = proxy.client().raw("GET / HTTP/1.1\r\nHost: a b\r\nAccept-Language: fr\r\n\r\n");
    assert!(spoken.starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn every_answer_has_its_request_id_and_so_have_the_lines_of_the_log() {
    let node = webmail(|_| Answer::text("inbox").header("X-Request-Id", "of the node"));
    let proxy = proxy("[[log.to]]\nwhat = [\"access\"]\ntarget = \"stderr\"", &[("node-a", &node, "")]);
    let is_id = |id: &str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut client = proxy.client();
    let wrong = crate::support::post_login(&mut client, "/", "alice", "wrong");
    let id = wrong.header("x-request-id").expect("an id").to_owned();
    assert!(is_id(&id) && wrong.text().contains(&id), "{wrong:?}");
    proxy.wait_for_log(&format!("login id=\"{id}\".*outcome=\"wrong\""), Duration::from_secs(5));
    let mut alice = log_in(&proxy, "alice");
    let mail = alice.get("/mail").expect(200);
    let ids = mail.headers.all("x-request-id");
    assert!(ids.len() == 1 && is_id(ids[0]), "{ids:?}");
    assert_eq!(
        node.hits().last().and_then(|hit| hit.header("x-request-id").map(str::to_owned)).as_deref(),
        Some(ids[0])
    );
    for path in ["/.doorward/assets/blue/style.css", "/.doorward/nothing"] {
        assert!(alice.get(path).header("x-request-id").is_some_and(is_id), "{path}");
    }
}

#[test]
fn an_encoded_slash_is_passed_on_where_it_is_said_to_stand_in_a_name() {
    let node = webmail(|request| Answer::text(request.seen.target.clone()));
    let recipe = format!("encoded-slashes = [\"/download/\"]\n{}", crate::support::RECIPE);
    let text = config("[http]\nencoded-slashes = [\"/files/\"]", &[("node-a", &node, "")]);
    let proxy = setup().file("test.toml", recipe).serve(&text);
    let mut alice = log_in(&proxy, "alice");
    for path in ["/download/Offer%201%2F2.pdf", "/download/a%5cb", "/files/a%2Fb?x=%2F", "/mail?file=a%2Fb"] {
        assert_eq!(alice.get(path).expect(200).text(), path);
    }
    for path in ["/mail/a%2Fb", "/download%2Fa", "/download/..%2fmail", "/files/%2e%2e%5Cx", "/files/a%00"] {
        assert_eq!(alice.get(path).status, 400, "{path}");
    }
    let mut nobody = proxy.client();
    assert_eq!([nobody.get("/download/a%2Fb").status, nobody.get("/files/a%2Fb").status], [400, 200]);
}
