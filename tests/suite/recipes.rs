//! Recipes: each kind of webmail but Roundcube as a stand-in that behaves as its sources say, and nodes that are hostile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Answer, Backend, Client, Incoming, Proxy, Request, Response};
use serde_json::json;

use crate::support::{body_attribute, setup};

/// A proxy whose users are at one node, which is logged in to by this recipe.
pub(crate) fn proxy_with(node: &Backend, mode: &str, settings: &str) -> Proxy {
    let config = format!(
        "[authentication]\nmode = \"{mode}\"\n\
         [directory]\nfile = \"people.ldif\"\nexposed-attributes = [\"mail\"]\n[[site]]\nhosts = [\"*\"]\n\
         [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n\
         [[backend]]\nname = \"node-a\"\nurl = \"{}\"\n{settings}\n",
        node.url()
    );
    setup().file("node.secret", "the shared secret\n").serve(&config)
}

/// Mode `back-end` and a node that checks no password: refused as a whole, and where a policy picks the mode, at each
/// login.
fn is_never_open(node: &Backend, settings: &str) {
    let before = node.hits().len();
    let config = format!(
        "[authentication]\nmode = \"back-end\"\n[directory]\nfile = \"people.ldif\"\n[[site]]\nhosts = [\"*\"]\n\
         [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n[[backend]]\nname = \"node-a\"\nurl = \"{}\"\n{settings}\n",
        node.url()
    );
    let refused = setup().file("node.secret", "the shared secret\n").refused(&config);
    assert!(refused.stderr.contains("one that checks passwords"), "{}", refused.stderr);
    let policy =
        "\n[[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\n[policy.settings]\ndefault = \"back-end\"\n";
    let open = proxy_with(node, "ldap-bind", &format!("{settings}{policy}"));
    assert_eq!(login(&mut open.client()).status, 500);
    assert_eq!(node.hits().len(), before, "the node is not even asked");
}

pub(crate) fn proxy_of(node: &Backend, recipe: &str) -> Proxy {
    proxy_with(node, "ldap-bind", &format!("recipe = \"{recipe}\""))
}

pub(crate) fn login(client: &mut Client) -> Response {
    crate::support::post_login(client, "/", "alice", "alice-secret")
}

/// A client that is logged in; where the login led to.
pub(crate) fn logged_in(proxy: &Proxy) -> (Client, String) {
    let mut client = proxy.client();
    let answer = login(&mut client).expect(303);
    (client, answer.header("location").expect("a landing").to_owned())
}

pub(crate) fn outcome(page: &Response) -> (u16, String) {
    (page.status, body_attribute(&page.text(), "data-page"))
}

fn set_cookies(answer: &Response) -> Vec<String> {
    let lines = answer.headers.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    lines.map(|(_, value)| value.clone()).collect()
}

pub(crate) fn json_of(request: &mut Incoming<'_>) -> serde_json::Value {
    serde_json::from_slice(request.body()).unwrap_or_default()
}

pub(crate) fn field(request: &mut Incoming<'_>, name: &str) -> String {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    let pair = body.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    pair.unwrap_or_default().replace("%7B", "{").replace("%40", "@")
}

pub(crate) fn has_cookie(request: &Incoming<'_>, pair: &str) -> bool {
    request.seen.header("cookie").is_some_and(|line| line.split("; ").any(|known| known == pair))
}

/// Sends a code to the page that asks for it.
pub(crate) fn send_code(client: &mut Client, page: &Response, code: &str) -> Response {
    let forms = harness::forms(&page.text());
    let form = forms.iter().find(|form| form.field("code").is_some()).expect("a form for the code");
    let value = |name: &str| form.field(name).expect("a field").value.clone();
    let (token, state) = (value("token"), value("state"));
    client.post_form(&form.action, &[("code", code), ("token", &token), ("state", &state)])
}

/// SOGo: JSON only; a code is wanted of those whose password ends so.
pub(crate) fn sogo(second_factor: bool) -> Backend {
    Backend::start(move |request| {
        let json = |status, value: serde_json::Value| {
            Answer::new(status, value.to_string()).header("Content-Type", "application/json")
        };
        if request.what() != ("POST", "/SOGo/connect") {
            return match has_cookie(request, "0xHIGHFLYxSOGo=basic%20x") {
                true if request.seen.target.ends_with("/logoff") => Answer::redirect("/SOGo/so/")
                    .header("Set-Cookie", "0xHIGHFLYxSOGo=discard; path=/SOGo/; expires=Tue, 24-Nov-2020 03:24:10 UTC"),
                true => Answer::text("mail"),
                false => Answer::html("login page").header("Set-Cookie", "0xHIGHFLYxSOGo=discard; path=/SOGo/"),
            };
        }
        if request.seen.header("content-type") != Some("application/json") {
            return Answer::text("JSON is wanted").status(400);
        }
        let body = json_of(request);
        match (body["userName"].as_str(), body["password"].as_str(), body["verificationCode"].as_str()) {
            (Some("alice"), Some("alice-secret"), None) if second_factor => json(202, json!({"totpMissingKey": 1})),
            (Some("alice"), Some("alice-secret"), Some(code)) if code != "123456" => {
                json(403, json!({"totpInvalidKey": 1}))
            }
            (Some("alice"), Some("alice-secret"), _) => json(200, json!({"cn": "Alice", "expire": -1, "grace": -1}))
                .header("Set-Cookie", "0xHIGHFLYxSOGo=basic%20x; path=/SOGo/; HttpOnly")
                .header("Set-Cookie", "XSRF-TOKEN=y; path=/SOGo/"),
            (Some("bob"), ..) => json(403, json!({"LDAPPasswordPolicyError": 0})),
            _ => json(403, json!({"LDAPPasswordPolicyError": 65535})),
        }
    })
}

