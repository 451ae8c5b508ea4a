//! The log goes to real syslog servers: each line once, with its fields, whatever a stranger put into them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Answer, Certs, Pair, Program, Proxy};
use serde_json::Value;

use crate::support::{ADMIN, config, log_in, post_login, setup, webmail};

/// How lines go to a log host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Udp,
    Tcp,
    Tls,
}

/// A real log host, which writes what it reads as JSON: one object a line.
struct LogHost {
    _program: Program,
    folder: harness::TempDir,
    certs: Certs,
    client: Pair,
    way: Way,
    port: u16,
}

/// A port that nobody has now.
fn free_port(way: Way) -> u16 {
    let address = match way {
        Way::Udp => std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()),
        Way::Tcp | Way::Tls => std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()),
    };
    address.expect("a port").port()
}

fn rsyslog(way: Way, port: u16, folder: &Path, certs: (&Path, &Pair)) -> (String, Command) {
    let (ca, server) = certs;
    let input = match way {
        Way::Udp => format!(
            "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"r\")\n"
        ),
        Way::Tcp => format!(
            "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"r\")\n"
        ),
        Way::Tls => format!(
            "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{}\" \
             defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\")\n\
             module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/certvalid\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"r\")\n",
            ca.display(),
            server.chain.display(),
            server.key.display()
        ),
    };
    let text = format!(
        "global(workDirectory=\"{folder}\" maxMessageSize=\"64k\")\nmodule(load=\"mmjsonparse\")\n{input}\
         template(name=\"line\" type=\"string\" string=\"{{\\\"severity\\\":\\\"%syslogseverity-text%\\\",\\\"facility\\\":\\\"%syslogfacility-text%\\\",\
         \\\"app\\\":\\\"%app-name%\\\",\\\"id\\\":\\\"%msgid%\\\",\\\"fields\\\":%$!all-json-plain%}}\\n\")\n\
         ruleset(name=\"r\") {{ action(type=\"mmjsonparse\" cookie=\"\") action(type=\"omfile\" file=\"{folder}/out\" template=\"line\") }}\n",
        folder = folder.display()
    );
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.args(["-n", "-i"]).arg(folder.join("pid")).arg("-f").arg(folder.join("conf"));
    (text, command)
}

