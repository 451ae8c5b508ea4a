//! Signals, and an end that waits for nobody for ever.

use std::time::Duration;

use harness::{Answer, Proxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{config, log_in, one_worker, setup, webmail};

const LONG: Duration = Duration::from_secs(30);

fn send(proxy: &mut Proxy, number: i32) {
    // Real-time signals have no name.
    let signal = (1..=31).contains(&number).then(|| Signal::from_named_raw(number)).flatten();
    match signal {
        Some(signal) => proxy.program().signal(signal),
        None => {
            let id = proxy.program().id().to_string();
            let status = std::process::Command::new("kill").args([format!("-{number}"), id]).status();
            assert!(status.expect("kill").success());
        }
    }
}

#[test]
fn no_signal_that_other_servers_know_ends_it_or_halts_it() {
    let node = webmail(|_| Answer::text("inbox"));
    let mut proxy = one_worker("[admin]\nsocket = \"admin.sock\"", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    // USR1, ALRM, STKFLT, TTIN, TTOU, XFSZ, VTALRM, PROF, WINCH, IO, PIPE, CHLD, URG, CONT, and two of the real-time ones.
    for number in [10, 14, 16, 21, 22, 25, 26, 27, 28, 29, 13, 17, 23, 18, 34, 64] {
        send(&mut proxy, number);
        client.get("/x").expect(200);
        assert!(proxy.program().runs(), "signal {number}");
    }
    assert!(proxy.terminate().success());
}

#[test]
fn each_signal_that_stops_drains() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::XCPU, Signal::POWER] {
        let node = webmail(|_| Answer::text("inbox"));
        let mut proxy = one_worker("", &[("node-a", &node, "")]);
        proxy.program().signal(signal);
        proxy.wait_for_log("draining", LONG);
        assert!(proxy.program().wait(LONG).success(), "{signal:?}");
    }
}

#[test]
fn usr1_and_reopen_logs_open_the_files_of_logs_anew() {
    opens_anew(|proxy| send(proxy, 10));
    opens_anew(|proxy| {
        let socket = proxy.dir().join("admin.sock").display().to_string();
        let ran = harness::Setup::new().run(&["ctl", "--socket", &socket, "reopen-logs"]);
        assert!(ran.status.success() && ran.stdout.contains("reopened"), "{}{}", ran.stdout, ran.stderr);
    });
}

fn opens_anew(told: impl Fn(&mut harness::Proxy)) {
    let node = webmail(|_| Answer::text("inbox"));
    let text = "[log]\naccess = \"access.log\"\n[admin]\nsocket = \"admin.sock\"";
    let proxy = setup().serve(&config(text, &[("node-a", &node, "")]));
    let (log, old) = (proxy.dir().join("access.log"), proxy.dir().join("access.log.1"));
    proxy.client().get("/first").expect(200);
    crate::support::wait_for_file(&log, |text| text.contains("path=/first"));
    std::fs::rename(&log, &old).expect("a rename");
    let mut proxy = proxy;
    told(&mut proxy);
    proxy.wait_for_log("opened anew", LONG);
    proxy.client().get("/second").expect(200);
    crate::support::wait_for_file(&log, |text| text.contains("path=/second"));
    assert!(!std::fs::read_to_string(&old).expect("a file").contains("/second"));
}

#[test]
fn nobody_waits_for_a_reader_of_standard_error() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = "[log]\naccess = \"stderr\"\n[admin]\nsocket = \"admin.sock\"";
    let proxy = setup().unread().serve(&config(text, &[("node-a", &node, "")]));
    // A pipe holds 64 KiB, and the queue behind it 2 MiB.
    let (mut client, path) = (log_in(&proxy, "alice"), format!("/{}", "x".repeat(7000)));
    // 14 MB of lines.
    let lost = (0..40).any(|_| {
        (0..50).for_each(|_| drop(client.get(&path).expect(200)));
        proxy.status()["log"]["lost"].as_u64().expect("a number") > 0
    });
    assert!(lost, "the queue has bounds");
    // A login writes a line of its own.
    log_in(&proxy, "alice").get("/x").expect(200);
    let metrics = proxy.admin("GET", "/metrics").1;
    assert!(metrics.contains("doorward_log_lines_lost_total"), "{metrics}");
    let mut proxy = proxy;
    assert!(proxy.terminate().success(), "it ends all the same");
}

#[test]
fn an_access_log_whose_reader_stands_still_keeps_nobody_from_ending() {
    let node = webmail(|_| Answer::text("inbox"));
    // Nobody reads it, or somebody who does not go on.
    for reads in [false, true] {
        let setup = setup();
        let pipe = setup.dir().join("access.fifo");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        let reader = reads.then(|| std::fs::File::options().read(true).write(true).open(&pipe).expect("a reader"));
        let mut proxy = setup.serve(&config("[log]\naccess = \"access.fifo\"", &[("node-a", &node, "")]));
        let path = format!("/{}", "x".repeat(2000));
        for _ in 0..100 {
            proxy.client().get(&path).expect(200);
        }
        assert!(proxy.terminate().success());
        drop(reader);
    }
}

#[test]
fn a_request_that_the_drain_deadline_ends_has_its_access_line() {
    let node = webmail(|_| Answer::hang());
    let text = "drain-timeout = \"300ms\"\n[log]\naccess = \"access.log\"";
    let mut proxy = setup().serve(&config(text, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    let logins = node.hits().len();
    let under_way = std::thread::spawn(move || client.try_send(harness::Request::new("GET", "/hangs")).is_err());
    node.wait_for_hits(logins + 1, LONG);
    assert!(proxy.terminate().success());
    assert!(under_way.join().expect("a client"));
    let log = std::fs::read_to_string(proxy.dir().join("access.log")).expect("a log");
    assert_eq!(log.lines().filter(|line| line.contains("path=/hangs")).count(), 1, "{log}");
}

/// Ends a process that is not a child of the test.
pub(crate) fn kill(process: u64, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(process, signal).expect("it runs");
}
