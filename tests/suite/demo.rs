//! `doorward demo`: every user, both looks, both devices, an upload, a logout, and a clean end.

use harness::{Client, Demo, Request};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::support::{body_attribute, last};

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
    Version/17.4 Mobile/15E148 Safari/604.1";
const DESKTOP: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36";

fn client(demo: &Demo) -> Client {
    demo.client().header("User-Agent", DESKTOP).follow()
}

#[test]
fn every_user_lands_at_the_own_node_or_on_the_login_page() {
    let demo = Demo::start();
    assert!(demo.users().len() >= 6);
    for user in demo.users() {
        let page = last(client(&demo).login(&user.name, &user.password));
        match &user.node {
            Some(node) => {
                assert_eq!(body_attribute(&page.text(), "data-node"), *node, "{}", user.name);
                assert_eq!(body_attribute(&page.text(), "data-user"), user.name);
            }
            None => {
                // One is locked, which is told to who has the password.
                let name = body_attribute(&page.text(), "data-page");
                assert!(name == "login" || name == "account", "{}: {name}", user.name);
                assert!(page.text().contains("role=\"alert\""));
            }
        }
    }
}

#[test]
fn a_wrong_password_keeps_the_name_and_tells_no_more_than_an_unknown_name() {
    let demo = Demo::start();
    let said = |name: &str, password: &str| {
        let page = last(client(&demo).login(name, password));
        assert_eq!(page.status, 403);
        let form = harness::forms(&page.text()).into_iter().find(harness::Form::asks_for_password).unwrap();
        assert_eq!(form.field("username").unwrap().value, name);
        assert_eq!(form.field("password").unwrap().value, "");
        let text = page.text();
        text.split("role=\"alert\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
    };
    let wrong = said("alice", "alice-demo2");
    for (name, password) in
        [("alice", ""), ("alice", "   "), ("nobody", "x"), ("*", "x"), ("\"><script>", "x"), ("dora", "dora-demo2")]
    {
        assert_eq!(said(name, password), wrong, "{name}");
    }
    assert_eq!(said("dora", "dora-demo"), "Your account is locked.", "told to who has the password");
}

#[test]
fn each_site_has_its_look_on_each_device() {
    let demo = Demo::start();
    for site in demo.sites() {
        for (agent, variant) in [(DESKTOP, "desktop"), (PHONE, "mobile")] {
            let mut client = demo.client().site(&site.host).header("User-Agent", agent);
            let page = client.get("/").expect(200).text();
            assert_eq!(body_attribute(&page, "data-look"), site.template);
            assert_eq!(body_attribute(&page, "data-variant"), variant);
            let style = page.split("href=\"").find(|part| part.contains(".css")).unwrap().split('"').next().unwrap();
            assert_eq!(client.get(style).expect(200).header("content-type"), Some("text/css; charset=utf-8"));
        }
    }
}

#[test]
fn ten_mebibytes_arrive_as_they_were_sent() {
    let demo = Demo::start();
    let mut client = client(&demo);
    last(client.login("bob", "bob-demo")).expect(200);
    let file: Vec<u8> = (0..10_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sum = harness::hex(&Sha256::digest(&file));
    let head = "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big.bin\"\r\n\r\n";
    let body = [head.as_bytes(), &file, b"\r\n--edge--\r\n"].concat();
    for length in [Some(body.len() as u64), None] {
        let request = Request::new("POST", "/upload")
            .header("Content-Type", "multipart/form-data; boundary=edge")
            .header("Accept", "application/json")
            .stream(std::io::Cursor::new(body.clone()), length);
        let answer = client.send(request).expect(200).json();
        assert_eq!((answer["size"].as_u64(), answer["sha256"].as_str()), (Some(10 << 20), Some(sum.as_str())));
    }
    let request = Request::new("POST", "/upload").header("Content-Type", "multipart/form-data; boundary=edge");
    let refused = client.send(request.stream(std::io::repeat(0), Some(17 << 20)));
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("upload-max-size"));
}

#[test]
fn logging_out_ends_both_sessions_for_good() {
    let demo = Demo::start();
    let mut client = client(&demo);
    let inbox = last(client.login("zoë", "zoe-demo")).text();
    let (ours, theirs) =
        (client.cookie("doorward").unwrap().to_owned(), client.cookie("webmail_session").unwrap().to_owned());
    let token = inbox.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    // Without its token the node refuses the logout, and nothing has ended.
    assert_eq!(client.post_form("/logout", &[("token", "x")]).status, 403);
    client.get("/inbox").expect(200);
    let page = client.post_form("/logout", &[("token", &token)]);
    assert!(body_attribute(&page.text(), "data-page") == "logged-out" && client.cookie("doorward").is_none());
    assert!(client.cookie("webmail_session").is_none());
    // The cookies from before are dead too, at the door and at the node.
    let stolen = format!("doorward={ours}; webmail_session={theirs}");
    let page = demo.client().header("Cookie", &stolen).get("/inbox").expect(200).text();
    assert_eq!(body_attribute(&page, "data-page"), "login");
}

#[test]
fn it_ends_cleanly_and_finishes_what_it_has_begun() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut demo = Demo::start();
        let mut client = client(&demo);
        last(client.login("alice", "alice-demo")).expect(200);
        // The node sends an event a second, three times: the signal comes in the middle.
        let session =
            ["doorward", "webmail_session"].map(|name| format!("{name}={}", client.cookie(name).unwrap())).join("; ");
        let mut connection = demo.client().connect();
        connection.write(format!("GET /events HTTP/1.1\r\nHost: x\r\nCookie: {session}\r\n\r\n"));
        let mut seen = String::from_utf8_lossy(&connection.read_some().unwrap()).into_owned();
        demo.program().signal(signal);
        seen.push_str(&String::from_utf8_lossy(&connection.read_to_end()));
        assert!(seen.ends_with("0\r\n\r\n"), "the answer was cut: {seen}");
        assert!(demo.program().wait(std::time::Duration::from_secs(20)).success());
    }
}

