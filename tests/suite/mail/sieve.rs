//! ManageSieve: what programs say before they are logged in, in the clear, by STARTTLS and by TLS, and what nodes do.

use std::sync::Arc;

use harness::{Certs, server_tls};

use super::cases::{Case, fits, go_on};
use super::node::{MailNode, Talk as AtNode, plain};
use super::{Doors, PATIENCE, Talk, USUAL};

/// See [`Case`]; the listener is any that takes passwords.
const CASES: &[Case] = &[
    Case("S02a", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0pwd⟩\"⏎\n< OK \"Logged in\"\n= bob pwd"),
    Case("S02b", "", "> authenticate \"plain\" {12+}⏎⟨\\0bob\\0pwd⟩⏎\n< OK …\n= bob pwd"),
    Case("S02c", "", "> AUTHENTICATE \"PLAIN\" \"⟨bob\\0bob\\0pwd⟩\"⏎\n< OK …\n= bob pwd"),
    Case("S02d", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0müller\\0pwd⟩\"⏎\n< OK …\n= müller pwd"),
    Case("S02e", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0b\"o\\b\\0pwd⟩\"⏎\n< OK …\n= b\"o\\b pwd"),
    Case(
        "S02f",
        "",
        "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0 p\"ä\\d ⟩\"⏎\n< NO \"Authentication failed\"\n= bob  p\"ä\\d ",
    ),
    Case("S03a", "", "> AUTHENTICATE \"PLAIN\"⏎\n< \"\"\n> \"⟨\\0bob\\0pwd⟩\"⏎\n< OK …\n= bob pwd"),
    Case("S03b", "", "> AUTHENTICATE \"PLAIN\"⏎\n< \"\"\n> {12+}⏎⟨\\0bob\\0pwd⟩⏎\n< OK …\n= bob pwd"),
    Case("S03c", "", "> AUTHENTICATE \"PLAIN\"⏎\n< \"\"\n> \"*\"⏎NOOP⏎\n< NO …\n< OK \"Done\"\n="),
    Case("S03d", "", "> AUTHENTICATE \"PLAIN\"⏎\n< \"\"\n> ⟨\\0bob\\0pwd⟩⏎NOOP⏎\n< NO …\n< OK \"Done\"\n="),
    Case("S03e", "", "> AUTHENTICATE \"PLAIN\"⏎\n< \"\"\n> {90000+}⏎\n< BYE \"Command is too large\"\nend\n="),
    Case("S04a", "", "> PUTSCRIPT \"x\" {9999999+}⏎\n< BYE …\nend\n="),
    Case("S04b", "", "> PUTSCRIPT \"x\" {8+}⏎LOGOUT⏎⏎NOOP⏎\n< NO \"Unknown command\"\n< OK \"Done\"\n="),
    Case("S07a", "", "> AUTHENTICATE \"x*100000*\n< BYE \"Command is too large\"\nend\n="),
    Case("S07b", "", "> NOOP (*4000*⏎NOOP⏎\n< NO \"Invalid arguments\"\n< OK \"Done\""),
    Case("S07c", "", "> NOOP {4294967299+}⏎\n< BYE …\nend"),
    Case("S07d", "", "> NOOP {99999999999999999999+}⏎\n< BYE …\nend"),
    Case("S08a", "", "> NOOP⏎NOOP \"x\"⏎\n< OK \"Done\"\n< OK (TAG \"x\") \"Done\""),
    Case("S08b", "", "> NOOP \"a\\\"b\\\\c\"⏎\n< OK (TAG \"a\\\"b\\\\c\") \"Done\""),
    Case("S08c", "", "> NOOP {4+}⏎a⏎b⏎\n< OK (TAG {4}\n< a\n< b) \"Done\""),
    Case("S08d", "", "> NOOP {1025+}⏎x*1025*⏎\n< NO …"),
    Case("S09", "", "> LISTSCRIPTS⏎UNAUTHENTICATE⏎HAVESPACE \"x\" 1⏎\n*3*< NO \"Unknown command\"\n="),
    Case("S10", "", "> LOGOUT⏎AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0pwd⟩\"⏎\n< OK …\nend\n="),
    Case("S11", "", "> AUTHENTICATE \"PLAIN\" \"⟨alice\\0bob\\0pwd⟩\"⏎\n< NO \"Authentication failed\"\n="),
    Case("S12", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\r\\nx\\0pwd⟩\"⏎\n< NO \"Authentication failed\"\n="),
    Case("S13", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0⟩\"⏎\n< NO \"Authentication failed\"\n="),
    Case(
        "S14",
        "",
        "> AUTHENTICATE \"PLAIN\" \"!!!!\"⏎AUTHENTICATE \"PLAIN\" \"=\"⏎NOOP⏎\n< NO …\n< NO …\n< OK \"Done\"\n=",
    ),
    Case("S15", "", "> AUTHENTICATE \"FOO\"⏎AUTHENTICATE PLAIN⏎\n< NO \"Mechanism is not supported\"\n< NO …"),
    Case("S16", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0no⟩\"⏎*5*\n*5*< NO \"Authentication failed\"\n< BYE …\nend"),
    Case("S17", "", "> XYZZY⏎*20*\n*20*< NO \"Unknown command\"\n< BYE \"Too many errors\"\nend"),
    Case("S18", "", "> GET / HTTP/1.1⏎Host: x⏎⏎\nend"),
    Case("S19", "", "> NOOP\\nNOOP⏎\n< NO …\n< OK \"Done\""),
    Case("S20", "", "> NOOP \\0⏎\n< BYE …\nend"),
    Case("S21", "", "> STARTTLS⏎\n< NO \"TLS is not available\""),
    Case(
        "S22",
        "",
        "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0pwd⟩\"⏎LISTSCRIPTS⏎NOOP⏎\n< OK \"Logged in\"\n*2*< OK \"bob\"\n= bob pwd",
    ),
    Case(
        "S23",
        "",
        "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0no⟩\"⏎LISTSCRIPTS⏎AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0pwd⟩\"⏎\n\
         < NO …\n< NO …\n< OK …\n= bob no, bob pwd",
    ),
    Case(
        "S24",
        "",
        "> CAPABILITY⏎\n< \"IMPLEMENTATION\" \"Doorward\"\n< \"SASL\" \"PLAIN\"\n< \"SIEVE\" \"fileinto …\n\
         < \"VERSION\" \"1.0\"\n< OK \"Done\"",
    ),
];

