//! The harness without the program: is each piece what the tests take it for?

use crate::*;
use std::io::{Cursor, Read as _};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn login_page() -> Answer {
    Answer::html(
        "<!doctype html><html><head><title>Login</title></head><body><form method=post action='/.doorward/login'>\
         <input type=hidden name=next value='/mail?a=1&amp;b=2'><input name=username><input type=password name=password>\
         <button id=go>Log in</button></form></body></html>",
    )
    .header("Set-Cookie", "pre=1; Path=/; HttpOnly")
}

/// A tiny webmail: a login page, a session cookie, an inbox that takes files.
fn webmail(request: &mut Incoming<'_>) -> Answer {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    let known = request.seen.header("cookie").is_some_and(|c| c.contains("session=good"));
    match request.what() {
        ("POST", "/.doorward/login") if body.contains("password=right") => Answer::redirect("/mail?a=1")
            .status(303)
            .header("Set-Cookie", "session=good; Path=/; HttpOnly")
            .header("Set-Cookie", "pre=; Path=/; Max-Age=0"),
        ("GET", "/mail?a=1") if known => Answer::html(
            "<title>Inbox</title><h1 data-node='A'>Inbox</h1><form method=post enctype=multipart/form-data action=/up>\
             <input type=file name=file><button>Send</button></form>",
        ),
        ("POST", "/up") if known => Answer::html(format!("<p>{} bytes</p>", body.len())),
        _ => login_page(),
    }
}

#[test]
fn a_client_logs_in_as_a_browser_does() {
    let backend = Backend::start(webmail);
    let mut client = Client::new(backend.address()).site("blue.localhost");
    let chain = client.login("zoë", "right");
    assert_eq!(chain.iter().map(|r| r.status).collect::<Vec<_>>(), [303, 200]);
    assert!(chain[1].text().contains("Inbox"));
    assert_eq!((client.cookie("session"), client.cookie("pre")), (Some("good"), None));
    let hits = backend.hits();
    assert_eq!(hits[1].text(), "next=%2Fmail%3Fa%3D1%26b%3D2&username=zo%C3%AB&password=right");
    assert_eq!(hits[1].header("cookie"), Some("pre=1"));
    assert_eq!(hits[1].header("host"), Some(format!("blue.localhost:{}", backend.address().port()).as_str()));
    // one connection for all
    assert_eq!((client.opened(), backend.accepted()), (1, 1));
    // and elsewhere nobody knows us
    let mut other = client.site("red.localhost");
    assert_eq!(other.cookie("session"), None);
    assert!(other.login("zoë", "wrong")[0].text().contains("password"));
}

#[test]
fn cookies_go_where_a_browser_sends_them() {
    let mut jar = Cookies::default();
    jar.take("a.test", "/x/y", false, "plain=1");
    jar.take("a.test", "/", false, "root=2; Path=/; Expires=Thu, 01-Jan-2099 00:00:00 GMT");
    jar.take("a.test", "/", true, "tls=3; Path=/; Secure");
    jar.take("a.test", "/", false, "dropped=4; Secure");
    jar.take("a.test", "/", false, "foreign=5; Domain=b.test");
    jar.take("a.test", "/", true, "__Host-six=6; Path=/; Secure");
    jar.take("a.test", "/", true, "__Host-bad=7; Path=/x; Secure");
    let cases = [
        ("a.test", "/x/z?q", false, "plain=1; root=2"),
        ("a.test", "/xy", false, "root=2"),
        ("a.test", "/", true, "root=2; tls=3; __Host-six=6"),
        ("sub.a.test", "/", true, ""),
        ("b.test", "/", true, ""),
    ];
    for (host, target, secure, want) in cases {
        assert_eq!(jar.header(host, target, secure), want, "{host}{target}");
    }
    assert_eq!(jar.refused().len(), 3, "{:?}", jar.refused());
    jar.take("a.test", "/", false, "root=-; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT");
    assert_eq!(jar.header("a.test", "/", false), "");
}

