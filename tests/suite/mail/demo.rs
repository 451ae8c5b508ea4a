//! The demo's doors for mail programs: that the programs find each user's mailbox there.

use std::process::Command;

use harness::{Client, Demo};

use super::Talk;
use super::programs::{At, Person, mbsync, neomutt, offlineimap};
use crate::admin::{form, token_of};

#[test]
fn libraries_and_curl_read_every_users_mail() {
    let demo = Demo::start();
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/suite/mail/demo.py"));
    command.args(["imap", "pop3"].map(|protocol| demo.mail(protocol).port().to_string()));
    for user in demo.users() {
        command.args([user.name.as_str(), &user.password, if user.node.is_some() { "in" } else { "out" }]);
    }
    let ran = command.output().expect("Python runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said.lines().count(), demo.users().len(), "{said}");
    let curl = |path: &str, protocol: &str| {
        let url = format!("{protocol}://{}/{path}", demo.mail(protocol));
        let ran = Command::new("curl").args(["-sS", "-m", "60", "-u", "alice:alice-demo", &url]).output();
        String::from_utf8(ran.expect("curl runs").stdout).expect("text")
    };
    assert_eq!(curl("", "imap").trim(), "* LIST (\\HasNoChildren) \"/\" INBOX");
    let message = curl("INBOX;MAILINDEX=2", "imap");
    assert!(message.contains("\r\nTo: Alice Archer <alice@blue.localhost>\r\n"), "{message}");
    assert_eq!(curl("2", "pop3"), message, "the same by both");
}

#[test]
fn mail_programs_show_a_mailbox() {
    let demo = Demo::start();
    let at = At { port: demo.mail("imap").port(), tls: None };
    let person = Person { name: "zoë", password: "zoe-demo" };
    let by_mbsync = mbsync(&at, &person);
    assert_eq!(by_mbsync.len(), 6);
    assert!(by_mbsync.iter().all(|message| message.contains("\nDear Zoë,\n")), "{by_mbsync:?}");
    assert_eq!(offlineimap(&at, &person).len(), 6);
    let shown = neomutt(&at, &Person { name: "carol", password: "carol-demo" });
    assert!(shown.contains("\nTo: Carol Castillo <carol@blue.localhost>\n"), "{shown}");
}

#[test]
fn a_folder_from_before_the_demo_had_mail_still_runs() {
    let folder = harness::temp_dir();
    let start = || Demo::start_in(harness::Setup::new().arg("--dir").arg(folder.path().to_str().expect("a path")));
    let mut demo = start();
    demo.mail("imap");
    demo.program().signal(rustix::process::Signal::TERM);
    assert!(demo.program().wait(super::PATIENCE).success());
    let file = folder.path().join("doorward.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let begin = text.find("# For mail programs").expect("the listeners");
    let end = text.find("# A limit class").expect("what follows them");
    let old = format!("{}{}", &text[..begin], &text[end..]);
    let old: Vec<_> = old.lines().filter(|line| !line.starts_with("imap = ") && !line.starts_with("pop3 = ")).collect();
    std::fs::write(&file, old.join("\n")).expect("written");
    let demo = start();
    demo.client().get("/").expect(200);
    assert!(!demo.has_mail());
}

#[test]
fn operators_see_on_their_page_who_has_how_many_sessions_and_end_them() {
    let demo = Demo::start();
    let session = |name: &str| Talk::to(demo.mail("imap")).logged_in(name, &format!("{name}-demo"));
    let (mut one, mut two, mut bob) = (session("alice"), session("alice"), session("bob"));
    let mut pop3 = Talk::to(demo.mail("pop3"));
    for command in ["", "USER alice\r\n", "PASS alice-demo\r\n"] {
        pop3.say(command);
        assert!(pop3.hear().expect("an answer").starts_with("+OK"), "{command}");
    }
    let admin = demo.admin();
    let mut page = Client::new(admin.url.trim_start_matches("http://").parse().expect("an address"));
    let (name, password) = (admin.name.as_deref().expect("a name"), admin.password.as_deref().expect("a password"));
    let login = form(&page, "/login", &[("name", name), ("password", password), ("next", "/")]);
    page.send(login).expect(303);
    let shown = page.get("/sessions").expect(200).text();
    assert!(shown.contains("4 sessions are open: imap 3, pop3 1."), "{shown}");
    let row = shown.split("<tr>").find(|row| row.contains(">alice</th>")).expect("a row of alice");
    assert!(row.contains(">3</td>") && row.contains("imap 2, pop3 1") && row.contains("node-a"), "{row}");
    let overview = page.get("/").expect(200).text();
    assert!(overview.contains("and 3 by imap") && overview.contains("and 1 by pop3"), "{overview}");
    let token = token_of(&mut page);
    let kick = form(&page, "/do/kick", &[("token", &token), ("generation", "1"), ("user", "alice")]);
    let answer = page.send(kick);
    assert!(answer.status < 400, "{}: {}", answer.status, answer.text());
    for talk in [&mut one, &mut two] {
        assert_eq!(talk.rest(), ["* BYE Session ends"]);
    }
    assert_eq!(pop3.rest(), Vec::<String>::new(), "nothing may be said unasked there");
    bob.say("a NOOP\r\n");
    assert_eq!(bob.hear().as_deref(), Some("a OK Completed"), "nobody else's ends");
}
