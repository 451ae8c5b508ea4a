//! Mail servers that are hostile, broken or merely odd: what programs are told, and what such a server gets to know.

use super::node::{MailNode, Talk as AtNode};
use super::{Doors, Talk, USUAL};

/// What alice's program hears from a door whose node does this.
fn answer(more: &str, script: impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static) -> (String, Doors, MailNode) {
    let (imap, pop3) = (MailNode::start(script), MailNode::pop3(true));
    let doors = Doors::start(
        &format!("{USUAL}login-timeout = \"50s\""),
        &[("node-a", &imap, &pop3, &format!("connect-timeout = \"2s\"\n{more}"))],
    );
    let mut talk = doors.talk("imap");
    talk.hear();
    talk.say("a LOGIN bob pwd\r\n");
    let answer = talk.hear().unwrap_or_default();
    // Whatever the node does, the program can go on.
    talk.say("b NOOP\r\n");
    if answer.starts_with("a NO") {
        assert_eq!(talk.hear().as_deref(), Some("b OK Completed"), "{answer}");
    }
    (answer, doors, imap)
}

#[track_caller]
fn check(more: &str, expected: &str, asked: usize, script: impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static) {
    let (answer, _doors, node) = answer(more, script);
    assert!(answer.starts_with(expected), "expected {expected:?}, and there came {answer:?}");
    assert_eq!(node.logins().len(), asked, "{expected}");
    if asked == 0 {
        let lines = node.lines();
        // As a line, or in a response of PLAIN.
        let secret = lines.iter().find(|line| line.contains("pwd") || line.contains("AGJvYgBwd2Q="));
        assert_eq!(secret, None, "{expected}: it got {lines:?}");
    }
}

/// A node that says this and no more.
fn greets(text: impl Into<String>) -> impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static {
    let text = text.into();
    move |talk| {
        talk.say(&text);
        talk.line().map(drop)
    }
}

/// A node that answers a login like this, by its tag.
fn answers(answer: fn(&str) -> String) -> impl Fn(&mut AtNode) -> Option<()> + Send + Sync + 'static {
    move |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] node\r\n");
        let line = talk.line()?;
        talk.knows("somebody", &line);
        talk.say(&answer(line.split(' ').next()?));
        talk.line().map(drop)
    }
}

const UNAVAILABLE: &str = "a NO [UNAVAILABLE]";

#[test]
fn nodes_that_cannot_be_trusted_get_no_password() {
    check("", UNAVAILABLE, 0, greets("* PREAUTH welcome\r\n"));
    check("", UNAVAILABLE, 0, greets("* BYE full\r\n"));
    check("", UNAVAILABLE, 0, greets("220 smtp\r\n"));
    check("", UNAVAILABLE, 0, |talk| {
        talk.line();
        None
    });
    check("", UNAVAILABLE, 0, greets("x".repeat(1 << 20)));
    check("mail-start-tls = true", UNAVAILABLE, 0, |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] no STARTTLS\r\n");
        talk.line().map(drop)
    });
    check("mail-start-tls = true", UNAVAILABLE, 0, |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 STARTTLS] node\r\n");
        let tag = talk.line()?.split(' ').next()?.to_owned();
        talk.say(&format!("{tag} OK go\r\n* OK injected\r\n"));
        talk.line().map(drop)
    });
    check("mail-start-tls = true", UNAVAILABLE, 0, |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] node\r\n");
        let tag = talk.line()?.split(' ').next()?.to_owned();
        talk.say(&format!("{tag} NO not now\r\n"));
        talk.line().map(drop)
    });
    check("", UNAVAILABLE, 0, |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1] node\r\n");
        let tag = talk.line()?.split(' ').next()?.to_owned();
        talk.say(&format!("{tag} OK whoever you are\r\n"));
        talk.line().map(drop)
    });
    check("", "a NO [SERVERBUG]", 0, |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] node\r\n");
        talk.line().map(drop)
    });
}

#[test]
fn odd_answers_to_a_login_are_no_way_in() {
    check("", UNAVAILABLE, 1, answers(|_| "other OK in\r\n".to_owned()));
    check("", UNAVAILABLE, 1, answers(|_| "* OK x\r\n".repeat(20_000)));
    check("", UNAVAILABLE, 1, answers(|_| "+ more\r\n".to_owned()));
    check("", UNAVAILABLE, 1, answers(|tag| format!("{tag} BAD what\r\n")));
    check("", UNAVAILABLE, 1, answers(|tag| format!("{tag} NO [UNAVAILABLE] later\r\n")));
    check(
        "",
        "a NO [AUTHENTICATIONFAILED] Authentication failed",
        1,
        answers(|tag| format!("{tag} NO no such user bob\r\n")),
    );
    check(
        "",
        "a NO [AUTHENTICATIONFAILED] Authentication failed",
        1,
        answers(|tag| format!("{tag} NO [REFERRAL imap://evil/] x\r\n")),
    );
    check("", "a NO [EXPIRED]", 1, answers(|tag| format!("{tag} NO [EXPIRED] x\r\n")));
    check("", UNAVAILABLE, 1, |talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] node\r\n");
        let line = talk.line()?;
        talk.knows("somebody", &line);
        None
    });
}