#[test]
fn a_stream_is_uploaded_chunk_by_chunk_and_an_early_answer_ends_it() {
    let backend = Backend::start(|request| match request.what().1 {
        "/refuse" => Answer::new(413, "too much").early(),
        _ => Answer::text("taken"),
    });
    let mut client = Client::new(backend.address());
    let data = vec![7_u8; 3 << 20];
    let response = client.send(Request::new("POST", "/take").stream(Cursor::new(data.clone()), None));
    assert_eq!((response.status, response.sent), (200, 3 << 20));
    client.send(Request::new("PUT", "/take").body(data.clone()));
    let hits = backend.hits();
    assert_eq!((hits[0].length, hits[0].complete), (3 << 20, true));
    assert_eq!(hits[0].sha256, hits[1].sha256);
    assert_eq!(hits[0].header("transfer-encoding"), Some("chunked"));
    // A gigabyte that nobody reads: the answer must come long before its end.
    let endless = std::io::repeat(1).take(1 << 30);
    let response = client.send(Request::new("POST", "/refuse").stream(endless, Some(1 << 30)));
    assert_eq!((response.status, response.text().as_str()), (413, "too much"));
    assert!(response.sent < 1 << 30);
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced() {
    let backend = Backend::start(|_| Answer::text("x"));
    let address = backend.address().to_string();
    let mut client = Client::new(backend.address());
    client.get("/1");
    drop(backend);
    let backend = Backend::start_at(&address, None, |_| Answer::text("y"));
    assert_eq!(client.get("/2").text(), "y");
    assert_eq!((client.opened(), backend.accepted()), (2, 1));
}

#[test]
fn bytes_go_through_as_they_are() {
    let backend = Backend::start(|_| Answer::text("raw").closing());
    let mut client = Client::new(backend.address()).from("127.0.0.9");
    let back = client.raw("GET /\x01 HTTP/1.1\r\nhOsT: x\r\n\r\n");
    assert!(back.starts_with(b"HTTP/1.1 200 OK\r\n") && back.ends_with(b"raw"), "{}", String::from_utf8_lossy(&back));
    let hit = &backend.hits()[0];
    assert_eq!((hit.target.as_str(), hit.header("HOST")), ("/\x01", Some("x")));
    assert_eq!(hit.peer.unwrap().ip().to_string(), "127.0.0.9");
    let mut connection = client.connect();
    connection.write("POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nab");
    backend.wait_for_hits(2, SOON);
    connection.write("cd");
    let response = connection.read_response("POST").unwrap();
    assert_eq!((response.status, response.interim), (200, vec![100]));
    connection.read_end().unwrap();
    assert_eq!(backend.hits()[1].text(), "abcd");
}

#[test]
fn a_back_end_fails_in_every_way_it_is_told_to() {
    let hold = Hold::new();
    let held = hold.clone();
    let backend = Backend::start(move |request| match request.what().1 {
        "/half" => Answer::half("abc", 10),
        "/close" => Answer::close(),
        "/reset" => Answer::reset(),
        "/hang" => Answer::hang(),
        "/held" => Answer::text("at last").after(&held),
        "/slow" => Answer::slow(&[b"a", b"b"], Duration::from_millis(1)),
        "/echo" => Answer::echo_upgrade("websocket"),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx"),
    });
    let mut client = Client::new(backend.address()).timeout(Duration::from_millis(300));
    let mut fails = |target: &str| client.try_send(Request::new("GET", target)).unwrap_err().kind();
    use std::io::ErrorKind::{ConnectionReset, InvalidData, UnexpectedEof, WouldBlock};
    assert_eq!(fails("/half"), UnexpectedEof);
    assert_eq!(fails("/close"), UnexpectedEof);
    assert_eq!(fails("/reset"), ConnectionReset);
    assert_eq!(fails("/hang"), WouldBlock);
    assert_eq!(fails("/nonsense"), InvalidData);
    backend.wait_for_open(0, SOON);
    let mut client = client.timeout(SOON);
    assert_eq!(client.get("/slow").text(), "ab");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| client.get("/held"));
        backend.wait_for_hits(7, SOON);
        assert!(!answer.is_finished());
        hold.release();
        assert_eq!(answer.join().unwrap().text(), "at last");
    });
    let mut line = client.connect();
    line.write("GET /echo HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(line.read_response("GET").unwrap().status, 101);
    line.write("hello");
    assert_eq!(line.read_some().unwrap(), b"hello");
}

