//! Several front doors as one: three of them, each with a way of its own to a real store.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Client, Proxy, Relay, Sentinels, Setup, Store};

use crate::recipes::{send_code, sogo};
use crate::support::{ADMIN, body_attribute, config, log_in, post_login, setup, webmail};

/// No delays, and addresses as a balancer in front tells them.
const FAST: &str = "[http]\ntrusted-proxies = [\"127.0.0.1\"]\n\
                    [authentication.throttle]\nmax-delay = \"0s\"\nmax-failures = 6\nmax-names = 6\n";

/// How long anything may take that doors tell each other. It only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store, and doors before one node.
struct Doors {
    /// First in the order of fields: doors end before what they stand on.
    doors: Vec<Proxy>,
    relays: Vec<Relay>,
    store: Store,
    node: Backend,
    folder: harness::TempDir,
}

fn inbox() -> Backend {
    webmail(|request| match request.seen.header("upgrade") {
        Some(protocol) => Answer::echo_upgrade(protocol),
        None => Answer::text(format!("inbox of {}", request.seen.header("cookie").unwrap_or("nobody"))),
    })
}

/// The files of keys that all doors have.
fn keys() -> harness::TempDir {
    let folder = harness::temp_dir();
    for name in ["cluster.keys", "session.keys"] {
        let path = folder.path().join(name).display().to_string();
        let ran = Setup::new().run(&["keys", "rotate", &path]);
        assert!(ran.status.success(), "{ran:?}");
    }
    folder
}

/// The text of a door's tables: `store` is what it reaches the store by.
fn tables(folder: &harness::TempDir, door: &str, store: &str, extra: &str) -> String {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cluster, session) = (path("cluster.keys"), path("session.keys"));
    // A busy machine is no slow store; where slowness is the subject, the test says how long is too long.
    let timeout = if extra.contains("timeout = ") { "" } else { "timeout = \"2s\"" };
    format!(
        "{ADMIN}[session]\nkey-file = \"{session}\"\nrevocations-file = \"revoked\"\n\
         [cluster]\nname = \"test\"\ndoor = \"{door}\"\n{store}\nkey-file = \"{cluster}\"\n{timeout}\n{extra}\n"
    )
}

impl Doors {
    fn start(extra: &str) -> Self {
        Self::start_with(extra, Store::start(&[]), |_| setup())
    }

    /// `setup_of` prepares the process of a door.
    fn start_with(extra: &str, store: Store, setup_of: impl Fn(&str) -> Setup) -> Self {
        let (folder, node) = (keys(), inbox());
        let (mut doors, mut relays) = (Vec::new(), Vec::new());
        for door in ["a", "b", "c"] {
            let relay = Relay::to(store.address());
            let way = format!("store = [\"{}\"]", relay.url());
            let text = config(&tables(&folder, door, &way, extra), &[("node-a", &node, ""), ("node-b", &node, "")]);
            doors.push(setup_of(door).serve(&text));
            relays.push(relay);
        }
        let all = Self { doors, relays, store, node, folder };
        all.wait_until_together();
        all
    }

    /// Until each door sees all of them.
    #[track_caller]
    fn wait_until_together(&self) {
        self.doors.iter().for_each(|door| wait_for_doors(door, self.doors.len()));
    }

    /// Stops all of them, and starts them again with the same files.
    fn restart(&mut self) {
        let setups: Vec<Setup> = self.doors.drain(..).map(Proxy::stop).collect();
        self.doors = setups.into_iter().map(Setup::serve_again).collect();
    }
}

#[track_caller]
fn wait_for_doors(door: &Proxy, count: usize) {
    door.wait_for_status("the doors", |status| here(status) == count && status["cluster"]["store"]["state"] == "up");
}

fn here(status: &serde_json::Value) -> usize {
    status["cluster"]["doors"].as_array().map_or(0, |doors| doors.iter().filter(|door| door["here"] == true).count())
}