#[test]
fn sogo_takes_json_and_gives_two_cookies() {
    let node = sogo(false);
    let proxy = proxy_with(&node, "back-end", "recipe = \"sogo\"\naliases = [\"node-b\"]");
    let mut client = proxy.client();
    let answer = login(&mut client).expect(303);
    assert_eq!(answer.header("location"), Some("/SOGo/"));
    let token = set_cookies(&answer).into_iter().find(|line| line.contains("XSRF-TOKEN")).expect("the token");
    assert!(!token.contains("HttpOnly"), "scripts read it: {token}");
    assert_eq!(client.get("/SOGo/so/alice/Mail/view").text(), "mail");
    assert_eq!(outcome(&crate::support::post_login(&mut proxy.client(), "/", "alice", "no")), (403, "login".into()));
    let expired = crate::support::post_login(&mut proxy.client(), "/", "bob", "bob-secret");
    assert_eq!(outcome(&expired), (403, "account".to_owned()));
    assert!(expired.text().contains("expired"), "{}", expired.text());
    // SOGo forgets the session: a page leads to the login page, a script is told.
    let (mut script, _) = logged_in(&proxy);
    let gone =
        |client: &Client| format!("doorward={}; 0xHIGHFLYxSOGo=old", client.cookie("doorward").expect("a session"));
    let page = Request::new("GET", "/SOGo/so/alice/").header("Cookie", &gone(&client));
    assert_eq!(client.send(page).header("location"), Some("/.doorward/login?gone"));
    assert_eq!(outcome(&client.get("/SOGo/so/alice/")), (200, "login".to_owned()), "ours is over too");
    let told = Request::new("POST", "/SOGo/so/alice/Mail/0/folderINBOX/view").header("Sec-Fetch-Dest", "empty");
    let told = script.send(told.header("Cookie", &gone(&script)));
    assert_eq!((told.status, told.json()["login"].as_str()), (401, Some("/")));
    assert_eq!(script.cookie("doorward"), None);
    assert_eq!(node.accepted(), node.hits().len(), "no connection is used twice");
}

#[test]
fn a_logout_is_seen_and_made() {
    let node = sogo(false);
    let proxy = proxy_of(&node, "sogo");
    let (mut client, _) = logged_in(&proxy);
    assert_eq!(client.get("/SOGo/so/alice/logoff").header("location"), Some("/.doorward/logged-out"));
    assert_eq!((client.cookie("doorward"), client.cookie("0xHIGHFLYxSOGo")), (None, None));
    let (mut client, _) = logged_in(&proxy);
    let foreign = Request::new("GET", "/.doorward/logout").header("Sec-Fetch-Site", "cross-site");
    client.send(foreign).expect(200);
    assert_eq!(client.get("/SOGo/so/alice/").text(), "mail", "another site logs nobody out");
    // Only below its path does the browser send the cookie.
    assert_eq!(client.get("/.doorward/logout").header("location"), Some("/SOGo/.doorward/logout"));
    assert_eq!(client.get("/SOGo/.doorward/logout").header("location"), Some("/.doorward/logged-out"));
    let seen = node.hits();
    let call = seen.last().expect("a request");
    assert_eq!((call.method.as_str(), call.target.as_str()), ("GET", "/SOGo/so/alice/logoff"));
    assert!(call.header("cookie").is_some_and(|line| line.contains("0xHIGHFLYxSOGo=basic")));
    assert_eq!(client.cookie("doorward"), None);
}

#[test]
fn a_second_factor_is_asked_for_and_each_page_is_good_for_one_try() {
    let node = sogo(true);
    let proxy = proxy_of(&node, "sogo");
    let mut client = proxy.client();
    let page = login(&mut client).expect(200);
    assert_eq!(outcome(&page), (200, "second-factor".to_owned()));
    assert!(page.text().contains("inputmode=\"numeric\"") && page.text().contains("one-time-code"));
    assert!(!page.text().contains("alice-secret") && client.cookie("doorward").is_none());
    let again = send_code(&mut client, &page, "000000");
    assert_eq!(outcome(&again), (403, "second-factor".to_owned()));
    // The first page is used up, whatever code comes with it.
    assert_eq!(outcome(&send_code(&mut client, &page, "123456")), (403, "login".to_owned()));
    // Another browser cannot use it.
    let mut other = proxy.client();
    other.get("/").expect(200);
    assert_eq!(outcome(&send_code(&mut other, &again, "123456")), (403, "login".to_owned()));
    let page = login(&mut client).expect(200);
    let answer = send_code(&mut client, &page, " 123456 ").expect(303);
    assert_eq!(answer.header("location"), Some("/SOGo/"));
    assert_eq!(client.get("/SOGo/so/alice/").text(), "mail");
    proxy.wait_for_log("second-factor", Duration::from_secs(5));
    let log = proxy.log().join("\n");
    assert!(!log.contains("123456") && !log.contains("alice-secret"), "{log}");
}

