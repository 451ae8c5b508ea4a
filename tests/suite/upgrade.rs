//! The program is replaced while it runs: nobody is refused, and nobody's connection is closed.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Proxy};
use rustix::process::{Pid, Signal};

use crate::support::{config, log_in, setup, webmail};

const TEXT: &str = "[admin]\nsocket = \"admin.sock\"\n[session]\nkey-file = \"session.keys\"\n\
    [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
    [listener.limits]\nmax-interval-connections = 0\npeer-max-interval-connections = 0\n\
    [[listener]]\nname = \"file\"\naddress = \"unix:web.sock\"\n";

fn start() -> (Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup().serve(&config(TEXT, &[("node-a", &node, "")]));
    (node, proxy)
}

/// A connection of its own, and one request on it.
fn ask(mut stream: impl std::io::Read + std::io::Write) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(std::io::Error::other(answer)) }
}

fn process(proxy: &Proxy) -> u64 {
    proxy.status()["pid"].as_u64().expect("a number")
}

#[test]
fn another_process_takes_over_and_no_connection_is_refused_or_closed() {
    let (_node, mut proxy) = start();
    let mut client = log_in(&proxy, "alice");
    client.get("/x").expect(200);
    let (opened, address, old) = (client.opened(), proxy.address("public"), process(&proxy));
    let (enough, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let asking = TcpStream::connect(address).and_then(ask);
                    // Whoever waits for the others would wait for ever.
                    enough.fetch_or(asking.is_err(), Ordering::Relaxed);
                    asking.expect("an answer");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (status, body) = proxy.admin("POST", "/upgrade");
        let upgraded = asked.load(Ordering::Relaxed);
        while status == 200 && !enough.load(Ordering::Relaxed) && asked.load(Ordering::Relaxed) < upgraded + 50 {
            std::thread::yield_now();
        }
        enough.store(true, Ordering::Relaxed);
        assert_eq!(status, 200, "{body}");
        let version = env!("CARGO_PKG_VERSION");
        let versions = format!("another process serves, this one retires.*from=\"{version}\" to=\"{version}\"");
        proxy.wait_for_log(&versions, Duration::from_secs(10));
        assert_ne!(process(&proxy), old);
    });
    assert_eq!(client.get("/x").expect(200).text(), "inbox");
    assert_eq!(client.opened(), opened, "the connection is the same");
    ask(UnixStream::connect(proxy.dir().join("web.sock")).expect("the Unix socket")).expect("an answer");
    client.close();
    assert!(proxy.program().wait(Duration::from_secs(25)).success(), "the old process ends with its last connection");
    // The session goes on in the new process, and so do the sockets' files.
    assert_eq!(client.get("/x").expect(200).text(), "inbox");
    ask(UnixStream::connect(proxy.dir().join("web.sock")).expect("the Unix socket")).expect("an answer");
    // What took over can be followed in its turn.
    let second = process(&proxy);
    assert_eq!(proxy.admin("POST", "/upgrade").0, 200);
    assert_ne!(process(&proxy), second);
    ask(TcpStream::connect(address).expect("a connection")).expect("an answer");
    end(&proxy);
}

#[test]
fn whoever_asked_for_an_upgrade_is_answered_though_nobody_else_is_left_to_serve_and_the_disk_is_slow() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = TEXT.replace("[admin]\n", "[admin]\naudit = \"audit.jsonl\"\n");
    let mut proxy = setup().serve(&config(&text, &[("node-a", &node, "")]));
    proxy.admin("POST", "/reload");
    let audit = proxy.dir().join("audit.jsonl");
    // Nothing is appended as long as another process has this lock, and the answer comes after the line.
    let held = std::fs::File::open(&audit).expect("the audit log");
    held.lock().expect("its lock");
    let old = process(&proxy);
    let (status, body) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| proxy.admin("POST", "/upgrade"));
        proxy.wait_for_log("another process serves, this one retires", Duration::from_secs(60));
        // A process that waits for nobody has ended by then.
        let retires = Instant::now();
        while retires.elapsed() < Duration::from_millis(500) {
            std::thread::yield_now();
        }
        held.unlock().expect("its lock");
        asking.join().expect("an answer")
    });
    assert_eq!(status, 200, "{body}");
    assert!(proxy.program().wait(Duration::from_secs(25)).success());
    assert_ne!(process(&proxy), old);
    let audit = std::fs::read_to_string(audit).expect("the audit log");
    assert_eq!(audit.matches("\"upgrade\"").count(), 1, "{audit}");
    end(&proxy);
}