#[track_caller]
fn wait_for_store(door: &Proxy, state: &str) {
    door.wait_for_status(state, |status| status["cluster"]["store"]["state"] == state);
}

fn session_of(client: &Client) -> String {
    client.cookie("doorward").expect("a session").to_owned()
}

/// Whether a session's cookie opens its mailbox at this door.
fn lives(door: &Proxy, cookie: &str) -> bool {
    let page = door.client().header("Cookie", &format!("doorward={cookie}")).get("/").expect(200).text();
    match body_attribute(&page, "data-page").as_str() {
        "login" => false,
        _ => page.starts_with("inbox of "),
    }
}

/// Waits until no door opens the session: how long that took.
#[track_caller]
fn wait_until_ended(doors: &[Proxy], cookie: &str) -> Duration {
    let began = Instant::now();
    while doors.iter().any(|door| lives(door, cookie)) {
        assert!(began.elapsed() < PATIENCE, "the session lives on");
    }
    began.elapsed()
}

fn from(door: &Proxy, address: &str) -> Client {
    door.client().header("X-Forwarded-For", address)
}

fn tries(door: &Proxy, address: &str, name: &str, password: &str) -> u16 {
    post_login(&mut from(door, address), "/", name, password).status
}

fn ctl(door: &Proxy, words: &[&str]) -> String {
    let socket = door.dir().join("admin.sock").display().to_string();
    let ran = Setup::new().run(&[&["ctl", "--socket", &socket][..], words].concat());
    assert!(ran.status.success(), "{ran:?}");
    ran.stdout
}

#[test]
fn a_session_of_one_door_works_at_all_and_ends_at_all() {
    let mut all = Doors::start("");
    let [logged_out, revoked, tunnel] = [0, 1, 2].map(|door| session_of(&log_in(&all.doors[door], "alice")));
    for cookie in [&logged_out, &revoked, &tunnel] {
        assert!(all.doors.iter().all(|door| lives(door, cookie)));
    }
    // A tunnel at one door, whose session ends at another one.
    let mut socket = all.doors[0].client().connect();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    socket.write(format!("GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: doorward={tunnel}\r\n{upgrade}\r\n"));
    assert_eq!(socket.read_response("GET").expect("an answer").status, 101);
    let out = all.doors[1].client().header("Cookie", &format!("doorward={logged_out}")).get("/logout");
    assert_eq!(out.status, 303);
    wait_until_ended(&all.doors, &logged_out);
    assert!(lives(&all.doors[2], &revoked), "and no other session");
    // By an operator, for a user: whoever is answered knows that all doors know.
    let said = ctl(&all.doors[2], &["revoke", "--user", "alice"]);
    assert!(said.contains("known at a, b, c"), "{said}");
    assert!(all.doors.iter().all(|door| !lives(door, &revoked) && !lives(door, &tunnel)));
    while !socket.read_some().unwrap_or_default().is_empty() {}
    // Neither a restart of all doors nor a store that lost everything brings any of them back.
    all.store.stop();
    all.store.start_again();
    all.restart();
    for cookie in [&logged_out, &revoked, &tunnel] {
        assert!(all.doors.iter().all(|door| !lives(door, cookie)));
    }
}

#[test]
fn what_was_ended_while_a_door_was_cut_off_reaches_it_when_it_is_back() {
    let all = Doors::start("");
    let [here, there] = [0, 1].map(|door| session_of(&log_in(&all.doors[door], "alice")));
    all.relays[2].cut();
    wait_for_store(&all.doors[2], "away");
    let end = |door: &Proxy, cookie: &str| {
        assert_eq!(door.client().header("Cookie", &format!("doorward={cookie}")).get("/logout").status, 303);
    };
    end(&all.doors[0], &here);
    end(&all.doors[2], &there);
    wait_until_ended(&all.doors[..2], &here);
    assert!(lives(&all.doors[2], &here) && lives(&all.doors[0], &there), "nobody could tell");
    all.relays[2].open();
    wait_until_ended(&all.doors, &here);
    wait_until_ended(&all.doors, &there);
    all.doors[2].wait_for_log("the store of the cluster is away", PATIENCE);
}