/// In clear text, where no password is taken.
const CLEAR: &[Case] = &[
    Case(
        "S01",
        "",
        "> CAPABILITY⏎\n< \"IMPLEMENTATION\" \"Doorward\"\n< \"SASL\" \"\"\n< \"SIEVE\" …\n< \"STARTTLS\"\n\
         < \"VERSION\" \"1.0\"\n< OK \"Done\"",
    ),
    Case("S05", "", "> STARTTLS⏎AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0pwd⟩\"⏎\n< OK …\nend\n="),
    Case("S30", "", "> AUTHENTICATE \"PLAIN\" \"⟨\\0bob\\0pwd⟩\"⏎NOOP⏎\n< NO (ENCRYPT-NEEDED) …\n< OK \"Done\"\n="),
    Case("S31", "", "> STARTTLS \"now\"⏎\n< NO \"Invalid arguments\""),
    Case("S32", "", "> \\x16\\x03\\x01\\x00\nend"),
];

/// A server of ManageSieve; the password is `pwd`. After the login each command is answered by `OK "name"`.
pub(super) fn node(tls: Option<Arc<rustls::ServerConfig>>, more: &'static str) -> MailNode {
    let capabilities = move |talk: &mut AtNode| {
        let start_tls = if talk.can_be_secured() { "\"STARTTLS\"\r\n" } else { "" };
        talk.say(&format!("\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN\"\r\n{start_tls}{more}OK {{5}}\r\nready\r\n"));
    };
    MailNode::with_tls(tls, move |talk| {
        capabilities(talk);
        let name = loop {
            let line = talk.line()?;
            if line == "STARTTLS" {
                talk.say("OK\r\n");
                talk.secure()?;
                capabilities(talk);
            } else if line.starts_with("XCLIENT ") {
                talk.say("NO \"never heard of it\"\r\n");
            } else {
                let (name, password) = plain(line.strip_prefix("AUTHENTICATE \"PLAIN\" \"")?.strip_suffix('"')?);
                if talk.knows(&name, &password) {
                    break name;
                }
                talk.say("NO \"no such user\"\r\n");
            }
        };
        talk.say("OK \"in\"\r\n");
        loop {
            let line = talk.line()?;
            talk.say(&format!("OK \"{name}\"\r\n"));
            if line == "LOGOUT" {
                return None;
            }
        }
    })
}