#[test]
fn five_wrong_codes_need_the_password_again_and_a_state_is_no_session() {
    let node = sogo(true);
    let proxy = proxy_with(&node, "ldap-bind", "recipe = \"sogo\"");
    let mut client = proxy.client();
    let mut page = login(&mut client).expect(200);
    let state = |page: &Response| {
        let forms = harness::forms(&page.text());
        forms.iter().find_map(|form| form.field("state")).expect("a state").value.clone()
    };
    let (sealed, host) = (state(&page), client.host_name().to_owned());
    for left in (0..5).rev() {
        page = send_code(&mut client, &page, &format!("00000{left}"));
        let expected = if left == 0 { "login" } else { "second-factor" };
        assert_eq!(outcome(&page), (403, expected.to_owned()), "{left} left");
    }
    let mut thief = proxy.client();
    thief.cookies.set(&host, "doorward", &sealed);
    assert_eq!(outcome(&thief.get("/SOGo/")), (200, "login".to_owned()));
    let mut forged = proxy.client();
    let page = login(&mut forged).expect(200);
    let forms = harness::forms(&page.text());
    let form = forms.iter().find(|form| form.field("code").is_some()).expect("a form");
    let token = form.field("token").expect("a token").value.clone();
    for wrong in ["", "x", &sealed[1..]] {
        let fields = [("code", "123456"), ("token", token.as_str()), ("state", wrong)];
        assert_eq!(outcome(&forged.post_form("/.doorward/second-factor", &fields)), (403, "login".to_owned()));
    }
}

/// Horde: a redirect is a login, a page is a refusal.
#[test]
fn horde_answers_with_a_redirect_or_with_the_page_again() {
    let node = Backend::start(|request| match request.what() {
        ("GET", "/horde/login.php") => {
            Answer::html("<form>").header("Set-Cookie", "Horde=h; path=/horde; domain=127.0.0.1; HttpOnly")
        }
        ("POST", "/horde/login.php") => {
            let right = has_cookie(request, "Horde=h") && field(request, "login_post") == "1";
            match (right, field(request, "horde_pass").as_str()) {
                // The user's first page may be any application.
                (true, "alice-secret") => Answer::redirect("/horde/kronolith/")
                    .header("Set-Cookie", "horde_secret_key=k; path=/horde; HttpOnly"),
                (true, "locked") => Answer::html("Your account has been locked for 5 minutes"),
                (true, "down") => Answer::html("<div class=\"noticetext\">Error connecting to mail server.</div>"),
                (true, "tls") => Answer::html("<div class=\"noticetext\">Anmeldung fehlgeschlagen.</div>"),
                _ => Answer::html("Login failed because your username or password was entered incorrectly."),
            }
        }
        (_, "/horde/services/ajax.php/imp/poll") => {
            let gone = request.seen.header("cookie").is_none_or(|cookies| cookies.contains("Horde=gone"));
            let kind = if gone { "horde.noauth" } else { "horde.message" };
            let json =
                json!({"msgs": [{"message": "/horde/login.php?logout_reason=6", "type": kind}], "response": false});
            Answer::new(200, format!("/*-secure-{json}*/")).header("Content-Type", "application/json")
        }
        (_, target) if target.contains("logout_reason=4") && target.contains("token=t") => {
            Answer::html("<form>").header("Set-Cookie", "horde_secret_key=deleted; path=/horde; Max-Age=0")
        }
        (_, target) if target.contains("logout_reason=4") => Answer::redirect("/horde/services/portal/"),
        (_, target) if target.contains("gone") => Answer::redirect("/horde/login.php?url=x"),
        _ => Answer::text("portal"),
    });
    let settings = "recipe = \"horde\"\nrecipe-settings = { root = \"/horde\" }";
    let proxy = proxy_with(&node, "back-end", settings);
    let (mut client, landing) = logged_in(&proxy);
    assert_eq!(landing, "/horde/kronolith/");
    assert_eq!(client.cookie("Horde"), Some("h"));
    assert_eq!(client.get(&landing).text(), "portal");
    let say = |password: &str| crate::support::post_login(&mut proxy.client(), "/", "alice", password);
    assert_eq!(say("wrong").status, 403);
    assert_eq!(say("locked").status, 429);
    assert_eq!((say("down").status, say("tls").status), (502, 502));
    // Without its token a logout is none.
    assert_eq!(client.get("/horde/login.php?logout_reason=4").header("location"), Some("/horde/services/portal/"));
    assert!(client.cookie("doorward").is_some());
    let out = client.get("/horde/login.php?horde_logout_token=t&logout_reason=4");
    assert_eq!(out.header("location"), Some("/.doorward/logged-out"));
    assert_eq!(
        (client.cookie("Horde"), client.cookie("horde_secret_key"), client.cookie("doorward")),
        (None, None, None)
    );
    let (mut client, _) = logged_in(&proxy);
    let poll = || Request::new("POST", "/horde/services/ajax.php/imp/poll").header("Sec-Fetch-Dest", "empty");
    assert!(client.send(poll()).expect(200).text().contains("horde.message"));
    let ours = client.cookie("doorward").expect("a session").to_owned();
    client.send(poll().header("Cookie", &format!("doorward={ours}; Horde=gone"))).expect(401);
    let (mut client, _) = logged_in(&proxy);
    assert_eq!(client.get("/horde/gone").header("location"), Some("/.doorward/login?gone"));
}