#[test]
fn guesses_at_all_doors_count_as_at_one_and_repeating_is_not_counting() {
    let all = Doors::start(FAST);
    // The same wrong password, again and again, everywhere.
    for round in 0..9 {
        assert_eq!(tries(&all.doors[round % 3], "192.0.2.1", "alice", "old"), 403, "{round}");
    }
    for (round, password) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        assert_eq!(tries(&all.doors[round % 3], "192.0.2.1", "alice", password), 403, "{password}");
    }
    for door in &all.doors {
        assert_eq!(tries(door, "192.0.2.9", "alice", "alice-secret"), 429);
        assert_eq!(tries(door, "192.0.3.9", "alice", "alice-secret"), 303, "another network");
    }
    // A network that tries many names.
    for name in 0..6 {
        assert_eq!(tries(&all.doors[name % 3], "198.51.100.1", &format!("user{name}"), "x"), 403);
    }
    assert!(all.doors.iter().all(|door| tries(door, "198.51.100.1", "bob", "bob-secret") == 429));
    // Who is released at one door is released at all.
    ctl(&all.doors[1], &["release", "--user", "alice"]);
    ctl(&all.doors[2], &["release", "--network", "198.51.100.0/24"]);
    assert!(all.doors.iter().all(|door| tries(door, "192.0.2.9", "alice", "alice-secret") == 303));
    assert!(all.doors.iter().all(|door| tries(door, "198.51.100.1", "bob", "bob-secret") == 303));
}

/// So many wrong passwords are checked, of as many as are tried at all doors in turn.
fn checked(doors: &[Proxy], name: &str, passwords: std::ops::Range<usize>) -> usize {
    let tried = passwords.map(|n| tries(&doors[n % doors.len()], "192.0.2.1", name, &format!("{name}{n}")));
    tried.filter(|status| *status != 429).count()
}

#[test]
fn whatever_becomes_of_the_store_sessions_go_on_and_guesses_are_never_twice_as_many() {
    type Fault = fn(&mut Doors);
    let faults: [(&str, Fault); 4] = [
        ("stopped", |all| all.store.stop()),
        ("paused", |all| all.store.pause()),
        ("slow", |all| all.relays.iter().for_each(|relay| relay.slow(Duration::from_secs(1)))),
        ("emptied", |all| assert_eq!(all.store.say(&["FLUSHALL"]), "+OK\r\n")),
    ];
    for (what, fault) in faults {
        let timeout = if what == "slow" { "200ms" } else { "2s" };
        let mut all = Doors::start(&format!("timeout = \"{timeout}\"\n{FAST}"));
        let (session, ended) = (session_of(&log_in(&all.doors[0], "bob")), session_of(&log_in(&all.doors[1], "bob")));
        let out = all.doors[1].client().header("Cookie", &format!("doorward={ended}")).get("/logout");
        assert_eq!(out.status, 303);
        wait_until_ended(&all.doors, &ended);
        let before = checked(&all.doors, "alice", 0..4);
        fault(&mut all);
        for round in 0..30 {
            let door = &all.doors[round % 3];
            assert!(lives(door, &session) && !lives(door, &ended), "{what}");
        }
        let after = checked(&all.doors, "alice", 4..40);
        assert!((6..=12).contains(&(before + after)), "{what}: {before} and {after}");
        assert_eq!(tries(&all.doors[0], "203.0.113.5", "bob", "bob-secret"), 303, "{what}: who is right gets in");
        // And back, without a restart of anything.
        all.relays.iter().for_each(Relay::open);
        match what {
            "stopped" => all.store.start_again(),
            "paused" => all.store.resume(),
            _ => {}
        }
        all.wait_until_together();
        assert_eq!(checked(&all.doors, "alice", 40..50), 0, "{what}: what failed is put together again");
        assert!(all.doors.iter().all(|door| lives(door, &session) && !lives(door, &ended)), "{what}");
    }
}

