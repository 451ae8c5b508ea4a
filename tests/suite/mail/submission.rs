//! Submission: what programs say before they are logged in, in the clear, by STARTTLS and by TLS, and what nodes do.

use std::sync::Arc;

use harness::{Certs, server_tls};

use super::cases::{Case, fits, go_on};
use super::node::{MailNode, Talk as AtNode, plain};
use super::{Doors, PATIENCE, Talk, USUAL};

/// See [`Case`]; the listener is any that takes passwords, and the client has said EHLO.
const CASES: &[Case] = &[
    Case("M02", "", "> MAIL FROM:<a@b>⏎RCPT TO:<a@b>⏎DATA⏎ETRN x⏎\n*4*< 530 5.7.0 …\n="),
    Case(
        "M03",
        "",
        "> EHLO x⏎\n< 250-localhost\n< 250-PIPELINING\n< 250-SIZE\n< 250-8BITMIME\n< 250-ENHANCEDSTATUSCODES\n\
         < 250 AUTH PLAIN LOGIN",
    ),
    Case("M03b", "", "> HELO x⏎AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< 250 localhost\n< 503 5.5.1 …\n="),
    Case("M06a", "", "> AUTH PLAIN⏎\n< 334 \n> ⟨\\0bob\\0pwd⟩⏎\n< 235 2.7.0 …\n= bob pwd"),
    Case("M06b", "", "> AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< 235 2.7.0 …\n= bob pwd"),
    Case("M06c", "", "> AUTH LOGIN⏎\n< 334 VXNlcm5hbWU6\n> ⟨bob⟩⏎\n< 334 UGFzc3dvcmQ6\n> ⟨pwd⟩⏎\n< 235 …\n= bob pwd"),
    Case("M06d", "", "> auth login ⟨bob⟩⏎\n< 334 UGFzc3dvcmQ6\n> ⟨pwd⟩⏎\n< 235 …\n= bob pwd"),
    Case("M06e", "", "> AUTH LOGIN ⟨müller⟩⏎⟨pwd⟩⏎\n< 334 …\n< 235 …\n= müller pwd"),
    Case("M06f", "", "> AUTH PLAIN ⟨\\0b\"o\\b\\0pwd⟩⏎\n< 235 …\n= b\"o\\b pwd"),
    Case("M06g", "", "> AUTH LOGIN ⟨bob⟩⏎⟨ p\"ä\\d ⟩⏎\n< 334 …\n< 535 5.7.8 …\n= bob  p\"ä\\d "),
    Case("M06h", "", "> AUTH LOGIN ⟨bob⟩⏎⟨pw\\0d⟩⏎\n< 334 …\n< 535 5.7.8 …\n="),
    Case("M06i", "", "> AUTH LOGIN ⟨bob\\r\\nx⟩⏎⟨pwd⟩⏎\n< 334 …\n< 535 5.7.8 …\n="),
    Case("M06j", "", "> AUTH LOGIN ⟨bob⟩⏎⏎\n< 334 …\n< 535 5.7.8 …\n="),
    Case("M07a", "", "> AUTH PLAIN⏎\n< 334 \n> *⏎NOOP⏎\n< 501 …\n< 250 …\n="),
    Case("M07b", "", "> AUTH PLAIN⏎\n< 334 \n> =⏎\n< 535 5.7.8 …\n="),
    Case("M07c", "", "> AUTH PLAIN⏎\n< 334 \n> x*100000*\n< 500 5.5.6 …\nend\n="),
    Case("M07d", "", "> AUTH LOGIN⏎\n< 334 …\n> *⏎NOOP⏎\n< 501 …\n< 250 …\n="),
    Case("M07e", "", "> AUTH LOGIN ⟨bob⟩⏎\n< 334 …\n> *⏎NOOP⏎\n< 501 …\n< 250 …\n="),
    Case("M07f", "", "> AUTH PLAIN !!!!⏎AUTH PLAIN AAA⏎AUTH LOGIN =AAA⏎\n*3*< 501 5.5.2 …\n="),
    Case("M07g", "", "> AUTH FOO⏎AUTH⏎\n< 504 5.5.4 …\n< 501 …\n="),
    Case("M07h", "", "> AUTH PLAIN ⟨alice\\0bob\\0pwd⟩⏎AUTH PLAIN ⟨\\0bob⟩⏎\n*2*< 535 5.7.8 …\n="),
    Case("M08", "", "> AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎AUTH PLAIN ⟨\\0alice\\0x⟩⏎\n< 235 …\n< 250 bob\n= bob pwd"),
    Case("M09a", "", "> EHLO a b⏎EHLO \\x01⏎EHLO⏎\n*3*< 501 …\n="),
    Case("M09b", "", "> EHLO a*600*⏎\n< 501 …\n="),
    Case(
        "M10",
        "",
        "> AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎MAIL FROM:<a@b>⏎RCPT TO:<c@d>⏎DATA⏎\n< 235 …\n*3*< 250 bob\n= bob pwd",
    ),
    Case("M11a", "", "> VRFY bob⏎EXPN list⏎HELP⏎RSET⏎NOOP x⏎\n< 252 …\n< 502 …\n< 214 …\n< 250 …\n< 250 …\n="),
    Case("M11b", "", "> BDAT 34 LAST⏎AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< 530 5.7.0 …\nend\n="),
    Case("M12", "", "> XCLIENT ADDR=10.0.0.1⏎XFORWARD ADDR=10.0.0.1⏎\n*2*< 550 5.7.0 …\n="),
    Case("M13", "", "> QUIT⏎AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< 221 …\nend\n="),
    Case("M14", "", "> AUTH PLAIN ⟨\\0bob\\0no⟩⏎*5*\n*5*< 535 5.7.8 …\n< 421 …\nend"),
    Case("M15", "", "> XYZZY⏎*20*\n*20*< 502 5.5.1 Unknown command\n< 421 …\nend"),
    Case("M16", "", "> GET / HTTP/1.1⏎Host: x⏎⏎\nend"),
    Case("M17", "", "> POST / HTTP/1.1⏎Host: x⏎⏎EHLO x⏎AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\nend\n="),
    Case("M18", "", "> NOOP\\nNOOP⏎\n< 501 …\n< 250 …"),
    Case("M19", "", "> NOOP \\0⏎\n< 421 …\nend"),
    Case("M20", "", "> NOOP x*100000*\n< 500 5.5.6 …\nend"),
    Case("M21", "", "> STARTTLS⏎\n< 503 5.5.1 …"),
    Case(
        "M22",
        "",
        "> AUTH PLAIN ⟨\\0bob\\0no⟩⏎MAIL FROM:<a@b>⏎AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< 535 …\n< 530 …\n< 235 …\n= bob no, bob pwd",
    ),
];