#[test]
fn tls_goes_by_the_ca_the_name_and_the_dates() {
    let certs = Certs::new();
    let (good, old) = (certs.server(&["mail.test", "*.mail.test", "127.0.0.1"]), certs.expired(&["mail.test"]));
    let backend = Backend::tls(&good, |_| Answer::text("secret"));
    let client = || Client::new(backend.address());
    for host in ["mail.test", "blue.mail.test", "127.0.0.1"] {
        let mut client = client().site(host).tls(certs.ca());
        assert_eq!(client.get("/").expect(200).text(), "secret");
        assert_eq!(client.server_certificate(), Some(&good.der[..]));
        assert_eq!((client.get("/2").status, client.opened()), (200, 1));
    }
    let mut wrong_name = client().site("other.test").tls(certs.ca());
    assert!(wrong_name.try_connect().is_err_and(|e| e.to_string().contains("certificate")));
    // the CA's name is the same, only the key is not
    let mut wrong_ca = client().site("mail.test").tls_as(Certs::new().ca(), &certs.client("alice"));
    assert!(wrong_ca.try_connect().is_err_and(|e| e.to_string().contains("certificate")));
    let expired = Backend::tls(&old, |_| Answer::text("old"));
    let mut client = Client::new(expired.address()).site("mail.test").tls(certs.ca());
    assert!(
        client.try_connect().is_err_and(|e| e.to_string().contains("Expired") || e.to_string().contains("expired"))
    );
}

/// Something that behaves as `doorward serve` is to behave at its edges.
const STAND_IN: &str = r#"#!/bin/bash
[ "$1" = check ] && { echo "out 1"; echo "out 2"; echo "err" >&2; exit 3; }
[ "$(cat "$3")" = bad ] && { echo "doorward.toml:1: no such key" >&2; exit 1; }
trap 'echo "level=info msg=reloaded" >&2' HUP
trap 'echo "level=info msg=drained" >&2; exit 5' TERM
echo "level=info msg=starting dir=$PWD extra=$EXTRA" >&2
echo '{"listeners":[{"name":"admin","address":"127.0.0.1:1","tls":false},{"name":"public","address":"127.0.0.1:2"}],"generation":7}'
while :; do read -rt 1 <> <(:) || true; done
"#;

fn stand_in() -> (tempfile::TempDir, Setup) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = temp_dir();
    let program = dir.path().join("doorward");
    std::fs::write(&program, STAND_IN).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let setup = Setup::with(program);
    (dir, setup)
}

#[test]
fn a_proxy_is_started_reloaded_and_ended() {
    let (_keep, setup) = stand_in();
    let mut proxy = setup.file("templates/blue/login.html", "x").env("EXTRA", "yes").serve("good");
    assert_eq!((proxy.generation(), proxy.address("public").port(), proxy.client().address().port()), (7, 2, 2));
    assert!(proxy.dir().join("templates/blue/login.html").exists());
    let line = proxy.wait_for_log("msg=starting", SOON);
    assert!(line.contains(&format!("dir={}", proxy.dir().display())) && line.ends_with("extra=yes"), "{line}");
    let seen = proxy.log().len();
    proxy.write("doorward.toml", "better");
    proxy.reload();
    proxy.wait_for_log_after(seen, "msg=re.*ed$", SOON);
    assert_eq!(proxy.terminate().code(), Some(5));
    proxy.wait_for_log("drained", SOON);
}

/// `nohup` ignores SIGHUP, and a shell SIGINT for what it runs in the background; all that is begun inherits that.
#[test]
fn a_proxy_hears_signals_that_the_tests_were_started_to_ignore() {
    let own = std::env::current_exe().unwrap();
    let test = "selftest::a_proxy_is_started_reloaded_and_ended";
    let ran = std::process::Command::new("env")
        .args(["--ignore-signal=HUP,INT,TERM", "--"])
        .arg(own)
        .args(["--exact", test])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_proxy_that_does_not_start_shows_its_log() {
    let (_keep, setup) = stand_in();
    let ran = setup.run(&["check"]);
    assert_eq!((ran.status.code(), ran.stdout.as_str(), ran.stderr.as_str()), (Some(3), "out 1\nout 2\n", "err"));
    assert!(setup.refused("bad").stderr.contains("no such key"));
    let panic = std::panic::catch_unwind(move || setup.serve("bad").generation()).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("doorward.toml:1: no such key"), "{message}");
}