#[test]
fn with_refuse_logins_nobody_new_gets_in_while_the_store_is_away() {
    let mut all = Doors::start("when-away = \"refuse-logins\"\n");
    let session = session_of(&log_in(&all.doors[0], "alice"));
    all.store.stop();
    all.doors.iter().for_each(|door| wait_for_store(door, "away"));
    let refused = post_login(&mut all.doors[0].client(), "/", "bob", "bob-secret");
    assert_eq!(refused.status, 503, "{}", refused.text());
    all.doors[0].wait_for_log("reason=\"store-away\"", PATIENCE);
    assert!(all.doors.iter().all(|door| lives(door, &session)));
    all.store.start_again();
    all.wait_until_together();
    assert_eq!(post_login(&mut all.doors[0].client(), "/", "bob", "bob-secret").status, 303);
}

#[test]
fn who_has_the_store_ends_nothing_lets_nobody_in_and_learns_no_name() {
    let all = Doors::start(FAST);
    let monitor = all.store.monitor();
    let session = session_of(&log_in(&all.doors[0], "alice"));
    assert_eq!(tries(&all.doors[1], "192.0.2.77", "bob", "wrong-guess"), 403);
    ctl(&all.doors[0], &["purge-routes", "alice"]);
    ctl(&all.doors[0], &["revoke", "--user", "nomad"]);
    all.store.say(&["GET", "the-end"]);
    let began = Instant::now();
    while !monitor.heard().contains("the-end") {
        assert!(began.elapsed() < PATIENCE, "MONITOR says nothing");
        std::thread::yield_now();
    }
    let heard = monitor.heard().to_lowercase();
    drop(monitor);
    // Lines as a door would write them, if nothing were sealed.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
    all.store.say(&["ZADD", "{test}:1:ended", "9999999999999", &format!("user {} alice", now + 100)]);
    all.store.say(&["PUBLISH", "{test}:1:news", &format!("all {}", now + 100)]);
    // Another era: all is compared.
    all.store.say(&["SET", "{test}:1:era", "other"]);
    let refused = |door: &Proxy, count| {
        door.wait_for_status("refused entries", |status| status["cluster"]["refused"].as_u64() >= Some(count));
    };
    // The message and the line, each once.
    all.doors.iter().for_each(|door| refused(door, 2));
    all.store.say(&["HSET", "{test}:1:doors", "evil", "{}"]);
    for door in &all.doors {
        refused(door, 3);
        door.wait_for_log("no door of this cluster wrote", PATIENCE);
        assert!(lives(door, &session));
        assert_eq!(here(&door.status()), 3);
    }
    // Counters that are deleted or filled.
    all.store.say(&["FLUSHALL"]);
    assert_eq!(tries(&all.doors[0], "192.0.2.77", "alice", "alice-secret"), 303);
    assert!(heard.contains("zadd") || heard.contains("eval"), "it heard something: {heard}");
    for secret in ["alice", "bob", "nomad", "192.0.2", "wrong-guess", "secret"] {
        assert!(!heard.contains(secret), "{secret} in {heard}");
    }
}

#[test]
fn a_page_for_a_second_factor_is_good_once_at_whichever_door() {
    let (store, folder, node) = (Store::start(&[]), keys(), sogo(true));
    let way = format!("store = [\"{}\"]", store.url());
    let doors = ["a", "b"].map(|door| {
        let text = config(&tables(&folder, door, &way, ""), &[("node-a", &node, "")]).replace("test.toml", "sogo");
        setup().serve(&text)
    });
    doors.iter().for_each(|door| wait_for_doors(door, 2));
    let mut first = doors[0].client();
    let page = post_login(&mut first, "/", "alice", "alice-secret").expect(200);
    assert_eq!(body_attribute(&page.text(), "data-page"), "second-factor");
    let jar = first.cookies.clone();
    // The same browser, with what it had before any of them answered.
    let at = |door: &Proxy| {
        let mut client = door.client();
        client.cookies = jar.clone();
        send_code(&mut client, &page, "123456")
    };
    at(&doors[1]).expect(303);
    let asked = node.hits().len();
    for door in &doors {
        let refused = at(door).expect(403);
        assert_eq!(body_attribute(&refused.text(), "data-page"), "login");
    }
    assert_eq!(node.hits().len(), asked, "the node is not asked again");
}

