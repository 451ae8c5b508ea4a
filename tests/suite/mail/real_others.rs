//! Real servers of ManageSieve and submission (Dovecot, Postfix), and real programs: Python's smtplib, curl, swaks, sieve-connect,
//! and Net_Sieve, which Roundcube has.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Proxy, Stack, User};

use super::PATIENCE;
use super::doors::doors;

/// Doors in front of both nodes; `submission` says where a node takes messages, and `more` what else there is of it.
fn start(stack: &Stack, mode: &str, submission: impl Fn(&harness::Node) -> String, more: &str) -> Proxy {
    let listeners = [
        ("sieve", "sieve", "start-tls = true"),
        ("submission", "submission", "start-tls = true"),
        ("submissions", "submission", ""),
    ];
    doors(stack, (mode, stack.service()), &listeners, |node| {
        format!("sieve = \"sieve://{}\"\nsubmission = \"{}\"\n{more}\n", node.sieve, submission(node))
    })
}

fn run(command: &mut Command) -> String {
    let ran = command.stdin(Stdio::null()).output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {said}");
    said
}

/// Who can log in at a node.
fn users<'a>(stack: &'a Stack, node: &str) -> Vec<&'a User> {
    let right =
        |user: &&User| user.status == "active" && user.node.as_deref() == Some(node) && !user.password.is_empty();
    stack.users().iter().filter(right).collect()
}

