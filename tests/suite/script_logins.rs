//! Webmails whose scripts do everything, logins and logouts too: SnappyMail and RainLoop as stand-ins that answer as their
//! sources do (SnappyMail at ba49691, RainLoop at 9bf8fa5), and what a script gets when it logs out.

use harness::{Answer, Backend, Client, Incoming, Request, Response};
use serde_json::{Value, json};

use crate::recipes::{field, has_cookie, json_of, logged_in, login, outcome, own, proxy_of, proxy_with, send_code};

fn answer(value: &Value) -> Answer {
    Answer::new(200, value.to_string()).header("Content-Type", "application/json; charset=utf-8")
}

/// As browsers mark what scripts send.
fn script(target: &str) -> Request {
    Request::new("POST", target).header("Sec-Fetch-Dest", "empty").header("Sec-Fetch-Site", "same-origin")
}

const JSON: &str = "/?/Json/&q%5B%5D=/0/";

const CLEARED: &str = "smaccount=deleted; expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; path=/; HttpOnly";

fn snappymail() -> Backend {
    Backend::start(|request| {
        // Without the cookie of the session, which may be ended elsewhere, that of the account goes too.
        let account = has_cookie(request, "smaccount=a");
        let session = account && has_cookie(request, "smsession=s");
        let cleared = |answer: Answer| if account && !session { answer.header("Set-Cookie", CLEARED) } else { answer };
        match (request.seen.method.as_str(), request.seen.target.as_str()) {
            ("GET", target) if target.starts_with("/?/AppData/0/") => {
                let data = answer(&json!({"Auth": session, "title": "SnappyMail", "System": {"token": "t0k"}}));
                cleared(data.header("Set-Cookie", "smtoken=s; path=/; HttpOnly; SameSite=Strict"))
            }
            ("GET", target) if target.starts_with("/?/AdminAppData/0/") => {
                answer(&json!({"Auth": false, "System": {"token": "t0k"}, "Admin": {"path": "admin"}}))
            }
            ("POST", JSON) => cleared(snappymail_action(request, session)),
            _ => Answer::html("app"),
        }
    })
}

fn snappymail_action(request: &mut Incoming<'_>, session: bool) -> Answer {
    let body = json_of(request);
    let action = body["Action"].as_str().unwrap_or_default();
    let no = |code: u16| answer(&json!({"Action": action, "Result": false, "code": code, "message": ""}));
    let token = has_cookie(request, "smtoken=s")
        && request.seen.header("x-sm-token") == Some("t0k")
        && request.seen.header("sec-fetch-site") == Some("same-origin");
    match (action, body["Email"].as_str(), body["Password"].as_str()) {
        // A logout asks for no token, and for no session either.
        ("Logout", ..) => {
            answer(&json!({"Action": "Logout", "Result": true, "epoch": 1})).header("Set-Cookie", CLEARED)
        }
        _ if !token => no(101),
        ("Login", Some("alice@a.test"), Some("alice-secret")) => {
            answer(&json!({"Action": "Login", "Result": {"Auth": true}}))
                .header("Set-Cookie", "smaccount=a; path=/; HttpOnly; SameSite=Strict")
                .header("Set-Cookie", "smctoken=c; path=/; SameSite=Strict")
                .header("Set-Cookie", "smsession=s; path=/; HttpOnly; SameSite=Strict")
        }
        ("Login", Some(code), _) if code.parse::<u16>().is_ok() => no(code.parse().unwrap_or_default()),
        // Passwords of their own: another account, the server that sends, the administrator.
        ("Login" | "AccountSetup" | "SendMessage" | "AdminLogin", ..) => no(102),
        _ if !session => no(101),
        ("Expired", ..) => no(102),
        _ => answer(&json!({"Action": action, "Result": {"count": 1}})),
    }
}

/// What SnappyMail's script sends.
fn ask(client: &mut Client, action: &str) -> Response {
    let body = json!({"Action": action}).to_string();
    client.send(script(JSON).header("X-SM-Token", "t0k").header("Content-Type", "application/json").body(body))
}

const SETTINGS: &str = "recipe = \"snappymail\"\nrecipe-settings = { user = \"{attr.mail}\" }";

#[test]
fn snappymail_says_all_in_json() {
    let node = snappymail();
    let proxy = proxy_with(&node, "back-end", SETTINGS);
    let (mut client, _) = logged_in(&proxy);
    assert_eq!((client.cookie("smaccount"), client.cookie("smctoken")), (Some("a"), Some("c")));
    assert_eq!(outcome(&crate::support::post_login(&mut proxy.client(), "/", "alice", "x")), (403, "login".into()));
    assert_eq!(ask(&mut client, "MessageList").json()["Result"]["count"], 1);
    // Its codes: only some are the user's fault.
    for (code, status) in [(104, 502), (109, 502), (901, 502), (999, 502), (102, 403), (110, 403)] {
        let settings = format!("recipe = \"snappymail\"\nrecipe-settings = {{ user = \"{code}\" }}");
        assert_eq!(login(&mut proxy_with(&node, "ldap-bind", &settings).client()).status, status, "{code}");
    }
}

