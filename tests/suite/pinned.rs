//! Connections that a node takes for one user's, since NTLM and Negotiate authenticate a connection and not a request
//! (RFC 4559, section 6): each serves one connection of one client, and ends with it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use harness::{Answer, Backend, Client, Http2Node, Request, Response};

use crate::support::{backend, config, log_in, logins, one_worker, setup};

const SOON: Duration = Duration::from_secs(10);

/// What the node knows of a connection.
#[derive(Clone, PartialEq)]
enum Known {
    Challenged,
    User(String),
}

/// A node that authenticates connections, as IIS does: `TYPE1` brings a challenge, `TYPE3:NAME` answers it.
fn iis() -> Backend {
    let known: Mutex<HashMap<usize, Known>> = Mutex::default();
    Backend::start(logins(move |request| {
        // Outlook on the web has a login form of its own (the recipe `owa`).
        match request.what() {
            ("GET", "/owa/") => return Answer::redirect("/owa/auth/logon.aspx?replaceCurrent=1"),
            ("GET", "/owa/auth/logon.aspx?replaceCurrent=1") => return Answer::html("<form name=logonForm>"),
            ("POST", "/owa/auth.owa") => return Answer::redirect("/owa/").header("Set-Cookie", "cadata=d; path=/"),
            _ => {}
        }
        let mut known = known.lock().expect("a script that does not panic");
        let connection = request.seen.connection;
        let says = request.seen.header("authorization").and_then(|says| says.strip_prefix("NTLM ")).map(str::to_owned);
        match (says.as_deref(), known.get(&connection)) {
            (Some("TYPE1"), _) => {
                known.insert(connection, Known::Challenged);
                Answer::text("who?").status(401).header("WWW-Authenticate", "NTLM TYPE2")
            }
            (Some(says), Some(Known::Challenged)) => {
                let name = says.trim_start_matches("TYPE3:").to_owned();
                known.insert(connection, Known::User(name.clone()));
                Answer::text(format!("mail of {name}"))
            }
            (None, Some(Known::User(name))) => Answer::text(format!("mail of {name}")),
            _ => {
                let answer = Answer::text("who?").status(401).header("WWW-Authenticate", "Negotiate");
                answer.header("WWW-Authenticate", "NTLM").header("WWW-Authenticate", "Basic realm=\"x\"")
            }
        }
    }))
}

fn says(client: &mut Client, authorization: &str) -> Response {
    client.send(Request::new("GET", "/ews/x").header("Authorization", authorization))
}

/// All three legs.
fn authenticate(client: &mut Client, name: &str) {
    assert_eq!(client.get("/ews/x").status, 401);
    let challenge = says(client, "NTLM TYPE1");
    assert_eq!((challenge.status, challenge.header("www-authenticate")), (401, Some("NTLM TYPE2")));
    assert_eq!(says(client, &format!("NTLM TYPE3:{name}")).text(), format!("mail of {name}"));
}

#[test]
fn a_connection_that_the_node_authenticated_is_no_other_clients() {
    let node = iis();
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let (mut alice, mut twin) = (log_in(&proxy, "alice"), log_in(&proxy, "twin1"));
    authenticate(&mut alice, "alice");
    assert_eq!(twin.get("/ews/x").status, 401);
    assert_eq!(alice.get("/ews/x").text(), "mail of alice", "without credentials, on the same connection");
    authenticate(&mut twin, "twin");
    for _ in 0..3 {
        assert_eq!(alice.get("/ews/x").text(), "mail of alice");
        assert_eq!(twin.get("/ews/x").text(), "mail of twin");
    }
    // A second connection of the same session has to say who it is.
    alice.close();
    assert_eq!(alice.get("/ews/x").status, 401);
    assert_eq!(twin.get("/ews/x").text(), "mail of twin");
}

/// Exchange has a form for people, and NTLM for Outlook.
#[test]
fn behind_the_recipe_owa_clients_authenticate_themselves_with_ntlm() {
    let node = iis();
    let text = format!(
        "{}[[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"owa\"\n",
        config("[threads]\nmax = 1", &[]),
        node.url()
    );
    let proxy = setup().serve(&text);
    let login = |name: &str| {
        let mut client = proxy.client();
        crate::support::post_login(&mut client, "/", name, &format!("{name}-secret"));
        client
    };
    let (mut alice, mut twin) = (login("alice"), login("twin1"));
    authenticate(&mut alice, "alice");
    assert_eq!(twin.get("/ews/x").status, 401);
    assert_eq!(alice.get("/ews/x").text(), "mail of alice");
}

#[test]
fn a_pinned_connection_ends_with_that_of_its_client() {
    let node = iis();
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut alice = log_in(&proxy, "alice");
    authenticate(&mut alice, "alice");
    let open = node.open();
    assert!(open > 0);
    alice.close();
    node.wait_for_open(open - 1, SOON);
}

/// Whoever is logged in on the client's connection now is not who was before.
#[test]
fn a_pinned_connection_ends_with_its_session() {
    let node = iis();
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut alice = log_in(&proxy, "alice");
    let twin = log_in(&proxy, "twin1").cookie("doorward").expect("a session").to_owned();
    authenticate(&mut alice, "alice");
    let opened = alice.opened();
    let request = Request::new("GET", "/ews/x").header("Cookie", &format!("doorward={twin}"));
    assert_eq!(alice.send(request).status, 401);
    assert_eq!(alice.opened(), opened, "it was the same connection");
    assert_eq!(alice.get("/ews/x").status, 401, "and the pinned one is gone");
}

