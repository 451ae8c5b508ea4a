//! Tokens, which go to the node as they came, and users of nodes who log in for others.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::Connection;

use super::node::{MailNode, Talk as AtNode};
use super::{Doors, Talk, USUAL};

const CHALLENGE: &str = r#"{"schemes":"bearer","scope":"mail","status":"invalid_token"}"#;
const MECHANISMS: &str = "mechanisms = [\"plain\", \"xoauth2\", \"oauthbearer\"]\n";

/// A node that takes the token `good`, by IMAP or POP3. What it is told is recorded: the mechanism and the response.
fn node(is_imap: bool, is_initial: bool) -> MailNode {
    let ir = if is_initial { "SASL-IR " } else { "" };
    MailNode::start(move |talk: &mut AtNode| {
        talk.say(&if is_imap {
            format!("* OK [CAPABILITY IMAP4rev1 {ir}AUTH=XOAUTH2 AUTH=OAUTHBEARER] node\r\n")
        } else {
            "+OK node\r\n".to_owned()
        });
        loop {
            let line = talk.line()?;
            if line == "CAPA" {
                talk.say("+OK\r\nSASL XOAUTH2 OAUTHBEARER\r\n.\r\n");
                continue;
            }
            let (tag, line) = if is_imap { line.split_once(' ')? } else { ("", line.as_str()) };
            let mut words = line.split(' ').skip(1);
            let Some(mechanism) = words.next() else {
                talk.say(&if is_imap { format!("{tag} OK\r\n") } else { "+OK\r\n".to_owned() });
                continue;
            };
            let response = match words.next() {
                Some(response) => response.to_owned(),
                None => {
                    talk.say("+ \r\n");
                    talk.line()?
                }
            };
            let text = String::from_utf8(STANDARD.decode(&response).ok()?).ok()?;
            talk.knows(mechanism, &text);
            let no = if is_imap { format!("{tag} NO") } else { "-ERR".to_owned() };
            if text.contains("Bearer good\u{1}") {
                talk.say(&if is_imap { format!("{tag} OK in\r\n") } else { "+OK in\r\n".to_owned() });
            } else {
                let said = format!("{{\"user\":\"secret\",{}", &CHALLENGE[1..]);
                talk.say(&format!("+ {}\r\n", STANDARD.encode(said)));
                let acknowledged = talk.line()?;
                talk.knows("acknowledged", &acknowledged);
                talk.say(&format!("{no} wrong token\r\n"));
            }
        }
    })
}

/// A connection by TLS, line by line.
struct Tls(Connection, String);

impl Tls {
    fn to(doors: &Doors, listener: &str) -> Self {
        Self(doors.proxy.client_of(listener).host("localhost").tls(doors.certs.ca()).connect(), String::new())
    }

    fn say(&mut self, text: &str) {
        self.0.write(text);
    }

    #[track_caller]
    fn hear(&mut self) -> String {
        loop {
            if let Some((line, rest)) = self.1.split_once("\r\n") {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.1 = rest;
                return line;
            }
            self.1.push_str(&String::from_utf8_lossy(&self.0.read_some().expect("an answer")));
        }
    }
}