#[test]
fn what_is_forgotten_at_one_door_is_not_put_back_by_another() {
    let all = Doors::start(FAST);
    let [a, _, c] = &all.doors[..] else { panic!("three doors") };
    let session = session_of(&log_in(a, "bob"));
    for guess in 0..6 {
        assert_eq!(tries(c, "192.0.2.1", "alice", &format!("wrong{guess}")), 403);
    }
    assert_eq!(tries(a, "192.0.2.1", "alice", "alice-secret"), 429);
    ctl(a, &["release", "--user", "alice"]);
    for guess in 0..5 {
        assert_eq!(tries(c, "192.0.2.1", "bob", &format!("wrong{guess}")), 403);
    }
    assert_eq!(tries(a, "192.0.2.1", "bob", "bob-secret"), 303);
    // The third door connects anew, and tells the store what failed there before it hears of what ended.
    all.relays[2].cut();
    wait_for_store(c, "away");
    assert_eq!(a.client().header("Cookie", &format!("doorward={session}")).get("/logout").status, 303);
    all.relays[2].open();
    wait_until_ended(&all.doors, &session);
    assert_eq!(tries(a, "192.0.2.1", "alice", "alice-secret"), 303);
    assert_eq!(tries(a, "192.0.2.1", "bob", "another"), 403);
    assert_eq!(tries(a, "192.0.2.1", "bob", "yet another"), 403);
}

#[test]
fn an_order_that_is_said_again_is_refused() {
    let all = Doors::start("");
    let monitor = all.store.monitor();
    let is_drained = |status: &serde_json::Value| {
        let nodes = status["backends"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["name"] == "node-b" && node["draining"] == true)
    };
    assert_eq!(all.doors[0].admin("POST", "/drain?backend=node-b&for=30m").0, 200);
    all.doors.iter().for_each(|door| _ = door.wait_for_status("drained", is_drained));
    // The order, and that two doors have done it: as MONITOR writes bytes.
    let began = Instant::now();
    let said: Vec<String> = loop {
        let heard = monitor.heard();
        let lines = heard.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let said: Vec<String> = lines
            .filter_map(|line| line.split_once("\"PUBLISH\" \"{test}:1:news\" "))
            .map(|(_, said)| said.trim_end().to_owned())
            .collect();
        if said.len() >= 3 {
            break said;
        }
        assert!(began.elapsed() < PATIENCE, "{heard}");
        std::thread::yield_now();
    };
    drop(monitor);
    assert_eq!(all.doors[0].admin("POST", "/undrain?backend=node-b").0, 200);
    all.doors.iter().for_each(|door| _ = door.wait_for_status("not drained", |status| !is_drained(status)));
    for said in &said {
        let script = format!("return redis.call('PUBLISH', '{{test}}:1:news', {})", lua(said));
        assert_eq!(all.store.say(&["EVAL", &script, "0"]), ":3\r\n", "three doors hear it");
    }
    for door in &all.doors {
        door.wait_for_status("refused", |status| status["cluster"]["refused"].as_u64() >= Some(3));
        assert!(!is_drained(&door.status()));
    }
}

/// A text in quotes as MONITOR writes it, as Lua reads it: bytes have decimal numbers there.
fn lua(quoted: &str) -> String {
    let (mut text, mut rest) = (String::new(), quoted);
    while let Some((before, after)) = rest.split_once('\\') {
        text += before;
        let hex = after.strip_prefix('x').and_then(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok());
        let (escape, length) = match hex {
            Some(byte) => (format!("\\{byte:03}"), 3),
            None => (format!("\\{}", &after[..1]), 1),
        };
        text += &escape;
        rest = &after[length..];
    }
    text + rest
}

