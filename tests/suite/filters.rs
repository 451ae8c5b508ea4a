//! What filters may know of sessions, of use and of the clock, and what they may say besides: headers both ways, and pages of the
//! site.

use std::time::{Duration, Instant};

use harness::{Answer, Backend, Guest, Proxy, Question, Request, VERSION};

use crate::support::{ADMIN, config, log_in, setup, webmail};

const SOON: Duration = Duration::from_secs(60);

/// A proxy with one worker and this filter, in front of a node that says which tenant it was told.
fn start(guest: &Guest, settings: &str) -> (Backend, Proxy) {
    let node = webmail(|request| {
        let tenant = request.seen.header("x-tenant").unwrap_or("-").to_owned();
        let answer = Answer::text(tenant).header("X-Frame-Options", "SAMEORIGIN");
        if request.seen.target == "/cookie" { answer.header("Set-Cookie", "a=1") } else { answer }
    });
    let policy = format!("[[policy]]\nname = \"p\"\nasks = \"filter\"\nfile = \"p.wasm\"\n{settings}\n");
    let text = config(&format!("{ADMIN}[threads]\nmax = 1\n{policy}"), &[("node-a", &node, "")]);
    let proxy = setup().file("p.wasm", guest.build()).serve(&text);
    (node, proxy)
}

fn memo(proxy: &Proxy) -> serde_json::Value {
    proxy.status()["policies"][0]["memo"].clone()
}

/// Asks a fact in these steps, and answers 429 where it is not 0.
fn limit(fact: &str, steps: &str) -> Guest {
    let length = steps.len();
    Guest::new(Question::Filter)
        .imports(&format!(
            "(import \"doorward:policy/usage@{VERSION}\" \"{fact}\" (func $fact (param i32 i32) (result i32)))"
        ))
        .extra(&format!("(data (i32.const 2048) \"{steps}\")"))
        .answer(&format!(
            "(if (call $fact (i32.const 2048) (i32.const {length})) (then
               (i32.store8 (i32.const 16) (i32.const 3)) (i32.store16 (i32.const 20) (i32.const 429)))
             (else (i32.store8 (i32.const 16) (i32.const 0))))
             i32.const 16"
        ))
}

#[test]
fn a_script_that_hammers_one_path_is_refused_and_decisions_are_found_again() {
    let (_node, proxy) = start(&limit("requests-for-path", "hour 4"), "");
    let status = |path: &str| proxy.client().get(path).status;
    assert_eq!([0; 3].map(|_| status("/poll?a=1")), [200; 3]);
    assert_eq!(memo(&proxy)["hits"], 2, "the count is a step, and no number");
    assert_eq!([0; 2].map(|_| status("/poll?a=2")), [429; 2]);
    assert_eq!(status("/other"), 200);
}

#[test]
fn requests_of_an_address_and_of_a_session_are_counted_by_themselves() {
    let (_node, proxy) = start(&limit("requests-of-address", "hour 3 4"), "");
    let statuses = ["/a", "/b", "/c", "/d"].map(|path| proxy.client().get(path).status);
    assert_eq!(statuses, [200, 200, 429, 429]);

    let (_node, proxy) = start(&limit("requests-of-session", "minute 3"), "");
    let (mut one, mut other) = (log_in(&proxy, "alice"), log_in(&proxy, "alice"));
    assert_eq!(["/a", "/b", "/c"].map(|path| one.get(path).status), [200, 200, 429]);
    assert_eq!(other.get("/a").status, 200, "another session of the same user");
    assert_eq!([0; 5].map(|_| proxy.client().get("/").status), [200; 5], "without a session there is nothing to count");
}

#[test]
fn a_filter_knows_whose_session_it_is_and_where() {
    for (fact, expected) in [("session-user", "alice"), ("session-node", "node-a"), ("session-site", "*")] {
        let guest = Guest::new(Question::Filter)
            .imports(&format!("(import \"doorward:policy/session@{VERSION}\" \"{fact}\" (func $fact (param i32)))"))
            // Answers with the fact as its body.
            .answer(
                "(call $fact (i32.const 3072))
                 (if (i32.load8_u (i32.const 3072)) (then
                   (i32.store8 (i32.const 16) (i32.const 3)) (i32.store16 (i32.const 20) (i32.const 200))
                   (i32.store (i32.const 32) (i32.load (i32.const 3076)))
                   (i32.store (i32.const 36) (i32.load (i32.const 3080))))
                 (else (i32.store8 (i32.const 16) (i32.const 0))))
                 i32.const 16",
            );
        let (_node, proxy) = start(&guest, "");
        let mut client = log_in(&proxy, "alice");
        assert_eq!(client.get("/").expect(200).text(), expected);
        assert!(proxy.client().get("/").expect(200).text().contains("<form"), "{fact}: nobody's session");
        let forged = proxy.client().send(Request::new("GET", "/").header("Cookie", "doorward=alice"));
        assert!(forged.text().contains("<form"), "{fact}: {}", forged.text());
    }
    // 429 once the login is a second ago.
    let age = Guest::new(Question::Filter)
        .imports(&format!(
            "(import \"doorward:policy/session@{VERSION}\" \"session-age\" (func $age (param i32 i32) (result i32)))"
        ))
        .extra("(data (i32.const 2048) \"1 86400\")")
        .answer(
            "(i32.store8 (i32.const 16) (i32.const 0))
             (if (i32.eq (call $age (i32.const 2048) (i32.const 7)) (i32.const 1)) (then
               (i32.store8 (i32.const 16) (i32.const 3)) (i32.store16 (i32.const 20) (i32.const 429))))
             i32.const 16",
        );
    let (_node, proxy) = start(&age, "");
    let mut client = log_in(&proxy, "alice");
    let began = Instant::now();
    while client.get("/").status != 429 {
        assert!(began.elapsed() < SOON);
        std::thread::yield_now();
    }
    assert_eq!(proxy.client().get("/").status, 200, "nobody's session has no age");
}

