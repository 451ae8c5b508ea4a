//! The recipe `form`: what its settings alone can say.

use harness::{Answer, Backend, Incoming, Proxy, Request};

use crate::recipes::{field, has_cookie, proxy_with};
use crate::support::{body_attribute, post_login};

/// What docs/recipes.md says for a webmail: recipe and settings.
pub(crate) fn documented(webmail: &str) -> &'static str {
    let docs = include_str!("../../docs/recipes.md");
    let (_, shown) = docs.split_once("### Settings of `form`").expect("a chapter");
    let (_, shown) = shown.split_once(webmail).and_then(|(_, shown)| shown.split_once("```toml\n")).expect(webmail);
    let (shown, _) = shown.split_once("```").expect("its end");
    &shown[shown.find("recipe = ").expect("a recipe")..]
}

fn logout_error(text: &str) -> Answer {
    Answer::html(format!("<title>SquirrelMail - {text}</title><td>{text}</td><!-- logout_error --></body></html>"))
}

/// SquirrelMail 1.4 as its redirect.php, webmail.php, signout.php and display_messages.php have it.
fn squirrelmail(request: &mut Incoming<'_>) -> Answer {
    let alive = has_cookie(request, "SQMSESSID=new") && has_cookie(request, "key=k");
    match request.what() {
        ("GET", "/squirrelmail/src/login.php") => Answer::html("<form action='redirect.php'>")
            .header("Set-Cookie", "SQMSESSID=old; path=/squirrelmail/; HttpOnly"),
        ("POST", "/squirrelmail/src/redirect.php") => {
            let fields = ["login_username", "secretkey", "js_autodetect_results", "just_logged_in"];
            let sent = fields.map(|name| field(request, name));
            match sent.each_ref().map(String::as_str) {
                ["alice", "alice-secret", "1", "1"] if has_cookie(request, "SQMSESSID=old") => {
                    Answer::redirect("webmail.php")
                        .header("Set-Cookie", "SQMSESSID=new; path=/squirrelmail/; HttpOnly")
                        .header("Set-Cookie", "key=k; path=/squirrelmail/; HttpOnly")
                }
                [_, "down", "1", "1"] => logout_error("Error connecting to IMAP server: localhost."),
                [_, _, "1", "1"] => logout_error("Unknown user or password incorrect."),
                _ => logout_error("You must be logged in to access this page."),
            }
        }
        ("GET", "/squirrelmail/src/signout.php") => Answer::html("You have been successfully signed out.")
            .header("Set-Cookie", "SQMSESSID=SMDELETE; path=/squirrelmail/")
            .header("Set-Cookie", "key=SMDELETE; path=/squirrelmail/"),
        ("GET", _) if alive => Answer::html("You must be logged in to access this page. &lt;!-- logout_error --&gt;"),
        _ => logout_error("You must be logged in to access this page."),
    }
}

fn start() -> (Backend, Proxy) {
    let node = Backend::start(squirrelmail);
    let proxy = proxy_with(&node, "back-end", documented("SquirrelMail"));
    (node, proxy)
}

#[test]
fn squirrelmail_needs_settings_only() {
    let (node, proxy) = start();
    let say = |password: &str| post_login(&mut proxy.client(), "/", "alice", password).status;
    assert_eq!((say("alice-secret"), say("nope"), say("down")), (303, 403, 502));
    let mut client = proxy.client();
    let landing = post_login(&mut client, "/", "alice", "alice-secret");
    assert_eq!(landing.header("location"), Some("/squirrelmail/src/webmail.php"));
    // A mail with the words of a lost session ends none.
    assert!(client.get("/squirrelmail/src/read_body.php").text().contains("You must be logged in"));
    assert!(client.cookie("doorward").is_some());
    // A logout at SquirrelMail.
    let page = client.get("/squirrelmail/src/signout.php");
    assert_eq!(page.header("location"), Some("/.doorward/logged-out"));
    let gone = |client: &harness::Client| ["doorward", "SQMSESSID", "key"].map(|name| client.cookie(name).is_none());
    assert_eq!(gone(&client), [true; 3]);
    // One at Doorward, which is made at SquirrelMail.
    post_login(&mut client, "/", "alice", "alice-secret").expect(303);
    assert_eq!(client.get("/.doorward/logout").header("location"), Some("/squirrelmail/.doorward/logout"));
    client.get("/squirrelmail/.doorward/logout").expect(303);
    let hits = node.hits();
    let call = hits.iter().rfind(|seen| seen.target.ends_with("signout.php")).expect("a logout");
    assert_eq!(call.header("cookie"), Some("SQMSESSID=new; key=k"));
    assert_eq!(gone(&client), [true; 3]);
}

