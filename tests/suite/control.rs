//! What is asked for while something else is under way, and what a refused reload leaves behind.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use harness::{Backend, Proxy};
use rustix::process::Signal;

use crate::support::{ADMIN, config, setup, webmail};

const SOON: Duration = Duration::from_secs(60);

fn start() -> (Backend, Proxy) {
    let node = webmail(|_| harness::Answer::text("inbox"));
    let proxy = setup().serve(&text(&node, 1));
    (node, proxy)
}

/// A configuration that differs from others by this number.
fn text(node: &Backend, number: u32) -> String {
    config(&format!("drain-timeout = \"{number}s\"\n{ADMIN}"), &[("node-a", node, "")])
}

fn reload(proxy: &Proxy) -> (u16, serde_json::Value) {
    let (status, body) = proxy.admin("POST", "/reload");
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}")))
}

/// Puts a pipe in the place of the configuration: who reads that waits.
fn put_pipe(proxy: &Proxy) -> PathBuf {
    let (file, pipe) = (proxy.dir().join("doorward.toml"), proxy.dir().join("pipe"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    std::fs::rename(&pipe, &file).expect("a rename");
    file
}

/// A reload that reads the configuration from a pipe, and so comes to no end before [`HeldReload::end`].
struct HeldReload<'scope> {
    pipe: File,
    text: String,
    outcome: ScopedJoinHandle<'scope, (u16, serde_json::Value)>,
}

impl<'scope> HeldReload<'scope> {
    /// Begins it. It will read `text`, which is in the file of the configuration when this returns.
    fn begin<'env>(scope: &'scope std::thread::Scope<'scope, 'env>, proxy: &'env Proxy, text: String) -> Self {
        let file = put_pipe(proxy);
        let outcome = scope.spawn(move || reload(proxy));
        // Opened as soon as the reload has opened it too.
        let pipe = File::options().write(true).open(&file).expect("a pipe");
        proxy.write("doorward.toml", &text);
        Self { pipe, text, outcome }
    }

    /// Lets it go on, and waits for its answer.
    fn end(mut self) -> (u16, serde_json::Value) {
        self.pipe.write_all(self.text.as_bytes()).expect("a reader");
        drop(self.pipe);
        self.outcome.join().expect("an answer")
    }
}

#[test]
fn a_rollback_that_is_asked_for_while_a_reload_is_under_way_is_not_undone_by_it() {
    let (node, proxy) = start();
    proxy.write("doorward.toml", text(&node, 2));
    assert_eq!(reload(&proxy).1["generation"], 2);
    std::thread::scope(|scope| {
        let held = HeldReload::begin(scope, &proxy, text(&node, 3));
        let (status, body) = proxy.admin("POST", "/rollback");
        assert_eq!((status, body.trim()), (200, "{\"generation\":1}"), "it waits for no reload");
        let (status, body) = held.end();
        assert_eq!(status, 409, "{body}");
        assert!(body["error"].as_str().is_some_and(|why| why.contains("superseded by a rollback")), "{body}");
        proxy.wait_for_log("what a superseded reload built is dropped", SOON);
    });
    assert_eq!(proxy.status()["generation"], 1);
    // The watcher does not do again by itself what was superseded: the next generation is of the next change.
    proxy.write("doorward.toml", text(&node, 4));
    let status = proxy.wait_for_status("the next change", |status| status["generation"] != 1);
    assert_eq!((&status["generation"], &status["history"][2]["generation"]), (&3.into(), &3.into()), "{status:#}");
    // Who asks for what the files say gets it.
    assert_eq!(proxy.admin("POST", "/rollback?generation=1").0, 200);
    assert_eq!(reload(&proxy).1["changed"], true);
}

#[test]
fn a_revocation_and_all_else_that_changes_no_generation_wait_for_no_reload() {
    let (node, proxy) = start();
    std::thread::scope(|scope| {
        let held = HeldReload::begin(scope, &proxy, text(&node, 2));
        for (path, status) in [("/revoke?all", 200), ("/lift?digest=sha256:00", 404), ("/purge-routes", 200)] {
            let (told, body) = proxy.admin("POST", path);
            assert_eq!(told, status, "{path}: {body}");
        }
        // It is refused, and the reload goes on.
        assert_eq!(proxy.admin("POST", "/rollback?generation=77").0, 409);
        let (status, body) = held.end();
        assert_eq!((status, &body["generation"], &body["changed"]), (200, &2.into(), &true.into()), "{body}");
    });
}

#[test]
fn a_storm_of_signals_is_a_few_reloads_and_the_last_state_of_the_files_is_live() {
    let (node, proxy) = start();
    let from = proxy.log().len();
    std::thread::scope(|scope| {
        let held = HeldReload::begin(scope, &proxy, text(&node, 2));
        for number in 3..103 {
            proxy.write("doorward.toml", text(&node, number));
            proxy.reload();
        }
        held.end();
    });
    proxy.write("doorward.toml", text(&node, 200));
    proxy.reload();
    // Whoever asks now is the last: nothing waits behind him, but for what the watcher sees.
    reload(&proxy);
    // The log comes by a pipe of its own, and may be behind the answer.
    proxy.wait_for_log("reloaded|nothing to reload", SOON);
    let told = proxy.log().split_off(from);
    let reloads = told.iter().filter(|line| line.contains("reloaded") || line.contains("nothing to reload")).count();
    assert!((1..=6).contains(&reloads), "{reloads} reloads: {told:#?}");
    let (status, last) = reload(&proxy);
    assert_eq!((status, &last["changed"]), (200, &false.into()), "the files say what is live");
}

