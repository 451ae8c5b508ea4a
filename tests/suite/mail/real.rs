//! Real mail servers (Dovecot), and real programs: curl, and Python's imaplib and poplib.

use std::process::Command;

use harness::{Proxy, Stack};

use super::doors::doors;
use super::programs::{At, Person, mbsync, neomutt, offlineimap};

fn start(stack: &Stack, mode: &str, node_tls: bool) -> Proxy {
    let account = if mode == "ldap-password" { stack.password_reader() } else { stack.service() };
    let listeners = [("imap", "imap", "start-tls = true"), ("imaps", "imap", ""), ("pop3", "pop3", "start-tls = true")];
    doors(stack, (mode, account), &listeners, |node| {
        // The certificate is one of localhost.
        let imap = if node_tls { format!("imaps://{}", node.imaps) } else { format!("imap://{}", node.imap) };
        let more = if node_tls { "" } else { "mail-start-tls = true\n" };
        format!("imap = \"{imap}\"\npop3 = \"pop3://{}\"\nmail-client-address = \"id\"\n{more}", node.pop3)
    })
}

fn run(command: &mut Command) -> String {
    let ran = command.output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn programs_read_and_write_mail_at_real_servers() {
    let stack = Stack::start();
    for (mode, node_tls) in [("ldap-bind", true), ("ldap-password", false), ("back-end", true)] {
        let proxy = start(stack, mode, node_tls);
        let port = |name: &str| proxy.address(name).port().to_string();
        for node in ["A", "B"] {
            let users = stack.users().iter().filter(|user| {
                user.status == "active" && user.node.as_deref() == Some(node) && !user.password.is_empty()
            });
            let mut command = Command::new("python3");
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/suite/mail/libraries.py")).arg(stack.ca());
            command.args([port("imap"), port("imaps"), port("pop3"), node.to_owned()]);
            users.for_each(|user| _ = command.args([&user.uid, &user.password]));
            let said = run(&mut command);
            assert!(said.contains("good"), "{mode} {node}: {said}");
        }
    }
}

#[test]
fn curl_lists_a_mailbox_and_is_told_of_outages_as_such() {
    let stack = Stack::start();
    let proxy = start(stack, "ldap-bind", true);
    let user = stack.users().iter().find(|user| user.uid == "alice").expect("she is there");
    let curl = |scheme: &str, listener: &str, password: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--ssl-reqd", "--max-time", "60", "--cacert"]).arg(stack.ca());
        command.args(["--user", &format!("{}:{password}", user.uid)]);
        command.arg(format!("{scheme}://localhost:{}/", proxy.address(listener).port()));
        command
    };
    for (scheme, listener) in [("imap", "imap"), ("imaps", "imaps")] {
        let list = run(&mut curl(scheme, listener, &user.password));
        assert!(list.contains("INBOX"), "{scheme}: {list}");
    }
    run(&mut curl("pop3", "pop3", &user.password));
    let refused = curl("imaps", "imaps", "certainly not").output().expect("curl runs");
    assert_eq!(refused.status.code(), Some(67), "CURLE_LOGIN_DENIED: {}", String::from_utf8_lossy(&refused.stderr));
    proxy.wait_for_log("mail session .*protocol=\"pop3\".*user=\"alice\".*ended=\"whole\"", super::PATIENCE);
}

#[test]
fn mail_programs_bring_what_others_put_there_whatever_is_in_a_name_or_a_password() {
    let stack = Stack::start();
    let proxy = start(stack, "ldap-bind", true);
    let at = At { port: proxy.address("imaps").port(), tls: Some(stack.ca()) };
    let users = stack
        .users()
        .iter()
        .filter(|user| user.status == "active" && user.node.as_deref() == Some("A") && !user.password.is_empty());
    for user in users {
        let person = Person { name: &user.uid, password: &user.password };
        // Other tests put messages there meanwhile.
        let subject = |message: &str| {
            message.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).expect("a subject")
        };
        let shown = subject(&neomutt(&at, &person));
        let by_mbsync = mbsync(&at, &person);
        assert!(by_mbsync.iter().any(|message| subject(message) == shown), "{}: {shown}", user.uid);
        assert!(offlineimap(&at, &person).len() >= by_mbsync.len(), "{}", user.uid);
    }
}