#[test]
fn a_logout_that_a_script_makes_is_seen_and_the_script_gets_the_nodes_answer() {
    let node = snappymail();
    let proxy = proxy_with(&node, "back-end", SETTINGS);
    let (mut client, _) = logged_in(&proxy);
    let before = client.cookies.header(client.host_name(), "/", false);
    let host = client.host_name().to_owned();
    let others = ["smaccount~1", "smadditional", "smremember"];
    others.iter().for_each(|name| client.cookies.set(&host, name, "x"));
    let out = ask(&mut client, "Logout").expect(200);
    assert_eq!(out.json()["Result"], true, "SnappyMail's page shows an error otherwise");
    for name in ["doorward", "smaccount", "smsession", "smctoken"].iter().chain(&others) {
        assert_eq!(client.cookie(name), None, "{name}");
    }
    assert_eq!(outcome(&client.get("/")), (200, "login".into()));
    let kept = script(JSON).header("Cookie", &before).header("X-SM-Token", "t0k").body("{\"Action\":\"MessageList\"}");
    proxy.client().send(kept).expect(401);
}

#[test]
fn snappymail_forgets_a_session_in_two_ways_and_other_passwords_are_not_that() {
    let node = snappymail();
    let proxy = proxy_with(&node, "back-end", SETTINGS);
    let (mut client, _) = logged_in(&proxy);
    for action in ["AccountSetup", "SendMessage", "AdminLogin"] {
        assert_eq!(ask(&mut client, action).expect(200).json()["code"], 102, "{action}");
    }
    let data = |kind: &str| Request::new("GET", &format!("/?/{kind}/0/1/")).header("Sec-Fetch-Dest", "empty");
    assert_eq!(client.send(data("AppData")).expect(200).json()["Auth"], true);
    assert_eq!(client.send(data("AdminAppData")).expect(200).json()["Auth"], false);
    assert_eq!(ask(&mut client, "Expired").status, 401, "the mail server takes the password no more");
    let with = |client: &Client, theirs: &str| {
        let ours = client.cookie("doorward").expect("a session").to_owned();
        format!("doorward={ours}; smtoken=s; {theirs}")
    };
    // A broken cookie, and a session that was ended elsewhere: what a script asks for, and what the page loads first.
    for theirs in ["smaccount=broken; smsession=s", "smaccount=a; smsession=ended"] {
        let (mut client, _) = logged_in(&proxy);
        let list = script(JSON).header("X-SM-Token", "t0k").header("Cookie", &with(&client, theirs));
        client.send(list.body("{\"Action\":\"MessageList\"}")).expect(401);
        assert_eq!(client.cookie("doorward"), None);
        let (mut client, _) = logged_in(&proxy);
        client.send(data("AppData").header("Cookie", &with(&client, theirs))).expect(401);
        assert_eq!(client.cookie("doorward"), None);
    }
}

const AJAX: &str = "/?/Ajax/&q%5B%5D=/0/";

fn rainloop() -> Backend {
    Backend::start(|request| {
        if request.seen.target.starts_with("/?/AppData/") {
            // It keeps the session in the page from then on.
            return Answer::new(200, "window.rainloopAppData = {\"Auth\":false,\"Token\":\"0a1b\"};")
                .header("Content-Type", "application/javascript; charset=utf-8")
                .header("Set-Cookie", "rlspecauth=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0")
                .header("Set-Cookie", "rltoken=r; path=/; HttpOnly");
        }
        if request.seen.method != "POST" {
            return Answer::html("app");
        }
        let action = field(request, "Action");
        let no = |code: u16| answer(&json!({"Action": action, "Result": false, "ErrorCode": code, "Time": 1}));
        let session = has_cookie(request, "rlsession=s");
        match action.as_str() {
            "Login" => {
                let right = field(request, "XToken") == "0a1b" && has_cookie(request, "rltoken=r");
                match (right && field(request, "Password") == "alice-secret", field(request, "AdditionalCode").as_str())
                {
                    (false, _) => no(102),
                    (true, "") => no(120),
                    (true, "123456") => answer(&json!({"Action": "Login", "Result": true}))
                        .header("Set-Cookie", "rlspecauth=s; path=/; HttpOnly")
                        .header("Set-Cookie", "rlsession=s; path=/; HttpOnly"),
                    (true, _) => no(121),
                }
            }
            "Logout" => answer(&json!({"Action": "Logout", "Result": true, "Time": 3})),
            "AccountAdd" | "SendMessage" => no(102),
            "Forged" => no(101),
            _ if !session => no(102),
            _ => answer(&json!({"Action": action, "Result": {"Count": 1}})),
        }
    })
}

