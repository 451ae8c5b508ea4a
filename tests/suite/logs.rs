//! Where the log goes: each kind to its targets, changed by reload, and never at the cost of a request.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use harness::{Answer, Client, Proxy, Request};
use serde_json::Value;

use crate::support::{ADMIN, config, log_in, post_login, setup, wait_for_file, webmail};

const LONG: Duration = Duration::from_secs(60);

/// A log host that does as it is told: reads nothing until somebody asks for a line.
struct Host(TcpListener);

/// Lines of one connection.
struct Lines(TcpStream, Vec<u8>);

impl Host {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn at(address: SocketAddr) -> Self {
        let end = Instant::now() + LONG;
        loop {
            match TcpListener::bind(address) {
                Ok(listener) => return Self(listener),
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    fn accept(&self) -> Lines {
        let (stream, _) = self.0.accept().expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        Lines(stream, Vec::new())
    }
}

impl Lines {
    /// The next message, by the length before it (RFC 6587, section 3.4.1); none at the end.
    fn next(&mut self) -> Option<String> {
        loop {
            let blank = self.1.iter().position(|b| *b == b' ');
            if let Some(blank) = blank {
                let length: usize = String::from_utf8_lossy(&self.1[..blank]).parse().expect("a length");
                if self.1.len() > blank + length {
                    let rest = self.1.split_off(blank + 1 + length);
                    let whole = std::mem::replace(&mut self.1, rest);
                    return Some(String::from_utf8(whole[blank + 1..].to_vec()).expect("UTF-8"));
                }
            }
            let mut some = [0; 65536];
            match self.0.read(&mut some).expect("bytes") {
                0 => return None,
                read => self.1.extend_from_slice(&some[..read]),
            }
        }
    }

    /// Reads on until a message has this in it: all of them.
    fn until(&mut self, what: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|line: &String| !line.contains(what)) {
            all.push(self.next().unwrap_or_else(|| panic!("{what} does not come: {all:?}")));
        }
        all
    }
}

/// The number of a path `/n-7` in a line.
fn number(line: &str) -> Option<usize> {
    let rest = line.split("/n-").nth(1)?;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

fn counts(proxy: &Proxy, target: &str) -> (u64, u64) {
    let status = proxy.status();
    let log = status["logs"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|log| log["target"].as_str().is_some_and(|name| name.contains(target)));
    let log = log.unwrap_or_else(|| panic!("{target} in {status}"));
    (log["written"].as_u64().expect("a number"), log["lost"].as_u64().expect("a number"))
}

#[test]
fn each_kind_goes_to_its_targets_and_a_reload_changes_them_without_a_lost_line() {
    let node = webmail(|_| Answer::text("inbox"));
    let to = |file: &str| {
        let text = format!(
            "{ADMIN}[[log.to]]\nwhat = [\"access\"]\nformat = \"json\"\ntarget = \"{file}\"\n\
             [[log.to]]\nwhat = [\"access\", \"login\"]\ntarget = \"all.log\"\nlevel = \"info\"\n\
             [[log.to]]\nwhat = [\"login\", \"audit\"]\nformat = \"rfc5424\"\nstructured-data = \"doorward@32473\"\n\
             target = \"login.log\"\nmask = [\"client:network\", \"user\"]\n"
        );
        config(&text, &[("node-a", &node, "")])
    };
    let proxy = setup().serve(&to("a.json"));
    let mut client = log_in(&proxy, "alice");
    let files = ["a.json", "b.json"];
    let mut asked = 0;
    for turn in 0..6 {
        let done = std::thread::scope(|scope| {
            let reloading = scope.spawn(|| {
                proxy.write("doorward.toml", to(files[(turn + 1) % 2]));
                proxy.admin("POST", "/reload").0
            });
            while !reloading.is_finished() {
                client.get(&format!("/n-{asked}")).expect(200);
                asked += 1;
            }
            reloading.join().expect("a reload")
        });
        assert_eq!(done, 200);
    }
    let read = |name: &str| std::fs::read_to_string(proxy.dir().join(name)).unwrap_or_default();
    let last = format!("/n-{}", asked - 1);
    wait_for_file(&proxy.dir().join("all.log"), |text| text.contains(&format!("path={last} ")));
    let end = Instant::now() + LONG;
    let numbers = || {
        let mut all: Vec<usize> =
            files.iter().flat_map(|name| read(name).lines().filter_map(number).collect::<Vec<_>>()).collect();
        all.sort_unstable();
        all
    };
    while numbers().len() < asked && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(numbers().into_iter().eq(0..asked), "{} of {asked}", numbers().len());
    assert!(files.iter().all(|name| !read(name).is_empty()), "both were written");
    for line in files.iter().flat_map(|name| read(name).lines().map(str::to_owned).collect::<Vec<_>>()) {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["kind"], &line["level"]), (&Value::from("access"), &Value::from("info")), "{line}");
    }
    let all = read("all.log");
    assert!(all.contains(" INFO access ") && all.contains(" INFO login ") && !all.contains("reloaded"), "{all}");
    let login = read("login.log");
    let line = login.lines().next().expect("a login");
    assert!(
        line.starts_with("<30>1 2") && line.contains(" login [doorward@32473 ") && line.ends_with("] login"),
        "{line}"
    );
    assert!(
        line.contains("client=\"127.0.0.0/24\"") && !line.contains(" user=") && line.contains("outcome=\"in\""),
        "{line}"
    );
    // What no target takes is on standard error; what one takes is not.
    let stderr = proxy.log().join("\n");
    assert!(stderr.contains("reloaded") && !stderr.contains("login "), "{stderr}");
}

#[test]
fn a_log_host_that_stands_still_delays_nobody_and_is_told_what_it_missed() {
    let host = Host::start();
    let node = webmail(|_| Answer::text("inbox"));
    let text = format!("{ADMIN}[[log.to]]\nwhat = [\"access\"]\ntarget = \"syslog+tcp://{}\"\n", host.address());
    let proxy = setup().serve(&config(&text, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    // The host takes the connection, and reads nothing of it.
    client.get("/n-0").expect(200);
    let mut lines = host.accept();
    let long = "x".repeat(6000);
    let (mut asked, began) = (1, Instant::now());
    while counts(&proxy, "syslog+tcp").1 == 0 {
        assert!(began.elapsed() < LONG, "no line is lost");
        for _ in 0..100 {
            client.get(&format!("/n-{asked}/{long}")).expect(200);
            asked += 1;
        }
    }
    client.get("/n-9999999").expect(200);
    let (mut seen, mut told) = (0, 0);
    while seen as u64 + told < asked as u64 + 1 {
        let line = lines.next().expect("a line");
        if line.contains("lines of a log were lost") {
            let json: Value = serde_json::from_str(&line[line.find('{').expect("JSON")..]).expect("JSON");
            told += json["lines"].as_u64().expect("a number");
        } else {
            seen += usize::from(number(&line).is_some());
        }
    }
    assert_eq!(told, counts(&proxy, "syslog+tcp").1, "each of them is told of");
    let metrics = proxy.admin("GET", "/metrics").1;
    assert!(
        metrics
            .contains(&format!("doorward_log_lines_lost_total{{target=\"syslog+tcp://{}\"}} {told}", host.address())),
        "{metrics}"
    );
}

#[test]
fn a_host_that_does_not_listen_by_udp_costs_its_lines_only() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    drop(socket);
    let node = webmail(|_| Answer::text("inbox"));
    // What is said about the log goes there too.
    let text = format!("{ADMIN}[[log.to]]\nwhat = [\"server\", \"access\"]\ntarget = \"syslog+udp://{address}\"\n");
    let proxy = setup().serve(&config(&text, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    let (mut asked, began) = (0, Instant::now());
    while counts(&proxy, "syslog+udp").1 < 5 {
        assert!(began.elapsed() < LONG, "no line is lost");
        client.get(&format!("/n-{asked}")).expect(200);
        asked += 1;
    }
    // Each line is written or lost, and the lines that say so are no reason for others.
    let (written, lost) = counts(&proxy, "syslog+udp");
    assert!(written + lost <= 3 * asked + 50, "{written} {lost} {asked}");
    let again = std::net::UdpSocket::bind(address).expect("the port");
    again.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let end = Instant::now() + LONG;
    let mut room = [0; 65536];
    loop {
        assert!(Instant::now() < end, "nothing comes");
        client.get("/n-9999999").expect(200);
        if again.recv(&mut room).is_ok_and(|read| String::from_utf8_lossy(&room[..read]).contains("/n-9999999")) {
            break;
        }
    }
    assert!(!proxy.log().iter().any(|line| line.contains("a log cannot be written")));
}

#[test]
fn a_log_host_that_closed_gets_the_next_line_on_another_connection() {
    let host = Host::start();
    let node = webmail(|_| Answer::text("inbox"));
    let text = format!("{ADMIN}[[log.to]]\nwhat = [\"access\"]\ntarget = \"syslog+tcp://{}\"\n", host.address());
    let proxy = setup().serve(&config(&text, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    for turn in 0..5 {
        client.get(&format!("/n-{turn}")).expect(200);
        let mut lines = host.accept();
        lines.until(&format!("/n-{turn}"));
        // It ends as a host does that is told to: it says so, and waits for the other end.
        lines.0.shutdown(std::net::Shutdown::Write).expect("an end");
    }
}

#[test]
fn logins_wait_in_a_file_while_their_log_host_is_away_and_come_in_order() {
    let host = Host::start();
    let address = host.address();
    let node = webmail(|_| Answer::text("inbox"));
    let text = format!(
        "state-directory = \"state\"\n{ADMIN}[[log.to]]\nwhat = [\"login\"]\nwhen-full = \"spool\"\ntarget = \"syslog+tcp://{address}\"\n"
    );
    let text = config(&text, &[("node-a", &node, "")]);
    let setup = setup();
    let mut folder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700).create(setup.dir().join("state")).expect("a folder");
    let proxy = setup.serve(&text);
    let fail = |proxy: &Proxy, name: &str| {
        assert_eq!(post_login(&mut proxy.client(), "/", name, "wrong").status, 403);
    };
    fail(&proxy, "n-0");
    host.accept().until("n-0");
    drop(host);
    for turn in 1..4 {
        fail(&proxy, &format!("n-{turn}"));
    }
    let spool = |dir: &Path| {
        let files = std::fs::read_dir(dir.join("state")).expect("a folder").flatten();
        let spool = files.map(|entry| entry.path()).find(|path| path.display().to_string().contains("spool-"));
        std::fs::read_to_string(spool.expect("a spool")).expect("a file")
    };
    let end = Instant::now() + LONG;
    while !spool(proxy.dir()).contains("n-3") {
        assert!(Instant::now() < end, "{}", spool(proxy.dir()));
        std::thread::sleep(Duration::from_millis(20));
    }
    proxy.wait_for_log("a log cannot be written", LONG);
    // They outlive the process.
    let proxy = proxy.stop().serve(&text);
    fail(&proxy, "n-4");
    let host = Host::at(address);
    let lines = host.accept().until("n-4");
    let order: Vec<usize> =
        lines.iter().filter_map(|line| line.split("\"user\":\"n-").nth(1)?.get(..1)?.parse().ok()).collect();
    assert_eq!(order, [1, 2, 3, 4], "{lines:?}");
    proxy.wait_for_status("it is well again", |status| {
        status["logs"].as_array().expect("a list").iter().all(|log| log["trouble"].is_null())
    });
}

#[test]
fn the_journal_gets_fields_and_the_local_syslog_gets_lines() {
    let setup = setup();
    let (journal, syslog) = (setup.dir().join("journal"), setup.dir().join("devlog"));
    let sockets = [&journal, &syslog].map(|path| {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(LONG)).expect("a timeout");
        socket
    });
    let node = webmail(|_| Answer::text("inbox"));
    let text = "[[log.to]]\nwhat = [\"access\", \"login\"]\ntarget = \"journald:journal\"\nfacility = \"mail\"\n\
        [[log.to]]\nwhat = [\"access\"]\ntarget = \"syslog:devlog\"\n";
    let proxy = setup.serve(&config(text, &[("node-a", &node, "")]));
    let answer = log_in(&proxy, "alice").get("/n-7");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let next = |socket: &UnixDatagram| {
        let mut room = vec![0; 65536];
        let read = socket.recv(&mut room).expect("a datagram");
        String::from_utf8(room[..read].to_vec()).expect("UTF-8")
    };
    let fields = loop {
        let entry = next(&sockets[0]);
        if entry.contains(&format!("\nREQUEST_ID={id}\n")) {
            break entry;
        }
    };
    // Each field is a line with its name (systemd's native protocol).
    for field in [
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=doorward",
        "SYSLOG_FACILITY=2",
        "KIND=access",
        "USER=alice",
        "SITE=*",
        "PATH=/n-7",
        "STATUS=200",
    ] {
        assert!(fields.lines().any(|line| line == field), "{field} in {fields}");
    }
    assert!(fields.starts_with("MESSAGE=access id="), "{fields}");
    for line in fields.lines() {
        let name = line.split_once('=').expect("a field").0;
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{line}");
    }
    let line = loop {
        let line = next(&sockets[1]);
        if line.contains("/n-7") {
            break line;
        }
    };
    assert!(line.starts_with("<30>") && line.contains(" doorward[") && line.contains("]: access id="), "{line}");
    // Who listens there may be started anew.
    drop(sockets);
    std::fs::remove_file(&journal).expect("a socket");
    let again = UnixDatagram::bind(&journal).expect("a socket");
    again.set_read_timeout(Some(LONG)).expect("a timeout");
    proxy.client().get("/n-8");
    while !next(&again).contains("PATH=/n-8") {}
}

/// All that comes by datagrams, up to the one with the last request in it.
fn datagrams(receive: impl Fn(&mut [u8]) -> std::io::Result<usize> + Send + 'static) -> Receiver<String> {
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut room = vec![0; 65536];
        while let Ok(read) = receive(&mut room) {
            let line = String::from_utf8(room[..read].to_vec()).expect("UTF-8");
            let last = line.contains("/the-end");
            if sender.send(line).is_err() || last {
                return;
            }
        }
    });
    heard
}

/// Requests with secrets in all places where somebody may have them.
fn send_secrets(proxy: &Proxy, client: &mut Client) {
    let secrets = [
        ("Authorization", "Basic YWxpY2U6czNjcmV0"),
        ("Cookie", "doorward=forged-s3cret; sid=sid-s3cret"),
        ("Proxy-Authorization", "Bearer proxy-s3cret"),
        ("X-Api-Key", "key-s3cret"),
        ("Referer", "https://a.test/?t=referrer-s3cret#fragment-s3cret"),
    ];
    for (name, value) in secrets {
        let _ = proxy.client().header(name, value).try_send(Request::new("POST", "/secret?q=query-s3cret"));
        let _ = client.try_send(Request::new("GET", "/more"));
    }
    // Not even where nothing of it is understood.
    proxy.client().raw("GET /?raw-s3cret HTTP/1.1\nCookie: a=raw-s3cret\n\n");
    proxy
        .client()
        .raw("POST /.doorward/login HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\npassword=raw-s3cret");
}

/// The first and the third are forms for people.
fn each_kind_is_in_each(sinks: &[String]) {
    // Forms of JSON and the journal name the kind; forms for people have it where the message says it. A decision in JSON is
    // its record as `policy replay` reads it.
    let kinds = ["server", "access", "login", "decision", "audit", "policy", "protocol"];
    for (at, kind) in kinds.iter().enumerate() {
        let is_said = |sink: &String| {
            let said = [format!("\"kind\":\"{kind}\""), format!("KIND={kind}"), format!("INFO {kind} ")];
            said.iter().any(|said| sink.contains(said)) || *kind == "decision" && sink.contains("\"asks\":\"device\"")
        };
        let missing: Vec<usize> = (0..sinks.len()).filter(|sink| !is_said(&sinks[*sink])).collect();
        let for_people = if [1, 2, 4].contains(&at) { &[][..] } else { &[0, 2] };
        assert!(missing.iter().all(|sink| for_people.contains(sink)), "{kind} is not in {missing:?}: {}", sinks[1]);
    }
    let reload = sinks[1].lines().find(|line| line.contains("\"reload\"")).expect("its line of the audit log");
    assert!(reload.contains("\"kind\":\"audit\""), "{reload}");
    for line in sinks[1].lines().filter(|line| line.contains("compiled a policy")) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(line["ms"].is_u64(), "a duration is a number: {line}");
    }
}

#[test]
fn each_kind_goes_to_each_target_and_no_secret_is_in_any_at_any_level() {
    let host = Host::start();
    let setup = setup();
    let local = ["journal", "devlog"].map(|name| {
        let socket = UnixDatagram::bind(setup.dir().join(name)).expect("a socket");
        socket.set_read_timeout(Some(LONG)).expect("a timeout");
        datagrams(move |room| socket.recv(room))
    });
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    udp.set_read_timeout(Some(LONG)).expect("a timeout");
    let by_udp = udp.local_addr().expect("an address");
    let [journal, devlog] = local;
    let udp = datagrams(move |room| udp.recv(room));
    let node = webmail(|request| match request.what().1 {
        "/cookie" => Answer::text("x").header("Set-Cookie", "other=node-s3cret; Path=/"),
        _ => Answer::text("inbox"),
    });
    let all = "what = [\"server\", \"access\", \"login\", \"decision\", \"audit\", \"policy\", \"protocol\"]\nlevel = \"debug\"\n";
    let text = format!(
        "{ADMIN}[log]\ndecisions-mask = [\"request.cookie\", \"request.query\"]\n\
         [[log.to]]\n{all}target = \"all.json\"\nformat = \"json\"\nfields = [\"agent\", \"referrer\"]\n\
         [[log.to]]\n{all}target = \"all.log\"\nfields = [\"agent\", \"referrer\"]\n\
         [[log.to]]\n{all}target = \"stderr\"\n\
         [[log.to]]\n{all}target = \"syslog+tcp://{}\"\n\
         [[log.to]]\n{all}target = \"syslog+udp://{by_udp}\"\n\
         [[log.to]]\n{all}target = \"journald:journal\"\n\
         [[log.to]]\n{all}target = \"syslog:devlog\"\nformat = \"json\"\n\
         [[policy]]\nname = \"device-detection\"\nasks = \"device\"\ndecisions = \"full\"\n\
         [[policy]]\nname = \"auth-mode\"\nasks = \"auth-mode\"\ndecisions = \"full\"\n[policy.settings]\ndefault = \"ldap-bind\"\n",
        host.address()
    );
    let proxy = setup.serve(&config(&text, &[("node-a", &node, "")]));
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = host.accept();
        while let Some(line) = lines.next() {
            let last = line.contains("/the-end");
            if sender.send(line).is_err() || last {
                return;
            }
        }
    });
    assert_eq!(post_login(&mut proxy.client(), "/", "alice", "wr0ng-s3cret").status, 403);
    let mut client = log_in(&proxy, "alice");
    let session = client.cookie("doorward").expect("a session").to_owned();
    client.get("/x?token=query-s3cret");
    client.get("/cookie");
    send_secrets(&proxy, &mut client);
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    client.get("/the-end");
    let mut sinks = vec![proxy.log().join("\n")];
    for name in ["all.json", "all.log"] {
        sinks.push(wait_for_file(&proxy.dir().join(name), |text| text.contains("/the-end")));
    }
    sinks.extend([heard, udp, journal, devlog].map(|heard| heard.iter().collect::<Vec<_>>().join("\n")));
    each_kind_is_in_each(&sinks);
    for sink in &sinks {
        assert!(sink.contains("login") && sink.contains("access"), "{sink}");
        for secret in ["s3cret", "alice-secret", "YWxpY2U6czNjcmV0", session.as_str()] {
            assert!(!sink.contains(secret), "{secret} in {sink}");
        }
    }
}

