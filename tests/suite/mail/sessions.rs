//! Sessions of mail programs: whose they are, how they end, and that a reload leaves them alone.

use std::sync::Barrier;

use super::node::MailNode;
use super::{Doors, PATIENCE, Talk, USUAL};

fn doors(extra: &str) -> (Doors, [MailNode; 3]) {
    let nodes =
        [MailNode::imap("IMAP4rev1 SASL-IR AUTH=PLAIN"), MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true)];
    let [a, b, pop3] = &nodes;
    let doors = Doors::start(&format!("{USUAL}{extra}"), &[("node-a", a, pop3, ""), ("node-b", b, pop3, "")]);
    (doors, nodes)
}

fn who(talk: &mut Talk) -> Option<String> {
    talk.say("x NOOP\r\n");
    let user = talk.hear();
    talk.hear();
    user
}

#[test]
fn every_mode_lets_the_right_ones_in() {
    for mode in ["ldap-password", "back-end"] {
        let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
        let extra = USUAL.replace("\"back-end\"", &format!("{mode:?}"));
        let doors = Doors::start(&extra, &[("node-a", &imap, &pop3, ""), ("node-b", &imap, &pop3, "")]);
        for (name, password, right) in [
            ("alice", "alice-secret", true),
            ("alice@a.test", "alice-secret", true),
            ("alice", "no", false),
            ("nobody", "nobody", false),
        ] {
            let mut talk = doors.talk("imap");
            talk.hear();
            talk.say(format!("a LOGIN {name} {password}\r\n"));
            let answer = talk.hear().unwrap_or_default();
            let expected = if right { "a OK" } else { "a NO [AUTHENTICATIONFAILED] Authentication failed" };
            assert!(answer.starts_with(expected), "{mode} {name}: {answer}");
        }
    }
}

#[test]
fn many_users_at_once_each_get_their_own_node_and_nobody_elses_bytes() {
    let (doors, _nodes) = doors("user-max-connections = 0\n");
    let (threads, gate) = (12, Barrier::new(12));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (doors, gate) = (&doors, &gate);
            scope.spawn(move || {
                gate.wait();
                for round in 0..20 {
                    let (name, password) =
                        if (thread + round) % 2 == 0 { ("alice", "alice-secret") } else { ("carol", "carol-secret") };
                    let mut talk = doors.talk("imap");
                    // Some leave at each point.
                    match round % 5 {
                        0 => continue,
                        1 => {
                            talk.say(format!("a LOGIN {name} {{12"));
                            continue;
                        }
                        2 => {
                            talk.say(format!("a LOGIN {name} {password}\r\n"));
                            continue;
                        }
                        _ => {}
                    }
                    let mut talk = talk.logged_in(name, password);
                    assert_eq!(who(&mut talk), Some(format!("* USER {name}")));
                }
            });
        }
    });
    doors.proxy.wait_for_status("no session is left", |status| {
        status["backends"].as_array().expect("nodes").iter().all(|node| node["mail-sessions"] == 0)
    });
}

#[test]
fn a_reload_leaves_sessions_alone_also_of_a_node_that_is_gone() {
    let (doors, _nodes) = doors("");
    let (mut alice, mut carol) =
        (doors.talk("imap").logged_in("alice", "alice-secret"), doors.talk("imap").logged_in("carol", "carol-secret"));
    let config = std::fs::read_to_string(doors.proxy.dir().join("doorward.toml")).expect("the configuration");
    let begin = config.find("[[backend]]\nname = \"node-b\"").expect("the node");
    doors.proxy.write("doorward.toml", &config[..begin]);
    assert_eq!(doors.proxy.admin("POST", "/reload").0, 200);
    assert_eq!(who(&mut alice).as_deref(), Some("* USER alice"));
    assert_eq!(who(&mut carol).as_deref(), Some("* USER carol"));
    let mut talk = doors.talk("imap");
    talk.hear();
    talk.say("a LOGIN carol carol-secret\r\n");
    let answer = talk.hear().unwrap_or_default();
    assert!(answer.starts_with("a NO"), "{answer}");
}

#[test]
fn sessions_end_by_kick_by_revocation_and_when_the_node_ends() {
    let (doors, _nodes) = doors("");
    let session = |name: &str| doors.talk("imap").logged_in(name, &format!("{name}-secret"));
    let (mut alice, mut carol) = (session("alice"), session("carol"));
    assert_eq!(
        doors.proxy.admin("POST", "/kick?user=alice@a.test").1.trim(),
        "{\"kicked\":0}",
        "an address is no session's user"
    );
    assert_eq!(doors.proxy.admin("POST", "/kick?user=alice").1.trim(), "{\"kicked\":1}");
    let (status, said) = doors.proxy.admin("POST", "/kick?node=node-z");
    assert!(status == 404 && said.contains("no back-end is named"), "{status}: {said}");
    assert_eq!(alice.rest(), ["* BYE Session ends"]);
    assert_eq!(who(&mut carol).as_deref(), Some("* USER carol"), "nobody else's ends");
    assert_eq!(doors.proxy.admin("POST", "/revoke?user=CAROL").0, 200);
    assert_eq!(carol.rest(), ["* BYE Session ends"]);
    let mut alice = session("alice");
    alice.say("q LOGOUT\r\n");
    assert_eq!(alice.rest(), ["* USER alice", "* BYE", "q OK done"]);
    let mut alice = session("alice");
    alice.say("x NOOP\r\n");
    alice.no_more();
    assert_eq!(alice.rest(), ["* USER alice", "x OK done"], "who ends his half still gets the answers");
    let lines = || {
        doors.proxy.log().into_iter().filter(|line| line.contains("mail session ") && line.contains("user=\"alice\""))
    };
    doors.proxy.wait_for_log("mail session .*user=\"alice\".*received=8 .*ended=\"whole\"", PATIENCE);
    assert_eq!(
        lines().filter(|line| line.contains("ended=\"kicked\"")).count(),
        1,
        "{:?}",
        lines().collect::<Vec<_>>()
    );
}

