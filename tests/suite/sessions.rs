//! Sessions: two tabs, two users in one browser, copies of a cookie, revocations, and keys that change.

use std::time::Duration;

use harness::{Answer, Backend, Client, Proxy, Request};

use crate::support::{ADMIN, body_attribute, config, log_in, post_login, proxy, setup, webmail};

/// A webmail that says whom its cookie is of.
fn inbox() -> Backend {
    webmail(|request| Answer::text(format!("inbox of {}", request.seen.header("cookie").unwrap_or("nobody"))))
}

fn with_cookie(proxy: &Proxy, cookie: &str) -> Client {
    proxy.client().header("Cookie", &format!("doorward={cookie}"))
}

fn session_of(client: &Client) -> String {
    client.cookie("doorward").expect("a session").to_owned()
}

/// Whether a session's cookie still opens its mailbox.
fn lives(proxy: &Proxy, cookie: &str) -> bool {
    let page = with_cookie(proxy, cookie).get("/").expect(200).text();
    match body_attribute(&page, "data-page").as_str() {
        "login" => false,
        _ => page.starts_with("inbox of "),
    }
}

#[test]
fn two_tabs_share_a_session_and_one_logout_ends_both() {
    let node = inbox();
    let proxy = proxy("", &[("node-a", &node, "")]);
    let client = log_in(&proxy, "alice");
    let cookie = session_of(&client);
    let (mut one, mut two) = (with_cookie(&proxy, &cookie), with_cookie(&proxy, &cookie));
    assert!(
        one.get("/a").expect(200).text().starts_with("inbox") && two.get("/b").expect(200).text().starts_with("inbox")
    );
    assert_eq!(one.get("/logout").status, 303);
    assert!(body_attribute(&two.get("/b").expect(200).text(), "data-page") == "login");
    let script = two.send(Request::new("GET", "/b").header("X-Requested-With", "XMLHttpRequest"));
    assert_eq!((script.status, script.header("content-type")), (401, Some("application/json")));
}