#[test]
fn many_who_ask_for_a_reload_while_one_is_under_way_all_hear_what_is_live() {
    let (node, proxy) = start();
    std::thread::scope(|scope| {
        let held = HeldReload::begin(scope, &proxy, text(&node, 2));
        let others: Vec<_> = (0..20).map(|_| scope.spawn(|| reload(&proxy))).collect();
        held.end();
        for other in others {
            let (status, body) = other.join().expect("an answer");
            assert_eq!((status, &body["generation"], &body["changed"]), (200, &2.into(), &false.into()), "{body}");
        }
    });
}

#[test]
fn a_reload_that_is_refused_has_changed_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let node = webmail(|_| harness::Answer::text("inbox"));
    let listener = |name: &str, address: &str, more: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n{more}")
    };
    let (public, inner) = (listener("public", "127.0.0.1:0", ""), |mode: &str| {
        listener("inner", "unix:inner.sock", &format!("mode = \"{mode}\"\n"))
    });
    let whole = |session: &str, listeners: &str| {
        config(&format!("{ADMIN}[session]\n{session}\n{listeners}"), &[("node-a", &node, "")])
    };
    let proxy = setup().serve(&whole("revocations-file = \"revoked\"", &(public.clone() + &inner("0600"))));
    let is_there = |name: &str| proxy.dir().join(name).exists();
    let mode = || {
        let metadata = std::fs::metadata(proxy.dir().join("inner.sock")).expect("a socket");
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    let before = (proxy.status()["history"].clone(), mode());
    // All of it is good, but for one address, which is known to be taken only when all else is done.
    let next = whole(
        "revocations-file = \"other\"\nkey-file = \"new.keys\"",
        &[
            public,
            inner("0660"),
            listener("new", "unix:new.sock", ""),
            listener("taken", &taken.local_addr().expect("an address").to_string(), ""),
        ]
        .concat(),
    );
    std::fs::write(proxy.dir().join("other"), format!("session {:032x} 99999999999\n", 7)).expect("a file");
    proxy.write("doorward.toml", &next);
    let (status, body) = reload(&proxy);
    assert_eq!(status, 422, "{body}");
    assert_eq!((proxy.status()["history"].clone(), mode()), before);
    assert!(!is_there("new.keys"), "a key file was made for nothing");
    assert!(!is_there("new.sock"), "a socket was bound for nothing");
    // The file of ended sessions is the one that was live, and what the other one says does not hold.
    assert_eq!(proxy.admin("POST", "/revoke?session=00000000000000000000000000000001").0, 200);
    let read = |name: &str| std::fs::read_to_string(proxy.dir().join(name)).expect("a file");
    assert!(read("revoked").contains("00000000000000000000000000000001"), "{}", read("revoked"));
    assert_eq!(read("other").lines().count(), 1, "{}", read("other"));
    // The address is free: the same files are taken.
    drop(taken);
    assert_eq!(reload(&proxy).0, 200);
    assert!(is_there("new.keys") && is_there("new.sock") && mode() == 0o660);
    assert_eq!(proxy.admin("POST", "/revoke?session=00000000000000000000000000000002").0, 200);
    assert!(read("other").contains("00000000000000000000000000000001"), "{}", read("other"));
    assert!(read("other").contains("00000000000000000000000000000002"), "{}", read("other"));
}

#[test]
fn a_file_of_ended_sessions_that_cannot_be_written_is_refused_with_nothing_changed() {
    let node = webmail(|_| harness::Answer::text("inbox"));
    let whole = |file: &str, more: &str| {
        let text = format!("{more}{ADMIN}[session]\nrevocations-file = \"{file}\"\n");
        config(&text, &[("node-a", &node, "")])
    };
    let proxy = setup().serve(&whole("revoked", ""));
    proxy.write("doorward.toml", whole("nowhere/revoked", "drain-timeout = \"7s\"\n"));
    let (status, body) = reload(&proxy);
    assert!(status == 409 || status == 422, "{status} {body}");
    assert_eq!(proxy.status()["generation"], 1);
    assert_eq!(proxy.admin("POST", "/revoke?session=00000000000000000000000000000001").0, 200);
    let text = std::fs::read_to_string(proxy.dir().join("revoked")).expect("a file");
    assert!(text.contains("00000000000000000000000000000001"), "{text}");
}

#[test]
fn a_signal_that_stops_is_heard_while_a_reload_is_under_way() {
    let (_node, mut proxy) = start();
    let file = put_pipe(&proxy);
    proxy.reload();
    // Opened as soon as the reload has opened it too.
    let _pipe = File::options().write(true).open(&file).expect("a pipe");
    proxy.program().signal(Signal::TERM);
    assert!(proxy.program().wait(SOON).success());
}
