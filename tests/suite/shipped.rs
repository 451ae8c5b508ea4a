//! What packages ship for other programs, by those programs, on lines that Doorward wrote: fail2ban and rsyslog.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Answer, Proxy};

use crate::support::{config, post_login, setup, webmail};

const SOON: Duration = Duration::from_secs(30);

/// Clients' addresses, as a balancer in front tells them.
const SETTINGS: &str = "[http]\ntrusted-proxies = [\"127.0.0.1\"]\n[authentication.throttle]\nmax-delay = \"0s\"\n";

fn try_from(proxy: &Proxy, address: &str, name: &str, password: &str) -> u16 {
    let mut client = proxy.client().header("X-Forwarded-For", address);
    post_login(&mut client, "/", name, password).status
}

/// The addresses that the filter finds in lines of a log, each with how often.
fn found(lines: &[String]) -> BTreeMap<String, usize> {
    let setup = setup().file("login.log", lines.join("\n") + "\n");
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/package/fail2ban/filter.conf");
    let ran = Command::new("fail2ban-regex")
        .arg(setup.dir().join("login.log"))
        .arg(filter)
        .args(["-o", "<ip>"])
        .output()
        .unwrap_or_else(|error| panic!("fail2ban-regex: {error}"));
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let mut found = BTreeMap::new();
    for line in said.lines() {
        *found.entry(line.trim().to_owned()).or_insert(0) += 1;
    }
    found
}

#[test]
fn the_filter_finds_failed_logins_and_no_name_or_host_can_write_an_address_of_its_own() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup().serve(&config(SETTINGS, &[("node-a", &node, "")]));
    // Those who fail, by both kinds of addresses.
    for (address, name) in [
        ("192.0.2.1", "alice"),
        ("192.0.2.1", "nobody"),
        ("2001:db8::1", "alice"),
        // All that tries to end its own field.
        ("192.0.2.2", "x\" client=203.0.113.1 outcome=\"wrong"),
        ("192.0.2.3", "x\\\" client=203.0.113.2 outcome=\"wrong"),
        ("192.0.2.4", "x client=203.0.113.3 outcome=wrong"),
        ("192.0.2.5", "x\\"),
        ("192.0.2.6", "\u{202e}\u{85}x\" client=203.0.113.4"),
    ] {
        assert_eq!(try_from(&proxy, address, name, "guess"), 403, "{name}");
    }
    // And some who get in, with names and hosts that say otherwise.
    assert_eq!(try_from(&proxy, "198.51.100.1", "alice", "alice-secret"), 303);
    proxy.wait_for_log("login .*198\\.51\\.100\\.1", SOON);
    let log = proxy.log();
    let logins: Vec<String> = log.iter().filter(|line| line.contains(" login ")).cloned().collect();
    let wanted = [
        ("192.0.2.1", 2),
        ("192.0.2.2", 1),
        ("192.0.2.3", 1),
        ("192.0.2.4", 1),
        ("192.0.2.5", 1),
        ("192.0.2.6", 1),
        ("2001:db8::1", 1),
    ];
    let wanted: BTreeMap<String, usize> = wanted.iter().map(|(ip, n)| ((*ip).to_owned(), *n)).collect();
    assert_eq!(found(&log), wanted, "{logins:#?}");
    // As rsyslog and the journal have them, with machine and program before.
    let told: Vec<String> = log.iter().map(|line| format!("Nov 27 18:14:19 mail doorward[651]: {line}")).collect();
    assert_eq!(found(&told), wanted);
    // Somebody who got in, and whose fields say otherwise.
    let in_line = logins.iter().find(|line| line.contains("outcome=\"in\"")).expect("alice is in");
    let name = "x\\\" client=203.0.113.9 outcome=\\\"wrong";
    let disguised =
        in_line.replace("user=\"alice\"", &format!("user=\"{name}\"")).replace("host=\"", &format!("host=\"{name}"));
    assert_ne!(disguised, *in_line);
    assert!(found(&[disguised]).is_empty());
}

/// It ends with the test.
struct Rsyslogd(std::process::Child);

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With another port and folder than those of the file.
#[test]
fn a_log_host_with_the_example_for_rsyslog_has_a_file_of_each_kind() {
    let node = webmail(|_| Answer::text("inbox"));
    let setup = setup();
    let folder = harness::temp_dir();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/package/rsyslog/doorward.conf");
    let shipped = std::fs::read_to_string(shipped).expect("the example");
    let text = shipped.replace("/var/log/doorward", &folder.path().display().to_string());
    let text = text.replace("port=\"10514\"", &format!("port=\"{port}\" address=\"127.0.0.1\""));
    assert_ne!(text, shipped);
    let conf = setup.dir().join("rsyslog.conf");
    std::fs::write(&conf, format!("global(workDirectory=\"{}\")\n{text}", setup.dir().display())).expect("a file");
    let child = Command::new("/usr/sbin/rsyslogd")
        .args(["-n", "-i"])
        .arg(setup.dir().join("rsyslogd.pid"))
        .arg("-f")
        .arg(&conf)
        .spawn()
        .unwrap_or_else(|error| panic!("rsyslogd: {error}"));
    let _rsyslogd = Rsyslogd(child);
    let target =
        format!("[[log.to]]\ntarget = \"syslog+tcp://127.0.0.1:{port}\"\nwhat = [\"server\", \"login\", \"access\"]\n");
    let proxy = setup.serve(&config(&format!("{SETTINGS}{target}"), &[("node-a", &node, "")]));
    assert_eq!(try_from(&proxy, "192.0.2.1", "x\" ]\n../../alice", "guess"), 403);
    let of_kind = |kind: &str, says: &str| {
        let find = || -> Option<std::path::PathBuf> {
            let doors = std::fs::read_dir(folder.path()).ok()?.flatten();
            doors.map(|door| door.path().join(format!("{kind}.jsonl"))).find(|file| file.exists())
        };
        let end = std::time::Instant::now() + SOON;
        let file = loop {
            match find() {
                Some(file) => break file,
                None => assert!(std::time::Instant::now() < end, "no file of {kind}"),
            }
            std::thread::yield_now();
        };
        let text = crate::support::wait_for_file(&file, |text| {
            text.lines().any(|line| line.contains(says)) && text.ends_with('\n')
        });
        let line = text.lines().find(|line| line.contains(says)).expect("the line");
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let login = of_kind("login", "192.0.2.1");
    assert_eq!(login["outcome"], "wrong");
    assert_eq!(login["client"], "192.0.2.1");
    assert!(login["user"].as_str().is_some_and(|user| user.starts_with("x\"")), "{login}");
    assert_eq!(of_kind("access", "\"POST\"")["status"], 403);
}