#[test]
fn a_decision_that_read_the_hour_is_found_again() {
    let hour = Guest::new(Question::Filter)
        .imports(&format!(
            "(import \"doorward:policy/clock@{VERSION}\" \"hour\" (func $hour (param i32 i32) (result i32)))"
        ))
        .extra("(data (i32.const 2048) \"+01:00\")")
        .answer("(if (i32.gt_u (call $hour (i32.const 2048) (i32.const 6)) (i32.const 23)) (then unreachable)) i32.const 16");
    let (_node, proxy) = start(&hour, "");
    for _ in 0..4 {
        proxy.client().get("/").expect(200);
    }
    // Twice, should an hour end just now.
    assert!(memo(&proxy)["hits"].as_u64().is_some_and(|hits| hits >= 2), "{}", memo(&proxy));
}

/// Sets `x-tenant` on the way to the node, and a header in the answer.
fn both_ways(name: &str, value: &str) -> Guest {
    let (name_size, value_size) = (name.len(), value.len());
    let text = |at: u32, from: u32, size: usize| {
        format!("(i32.store (i32.const {at}) (i32.const {from})) (i32.store (i32.const {}) (i32.const {size}))", at + 4)
    };
    Guest::new(Question::Filter)
        .extra(&format!("(data (i32.const 2048) \"x-tenant\") (data (i32.const 2064) \"{name}\") (data (i32.const 2128) \"{value}\")"))
        .answer(&format!(
            "{} {} {} {} (i32.store8 (i32.const 16) (i32.const 4)) {} {} i32.const 16",
            text(2304, 2048, 8),
            text(2312, 2048, 8),
            text(2320, 2064, name_size),
            text(2328, 2128, value_size),
            text(20, 2304, 1),
            text(28, 2320, 1),
        ))
}

#[test]
fn headers_are_set_both_ways_in_whoevers_answer() {
    let (_node, proxy) = start(&both_ways("x-frame-options", "DENY"), "");
    let mut client = log_in(&proxy, "alice");
    let of_node = client.get("/").expect(200);
    assert_eq!((of_node.text().as_str(), of_node.header("x-frame-options")), ("x-tenant", Some("DENY")));
    let page = proxy.client().get("/").expect(200);
    assert_eq!(page.header("x-frame-options"), Some("DENY"), "of a page of our own too");
    assert!(page.text().contains("<form"));
    for reserved in
        ["set-cookie", "location", "content-length", "x-request-id", "strict-transport-security", "clear-site-data"]
    {
        let (_node, proxy) = start(&both_ways(reserved, "x"), "");
        assert_eq!(proxy.client().get("/").status, 503, "{reserved}");
    }
}

#[test]
fn no_filter_lets_a_shared_cache_store_a_session_or_weakens_a_page_of_our_own() {
    // Renewed after two seconds, a tenth of it in whole ones.
    let more = "[session]\nidle-timeout = \"19s\"\n";
    let (_node, proxy) = start(&both_ways("cache-control", "public, max-age=3600"), more);
    let page = proxy.client().get("/").expect(200);
    assert_eq!((page.header("cache-control"), page.header("set-cookie").is_some()), (Some("no-store"), true));
    let mut client = log_in(&proxy, "alice");
    let (mut other, host) = (proxy.client(), client.host_name().to_owned());
    other.cookies.set(&host, "doorward", client.cookie("doorward").expect("a session"));
    // An answer with a cookie of the node's is not for shared caches, and so it may renew the session.
    let began = Instant::now();
    let renewed = loop {
        let answer = client.get("/cookie").expect(200);
        if answer.headers.all("set-cookie").iter().any(|cookie| cookie.starts_with("doorward=")) {
            break answer;
        }
        assert_eq!(answer.header("cache-control"), None, "{answer:?}");
        assert!(began.elapsed() < SOON);
        std::thread::yield_now();
    };
    assert_eq!(renewed.header("cache-control"), Some("private"));
    let shared = other.get("/x").expect(200);
    assert_eq!((shared.header("cache-control"), shared.header("set-cookie")), (Some("public, max-age=3600"), None));

    let (_node, proxy) = start(&both_ways("cache-control", "no-store"), "");
    let answer = log_in(&proxy, "alice").get("/cookie").expect(200);
    assert_eq!((answer.header("cache-control"), answer.header("set-cookie").is_some()), (Some("no-store"), true));

    for (name, value) in [
        ("content-security-policy", "script-src *"),
        ("x-content-type-options", "x"),
        ("expires", "Fri, 01 Jan 2999 00:00:00 GMT"),
    ] {
        let (_node, proxy) = start(&both_ways(name, value), "");
        assert_ne!(proxy.client().get("/").expect(200).header(name), Some(value));
        assert_eq!(log_in(&proxy, "alice").get("/").expect(200).header(name), Some(value));
    }
}

