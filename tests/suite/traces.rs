//! Traces: what a collector gets, what nodes are told, and that neither clients nor a bad collector change anything.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Proxy, Request};
use serde_json::Value as Json;

use crate::support::{ADMIN, config, log_in, setup, webmail};

const LONG: Duration = Duration::from_secs(120);

/// A collector that takes what comes.
struct Collector {
    node: Backend,
    spans: Arc<Mutex<Vec<Json>>>,
}

impl Collector {
    fn start() -> Self {
        let spans: Arc<Mutex<Vec<Json>>> = Arc::default();
        let taken = spans.clone();
        let node = Backend::start(move |request| {
            assert_eq!(request.what(), ("POST", "/v1/traces"));
            let message: Json = serde_json::from_slice(request.body()).expect("JSON");
            for spans in message["resourceSpans"][0]["scopeSpans"].as_array().expect("a list") {
                taken.lock().expect("a lock").extend(spans["spans"].as_array().expect("a list").iter().cloned());
            }
            Answer::text("{}").header("Content-Type", "application/json")
        });
        Self { node, spans }
    }

    fn table(&self, more: &str) -> String {
        format!("[traces]\nendpoint = \"{}v1/traces\"\n{more}\n", with_slash(&self.node.url()))
    }

    /// The spans of the trace whose request was for this path, once they are there.
    #[track_caller]
    fn trace_of(&self, path: &str) -> Vec<Json> {
        let began = Instant::now();
        loop {
            let all = self.spans.lock().expect("a lock").clone();
            if let Some(root) = all.iter().find(|span| attribute(span, "url.path") == path) {
                return all.iter().filter(|span| span["traceId"] == root["traceId"]).cloned().collect();
            }
            assert!(began.elapsed() < LONG, "no trace of {path} in {all:#?}");
            std::thread::yield_now();
        }
    }

    fn paths(&self) -> BTreeSet<String> {
        let all = self.spans.lock().expect("a lock");
        let roots = all.iter().filter(|span| span["kind"] == 2);
        roots.map(|span| attribute(span, "url.path")).collect()
    }
}

