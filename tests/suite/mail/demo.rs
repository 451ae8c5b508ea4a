//! The demo's doors for mail programs: that the programs find each user's mailbox there.

use std::process::Command;

use harness::Demo;

use super::programs::{At, Person, mbsync, neomutt, offlineimap};

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
