//! Guessing of passwords: what is refused, to whom, and who is not troubled by it.

use std::time::{Duration, Instant};

use harness::{Answer, Backend, Client, Proxy};

use crate::support::{body_attribute, log_in, post_login, proxy, webmail};

/// No delays, and addresses as a balancer in front tells them.
const FAST: &str = "[admin]\nsocket = \"admin.sock\"\n[http]\ntrusted-proxies = [\"127.0.0.1\"]\n\
                    [authentication.throttle]\nmax-delay = \"0s\"\nmax-failures = 4\nmax-names = 6\n";

fn inbox() -> Backend {
    webmail(|_| Answer::text("inbox"))
}

fn from(proxy: &Proxy, address: &str) -> Client {
    proxy.client().header("X-Forwarded-For", address)
}

fn tries(client: &mut Client, name: &str, passwords: &[&str]) -> Vec<u16> {
    passwords.iter().map(|password| post_login(client, "/", name, password).status).collect()
}

#[test]
fn a_name_is_refused_to_the_network_that_guesses_and_to_nobody_else() {
    let node = inbox();
    let proxy = proxy(FAST, &[("node-a", &node, "")]);
    let mut guesser = from(&proxy, "192.0.2.1");
    // The same wrong password again counts once.
    assert_eq!(tries(&mut guesser, "alice", &["a", "a", "a", "a", "a", "a", "b", "c", "d"]), [403; 9]);
    let refused = post_login(&mut from(&proxy, "192.0.2.99"), "/", "Alice", "alice-secret");
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((800..=900).contains(&wait), "{wait}");
    let page = refused.text();
    assert!(page.contains("15 minutes") && !body_attribute(&page, "data-page").is_empty(), "{page}");
    // Another network, and another name from the same one.
    assert_eq!(tries(&mut from(&proxy, "192.0.3.1"), "alice", &["alice-secret"]), [303]);
    assert_eq!(tries(&mut from(&proxy, "192.0.2.1"), "bob", &["x"]), [403]);
    // A reload forgets nothing.
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    assert_eq!(tries(&mut from(&proxy, "192.0.2.1"), "alice", &["alice-secret"]), [429]);
    proxy.wait_for_log("outcome=\"throttled\".*192.0.2|192.0.2.*outcome=\"throttled\"", Duration::from_secs(5));
}

#[test]
fn a_network_that_tries_many_names_is_refused_whatever_name_comes_next() {
    let node = inbox();
    let proxy = proxy(FAST, &[("node-a", &node, "")]);
    for n in 0..6 {
        assert_eq!(tries(&mut from(&proxy, &format!("2001:db8:7:{n}::1")), &format!("user{n}"), &["x"]), [403]);
    }
    assert_eq!(tries(&mut from(&proxy, "2001:db8:7:ffff::2"), "alice", &["alice-secret"]), [429]);
    assert_eq!(tries(&mut from(&proxy, "2001:db8:8::1"), "alice", &["alice-secret"]), [303]);
}

#[test]
fn a_device_that_has_logged_in_has_its_own_allowance() {
    let node = inbox();
    let proxy = proxy(FAST, &[("node-a", &node, "")]);
    let mut owner = from(&proxy, "192.0.2.1");
    assert_eq!(tries(&mut owner, "alice", &["alice-secret"]), [303]);
    let device = owner.cookie("doorward-device").expect("a device cookie").to_owned();
    // Somebody else at the same office guesses until the network is refused.
    assert_eq!(tries(&mut from(&proxy, "192.0.2.1"), "alice", &["a", "b", "c", "d", "e"]), [403, 403, 403, 403, 429]);
    let known = |address: &str| {
        let mut client = from(&proxy, address);
        let host = client.host_name().to_owned();
        client.cookies.set(&host, "doorward-device", &device);
        client
    };
    assert_eq!(tries(&mut known("192.0.2.1"), "alice", &["typo", "alice-secret"]), [403, 303]);
    // It is known for this name only, and its own failures are counted too.
    assert_eq!(tries(&mut known("192.0.2.1"), "bob", &["a", "b", "c", "d", "e"]), [403, 403, 403, 403, 429]);
    let guesses: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let guesses: Vec<&str> = guesses.iter().map(String::as_str).collect();
    let mut expected = vec![403; 10];
    expected.push(429);
    assert_eq!(tries(&mut known("198.51.100.1"), "alice", &guesses), expected);
    // A cookie that is not ours is nobody's.
    let mut forged = from(&proxy, "192.0.2.1");
    let host = forged.host_name().to_owned();
    forged.cookies.set(&host, "doorward-device", &device[..device.len() - 4]);
    assert_eq!(tries(&mut forged, "alice", &["alice-secret"]), [429]);
}