#[test]
fn a_desktop_browser_logs_in_and_uploads_a_file() {
    let backend = Backend::start(webmail);
    let browser = Browser::desktop();
    browser.goto(&format!("http://blue.localhost:{}/", backend.address().port()));
    browser.fill("input[name=username]", "zoë");
    browser.fill("input[type=password]", "right");
    assert_eq!(browser.prop("input[name=username]", "value").as_deref(), Some("zoë"));
    browser.click("#go");
    assert!(browser.wait_for_url("/mail").ends_with("/mail?a=1"));
    assert_eq!((browser.text("h1"), browser.attr("h1", "data-node")), ("Inbox".into(), Some("A".into())));
    assert_eq!((browser.title().as_str(), browser.count("form")), ("Inbox", 1));
    let dir = temp_dir();
    let file = dir.path().join("up.txt");
    std::fs::write(&file, "hello").unwrap();
    browser.upload("input[type=file]", &file);
    browser.click("button");
    assert!(browser.text("p").ends_with(" bytes"));
    browser.screenshot("selftest.png");
    assert!(artifacts().join("selftest.png").metadata().unwrap().len() > 1000);
    let hits = backend.hits();
    let sent = hits.iter().find(|s| s.target == "/up").unwrap();
    assert!(sent.text().contains("filename=\"up.txt\"") && sent.text().contains("hello"));
    assert!(!hits[0].header("user-agent").unwrap().contains("Mobile"));
}

#[test]
fn a_phone_is_a_phone_in_every_respect() {
    let backend = Backend::start(|_| {
        Answer::html("<meta name=viewport content='width=device-width'><p>x").header("Accept-CH", "Sec-CH-UA-Model")
    });
    let browser = Browser::phone();
    browser.goto(&format!("http://mail.test:{}/", backend.address().port()));
    let seen =
        browser.script("return [innerWidth, navigator.maxTouchPoints > 0, matchMedia('(pointer: coarse)').matches]");
    assert_eq!(seen, serde_json::json!([390, true, true]));
    let hit = &backend.hits()[0];
    assert!(hit.header("user-agent").unwrap().contains("Android"));
    // Chromium sends client hints to trustworthy origins only: TLS, or *.localhost
    browser.goto(&format!("http://blue.localhost:{}/", backend.address().port()));
    let hits = backend.hits();
    let hit = hits.iter().rfind(|h| h.header("host").unwrap().starts_with("blue") && h.target == "/").unwrap();
    assert_eq!((hit.header("sec-ch-ua-mobile"), hit.header("sec-ch-ua-platform")), (Some("?1"), Some("\"Android\"")));
}

#[test]
fn the_stack_lets_its_users_in() {
    let stack = Stack::start();
    let alice = stack.user("alice");
    let node = stack.node(alice.node.as_deref().unwrap());
    let address = node.http.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let mut client = Client::new(address);
    let chain = client.login(&alice.uid, &alice.password);
    assert_eq!(chain.last().unwrap().status, 200, "{chain:#?}");
    assert!(chain[0].header("location").unwrap().contains("_task=mail"), "{chain:#?}");
    let https = node.https.trim_start_matches("https://").trim_end_matches('/').parse().unwrap();
    Client::new(https).host("localhost").tls(stack.ca()).get("/").expect(200);
    let said = stack.check(&["--base", &node.http, "--user", "alice", "--password", &alice.password, "--quick"]);
    assert!(said.trim_end().ends_with(" 0 failed"), "{said}");
}

#[test]
fn a_directory_of_its_own_can_be_stopped_and_comes_back() {
    let stack = Stack::directory();
    assert_eq!(stack.ctl(&["status"]).matches("running").count(), 2);
    stack.ctl(&["stop", "ldap1"]);
    stack.ctl(&["start", "ldap1"]);
    stack.modify("dn: uid=karl,ou=people,dc=example,dc=test\nchangetype: modify\nreplace: mailHost\nmailHost: x\n");
    assert!(stack.log("ldap1.out").contains("uid=karl"));
    let dir = stack.dir().to_owned();
    drop(stack);
    assert!(!dir.exists());
}