/// Doors with this server.
pub(super) fn doors(extra: &str, node: &MailNode, more: &str) -> Doors {
    let sieve = format!("sieve = \"sieve://localhost:{}\"\n{more}", node.address().port());
    Doors::start(extra, &[("node-a", node, node, &sieve)])
}

fn greeted(mut talk: Talk) -> Talk {
    for expected in
        ["\"IMPLEMENTATION\" \"Doorward\"", "\"SASL\" \"PLAIN\"", "\"SIEVE\" \"…", "\"VERSION\" \"1.0\"", "OK …"]
    {
        fits("S01", expected, talk.hear().as_deref());
    }
    talk
}

/// A connection that was greeted: in the clear, by STARTTLS, by TLS.
pub(super) fn open(doors: &Doors, way: &str) -> Talk {
    let mut talk = doors.talk(way);
    if way.ends_with("-start") {
        for expected in [
            "\"IMPLEMENTATION\" \"Doorward\"",
            "\"SASL\" …",
            "\"SIEVE\" \"…",
            "\"STARTTLS\"",
            "\"VERSION\" \"1.0\"",
            "OK …",
        ] {
            fits("S01 in the clear", expected, talk.hear().as_deref());
        }
        talk.say("STARTTLS\r\n");
        fits("S06", "OK …", talk.hear().as_deref());
    }
    // What can be done is told again then, unasked.
    greeted(if way == "sieve" { talk } else { talk.secure(doors.certs.ca()) })
}

#[test]
fn what_programs_say_before_their_login_is_answered_right_by_each_way() {
    let node = node(None, "");
    let doors = doors(USUAL, &node, "");
    for way in ["sieve", "sieve-start", "sieve-tls"] {
        for Case(id, _, script) in CASES {
            go_on(open(&doors, way), &node, &format!("{id} at {way}"), script);
        }
    }
    doors.proxy.wait_for_log("mail session .*protocol=\"sieve\".*user=\"bob\".*ended=\"", PATIENCE);
    let secrets = ["pwd", "AGJvYgBwd2Q="];
    let has_secret = |line: &String| secrets.iter().any(|secret| line.contains(secret));
    assert!(!doors.proxy.log().iter().any(has_secret), "no password is in the log");
}

#[test]
fn in_clear_text_no_password_is_taken() {
    let node = node(None, "");
    let doors = doors("[authentication]\nmode = \"back-end\"", &node, "");
    for Case(id, _, script) in CLEAR {
        let mut talk = doors.talk("sieve-start");
        (0..6).for_each(|_| _ = talk.hear());
        go_on(talk, &node, id, script);
    }
    doors.proxy.wait_for_log("login .*protocol=\"sieve\".*reason=\"clear-text\"", PATIENCE);
}

#[test]
fn a_byte_at_a_time_means_the_same() {
    let node = node(None, "");
    let doors = doors(USUAL, &node, "");
    let mut talk = open(&doors, "sieve");
    for byte in b"AUTHENTICATE \"PLAIN\" {12+}\r\nAGJvYgBwd2Q=\r\nNOOP\r\n" {
        talk.say([*byte]);
    }
    assert_eq!([talk.hear(), talk.hear()].map(Option::unwrap), ["OK \"Logged in\"", "OK \"bob\""]);
}

