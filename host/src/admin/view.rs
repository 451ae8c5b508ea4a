//! What the admin socket shows: the status as JSON, and metrics in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use crate::back::Node;
use crate::directory::State;
use crate::log;
use crate::policy::{Health, Policy};
use crate::proxy::Proxy;

/// What is live, and how it does.
pub(super) fn status(proxy: &Proxy) -> Json {
    let shared = proxy.shared();
    let snapshot = shared.live.load();
    let workers = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let workers: Vec<u64> = workers.iter().map(|seen| seen.load(Ordering::Acquire)).collect();
    let (written, dropped) = shared.desk.records.counts();
    let quarantine: serde_json::Map<String, Json> = shared
        .desk
        .quarantine
        .all()
        .into_iter()
        .map(|(digest, why)| (format!("sha256:{digest}"), json!(why)))
        .collect();
    let (accepting, retiring) = proxy.workers();
    let lives = proxy.lives();
    let mut past: Vec<u64> =
        lives.iter().map(|life| life.generation).filter(|one| *one != snapshot.generation).collect();
    past.sort_unstable();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "generation": snapshot.generation,
        "past": past,
        "history": lives,
        "started-with": proxy.fixed(),
        "warnings": snapshot.warnings.iter().map(ToString::to_string).collect::<Json>(),
        "workers": workers,
        "threads": {"accepting": accepting, "retiring": retiring},
        "listeners": listeners(proxy),
        "policies": snapshot.policies.all().iter().map(|policy| of_policy(policy)).collect::<Json>(),
        "backends": snapshot.nodes().iter().map(|node| of_node(node, snapshot.is_draining(node))).collect::<Json>(),
        "logins": shared.state.logins.all(),
        "throttle": {"entries": shared.state.throttle.size()},
        "directory": snapshot.directory.servers().into_iter().map(|(url, state)| of_server(&url, state)).collect::<Json>(),
        "quarantine": quarantine,
        "decisions": {"written": written, "dropped": dropped},
        "aside": {"dropped": shared.desk.dropped()},
        "read-ahead": shared.state.read_ahead.held(),
        "access-log": {"dropped": shared.log.dropped()},
        "log": {"lost": log::lost()},
        "last-reload": proxy.last_reload().map(|last| json!({
            "time": seconds(last.time), "good": last.faults.is_none(), "faults": last.faults.unwrap_or_default(),
        })),
        "files": troubles(proxy).into_iter().collect::<serde_json::Map<String, Json>>(),
    })
}

/// What is wrong with each of the files that Doorward writes; nothing, where it is well.
fn troubles(proxy: &Proxy) -> [(String, Json); 4] {
    let shared = proxy.shared();
    let troubles = [
        ("access-log", shared.log.trouble()),
        ("decisions", shared.desk.records.trouble()),
        ("quarantine", shared.desk.quarantine.trouble()),
        ("revocations", shared.state.revoked.trouble()),
    ];
    troubles.map(|(name, trouble)| (name.to_owned(), json!(trouble)))
}

/// Each listener's name, its address, and whom it did not let in.
fn listeners(proxy: &Proxy) -> Json {
    let refused = proxy.shared().state.refused.all();
    let one = |(name, address, tls): &(String, String, bool)| {
        let of_this = refused.iter().filter(|(listener, ..)| listener == name);
        let refused: serde_json::Map<String, Json> =
            of_this.map(|(_, reason, count)| ((*reason).to_owned(), json!(count))).collect();
        json!({"name": name, "address": address, "tls": tls, "refused": refused})
    };
    proxy.listening().iter().map(one).collect()
}

fn of_node(node: &Node, draining: bool) -> Json {
    let (told, [requests, waiting, long_polls]) = (node.told(), node.load());
    json!({
        "name": node.name(),
        "up": told.up,
        "draining": draining,
        "requests": requests,
        "waiting": waiting,
        "long-polls": long_polls,
        "failed-connects": told.failed,
        "downs": told.downs,
    })
}

