//! Many sessions at once: none is lost by a reload or an upgrade, and nobody gets a byte of another user's.

use std::fmt::Write as _;

use rustix::process::{Resource, getrlimit};

use super::node::MailNode;
use super::{Doors, Talk, USUAL};

/// Idle sessions: as many as the open files allow, of which each takes four here.
fn most() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(512) / 4).unwrap_or(usize::MAX).min(2000)
}

fn who(talk: &mut Talk) -> Option<String> {
    talk.say("x NOOP\r\n");
    let user = talk.hear();
    assert_eq!(talk.hear().as_deref(), Some("x OK done"));
    user
}

#[test]
fn no_idle_session_is_lost_by_a_reload_or_an_upgrade() {
    let (imap, pop3) = (MailNode::imap("IMAP4rev1 SASL-IR AUTH=PLAIN"), MailNode::pop3(true));
    let extra =
        format!("drain-timeout = \"1h\"\n{USUAL}user-max-connections = 0\n[session]\nkey-file = \"session.keys\"\n");
    let mut doors = Doors::start(&extra, &[("node-a", &imap, &pop3, ""), ("node-b", &imap, &pop3, "")]);
    let users = ["alice", "carol"];
    let mut sessions: Vec<(&str, Talk)> = (0..most())
        .map(|n| (users[n % 2], doors.talk("imap").logged_in(users[n % 2], &format!("{}-secret", users[n % 2]))))
        .collect();
    let old = doors.proxy.status()["pid"].clone();
    let text = std::fs::read_to_string(doors.proxy.dir().join("doorward.toml")).expect("the configuration");
    doors.proxy.write("doorward.toml", text.replace("max-errors = 20", "max-errors = 19"));
    let (status, said) = doors.proxy.admin("POST", "/reload");
    assert_eq!(status, 200, "{said}");
    assert_eq!(doors.proxy.status()["generation"], 2);
    let check = |sessions: &mut Vec<(&str, Talk)>, when: &str| {
        for (name, talk) in sessions {
            assert_eq!(who(talk), Some(format!("* USER {name}")), "{when}");
        }
    };
    check(&mut sessions, "after the reload");
    let (status, said) = doors.proxy.admin("POST", "/upgrade");
    assert_eq!(status, 200, "{said}");
    assert_ne!(doors.proxy.status()["pid"], old, "another process serves");
    check(&mut sessions, "after the upgrade");
    let mut new = doors.talk("imap").logged_in("alice", "alice-secret");
    assert_eq!(who(&mut new).as_deref(), Some("* USER alice"));
    drop(sessions);
    assert!(doors.proxy.program().wait(super::PATIENCE).success(), "the old process ends with its last session");
    assert_eq!(who(&mut new).as_deref(), Some("* USER alice"));
    rustix::process::kill_process(pid(&doors), rustix::process::Signal::KILL).expect("it runs");
}

/// The process that serves now.
fn pid(doors: &Doors) -> rustix::process::Pid {
    let pid = doors.proxy.status()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(rustix::process::Pid::from_raw).expect("a process")
}

#[test]
fn fifty_users_log_in_forty_times_and_leave_at_every_point_and_nobody_gets_anothers_bytes() {
    const USERS: usize = 50;
    const LOGINS: usize = 40;
    let name = |user: usize| format!("u{user}");
    let mut people = String::new();
    for user in 0..USERS {
        let (name, node) = (name(user), if user % 2 == 0 { "node-a" } else { "node-b" });
        let _ =
            write!(people, "dn: uid={name},dc=test\nuid: {name}\nmailHost: {node}\nuserPassword: {name}-secret\n\n");
    }
    let (a, b) = (MailNode::imap("IMAP4rev1 SASL-IR AUTH=PLAIN"), MailNode::imap("IMAP4rev1"));
    let pop3 = MailNode::pop3(true);
    let nodes = [("node-a", &a, &pop3, ""), ("node-b", &b, &pop3, "")];
    let doors = Doors::start_with(USUAL, &nodes, &[("people.ldif", &people)]);
    std::thread::scope(|scope| {
        for first in 0..10 {
            let (doors, name) = (&doors, &name);
            scope.spawn(move || {
                for login in 0..LOGINS {
                    for user in (first..USERS).step_by(10) {
                        log_in(doors, &name(user), (login + user) % 10);
                    }
                }
            });
        }
    });
    for (node, rest) in [(&a, 0), (&b, 1)] {
        let wrong = node.logins().into_iter().find(|(name, password)| {
            let number: usize = name.trim_start_matches('u').parse().expect("a user");
            number % 2 != rest || *password != format!("{name}-secret")
        });
        assert_eq!(wrong, None, "each user has a node and a password");
    }
    doors.proxy.wait_for_status("no session is left", |status| {
        status["backends"].as_array().expect("nodes").iter().all(|node| node["mail-sessions"] == 0)
    });
}

/// A login that is broken off at one of ten points, or not at all.
fn log_in(doors: &Doors, name: &str, point: usize) {
    let mut talk = doors.talk("imap");
    let whole = format!("in LOGIN {name} {name}-secret\r\n");
    match point {
        0 => {}
        1 => _ = talk.hear(),
        2 => talk.say(&whole[..whole.len() / 2]),
        3 => talk.say(format!("in LOGIN {name} {{12")),
        4 => talk.say(format!("in LOGIN {{{}+}}\r\n{}", name.len(), &name[..1])),
        5 => talk.say("in AUTHENTICATE PLAIN\r\n"),
        6 => talk.say(&whole),
        7 => {
            talk.say(format!("{whole}x NOOP\r\ny NO"));
            talk.hear();
            assert!(talk.hear().unwrap_or_default().starts_with("in OK"), "{name}");
        }
        8 => {
            // All at once, and the end of what is sent behind it.
            talk.say(format!("{whole}x NOOP\r\n"));
            talk.no_more();
            talk.hear();
            assert!(talk.hear().unwrap_or_default().starts_with("in OK"), "{name}");
            assert_eq!(talk.rest(), [format!("* USER {name}"), "x OK done".to_owned()]);
        }
        _ => {
            let mut talk = talk.logged_in(name, &format!("{name}-secret"));
            for _ in 0..3 {
                assert_eq!(who(&mut talk), Some(format!("* USER {name}")));
            }
        }
    }
}