#[test]
fn nodes_are_reached_in_each_way_and_told_of_the_client() {
    let certs = Certs::new();
    let pair = certs.server(&["localhost"]);
    let tls = || server_tls(&pair, None, rustls::ALL_VERSIONS);
    let ca = format!("[backend.tls]\nca = \"{}\"\n", certs.ca().display());
    for (by_start_tls, more) in [
        (None, "mail-client-address = \"id\"\n".to_owned()),
        (Some(true), format!("mail-client-address = \"id\"\nmail-start-tls = true\n{ca}")),
        (Some(false), format!("mail-client-address = \"id\"\n{ca}")),
    ] {
        let xclient = "\"XCLIENT\"\r\n";
        let node = match by_start_tls {
            Some(false) => {
                let inner = tls();
                MailNode::with_tls(Some(inner), |talk| {
                    talk.secure()?;
                    talk.say("\"SASL\" \"PLAIN\"\r\n\"XCLIENT\"\r\nOK\r\n");
                    talk.line()?;
                    talk.say("OK\r\n");
                    let line = talk.line()?;
                    talk.knows("bob", line.strip_prefix("AUTHENTICATE \"PLAIN\" ")?);
                    talk.say("OK\r\n");
                    talk.line().map(drop)
                })
            }
            Some(true) => node(Some(tls()), xclient),
            None => node(None, xclient),
        };
        let more = if by_start_tls == Some(false) {
            format!("sieve = \"sieves://localhost:{}\"\n{more}", node.address().port())
        } else {
            format!("sieve = \"sieve://localhost:{}\"\n{more}", node.address().port())
        };
        let doors = Doors::start(USUAL, &[("node-a", &node, &node, &more)]);
        let mut talk = open(&doors, "sieve-tls");
        talk.say("AUTHENTICATE \"PLAIN\" \"AGJvYgBwd2Q=\"\r\n");
        assert_eq!(talk.hear().as_deref(), Some("OK \"Logged in\""), "{by_start_tls:?}");
        drop(talk);
        let lines = node.lines();
        let claims: Vec<_> = lines.iter().filter(|line| line.starts_with("XCLIENT ADDR=127.0.0.1 PORT=")).collect();
        assert!(claims.len() == 1 && claims[0].ends_with(" TTL=5"), "{lines:?}");
        assert_eq!(lines.iter().any(|line| line == "STARTTLS"), by_start_tls == Some(true));
    }
}

/// What bob's program hears from a door whose node does this, and how often a password came to it.
#[track_caller]
fn check(more: &str, expected: &str, asked: bool, script: impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static) {
    let node = MailNode::start(script);
    let doors = doors(USUAL, &node, more);
    let mut talk = open(&doors, "sieve");
    talk.say("AUTHENTICATE \"PLAIN\" \"AGJvYgBwd2Q=\"\r\n");
    let answer = talk.hear().unwrap_or_default();
    assert!(answer.starts_with(expected), "expected {expected:?}, and there came {answer:?}");
    // Whatever the node does, the program can go on.
    if !expected.starts_with("OK") {
        talk.say("NOOP\r\n");
        assert_eq!(talk.hear().as_deref(), Some("OK \"Done\""), "{answer}");
    }
    drop(talk);
    let lines = node.lines();
    assert_eq!(lines.iter().any(|line| line.contains("AGJvYgBwd2Q=")), asked, "{expected}: it got {lines:?}");
}

/// A node that greets, and says this to a login.
fn answers(answer: &'static str) -> impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static {
    move |talk| {
        talk.say("\"SASL\" \"PLAIN\"\r\nOK\r\n");
        talk.line()?;
        talk.say(answer);
        talk.line().map(drop)
    }
}

fn greets(text: impl Into<String>) -> impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static {
    let text = text.into();
    move |talk| {
        talk.say(&text);
        talk.line().map(drop)
    }
}