#[test]
fn each_failure_doubles_the_wait_and_right_and_wrong_wait_alike() {
    let node = inbox();
    let limits = "[authentication.throttle]\nfree-failures = 1\nmax-delay = \"1s\"\n";
    let proxy = proxy(limits, &[("node-a", &node, "")]);
    let mut client = proxy.client();
    assert_eq!(tries(&mut client, "alice", &["a"]), [403]);
    for (password, status) in [("b", 403), ("alice-secret", 303)] {
        let began = Instant::now();
        assert_eq!(tries(&mut client, "alice", &[password]), [status]);
        assert!(began.elapsed() >= Duration::from_secs(1), "{password}");
    }
}

#[test]
fn an_outage_is_no_failure() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = proxy(&format!("{FAST}[authentication]\nmode = \"back-end\""), &[("node-a", &node, "")]);
    drop(node);
    for _ in 0..6 {
        assert_eq!(tries(&mut from(&proxy, "192.0.2.1"), "alice", &["alice-secret"]), [503]);
    }
}

/// The resident memory of the proxy, in KiB.
fn memory(proxy: &mut Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.program().id())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn ten_thousand_guesses_from_a_thousand_addresses_cost_no_memory_and_no_owner() {
    let node = inbox();
    let mut proxy = proxy(FAST, &[("node-a", &node, "")]);
    let owner = log_in(&proxy, "alice");
    let device = owner.cookie("doorward-device").expect("a device cookie").to_owned();
    let mut guesser = proxy.client();
    let page = guesser.get("/").expect(200).text();
    let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a form");
    let token = form.field("token").expect("a token").value.clone();
    let cookie = format!("doorward-form={}", guesser.cookie("doorward-form").expect("the form's cookie"));
    // Statuses of the guesses with these numbers. A wrong login takes its time, so many are made at once.
    let to = proxy.client().address();
    let guess = |numbers: std::ops::Range<usize>| -> Vec<u16> {
        let mut client = Client::new(to).header("Cookie", &cookie);
        let one = |n: usize| {
            let (address, password) = (format!("10.{}.{}.1", n % 1000 / 250, n % 250), format!("guess{n}"));
            let fields = [("username", "alice"), ("password", password.as_str()), ("token", &token), ("next", "/")];
            let request = harness::Request::new("POST", "/.doorward/login").form(&fields);
            client.send(request.header("X-Forwarded-For", &address)).status
        };
        numbers.map(one).collect()
    };
    let round = |numbers: std::ops::Range<usize>| -> Vec<u16> {
        let share = numbers.len() / 50;
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..50)
                .map(|k| (numbers.start + k * share)..(numbers.start + (k + 1) * share))
                .map(|numbers| scope.spawn(|| guess(numbers)))
                .collect();
            all.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
        })
    };
    let mut statuses = round(0..2000);
    let before = memory(&mut proxy);
    statuses.extend(round(2000..10_000));
    // Of each network four were checked.
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 4 * 1000);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 10_000 - 4 * 1000);
    let after = memory(&mut proxy);
    assert!(after < before + 4096, "{before} KiB before and {after} KiB after");
    let mut known = proxy.client();
    let host = known.host_name().to_owned();
    known.cookies.set(&host, "doorward-device", &device);
    assert_eq!(tries(&mut known, "alice", &["alice-secret"]), [303]);
}