fn syslog_ng(way: Way, port: u16, folder: &Path, certs: (&Path, &Pair)) -> (String, Command) {
    let (ca, server) = certs;
    let transport = match way {
        Way::Udp => "transport(\"udp\")".to_owned(),
        Way::Tcp => "transport(\"tcp\")".to_owned(),
        Way::Tls => format!(
            "transport(\"tls\") tls(ca-file(\"{}\") cert-file(\"{}\") key-file(\"{}\") peer-verify(required-trusted))",
            ca.display(),
            server.chain.display(),
            server.key.display()
        ),
    };
    let text = format!(
        "@version: 3.35\noptions {{ flush-lines(1); log-msg-size(65536); stats-freq(0); keep-hostname(yes); }};\n\
         source s {{ syslog(ip(\"127.0.0.1\") port({port}) {transport}); }};\n\
         parser p {{ json-parser(prefix(\"fields.\")); }};\n\
         destination d {{ file(\"{}/out\" template(\"$(format-json severity=$LEVEL facility=$FACILITY app=$PROGRAM id=$MSGID fields.* --pair fields.message=${{fields.message}})\\n\")); }};\n\
         log {{ source(s); parser(p); destination(d); }};\n",
        folder.display()
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/syslog-ng");
    let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
    command
        .env("LD_LIBRARY_PATH", root.join("usr/lib/syslog-ng"))
        .args(["-F", "--no-caps", "-f"])
        .arg(folder.join("conf"))
        .arg("--module-path")
        .arg(root.join("usr/lib/syslog-ng/3.38"));
    for (option, name) in [("-R", "persist"), ("-p", "pid"), ("-c", "control")] {
        command.arg(option).arg(folder.join(name));
    }
    (text, command)
}

type Kind = fn(Way, u16, &Path, (&Path, &Pair)) -> (String, Command);

impl LogHost {
    fn start(name: &str, kind: Kind, way: Way) -> Self {
        let certs = Certs::new();
        let (server, client) = (certs.server(&["localhost"]), certs.client("doorward"));
        // Somebody else may take the port in between: then it ends, and another one is tried.
        for _ in 0..5 {
            let (folder, port) = (harness::temp_dir(), free_port(way));
            let (text, mut command) = kind(way, port, folder.path(), (certs.ca(), &server));
            std::fs::write(folder.path().join("conf"), text).expect("a configuration");
            let mut program = Program::start(name, &mut command);
            if reached(&mut program, way, port, &folder.path().join("out")) {
                return Self { _program: program, folder, certs, client, way, port };
            }
        }
        panic!("{name} does not listen");
    }

    /// A target for it, with what TLS needs.
    fn target(&self, more: &str) -> String {
        let port = self.port;
        match self.way {
            Way::Udp => format!("[[log.to]]\ntarget = \"syslog+udp://127.0.0.1:{port}\"\n{more}\n"),
            Way::Tcp => format!("[[log.to]]\ntarget = \"syslog+tcp://127.0.0.1:{port}\"\n{more}\n"),
            Way::Tls => format!(
                "[[log.to]]\ntarget = \"syslog+tls://localhost:{port}\"\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n{more}\n",
                self.certs.ca().display(),
                self.client.chain.display(),
                self.client.key.display()
            ),
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// What it has written of a kind.
    fn read(&self, kind: &str) -> Vec<Value> {
        let text = String::from_utf8_lossy(&std::fs::read(self.out()).unwrap_or_default()).into_owned();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["id"] == kind).collect()
    }
}

/// Waits until it listens; false where it has ended.
fn reached(program: &mut Program, way: Way, port: u16, out: &Path) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while program.runs() && Instant::now() < end {
        let is_there = match way {
            Way::Tcp | Way::Tls => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
            Way::Udp => {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
                let _ = socket.send_to(b"<14>1 - - test - probe - {\"message\":\"probe\"}", ("127.0.0.1", port));
                out.exists()
            }
        };
        if is_there {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

const HARD: &str = "a\"b\\c]d\ne\u{e9}\u{6f22}=x";

/// Requests so many pages, a few at a time where nobody says how far the host is, and sees each of them there once.
fn every_line_arrives_once(host: &LogHost, count: usize) {
    let node = webmail(|_| Answer::text("inbox"));
    let target = host.target("what = [\"access\", \"login\"]\nfacility = \"mail\"\nfields = [\"agent\", \"referrer\"]");
    let proxy: Proxy = setup().serve(&config(&target, &[("node-a", &node, "")]));
    assert_eq!(post_login(&mut proxy.client(), "/", HARD, "wrong").status, 403);
    let agent = "x\"y\\z] \u{e9}";
    let mut client = log_in(&proxy, "alice").header("User-Agent", agent).header("Referer", "https://a.test/b?secret=1");
    let step = if host.way == Way::Udp { 50 } else { count };
    for begin in (0..count).step_by(step) {
        for number in begin..(begin + step).min(count) {
            client.get(&format!("/n-{number}")).expect(200);
        }
        let end = Instant::now() + Duration::from_secs(120);
        let paths = || {
            host.read("access")
                .into_iter()
                .filter(|line| line["fields"]["path"].as_str().is_some_and(|path| path.starts_with("/n-")))
                .count()
        };
        while paths() < (begin + step).min(count) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let mut seen: Vec<usize> = Vec::new();
    for line in host.read("access") {
        let fields = &line["fields"];
        let Some(number) = fields["path"].as_str().and_then(|path| path.strip_prefix("/n-")) else { continue };
        seen.push(number.parse().expect("a number"));
        let text = |key: &str| fields[key].as_str().map(str::to_owned).unwrap_or_else(|| fields[key].to_string());
        assert_eq!((line["app"].as_str(), line["facility"].as_str()), (Some("doorward"), Some("mail")), "{line}");
        assert!(line["severity"].as_str().is_some_and(|severity| severity.starts_with("info")), "{line}");
        assert_eq!((text("status").as_str(), text("user").as_str(), text("ended").as_str()), ("200", "alice", "whole"));
        assert_eq!((text("agent").as_str(), text("referrer").as_str()), (agent, "https://a.test/b"), "{line}");
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..count), "{} lines, {:?} of {:?}", seen.len(), seen.first(), seen.last());
    let login = host.read("login");
    let hard: Vec<&Value> = login.iter().filter(|line| line["fields"]["outcome"] == "wrong").collect();
    assert_eq!(hard.len(), 1, "{login:?}");
    // As a form sends the end of a line.
    assert_eq!(hard[0]["fields"]["user"], HARD.replace('\n', "\r\n"), "{login:?}");
}

#[test]
fn rsyslog_takes_ten_thousand_lines_by_tcp() {
    every_line_arrives_once(&LogHost::start("rsyslogd", rsyslog, Way::Tcp), 10_000);
}

#[test]
fn rsyslog_takes_lines_by_tls_with_a_client_certificate_and_by_udp() {
    every_line_arrives_once(&LogHost::start("rsyslogd", rsyslog, Way::Tls), 1000);
    every_line_arrives_once(&LogHost::start("rsyslogd", rsyslog, Way::Udp), 300);
}

#[test]
fn syslog_ng_takes_ten_thousand_lines_by_tls_with_a_client_certificate() {
    every_line_arrives_once(&LogHost::start("syslog-ng", syslog_ng, Way::Tls), 10_000);
}

#[test]
fn syslog_ng_takes_lines_by_tcp_and_by_udp() {
    every_line_arrives_once(&LogHost::start("syslog-ng", syslog_ng, Way::Tcp), 1000);
    every_line_arrives_once(&LogHost::start("syslog-ng", syslog_ng, Way::Udp), 300);
}

#[test]
fn a_log_host_that_asks_for_a_certificate_and_gets_none_is_told_of() {
    let host = LogHost::start("rsyslogd", rsyslog, Way::Tls);
    let node = webmail(|_| Answer::text("inbox"));
    let target = format!("{ADMIN}[[log.to]]\nwhat = [\"access\"]\ntarget = \"syslog+tls://localhost:{}\"\n", host.port);
    let proxy = setup().serve(&config(&target, &[("node-a", &node, "")]));
    proxy.client().get("/x").expect(200);
    // The system's authorities do not know it.
    proxy.wait_for_log("a log cannot be written.*syslog.tls", Duration::from_secs(60));
    assert!(proxy.status()["logs"][0]["trouble"].is_string());
    assert!(!std::fs::read_to_string(host.out()).unwrap_or_default().contains("/x"), "it took no line");
}