const LATER: &str = "NO (TRYLATER) ";

#[test]
fn nodes_that_cannot_be_trusted_get_no_password() {
    for greeting in ["BYE \"full\"\r\n", "\"SASL\" \"PLAIN\"\r\nBYE\r\n", "NO\r\n", "220 smtp\r\n", "* OK imap\r\n"] {
        check("", LATER, false, greets(greeting));
    }
    // It says nothing.
    check("connect-timeout = \"2s\"", LATER, false, greets(""));
    check("", LATER, false, greets("x".repeat(1 << 20)));
    check("", LATER, false, greets("\"SIEVE\" \"x\"\r\n".repeat(20_000)));
    check("", LATER, false, greets("\"SIEVE\" {9999999}\r\n"));
    // It takes no password.
    check("", LATER, false, greets("\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK\r\n"));
    check("", LATER, false, greets("OK\r\n"));
    check("mail-start-tls = true", LATER, false, greets("\"SASL\" \"PLAIN\"\r\nOK\r\n"));
    for answer in ["OK go\r\n\"SASL\" \"PLAIN\"\r\nOK injected\r\n", "NO not now\r\n", "BYE\r\n"] {
        check("mail-start-tls = true", LATER, false, move |talk| {
            talk.say("\"STARTTLS\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n");
            talk.line()?;
            talk.say(answer);
            talk.line().map(drop)
        });
    }
}

#[test]
fn odd_answers_to_a_login_are_no_way_in() {
    for answer in ["+ more\r\n", "\"\"\r\n", "BYE\r\n", "NO (TRYLATER) \"x\"\r\n", "no (trylater)\r\n", "235 in\r\n"] {
        check("", LATER, true, answers(answer));
    }
    for answer in ["NO\r\n", "NO \"no such user bob\"\r\n", "NO (REFERRAL \"sieve://evil/\") {2}\r\nno\r\n"] {
        check("", "NO \"Authentication failed\"", true, answers(answer));
    }
    check("", LATER, true, answers("NO (ENCRYPT-NEEDED) \"x\"\r\n"));
    check("", LATER, true, |talk| {
        talk.say("\"SASL\" \"PLAIN\"\r\nOK\r\n");
        talk.line()?;
        None
    });
    check("", "OK \"Logged in\"", true, answers("OK (SASL \"eA==\") {2}\r\nin\r\n"));
    // A string may be a literal anywhere.
    check("", "OK \"Logged in\"", true, |talk| {
        talk.say("\"SASL\" {5}\r\nPLAIN\r\nOK\r\n");
        talk.line()?;
        talk.say("OK\r\n");
        talk.line().map(drop)
    });
}

#[test]
fn a_server_that_is_away_is_told_of_and_comes_back() {
    let node = node(None, "");
    let doors = doors(USUAL, &node, "");
    let config = std::fs::read_to_string(doors.proxy.dir().join("doorward.toml")).expect("the configuration");
    let port = node.address().port();
    doors.proxy.write("doorward.toml", config.replace(&format!("sieve://localhost:{port}"), "sieve://127.0.0.1:1"));
    assert_eq!(doors.proxy.admin("POST", "/reload").0, 200);
    let log_in = || {
        let mut talk = open(&doors, "sieve");
        talk.say("AUTHENTICATE \"PLAIN\" \"AGJvYgBwd2Q=\"\r\n");
        talk.hear().unwrap_or_default()
    };
    (0..3).for_each(|_| assert_eq!(log_in(), "NO (TRYLATER) \"Temporarily not available\""));
    doors.proxy.wait_for_log("a mail server is down .*protocol=\"sieve\"", PATIENCE);
    doors.proxy.write("doorward.toml", &config);
    assert_eq!(doors.proxy.admin("POST", "/reload").0, 200);
    assert_eq!(log_in(), "OK \"Logged in\"");
}