fn with_slash(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

fn attribute(span: &Json, name: &str) -> String {
    let all = span["attributes"].as_array().into_iter().flatten();
    let value = all.into_iter().find(|one| one["key"] == name).map(|one| one["value"].clone());
    let value = value.and_then(|value| value.as_object()?.values().next().cloned());
    value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn named<'a>(spans: &'a [Json], name: &str) -> &'a Json {
    let found = spans.iter().find(|span| span["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

const POLICY: &str = "[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n";

/// What became of traces, by the metrics.
fn count(proxy: &Proxy, outcome: &str) -> u64 {
    let line = format!("doorward_traces_total{{outcome=\"{outcome}\"}} ");
    let metrics = proxy.admin("GET", "/metrics").1;
    let value = metrics.lines().find_map(|text| text.strip_prefix(&line)).expect("the counter");
    value.parse().expect("a number")
}

#[test]
fn a_collector_gets_one_trace_for_a_request_with_the_right_parents() {
    let (collector, node) = (Collector::start(), webmail(|_| Answer::text("inbox")));
    let extra = format!("{}{POLICY}", collector.table("sample = 1"));
    let proxy = setup().serve(&config(&extra, &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    client.get("/first?secret=x").expect(200);
    client.get("/second").expect(200);
    for path in ["/first", "/second"] {
        let spans = collector.trace_of(path);
        let roots: Vec<&Json> = spans.iter().filter(|span| span["kind"] == 2).collect();
        assert_eq!(roots.len(), 1, "{spans:#?}");
        let root = roots[0];
        assert_eq!((&root["name"], &root["parentSpanId"]), (&"GET".into(), &"".into()));
        for (name, value) in [
            ("http.response.status_code", "200"),
            ("doorward.site", "*"),
            ("doorward.node", "node-a"),
            ("doorward.ended", "whole"),
        ] {
            assert_eq!(attribute(root, name), value, "{name}");
        }
        for name in ["node node-a", "policy device-detection"] {
            let span = named(&spans, name);
            assert_eq!(span["parentSpanId"], root["spanId"], "{name}");
            let time = |span: &Json, name: &str| {
                span[name].as_str().and_then(|time| time.parse::<u128>().ok()).expect("a time")
            };
            assert!(time(span, "startTimeUnixNano") >= time(root, "startTimeUnixNano"), "{span:#} {root:#}");
            assert!(time(span, "endTimeUnixNano") <= time(root, "endTimeUnixNano"), "{span:#} {root:#}");
        }
        // The node is told of the same trace.
        let seen = node.hits().into_iter().find(|seen| seen.target.starts_with(path)).expect("the request");
        let text = |name: &str| root[name].as_str().expect("an id").to_owned();
        assert_eq!(seen.header("traceparent"), Some(&*format!("00-{}-{}-01", text("traceId"), text("spanId"))));
    }
    assert_eq!(attribute(named(&collector.trace_of("/second"), "policy device-detection"), "doorward.cached"), "true");
    // Of a login, each step of the recipe, and within it what the node did.
    let spans = collector.trace_of("/.doorward/login");
    let login = spans.iter().find(|span| span["name"] == "POST").map(|root| root["traceId"].clone());
    let all = collector.spans.lock().expect("a lock").clone();
    let step = named(&all, "recipe-step POST /login");
    let inner = all.iter().find(|span| span["name"] == "node node-a" && span["parentSpanId"] == step["spanId"]);
    assert!(inner.is_some(), "{all:#?}");
    assert!(login.is_none_or(|login| login == step["traceId"]));
    assert!(!format!("{all:?}").contains("secret"), "queries and passwords are told to nobody: {all:#?}");
}

#[test]
fn failures_are_always_told_and_a_client_forces_nothing() {
    let collector = Collector::start();
    let node = webmail(|request| match request.what().1 {
        "/broken" => Answer::text("broken").status(500),
        _ => Answer::text("inbox"),
    });
    let proxy = setup().serve(&config(&collector.table("sample = 0"), &[("node-a", &node, "")]));
    let mut client = log_in(&proxy, "alice");
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let forged = |path: &str| {
        let headers =
            [("traceparent", theirs), ("tracestate", "a=b"), ("baggage", "c=d"), ("b3", "1"), ("X-B3-Sampled", "1")];
        headers.into_iter().fold(Request::new("GET", path), |request, (name, value)| request.header(name, value))
    };
    for path in ["/one", "/two"] {
        client.send(forged(path)).expect(200);
    }
    assert_eq!(client.send(forged("/broken")).status, 500);
    let spans = collector.trace_of("/broken");
    assert_eq!(spans.iter().find(|span| span["kind"] == 2).map(|root| root["status"]["code"].clone()), Some(2.into()));
    assert_eq!(collector.paths(), BTreeSet::from(["/broken".to_owned()]));
    for seen in node.hits().iter().filter(|seen| seen.target.starts_with("/one") || seen.target == "/broken") {
        let told = seen.header("traceparent").expect("ours");
        assert!(!told.contains("4bf92f3577b34da6a3ce929d0e0e4736") && told.ends_with("-00"), "{told}");
        for name in ["tracestate", "baggage", "b3", "x-b3-sampled"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
    }
}

#[test]
fn what_clients_say_of_traces_reaches_no_node_without_a_collector_and_a_trusted_proxy_is_believed() {
    let node = webmail(|_| Answer::text("inbox"));
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = |extra: &str| {
        let proxy = setup().serve(&config(extra, &[("node-a", &node, "")]));
        let mut client = log_in(&proxy, "alice");
        let request = Request::new("GET", "/x").header("traceparent", theirs).header("baggage", "c=d");
        client.send(request).expect(200);
        let seen = node.hits().into_iter().rfind(|seen| seen.target == "/x").expect("the request");
        (["traceparent", "baggage"].map(|name| seen.header(name).map(str::to_owned)), proxy)
    };
    assert_eq!(ask("").0, [None, None]);
    let trusted = "[http]\ntrusted-proxies = [\"127.0.0.1\"]\n";
    assert_eq!(ask(trusted).0, [Some(theirs.to_owned()), Some("c=d".to_owned())]);
    let collector = Collector::start();
    let ([told, baggage], proxy) = ask(&format!("{trusted}{}", collector.table("sample = 0")));
    let (told, root) = (told.expect("ours"), collector.trace_of("/x"));
    assert!(
        told.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && told.ends_with("-01") && told != theirs,
        "{told}"
    );
    let root = root.iter().find(|span| span["kind"] == 2).expect("a root");
    assert_eq!((baggage.as_deref(), &root["parentSpanId"]), (Some("c=d"), &"00f067aa0ba902b7".into()));
    // What is on its way when the process ends is sent.
    let mut proxy = proxy;
    let mut client = log_in(&proxy, "alice");
    client.send(Request::new("GET", "/last").header("traceparent", theirs)).expect(200);
    drop(client);
    assert!(proxy.terminate().success());
    assert!(collector.paths().contains("/last"), "{:?}", collector.paths());
}

#[test]
fn a_collector_that_is_away_slow_or_wrong_costs_users_nothing() {
    let node = webmail(|_| Answer::text("inbox"));
    let (hangs, wrong) = (Backend::start(|_| Answer::hang()), Backend::start(|_| Answer::text("no").status(400)));
    let away = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    for url in [hangs.url(), wrong.url(), format!("http://{away}")] {
        let traces = format!("{ADMIN}[traces]\nendpoint = \"{}v1/traces\"\nsample = 1\n", with_slash(&url));
        let proxy = setup().serve(&config(&traces, &[("node-a", &node, "")]));
        let mut connection = proxy.client().connect();
        let request = "GET /x HTTP/1.1\r\nHost: a.test\r\nX-Requested-With: x\r\n\r\n";
        // More than wait at most.
        for _ in 0..30 {
            connection.write(request.repeat(50));
            for _ in 0..50 {
                assert_eq!(connection.read_response("GET").expect("an answer").status, 401);
            }
        }
        let began = Instant::now();
        while count(&proxy, "failed") == 0 || count(&proxy, "dropped") == 0 {
            assert!(began.elapsed() < LONG, "{url}");
            std::thread::yield_now();
        }
        assert_eq!(count(&proxy, "sent"), 0);
        proxy.wait_for_log("the collector takes no traces", LONG);
    }
}