/// Ends the process that serves now, which the harness did not start, and waits until it has removed its socket.
fn end(proxy: &Proxy) {
    let process = i32::try_from(process(proxy)).ok().and_then(Pid::from_raw).expect("a process");
    rustix::process::kill_process(process, Signal::TERM).expect("it runs");
    let started = Instant::now();
    while proxy.dir().join("admin.sock").exists() {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_does_not_come_up_changes_nothing() {
    let (_node, proxy) = start();
    let old = process(&proxy);
    proxy.write("doorward.toml", "nope = 1");
    let (status, body) = proxy.admin("POST", "/upgrade");
    assert_eq!(status, 409, "{body}");
    // Whoever asked is told what is wrong, and so is the log.
    for part in ["doorward.toml:1: nope: found an unknown key", "at least one [[listener]]"] {
        assert!(body.contains(part), "{part} in {body}");
    }
    proxy.wait_for_log(
        "the new process does not serve.*nope|nope.*the new process does not serve",
        Duration::from_secs(10),
    );
    assert_eq!(process(&proxy), old);
    proxy.client().get("/").expect(200);
    ask(UnixStream::connect(proxy.dir().join("web.sock")).expect("the Unix socket")).expect("an answer");
}

#[test]
fn a_start_that_makes_its_keys_does_not_reload_for_them() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup().serve(&config(TEXT, &[("node-a", &node, "")]));
    assert!(proxy.dir().join("session.keys").exists());
    // A change that is seen only now: whatever was seen before has been told by then.
    let text = std::fs::read_to_string(proxy.dir().join("doorward.toml")).expect("the configuration");
    proxy.write("doorward.toml", text + "\n# a change\n");
    proxy.wait_for_log("reloaded", Duration::from_secs(20));
    assert_eq!(proxy.status()["generation"], 2, "{:#?}", proxy.log());
}

#[test]
fn what_is_revoked_is_logged_in_words() {
    let (_node, proxy) = start();
    let id = "00112233445566778899aabbccddeeff";
    for (what, line) in [
        (format!("session={id}"), format!("a session is revoked session=\"{id}\"")),
        ("user=Alice".to_owned(), "all sessions of a user are revoked user=\"Alice\"".to_owned()),
        ("all".to_owned(), "all sessions of all users are revoked".to_owned()),
    ] {
        assert_eq!(proxy.admin("POST", &format!("/revoke?{what}")).0, 200);
        proxy.wait_for_log(&line, Duration::from_secs(10));
    }
}

#[test]
fn systemd_is_told_how_far_it_is() {
    let node = webmail(|_| Answer::text("x"));
    let setup = setup();
    let path = setup.dir().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let told = || {
        let mut text = [0; 200];
        let length = systemd.recv(&mut text).expect("a word");
        String::from_utf8_lossy(&text[..length]).lines().next().unwrap_or_default().to_owned()
    };
    let setup = setup.env("NOTIFY_SOCKET", path.to_str().expect("a path"));
    let mut proxy = setup.serve(&config("", &[("node-a", &node, "")]));
    assert_eq!(told(), "READY=1");
    proxy.reload();
    assert_eq!((told(), told()), ("RELOADING=1".to_owned(), "READY=1".to_owned()));
    assert!(proxy.terminate().success());
    assert_eq!(told(), "STOPPING=1");
}

/// A proxy that was started from a copy of the program, which can be replaced by this script.
fn with_another_program(text: &str, script: &str) -> (Kept, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let folder = harness::temp_dir();
    let program = folder.path().join("doorward");
    std::fs::copy(harness::binary(), &program).expect("a copy");
    let setup = crate::support::setup_with(&program);
    let script = format!("#!/bin/sh\necho $$ >>'{}'\n{script}\n", setup.dir().join("started").display());
    let proxy = setup.serve(&config(text, &[("node-a", &node, "")]));
    let next = program.with_extension("next");
    std::fs::write(&next, script).expect("a script");
    std::fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    std::fs::rename(next, program).expect("a rename");
    (Kept { _node: node, _folder: folder }, proxy)
}

/// What goes with the proxy.
struct Kept {
    _node: Backend,
    _folder: harness::TempDir,
}

/// Waits for the script to run: its process.
fn started(proxy: &Proxy) -> u64 {
    let text = crate::support::wait_for_file(&proxy.dir().join("started"), |text| text.ends_with('\n'));
    text.trim().parse().expect("a number")
}

fn runs(process: u64) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn who_logs_out_at_one_process_is_logged_out_at_the_other_and_so_with_who_is_revoked() {
    // Once without a file of ended sessions.
    for file in ["", "revocations-file = \"revoked\"\n"] {
        let node = webmail(|_| Answer::text("inbox"));
        let text = TEXT.replace("key-file = \"session.keys\"\n", &format!("key-file = \"session.keys\"\n{file}"));
        let proxy = setup().serve(&config(&text, &[("node-a", &node, "")]));
        let cookie = |client: &harness::Client| format!("doorward={}", client.cookie("doorward").expect("a session"));
        let is_in = |cookie: &str| proxy.client().header("Cookie", cookie).get("/x").text() == "inbox";
        let mut clients: Vec<harness::Client> = (0..3).map(|_| log_in(&proxy, "alice")).collect();
        let cookies: Vec<String> = clients.iter().map(cookie).collect();
        clients[0].get("/x").expect(200);
        clients[1].get("/x").expect(200);
        clients[2].get("/x").expect(200);
        // Ended before the upgrade, and so ended after it.
        proxy.admin("POST", "/revoke?session=00000000000000000000000000000001");
        clients[2].get("/logout");
        let opened: Vec<usize> = clients.iter().map(harness::Client::opened).collect();
        assert_eq!(proxy.admin("POST", "/upgrade").0, 200);
        assert!(!is_in(&cookies[2]), "{file}: logged out before");
        assert!(is_in(&cookies[0]) && is_in(&cookies[1]));
        // At the old process, over a connection that it has kept.
        clients[0].get("/logout");
        assert!(!is_in(&cookies[0]), "{file}: logged out at the old process");
        // At the new one, which has the admin socket.
        assert_eq!(proxy.admin("POST", "/revoke?user=alice").0, 200);
        assert_ne!(clients[1].get("/x").text(), "inbox", "{file}: revoked at the new process");
        assert_eq!(clients[1].opened(), opened[1], "the connection is the old process's");
        end(&proxy);
    }
}

#[test]
fn who_is_told_to_end_during_an_upgrade_ends_and_so_does_the_new_process() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let (_kept, mut proxy) = with_another_program(TEXT, "exec sleep 600");
        proxy.program().signal(Signal::USR2);
        let new = started(&proxy);
        proxy.program().signal(signal);
        assert!(proxy.program().wait(LONG).success());
        assert!(!runs(new), "{signal:?}");
    }
}