#[test]
fn the_original_s_keys_and_former_ones_are_told_what_to_write_instead() {
    let check = |extra: &str, says: &[&str]| {
        let node = webmail(|_| Answer::text(""));
        let ran = setup().refused(&config(extra, &[("node-a", &node, "")]));
        for word in says {
            assert!(ran.stderr.contains(word), "{extra}: {}", ran.stderr);
        }
    };
    check("logHost = \"10.0.0.1:514\"", &["logHost", "syslog+udp://"]);
    check("logType = \"file\"\nlogLevel = 15", &["logType", "logLevel", "[[log.to]]", "protocol"]);
    check("[log]\naccess = \"a.log\"\nlevel = \"debug\"", &["log.access", "what = [\"access\"]", "log.level"]);
    for (to, says) in [
        ("target = \"syslog+udp://host\"", "a host and a port"),
        ("target = \"syslog+tcp://host:514\"\nformat = \"text\"", "rfc5424"),
        ("target = \"x.log\"\nca = \"ca.pem\"", "syslog+tls"),
        ("target = \"syslog+tls://host:6514\"\nca = \"ca.pem\"", "ca.pem"),
        ("target = \"x.log\"\nwhat = [\"acess\"]", "did you mean \"access\""),
        ("target = \"x.log\"\nmask = [\"user:hash\"]", "mask-key-file"),
        ("target = \"x.log\"\nwhen-full = \"spool\"", "login"),
        ("target = \"x.log\"\nwhat = [\"login\"]\nwhen-full = \"spool\"", "state-directory"),
        ("target = \"missing/x.log\"", "missing/x.log"),
    ] {
        check(&format!("[[log.to]]\n{to}\n"), &[says]);
    }
}