/// In clear text, where no password is taken; nobody has said EHLO.
const CLEAR: &[Case] = &[
    Case(
        "M01",
        "",
        "> EHLO x⏎NOOP⏎\n< 250-localhost\n< 250-PIPELINING\n< 250-SIZE\n< 250-8BITMIME\n< 250-ENHANCEDSTATUSCODES\n< 250 STARTTLS\n< 250 …",
    ),
    Case("M04", "", "> STARTTLS⏎EHLO x⏎AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< 220 …\nend\n="),
    Case("M30", "", "> AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎AUTH LOGIN⏎NOOP⏎\n*2*< 538 5.7.11 …\n< 250 …\n="),
    Case("M31", "", "> STARTTLS now⏎\n< 501 …"),
    Case("M32", "", "> MAIL FROM:<a@b>⏎\n< 530 5.7.0 …"),
    Case("M33", "", "> \\x16\\x03\\x01\\x00\nend"),
];

/// A submission server that takes these mechanisms; the password is `pwd`. After the login each command is answered by `250 name`.
pub(super) fn node(
    tls: Option<Arc<rustls::ServerConfig>>,
    (at_once, mechanisms): (bool, &'static str),
    more: &'static str,
) -> MailNode {
    MailNode::with_tls(tls, move |talk| {
        if at_once {
            talk.secure()?;
        }
        talk.say("220-node\r\n220 ESMTP\r\n");
        let name = loop {
            let line = talk.line()?;
            let word = line.split(' ').next().unwrap_or_default();
            if word == "EHLO" {
                let start_tls = if talk.can_be_secured() { "250-STARTTLS\r\n" } else { "" };
                talk.say(&format!("250-node\r\n{start_tls}{more}250-AUTH {mechanisms}\r\n250 SIZE\r\n"));
            } else if word == "STARTTLS" {
                talk.say("220 go\r\n");
                talk.secure()?;
            } else if word == "XCLIENT" {
                talk.say("220 node\r\n");
            } else {
                let (name, password) = match line.as_str() {
                    "AUTH PLAIN" => {
                        talk.say("334 \r\n");
                        plain(&talk.line()?)
                    }
                    "AUTH LOGIN" => {
                        // As PLAIN has both.
                        let text = |line: String| String::from_utf8(decode(&line)).ok();
                        talk.say("334 VXNlcm5hbWU6\r\n");
                        let name = text(talk.line()?)?;
                        talk.say("334 UGFzc3dvcmQ6\r\n");
                        (name, text(talk.line()?)?)
                    }
                    whole => plain(whole.strip_prefix("AUTH PLAIN ")?),
                };
                if talk.knows(&name, &password) {
                    break name;
                }
                talk.say("535-5.7.8 no such user\r\n535 5.7.8 really\r\n");
            }
        };
        talk.say("235 2.7.0 in\r\n");
        loop {
            let line = talk.line()?;
            talk.say(&format!("250 {name}\r\n"));
            if line == "QUIT" {
                return None;
            }
        }
    })
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// Doors with this server.
pub(super) fn doors(extra: &str, node: &MailNode, more: &str) -> Doors {
    let submission = format!("submission = \"submission://localhost:{}\"\n{more}", node.address().port());
    Doors::start(extra, &[("node-a", node, node, &submission)])
}

/// A connection that was greeted, and has said EHLO: in the clear, by STARTTLS, by TLS.
pub(super) fn open(doors: &Doors, way: &str) -> Talk {
    let mut talk = doors.talk(way);
    if way.ends_with("-start") {
        fits("M01", "220 localhost ESMTP …", talk.hear().as_deref());
        talk.say("EHLO in-the-clear\r\nSTARTTLS\r\n");
        (0..7).for_each(|_| fits("M03", "250…", talk.hear().as_deref()));
        fits("M04", "220 …", talk.hear().as_deref());
        talk = talk.secure(doors.certs.ca());
        // What was said in the clear is forgotten.
        talk.say("AUTH PLAIN AGJvYgBwd2Q=\r\n");
        fits("M05", "503 5.5.1 …", talk.hear().as_deref());
    } else {
        if way.ends_with("-tls") {
            talk = talk.secure(doors.certs.ca());
        }
        fits("M01", "220 localhost ESMTP …", talk.hear().as_deref());
    }
    talk.say("EHLO client.test\r\n");
    for expected in
        ["250-localhost", "250-PIPELINING", "250-SIZE", "250-8BITMIME", "250-ENHANCED…", "250 AUTH PLAIN LOGIN"]
    {
        fits("M03", expected, talk.hear().as_deref());
    }
    talk
}

#[test]
fn what_programs_say_before_their_login_is_answered_right_by_each_way() {
    let node = node(None, (false, "PLAIN"), "");
    let doors = doors(USUAL, &node, "");
    for way in ["submission", "submission-start", "submission-tls"] {
        for Case(id, _, script) in CASES {
            // One error was made on the way there.
            let script = if way.ends_with("-start") { script.replace("*20*", "*19*") } else { (*script).to_owned() };
            go_on(open(&doors, way), &node, &format!("{id} at {way}"), &script);
        }
    }
    doors.proxy.wait_for_log("mail session .*protocol=\"submission\".*user=\"bob\".*ended=\"", PATIENCE);
    let secrets = ["pwd", "AGJvYgBwd2Q=", "cHdk"];
    let has_secret = |line: &String| secrets.iter().any(|secret| line.contains(secret));
    assert!(!doors.proxy.log().iter().any(has_secret), "no password is in the log");
}

#[test]
fn in_clear_text_no_password_is_taken() {
    let node = node(None, (false, "PLAIN"), "");
    let doors = doors("[authentication]\nmode = \"back-end\"", &node, "");
    for Case(id, _, script) in CLEAR {
        let mut talk = doors.talk("submission-start");
        talk.hear();
        go_on(talk, &node, id, script);
    }
    doors.proxy.wait_for_log("login .*protocol=\"submission\".*reason=\"clear-text\"", PATIENCE);
}

#[test]
fn a_byte_at_a_time_means_the_same() {
    let node = node(None, (false, "PLAIN"), "");
    let doors = doors(USUAL, &node, "");
    let mut talk = open(&doors, "submission");
    for byte in b"AUTH LOGIN\r\nYm9i\r\ncHdk\r\nMAIL FROM:<>\r\n" {
        talk.say([*byte]);
    }
    let heard = [talk.hear(), talk.hear(), talk.hear(), talk.hear()].map(Option::unwrap);
    assert_eq!(heard, ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 Logged in", "250 bob"]);
}

#[test]
fn nodes_are_reached_in_each_way_and_told_of_the_client() {
    let certs = Certs::new();
    let pair = certs.server(&["localhost"]);
    let tls = || server_tls(&pair, None, rustls::ALL_VERSIONS);
    let ca = format!("[backend.tls]\nca = \"{}\"\n", certs.ca().display());
    for (scheme, starts_tls, mechanisms) in [
        ("submission", false, "PLAIN LOGIN"),
        ("submission", false, "CRAM-MD5 LOGIN"),
        ("submission", true, "PLAIN"),
        ("submissions", false, "PLAIN"),
    ] {
        let has_tls = starts_tls || scheme.ends_with('s');
        let node = node(
            has_tls.then(tls),
            (scheme.ends_with('s'), mechanisms),
            "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN SESSION TTL\r\n",
        );
        let more = format!(
            "submission = \"{scheme}://localhost:{}\"\nmail-client-address = \"id\"\nmail-start-tls = {starts_tls}\n{}",
            node.address().port(),
            if has_tls { ca.as_str() } else { "" }
        );
        let doors = Doors::start(USUAL, &[("node-a", &node, &node, &more)]);
        // Names and passwords that are longer than a line may be.
        let long = "x".repeat(400) + "-secret";
        for (name, password) in [("bob", "pwd"), ("müller", "a\"b\\c -secret"), ("b\"o\\b", long.as_str())] {
            let mut talk = open(&doors, "submission-tls");
            let response = {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0{password}"))
            };
            talk.say(format!("AUTH PLAIN\r\n{response}\r\nNOOP\r\n"));
            let heard = [talk.hear(), talk.hear(), talk.hear()].map(Option::unwrap);
            assert_eq!(heard, ["334 ", "235 2.7.0 Logged in", &format!("250 {name}")], "{scheme} {mechanisms}");
            assert_eq!(node.logins().pop(), Some((name.to_owned(), password.to_owned())));
        }
        let lines = node.lines();
        let claims: Vec<_> = lines.iter().filter(|line| line.starts_with("XCLIENT ")).collect();
        assert!(claims.len() == 3, "{lines:?}");
        for claim in claims {
            assert!(claim.starts_with("XCLIENT NAME=[UNAVAILABLE] ADDR=127.0.0.1 PORT="), "{claim}");
            assert!(claim.contains(" PROTO=ESMTP SESSION=") && claim.ends_with(" TTL=5"), "{claim}");
        }
        assert!(lines.iter().filter(|line| line.starts_with("EHLO")).all(|line| line == "EHLO client.test"));
        assert_eq!(lines.iter().any(|line| line == "STARTTLS"), starts_tls);
    }
}

/// What bob's program hears from a door whose node does this, and whether a password came to it.
#[track_caller]
fn check(more: &str, expected: &str, asked: bool, script: impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static) {
    let node = MailNode::start(script);
    let doors = doors(USUAL, &node, more);
    let mut talk = open(&doors, "submission");
    talk.say("AUTH PLAIN AGJvYgBwd2Q=\r\n");
    let answer = talk.hear().unwrap_or_default();
    assert!(answer.starts_with(expected), "expected {expected:?}, and there came {answer:?}");
    // Whatever the node does, the program can go on.
    if !expected.starts_with("235") {
        talk.say("NOOP\r\n");
        fits(&answer, "250 …", talk.hear().as_deref());
    }
    drop(talk);
    let lines = node.lines();
    assert_eq!(lines.iter().any(|line| line.contains("AGJvYgBwd2Q=")), asked, "{expected}: it got {lines:?}");
}

/// A node that says all this, each to the next line.
fn says(lines: &'static [&'static str]) -> impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static {
    move |talk| {
        for line in lines {
            talk.say(line);
            talk.line()?;
        }
        Some(())
    }
}

const LATER: &str = "454 4.7.0 ";
/// For a node that says nothing.
const SHORT: &str = "connect-timeout = \"2s\"";

#[test]
fn nodes_that_cannot_be_trusted_get_no_password() {
    check("", LATER, false, says(&["554 no\r\n"]));
    check("", LATER, false, says(&["421 full\r\n"]));
    check("", LATER, false, says(&["220-x\r\n421 full\r\n"]));
    check("", LATER, false, says(&["* OK imap\r\n"]));
    check("", LATER, false, says(&["250 x\r\n"]));
    check(SHORT, LATER, false, says(&[""]));
    check("", LATER, false, |talk| {
        talk.say(&"220-x\r\n".repeat(20_000));
        talk.line().map(drop)
    });
    check("", LATER, false, |talk| {
        talk.say(&"2".repeat(1 << 20));
        talk.line().map(drop)
    });
    check("", LATER, false, says(&["220 x\r\n", "502 no EHLO\r\n"]));
    check("", LATER, false, says(&["220 x\r\n", "250-x\r\n550 y\r\n"]));
    // It takes no password.
    check("", LATER, false, says(&["220 x\r\n", "250-x\r\n250 STARTTLS\r\n"]));
    check("", LATER, false, says(&["220 x\r\n", "250-x\r\n250 AUTH GSSAPI\r\n"]));
    check("mail-start-tls = true", LATER, false, says(&["220 x\r\n", "250-x\r\n250 AUTH PLAIN\r\n"]));
    // After the login its client would be anybody.
    check("", LATER, false, says(&["220 x\r\n", "250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "235 in\r\n"]));
    let id = "mail-client-address = \"id\"";
    for (more, xclient) in [("", "XCLIENT NAME ADDR LOGIN"), (id, "XCLIENT"), (id, "XCLIENT NAME LOGIN")] {
        check(more, LATER, false, move |talk| {
            talk.say("220 x\r\n");
            talk.line()?;
            talk.say(&format!("250-x\r\n250-{xclient}\r\n250 AUTH PLAIN\r\n"));
            talk.line()?;
            talk.say("235 in\r\n");
            talk.line().map(drop)
        });
    }
    for answer in ["501 5.5.4 Bad ADDR\r\n", "503 not now\r\n", "421 bye\r\n", "250 ok\r\n", "451 later\r\n"] {
        check(id, LATER, false, move |talk| {
            talk.say("220 x\r\n");
            talk.line()?;
            talk.say("250-x\r\n250-XCLIENT ADDR LOGIN\r\n250 AUTH PLAIN\r\n");
            talk.line()?;
            talk.say(answer);
            talk.line()?;
            talk.say("235 in\r\n");
            talk.line().map(drop)
        });
    }
    for answer in ["220 go\r\n250 injected\r\n", "454 not now\r\n", "250 what\r\n"] {
        check("mail-start-tls = true", LATER, false, move |talk| {
            talk.say("220 x\r\n");
            talk.line()?;
            talk.say("250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n");
            talk.line()?;
            talk.say(answer);
            talk.line().map(drop)
        });
    }
    check("", LATER, false, says(&["220 x\r\n", "250-x\r\n250 AUTH LOGIN\r\n", "235 whoever you are\r\n"]));
}

/// A node that greets, and says this to a login.
fn answers(answer: &'static str) -> impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static {
    move |talk| {
        talk.say("220 x\r\n");
        talk.line()?;
        talk.say("250-x\r\n250-AUTH=LOGIN\r\n250 AUTH plain\r\n");
        talk.line()?;
        talk.say(answer);
        talk.line().map(drop)
    }
}

#[test]
fn odd_answers_to_a_login_are_no_way_in() {
    for answer in [
        "334 more\r\n",
        "250 in\r\n",
        "454 4.7.0 later\r\n",
        "421 bye\r\n",
        "+OK in\r\n",
        "500 what\r\n",
        "530 TLS\r\n",
        "550 x\r\n",
        "554 nobody is served\r\n",
    ] {
        check("", LATER, true, answers(answer));
    }
    for answer in ["535 5.7.8 no such user bob\r\n", "535-a\r\n535 b\r\n", "525 5.7.13 disabled\r\n"] {
        check("", "535 5.7.8 Authentication failed", true, answers(answer));
    }
    check("", "535 5.7.8 The password has expired", true, answers("432 4.7.12 change it\r\n"));
    check("", LATER, true, |talk| {
        talk.say("220 x\r\n");
        talk.line()?;
        talk.say("250-x\r\n250 AUTH PLAIN\r\n");
        talk.line()?;
        None
    });
    check("", "235 2.7.0 Logged in", true, answers("235-in\r\n235\r\n"));
    check("mail-client-address = \"id\"", "235 2.7.0 Logged in", true, |talk| {
        talk.say("220 x\r\n");
        talk.line()?;
        talk.say("250-x\r\n250-XCLIENT ADDR\r\n250 AUTH PLAIN\r\n");
        talk.line()?;
        talk.say("550 not from you\r\n");
        talk.line()?;
        talk.say("235 in\r\n");
        talk.line().map(drop)
    });
}

#[test]
fn sessions_are_told_to_end_between_two_answers_and_not_in_a_message() {
    let (go_on, rest) = std::sync::mpsc::channel();
    let rest = std::sync::Mutex::new(rest);
    let node = MailNode::start(move |talk| {
        talk.say("220 x\r\n");
        talk.line()?;
        talk.say("250-x\r\n250 AUTH PLAIN\r\n");
        talk.line()?;
        talk.say("235 in\r\n");
        loop {
            match talk.line()?.as_str() {
                "DATA" => {
                    talk.say("354 go\r\n");
                    while talk.line()? != "." {}
                    talk.say("250 queued\r\n");
                }
                // The rest of its answer comes when the test says so.
                "HELP" => {
                    talk.say("214-one\r\n");
                    rest.lock().expect("no panic").recv().ok()?;
                    talk.say("214 two\r\n");
                }
                _ => talk.say("250 done\r\n"),
            }
        }
    });
    let mut doors = doors(&format!("{USUAL}user-max-connections = 3\n"), &node, "");
    let log_in = |doors: &Doors| {
        let mut talk = open(doors, "submission");
        talk.say("AUTH PLAIN AGJvYgBwd2Q=\r\n");
        (talk.hear().unwrap_or_default(), talk)
    };
    let ((_, mut one), (_, mut two), (answer, mut three)) = (log_in(&doors), log_in(&doors), log_in(&doors));
    assert_eq!(answer, "235 2.7.0 Logged in");
    assert_eq!(log_in(&doors).0, "454 4.7.0 Too many connections");
    one.say("NOOP\r\n");
    assert_eq!(one.hear().as_deref(), Some("250 done"));
    two.say("DATA\r\n");
    assert_eq!(two.hear().as_deref(), Some("354 go"));
    three.say("HELP\r\n");
    assert_eq!(three.hear().as_deref(), Some("214-one"));
    assert_eq!(doors.proxy.admin("POST", "/kick?user=bob").1.trim(), "{\"kicked\":3}");
    assert_eq!(one.rest(), ["421 4.3.2 Session ends"]);
    // These were told at the same time. The one still sends its message, the other one has half an answer.
    two.say("Subject: x\r\n\r\ntext\r\n.\r\n");
    assert_eq!(two.rest(), ["250 queued", "421 4.3.2 Session ends"]);
    go_on.send(()).expect("the node waits");
    assert_eq!(three.rest(), ["214 two", "421 4.3.2 Session ends"]);
    doors.proxy.wait_for_log("mail session .*protocol=\"submission\".*user=\"bob\".*ended=\"kicked\"", PATIENCE);
    let mut waiting = open(&doors, "submission");
    doors.proxy.begin_to_terminate();
    assert_eq!(waiting.rest(), ["421 4.3.2 Server is shutting down"]);
    assert!(doors.proxy.terminate().success());
}

#[test]
fn tokens_go_to_the_node_as_they_came_and_its_challenge_comes_back() {
    let base64 = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let token = move |token: &str| base64(&format!("user=bob\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let node = MailNode::start(move |talk| {
        talk.say("220 x\r\n");
        talk.line()?;
        talk.say("250-x\r\n250 AUTH PLAIN XOAUTH2\r\n");
        if talk.line()? == format!("AUTH XOAUTH2 {}", token("good")) {
            talk.say("235 in\r\n");
        } else {
            talk.say(&format!("334 {}\r\n", base64("{\"status\":\"401\",\"user\":\"secret\"}")));
            talk.line()?;
            talk.say("535 5.7.8 no\r\n");
        }
        talk.line().map(drop)
    });
    let doors = doors(&format!("{USUAL}mechanisms = [\"plain\", \"xoauth2\"]\n"), &node, "");
    let mut talk = doors.talk("submission-tls").secure(doors.certs.ca());
    talk.hear();
    talk.say("EHLO x\r\n");
    let heard: Vec<_> = (0..6).filter_map(|_| talk.hear()).collect();
    assert_eq!(heard[5], "250 AUTH PLAIN LOGIN XOAUTH2");
    talk.say(format!("AUTH XOAUTH2 {}\r\n", token("bad")));
    assert_eq!(talk.hear(), Some(format!("334 {}", base64("{\"status\":\"401\"}"))));
    talk.say("\r\n");
    fits("a wrong token", "535 5.7.8 …", talk.hear().as_deref());
    talk.say(format!("AUTH XOAUTH2\r\n{}\r\n", token("good")));
    assert_eq!([talk.hear(), talk.hear()].map(Option::unwrap), ["334 ", "235 2.7.0 Logged in"]);
}
