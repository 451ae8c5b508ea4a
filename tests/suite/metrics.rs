//! What is counted, and how it is told: by the judges of both formats, and by clients that counted themselves.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Certs, Proxy, Request};

use crate::admin::Desk;
use crate::documents::{anchors, document};
use crate::support::{ADMIN, config, log_in, setup, webmail};

const LONG: Duration = Duration::from_secs(120);

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

/// Nodes, a policy with a shadow, and a login: whatever has numbers has some.
fn served() -> (Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let policy = "[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n";
    // Nobody takes them, but there are some.
    let traces = "[traces]\nendpoint = \"http://127.0.0.1:9/v1/traces\"\nsample = 1\n";
    let proxy = setup().serve(&config(&format!("{ADMIN}{traces}{policy}"), &[("node-a", &node, "")]));
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
    let exemplar = regex_lite::Regex::new(r#"le="[0-9.]+"\} \d+ # \{trace_id="[0-9a-f]{32}"\} [0-9.]+ [0-9.]+"#)
        .expect("a pattern");
    assert!(exemplar.is_match(&open) && !prometheus.contains("trace_id"), "{open}");
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
    assert_eq!(proxy.status()["sessions-ended"], serde_json::json!({"logout": 1}));
}

#[test]
fn an_orchestrator_is_told_to_send_no_more_while_it_drains_and_that_it_lives() {
    let desk = Desk::start(&format!("drain-delay = \"1h\"\n{}", crate::admin::ADMIN));
    let ask = |path: &str| desk.client().get(path).status;
    assert_eq!((ask("/live"), ask("/ready")), (200, 200));
    desk.proxy.begin_to_terminate();
    let began = Instant::now();
    while ask("/ready") != 503 {
        assert!(began.elapsed() < LONG, "it is ready for good");
        std::thread::yield_now();
    }
    assert_eq!(ask("/live"), 200);
}

/// The names and labels of all series.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// The sum of all series of a metric whose labels have this part.
fn sum(metrics: &str, name: &str, part: &str) -> f64 {
    let of = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']) && line.contains(part);
    metrics.lines().filter(of).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn what_clients_make_up_adds_no_series() {
    let node = webmail(|_| Answer::text("inbox"));
    let named = "[[site]]\nhosts = [\"mail.test\"]\n";
    let proxy = setup().serve(&format!("{}{named}", config(ADMIN, &[("node-a", &node, "")])));
    let ask = |method: &str, host: &str, path: &str| {
        format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nX-Requested-With: x\r\n\r\n")
    };
    // One of each sort.
    let mut connection = proxy.client().connect();
    for (method, host) in [("GET", "mail.test"), ("GET", "a.test"), ("MADEUP", "a.test"), ("MADEUP", "mail.test")] {
        connection.write(ask(method, host, "x"));
        assert_eq!(connection.read_response(method).expect("an answer").status, 401);
    }
    let wait_for = |count: f64| {
        let began = Instant::now();
        loop {
            let metrics = scrape(&proxy, "*/*");
            let counted = sum(&metrics, "doorward_requests_total", "");
            if counted >= count {
                assert_eq!(counted, count);
                return metrics;
            }
            assert!(began.elapsed() < LONG, "{counted} of {count}: {metrics}");
        }
    };
    let before = series(&wait_for(4.0));
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut connection = proxy.client().connect();
                for batch in 0..50_u32 {
                    let one = |n: u32| {
                        let seed = (thread * 10_000 + batch * 50 + n).wrapping_mul(2_654_435_761);
                        let host = if n.is_multiple_of(5) { "mail.test".to_owned() } else { format!("h{seed:x}.test") };
                        let method = if n.is_multiple_of(3) { "GET".to_owned() } else { format!("M{seed:X}") };
                        (method.clone(), ask(&method, &host, &format!("p{seed:x}?q={seed}")))
                    };
                    let requests: Vec<_> = (0..50).map(one).collect();
                    connection.write(requests.iter().map(|(_, request)| request.as_str()).collect::<String>());
                    for (method, _) in &requests {
                        assert_eq!(connection.read_response(method).expect("an answer").status, 401);
                    }
                }
            });
        }
    });
    let metrics = wait_for(10_004.0);
    let bounds = |series: &str| !series.contains("_bucket{");
    let (before, after) = (before.iter(), series(&metrics));
    let before: BTreeSet<_> = before.filter(|series| bounds(series)).cloned().collect();
    let after: BTreeSet<_> = after.into_iter().filter(|series| bounds(series)).collect();
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(sum(&metrics, "doorward_requests_total", "site=\"mail.test\""), 2.0 + 2_000.0);
    assert_eq!(sum(&metrics, "doorward_requests_total", "method=\"GET\""), 2.0 + 4.0 * 50.0 * 17.0);
}