#[test]
fn a_page_is_in_the_look_and_the_language_of_the_site() {
    let notice = |name: &str, title: &str| {
        Guest::new(Question::Filter)
            .extra(&format!("(data (i32.const 2048) \"{name}\") (data (i32.const 2064) \"{title}\") (data (i32.const 2128) \"not_now\")"))
            .answer(&format!(
                "(i32.store8 (i32.const 16) (i32.const 5)) (i32.store (i32.const 20) (i32.const 2048))
                 (i32.store (i32.const 24) (i32.const {})) (i32.store16 (i32.const 28) (i32.const 418))
                 (i32.store (i32.const 32) (i32.const 2064)) (i32.store (i32.const 36) (i32.const {}))
                 (i32.store (i32.const 40) (i32.const 2128)) (i32.store (i32.const 44) (i32.const 7)) i32.const 16",
                name.len(),
                title.len()
            ))
    };
    let (_node, proxy) = start(&notice("notice", "<b>Closed</b>"), "");
    for (language, text) in
        [("en", "This is not possible at the moment."), ("de", "Das ist im Moment nicht m\u{f6}glich.")]
    {
        let page = proxy.client().send(Request::new("GET", "/").header("Accept-Language", language)).expect(418);
        let html = page.text();
        assert!(html.contains(text) && html.contains("&lt;b&gt;Closed") && !html.contains("<b>Closed"), "{html}");
        assert!(html.contains("data-look=\"blue\"") && html.contains(&format!("lang=\"{language}\"")), "{html}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
    let (_node, proxy) = start(&notice("login", "x"), "");
    assert_eq!(proxy.client().get("/").status, 503, "only what is a notice");
}

/// An access policy that denies whoever is on the list `blocked`.
fn blocklist() -> Guest {
    Guest::new(Question::Access)
        .imports(&format!(
            "(import \"doorward:policy/connection@{VERSION}\" \"client-address\" (func $address (param i32)))
             (import \"doorward:policy/lists@{VERSION}\" \"list-contains\" (func $has (param i32 i32 i32 i32) (result i32)))"
        ))
        .extra("(data (i32.const 2048) \"blocked\")")
        .answer(
            "(call $address (i32.const 3072))
             (i32.store8 (i32.const 16) (call $has (i32.const 2048) (i32.const 7)
               (i32.load (i32.const 3072)) (i32.load (i32.const 3076))))
             i32.const 16",
        )
}

#[test]
fn a_list_is_replaced_by_a_reload_and_a_wrong_one_leaves_the_old_one_serving() {
    let node = webmail(|_| Answer::text("inbox"));
    let policy =
        "[[policy]]\nname = \"p\"\nasks = \"access\"\nfile = \"p.wasm\"\n[policy.lists]\nblocked = \"blocked.txt\"\n";
    let text = config(&format!("{ADMIN}{policy}"), &[("node-a", &node, "")]);
    let proxy = setup().file("p.wasm", blocklist().build()).file("blocked.txt", "192.0.2.0/24\n").serve(&text);
    let is_let_in = || proxy.client().try_send(Request::new("GET", "/")).is_ok();
    assert!(is_let_in());
    let digest = proxy.status()["policies"][0]["digest"].clone();
    let replace = |text: &str| {
        proxy.write("next", text);
        std::fs::rename(proxy.dir().join("next"), proxy.dir().join("blocked.txt")).expect("a rename");
        proxy.admin("POST", "/reload")
    };
    assert_eq!(replace("192.0.2.0/24\n127.0.0.0/8 # this machine\n").0, 200);
    assert!(!is_let_in(), "its network is on the list");
    let (status, told) = replace("127.0.0.0/99\n");
    assert_eq!(status, 422, "{told}");
    assert!(told.contains("blocked.txt: line 1") && told.contains("is no network"), "{told}");
    assert!(!is_let_in(), "the old one holds");
    assert_eq!(replace("").0, 200);
    assert!(is_let_in());
    assert_eq!(proxy.status()["policies"][0]["digest"], digest, "the component was the same all the time");
}