fn act(client: &mut Client, action: &str) -> Response {
    client.send(script(AJAX).form(&[("Action", action), ("XToken", "0a1b")]))
}

#[test]
fn rainloop_takes_the_code_with_the_login() {
    let node = rainloop();
    let proxy = proxy_of(&node, "rainloop");
    let mut client = proxy.client();
    let page = login(&mut client).expect(200);
    let page = send_code(&mut client, &page, "1").expect(403);
    send_code(&mut client, &page, "123456").expect(303);
    assert_eq!(client.get("/").text(), "app");
    assert_eq!(client.cookie("rlspecauth"), Some("s"));
}

#[test]
fn rainloop_logs_out_and_forgets_in_json() {
    let node = rainloop();
    let proxy = proxy_of(&node, "rainloop");
    let enter = || {
        let mut client = proxy.client();
        let page = login(&mut client).expect(200);
        send_code(&mut client, &page, "123456").expect(303);
        client
    };
    let mut client = enter();
    // That the account's cookie is deleted is no logout here.
    let data = Request::new("GET", "/?/AppData/0/1/").header("Sec-Fetch-Dest", "script");
    assert!(client.send(data).expect(200).text().contains("rainloopAppData"));
    for action in ["AccountAdd", "SendMessage"] {
        assert_eq!(act(&mut client, action).expect(200).json()["ErrorCode"], 102, "{action}");
    }
    assert_eq!(act(&mut client, "Folders").expect(200).json()["Result"]["Count"], 1);
    assert_eq!(act(&mut client, "Logout").expect(200).json()["Result"], true);
    assert_eq!((client.cookie("doorward"), client.cookie("rlsession")), (None, None));
    act(&mut enter(), "Forged").expect(401);
    let mut client = enter();
    let ours = client.cookie("doorward").expect("a session").to_owned();
    let gone = script(AJAX).header("Cookie", &format!("doorward={ours}")).form(&[("Action", "Folders")]);
    client.send(gone).expect(401);
}

#[test]
fn any_webmails_script_gets_the_answer_to_its_logout_and_a_page_is_led_on() {
    let recipe = "[login]\npath = \"/in\"\nfields = { p = \"{password}\" }\n[success]\nstatus = [200]\n[session]\ncookies = [\"sid\"]\n\
                  [logout]\npath = \"/out\"\n[logout.done]\njson = { \"/bye\" = true }\nor = [{ json = { \"/bye\" = false } }, { json = { \"/bye\" = \"slowly\" } }]\n";
    let node = Backend::start(|request| match request.seen.target.as_str() {
        // One that hands out a new session with the logout: it goes as well.
        "/out" => Answer::new(200, "{\"bye\":true}")
            .header("Content-Type", "application/json")
            .header("Set-Cookie", "sid=2; Path=/"),
        "/out?slow" => {
            let pause = std::time::Duration::from_millis(600);
            Answer::slow(&[b"{\"bye\":", b"\"slowly\"}"], pause).header("Content-Type", "application/json")
        }
        "/out?no" => Answer::new(403, "{}").header("Content-Type", "application/json"),
        "/out?late" => Answer::new(409, "{\"bye\":false}").header("Content-Type", "application/json"),
        "/in" => Answer::text("in").header("Set-Cookie", "sid=1; Path=/"),
        _ => Answer::text("mail"),
    });
    let proxy = own(&node, recipe);
    let (mut client, _) = logged_in(&proxy);
    assert_eq!(client.send(script("/out?no")).expect(403).text(), "{}");
    assert_eq!(client.send(script("/out")).expect(200).text(), "{\"bye\":true}");
    assert_eq!((client.cookie("sid"), client.cookie("doorward")), (None, None));
    let (mut client, _) = logged_in(&proxy);
    assert_eq!(client.send(script("/out?late")).expect(409).json()["bye"], false);
    assert_eq!(client.cookie("doorward"), None);
    // A busy node's answer comes in parts.
    let (mut client, _) = logged_in(&proxy);
    assert_eq!(client.send(script("/out?slow")).expect(200).json()["bye"], "slowly");
    assert_eq!(client.cookie("doorward"), None);
    let (mut client, _) = logged_in(&proxy);
    assert_eq!(client.get("/out").expect(303).header("location"), Some("/.doorward/logged-out"));
    assert_eq!((client.cookie("sid"), client.cookie("doorward")), (None, None));
}