/// Zimbra: a token that belongs to a cookie, and a page for the code that has another one.
#[test]
fn zimbra_asks_for_the_code_on_a_page_with_a_token_of_its_own() {
    let node = Backend::start(|request| match request.what() {
        ("GET", "/") => Answer::html("<form><input type='hidden' name='login_csrf' value='one'></form>")
            .header("Set-Cookie", "ZM_TEST=true")
            .header("Set-Cookie", "ZM_LOGIN_CSRF=one; HttpOnly"),
        ("POST", "/") => {
            let cookies = has_cookie(request, "ZM_TEST=true") && has_cookie(request, "ZM_LOGIN_CSRF=one");
            let token = field(request, "login_csrf");
            let (password, code) = (field(request, "password"), field(request, "totpcode"));
            match (cookies, token.as_str(), password.as_str(), code.as_str()) {
                (true, "one", "alice-secret", "") => {
                    Answer::html("<input type=hidden name=login_csrf value=two><input id=totp name='totpcode'>")
                }
                (true, "two", "", "123456") => {
                    Answer::redirect("/zimbra/mail").header("Set-Cookie", "ZM_AUTH_TOKEN=z; Path=/; HttpOnly; Secure")
                }
                _ => {
                    Answer::html("<input type=hidden name=login_csrf value=two>The username or password is incorrect.")
                }
            }
        }
        _ => Answer::text("zimbra"),
    });
    let proxy = proxy_of(&node, "zimbra");
    let mut client = proxy.client();
    let page = login(&mut client).expect(200);
    assert_eq!(outcome(&page), (200, "second-factor".to_owned()));
    let answer = send_code(&mut client, &page, "123456").expect(303);
    assert_eq!((answer.header("location"), client.cookie("ZM_AUTH_TOKEN")), (Some("/zimbra/mail"), Some("z")));
    assert_eq!(client.get("/?loginOp=logout").header("location"), Some("/.doorward/logged-out"));
    let proxy = proxy_with(&node, "back-end", "recipe = \"zimbra\"");
    assert_eq!(crate::support::post_login(&mut proxy.client(), "/", "alice", "no").status, 403);
}

#[test]
fn zimbra_preauth_is_signed_and_lets_nobody_in_unchecked() {
    let node = Backend::start(|request| {
        let target = request.seen.target.clone();
        if target.starts_with("/service/preauth?") {
            return Answer::redirect("/zimbra/mail").header("Set-Cookie", "ZM_AUTH_TOKEN=z; Path=/; HttpOnly");
        }
        Answer::text("zimbra")
    });
    let settings = "recipe = \"zimbra-preauth\"\nrecipe-secret-file = \"node.secret\"\n\
                    recipe-settings = { user = \"{attr.mail}\" }";
    let proxy = proxy_with(&node, "ldap-bind", settings);
    let (client, landing) = logged_in(&proxy);
    assert_eq!((landing.as_str(), client.cookie("ZM_AUTH_TOKEN")), ("/zimbra/mail", Some("z")));
    let seen = node.hits()[0].target.clone();
    let value = |name: &str| {
        let pair = seen.split(['?', '&']).find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.unwrap_or_default().to_owned()
    };
    assert_eq!(
        (value("account").as_str(), value("by").as_str(), value("expires").as_str()),
        ("alice%40a.test", "name", "0")
    );
    let signed = format!("alice@a.test|name|0|{}", value("timestamp"));
    assert_eq!(value("preauth"), hmac_sha1(b"the shared secret", signed.as_bytes()));
    assert!(!seen.contains("secret"));
    is_never_open(&node, settings);
}

/// RFC 2104, by hand, so that the test does not believe the code it tests.
fn hmac_sha1(key: &[u8], text: &[u8]) -> String {
    use sha1::Digest as _;
    let pad = |byte: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ byte).collect::<Vec<u8>>();
    let inner = sha1::Sha1::digest([&pad(0x36)[..], text].concat());
    harness::hex(&sha1::Sha1::digest([&pad(0x5c)[..], &inner[..]].concat()))
}

/// Axigen: a cookie, and a key that must be in each query.
#[test]
fn axigen_wants_its_key_in_every_query() {
    let node = Backend::start(|request| match request.what() {
        ("POST", "/") => match (field(request, "action").as_str(), field(request, "password").as_str()) {
            ("login", "alice-secret") => {
                Answer::redirect("/?_h=k3y1").status(303).header("Set-Cookie", "_hmail=c;Path=/")
            }
            _ => Answer::html("<input type=hidden name=action value=login>"),
        },
        ("GET", "/gone?_h=k3y1") => Answer::html("<input type='hidden' name='action' value='login'>"),
        (_, target) => Answer::html(target.to_owned()),
    });
    let proxy = proxy_with(&node, "back-end", "recipe = \"axigen\"");
    let (mut client, landing) = logged_in(&proxy);
    assert_eq!(landing, "/?_h=k3y1");
    for (asked, seen) in [
        ("/mail", "/mail?_h=k3y1"),
        ("/mail?a=b", "/mail?a=b&_h=k3y1"),
        ("/mail?_h=own", "/mail?_h=own"),
        ("/?_h=", "/?_h="),
    ] {
        assert_eq!(client.get(asked).text(), seen);
    }
    assert_eq!(client.get("/gone").header("location"), Some("/.doorward/login?gone"));
    assert_eq!(crate::support::post_login(&mut proxy.client(), "/", "alice", "no").status, 403);
}