#[test]
fn a_process_that_is_killed_during_an_upgrade_leaves_one_front_door_or_none() {
    // The new one: the old one serves on, and says why.
    let (_kept, proxy) = with_another_program(TEXT, "exec sleep 600");
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| proxy.admin("POST", "/upgrade"));
        crate::ending::kill(started(&proxy), Signal::KILL);
        let (status, body) = upgrade.join().expect("an answer");
        assert_eq!(status, 409, "{body}");
        assert!(body.contains("SIGKILL"), "{body}");
    });
    proxy.client().get("/").expect(200);
    // The old one: the new one finds nobody who lets go, and does not serve.
    let (_kept, mut proxy) = with_another_program(
        TEXT,
        &format!("while ! [ -e go ]; do :; done; exec '{}' \"$@\"", harness::binary().display()),
    );
    proxy.program().signal(Signal::USR2);
    let new = started(&proxy);
    proxy.program().signal(Signal::KILL);
    proxy.program().wait(LONG);
    std::fs::write(proxy.dir().join("go"), "").expect("a file");
    let began = Instant::now();
    while runs(new) {
        assert!(began.elapsed() < LONG, "it serves on");
        std::thread::yield_now();
    }
    // The old one may be killed before or after it has handed over its sockets.
    let says_why = |line: &String| line.contains("does not serve") || line.contains("the sockets are not handed over");
    assert!(proxy.log().iter().any(says_why), "{:?}", proxy.log());
}

#[test]
fn who_asks_for_something_else_during_an_upgrade_is_told() {
    let (_kept, proxy) = with_another_program(TEXT, "exec sleep 600");
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| proxy.admin("POST", "/upgrade"));
        let new = started(&proxy);
        for path in ["/reload", "/upgrade"] {
            let (status, body) = proxy.admin("POST", path);
            assert_eq!(status, 409, "{body}");
            assert!(body.contains("an upgrade is under way"), "{body}");
        }
        assert_eq!(proxy.admin("GET", "/status").0, 200);
        crate::ending::kill(new, Signal::KILL);
        assert_eq!(upgrade.join().expect("an answer").0, 409);
    });
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
}

#[test]
fn of_two_upgrades_at_once_one_is_told_and_a_rollback_supersedes_the_other() {
    let (_kept, proxy) = with_another_program(TEXT, "exec sleep 600");
    let text = std::fs::read_to_string(proxy.dir().join("doorward.toml")).expect("a file");
    proxy.write("doorward.toml", format!("drain-delay = \"0s\"\n{text}"));
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| proxy.admin("POST", "/upgrade"));
        let new = started(&proxy);
        let (status, body) = proxy.admin("POST", "/upgrade");
        assert!(status == 409 && body.contains("an upgrade is under way"), "{body}");
        // None to such a generation: the upgrade goes on.
        assert_eq!(proxy.admin("POST", "/rollback?generation=77").0, 409);
        assert!(runs(new) && !upgrade.is_finished());
        // The new process would serve what the files say.
        let (status, body) = proxy.admin("POST", "/rollback");
        assert_eq!((status, body.trim()), (200, "{\"generation\":1}"));
        let (status, body) = upgrade.join().expect("an answer");
        assert!(status == 409 && body.contains("superseded by a rollback"), "{body}");
        assert!(!runs(new));
    });
    assert_eq!(proxy.status()["generation"], 1);
    // Nothing of it is in the way of what comes next.
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
}

#[test]
fn ctl_says_in_words_that_the_process_ended_before_it_answered() {
    let setup = setup();
    let listener = std::os::unix::net::UnixListener::bind(setup.dir().join("admin.sock")).expect("a socket");
    std::thread::scope(|scope| {
        scope.spawn(|| drop(listener.accept()));
        let ran = setup.run(&["ctl", "--socket", "admin.sock", "reload"]);
        assert!(!ran.status.success());
        assert!(ran.stderr.contains("ended before it answered"), "{}", ran.stderr);
    });
}