/// All messages that have come to Postfix, when there are so many.
fn messages(stack: &Stack, count: usize) -> Vec<String> {
    let (folder, end): (PathBuf, _) = (stack.dir().join("postfix/mail/all/new"), Instant::now() + PATIENCE);
    loop {
        let files: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        if files.len() >= count {
            return files.iter().filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
        }
        assert!(Instant::now() < end, "{} messages instead of {count}", files.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn python(stack: &Stack, proxy: &Proxy, with_sieve: bool, node: &str) -> usize {
    let port = |name: &str| proxy.address(name).port().to_string();
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/suite/mail/programs_others.py")).arg(stack.ca());
    let sieve = if with_sieve { port("sieve") } else { "0".to_owned() };
    command.args([sieve, port("submission"), port("submissions"), node.to_owned()]);
    let users = users(stack, node);
    users.iter().for_each(|user| _ = command.args([&user.uid, &user.password, "somebody@example.test"]));
    let said = run(&mut command);
    assert_eq!(said.matches(": good").count(), users.len(), "{node}: {said}");
    users.len() * 4
}

/// swaks and curl send a message each, by each way: how many in all.
fn by_tools(stack: &Stack, proxy: &Proxy, alice: &User) -> usize {
    let server = |name: &str| proxy.address(name).port().to_string();
    for (listener, tls, auth) in [
        ("submission", "--tls", "PLAIN"),
        ("submission", "--tls", "LOGIN"),
        ("submissions", "--tls-on-connect", "PLAIN"),
    ] {
        let mut swaks = Command::new("swaks");
        swaks.args(["--server", "localhost", "--port", &server(listener), tls, "--tls-verify", "--auth", auth]);
        swaks.arg("--tls-ca-path").arg(stack.ca()).args(["--auth-user", "alice", "--auth-password", &alice.password]);
        swaks.args(["--from", &alice.mail, "--to", "somebody@example.test", "--ehlo", "client.example.test"]);
        run(&mut swaks);
        let mut curl = Command::new("curl");
        let scheme = if tls == "--tls" { "smtp" } else { "smtps" };
        curl.args(["--silent", "--show-error", "--ssl-reqd", "--max-time", "60", "--cacert"]).arg(stack.ca());
        curl.args(["--user", &format!("alice:{}", alice.password), "--login-options", &format!("AUTH={auth}")]);
        curl.args(["--mail-from", &alice.mail, "--mail-rcpt", "somebody@example.test", "--upload-file"])
            .arg(stack.ca());
        curl.arg(format!("{scheme}://localhost:{}/client.example.test", server(listener)));
        run(&mut curl);
    }
    6
}

/// Net_Sieve keeps a script, and sieve-connect lists them.
fn by_editors(stack: &Stack, proxy: &Proxy, alice: &User) {
    let server = |name: &str| proxy.address(name).port().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/suite/mail/net_sieve.php");
    let php =
        run(Command::new("php8.2").arg(script).arg(stack.ca()).args([&server("sieve"), "alice", &alice.password]));
    assert!(php.contains("good"), "{php}");
    let mut editor = Command::new("sieve-connect")
        .args(["--server", "localhost", "--port", &server("sieve"), "--nosrv", "--user", "alice", "--passwordfd", "0"])
        .arg("--tlscafile")
        .arg(stack.ca())
        .arg("--list")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sieve-connect runs");
    writeln!(editor.stdin.take().expect("a pipe"), "{}", alice.password).expect("it reads");
    let ran = editor.wait_with_output().expect("it ends");
    assert!(ran.status.success(), "{ran:?}");
    proxy.wait_for_log("mail session .*protocol=\"sieve\".*user=\"alice\".*ended=\"", PATIENCE);
}

#[test]
fn programs_keep_scripts_and_send_messages_at_real_servers() {
    let stack = Stack::with(&[], &["ldap1", "ldap2", "imap-a", "imap-b", "postfix"]);
    let dovecot = |node: &harness::Node| format!("submission://{}", node.submission);
    let proxy = start(&stack, "ldap-bind", dovecot, "mail-start-tls = true\nmail-client-address = \"id\"");
    let mut sent = 0;
    for node in ["A", "B"] {
        sent += python(&stack, &proxy, true, node);
    }
    // What the node is told of the client: its log has the address, and the name of the session.
    let log = std::fs::read_to_string(stack.dir().join("log/imap-a.log")).expect("the node's log");
    let has = |service: &str, what: &str| log.lines().any(|line| line.contains(service) && line.contains(what));
    assert!(has("submission-login: Info: Login", "rip=127.0.0.5"), "{log}");
    let ours =
        proxy.log().into_iter().find(|line| line.contains("mail session ") && line.contains("protocol=\"sieve\""));
    let ours = ours.expect("a session of ManageSieve");
    let id = ours.split_once(" id=").and_then(|(_, rest)| rest.split(' ').next()).expect("its id").trim_matches('"');
    assert!(has("managesieve-login: Info: Login", &format!("session=<{id}>")), "{ours} {log}");
    let _ = messages(&stack, sent);

    let postfix = |_: &harness::Node| format!("submissions://{}", stack.postfix_tls());
    let proxy = start(&stack, "back-end", postfix, "mail-client-address = \"id\"");
    sent += python(&stack, &proxy, false, "A");
    let postfix = |_: &harness::Node| format!("submission://{}", stack.postfix());
    let proxy = start(&stack, "back-end", postfix, "mail-start-tls = true\nmail-client-address = \"id\"");
    sent += python(&stack, &proxy, false, "A");
    let all = messages(&stack, sent);
    let told = all.iter().filter(|text| text.contains("from client.example.test (unknown [127.0.0.5])")).count();
    assert_eq!(told, users(&stack, "A").len() * 4, "Postfix is told who the client is: {}", all[0]);

    let alice = users(&stack, "A").into_iter().find(|user| user.uid == "alice").expect("she is there");
    sent += by_tools(&stack, &proxy, alice);
    let _ = messages(&stack, sent);
    by_editors(&stack, &proxy, alice);

    // A server that is away is no wrong password.
    stack.ctl(&["stop", "postfix"]);
    let mut swaks = Command::new("swaks");
    swaks.args([
        "--server",
        "localhost",
        "--port",
        &proxy.address("submission").port().to_string(),
        "--tls",
        "--auth",
        "PLAIN",
    ]);
    swaks.args(["--auth-user", "alice", "--auth-password", &alice.password, "--to", "somebody@example.test"]);
    let refused = swaks.output().expect("swaks runs");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("454 4.7.0"), "{refused:?}");
}