#[test]
fn capabilities_are_the_nodes_after_the_login() {
    let (untagged, ..) =
        answer("", answers(|tag| format!("* CAPABILITY IMAP4rev1 SORT AUTH=PLAIN\r\n{tag} OK in\r\n")));
    assert_eq!(untagged, "a OK [CAPABILITY IMAP4rev1 SORT] Logged in");
    let (none, ..) = answer("", answers(|tag| format!("{tag} OK in\r\n")));
    assert_eq!(none, "a OK Logged in");
    let (hidden, ..) =
        answer("", answers(|tag| format!("{tag} OK [CAPABILITY IMAP4rev1 STARTTLS UNAUTHENTICATE IDLE] in\r\n")));
    assert_eq!(hidden, "a OK [CAPABILITY IMAP4rev1 IDLE] Logged in");
}

#[test]
fn what_a_node_says_behind_its_answer_reaches_the_program_once_and_in_order() {
    let much: String = (0..20_000).map(|n| format!("* {n} EXISTS\r\n")).collect();
    let said = much.clone();
    let (imap, pop3) = (
        MailNode::start(move |talk| {
            talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] node\r\n");
            let line = talk.line()?;
            talk.say(&format!("{} OK in\r\n{said}", line.split(' ').next()?));
            None
        }),
        MailNode::pop3(true),
    );
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    let mut talk: Talk = doors.talk("imap").logged_in("bob", "pwd");
    let heard: String = talk.rest().iter().map(|line| format!("{line}\r\n")).collect();
    assert!(heard == much, "{} bytes instead of {}", heard.len(), much.len());
}

#[test]
fn each_way_to_log_in_at_a_node_carries_any_name() {
    for capabilities in ["IMAP4rev1 SASL-IR AUTH=PLAIN", "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1", "IMAP4rev1 ID AUTH=PLAIN"]
    {
        let (imap, pop3) = (MailNode::imap(capabilities), MailNode::pop3(capabilities.contains("SASL-IR")));
        let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "mail-client-address = \"id\"")]);
        for (typed, name) in [("bob", "bob"), ("\"b\\\"o\\\\b\"", "b\"o\\b"), ("müller", "müller")] {
            let mut talk = doors.talk("imap").logged_in(typed, "pwd");
            talk.say("x NOOP\r\n");
            assert_eq!(talk.hear(), Some(format!("* USER {name}")), "{capabilities}");
            let mut talk = doors.talk("pop3");
            talk.hear();
            talk.say(format!("USER {name}\r\nPASS pwd\r\nSTAT\r\n"));
            let heard: Vec<_> = (0..3).filter_map(|_| talk.hear()).collect();
            assert_eq!(heard, ["+OK".to_owned(), "+OK Logged in".to_owned(), format!("+OK {name}")], "{capabilities}");
        }
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_left_alone_and_comes_back() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    let config = std::fs::read_to_string(doors.proxy.dir().join("doorward.toml")).expect("the configuration");
    let away = config.replace(&format!("imap://{}", imap.address()), "imap://127.0.0.1:1");
    doors.proxy.write("doorward.toml", &away);
    assert_eq!(doors.proxy.admin("POST", "/reload").0, 200);
    let try_it = |expected: &str| {
        let mut talk = doors.talk("imap");
        talk.hear();
        talk.say("a LOGIN bob pwd\r\n");
        let answer = talk.hear().unwrap_or_default();
        assert!(answer.starts_with(expected), "{answer}");
    };
    (0..3).for_each(|_| try_it(UNAVAILABLE));
    doors.proxy.wait_for_log("a mail server is down", super::PATIENCE);
    // POP3 of the same node has a health of its own.
    let mut talk = doors.talk("pop3");
    talk.hear();
    talk.say("USER bob\r\nPASS pwd\r\n");
    assert_eq!([talk.hear(), talk.hear()], [Some("+OK".to_owned()), Some("+OK Logged in".to_owned())]);
    doors.proxy.write("doorward.toml", &config);
    assert_eq!(doors.proxy.admin("POST", "/reload").0, 200);
    try_it("a OK");
}

#[test]
fn nobody_goes_back_before_the_login_where_a_node_would() {
    let imap = MailNode::start(|talk| {
        talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] node\r\n");
        let line = talk.line()?;
        talk.say(&format!(
            "{} OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE COMPRESS=DEFLATE IDLE] in\r\n",
            line.split(' ').next()?
        ));
        loop {
            let line = talk.line()?;
            talk.say(&format!("{} OK done\r\n", line.split(' ').next()?));
        }
    });
    let pop3 = MailNode::pop3(true);
    let doors = Doors::start(USUAL, &[("node-a", &imap, &pop3, "")]);
    let session = || {
        let mut talk = doors.talk("imap");
        talk.hear();
        talk.say("a LOGIN bob pwd\r\n");
        assert_eq!(talk.hear().as_deref(), Some("a OK [CAPABILITY IMAP4rev1 IDLE] Logged in"));
        talk
    };
    for refused in
        ["b UNAUTHENTICATE\r\nc LOGIN alice x\r\n", "b compress DEFLATE\r\n", "x {9}\r\nb unauthenticate \r\n"]
    {
        let mut talk = session();
        talk.say("n NOOP\r\n");
        assert_eq!(talk.hear().as_deref(), Some("n OK done"));
        talk.say(refused);
        assert_eq!(talk.rest().last().map(String::as_str), Some("* BYE Session ends"), "{refused}");
    }
    // What came with the login is looked at as well.
    let mut talk = doors.talk("imap");
    talk.hear();
    talk.say("a LOGIN bob pwd\r\nb UNAUTHENTICATE\r\nc NOOP\r\n");
    let said = talk.rest();
    assert_eq!(said.last().map(String::as_str), Some("* BYE Session ends"), "{said:?}");
    assert!(!imap.lines().iter().any(|line| line.starts_with("c ")), "{:?}", imap.lines());
    doors.proxy.wait_for_log("mail session .*ended=\"refused\"", super::PATIENCE);
}