#[test]
fn a_session_that_a_page_says_is_lost_is_over_for_pages_and_scripts() {
    let (_node, proxy) = start();
    for kind in ["document", "empty"] {
        let mut client = proxy.client();
        post_login(&mut client, "/", "alice", "alice-secret").expect(303);
        let session = client.cookie("doorward").expect("a session").to_owned();
        let request = Request::new("GET", "/squirrelmail/src/right_main.php").header("Sec-Fetch-Dest", kind);
        let answer = client.send(request.header("Cookie", &format!("doorward={session}; SQMSESSID=new; key=other")));
        match kind {
            "document" => assert_eq!(answer.header("location"), Some("/.doorward/login?gone")),
            _ => assert_eq!((answer.status, answer.json()["login"].as_str()), (401, Some("/"))),
        }
        assert_eq!(client.cookie("doorward"), None, "{kind}");
    }
}

/// A webmail that has its session in its paths and sets no cookie.
const IN_PATHS: &str = "recipe = \"form\"\n[backend.recipe-settings]\npage = \"\"\npath = \"/cgi/mail\"\n\
    fields = \"do.login=Log%20in&domain={user.domain}&empty=\"\nsuccess-location = \"/login/\"\n\
    failure-text = \"INVALID\"\nlanding = \"\"\nsession-location = \"/cgi/mail/login/([^?]+)\"\n\
    logout-path = \"\"\nlogout-query = \"form=logout\"\nlogout-call = \"/cgi/mail/login/{session}?form=logout\"\n\
    expired-text = \"<title>Expired\"\n";

#[test]
fn a_session_in_the_path_needs_no_cookie_and_is_ended_there() {
    let node = Backend::start(|request| match request.what() {
        ("POST", "/cgi/mail") => {
            let (button, domain) = (field(request, "do.login"), field(request, "domain"));
            let to = format!("http://{}/cgi/mail/login/", request.seen.header("host").unwrap_or_default());
            match (field(request, "password").as_str(), button.as_str(), domain.as_str()) {
                ("alice-secret", "Log%20in", "") => {
                    Answer::redirect(&format!("{to}a%40b/0F%3A/17?folder=INBOX")).status(303)
                }
                _ => Answer::html("INVALID"),
            }
        }
        ("GET", "/cgi/mail/login/a%40b/0F%3A/17?form=logout") => Answer::redirect("/cgi/mail").status(303),
        ("GET", "/cgi/mail/login/a%40b/0F%3A/17?folder=INBOX") => Answer::html("inbox"),
        _ => Answer::html("<title>Expired</title>"),
    });
    let proxy = proxy_with(&node, "back-end", IN_PATHS);
    assert_eq!(post_login(&mut proxy.client(), "/", "alice", "nope").status, 403);
    let mut client = proxy.client();
    let landing = post_login(&mut client, "/", "alice", "alice-secret").expect(303);
    let landing = landing.header("location").expect("a landing").to_owned();
    assert_eq!(landing, "/cgi/mail/login/a%40b/0F%3A/17?folder=INBOX");
    assert_eq!(client.get(&landing).text(), "inbox");
    client.get("/.doorward/logout").expect(303);
    let ended = |node: &Backend| node.hits().iter().filter(|seen| seen.target.ends_with("17?form=logout")).count();
    assert_eq!((ended(&node), client.cookie("doorward")), (1, None));
    // The link in the webmail does the same.
    post_login(&mut client, "/", "alice", "alice-secret").expect(303);
    let page = client.get("/cgi/mail/login/a%40b/0F%3A/17?form=logout");
    assert_eq!(page.header("location"), Some("/.doorward/logged-out"));
    assert_eq!(body_attribute(&client.get("/.doorward/logged-out").text(), "data-page"), "logged-out");
    assert_eq!(node.hits().iter().filter(|seen| seen.method == "GET" && seen.target == "/").count(), 0, "no prefetch");
}

#[test]
fn whoever_logs_in_next_ends_the_session_in_the_path_too() {
    let logins = std::sync::atomic::AtomicUsize::new(0);
    let node = Backend::start(move |request| match request.what() {
        ("POST", "/cgi/mail") => {
            let nth = logins.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Answer::redirect(&format!("/cgi/mail/login/s{nth}?folder=INBOX")).status(303)
        }
        ("GET", "/cgi/mail/login/s1?form=logout") => Answer::hang(),
        _ => Answer::html("mail"),
    });
    let proxy = proxy_with(&node, "back-end", &format!("rw-timeout = \"1s\"\n{IN_PATHS}"));
    let ended = |session: &str| {
        let target = format!("/cgi/mail/login/{session}?form=logout");
        node.hits().iter().filter(|seen| seen.target == target).count()
    };
    let mut client = proxy.client();
    post_login(&mut client, "/", "alice", "alice-secret").expect(303);
    post_login(&mut client, "/.doorward/login", "alice", "alice-secret").expect(303);
    assert_eq!((ended("s0"), ended("s1")), (1, 0));
    // A node that does not answer keeps nobody out.
    post_login(&mut client, "/.doorward/login", "alice", "alice-secret").expect(303);
    assert_eq!((ended("s0"), ended("s1"), ended("s2")), (1, 1, 0));
}
