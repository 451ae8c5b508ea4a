//! Redirects that a login follows at the node: what goes along, what does not, and that none makes a password wrong.

use harness::{Answer, Backend, Proxy, Seen};

use crate::recipes::own;
use crate::support::post_login;

const BASIC: &str = "Basic YWxpY2U6YWxpY2Utc2VjcmV0";

fn status(proxy: &Proxy, password: &str) -> u16 {
    post_login(&mut proxy.client(), "/", "alice", password).status
}

/// A recipe whose login is a GET with headers and a cookie of its own.
fn reader(follow: u64) -> String {
    format!(
        "[login]\nmethod = \"GET\"\npath = \"/old\"\nfollow = {follow}\n\
         headers = {{ Authorization = \"Basic {{basic}}\", X-Own = \"mine\" }}\ncookies = {{ PBack = \"0\", Seen = \"1\", Gone = \"1\" }}\n\
         [success]\nstatus = [200]\n[failure]\nstatus = [401]\n[session]\ncookies = [\"sid\"]\n"
    )
}

/// A recipe whose login is a POST with headers.
const WRITER: &str = "[login]\npath = \"/old\"\nfollow = 3\nheaders = { X-Own = \"mine\", Content-Language = \"en\" }\n\
     fields = { user = \"{user}\", pass = \"{password}\" }\n[success]\nstatus = [200]\n[failure]\nstatus = [401]\n\
     [session]\ncookies = [\"sid\"]\n";

fn find<'a>(hits: &'a [Seen], target: &str) -> &'a Seen {
    hits.iter().find(|seen| seen.target == target).unwrap_or_else(|| panic!("nobody asked for {target}: {hits:?}"))
}

#[test]
fn headers_and_cookies_of_a_step_go_along_to_the_same_origin() {
    for code in [301, 302, 303, 307, 308] {
        let node = Backend::start(move |request| {
            let to = format!("http://{}/new?x=1#part", request.seen.header("host").unwrap_or_default());
            match (request.seen.header("authorization"), request.what()) {
                (_, ("GET", "/old")) => Answer::redirect("/middle")
                    .status(code)
                    .header("Set-Cookie", "Seen=2; Path=/")
                    .header("Set-Cookie", "Gone=; Path=/; Max-Age=0"),
                (_, ("GET", "/middle")) => Answer::redirect(&to).status(code),
                (Some(BASIC), ("GET", "/new?x=1")) => Answer::text("in").header("Set-Cookie", "sid=1"),
                _ => Answer::text("no").status(401),
            }
        });
        let proxy = own(&node, &reader(3));
        assert_eq!(status(&proxy, "alice-secret"), 303, "{code}");
        let hits = node.hits();
        for target in ["/middle", "/new?x=1"] {
            let seen = find(&hits, target);
            assert_eq!((seen.header("authorization"), seen.header("x-own")), (Some(BASIC), Some("mine")), "{target}");
            // What the node sets counts, not what the recipe began with.
            assert_eq!(seen.header("cookie"), Some("Seen=2; PBack=0"), "{target}");
        }
        assert_eq!(status(&proxy, "nope"), 403, "{code}");
    }
}

#[test]
fn a_body_goes_along_where_the_status_says_so_and_nowhere_else() {
    for (code, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let node = Backend::start(move |request| match request.what() {
            ("POST", "/old") => Answer::redirect("new").status(code),
            (asked, "/new") if asked == method => Answer::text("in"),
            _ => Answer::text("no").status(500),
        });
        let proxy = own(&node, WRITER);
        assert_eq!(status(&proxy, "alice-secret"), 303, "{code}");
        let hits = node.hits();
        let (first, second) = (find(&hits, "/old"), find(&hits, "/new"));
        assert_eq!((first.text().as_str(), second.header("x-own")), ("pass=alice-secret&user=alice", Some("mine")));
        let content = (second.text(), second.header("content-type"), second.header("content-language"));
        if method == "POST" {
            let form = Some("application/x-www-form-urlencoded");
            assert_eq!(content, ("pass=alice-secret&user=alice".to_owned(), form, Some("en")), "{code}");
        } else {
            assert_eq!(content, (String::new(), None, None), "{code}");
        }
    }
}

#[test]
fn nothing_goes_to_another_origin_and_a_redirect_makes_no_password_wrong() {
    let other = Backend::start(|_| Answer::text("in").status(401));
    let elsewhere = format!("{}/new", other.url());
    let without_scheme = elsewhere.replace("http:", "");
    // Another user of the URL is the same origin for a browser; here nothing but the plain origin is.
    let tricky = elsewhere.replace("http://", "http://127.0.0.1@");
    for (what, location) in [
        ("another origin", elsewhere.as_str()),
        ("another origin without a scheme", &without_scheme),
        ("another origin behind a name", &tricky),
        ("a circle", "/old"),
        ("no address", "http://"),
        ("another scheme", "file:///etc/passwd"),
    ] {
        for code in [302, 307] {
            let to = location.to_owned();
            let node = Backend::start(move |_| Answer::redirect(&to).status(code));
            for recipe in [&reader(3), WRITER] {
                let proxy = own(&node, recipe);
                // 403 would be a wrong password.
                assert_eq!(status(&proxy, "alice-secret"), 502, "{what}, {code}");
            }
            assert!(node.hits().len() <= 8, "{what}: {}", node.hits().len());
        }
    }
    assert_eq!(other.hits().len(), 0, "nobody else was asked");
}
