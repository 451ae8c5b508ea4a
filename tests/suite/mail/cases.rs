//! Bytes that programs send before they are logged in, well-meant and not, each with its answer. The numbers are for finding them.

use base64::Engine as _;

use super::node::MailNode;
use super::{Doors, Talk, USUAL};

/// What is sent (`>`) and what comes (`<`, where `…` is any text), line by line. `end` is the end of the connection; `=` is who was
/// asked about at the node since the case began, `=` alone: nobody.
///
/// Bytes: `⏎` is CR LF, `\0`, `\n`, `\r`, `\xHH` as usual, `⟨…⟩` what is in it in base64, `*N*` behind a byte repeats it N times.
pub(super) struct Case(pub(super) &'static str, pub(super) &'static str, pub(super) &'static str);

const GREETING: &str = "< * OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE AUTH=PLAIN] …";
const FAILED: &str = "NO [AUTHENTICATIONFAILED] Authentication failed";

const IMAP: &[Case] = &[
    Case(
        "I02",
        "imap",
        "> a CAPABILITY⏎\n< * CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE AUTH=PLAIN\n< a OK …",
    ),
    Case("I05", "imap", "> a CAPABILITY x⏎\n< a BAD …"),
    Case("I06", "imap", "> a ID NIL⏎\n< * ID (\"name\" \"Doorward\")\n< a OK …"),
    Case(
        "I07",
        "imap",
        "> a ID (\"name\" {23+}⏎Microsoft.Exchange.Imap \"version\" {6+}⏎16.0.0)⏎b NOOP⏎\n< * ID …\n< a OK …\n< b OK …",
    ),
    Case("I08", "imap", "> a ID (\"name\" {4}⏎\n< + …\n> test)⏎\n< * ID …\n< a OK …"),
    Case("I13", "imap", "> a LOGIN bob pwd⏎\n< a OK [CAPABILITY IMAP4rev1 QUOTA] Logged in\n= bob pwd"),
    Case("I14", "imap", "> a LOGIN \"b\\\"o\\\\b\" \"pwd\"⏎\n< a OK …\n= b\"o\\b pwd"),
    Case("I15", "imap", "> a LOGIN \"b\\ob\" p⏎\n< a BAD …\n="),
    Case("I16a", "imap", "> a LOGIN \"b\\0b\" p⏎\n< * BYE …\nend\n="),
    Case("I16b", "imap", "> a LOGIN {3+}⏎b\\0b p⏎\n< a BAD …\n="),
    Case("I17", "imap", "> a LOGIN \"b⏎b\" p⏎\n< a BAD …\n< * BAD …\n="),
    Case("I18a", "imap", "> a LOGIN müller pwd⏎\n< a OK …\n= müller pwd"),
    Case("I18b", "imap", "> a LOGIN {7+}⏎müller \"pwd\"⏎\n< a OK …\n= müller pwd"),
    Case("I18c", "imap", "> a AUTHENTICATE PLAIN ⟨\\0müller\\0pwd⟩⏎\n< a OK …\n= müller pwd"),
    Case("I18d", "imap", "> a LOGIN \"b\\xffb\" pwd⏎\n< a NO [AUTHENTICATIONFAILED] …\n="),
    Case("I19", "imap", "> a LOGIN {3}⏎\n< + …\n> bob {3}⏎\n< + …\n> pwd⏎\n< a OK …\n= bob pwd"),
    Case("I20", "imap", "> a LOGIN {3+}⏎bob {3+}⏎pwd⏎\n< a OK …\n= bob pwd"),
    Case("I21", "imap", "> a LOGIN bob {3+}⏎pwd⏎\n< a OK …\n= bob pwd"),
    Case("I22a", "imap", "> a LOGIN \"\" p⏎\n< a NO [AUTHENTICATIONFAILED] …\n="),
    Case("I22b", "imap", "> a LOGIN bob {0+}⏎⏎\n< a NO [AUTHENTICATIONFAILED] …\n="),
    Case("I23", "imap", "> a LOGIN {4097+}⏎x*4097*\n< * BYE [TOOBIG] …\nend\n="),
    Case("I24", "imap", "> a LOGIN {4097}⏎\n< a BAD [TOOBIG] …\n> b NOOP⏎\n< b OK …\n="),
    Case("I25a", "imap", "> a LOGIN {99999999999999999999}⏎\n< a BAD [TOOBIG] …\n> b NOOP⏎\n< b OK …"),
    Case("I25b", "imap", "> a LOGIN {4294967299+}⏎\n< * BYE [TOOBIG] …\nend"),
    Case(
        "I26",
        "imap",
        "> a LOGIN {-1}⏎b LOGIN {3++}⏎c LOGIN {}⏎d LOGIN {3 }⏎\n< a BAD …\n< b BAD …\n< c BAD …\n< d BAD …",
    ),
    Case("I27", "imap", "> a LOGIN {3+}bob pwd⏎b NOOP⏎\n< a BAD …\n< b OK …\n="),
    Case("I28", "imap", "> a LOGIN ~{3+}⏎bob p⏎b NOOP⏎\n< a BAD …\n< b OK …\n="),
    Case("I29", "imap", "> a XYZZY {8+}⏎b NOOP⏎⏎c NOOP⏎\n< a BAD …\n< c OK …"),
    Case("I30", "imap", "> a XYZZY {8}⏎\n< a BAD …\n> c NOOP⏎\n< c OK …"),
    Case("I31", "imap", "> a LOGIN {22+}⏎x⏎b LOGIN root root⏎ p⏎c NOOP⏎\n< a NO [AUTHENTICATIONFAILED] …\n< c OK …\n="),
    Case("I32", "imap", "> a LOGIN bob⏎b LOGIN bob p x⏎c LOGIN (bob) p⏎\n< a BAD …\n< b BAD …\n< c BAD …\n="),
    Case("I33", "imap", "> a  LOGIN bob p⏎b NOOP ⏎\n< a BAD …\n< b OK …\n="),
    Case("I34", "imap", "> a lOgIn bob pwd⏎\n< a OK …\n= bob pwd"),
    Case("I35", "imap", "> a+b NOOP⏎a{b NOOP⏎%n%n NOOP⏎* NOOP⏎\n< * BAD …\n< * BAD …\n< * BAD …\n< * BAD …"),
    Case("I36", "imap", "> a NOOP\\nb NOOP⏎\n< a BAD …\n< b OK …"),
    Case("I38", "imap", "> a NOOP \\0⏎\n< * BYE …\nend"),
    Case("I39", "imap", "> a NOOP x*100000*\n< * BYE [TOOBIG] …\nend"),
    Case("I44", "imap", "> a XYZZY⏎*20*\n*20*< a BAD …\n< * BYE …\nend"),
    Case("I45", "imap", "> a LOGIN bob no⏎*5*\n*5*< a NO [AUTHENTICATIONFAILED] …\n< * BYE …\nend"),
    Case(
        "I48",
        "imap",
        "> a SELECT INBOX⏎b IDLE⏎c ENABLE CONDSTORE⏎d UNAUTHENTICATE⏎\n< a BAD …\n< b BAD …\n< c BAD …\n< d BAD …\n=",
    ),
    Case("I49", "imap", "> a LOGOUT⏎b LOGIN bob pwd⏎\n< * BYE …\n< a OK …\nend\n="),
    Case("I50", "imap", "> a AUTHENTICATE FOO⏎\n< a NO …"),
    Case("I51", "imap", "> a AUTHENTICATE PLAIN⏎\n< + \n> ⟨\\0bob\\0pwd⟩⏎\n< a OK …\n= bob pwd"),
    Case("I52", "imap", "> a AUTHENTICATE PLAIN⏎\n< + \n> *⏎b NOOP⏎\n< a BAD …\n< b OK …\n="),
    Case(
        "I53",
        "imap",
        "> a AUTHENTICATE PLAIN !!!!⏎b AUTHENTICATE PLAIN =AAA⏎c AUTHENTICATE PLAIN AAA⏎\n< a BAD …\n< b BAD …\n< c BAD …\n=",
    ),
    Case("I54", "imap", "> a AUTHENTICATE PLAIN =⏎\n< a NO [AUTHENTICATIONFAILED] …\n="),
    Case(
        "I55",
        "imap",
        "> a AUTHENTICATE PLAIN ⟨\\0bob⟩⏎b AUTHENTICATE PLAIN ⟨\\0bob\\0pwd\\0⟩⏎\n< a NO [AUTHENTICATIONFAILED] …\n< b NO [AUTHENTICATIONFAILED] …\n=",
    ),
    Case("I56", "imap", "> a AUTHENTICATE PLAIN ⟨alice\\0bob\\0pwd⟩⏎\n< a NO [AUTHORIZATIONFAILED] …\n="),
    Case("I57", "imap", "> a AUTHENTICATE PLAIN ⟨\\0bob\\r\\nx\\0pwd⟩⏎\n< a NO [AUTHENTICATIONFAILED] …\n="),
    Case("I59", "imap", "> a AUTHENTICATE PLAIN x*20000*⏎\n< * BYE [TOOBIG] …\nend\n="),
    Case("I66", "imap", "> a STARTTLS⏎\n< a BAD …"),
    Case("I71", "imap", "> GET / HTTP/1.1⏎Host: x⏎⏎\nend"),
    Case("I72", "imap", "> POST / HTTP/1.1⏎Host: x⏎⏎a LOGIN bob pwd⏎\nend\n="),
    Case("I74", "imap", "> a <script>alert(1)</script>⏎\n< a BAD Unknown command"),
    Case(
        "I75",
        "imap",
        "> a LOGIN bob pwd⏎b LIST⏎c NOOP⏎\n< a OK …\n< * USER bob\n< b OK done\n< * USER bob\n< c OK done\n= bob pwd",
    ),
    Case(
        "I76",
        "imap",
        "> a LOGIN bob no⏎b SELECT INBOX⏎c LOGIN bob pwd⏎\n< a NO …\n< b BAD …\n< c OK …\n= bob no, bob pwd",
    ),
    Case("I81", "imap", "> a LOGIN \" Bob \" pwd⏎\n< a OK …\n= bob pwd"),
];

const POP3: &[Case] = &[
    Case("P03", "pop3", "> USER bob⏎PASS pwd⏎STAT⏎\n< +OK\n< +OK Logged in\n< +OK bob\n= bob pwd"),
    Case("P04", "pop3", "> USER bob⏎PASS  a b ⏎\n< +OK\n< -ERR [AUTH] …\n= bob  a b "),
    Case("P05", "pop3", "> PASS x⏎\n< -ERR …\n="),
    Case("P06", "pop3", "> USER alice⏎USER bob⏎PASS pwd⏎\n< +OK\n< +OK\n< +OK …\n= bob pwd"),
    Case("P07", "pop3", "> USER bob⏎PASS ⏎\n< +OK\n< -ERR [AUTH] …\n="),
    Case("P08", "pop3", "> USER nobody⏎\n< +OK"),
    Case("P09", "pop3", "> APOP bob 0123⏎\n< -ERR …\n="),
    Case("P10a", "pop3", "> AUTH⏎\n< +OK\n< PLAIN\n< ."),
    Case("P10b", "pop3", "> AUTH PLAIN ⟨\\0bob\\0pwd⟩⏎\n< +OK …\n= bob pwd"),
    Case("P10c", "pop3", "> AUTH PLAIN⏎\n< + \n> ⟨\\0bob\\0pwd⟩⏎\n< +OK …\n= bob pwd"),
    Case("P11", "pop3", "> AUTH PLAIN⏎\n< + \n> *⏎QUIT⏎\n< -ERR …\n< +OK …\nend\n="),
    Case("P12", "pop3", "> AUTH PLAIN ⟨\\0bob\\r\\nDELE 1\\0pwd⟩⏎\n< -ERR [AUTH] …\n="),
    Case("P14", "pop3", "> STLS⏎STLS x⏎\n< -ERR …\n< -ERR …"),
    Case("P16a", "pop3", "> USER x*240*⏎\n< +OK"),
    Case("P16b", "pop3", "> USER x*300*⏎\n< -ERR …"),
    Case("P16c", "pop3", "> USER x*10000*\n< -ERR …\nend"),
    Case("P17", "pop3", "> LIST⏎STAT⏎NOOP⏎RETR 1⏎\n< -ERR …\n< -ERR …\n< -ERR …\n< -ERR …\n="),
    Case("P18", "pop3", "> USER \\xe9⏎PASS pwd⏎\n< +OK\n< -ERR [AUTH] …\n="),
    Case("P19", "pop3", "> USER bob\\n\n< -ERR …"),
    Case("P20", "pop3", "> GET / HTTP/1.1⏎Host: x⏎⏎\nend"),
    Case("P21", "pop3", "> XYZZ⏎*20*\n*20*< -ERR Unknown command\n< -ERR …\nend"),
    Case("P22", "pop3", "> QUIT⏎STAT⏎\n< +OK …\nend\n="),
    Case("P24", "pop3", "> XCLIENT ADDR=10.0.0.1⏎\n< -ERR …"),
];

/// In clear text, where no password is taken.
const CLEAR: &[Case] = &[
    Case(
        "I03",
        "imap-start",
        "> a CAPABILITY⏎\n< * CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE STARTTLS LOGINDISABLED\n< a OK …",
    ),
    Case("I63", "imap-start", "> a STARTTLS⏎b LOGIN bob pwd⏎\n< a OK …\nend\n="),
    Case("I65", "imap-start", "> a STARTTLS now⏎\n< a BAD …"),
    Case("I68", "imap-start", "> a LOGIN bob pwd⏎\n< a NO [PRIVACYREQUIRED] …\n="),
    Case("I69", "imap-start", "> a LOGIN {3+}⏎bob {3+}⏎pwd⏎b NOOP⏎\n< a NO [PRIVACYREQUIRED] …\n< b OK …\n="),
    Case("I69b", "imap-start", "> a LOGIN {3}⏎\n< a NO [PRIVACYREQUIRED] …\n> b NOOP⏎\n< b OK …\n="),
    Case("I70", "imap-start", "> \\x16\\x03\\x01\\x00\nend"),
    Case(
        "P02",
        "pop3-start",
        "> CAPA⏎\n< +OK …\n< TOP\n< UIDL\n< RESP-CODES\n< AUTH-RESP-CODE\n< PIPELINING\n< STLS\n< .",
    ),
    Case("P13", "pop3-start", "> STLS⏎USER bob⏎PASS pwd⏎\n< +OK …\nend\n="),
    Case("P15", "pop3-start", "> USER bob⏎\n< -ERR …\n="),
];

/// The bytes of a case's line.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '⏎' => out.extend_from_slice(b"\r\n"),
            '⟨' => {
                let inner: String = chars.by_ref().take_while(|c| *c != '⟩').collect();
                out.extend(base64::engine::general_purpose::STANDARD.encode(bytes(&inner)).into_bytes());
            }
            '\\' => match chars.next() {
                Some('0') => out.push(0),
                Some('n') => out.push(b'\n'),
                Some('r') => out.push(b'\r'),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).expect("two digits"));
                }
                Some(other) => out.extend_from_slice(format!("\\{other}").as_bytes()),
                None => out.push(b'\\'),
            },
            '*' if chars.peek().is_some_and(char::is_ascii_digit) => {
                let digits: String = chars.by_ref().take_while(|c| *c != '*').collect();
                let count: usize = digits.parse().expect("a number");
                // A whole line is repeated, or one byte.
                let unit = if out.ends_with(b"\r\n") { out.clone() } else { out[out.len() - 1..].to_vec() };
                out.extend(unit.repeat(count - 1));
            }
            plain => out.extend_from_slice(plain.to_string().as_bytes()),
        }
    }
    out
}