#[test]
fn axigen_rest_says_in_a_header_that_a_code_is_wanted() {
    let node = Backend::start(|request| {
        let json = |status, value: serde_json::Value| {
            Answer::new(status, value.to_string()).header("Content-Type", "application/json")
        };
        match request.what() {
            ("POST", "/api/v1/login/cookie") => {
                let body = json_of(request);
                if body["password"] != "alice-secret" {
                    return json(if body["password"] == "many" { 429 } else { 401 }, json!({}))
                        .header("Retry-After", "90");
                }
                json(200, json!({"sessid": "s1"}))
                    .header("X-Axigen-2FA", "required")
                    .header("Set-Cookie", "_axsid=x; Path=/; HttpOnly")
            }
            ("POST", "/api/v1/login/2fa?_h=s1") => {
                let right = has_cookie(request, "_axsid=x");
                let body = json_of(request);
                match right && body["totpToken"] == "123456" {
                    true => json(200, json!({"sessid": "s2"})),
                    false => json(401, json!({})),
                }
            }
            (_, target) => Answer::text(target.to_owned()),
        }
    });
    let proxy = proxy_with(&node, "back-end", "recipe = \"axigen-rest\"");
    let mut client = proxy.client();
    let page = login(&mut client).expect(200);
    let page = send_code(&mut client, &page, "654321").expect(403);
    let answer = send_code(&mut client, &page, "123456").expect(303);
    assert_eq!(answer.header("location"), Some("/?_h=s2"));
    assert_eq!(client.get("/x").text(), "/x?_h=s2");
    let many = crate::support::post_login(&mut proxy.client(), "/", "alice", "many");
    assert_eq!((many.status, many.header("retry-after")), (429, Some("90")));
    assert_eq!(crate::support::post_login(&mut proxy.client(), "/", "alice", "no").status, 403);
}

/// OWA: where it leads says what it is.
#[test]
fn owa_tells_by_where_it_leads() {
    let node = Backend::start(|request| match request.what() {
        ("GET", "/owa/") if has_cookie(request, "cadataKey=k") => Answer::text("owa"),
        ("GET", "/owa/ping") => Answer::text("").status(440),
        ("GET", "/owa/") => Answer::redirect("/owa/auth/logon.aspx?replaceCurrent=1"),
        ("GET", target) if target.starts_with("/owa/auth/logon.aspx") => {
            Answer::html("<form name=logonForm>").header("Set-Cookie", "PrivateComputer=true; path=/; HttpOnly")
        }
        ("POST", "/owa/auth.owa") => {
            let right = has_cookie(request, "PBack=0") && has_cookie(request, "PrivateComputer=true");
            match (right, field(request, "password").as_str()) {
                (true, "alice-secret") if field(request, "username") == "CORP%5Calice" => Answer::redirect("/owa/")
                    .header("Set-Cookie", "cadata=d; path=/; HttpOnly")
                    .header("Set-Cookie", "cadataKey=k; path=/; HttpOnly"),
                (true, "many") => Answer::redirect("/owa/auth/logon.aspx?url=x&reason=4"),
                (true, "old") => Answer::redirect("/owa/auth/expiredpassword.aspx?url=/owa/auth.owa"),
                _ => Answer::redirect("/owa/auth/logon.aspx?url=x&reason=2"),
            }
        }
        _ => Answer::text("?").status(404),
    });
    let settings = "recipe = \"owa\"\nrecipe-settings = { user = 'CORP\\{user.local}' }";
    let proxy = proxy_with(&node, "back-end", settings);
    let (mut client, landing) = logged_in(&proxy);
    assert_eq!(client.get(&landing).text(), "owa");
    let sent = node.hits().into_iter().find(|seen| seen.method == "POST").expect("a login").text();
    assert!(sent.contains(&format!("destination=http%3A%2F%2F{}%3A", client.host_name())), "{sent}");
    let say = |password: &str| crate::support::post_login(&mut proxy.client(), "/", "alice", password);
    assert_eq!((say("no").status, say("many").status), (403, 429));
    assert!(say("old").text().contains("expired"));
    let (mut script, _) = logged_in(&proxy);
    let ping = Request::new("GET", "/owa/ping").header("X-Requested-With", "XMLHttpRequest");
    assert_eq!(script.send(ping).status, 401);
    let host = client.host_name().to_owned();
    client.cookies.set(&host, "cadataKey", "old");
    assert_eq!(client.get("/owa/").header("location"), Some("/.doorward/login?gone"));
}

#[test]
fn basic_puts_the_password_on_each_request_and_only_there() {
    let node = Backend::start(|request| match request.seen.header("authorization") {
        Some("Basic YWxpY2U6YWxpY2Utc2VjcmV0") => {
            Answer::text(format!("{} {:?}", request.seen.target, request.seen.header("cookie")))
        }
        _ => Answer::text("no").status(401).header("WWW-Authenticate", "Basic realm=x"),
    });
    let proxy = proxy_with(&node, "back-end", "recipe = \"basic\"");
    let (mut client, _) = logged_in(&proxy);
    let forged = Request::new("GET", "/mail").header("Authorization", "Basic cm9vdDpyb290");
    assert_eq!(client.send(forged).text(), "/mail None", "ours is what counts");
    let cookie = client.cookie("doorward").expect("a session").to_owned();
    assert!(!cookie.contains("YWxpY2U6YWxpY2Utc2VjcmV0") && !proxy.log().join("\n").contains("YWxpY2U6"));
    assert_eq!(crate::support::post_login(&mut proxy.client(), "/", "alice", "no").status, 403);
    client.get("/.doorward/logout").expect(303);
    assert_eq!(outcome(&client.get("/mail")), (200, "login".to_owned()));
}

#[test]
fn a_trusted_header_is_ours_alone() {
    let node = Backend::start(|request| {
        let all: Vec<String> = request.seen.headers.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Answer::text(all.join("\n").to_ascii_lowercase())
    });
    let settings = "recipe = \"trusted-header\"\nrecipe-secret-file = \"node.secret\"\n\
                    recipe-settings = { user-header = \"Remote-Email\", user = \"{attr.mail}\" }";
    let proxy = proxy_with(&node, "ldap-bind", settings);
    let (mut client, _) = logged_in(&proxy);
    let forged = ["Remote-Email", "remote_email", "X-Remote-User-Token", "X_Remote_User_Token"];
    let request = forged.iter().fold(Request::new("GET", "/"), |request, name| request.header(name, "root"));
    let seen = client.send(request).text();
    assert!(seen.contains("remote-email=alice@a.test") && seen.contains("x-remote-user-token=the shared secret"));
    assert!(!seen.contains("root"), "{seen}");
    is_never_open(&node, settings);
    let without = setup().refused(
        "[directory]\nfile = \"people.ldif\"\n[[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"p\"\n\
         address = \"127.0.0.1:0\"\n[[backend]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\nrecipe = \"trusted-header\"\n",
    );
    assert!(without.stderr.contains("recipe-secret-file: found nothing"), "{}", without.stderr);
}