#[test]
fn a_new_login_gets_a_new_session_and_ends_the_one_before() {
    let (a, b) = (inbox(), inbox());
    let proxy = proxy("", &[("node-a", &a, ""), ("node-b", &b, "")]);
    let mut client = log_in(&proxy, "alice");
    let first = session_of(&client);
    assert!(lives(&proxy, &first));
    // The login page of a second tab, sent by somebody else at the same browser.
    let answer = post_login(&mut client, "/.doorward/login", "bob", "bob-secret");
    assert_eq!(answer.status, 303);
    assert_eq!(client.cookie("sid"), Some("bob"), "the node's cookie is the new user's");
    let second = session_of(&client);
    assert!(first != second && !lives(&proxy, &first) && lives(&proxy, &second));
    // Nobody's cookie is adopted.
    let mut fixed = proxy.client();
    let host = fixed.host_name().to_owned();
    fixed.cookies.set(&host, "doorward", "aaaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(post_login(&mut fixed, "/", "alice", "alice-secret").status, 303);
    assert_ne!(fixed.cookie("doorward"), Some("aaaaaaaaaaaaaaaaaaaaaaaa"));
}

#[test]
fn what_the_former_node_set_does_not_reach_the_next_one() {
    let (a, b) = (inbox(), inbox());
    // The second node has a recipe with another cookie.
    let other = crate::support::RECIPE.replace("[\"sid\"]", "[\"other\"]");
    let text = config("", &[("node-a", &a, "")]) + &crate::support::backend("node-b", &b.url(), "");
    let text = text.replacen("recipe = \"test.toml\"", "recipe = \"other.toml\"", 1);
    let proxy = setup().file("other.toml", other).serve(&text);
    let mut client = log_in(&proxy, "alice");
    let host = client.host_name().to_owned();
    client.cookies.set(&host, "other", "of-alice");
    post_login(&mut client, "/.doorward/login", "bob", "bob-secret");
    assert_eq!((client.cookie("other"), client.cookie("sid")), (None, Some("bob")));
}

#[test]
fn a_session_goes_on_when_the_address_changes_and_two_copies_of_a_cookie_are_none() {
    let node = inbox();
    let proxy = proxy("[http]\ntrusted-proxies = [\"127.0.0.1\"]", &[("node-a", &node, "")]);
    let cookie = session_of(&log_in(&proxy, "alice"));
    for address in ["192.0.2.1", "2001:db8::1"] {
        let mut moved = with_cookie(&proxy, &cookie).header("X-Forwarded-For", address);
        assert!(moved.get("/").expect(200).text().starts_with("inbox"));
    }
    let twice = proxy.client().header("Cookie", &format!("doorward={cookie}; doorward={cookie}")).get("/").expect(200);
    assert_eq!(body_attribute(&twice.text(), "data-page"), "login");
}

#[test]
fn an_operator_ends_a_session_a_user_or_all_and_a_restart_keeps_it() {
    let (a, b) = (inbox(), inbox());
    let folder = harness::temp_dir();
    let keep = |name: &str| folder.path().join(name).display().to_string();
    let extra =
        format!("{ADMIN}[session]\nkey-file = \"{}\"\nrevocations-file = \"{}\"\n", keep("keys"), keep("revoked"));
    let text = config(&extra, &[("node-a", &a, ""), ("node-b", &b, "")]);
    let mut first = setup().serve(&text);
    let from = first.log().len();
    let alice = session_of(&log_in(&first, "alice"));
    let line = first.wait_for_log_after(from, "outcome=\"in\"", Duration::from_secs(5));
    let id = line.split("session=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id").to_owned();
    let other = session_of(&log_in(&first, "alice"));
    let bob = session_of(&log_in(&first, "bob"));
    assert_eq!(first.admin("POST", &format!("/revoke?session={id}")).0, 200);
    assert_eq!([&alice, &other, &bob].map(|cookie| lives(&first, cookie)), [false, true, true]);
    let socket = first.dir().join("admin.sock").display().to_string();
    let ran = harness::Setup::new().run(&["ctl", "--socket", &socket, "revoke", "--user", "ALICE"]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!([&alice, &other, &bob].map(|cookie| lives(&first, cookie)), [false, false, true]);
    // A logout is kept too.
    assert_eq!(with_cookie(&first, &bob).get("/logout").status, 303);
    first.terminate();
    let second = setup().serve(&text);
    assert_eq!([&alice, &other, &bob].map(|cookie| lives(&second, cookie)), [false, false, false]);
    for bad in ["/revoke", "/revoke?session=x", "/revoke?user=", "/revoke?user=a&all"] {
        assert_eq!(second.admin("POST", bad).0, 400, "{bad}");
    }
    let carol = session_of(&log_in(&second, "bob"));
    assert!(lives(&second, &carol));
    assert_eq!(second.admin("POST", "/revoke?all").0, 200);
    assert!(!lives(&second, &carol));
}

#[test]
fn a_list_of_revocations_that_cannot_be_kept_is_told_and_nothing_starts() {
    let ran =
        setup().refused(&config("[session]\nrevocations-file = \"no/such/folder\"\n", &[("node-a", &inbox(), "")]));
    assert!(ran.stderr.contains("session.revocations-file"), "{}", ran.stderr);
}

#[test]
fn keys_are_rotated_while_sessions_go_on() {
    let node = inbox();
    let extra = format!("{ADMIN}[session]\nkey-file = \"session.keys\"\n");
    let proxy = proxy(&extra, &[("node-a", &node, "")]);
    let old = session_of(&log_in(&proxy, "alice"));
    let file = proxy.dir().join("session.keys").display().to_string();
    let rotate = |more: &[&str]| {
        let arguments = [&["keys", "rotate", &file], more].concat();
        let ran = harness::Setup::new().run(&arguments);
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(proxy.admin("POST", "/reload").0, 200);
    };
    rotate(&[]);
    let new = session_of(&log_in(&proxy, "alice"));
    assert!(lives(&proxy, &old) && lives(&proxy, &new));
    rotate(&["--keep", "2"]);
    assert!(!lives(&proxy, &old) && lives(&proxy, &new));
}

/// A session that has ended by itself: its cookie, and nothing else.
fn expired(proxy: &Proxy, name: &str) -> String {
    let cookie = session_of(&log_in(proxy, name));
    while lives(proxy, &cookie) {
        std::thread::yield_now();
    }
    cookie
}

/// Sends a form as a page of the site would.
fn send(proxy: &Proxy, cookie: &str, origin: &str, fields: &[(&str, &str)]) -> (Client, harness::Response) {
    let mut client = proxy.client();
    let host = client.host_name().to_owned();
    client.cookies.set(&host, "doorward", cookie);
    let answer = client.send(Request::new("POST", "/compose?to=x").form(fields).header("Origin", origin));
    (client, answer)
}

#[test]
fn what_was_sent_without_a_session_is_there_after_the_login_and_for_nobody_else() {
    let (a, b) = (inbox(), inbox());
    let extra = "[session]\nidle-timeout = \"1s\"\nhold-max-size = \"16KiB\"\n";
    let proxy = proxy(extra, &[("node-a", &a, ""), ("node-b", &b, "")]);
    let cookie = expired(&proxy, "alice");
    let origin = format!("http://{}", proxy.client().address());
    let draft = [("subject", "Grüße & \"mehr\""), ("text", "one\r\ntwo <b>"), ("empty", "")];
    let log_in_on = |client: &mut Client, page: &harness::Response, name: &str, password: &str| {
        let form = harness::forms(&page.text()).into_iter().find(harness::Form::asks_for_password).expect("a form");
        let fields = form.filled(name, password);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client.post_form(&form.action, &fields)
    };

    let (mut client, page) = send(&proxy, &cookie, &origin, &draft);
    assert_eq!((page.status, body_attribute(&page.text(), "data-page")), (200, "login".to_owned()));
    assert!(!page.text().contains("mehr"), "what is held is sealed");
    // A wrong password loses nothing.
    let again = log_in_on(&mut client, &page, "alice", "wrong");
    assert_eq!(again.status, 403);
    let back = log_in_on(&mut client, &again, "alice", "alice-secret");
    assert_eq!((back.status, body_attribute(&back.text(), "data-page")), (200, "held".to_owned()));
    let form = harness::forms(&back.text()).into_iter().next().expect("a form");
    assert_eq!(form.action, "/compose?to=x");
    let fields = form.filled("", "");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, draft);
    assert_eq!(client.post_form(&form.action, &fields).expect(200).text(), "inbox of sid=alice");
    let hits = a.hits();
    let sent = hits.last().expect("the form");
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/compose?to=x"));

    // Somebody else at the same browser gets nothing of it.
    let (mut other, page) = send(&proxy, &cookie, &origin, &draft);
    assert_eq!(log_in_on(&mut other, &page, "bob", "bob-secret").status, 303);
    // Another site's form is not kept, nor one that is too large, nor one of a session that was ended by a logout.
    let large = "x".repeat(17 << 10);
    let cases = [("http://evil.test", "x", cookie.as_str()), (origin.as_str(), large.as_str(), cookie.as_str())];
    for (origin, text, cookie) in cases {
        let (_, answer) = send(&proxy, cookie, origin, &[("text", text)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    }
    let (_, answer) = send(&proxy, "forged", &origin, &draft);
    assert_eq!(answer.status, 303);
}

#[test]
fn no_answer_that_a_shared_cache_may_keep_renews_the_session() {
    let node = webmail(|request| match request.seen.target.as_str() {
        "/public" => Answer::text("x").header("Cache-Control", "public, max-age=604800"),
        "/shared" => Answer::text("x").header("Cache-Control", "s-maxage=60"),
        "/fresh" => Answer::text("x").header("Cache-Control", "max-age=604800"),
        "/expires" => Answer::text("x").header("Expires", "Fri, 01 Jan 2999 00:00:00 GMT"),
        "/private" => Answer::text("x").header("Cache-Control", "private, max-age=60"),
        _ => Answer::text("x").header("Last-Modified", "Fri, 01 Jan 1999 00:00:00 GMT"),
    });
    // A tenth of it are whole seconds: renewed after two.
    let proxy = proxy("[session]\nidle-timeout = \"19s\"", &[("node-a", &node, "")]);
    let cookie = session_of(&log_in(&proxy, "alice"));
    let mut client = with_cookie(&proxy, &cookie);
    let plain = loop {
        let answer = client.get("/plain").expect(200);
        if answer.header("set-cookie").is_some() {
            break answer;
        }
        std::thread::yield_now();
    };
    assert_eq!(plain.header("cache-control"), Some("private"), "{plain:?}");
    for kept in ["/public", "/shared", "/fresh", "/expires"] {
        let answer = client.get(kept).expect(200);
        assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
    }
    let private = client.get("/private").expect(200);
    assert!(private.header("set-cookie").is_some_and(|cookie| cookie.starts_with("doorward=")), "{private:?}");
    assert_eq!(private.headers.all("cache-control"), ["private, max-age=60"]);
}

#[test]
fn a_login_in_a_second_tab_lands_in_the_mailbox() {
    let (a, b) = (inbox(), inbox());
    let proxy = proxy("", &[("node-a", &a, ""), ("node-b", &b, "")]);
    let mut client = proxy.client();
    let form = |client: &mut Client, page: &str| {
        let page = client.get(page).expect(200).text();
        harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a login form")
    };
    let send = |client: &mut Client, form: &harness::Form, (name, password): (&str, &str), site: &[(&str, &str)]| {
        let fields = form.filled(name, password);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Request::new("POST", &form.action).form(&fields);
        client.send(site.iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    let alice = ("alice", "alice-secret");
    let (one, two) = (form(&mut client, "/one"), form(&mut client, "/two?x=1"));
    assert_eq!(send(&mut client, &one, alice, &[]).header("location"), Some("/one"));
    let session = session_of(&client);
    let landed = send(&mut client, &two, (" Alice", "alice-secret"), &[("Sec-Fetch-Site", "same-origin")]).expect(303);
    assert_eq!(landed.header("location"), Some("/two?x=1"));
    assert!(lives(&proxy, &session) && client.cookie("doorward") == Some(&*session), "it is still the one session");
    // Another site's form, and somebody else at this browser, do not land there.
    for site in [[("Sec-Fetch-Site", "cross-site")], [("Origin", "http://evil.test")]] {
        assert_eq!(send(&mut client, &two, alice, &site).status, 403, "{site:?}");
    }
    let again = send(&mut client, &two, ("bob", "bob-secret"), &[]);
    assert_eq!((again.status, body_attribute(&again.text(), "data-page")), (403, "login".to_owned()));
    assert!(lives(&proxy, &session));
}

#[test]
fn a_browser_without_cookies_is_told_so() {
    let node = inbox();
    let proxy = proxy("", &[("node-a", &node, "")]);
    let page = proxy.client().get("/").expect(200).text();
    let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a login form");
    let fields = form.filled("alice", "alice-secret");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let told = proxy.client().post_form(&form.action, &fields);
    assert!(told.status == 403 && told.text().contains("allow cookies"), "{told:?}");
    let foreign = Request::new("POST", &form.action).form(&fields).header("Sec-Fetch-Site", "cross-site");
    let foreign = proxy.client().send(foreign);
    assert!(foreign.status == 403 && !foreign.text().contains("allow cookies"));
    let forged = proxy.client().post_form(&form.action, &[("username", "alice"), ("token", "x")]);
    assert!(forged.status == 403 && forged.text().contains("too old"), "{forged:?}");
}

#[test]
fn sessions_are_counted_in_all_and_at_their_nodes_until_they_end() {
    let node = inbox();
    let proxy = proxy(ADMIN, &[("node-a", &node, ""), ("node-b", &node, "")]);
    let counts = || {
        let status = proxy.status();
        let of = |index: usize| status["backends"][index]["sessions"].as_u64();
        (status["sessions"].as_u64(), of(0), of(1))
    };
    assert_eq!(counts(), (Some(0), Some(0), Some(0)));
    let (mut alice, mut bob) = (log_in(&proxy, "alice"), log_in(&proxy, "bob"));
    for client in [&mut alice, &mut bob, &mut log_in(&proxy, "alice")] {
        client.get("/").expect(200);
        client.get("/").expect(200);
    }
    assert_eq!(counts(), (Some(3), Some(2), Some(1)));
    let metrics = proxy.admin("GET", "/metrics").1;
    for line in ["doorward_sessions 3", "doorward_backend_sessions{backend=\"node-a\"} 2"] {
        assert!(metrics.lines().any(|one| one == line), "{line} in {metrics}");
    }
    assert_eq!(alice.get("/logout").status, 303);
    assert_eq!(counts(), (Some(2), Some(1), Some(1)), "who logged out is not there");
    assert_eq!(proxy.admin("POST", "/revoke?user=alice").0, 200);
    assert_eq!(counts(), (Some(1), Some(0), Some(1)));
}