#[track_caller]
pub(super) fn fits(id: &str, expected: &str, line: Option<&str>) {
    let right = match (expected.strip_suffix('…'), line) {
        (Some(begin), Some(line)) => line.starts_with(begin),
        (None, Some(line)) => line == expected,
        (_, None) => false,
    };
    assert!(right, "{id}: expected {expected:?}, and there came {line:?}");
}

fn play(doors: &Doors, node: &MailNode, Case(id, listener, script): &Case, greeting: &str) {
    let mut talk = doors.talk(listener);
    fits(id, greeting, talk.hear().as_deref());
    go_on(talk, node, id, script);
}

/// The script of a case, on a connection that was greeted.
pub(super) fn go_on(mut talk: Talk, node: &MailNode, id: &str, script: &str) {
    let before = node.logins().len();
    for step in script.lines() {
        let (count, step) = match step.strip_prefix('*').and_then(|rest| rest.split_once('*')) {
            Some((count, rest)) if !step.starts_with("* ") => (count.parse().expect("a number"), rest),
            _ => (1, step),
        };
        for _ in 0..count {
            match step.split_at_checked(2) {
                Some(("> ", sent)) => talk.say(bytes(sent)),
                Some(("< ", expected)) => fits(id, expected, talk.hear().as_deref()),
                _ if step == "end" => assert_eq!(talk.hear(), None, "{id}: it should be over"),
                _ => {
                    let who = step.strip_prefix('=').unwrap_or_else(|| panic!("{id}: {step:?}"));
                    let asked = node.logins()[before..].iter().map(|(n, p)| format!("{n} {p}")).collect::<Vec<_>>();
                    assert_eq!(asked.join(", "), who.strip_prefix(' ').unwrap_or(who), "{id}");
                }
            }
        }
    }
}