#[test]
fn a_form_of_any_kind_is_told_by_settings() {
    let node = Backend::start(|request| match request.what() {
        ("GET", "/enter") => Answer::html("<input name=csrf value='c&quot;1'>").header("Set-Cookie", "pre=1"),
        ("POST", "/check") => match (field(request, "csrf").as_str(), field(request, "pw").as_str()) {
            ("c%221", "alice-secret") if has_cookie(request, "pre=1") => {
                Answer::redirect("/home").header("Set-Cookie", "sid=1; Path=/")
            }
            _ => Answer::redirect("/enter?error=1"),
        },
        ("GET", "/old") => Answer::redirect("/enter?next=/old"),
        _ => Answer::text("home"),
    });
    let settings = "recipe = \"form\"\n[backend.recipe-settings]\npage = \"/enter\"\npath = \"/check\"\n\
                    user-field = \"login\"\npassword-field = \"pw\"\ntoken-field = \"csrf\"\ncookie = \"sid\"\n\
                    expired-location = \"^/enter\\\\?next\"\nlanding = \"/home\"\n";
    let proxy = proxy_with(&node, "back-end", settings);
    let (mut client, landing) = logged_in(&proxy);
    assert_eq!((landing.as_str(), client.get("/home").text()), ("/home", "home".to_owned()));
    assert_eq!(crate::support::post_login(&mut proxy.client(), "/", "alice", "no").status, 403);
    assert_eq!(client.get("/old").header("location"), Some("/.doorward/login?gone"));
}

/// A recipe of one's own in front of this node.
pub(crate) fn own(node: &Backend, recipe: &str) -> Proxy {
    let config = format!(
        "[directory]\nfile = \"people.ldif\"\nexposed-attributes = [\"mail\"]\n[[site]]\nhosts = [\"*\"]\n\
         [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"own.toml\"\n",
        node.url()
    );
    setup().file("own.toml", recipe).serve(&config)
}

const OWN: &str = "[prefetch]\npath = \"/form\"\n[[extract]]\nname = \"token\"\nfrom = \"html-input\"\nkey = \"t\"\n\
    [login]\npath = \"/in?t={token}\"\nheaders = { X-Token = \"{token}\" }\nfields = { p = \"{password}\", t = \"{token}\" }\n\
    [success]\nstatus = [200]\n[failure]\nstatus = [401]\n[session]\ncookies = [\"sid\"]\n";

#[test]
fn what_a_node_says_cannot_break_out_of_where_it_goes() {
    let token = Arc::new(Mutex::new(String::new()));
    let shown = token.clone();
    let node = Backend::start(move |request| match request.seen.target.as_str() {
        "/form" => Answer::html(format!("<input type=hidden name=t value='{}'>", shown.lock().unwrap())),
        _ => Answer::text("in"),
    });
    let proxy = own(&node, OWN);
    let try_token = |text: &str, expected: u16| {
        text.clone_into(&mut token.lock().unwrap());
        let seen = node.hits().len();
        assert_eq!(login(&mut proxy.client()).status, expected, "{text:?}");
        node.hits().split_off(seen)
    };
    let seen = try_token("a&admin=1 ?#%", 303);
    let sent = &seen.last().expect("a login");
    assert_eq!(sent.target, "/in?t=a%26admin%3D1%20%3F%23%25");
    assert!(sent.text().contains("t=a%26admin%3D1"), "{}", sent.text());
    // A line end would be a header of its own: the login is not even sent.
    let seen = try_token("a\r\nX-Admin: 1", 502);
    assert!(seen.iter().all(|seen| seen.target == "/form" && seen.header("x-admin").is_none()));
    let json = OWN.replace("headers = { X-Token = \"{token}\" }\n", "encoding = \"json\"\n");
    let proxy = own(&node, &json);
    "\",\"admin\":true,\"x\":\"".clone_into(&mut token.lock().unwrap());
    login(&mut proxy.client()).expect(303);
    let sent: serde_json::Value = serde_json::from_slice(&node.hits().last().expect("a login").body).expect("JSON");
    assert_eq!(sent.as_object().expect("an object").len(), 2, "{sent}");
    let xml = "encoding = \"xml\"\nbody = \"<a t='{token}'>{password}</a>\"\n";
    let xml = OWN
        .replace("headers = { X-Token = \"{token}\" }\n", xml)
        .replace("fields = { p = \"{password}\", t = \"{token}\" }\n", "");
    let proxy = own(&node, &xml);
    login(&mut proxy.client()).expect(303);
    let sent = node.hits().last().expect("a login").text();
    assert!(sent.starts_with("<a t='&quot;,&quot;admin") && sent.ends_with(">alice-secret</a>"), "{sent}");
}