/// Each of these alone keeps a connection out of others' hands.
#[test]
fn what_binds_a_connection_is_seen_on_either_side() {
    let shared: [(&str, &str); 4] = [
        ("Authorization", "Basic YTpi"),
        ("Authorization", "Bearer NTLM"),
        ("WWW-Authenticate", "Basic realm=\"NTLM, Negotiate\""),
        ("Persistent-Auth", "false"),
    ];
    let bound: [(&str, &str); 9] = [
        ("Authorization", "NTLM x"),
        ("Authorization", "negotiate x"),
        ("Authorization", "Nego2 x"),
        ("WWW-Authenticate", "NTLM"),
        ("WWW-Authenticate", "Basic realm=\"x\", Negotiate"),
        ("WWW-Authenticate", "Basic realm=x,nego2 abc=="),
        ("Proxy-Authenticate", "Negotiate"),
        ("WWW-Authenticate", "Kerberos"),
        ("Persistent-Auth", "true"),
    ];
    for (is_bound, (name, value)) in shared.map(|case| (false, case)).into_iter().chain(bound.map(|case| (true, case)))
    {
        let node = Backend::start(logins(move |request| match request.what().1 {
            "/bind" if name != "Authorization" => Answer::text("bound").header(name, value),
            _ => Answer::text(request.seen.connection.to_string()),
        }));
        let proxy = one_worker("", &[("node-a", &node, "")]);
        let (mut alice, mut twin) = (log_in(&proxy, "alice"), log_in(&proxy, "twin1"));
        let request = Request::new("GET", "/bind");
        let request = if name == "Authorization" { request.header(name, value) } else { request };
        assert_eq!(alice.send(request).status, 200);
        let hits = node.hits();
        let used = hits.last().expect("a hit").connection.to_string();
        assert_eq!(twin.get("/x").text() == used, !is_bound, "{name}: {value}");
        assert_eq!(alice.get("/x").text() == used, is_bound || node.accepted() == 1, "{name}: {value}");
    }
}

/// What a login or a logout of ours leaves behind is nobody's.
#[test]
fn a_login_leaves_no_bound_connection() {
    let login = |request: &mut harness::Incoming<'_>| match request.what() {
        ("POST", "/login") => {
            request.body();
            let answer = Answer::redirect("/inbox").status(303).header("Set-Cookie", "sid=x; Path=/");
            answer.header("WWW-Authenticate", "NTLM")
        }
        _ => Answer::text(request.seen.connection.to_string()),
    };
    let node = Backend::start(login);
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut alice = log_in(&proxy, "alice");
    assert_eq!(alice.get("/x").text(), "2");
}

#[test]
fn no_session_holds_more_than_its_share_of_pinned_connections() {
    let node = iis();
    let proxy = one_worker("", &[("node-a", &node, "max-connections = 16")]);
    let mut twin = log_in(&proxy, "twin1");
    authenticate(&mut twin, "twin");
    let alice = log_in(&proxy, "alice").cookie("doorward").expect("a session").to_owned();
    let mut clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = proxy.client().header("Cookie", &format!("doorward={alice}"));
            authenticate(&mut client, "alice");
            client
        })
        .collect();
    // Eight of hers, and the other's.
    node.wait_for_open(9, SOON);
    assert_eq!(twin.get("/ews/x").text(), "mail of twin");
    for client in clients.iter_mut().rev().take(8) {
        assert_eq!(client.get("/ews/x").text(), "mail of alice");
    }
    assert_eq!(clients[0].get("/ews/x").status, 401);
}

/// Where all users share one connection nothing that authenticates connections can work: it is taken out both ways.
#[test]
fn over_http_2_to_the_node_no_connection_is_authenticated() {
    let node = Http2Node::start(None, |request| {
        let answer = hyper::Response::builder();
        match request.uri().path() {
            "/login" => answer.status(303).header("location", "/inbox").header("set-cookie", "sid=x"),
            _ => answer
                .status(401)
                .header("www-authenticate", "Negotiate")
                .header("www-authenticate", "NTLM TYPE2, Basic realm=\"a, NTLM\", Nego2 x==")
                .header("persistent-auth", "true"),
        }
        .body(Vec::new())
        .expect("an answer")
    });
    let text = config("", &[]) + &backend("node-a", &node.url(), "http = \"2\"");
    let proxy = setup().serve(&text);
    let mut alice = log_in(&proxy, "alice");
    let answer = says(&mut alice, "NTLM TYPE1");
    assert_eq!(answer.headers.all("www-authenticate"), ["Basic realm=\"a, NTLM\""]);
    assert_eq!(answer.header("persistent-auth"), None);
    let hits = node.hits();
    assert_eq!(hits.last().expect("a hit").headers().get("authorization"), None);
    says(&mut alice, "Basic YTpi");
    assert!(node.hits().last().expect("a hit").headers().contains_key("authorization"));
}

/// A node that did not take up another protocol may yet think of it.
#[test]
fn a_connection_on_which_another_protocol_was_refused_is_not_used_again() {
    let node = Backend::start(logins(|request| Answer::text(request.seen.connection.to_string())));
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut alice = log_in(&proxy, "alice");
    let request = Request::new("GET", "/x").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
    let used = alice.send(request.header("Sec-WebSocket-Version", "13")).text();
    assert_ne!(alice.get("/x").text(), used);
}