#[test]
fn what_imap_programs_say_before_their_login_is_answered_right() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 SASL-IR AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    IMAP.iter().for_each(|case| play(&doors, &imap, case, &GREETING[2..]));
}

#[test]
fn what_pop3_programs_say_before_their_login_is_answered_right() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    POP3.iter().for_each(|case| play(&doors, &pop3, case, "+OK Doorward ready"));
}

#[test]
fn in_clear_text_no_password_is_taken() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start("[authentication]\nmode = \"back-end\"", &[("node-a", &imap, &pop3, "")]);
    for case in CLEAR {
        let (node, greeting) = if case.1.starts_with("imap") { (&imap, "* OK …") } else { (&pop3, "+OK …") };
        play(&doors, node, case, greeting);
    }
    doors.proxy.wait_for_log("login .*reason=\"clear-text\"", super::PATIENCE);
    assert!(doors.proxy.log().iter().all(|line| !line.contains("pwd")), "no password is in the log");
}

#[test]
fn a_byte_at_a_time_means_the_same() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    let mut talk = doors.talk("imap");
    talk.hear();
    for byte in b"a LOGIN {3+}\r\nbob {3+}\r\nno!\r\n" {
        talk.say([*byte]);
    }
    fits("I41", &format!("a {FAILED}"), talk.hear().as_deref());
    assert_eq!(imap.logins(), [("bob".to_owned(), "no!".to_owned())]);
}

#[test]
fn names_of_alpn_are_those_of_the_door() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    let client = || doors.proxy.client_of("imap-tls").host("localhost").tls(doors.certs.ca());
    for wrong in ["http/1.1", "h2"] {
        assert!(client().alpn(wrong).try_connect().is_err(), "{wrong} is not spoken there");
    }
    let mut talk = client().alpn("imap").connect();
    let greeting = talk.read_some().expect("a greeting");
    assert!(greeting.starts_with(b"* OK [CAPABILITY IMAP4rev1"), "{greeting:?}");
    talk.write("a LOGIN bob pwd\r\n");
    let answer = String::from_utf8(talk.read_some().expect("an answer")).expect("text");
    assert!(answer.starts_with("a OK"), "{answer}");
}

#[test]
fn a_program_that_says_nothing_is_told_goodbye() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start("[mail]\nlogin-timeout = \"300ms\"", &[("node-a", &imap, &pop3, "")]);
    let mut talk: Talk = doors.talk("imap");
    talk.hear();
    assert_eq!(talk.rest(), ["* BYE Login took too long"]);
}