#[test]
fn a_hostile_node_only_harms_itself() {
    let node = Backend::start(|request| match request.seen.target.as_str() {
        "/form" => Answer::html("<input name=t value=1>")
            .header("Set-Cookie", "doorward=forged; Path=/")
            .header("Set-Cookie", "__Host-doorward-form=forged; Path=/; Secure")
            .header("Set-Cookie", "sid=1; Path=/; Domain=evil.test"),
        _ => Answer::text("in").header("Set-Cookie", "doorward-form=forged"),
    });
    let proxy = own(&node, OWN);
    let mut client = proxy.client();
    let cookies = set_cookies(&login(&mut client).expect(303)).join("\n");
    assert!(!cookies.contains("forged") && cookies.contains("sid=1; Path=/"), "{cookies}");
    assert!(!cookies.contains("evil.test"));
    let follow = OWN
        .replace("[login]\n", "[login]\nfollow = 3\n")
        .replace("[success]\nstatus = [200]", "[success]\nstatus = [204]");
    let json = follow.replace("status = [204]", "status = [200]\njson = { \"/ok\" = true }");
    let huge = "x".repeat(3 << 20);
    for (what, recipe, answer) in [
        (
            "no token",
            OWN,
            Box::new(|_: &str| Answer::html("<input name=other value=1>")) as Box<dyn Fn(&str) -> Answer + Send + Sync>,
        ),
        ("a huge page", OWN, Box::new(move |_: &str| Answer::html(huge.clone()))),
        ("a redirect in a circle", OWN, Box::new(|_: &str| Answer::redirect("/form"))),
        (
            "a login that leads on for ever",
            &follow,
            Box::new(|target: &str| match target {
                "/form" => Answer::html("<input name=t value=1>"),
                _ => Answer::redirect("/in?more"),
            }),
        ),
        (
            "JSON that is none",
            &json,
            Box::new(|target: &str| match target {
                "/form" => Answer::html("<input name=t value=1>"),
                _ => Answer::new(200, "[".repeat(100_000)),
            }),
        ),
        ("a way to another site", OWN, Box::new(|_: &str| Answer::redirect("http://127.0.0.1:1/steal"))),
    ] {
        let node = Backend::start(move |request| answer(&request.seen.target));
        let proxy = own(&node, recipe);
        assert_eq!(login(&mut proxy.client()).status, 502, "{what}");
        assert!(node.hits().len() <= 12, "{what}: {}", node.hits().len());
        proxy.client().get("/").expect(200);
    }
}

#[test]
fn an_answer_that_is_looked_at_goes_out_as_it_came() {
    let recipe = format!("{OWN}[expired]\nheaders = {{ Content-Type = \"^text/html\" }}\nbody-regex = \"GONE\"\n");
    let node = Backend::start(|request| match request.seen.target.as_str() {
        "/form" => Answer::html("<input name=t value=1>"),
        "/large" => Answer::html("0123456789".repeat(20_000)),
        "/late" => Answer::slow(&[b"first ", b"second ", b"GONE"], Duration::from_millis(600))
            .header("Content-Type", "text/html"),
        "/half" => Answer::half("only this", 5000).header("Content-Type", "text/html"),
        "/file" => Answer::new(200, "GONE").header("Content-Type", "application/octet-stream"),
        "/attached" => Answer::html("GONE").header("Content-Disposition", "attachment; filename=x.html"),
        "/named" => Answer::html("GONE").header("Content-Disposition", " Attachment; filename=x.html"),
        "/shown" => Answer::html("GONE").header("Content-Disposition", "inline; filename=x.html"),
        "/gone" => Answer::html("it is GONE"),
        "/encoding" => Answer::text(request.seen.header("accept-encoding").unwrap_or("-").to_owned()),
        _ => Answer::text("in"),
    });
    let proxy = own(&node, &recipe);
    let mut client = proxy.client();
    login(&mut client).expect(303);
    assert_eq!(client.get("/large").body, "0123456789".repeat(20_000).as_bytes());
    assert_eq!(client.get("/late").text(), "first second GONE", "nobody waits for a page that comes slowly");
    assert!(client.try_send(Request::new("GET", "/half")).is_err());
    assert_eq!(client.get("/file").text(), "GONE");
    for attached in ["/attached", "/named", "/shown"] {
        assert_eq!(client.get(attached).text(), "GONE");
    }
    for (asked, sent) in [("gzip, br, zstd", "gzip"), ("br", "identity")] {
        let request = Request::new("GET", "/encoding").header("Accept-Encoding", asked);
        assert_eq!(client.send(request).text(), sent);
    }
    assert_eq!(client.get("/gone").header("location"), Some("/.doorward/login?gone"));
    assert_eq!(client.cookie("doorward"), None);
}

#[test]
fn a_session_in_a_path_is_not_on_the_screen_either() {
    let node = Backend::start(|request| match request.what() {
        ("GET", "/form") => {
            Answer::redirect("/0a1b2c3d4e5f/form;sid=s3cr3t").header("Set-Cookie", "key=of-alice; Path=/")
        }
        ("GET", _) => Answer::html("<input name=t value=token-of-alice>"),
        _ => Answer::redirect("/app/token-of-alice/9f8e7d6c5b4a/inbox?x=1"),
    });
    let recipe = OWN.replace("path = \"/in?t={token}\"\nheaders = { X-Token = \"{token}\" }", "path = \"/in\"")
        + "[landing]\nfrom = \"location\"\n";
    let recipe = recipe.replace("[success]\nstatus = [200]", "[success]\nstatus = [302]");
    let config = format!(
        "[directory]\nfile = \"people.ldif\"\n[[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"p\"\n\
         address = \"127.0.0.1:0\"\n[[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"own.toml\"\n",
        node.url()
    );
    let setup = setup().file("doorward.toml", config).file("own.toml", recipe).file("right", "alice-secret\n");
    let path = |name: &str| setup.dir().join(name).display().to_string();
    let (config, password) = (path("doorward.toml"), path("right"));
    let arguments = ["recipe", "test", "--config", &config, "--backend", "node-a", "--user", "alice"];
    let ran = setup.run(&[&arguments[..], &["--password-file", &password]].concat());
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    for line in ["leads to /…/form;…", "leads to /app/…/…/inbox", "it goes to /app/…/…/inbox"] {
        assert!(ran.stdout.contains(line), "{line} in {}", ran.stdout);
    }
    for secret in ["0a1b2c3d4e5f", "s3cr3t", "of-alice", "9f8e7d6c5b4a"] {
        assert!(!ran.stdout.contains(secret), "{secret} in {}", ran.stdout);
    }
}

