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
fn the_files_of_logs_are_opened_anew_when_it_is_told_to() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = "[admin]\nsocket = \"admin.sock\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"\n\
        [[log.to]]\nwhat = [\"access\"]\nformat = \"json\"\ntarget = \"access.json\"";
    let mut proxy = setup().serve(&config(text, &[("node-a", &node, "")]));
    let logs = ["access.log", "access.json"].map(|name| proxy.dir().join(name));
    for (turn, by_signal) in [(1, true), (2, false)] {
        proxy.client().get(&format!("/before-{turn}")).expect(200);
        let olds = logs.each_ref().map(|log| log.with_extension(turn.to_string()));
        for (log, old) in logs.iter().zip(&olds) {
            crate::support::wait_for_file(log, |text| text.contains(&format!("/before-{turn}")));
            std::fs::rename(log, old).expect("a rename");
        }
        let lines = proxy.log().len();
        if by_signal {
            send(&mut proxy, 10);
        } else {
            assert_eq!(proxy.admin("POST", "/reopen-logs").0, 200);
        }
        proxy.wait_for_log_after(lines, "opened anew", LONG);
        proxy.client().get(&format!("/after-{turn}")).expect(200);
        for (log, old) in logs.iter().zip(&olds) {
            crate::support::wait_for_file(log, |text| text.contains(&format!("/after-{turn}")));
            assert!(!std::fs::read_to_string(old).expect("a file").contains(&format!("/after-{turn}")));
        }
    }
}

#[test]
fn nobody_waits_for_a_reader_of_standard_error() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = "[[log.to]]\nwhat = [\"access\"]\ntarget = \"stderr\"\n[admin]\nsocket = \"admin.sock\"";
    let proxy = setup().unread().serve(&config(text, &[("node-a", &node, "")]));
    // A pipe holds 64 KiB, and the queue behind it 2 MiB.
    let (mut client, path) = (log_in(&proxy, "alice"), format!("/{}", "x".repeat(7000)));
    // 14 MB of lines.
    let lost = (0..40).any(|_| {
        (0..50).for_each(|_| drop(client.get(&path).expect(200)));
        proxy.status()["logs"][0]["lost"].as_u64().expect("a number") > 0
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
        let mut proxy =
            setup.serve(&config("[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.fifo\"", &[("node-a", &node, "")]));
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
    let text = "drain-timeout = \"300ms\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"";
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