#[test]
fn an_order_reaches_all_doors_and_a_door_that_is_gone_is_named() {
    let mut all = Doors::start("");
    let said = all.doors[0].admin("POST", "/drain?backend=node-b&for=30m");
    assert_eq!(said.0, 200, "{}", said.1);
    let told: serde_json::Value = serde_json::from_str(&said.1).expect("JSON");
    assert_eq!(told["doors"], serde_json::json!({"known": ["a", "b", "c"], "silent": []}));
    for door in &all.doors {
        let status = door.status();
        let node = status["backends"].as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == "node-b"));
        assert!(node.is_some_and(|node| node["draining"] == true), "{status:#}");
    }
    let said = ctl(&all.doors[1], &["cluster"]);
    assert!(said.contains("cluster test, door b") && said.matches("node-b").count() <= 3, "{said}");
    assert!(ctl(&all.doors[1], &["metrics"]).contains("doorward_cluster_doors 3"));
    drop(all.doors.pop());
    let said = all.doors[0].admin("POST", "/undrain?backend=node-b").1;
    let told: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(told["doors"]["silent"], serde_json::json!(["c"]), "{said}");
    all.doors[0].wait_for_log("a door of the cluster is away.*\"c\"|\"c\".*a door of the cluster is away", PATIENCE);
    let _ = (&all.node, &all.folder);
}

