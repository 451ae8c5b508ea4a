//! The metrics, in the text format of Prometheus (version 0.0.4): one table, in the order in which they are printed.

use std::fmt::Write as _;
use std::sync::Arc;

use super::status::troubles;
use crate::back::Node;
use crate::control::Generations;
use crate::live::Live;
use crate::log;
use crate::policy::Health;
use crate::proxy::Proxy;

/// A metric: a row of the table. Its name is printed behind `doorward_`.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: fn(&Seen<'_>) -> Values,
}

/// What a metric's numbers do (Prometheus: `# TYPE`).
#[derive(Clone, Copy)]
enum Kind {
    /// They only grow, until the process ends.
    Counter,
    /// They go up and down.
    Gauge,
}

/// The numbers of a metric, each with its labels. Values of labels come from the configuration and from the program only:
/// nothing that a client sends makes a new one.
type Values = Vec<(Labels, u64)>;
type Labels = Vec<(&'static str, String)>;

/// What the numbers are taken from.
struct Seen<'a> {
    generations: &'a Generations,
    proxy: &'a Proxy,
    live: Arc<Live>,
}

const fn gauge(name: &'static str, help: &'static str, of: fn(&Seen<'_>) -> Values) -> Metric {
    Metric { name, kind: Kind::Gauge, help, of }
}

const fn counter(name: &'static str, help: &'static str, of: fn(&Seen<'_>) -> Values) -> Metric {
    Metric { name, kind: Kind::Counter, help, of }
}

/// All metrics. docs/operations.md has the same table; a test compares them.
const METRICS: &[Metric] = &[
    gauge("generation", "The live generation.", |seen| one(seen.live.generation)),
    gauge("workers", "Worker threads.", |seen| {
        let (accepting, retiring) = seen.proxy.workers();
        by("state", [("accepting", accepting as u64), ("retiring", retiring as u64)])
    }),
    gauge("connections", "Open connections of each scope of limits.", |seen| {
        by("scope", seen.proxy.shared().state.flow.open())
    }),
    counter("refused_connections_total", "Connections that were not let in.", |seen| {
        let refused = seen.proxy.shared().state.refused.all().into_iter();
        let labels = |listener, reason: &str| vec![("listener", listener), ("reason", reason.to_owned())];
        refused.map(|(listener, reason, count)| (labels(listener, reason), count)).collect()
    }),
    counter("logins_total", "Attempts to log in, by outcome and reason.", |seen| {
        let logins = seen.proxy.shared().state.logins.all().into_iter();
        let labels = |outcome: &str, reason: &str| vec![("outcome", outcome.to_owned()), ("reason", reason.to_owned())];
        logins.map(|((outcome, reason), count)| (labels(outcome, reason), count)).collect()
    }),
    gauge("sessions", "Live sessions seen since the start.", |seen| {
        one(seen.proxy.shared().sessions_by_node().values().sum())
    }),
    gauge("backend_sessions", "Of these, those of each back-end.", |seen| {
        let sessions = seen.proxy.shared().sessions_by_node();
        let of = |name: &str| sessions.get(name).copied().unwrap_or_default();
        by("backend", seen.live.nodes().iter().map(|node| (node.name(), of(node.name()))))
    }),
    counter("policy_memo_hits_total", "Decisions found again.", |seen| seen.policies(|health| health.hits)),
    counter("policy_memo_misses_total", "Decisions asked for.", |seen| seen.policies(|health| health.misses)),
    counter("policy_memo_evictions_total", "Answers that went for want of room.", |seen| {
        seen.policies(|health| health.evictions)
    }),
    gauge("policy_memo_bytes", "Bytes of remembered decisions.", |seen| seen.policies(|health| health.bytes)),
    counter("policy_failures_total", "Questions that were not answered.", |seen| {
        seen.policies(|health| health.failures)
    }),
    counter("policy_shut_out_total", "Questions not asked, since the breaker was open.", |seen| {
        seen.policies(|health| health.shut_out)
    }),
    gauge("policy_breaker_open", "1 while the breaker is open.", |seen| seen.policies(|health| u64::from(health.open))),
    counter("policy_audits_total", "Audits of remembered answers.", |seen| seen.policies(|health| health.audits)),
    gauge("policy_impure", "1 once a policy was found not to be pure.", |seen| {
        seen.policies(|health| u64::from(health.impure))
    }),
    counter("shadow_total", "What shadows said.", |seen| seen.shadows()),
    gauge("backend_up", "0 while the back-end is down.", |seen| seen.nodes(|node| u64::from(node.status().up))),
    gauge("backend_requests", "Requests that it is answering.", |seen| seen.nodes(|node| node.load()[0] as u64)),
    gauge("backend_waiting", "Requests that wait for it.", |seen| seen.nodes(|node| node.load()[1] as u64)),
    gauge("backend_long_polls", "Long polls that it is answering.", |seen| seen.nodes(|node| node.load()[2] as u64)),
    counter("backend_failed_connects_total", "Connects that failed.", |seen| seen.nodes(|node| node.status().failed)),
    counter("backend_downs_total", "How often it went down.", |seen| seen.nodes(|node| node.status().downs)),
    counter("decisions_total", "Records of decisions.", |seen| {
        let (written, dropped) = seen.proxy.shared().desk.records.counts();
        by("outcome", [("written", written), ("dropped", dropped)])
    }),
    counter("access_lines_dropped_total", "Access lines that found no room.", |seen| {
        one(seen.proxy.shared().log.dropped())
    }),
    gauge("read_ahead_bytes", "Bytes read ahead.", |seen| one(seen.proxy.shared().state.read_ahead.held())),
    gauge("quarantined", "Components under quarantine.", |seen| {
        one(seen.proxy.shared().desk.quarantine.all().len() as u64)
    }),
    counter("log_lines_lost_total", "Lines of standard error that nobody took in time.", |_| one(log::lost())),
    gauge("file_failing", "1 while a file cannot be written or read.", |seen| {
        by("file", troubles(seen.generations).map(|(file, trouble)| (file, u64::from(!trouble.is_null()))))
    }),
    gauge("fallback", "1 while a kept generation serves, since the files were refused at the start.", |seen| {
        one(u64::from(seen.generations.fallback().is_some()))
    }),
    gauge("last_reload_timestamp_seconds", "When the last reload came to its end.", |seen| {
        seen.generations.last_reload().map_or_else(Values::new, |last| one(last.time))
    }),
    gauge("last_reload_faults", "Faults that the last reload was refused for; 0 when it was good.", |seen| {
        seen.generations.last_reload().map_or_else(Values::new, |last| one(last.faults.unwrap_or_default() as u64))
    }),
];

/// A number without labels.
fn one(value: u64) -> Values {
    vec![(Labels::new(), value)]
}

/// Numbers with one label.
fn by(label: &'static str, values: impl IntoIterator<Item = (impl Into<String>, u64)>) -> Values {
    values.into_iter().map(|(of, value)| (vec![(label, of.into())], value)).collect()
}

impl Seen<'_> {
    fn policies(&self, of: fn(&Health) -> u64) -> Values {
        by("policy", self.live.policies.all().iter().map(|policy| (policy.name.clone(), of(&policy.health()))))
    }

    fn nodes(&self, of: fn(&Node) -> u64) -> Values {
        by("backend", self.live.nodes().iter().map(|node| (node.name(), of(node))))
    }

    fn shadows(&self) -> Values {
        let mut values = Values::new();
        for policy in self.live.policies.all() {
            let counts = policy.health().shadow.map(|(_, counts)| counts);
            // In the order of `Health::shadow`.
            for (said, count) in
                ["agreed", "differed", "failed", "dropped"].into_iter().zip(counts.into_iter().flatten())
            {
                values.push((vec![("policy", policy.name.clone()), ("said", said.to_owned())], count));
            }
        }
        values
    }
}

/// All of them, as text. A metric without numbers is named all the same.
pub(super) fn metrics(generations: &Generations) -> String {
    let proxy = generations.proxy();
    let seen = Seen { generations, proxy, live: proxy.shared().live.load_full() };
    let mut text = String::new();
    for metric in METRICS {
        let (name, help) = (metric.name, metric.help);
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP doorward_{name} {help}\n# TYPE doorward_{name} {kind}");
        for (labels, value) in (metric.of)(&seen) {
            let _ = write!(text, "doorward_{name}");
            for (index, (label, value)) in labels.iter().enumerate() {
                let _ = write!(text, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(value));
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
    text
}

/// A label's value, escaped as the format asks for.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