#[test]
fn the_operators_page_is_there_at_once_with_an_account_that_is_told_once() {
    let folder = harness::temp_dir();
    let dir = folder.path().to_str().expect("a path");
    let in_folder = || Demo::start_in(harness::Setup::new().arg("--dir").arg(dir));
    let passwords: Vec<String> = [Demo::start(), in_folder()]
        .iter()
        .map(|demo| {
            let admin = demo.admin();
            let (name, password) =
                (admin.name.as_deref().expect("a name"), admin.password.clone().expect("a password"));
            let mut client = Client::new(admin.url.trim_start_matches("http://").parse().expect("an address"));
            client.get("/").expect(401);
            let login = [("name", name), ("password", password.as_str()), ("next", "/")];
            let request = Request::new("POST", "/login").form(&login).header("Origin", &admin.url);
            client.send(request).expect(303);
            client.get("/").expect(200);
            password
        })
        .collect();
    assert!(passwords[0] != passwords[1] && passwords[0].len() >= 20, "nobody knows it from another demo");
    assert_eq!(in_folder().admin().password, None, "the file has its account already");
}

#[test]
fn the_configuration_that_it_writes_is_one_for_check_and_serve_too() {
    let folder = harness::temp_dir();
    let (dir, file) = (folder.path().to_str().expect("a path"), folder.path().join("doorward.toml"));
    let start = || Demo::start_in(harness::Setup::new().arg("--dir").arg(dir));
    let mut demo = start();
    last(client(&demo).login("alice", "alice-demo")).expect(200);
    assert!(folder.path().join("doorward.sock").exists(), "ctl has a socket to ask at");
    demo.program().signal(Signal::TERM);
    assert!(demo.program().wait(std::time::Duration::from_secs(20)).success());
    let text = std::fs::read_to_string(&file).expect("a configuration");
    assert!(!text.contains("@NODE"), "{text}");
    let setup = harness::Setup::new();
    let ran = setup.run(&["check", "--strict", "--config", file.to_str().expect("a path")]);
    assert!(ran.status.success(), "{}", ran.stdout);
    let served = setup.serve(&text);
    served.client().get("/").expect(200);
    drop(served);
    // The nodes are again where it says, so that sessions and bookmarks go on.
    last(client(&start()).login("alice", "alice-demo")).expect(200);
}