/// Debian's libfaketime: the clock of one process differs.
fn with_clock(offset: &str) -> Setup {
    let library = PathBuf::from("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
    let library =
        if library.exists() { library } else { "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1".into() };
    setup()
        .env("LD_PRELOAD", &library.display().to_string())
        .env("FAKETIME", offset)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn a_clock_that_differs_spares_no_session_and_one_that_differs_much_keeps_a_door_outside() {
    let store = Store::start(&[]);
    let all = Doors::start_with("", store, |door| match door {
        "b" => with_clock("+10s"),
        "c" => with_clock("-10s"),
        _ => setup(),
    });
    all.doors[1].wait_for_log("the clock of this door differs", PATIENCE);
    // Until the doors know how far their clocks are apart.
    all.doors[0].wait_for_status("clocks", |status| {
        let clocks =
            status["cluster"]["doors"].as_array().into_iter().flatten().filter_map(|door| door["clock"].as_i64());
        clocks.filter(|clock| clock.abs() > 5000).count() == 2
    });
    for ends in 0..3 {
        let begun: Vec<String> = all.doors.iter().map(|door| session_of(&log_in(door, "alice"))).collect();
        let said = ctl(&all.doors[ends], &["revoke", "--user", "alice"]);
        assert!(said.contains("known at a, b, c"), "{said}");
        for cookie in &begun {
            assert!(all.doors.iter().all(|door| !lives(door, cookie)), "ended at {ends}");
        }
    }
    let way = format!("store = [\"{}\"]", all.store.url());
    let text = config(&tables(&all.folder, "d", &way, ""), &[("node-a", &all.node, "")]);
    let outside = with_clock("+60s").serve(&text);
    outside.wait_for_log("does not join the cluster: its clock differs", PATIENCE);
    wait_for_store(&outside, "clock");
    assert_eq!(here(&all.doors[0].status()), 3);
    assert_eq!(post_login(&mut outside.client(), "/", "alice", "alice-secret").status, 303, "it serves all the same");
}

#[test]
fn doors_follow_the_sentinels_to_another_primary() {
    let primary = Store::start(&[]);
    let port = primary.address().port().to_string();
    let replica = Store::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinels = Sentinels::start("doors", &primary);
    sentinels.wait_until_ready("doors");
    let (folder, node) = (keys(), inbox());
    let urls: Vec<String> = sentinels.urls().iter().map(|url| format!("\"{url}\"")).collect();
    let way = format!("sentinel = {{ master = \"doors\", hosts = [{}] }}", urls.join(", "));
    let doors: Vec<Proxy> = ["a", "b"]
        .iter()
        .map(|door| setup().serve(&config(&tables(&folder, door, &way, ""), &[("node-a", &node, "")])))
        .collect();
    doors.iter().for_each(|door| wait_for_doors(door, 2));
    let session = session_of(&log_in(&doors[0], "alice"));
    let mut primary = primary;
    primary.stop();
    let out = doors[0].client().header("Cookie", &format!("doorward={session}")).get("/logout");
    assert_eq!(out.status, 303);
    sentinels.wait_for_primary("doors", replica.address());
    doors.iter().for_each(|door| wait_for_doors(door, 2));
    wait_until_ended(&doors, &session);
    assert_eq!(doors[0].status()["cluster"]["store"]["server"], replica.address().to_string());
}

#[test]
fn tls_and_an_account_are_used_and_a_store_that_may_forget_is_told_of() {
    let certs = harness::Certs::new();
    let pair = certs.server(&["localhost", "127.0.0.1"]);
    let path = |path: &std::path::Path| path.display().to_string();
    let (chain, key, ca) = (path(&pair.chain), path(&pair.key), path(certs.ca()));
    let secret = "store-secret-1";
    let store = Store::start(&[
        "--maxmemory-policy",
        "allkeys-lru",
        "--user",
        "doorward",
        "on",
        &format!(">{secret}"),
        "~{test}:1:*",
        "&{test}:1:*",
        "+@all",
        "--tls-cert-file",
        &chain,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--tls-port",
        "0",
    ]);
    // Which port TLS gets is decided once the plain one is known.
    let tls = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    assert_eq!(store.say(&["CONFIG", "SET", "tls-port", &tls.to_string()]), "+OK\r\n");
    let (folder, node) = (keys(), inbox());
    let way = format!(
        "store = [\"rediss://127.0.0.1:{tls}\"]\nuser = \"doorward\"\npassword-file = \"store.secret\"\nca = \"{ca}\""
    );
    let text = config(&tables(&folder, "a", &way, ""), &[("node-a", &node, "")]);
    let door = setup().file("store.secret", format!("{secret}\n")).serve(&text);
    wait_for_doors(&door, 1);
    door.wait_for_log("may forget ended sessions", PATIENCE);
    assert_eq!(door.status()["cluster"]["store"]["evicts"], "allkeys-lru");
    assert!(door.log().iter().all(|line| !line.contains(secret)));
    // Another password: the old one goes on until it is right again, and nothing of it is told.
    let wrong = setup().file("store.secret", "other").serve(&text.replace("door = \"a\"", "door = \"b\""));
    wait_for_store(&wrong, "away");
}

#[test]
fn a_configuration_with_faults_is_refused_with_its_places() {
    let node = inbox();
    let tables = |text: &str| config(&format!("{ADMIN}{text}"), &[("node-a", &node, "")]);
    let whole = "[cluster]\nname = \"test\"\ndoor = \"a\"\nstore = [\"redis://127.0.0.1:1\"]\nkey-file = \"k\"\n";
    for (text, told) in [
        ("[cluster]\n".to_owned(), ["cluster.name", "cluster.door", "cluster.store", "cluster.key-file"].as_slice()),
        (whole.to_owned(), &["session.key-file", "session.revocations-file"]),
        (whole.replace("redis://127.0.0.1:1", "redis://u:hidden@h"), &["cluster.store"]),
        (format!("{whole}when-away = \"never\"\ntimeout = \"1m\"\n"), &["cluster.when-away", "cluster.timeout"]),
        (
            format!("[session]\nkey-file = \"s\"\nrevocations-file = \"r\"\n{whole}"),
            &["cluster.key-file: found", "there is no such file"],
        ),
    ] {
        let ran = setup().refused(&tables(&text));
        told.iter().for_each(|told| assert!(ran.stderr.contains(told), "{told} of {text}: {}", ran.stderr));
        assert!(!ran.stderr.contains("hidden"), "{}", ran.stderr);
    }
}