fn xoauth2(user: &str, token: &str) -> String {
    STANDARD.encode(format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

fn oauthbearer(user: &str, token: &str) -> String {
    STANDARD.encode(format!("n,a={user},\u{1}host=localhost\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

fn with_tokens() -> String {
    format!("{USUAL}{MECHANISMS}")
}

#[test]
fn tokens_go_to_the_node_as_they_came_and_its_challenge_comes_back() {
    for is_initial in [true, false] {
        let (imap, pop3) = (node(true, is_initial), node(false, is_initial));
        let doors = Doors::start(&with_tokens(), &[("node-a", &imap, &pop3, "")]);
        let mut clear = doors.talk("imap");
        assert!(!clear.hear().expect("a greeting").contains("OAUTH"), "in the clear no token is taken");
        clear.say(format!("a AUTHENTICATE XOAUTH2 {}\r\n", xoauth2("bob", "good")));
        assert_eq!(clear.hear().as_deref(), Some("a NO Mechanism is not supported"));
        let mut tls = Tls::to(&doors, "imap-tls");
        let greeting = tls.hear();
        assert!(greeting.contains(" AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER]"), "{greeting}");
        // A wrong one, one of somebody whom nobody knows, and one that names nobody.
        tls.say(&format!("a AUTHENTICATE OAUTHBEARER {}\r\n", oauthbearer("bob", "bad")));
        assert_eq!(tls.hear(), format!("+ {}", STANDARD.encode(CHALLENGE)));
        tls.say("AQ==\r\n");
        assert_eq!(tls.hear(), "a NO [AUTHENTICATIONFAILED] Authentication failed");
        tls.say(&format!("b AUTHENTICATE OAUTHBEARER {}\r\n", oauthbearer("nobody", "good")));
        assert_eq!(tls.hear(), format!("+ {}", STANDARD.encode(CHALLENGE)), "as of one who is known");
        tls.say("AQ==\r\n");
        assert_eq!(tls.hear(), "b NO [AUTHENTICATIONFAILED] Authentication failed");
        tls.say(&format!("c AUTHENTICATE OAUTHBEARER {}\r\n", STANDARD.encode("n,,\u{1}auth=Bearer good\u{1}\u{1}")));
        assert_eq!(tls.hear(), "c NO [AUTHENTICATIONFAILED] Authentication failed");
        tls.say("d AUTHENTICATE XOAUTH2\r\n");
        assert_eq!(tls.hear(), "+ ");
        tls.say(&format!("{}\r\n", xoauth2("bob", "good")));
        assert_eq!(tls.hear(), "d OK Logged in");
        tls.say("e NOOP\r\n");
        assert_eq!(tls.hear(), "e OK");
        let asked: Vec<_> = imap.logins().into_iter().map(|(what, text)| format!("{what} {text}")).collect();
        let bearer = |token: &str| format!("OAUTHBEARER n,a=bob,\u{1}host=localhost\u{1}auth=Bearer {token}\u{1}\u{1}");
        let expected = [
            bearer("bad"),
            "acknowledged AQ==".to_owned(),
            "XOAUTH2 user=bob\u{1}auth=Bearer good\u{1}\u{1}".to_owned(),
        ];
        assert_eq!(asked, expected);
        assert!(doors.proxy.log().iter().all(|line| !line.contains("Bearer") && !line.contains("good")));
    }
}

#[test]
fn curl_logs_in_with_a_token_by_both_protocols() {
    let (imap, pop3) = (node(true, true), node(false, true));
    let doors = Doors::start(&with_tokens(), &[("node-a", &imap, &pop3, "")]);
    let curl = |scheme: &str, listener: &str, token: &str, node: &MailNode| {
        let url = format!("{scheme}://localhost:{}/", doors.proxy.address(listener).port());
        let mut command = Command::new("curl");
        command.args(["-sS", "--ssl-reqd", "--max-time", "60", "--user", "bob", "--oauth2-bearer", token, "--cacert"]);
        let ran = command.arg(doors.certs.ca()).args(["-X", "NOOP", "--head", &url]).output().expect("curl runs");
        let asked = node.logins().pop().expect("the node was asked");
        (ran.status.code(), asked.0)
    };
    let in_by = |mechanism: &str| (Some(0), mechanism.to_owned());
    assert_eq!(curl("imap", "imap-start", "good", &imap), in_by("OAUTHBEARER"));
    assert_eq!(curl("pop3", "pop3-start", "good", &pop3), in_by("OAUTHBEARER"));
    let denied = (Some(67), "acknowledged".to_owned());
    assert_eq!(curl("imap", "imap-start", "bad", &imap), denied, "CURLE_LOGIN_DENIED");
    assert_eq!(curl("pop3", "pop3-start", "bad", &pop3), denied);
}

#[test]
fn tokens_are_for_nodes_and_nobody_else_checks_one() {
    let (imap, pop3) = (node(true, true), node(false, true));
    let policy =
        "[[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\n[policy.settings]\ndefault = \"ldap-password\"\n";
    let doors = Doors::start(&format!("{}{policy}", with_tokens()), &[("node-a", &imap, &pop3, "")]);
    let mut tls = Tls::to(&doors, "imap-tls");
    tls.hear();
    tls.say(&format!("a AUTHENTICATE XOAUTH2 {}\r\n", xoauth2("bob", "good")));
    assert_eq!(tls.hear(), format!("+ {}", STANDARD.encode("{\"status\":\"invalid_token\"}")));
    tls.say("\r\n");
    assert_eq!(tls.hear(), "a NO [AUTHENTICATIONFAILED] Authentication failed");
    assert_eq!(imap.logins(), [], "no node was asked");
    doors.proxy.wait_for_log("login .*user=\"bob\".*reason=\"token\"", super::PATIENCE);
    // Without a policy the mode is known beforehand.
    let text = std::fs::read_to_string(doors.proxy.dir().join("doorward.toml")).expect("the configuration");
    let text = text.replace(policy, "").replace("mode = \"back-end\"", "mode = \"ldap-password\"");
    doors.proxy.write("doorward.toml", &text);
    let (status, said) = doors.proxy.admin("POST", "/reload");
    assert!(status >= 400 && said.contains("only a node can check"), "{status}: {said}");
}

/// A node that takes anybody who logs in as `master`.
fn master(capabilities: &'static str) -> MailNode {
    MailNode::start(move |talk| {
        talk.say(&format!("* OK [CAPABILITY {capabilities}] node\r\n"));
        let line = talk.line()?;
        let (tag, response) = (line.split(' ').next()?.to_owned(), line.split(' ').nth(3)?.to_owned());
        let text = String::from_utf8(STANDARD.decode(response).ok()?).ok()?;
        let said = text.replace('\0', "|");
        talk.knows("plain", &said);
        talk.say(&format!("{tag} {} in\r\n", if said.ends_with("master|hush") { "OK" } else { "NO" }));
        talk.line().map(drop)
    })
}

#[test]
fn a_master_user_logs_in_for_others_where_doorward_has_checked_the_password() {
    let extra = USUAL.replace("\"back-end\"", "\"ldap-password\"");
    let keys = |form: &str| {
        let keys =
            "mail-login = \"master\"\nmail-master-user = \"master\"\nmail-master-password-file = \"master.secret\"\n";
        format!("{keys}{form}")
    };
    for (form, expected) in [("", "bob|master|hush"), ("mail-master-form = '\"'\n", "|bob\"master|hush")] {
        let (imap, pop3) = (master("IMAP4rev1 SASL-IR AUTH=PLAIN"), MailNode::pop3(true));
        let doors = Doors::start_with(&extra, &[("node-a", &imap, &pop3, &keys(form))], &[("master.secret", "hush\n")]);
        let answer = |name: &str, password: &str| {
            let mut talk: Talk = doors.talk("imap");
            talk.hear();
            talk.say(format!("a LOGIN {name} {password}\r\n"));
            talk.hear().unwrap_or_default()
        };
        assert!(answer("bob", "wrong").starts_with("a NO [AUTHENTICATIONFAILED]"));
        assert_eq!(imap.logins(), [], "whoever has no password gets no master user");
        assert!(answer("bob", "pwd").starts_with("a OK"), "{form}");
        assert_eq!(imap.logins(), [("plain".to_owned(), expected.to_owned())]);
        if !form.is_empty() {
            assert!(
                answer("\"b\\\"o\\\\b\"", "pwd").starts_with("a NO [AUTHENTICATIONFAILED]"),
                "its name has the separator"
            );
            assert_eq!(imap.logins().len(), 1, "the node was not asked");
        }
        let text = std::fs::read_to_string(doors.proxy.dir().join("doorward.toml")).expect("the configuration");
        doors.proxy.write("doorward.toml", text.replace("mode = \"ldap-password\"", "mode = \"back-end\""));
        let (status, said) = doors.proxy.admin("POST", "/reload");
        assert!(status >= 400 && said.contains("mail-login"), "{status}: {said}");
        assert!(doors.proxy.log().iter().all(|line| !line.contains("hush")));
    }
}

#[test]
fn a_master_user_whom_the_node_refuses_is_a_fault_and_no_wrong_password() {
    let imap = MailNode::start(|talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] node\r\n");
        let tag = talk.line()?.split(' ').next()?.to_owned();
        talk.say(&format!("{tag} NO [AUTHENTICATIONFAILED] wrong\r\n"));
        talk.line().map(drop)
    });
    let others = |greeting: &'static str, answers: &'static [&'static str]| {
        MailNode::start(move |talk| {
            talk.say(greeting);
            for answer in answers {
                talk.line()?;
                talk.say(answer);
            }
            talk.line().map(drop)
        })
    };
    let pop3 = others("+OK\r\n", &["+OK\r\nSASL PLAIN\r\n.\r\n", "-ERR [AUTH] wrong\r\n"]);
    let sieve = others("\"SASL\" \"PLAIN\"\r\nOK\r\n", &["NO \"wrong\"\r\n"]);
    let submission = others("220 x\r\n", &["250-x\r\n250 AUTH PLAIN\r\n", "535 5.7.8 wrong\r\n"]);
    let keys = format!(
        "mail-login = \"master\"\nmail-master-user = \"master\"\nmail-master-password-file = \"master.secret\"\n\
         sieve = \"sieve://{}\"\nsubmission = \"submission://{}\"\n",
        sieve.address(),
        submission.address()
    );
    let extra = USUAL.replace("\"back-end\"", "\"ldap-password\"").replace("user-failures = 1000", "user-failures = 1");
    let doors = Doors::start_with(&extra, &[("node-a", &imap, &pop3, &keys)], &[("master.secret", "wrong\n")]);
    // As often as would lock the user out, if it counted.
    for _ in 0..3 {
        for (listener, lines, says, expected) in [
            ("imap", 1, "a LOGIN bob pwd\r\n", "a NO [SERVERBUG] Mailbox cannot be found"),
            ("pop3", 1, "AUTH PLAIN AGJvYgBwd2Q=\r\n", "-ERR [SYS/PERM] Mailbox cannot be found"),
            ("sieve", 5, "AUTHENTICATE \"PLAIN\" \"AGJvYgBwd2Q=\"\r\n", "NO (TRYLATER) \"Mailbox cannot be found\""),
            ("submission", 7, "AUTH PLAIN AGJvYgBwd2Q=\r\n", "454 4.7.0 Mailbox cannot be found"),
        ] {
            let mut talk: Talk = doors.talk(listener);
            if listener == "submission" {
                talk.say("EHLO x\r\n");
            }
            (0..lines).for_each(|_| _ = talk.hear());
            talk.say(says);
            assert_eq!(talk.hear().as_deref(), Some(expected), "{listener}");
        }
    }
    doors.proxy.wait_for_log("ERROR .*a mail server does not let its master user in", super::PATIENCE);
    assert!(doors.proxy.log().iter().all(|line| !line.contains("reason=\"wrong\"")), "nothing counts as a guess");
}

#[test]
fn a_back_end_without_a_server_of_the_protocol_is_a_fault_and_no_wrong_password() {
    for mode in ["back-end", "ldap-password"] {
        let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
        let extra = USUAL.replace("\"back-end\"", &format!("{mode:?}"));
        let doors = Doors::start(&extra, &[("node-a", &imap, &pop3, "")]);
        let mut talk = doors.talk("submission");
        talk.say("EHLO x\r\nAUTH PLAIN AGJvYgBwd2Q=\r\n");
        (0..7).for_each(|_| _ = talk.hear());
        assert_eq!(talk.hear().as_deref(), Some("454 4.7.0 Mailbox cannot be found"), "{mode}");
    }
}