#[test]
fn a_node_may_be_told_by_a_header_of_the_proxy_protocol() {
    let node = MailNode::start(|talk| {
        talk.line()?;
        talk.say("\"SASL\" \"PLAIN\"\r\n\"XCLIENT\"\r\nOK\r\n");
        talk.line()?;
        talk.say("OK\r\n");
        talk.line().map(drop)
    });
    let doors = doors(USUAL, &node, "mail-client-address = \"proxy-v1\"");
    let mut talk = open(&doors, "sieve");
    talk.say("AUTHENTICATE \"PLAIN\" \"AGJvYgBwd2Q=\"\r\n");
    assert_eq!(talk.hear().as_deref(), Some("OK \"Logged in\""));
    drop(talk);
    let lines = node.lines();
    assert!(lines[0].starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{lines:?}");
    assert!(lines[1].starts_with("AUTHENTICATE "), "{lines:?}");
}

#[test]
fn sessions_are_counted_kicked_and_told_between_two_answers() {
    let node = node(None, "");
    let mut doors = doors(&format!("{USUAL}user-max-connections = 2\n"), &node, "");
    let log_in = |doors: &Doors| {
        let mut talk = open(doors, "sieve");
        talk.say("AUTHENTICATE \"PLAIN\" \"AGJvYgBwd2Q=\"\r\n");
        (talk.hear().unwrap_or_default(), talk)
    };
    let (mut one, two) = (log_in(&doors).1, log_in(&doors));
    assert_eq!(two.0, "OK \"Logged in\"");
    assert_eq!(log_in(&doors).0, "NO (TRYLATER) \"Too many connections\"");
    doors.proxy.wait_for_status("both are counted", |status| status["backends"][0]["mail-sessions"] == 2);
    assert_eq!(doors.proxy.admin("POST", "/kick?user=bob").1.trim(), "{\"kicked\":2}");
    assert_eq!(one.rest(), ["BYE \"Session ends\""]);
    doors.proxy.wait_for_log("mail session .*protocol=\"sieve\".*user=\"bob\".*ended=\"kicked\"", PATIENCE);
    let mut waiting = open(&doors, "sieve");
    doors.proxy.begin_to_terminate();
    assert_eq!(waiting.rest(), ["BYE (TRYLATER) \"Server is shutting down\""]);
    assert!(doors.proxy.terminate().success());
}

#[test]
fn tokens_go_to_the_node_as_they_came_and_its_challenge_comes_back() {
    let base64 = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let token = move |token: &str| base64(&format!("n,a=bob,\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let node = MailNode::start(move |talk| {
        talk.say("\"SASL\" \"OAUTHBEARER\"\r\nOK\r\n");
        if talk.line()? == format!("AUTHENTICATE \"OAUTHBEARER\" \"{}\"", token("good")) {
            talk.say("OK\r\n");
        } else {
            talk.say(&format!("\"{}\"\r\n", base64("{\"status\":\"401\",\"user\":\"secret\"}")));
            assert_eq!(talk.line()?, "\"AQ==\"");
            talk.say("NO\r\n");
        }
        talk.line().map(drop)
    });
    let doors = doors(&format!("{USUAL}mechanisms = [\"plain\", \"oauthbearer\"]\n"), &node, "");
    let mut talk = doors.talk("sieve-tls").secure(doors.certs.ca());
    let heard: Vec<_> = (0..5).filter_map(|_| talk.hear()).collect();
    assert_eq!(heard[1], "\"SASL\" \"PLAIN OAUTHBEARER\"");
    talk.say(format!("AUTHENTICATE \"OAUTHBEARER\" \"{}\"\r\n", token("bad")));
    assert_eq!(talk.hear(), Some(format!("\"{}\"", base64("{\"status\":\"401\"}"))));
    talk.say("\"AQ==\"\r\n");
    assert_eq!(talk.hear().as_deref(), Some("NO \"Authentication failed\""));
    talk.say(format!("AUTHENTICATE \"OAUTHBEARER\"\r\n\"{}\"\r\n", token("good")));
    assert_eq!([talk.hear(), talk.hear()].map(Option::unwrap), ["\"\"", "OK \"Logged in\""]);
}
