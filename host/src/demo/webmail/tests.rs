//! The webmail from outside, over a connection of its own on a port the system picks.

use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Account, Webmail};
use crate::text::hex;

/// A running node, stopped when dropped.
struct Running {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// An answer, taken apart.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The cookie as the next request sends it.
    fn cookie(&self) -> String {
        self.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    fn token(&self) -> String {
        let text = self.text();
        let (_, after) = text.split_once("name=\"token\" value=\"").unwrap();
        after.split('"').next().unwrap().to_owned()
    }
}

async fn start(name: &str) -> Running {
    let account = |user: &str, password: &str, display_name: &str| Account {
        user: user.into(),
        password: password.into(),
        display_name: display_name.into(),
    };
    let accounts =
        vec![account("zoë", "zoe-demo", "Zoë Öztürk"), account("<i>", "x", "<i>Eve</i>"), account("none", "", "")];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(Webmail::new(name, accounts).serve(listener));
    Running { address, _tasks: tasks }
}

impl Running {
    async fn send(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length =
            if line.starts_with("POST") { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let head = format!("{line} HTTP/1.1\r\nHost: mail.test\r\nConnection: close\r\n{length}{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send(&format!("GET {path}"), &format!("Cookie: {cookie}\r\n"), b"").await
    }

    async fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let headers = format!("Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        self.send(&format!("POST {path}"), &headers, form.as_bytes()).await
    }

    /// Signs in and gives the session's cookie.
    async fn sign_in(&self, user: &str, password: &str) -> String {
        let form = self.get("/login", "").await;
        let fields = format!("token={}&user={user}&password={password}", form.token());
        let answer = self.post("/login", &form.cookie(), &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/inbox")), "{}", answer.text());
        answer.cookie()
    }

    async fn upload(&self, cookie: &str, accept: &str, file: &[u8]) -> Answer {
        let mut body =
            b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\\\<b>.bin\"\r\n\r\n".to_vec();
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--XX--\r\n");
        let headers =
            format!("Cookie: {cookie}\r\nAccept: {accept}\r\nContent-Type: multipart/form-data; boundary=XX\r\n");
        self.send("POST /upload", &headers, &body).await
    }
}

#[tokio::test]
async fn a_right_login_opens_a_new_session_and_ends_the_old_one() {
    let node = start("node-a").await;
    let form = node.get("/login", "").await;
    assert_eq!(form.status, 200);
    let set = form.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let fields = format!("token={}&user=zo%C3%AB&password=zoe-demo&then=%2Fmessage%2F2", form.token());
    let answer = node.post("/login", &form.cookie(), &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/message/2")));
    assert_ne!(answer.cookie(), form.cookie());
    assert_eq!(node.post("/login", &form.cookie(), &fields).await.status, 400);
    let inbox = node.get("/inbox", &answer.cookie()).await;
    assert_eq!((inbox.status, inbox.header("cache-control")), (200, Some("no-store")));
    assert!(inbox.text().contains("Signed in as Zoë Öztürk (zoë) on node-a"));
    assert!(inbox.text().contains("data-node=\"node-a\" data-user=\"zoë\""));
    assert_eq!(node.get("/login", &answer.cookie()).await.header("location"), Some("/inbox"));
}

#[tokio::test]
async fn a_wrong_login_shows_the_form_again_with_the_name() {
    let node = start("node-a").await;
    let form = node.get("/login?then=/about", "").await;
    for (user, password, typed) in
        [("zo%C3%AB", "wrong", "zoë"), ("%22%3E%3Cb%3E", "x", "&quot;&gt;&lt;b&gt;"), ("none", "", "none")]
    {
        let fields = format!("token={}&user={user}&password={password}&then=/about", form.token());
        let answer = node.post("/login", &form.cookie(), &fields).await;
        assert_eq!(answer.status, 401, "{user}");
        let page = answer.text();
        assert!(page.contains(&format!("name=\"user\" value=\"{typed}\"")), "{page}");
        assert!(page.contains("role=\"alert\"") && page.contains("name=\"then\""), "{page}");
        assert_eq!(answer.token(), form.token());
    }
    for (cookie, token) in [(form.cookie(), "0".repeat(64)), (String::new(), form.token())] {
        let fields = format!("token={token}&user=zo%C3%AB&password=zoe-demo");
        assert_eq!(node.post("/login", &cookie, &fields).await.status, 400);
    }
    let long = "x".repeat(20_000);
    assert_eq!(node.post("/login", &form.cookie(), &long).await.status, 400);
}

#[tokio::test]
async fn a_dead_session_is_a_redirect_for_people_and_an_error_for_scripts() {
    let (node, other) = (start("node-a").await, start("node-b").await);
    let cookie = other.sign_in("zo%C3%AB", "zoe-demo").await;
    for path in ["/", "/inbox", "/message/1", "/compose", "/about", "/download/5", "/logout?token=x"] {
        let answer = node.get(path, &cookie).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/login?expired=1")), "{path}");
    }
    for header in ["Accept: application/json\r\n", "X-Requested-With: XMLHttpRequest\r\n"] {
        let answer = node.send("GET /inbox", header, b"").await;
        assert_eq!((answer.status, &*answer.text()), (401, "{\"error\":\"session expired\"}"));
    }
    let upload = node.upload(&cookie, "*/*", &vec![7; 1 << 20]).await;
    assert_eq!((upload.status, upload.header("location")), (303, Some("/login?expired=1")));
    assert!(node.get("/login?expired=1", &cookie).await.text().contains("Your session has ended"));
    assert_eq!(other.get("/inbox", &cookie).await.status, 200);
}

#[tokio::test]
async fn a_logout_needs_the_token_of_the_session() {
    let node = start("node-a").await;
    for by_form in [true, false] {
        let cookie = node.sign_in("zo%C3%AB", "zoe-demo").await;
        let token = node.get("/inbox", &cookie).await.token();
        assert_eq!(node.get("/logout", &cookie).await.status, 403);
        assert_eq!(node.post("/logout", &cookie, "token=x").await.status, 403);
        assert_eq!(node.send("HEAD /logout", &format!("Cookie: {cookie}\r\n"), b"").await.status, 405);
        assert_eq!(node.get("/inbox", &cookie).await.status, 200);
        let answer = if by_form {
            node.post("/logout", &cookie, &format!("token={token}")).await
        } else {
            node.get(&format!("/logout?token={token}"), &cookie).await
        };
        assert_eq!((answer.status, answer.header("location")), (303, Some("/login")));
        assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
        assert_eq!(node.get("/inbox", &cookie).await.status, 303);
    }
}

#[tokio::test]
async fn an_upload_is_measured_and_hashed() {
    let node = start("node-b").await;
    let cookie = node.sign_in("zo%C3%AB", "zoe-demo").await;
    let file: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0] ^ b'\r').collect();
    let sum = hex(&Sha256::digest(&file));
    let json = node.upload(&cookie, "application/json", &file).await;
    assert_eq!(json.text(), format!("{{\"name\":\"<b>.bin\",\"sha256\":\"{sum}\",\"size\":300000}}"));
    let page = node.upload(&cookie, "text/html", &file).await.text();
    assert!(page.contains("id=\"upload-size\">300000<") && page.contains(&format!("id=\"upload-sha256\">{sum}<")));
    assert!(page.contains("&lt;b&gt;.bin"), "{page}");
    let bad = node.post("/upload", &cookie, "file=x").await;
    assert_eq!(bad.status, 400, "{}", bad.text());
}

#[tokio::test]
async fn a_file_over_the_limit_is_answered_and_not_cut_off() {
    let node = start("node-a").await;
    let cookie = node.sign_in("zo%C3%AB", "zoe-demo").await;
    let limit = usize::try_from(super::upload::MAX_FILE).unwrap();
    let most = node.upload(&cookie, "application/json", &vec![0; limit]).await;
    assert!(most.text().contains(&format!("\"size\":{limit}")), "{}", most.text());
    assert_eq!(node.upload(&cookie, "application/json", &vec![0; limit + 1]).await.status, 413);
}

#[tokio::test]
async fn a_download_is_the_known_pattern() {
    let node = start("node-a").await;
    let cookie = node.sign_in("zo%C3%AB", "zoe-demo").await;
    let got = node.get("/download/100000", &cookie).await;
    assert_eq!((got.status, got.header("content-length")), (200, Some("100000")));
    assert!(got.body.len() == 100_000 && got.body.iter().enumerate().all(|(at, byte)| at % 251 == usize::from(*byte)));
    let head = node.send("HEAD /download/100000", &format!("Cookie: {cookie}\r\n"), b"").await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("100000"), 0));
    assert_eq!(node.get("/download/0", &cookie).await.header("content-length"), Some("0"));
    assert_eq!(node.get("/download/67108865", &cookie).await.status, 400);
}

#[tokio::test]
async fn scripts_and_events_get_their_own_kind_of_answer() {
    let node = start("node-a").await;
    let cookie = node.sign_in("zo%C3%AB", "zoe-demo").await;
    let unread = node.get("/api/unread", &cookie).await;
    assert_eq!(unread.header("content-type"), Some("application/json"));
    assert!(unread.text().starts_with("{\"node\":\"node-a\",\"unread\":"), "{}", unread.text());
    let events = node.get("/events", &cookie).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    for tick in 1..=3 {
        assert!(events.text().contains(&format!("event: tick\nid: {tick}\ndata: ")), "{}", events.text());
    }
}

#[tokio::test]
async fn every_page_renders_and_shows_markup_as_text() {
    let node = start("node-b").await;
    let cookie = node.sign_in("%3Ci%3E", "x").await;
    for path in ["/inbox", "/message/1", "/message/6", "/compose", "/about"] {
        let page = node.get(path, &cookie).await;
        assert_eq!(page.status, 200, "{path}");
        let html = page.text();
        assert!(html.contains("&lt;i&gt;Eve&lt;&#x2f;i&gt;") && !html.contains("<i>"), "{path}: {html}");
        assert!(!html.contains("style=") && !html.contains("<script"), "{path}");
    }
    let about = node.send("GET /about", &format!("Cookie: {cookie}\r\nX-Forwarded-For: 192.0.2.7\r\n"), b"").await;
    assert!(about.text().contains("192.0.2.7") && !about.text().contains(&cookie), "{}", about.text());
    assert_eq!(node.get("/message/7", &cookie).await.status, 404);
    assert_eq!(node.get("/nothing", "").await.status, 404);
    assert_eq!(node.post("/inbox", &cookie, "").await.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn the_style_sheet_is_not_sent_twice() {
    let node = start("node-a").await;
    let first = node.get("/static/style.css", "").await;
    let tag = first.header("etag").unwrap();
    for (sent, status) in [(tag.to_owned(), 304), (format!("\"x\", W/{tag}"), 304), ("\"x\"".to_owned(), 200)] {
        let again = node.send("GET /static/style.css", &format!("If-None-Match: {sent}\r\n"), b"").await;
        assert_eq!(again.status, status, "{sent}");
    }
}