#[test]
fn a_login_is_tried_by_hand_without_a_secret_on_the_screen() {
    let node = sogo(true);
    let config = format!(
        "[directory]\nfile = \"people.ldif\"\n[[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"p\"\n\
         address = \"127.0.0.1:0\"\n[[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"sogo\"\n",
        node.url()
    );
    let setup = setup()
        .file("doorward.toml", config)
        .file("right", "alice-secret\n")
        .file("wrong", "nope\n")
        .file("code", "123456\n")
        .file("broken.toml", "[login]\npath = \"x\"\n[success]\nstatus = [200]\n[logout]\npath = \"/x/*\"\n");
    let path = |name: &str| setup.dir().join(name).display().to_string();
    let test = |backend: &str, password: &str| {
        setup.run(&[
            "recipe",
            "test",
            "--config",
            &path("doorward.toml"),
            "--backend",
            backend,
            "--user",
            "alice",
            "--password-file",
            &path(password),
            "--code-file",
            &path("code"),
        ])
    };
    let ran = test("node-a", "right");
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    for line in ["> POST /SOGo/connect", "the test [second-factor] holds", "the test [success] holds", "XSRF-TOKEN"] {
        assert!(ran.stdout.contains(line), "{line} in {}", ran.stdout);
    }
    for secret in ["alice-secret", "123456", "basic%20x"] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret}");
    }
    let ran = test("node-a", "wrong");
    assert!(!ran.status.success() && ran.stdout.contains("the test [failure] holds"), "{}", ran.stdout);
    let ran = test("node-x", "right");
    assert!(!ran.status.success() && ran.stderr.contains("there are node-a"), "{}", ran.stderr);
    assert!(setup.run(&["recipe", "list"]).stdout.contains("zimbra-preauth"));
    assert!(setup.run(&["recipe", "show", "sogo"]).stdout.contains("[second-factor.request]"));
    let ran = setup.run(&["recipe", "check", &path("broken.toml")]);
    assert!(!ran.status.success() && ran.stdout.contains("broken.toml:2: login.path"), "{}", ran.stdout);
    assert!(ran.stdout.contains("broken.toml:6: logout.path: found \"/x/*\""), "{}", ran.stdout);
}

#[test]
fn a_node_is_told_one_name_at_the_login_and_with_each_request() {
    let node = Backend::start(|request| match request.what().1 {
        "/login" => Answer::redirect("/").header("Set-Cookie", "sid=1; Path=/"),
        _ => Answer::text("inbox"),
    });
    let recipe = "[login]\npath = \"/login\"\n[login.headers]\n\"X-Who\" = \"{user}\"\n\"X-Pair\" = \"{basic}\"\n\
                  [login.fields]\nuser = \"{user}\"\nlocal = \"{user.local}\"\nsigned = \"{signature}\"\npass = \"{password}\"\n\
                  [sign]\nalgorithm = \"hmac-sha256\"\ntext = \"{user}\"\n\
                  [success]\nstatus = [302]\n[landing]\npath = \"/\"\n[session]\ncookies = [\"sid\"]\n\
                  [inject]\n\"X-Who\" = \"{user}\"\n\"X-Pair\" = \"{basic}\"\n";
    let proxy_of = |directory: &str| {
        let config = format!(
            "[directory]\nfile = \"people.ldif\"\n{directory}\n[[site]]\nhosts = [\"*\"]\n\
             [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
             [[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"one.toml\"\nrecipe-secret-file = \"key\"\n",
            node.url()
        );
        setup().file("one.toml", recipe).file("key", "key\n").serve(&config)
    };
    let one_name = "name-attribute = \"uid\"\nfilter = \"(|(uid={user})(mail={user}))\"";
    for (directory, typed, name) in
        [("", "  Alice ", "alice"), ("", "ALICE", "alice"), (one_name, "Alice@A.test", "alice")]
    {
        let proxy = proxy_of(directory);
        let before = node.hits().len();
        let sent = |typed: &str| {
            let mut client = proxy.client();
            assert_eq!(crate::support::post_login(&mut client, "/", typed, "alice-secret").status, 303);
            client.get("/later").expect(200);
            let hits = node.hits().split_off(node.hits().len() - 2);
            let told: Vec<_> =
                hits.iter().map(|hit| ["x-who", "x-pair"].map(|name| hit.header(name).map(str::to_owned))).collect();
            (told, String::from_utf8_lossy(&hits[0].body).into_owned())
        };
        let (told, form) = sent(typed);
        assert_eq!(told[0][0].as_deref(), Some(name), "at the login of {typed:?}");
        assert_eq!(told[0], told[1], "at the login of {typed:?}, and later");
        assert!(form.ends_with(&format!("user={name}")) && form.contains(&format!("local={name}&")), "{form}");
        let (_, again) = sent(name);
        assert_eq!(form, again, "what is signed is the same");
        assert_eq!(node.hits().len(), before + 4);
    }
}
