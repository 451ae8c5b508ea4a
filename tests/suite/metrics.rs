//! What is counted, and how it is told: by the judges of both formats, and by clients that counted themselves.

use std::io::Write as _;
use std::process::{Command, Stdio};

use harness::{Answer, Backend, Certs, Proxy};

use crate::support::{config, log_in, setup, webmail};

/// The metrics in the format of an `Accept`.
fn scrape(proxy: &Proxy, accept: &str) -> String {
    let (status, text) = proxy.admin_with("GET", "/metrics", &format!("Accept: {accept}"));
    assert_eq!(status, 200, "{text}");
    text
}

/// The value of one series, by its name and labels as they are printed; 0 where there is none yet.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap_or_else(|_| panic!("{series}: {value}")))
}

/// A program that reads text, and says nothing where it is content.
fn judge(mut command: Command, text: &str) -> String {
    let mut judge = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run packages installs it"));
    judge.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = judge.wait_with_output().expect("its end");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{text}");
    said
}

const ADMIN: &str = "[admin]\nsocket = \"admin.sock\"\n";

/// Nodes, a policy with a shadow, and a login: whatever has numbers has some.
fn served() -> (Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let policy = "[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n";
    let proxy = setup().serve(&config(&format!("{ADMIN}{policy}"), &[("node-a", &node, "")]));
    log_in(&proxy, "alice").get("/").expect(200);
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    (node, proxy)
}

#[test]
fn both_formats_are_as_their_judges_want_them() {
    let (_node, proxy) = served();
    let prometheus = scrape(&proxy, "text/plain");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    assert_eq!(judge(promtool, &prometheus), "");
    let open = scrape(&proxy, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let mut parser = Command::new("/usr/bin/python3");
    let read = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                print(sum(len(family.samples) for family in read(sys.stdin.read())))";
    parser.args(["-c", read]);
    let samples: usize = judge(parser, &open).trim().parse().expect("a number");
    assert_eq!(samples, prometheus.lines().filter(|line| !line.starts_with('#')).count());
}

#[test]
fn handshakes_and_certificates_are_told_by_listener() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let pair = certs.server(&["mail.test"]);
    let read = |path: &std::path::Path| std::fs::read(path).expect("a PEM file");
    let listener = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
                    certificates = [{ names = [\"mail.test\"], chain = \"a.pem\", key = \"a.key\" }]\n";
    let proxy = setup()
        .file("a.pem", read(&pair.chain))
        .file("a.key", read(&pair.key))
        .serve(&config(&format!("{ADMIN}{listener}"), &[("node-a", &node, "")]));
    for _ in 0..3 {
        proxy.client().site("mail.test").tls(certs.ca()).get("/").expect(200);
    }
    proxy.client().raw("GET / HTTP/1.0\r\n\r\n");
    let metrics = scrape(&proxy, "*/*");
    let count = |version: &str, result: &str| {
        let labels = format!("listener=\"public\",version=\"{version}\",result=\"{result}\"");
        value(&metrics, &format!("doorward_tls_handshakes_total{{{labels}}}"))
    };
    assert_eq!((count("1.3", "full"), count("none", "not-tls")), (3.0, 1.0), "{metrics}");
    let file = proxy.dir().join("a.pem");
    let end = format!("doorward_certificate_end_timestamp_seconds{{listener=\"public\",file=\"{}\"}}", file.display());
    let said =
        Command::new("openssl").args(["x509", "-enddate", "-noout", "-in"]).arg(&file).output().expect("openssl");
    let date = String::from_utf8_lossy(&said.stdout).trim().trim_start_matches("notAfter=").to_owned();
    let date = Command::new("date").args(["-u", "+%s", "-d", &date]).output().expect("date");
    let expected: f64 = String::from_utf8_lossy(&date.stdout).trim().parse().expect("seconds");
    assert_eq!(value(&metrics, &end), expected, "{metrics}");
}

#[test]
fn sessions_are_counted_as_they_begin_and_end() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup().serve(&config(ADMIN, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    log_in(&proxy, "alice");
    client.get("/.doorward/logout");
    let metrics = scrape(&proxy, "*/*");
    assert_eq!(value(&metrics, "doorward_sessions_opened_total"), 2.0);
    assert_eq!(value(&metrics, "doorward_sessions_ended_total{reason=\"logout\"}"), 1.0);
    assert_eq!(proxy.status()["sessions"], serde_json::json!({"opened": 2, "ended": {"logout": 1}}));
}
