//! Doorward's own pages from outside: what each says, in whose language, and what people may choose.

use std::time::Duration;

use harness::{Answer, Client, Proxy, Request, Response};

use crate::support::{backend, body_attribute, config, log_in, post_login, setup, webmail};

/// What every page has, whatever went wrong.
fn check_page(answer: &Response, status: u16, lang: &str, id: bool) {
    let page = answer.text();
    assert_eq!(answer.status, status, "{page}");
    assert_eq!(answer.header("content-language"), Some(lang), "{page}");
    assert!(page.contains(&format!("<html lang=\"{lang}\"")), "{page}");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    if id {
        let digits = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(page.split(['<', '>']).any(digits), "no request id in {page}");
    }
}

#[test]
fn each_error_has_a_page_with_its_number_and_the_request_id() {
    let node = webmail(|request| match request.seen.target.as_str() {
        "/broken" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        "/hangs" => Answer::hang(),
        _ => Answer::text("inbox"),
    });
    let gone = webmail(|_| Answer::text("x"));
    let extra = "[http]\nuri-max-size = \"1KiB\"\nbody-max-size = \"1KiB\"\nupload-max-size = \"1KiB\"\nheaders-max-count = 30\n";
    let text = config(extra, &[("node-a", &node, "rw-timeout = \"300ms\"")]) + &backend("node-b", &gone.url(), "");
    let proxy = setup().serve(&text.replace("hosts = [\"*\"]", "hosts = [\"127.0.0.1\"]"));
    let mut bob = log_in(&proxy, "bob");
    drop(gone);
    let mut client = log_in(&proxy, "alice");
    let get = |target: &str| Request::new("GET", target);
    let cases = [
        (405, Request::new("DELETE", "/.doorward/login")),
        (404, get("/.doorward/nothing")),
        (413, Request::new("POST", "/x").body(vec![b'x'; 2000])),
        (502, get("/broken")),
        (504, get("/hangs")),
    ];
    for (status, request) in cases {
        let answer = client.send(request.header("Accept-Language", "de"));
        check_page(&answer, status, "de", true);
        assert_eq!(body_attribute(&answer.text(), "data-page"), "error");
        assert!(answer.text().contains(&format!("Fehler {status}")), "{}", answer.text());
    }
    let down = bob.send(get("/").header("Accept-Language", "de"));
    check_page(&down, 503, "de", true);
    assert!(down.header("retry-after").is_some() && down.text().contains("http-equiv=\"refresh\""));
    // Where not even the site is known, the page is plain and in the site's language.
    let raw = |bytes: &str| {
        let answer = String::from_utf8_lossy(&proxy.client().raw(bytes)).into_owned();
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        assert!(answer.contains("<html lang=\"en\">") && answer.contains(&format!("Error {status}")), "{answer}");
        status
    };
    let many = "X: y\r\n".repeat(40);
    let long = "x".repeat(2000);
    assert_eq!(raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
    assert_eq!(raw("GET / HTTP/1.1\r\nHost: unknown.test\r\nConnection: close\r\n\r\n"), 421);
    assert_eq!(raw(&format!("GET /{long} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")), 414);
    assert_eq!(raw(&format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{many}\r\n")), 431);
}

#[test]
fn the_language_is_the_chosen_one_or_the_best_that_the_browser_accepts() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = crate::support::proxy("", &[("node-a", &node, "")]);
    for (accepted, lang, text) in [
        ("ro;q=0.4, fr-CH;q=0.9, xx", "fr", "Se connecter"),
        ("de;q=0, ja;q=0.1", "ja", "ログイン"),
        ("tlh", "en", "Sign in"),
        ("\u{fffd};q=x,,;", "en", "Sign in"),
    ] {
        let page = proxy.client().header("Accept-Language", accepted).get("/");
        check_page(&page, 200, lang, false);
        assert!(page.text().contains(text), "{}", page.text());
        assert!(page.header("vary").is_some_and(|vary| vary.contains("Accept-Language") && vary.contains("Cookie")));
    }
    let mut client = proxy.client().header("Accept-Language", "fr");
    let chosen = client.get("/.doorward/preferences?language=es&back=%2Fmail%3Fx%3D1");
    assert_eq!((chosen.status, chosen.header("location")), (303, Some("/mail?x=1")));
    check_page(&client.get("/mail?x=1"), 200, "es", false);
    // A refused login is told in it, and the choice outlives the login.
    let wrong = post_login(&mut client, "/", "alice", "x");
    check_page(&wrong, 403, "es", false);
    assert_eq!(post_login(&mut client, "/", "alice", "alice-secret").status, 303);
    client.get("/").expect(200);
    assert_eq!(node.hits().last().expect("a hit").header("cookie"), Some("sid=alice"));
    let script = client.send(Request::new("GET", "/.doorward/nothing").header("X-Requested-With", "x"));
    assert!(script.json()["detail"].as_str().is_some_and(|text| text.contains("No hay nada")), "{}", script.text());
}

#[test]
fn a_choice_leads_nowhere_else_and_other_sites_cannot_make_it() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = crate::support::proxy("", &[("node-a", &node, "")]);
    for back in ["//evil.test", "/%5Cevil.test", "https:evil.test", "/..//evil.test", "%09//evil.test", "evil.test"] {
        let answer = proxy.client().get(&format!("/.doorward/preferences?view=mobile&back={back}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{back}");
    }
    let target = "/.doorward/preferences?language=de&back=/";
    let answer = proxy.client().send(Request::new("GET", target).header("Sec-Fetch-Site", "cross-site"));
    assert_eq!((answer.status, answer.header("set-cookie")), (303, None));
    for none in ["language=tlh", "view=huge", "", "language=..%2Fen"] {
        assert_eq!(proxy.client().get(&format!("/.doorward/preferences?{none}")).status, 404, "{none}");
    }
}

/// The heading of the login page for somebody who reads Low German.
fn heading(proxy: &Proxy) -> String {
    let page = proxy.client().header("Accept-Language", "nds").get("/").expect(200).text();
    page.split("<h1>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default().to_owned()
}

#[test]
fn an_operator_adds_a_language_while_it_runs_and_a_broken_file_leaves_the_old_texts() {
    let node = webmail(|_| Answer::text("inbox"));
    let low = "language_name = \"Platt\"\nsign_in = \"Anmellen\"\n";
    let text = config("languages = \"texts\"\n", &[("node-a", &node, "")]);
    let proxy = setup().file("texts/readme.txt", "x").serve(&text);
    assert_eq!(heading(&proxy), "Sign in");
    proxy.write("texts/nds.toml", low);
    proxy.wait_for_log("reloaded.*generation=2|generation=2.*reloaded", Duration::from_secs(10));
    assert_eq!(heading(&proxy), "Anmellen");
    let from = proxy.log().len();
    proxy.write("texts/nds.toml", format!("{low}wait_minutes = \"{{minutes}}\"\n"));
    proxy.wait_for_log_after(from, "nds.toml:3: wait_minutes", Duration::from_secs(10));
    assert_eq!(heading(&proxy), "Anmellen");
}

#[test]
fn a_look_that_lacks_a_page_has_it_from_the_built_in_one() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = config("templates = \"looks\"\n", &[("node-a", &node, "")])
        .replace("hosts = [\"*\"]", "hosts = [\"*\"]\ntemplate = \"plain\"");
    let login = "<body data-page=\"{{ page }}\"><h1>{{ t.sign_in }} {{ lang }}</h1>";
    let proxy = setup().file("looks/plain/desktop/login.html", login).serve(&text);
    let get = |target: &str| {
        let mut client: Client = proxy.client();
        client.get(target).text()
    };
    assert!(get("/").contains("<h1>Sign in en</h1>"));
    assert!(get("/.doorward/nothing").contains("/.doorward/assets/blue/style.css"));
}