#[test]
fn counters_equal_what_clients_count_over_reloads_and_with_workers_that_come_and_go() {
    let node = webmail(|request| Answer::text("x".repeat(request.body().len())));
    let extra = format!("{ADMIN}[threads]\nmin = 1\nmax = 3\ngrow-after = \"250ms\"\nshrink-after = \"250ms\"\n");
    let (before, after) =
        ("[[site]]\nhosts = [\"a.test\"]\n[[site]]\nhosts = [\"b.test\"]\n", "[[site]]\nhosts = [\"b.test\"]\n");
    let text = config(&extra, &[("node-a", &node, "")]);
    let proxy = setup().serve(&format!("{text}{before}"));
    let mut clients: Vec<_> = (0..4).map(|_| log_in(&proxy, "alice")).collect();
    let logins = 2.0 * 4.0;
    let (stop, counted) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in &mut clients {
            let (stop, counted) = (&stop, &counted);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.send(Request::new("POST", "/x").body("1234567"));
                    assert_eq!((answer.status, answer.body.len()), (200, 7));
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..6 {
            // Sites get other numbers.
            let sites = if round % 2 == 0 { after } else { before };
            proxy.write("doorward.toml", format!("{text}{sites}"));
            proxy.admin("POST", "/reload");
            let (from, began) = (counted.load(Ordering::Relaxed), Instant::now());
            while counted.load(Ordering::Relaxed) < from + 200 {
                assert!(began.elapsed() < LONG);
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let posts = counted.load(Ordering::Relaxed) as f64;
    let began = Instant::now();
    let metrics = loop {
        let metrics = scrape(&proxy, "*/*");
        if sum(&metrics, "doorward_requests_total", "ended=\"whole\"") >= posts + logins {
            break metrics;
        }
        assert!(began.elapsed() < LONG, "{posts}: {metrics}");
    };
    let requests = |part: &str| sum(&metrics, "doorward_requests_total", part);
    assert_eq!((requests(""), requests("method=\"POST\"")), (posts + logins, posts + 4.0), "{metrics}");
    assert_eq!(requests("site=\"*\""), posts + logins);
    assert_eq!(sum(&metrics, "doorward_request_duration_seconds_count", ""), posts + logins);
    let of_logins = sum(&metrics, "doorward_received_bytes_total", "") - 7.0 * posts;
    assert!(of_logins > 0.0 && of_logins < 4.0 * 1000.0, "{of_logins}");
    assert_eq!(sum(&metrics, "doorward_backend_queue_seconds_count", ""), posts + 4.0);
    assert_eq!(sum(&metrics, "doorward_backend_first_byte_seconds_count", ""), posts + 4.0);
    assert_eq!(value(&metrics, "doorward_logins_total{outcome=\"in\",reason=\"\"}"), 4.0);
    assert_eq!(sum(&metrics, "doorward_login_duration_seconds_count", "outcome=\"in\""), 4.0);
}

/// What is shipped for those who watch: the text of a file.
fn shipped(name: &str) -> String {
    document(&format!("host/package/{name}"))
}

/// Every metric that a text names, without the suffixes of histograms' series.
fn named(text: &str) -> BTreeSet<String> {
    let name = regex_lite::Regex::new(r"\b(?:doorward|process)_[a-z0-9_]+\b").expect("a pattern");
    let plain =
        |name: &str| name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum").to_owned();
    name.find_iter(text).map(|found| plain(found.as_str())).collect()
}

#[test]
fn rules_and_dashboard_name_what_there_is_and_lead_to_what_to_do() {
    let (_node, proxy) = served();
    let there: BTreeSet<String> = scrape(&proxy, "*/*")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    let (rules, dashboard) = (shipped("prometheus/doorward.rules.yml"), shipped("grafana/doorward.json"));
    for text in [&rules, &dashboard] {
        assert!(named(text).len() > 15, "{:?}", named(text));
        assert_eq!(named(text).difference(&there).collect::<Vec<_>>(), Vec::<&String>::new());
    }
    serde_json::from_str::<serde_json::Value>(&dashboard).expect("JSON");
    let anchors = anchors(&document("docs/operations.md"));
    let links: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    assert_eq!(links.len(), rules.matches("- alert: ").count());
    for link in links {
        let anchor = link.strip_prefix("operations.md#").expect("a heading of operations.md");
        assert!(anchors.contains(anchor), "{link} has no such heading");
    }
}

/// What promtool says of a file of `host/package/prometheus`, or of `tests/suite`.
fn promtool(arguments: &[&str], file: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("promtool").args(arguments).arg(root.join(file)).output();
    let output = output.expect("promtool: tests/run packages installs it");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn the_rules_are_right_and_fire_when_they_should() {
    promtool(&["check", "rules"], "host/package/prometheus/doorward.rules.yml");
    promtool(&["test", "rules"], "tests/suite/alerts.yml");
}