#[test]
fn operators_see_sessions_of_mail_programs_at_the_command_line() {
    let (doors, _nodes) = doors("");
    let session = |name: &str| doors.talk("imap").logged_in(name, &format!("{name}-secret"));
    let _open = [session("alice"), session("carol"), session("alice")];
    let socket = doors.proxy.dir().join("admin.sock").display().to_string();
    let ctl = |arguments: &[&str]| {
        let ran = harness::Setup::new().run(&[&["ctl", "--socket", &socket], arguments].concat());
        assert!(ran.status.success(), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let all = ctl(&["sessions"]);
    assert!(all.contains("3 sessions of mail programs (imap 3)") && all.matches("127.0.0.0/24").count() == 3, "{all}");
    let of_node = ctl(&["sessions", "--node", "node-b"]);
    assert!(of_node.contains("1 sessions of mail programs") && !of_node.contains("alice"), "{of_node}");
    let json: serde_json::Value = serde_json::from_str(&ctl(&["--json", "sessions", "--user", "ALICE"])).expect("JSON");
    assert_eq!(json["mail"]["users"][0]["sessions"], 2, "{json}");
    // What is listed is what `revoke` takes.
    ctl(&["revoke", "--session", json["mail"]["sessions"][0]["session"].as_str().expect("an id")]);
    doors.proxy.wait_for_status("one is over", |status| status["mail-sessions"]["imap"] == 2);
    assert!(ctl(&["status"]).contains("sessions of mail programs: imap 2"));
}

#[test]
fn a_user_has_so_many_sessions_and_the_next_one_is_told() {
    let (doors, _nodes) = doors("user-max-connections = 2\n");
    let (_one, two) = (doors.talk("imap").logged_in("bob", "pwd"), doors.talk("imap").logged_in("bob", "pwd"));
    let answer = |talk: &mut Talk| {
        talk.hear();
        talk.say("a LOGIN bob pwd\r\n");
        talk.hear().unwrap_or_default()
    };
    assert!(answer(&mut doors.talk("imap")).starts_with("a NO [LIMIT]"));
    let mut carol = doors.talk("imap");
    carol.hear();
    carol.say("a LOGIN carol carol-secret\r\n");
    assert!(carol.hear().unwrap_or_default().starts_with("a OK"));
    drop(two);
    doors.proxy.wait_for_status("one is gone", |status| status["backends"][0]["mail-sessions"] == 1);
    assert!(answer(&mut doors.talk("imap")).starts_with("a OK"));
}

#[test]
fn wrong_passwords_of_mail_programs_are_throttled_with_those_of_browsers() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
    let extra = USUAL.replace("\"back-end\"", "\"ldap-password\"").replace("max-failures = 1000", "max-failures = 4");
    let doors = Doors::start(&extra, &[("node-a", &imap, &pop3, "")]);
    let wrong = |password: &str| {
        let mut talk = doors.talk("imap");
        talk.hear();
        talk.say(format!("a LOGIN bob {password}\r\n"));
        assert!(talk.hear().unwrap_or_default().starts_with("a NO [AUTHENTICATIONFAILED]"), "{password}");
    };
    // A phone that tries the same password again and again counts once.
    (0..20).for_each(|_| wrong("stored"));
    wrong("other");
    for password in ["third", "fourth"] {
        let answer = doors.proxy.client().login("bob", password).pop().expect("an answer");
        assert_eq!(answer.status, 403, "{password}");
    }
    let mut talk = doors.talk("imap");
    talk.hear();
    talk.say("a LOGIN bob pwd\r\n");
    assert_eq!(talk.hear().as_deref(), Some("a NO [UNAVAILABLE] Temporarily not available"));
    let answer = doors.proxy.client().login("bob", "pwd").pop().expect("an answer");
    assert_eq!(answer.status, 429, "at the other door too");
}

#[test]
fn a_process_that_ends_says_goodbye_between_two_answers() {
    let (mut doors, _nodes) = doors("");
    let mut waiting = doors.talk("imap");
    waiting.hear();
    let mut alice = doors.talk("imap").logged_in("alice", "alice-secret");
    doors.proxy.begin_to_terminate();
    assert_eq!(waiting.rest(), ["* BYE Server is shutting down"]);
    let said = alice.rest();
    assert!(said.is_empty() || said == ["* BYE Session ends"], "{said:?}");
    assert!(doors.proxy.terminate().success());
}