/// A metric of each node: its name, its kind and help, and its number.
fn node_metrics(node: &Node) -> [(&'static str, &'static str, &'static str, u64); 6] {
    let (told, load) = (node.told(), node.load());
    let [requests, waiting, long_polls] = load.map(|count| count as u64);
    [
        ("up", "gauge", "0 while the back-end is down.", u64::from(told.up)),
        ("requests", "gauge", "Requests that it is answering.", requests),
        ("waiting", "gauge", "Requests that wait for it.", waiting),
        ("long_polls", "gauge", "Long polls that it is answering.", long_polls),
        ("failed_connects_total", "counter", "Connects that failed.", told.failed),
        ("downs_total", "counter", "How often it went down.", told.downs),
    ]
}

fn of_server(url: &str, state: State) -> Json {
    let (up, silent) = match state {
        State::Well => (true, false),
        State::Failed { silent, .. } => (false, silent),
    };
    json!({"url": url, "up": up, "silent": silent})
}

fn of_policy(policy: &Policy) -> Json {
    let health = policy.health();
    let shadow = health.shadow.map(|(digest, [agreed, differed, failed, dropped])| {
        json!({
            "digest": format!("sha256:{digest}"), "agreed": agreed, "differed": differed, "failed": failed,
            "dropped": dropped,
        })
    });
    json!({
        "name": policy.name,
        "asks": policy.question.name(),
        "digest": format!("sha256:{}", policy.digest),
        "wit": policy.manifest.version,
        "memo": {
            "hits": health.hits, "misses": health.misses, "evictions": health.evictions, "bytes": health.bytes,
        },
        "failures": health.failures,
        "breaker": {"open": health.open, "shut-out": health.shut_out},
        "audits": health.audits,
        "impure": health.impure,
        "shadow": shadow,
    })
}

/// A metric of each policy: its name, its kind and help, and where its number is.
type Metric = (&'static str, &'static str, &'static str, fn(&Health) -> u64);

const METRICS: [Metric; 9] = [
    ("memo_hits_total", "counter", "Decisions found again.", |health| health.hits),
    ("memo_misses_total", "counter", "Decisions asked for.", |health| health.misses),
    ("memo_evictions_total", "counter", "Answers that went for want of room.", |health| health.evictions),
    ("memo_bytes", "gauge", "Bytes of remembered decisions.", |health| health.bytes),
    ("failures_total", "counter", "Questions that were not answered.", |health| health.failures),
    ("shut_out_total", "counter", "Questions not asked, since the breaker was open.", |health| health.shut_out),
    ("breaker_open", "gauge", "1 while the breaker is open.", |health| u64::from(health.open)),
    ("audits_total", "counter", "Audits of remembered answers.", |health| health.audits),
    ("impure", "gauge", "1 once a policy was found not to be pure.", |health| u64::from(health.impure)),
];

/// What shadows did, in the order of `Health::shadow`.
const SHADOW: [&str; 4] = ["agreed", "differed", "failed", "dropped"];

pub(super) fn metrics(proxy: &Proxy) -> String {
    let shared = proxy.shared();
    let snapshot = shared.live.load();
    let policies: Vec<(String, Health)> =
        snapshot.policies.all().iter().map(|policy| (label(&policy.name), policy.health())).collect();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("# HELP doorward_generation The live generation.\n# TYPE doorward_generation gauge"));
    line(format_args!("doorward_generation {}", snapshot.generation));
    let (accepting, retiring) = proxy.workers();
    line(format_args!("# HELP doorward_workers Worker threads.\n# TYPE doorward_workers gauge"));
    line(format_args!("doorward_workers{{state=\"accepting\"}} {accepting}"));
    line(format_args!("doorward_workers{{state=\"retiring\"}} {retiring}"));
    line(format_args!(
        "# HELP doorward_connections Open connections of each scope of limits.\n# TYPE doorward_connections gauge"
    ));
    for (scope, open) in shared.state.flow.open() {
        line(format_args!("doorward_connections{{scope=\"{}\"}} {open}", label(&scope)));
    }
    line(format_args!(
        "# HELP doorward_refused_connections_total Connections that were not let in.\n\
         # TYPE doorward_refused_connections_total counter"
    ));
    for (listener, reason, count) in shared.state.refused.all() {
        let listener = label(&listener);
        line(format_args!("doorward_refused_connections_total{{listener=\"{listener}\",reason=\"{reason}\"}} {count}"));
    }
    line(format_args!("# HELP doorward_logins_total Logins by outcome.\n# TYPE doorward_logins_total counter"));
    for (outcome, count) in shared.state.logins.all() {
        line(format_args!("doorward_logins_total{{outcome=\"{outcome}\"}} {count}"));
    }
    for (name, kind, help, of) in METRICS {
        line(format_args!("# HELP doorward_policy_{name} {help}\n# TYPE doorward_policy_{name} {kind}"));
        for (policy, health) in &policies {
            line(format_args!("doorward_policy_{name}{{policy=\"{policy}\"}} {}", of(health)));
        }
    }
    line(format_args!("# HELP doorward_shadow_total What shadows said.\n# TYPE doorward_shadow_total counter"));
    for (policy, health) in &policies {
        for (what, count) in SHADOW.iter().zip(health.shadow.iter().flat_map(|(_, counts)| counts)) {
            line(format_args!("doorward_shadow_total{{policy=\"{policy}\",said=\"{what}\"}} {count}"));
        }
    }
    let nodes: Vec<_> = snapshot.nodes().iter().map(|node| (label(node.name()), node_metrics(node))).collect();
    for index in 0..nodes.first().map_or(0, |(_, metrics)| metrics.len()) {
        for (place, (backend, metrics)) in nodes.iter().enumerate() {
            let (name, kind, help, value) = metrics[index];
            if place == 0 {
                line(format_args!("# HELP doorward_backend_{name} {help}\n# TYPE doorward_backend_{name} {kind}"));
            }
            line(format_args!("doorward_backend_{name}{{backend=\"{backend}\"}} {value}"));
        }
    }
    let (written, dropped) = shared.desk.records.counts();
    line(format_args!(
        "# HELP doorward_decisions_total Records of decisions.\n# TYPE doorward_decisions_total counter"
    ));
    line(format_args!("doorward_decisions_total{{outcome=\"written\"}} {written}"));
    line(format_args!("doorward_decisions_total{{outcome=\"dropped\"}} {dropped}"));
    line(format_args!(
        "# HELP doorward_access_lines_dropped_total Access lines that found no room.\n\
         # TYPE doorward_access_lines_dropped_total counter"
    ));
    line(format_args!("doorward_access_lines_dropped_total {}", shared.log.dropped()));
    line(format_args!("# HELP doorward_read_ahead_bytes Bytes read ahead.\n# TYPE doorward_read_ahead_bytes gauge"));
    line(format_args!("doorward_read_ahead_bytes {}", shared.state.read_ahead.held()));
    line(format_args!("# HELP doorward_quarantined Components under quarantine.\n# TYPE doorward_quarantined gauge"));
    line(format_args!("doorward_quarantined {}", shared.desk.quarantine.all().len()));
    text + &of_files(proxy)
}

/// Metrics of the files that are written, and of the configuration's.
fn of_files(proxy: &Proxy) -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
        let _ = writeln!(text, "# HELP doorward_{name} {help}\n# TYPE doorward_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "doorward_{name}{labels} {value}");
        }
    };
    let lost = [(String::new(), log::lost())];
    add("log_lines_lost_total", "counter", "Lines of standard error that nobody took in time.", &lost);
    let failing =
        troubles(proxy).map(|(file, trouble)| (format!("{{file=\"{file}\"}}"), u64::from(!trouble.is_null())));
    add("file_failing", "gauge", "1 while a file cannot be written or read.", &failing);
    if let Some(last) = proxy.last_reload() {
        let help = "When the last reload came to its end.";
        add("last_reload_timestamp_seconds", "gauge", help, &[(String::new(), seconds(last.time))]);
        let help = "Faults that the last reload was refused for; 0 when it was good.";
        add("last_reload_faults", "gauge", help, &[(String::new(), last.faults.unwrap_or_default() as u64)]);
    }
    text
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A label's value, escaped as the format asks for.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