#[test]
fn a_value_s_hash_is_the_same_for_the_same_value_and_needs_its_key() {
    let node = webmail(|_| Answer::text("inbox"));
    let to = |name: &str| {
        format!(
            "[[log.to]]\nwhat = [\"access\"]\ntarget = \"{name}.log\"\nmask = [\"user:hash\", \"client\"]\nmask-key-file = \"{name}.key\"\n"
        )
    };
    let setup = setup().file("one.key", [1; 32]).file("two.key", [2; 32]);
    let proxy = setup.serve(&config(&format!("{}{}", to("one"), to("two")), &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    client.get("/n-1").expect(200);
    client.get("/n-2").expect(200);
    let hashes = ["one", "two"].map(|name| {
        let text = wait_for_file(&proxy.dir().join(format!("{name}.log")), |text| text.contains("/n-2"));
        assert!(!text.contains("client=") && !text.contains("user=alice"), "{text}");
        let of = |path: &str| {
            let line = text.lines().find(|line| line.contains(path)).expect("a line");
            line.split(" user=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a user").to_owned()
        };
        assert_eq!(of("/n-1"), of("/n-2"));
        of("/n-1")
    });
    assert!(hashes[0] != hashes[1] && hashes[0].len() == 16, "{hashes:?}");
}

/// Many writers, one file: no line is torn.
#[test]
fn lines_of_two_targets_with_one_path_are_whole() {
    let node = webmail(|_| Answer::text("inbox"));
    let to = |format: &str| format!("[[log.to]]\nwhat = [\"access\"]\nformat = \"{format}\"\ntarget = \"both.log\"\n");
    let proxy = setup().serve(&config(&format!("{}{}", to("text"), to("json")), &[("node-a", &node, "")]));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = proxy.client();
                (0..50).for_each(|turn| drop(client.get(&format!("/n-{}", thread * 50 + turn))));
            });
        }
    });
    let is_whole = |line: &str| {
        line.starts_with("{\"time\"") && line.ends_with('}')
            || line.contains(" INFO access ") && line.contains(" generation=")
    };
    let text = wait_for_file(&proxy.dir().join("both.log"), |text| text.lines().count() >= 400);
    assert!(text.lines().all(is_whole), "{text}");
}
