//! The table of all metrics, in the order in which they are printed, and where their numbers are.

use std::sync::Arc;

use super::super::status::troubles;
use super::process::{self, Process};
use super::row::{Kind, Labels, Metric, Value, Values};
use crate::back::Node;
use crate::cluster::{self, Store};
use crate::control::Generations;
use crate::counters::{CLASSES, Counter, Counters, METHODS, Observed, OfSite};
use crate::live::Live;
use crate::log;
use crate::log::access::Ended;
use crate::policy::Health;
use crate::proxy::Proxy;

/// A row of the table.
pub(super) struct Row {
    pub(super) metric: Metric,
    /// Its numbers.
    pub(super) of: fn(&Seen<'_>) -> Values,
}

/// What the numbers are taken from.
pub(super) struct Seen<'a> {
    generations: &'a Generations,
    proxy: &'a Proxy,
    live: Arc<Live>,
    process: Option<Process>,
}

const fn gauge(name: &'static str, help: &'static str, of: fn(&Seen<'_>) -> Values) -> Row {
    Row { metric: Metric { name, kind: Kind::Gauge, help }, of }
}

const fn counter(name: &'static str, help: &'static str, of: fn(&Seen<'_>) -> Values) -> Row {
    Row { metric: Metric { name, kind: Kind::Counter, help }, of }
}

const fn histogram(name: &'static str, help: &'static str, of: fn(&Seen<'_>) -> Values) -> Row {
    Row { metric: Metric { name, kind: Kind::Histogram, help }, of }
}

const fn info(name: &'static str, help: &'static str, of: fn(&Seen<'_>) -> Values) -> Row {
    Row { metric: Metric { name, kind: Kind::Info, help }, of }
}

/// All metrics. docs/operations.md has the same table; a test compares them.
pub(super) const METRICS: &[Row] = &[
    gauge("doorward_generation", "The live generation.", |seen| one(seen.live.generation)),
    gauge("doorward_workers", "Worker threads.", |seen| {
        let (accepting, retiring) = seen.proxy.workers();
        by("state", [("accepting", accepting as u64), ("retiring", retiring as u64)])
    }),
    gauge("doorward_connections", "Open connections of each scope of limits.", |seen| {
        by("scope", seen.proxy.shared().state.flow.open())
    }),
    counter("doorward_refused_connections_total", "Connections that were not let in.", |seen| {
        let refused = seen.proxy.shared().state.refused.all().into_iter();
        let labels = |listener, reason: &str| vec![("listener", listener), ("reason", reason.to_owned())];
        refused.map(|(listener, reason, count)| (labels(listener, reason), count.into())).collect()
    }),
    counter("doorward_logins_total", "Attempts to log in, by outcome and reason.", |seen| {
        let logins = seen.proxy.shared().state.logins.all().into_iter();
        let labels = |outcome: &str, reason: &str| vec![("outcome", outcome.to_owned()), ("reason", reason.to_owned())];
        logins.map(|([outcome, reason], count)| (labels(outcome, reason), count.into())).collect()
    }),
    gauge("doorward_sessions", "Live sessions seen since the start.", |seen| {
        one(seen.proxy.shared().sessions_by_node().values().sum::<u64>())
    }),
    gauge("doorward_backend_sessions", "Of these, those of each back-end.", |seen| {
        let sessions = seen.proxy.shared().sessions_by_node();
        let of = |name: &str| sessions.get(name).copied().unwrap_or_default();
        by("backend", seen.live.nodes().iter().map(|node| (node.name(), of(node.name()))))
    }),
    gauge("doorward_mail_sessions", "Sessions of mail programs that are open.", |seen| {
        let counts = seen.proxy.shared().state.mails.counts().into_iter();
        let labels = |protocol: &str, node| vec![("protocol", protocol.to_owned()), ("backend", node)];
        counts.map(|((protocol, node), count)| (labels(protocol, node), count.into())).collect()
    }),
    counter("doorward_policy_memo_hits_total", "Decisions found again.", |seen| seen.policies(|health| health.hits)),
    counter("doorward_policy_memo_misses_total", "Decisions asked for.", |seen| seen.policies(|health| health.misses)),
    counter("doorward_policy_memo_evictions_total", "Answers that went for want of room.", |seen| {
        seen.policies(|health| health.evictions)
    }),
    gauge("doorward_policy_memo_bytes", "Bytes of remembered decisions.", |seen| seen.policies(|health| health.bytes)),
    counter("doorward_policy_failures_total", "Questions that were not answered.", |seen| {
        seen.policies(|health| health.failures)
    }),
    counter("doorward_policy_shut_out_total", "Questions not asked, since the breaker was open.", |seen| {
        seen.policies(|health| health.shut_out)
    }),
    gauge("doorward_policy_breaker_open", "1 while the breaker is open.", |seen| {
        seen.policies(|health| u64::from(health.open))
    }),
    counter("doorward_policy_audits_total", "Audits of remembered answers.", |seen| {
        seen.policies(|health| health.audits)
    }),
    gauge("doorward_policy_impure", "1 once a policy was found not to be pure.", |seen| {
        seen.policies(|health| u64::from(health.impure))
    }),
    counter("doorward_shadow_total", "What shadows said.", |seen| seen.shadows()),
    gauge("doorward_backend_up", "0 while the back-end is down.", |seen| {
        seen.nodes(|node| u64::from(node.status().up))
    }),
    gauge("doorward_backend_requests", "Requests that it is answering.", |seen| {
        seen.nodes(|node| node.load()[0] as u64)
    }),
    gauge("doorward_backend_waiting", "Requests that wait for it.", |seen| seen.nodes(|node| node.load()[1] as u64)),
    gauge("doorward_backend_long_polls", "Long polls that it is answering.", |seen| {
        seen.nodes(|node| node.load()[2] as u64)
    }),
    counter("doorward_backend_failed_connects_total", "Connects that failed.", |seen| {
        seen.nodes(|node| node.status().failed)
    }),
    counter("doorward_backend_downs_total", "How often it went down.", |seen| seen.nodes(|node| node.status().downs)),
    counter("doorward_decisions_total", "Records of decisions.", |seen| {
        let (written, dropped) = seen.proxy.shared().desk.records.counts();
        by("outcome", [("written", written), ("dropped", dropped)])
    }),
    counter("doorward_traces_total", "Traces for the collector, by what became of them.", |seen| {
        by("outcome", seen.proxy.shared().state.exporter.counts())
    }),
    gauge("doorward_read_ahead_bytes", "Bytes read ahead.", |seen| one(seen.proxy.shared().state.read_ahead.held())),
    gauge("doorward_quarantined", "Components under quarantine.", |seen| {
        one(seen.proxy.shared().desk.quarantine.all().len() as u64)
    }),
    gauge("doorward_cluster_store_up", "1 while the store of the cluster answers.", |seen| {
        seen.cluster(|cluster| one(u64::from(cluster.store == Store::Up)))
    }),
    gauge("doorward_cluster_doors", "Front doors of the cluster that are here.", |seen| {
        seen.cluster(|cluster| one(cluster.doors.iter().filter(|(_, is_here)| *is_here).count() as u64))
    }),
    gauge("doorward_cluster_differences", "Parts of the configuration in which they differ.", |seen| {
        seen.cluster(|cluster| one(cluster.differs.len() as u64))
    }),
    gauge("doorward_cluster_clock_seconds", "By how much this clock is ahead of the store's.", |seen| {
        seen.cluster(|cluster| one(cluster.clock as f64 / 1000.0))
    }),
    gauge("doorward_cluster_store_evicts", "1 while the store may forget ended sessions.", |seen| {
        seen.cluster(|cluster| one(u64::from(cluster.evicts.is_some())))
    }),
    counter("doorward_cluster_refused_total", "Entries of the store that no door of the cluster wrote.", |seen| {
        seen.cluster(|cluster| one(cluster.refused))
    }),
    counter("doorward_cluster_logins_total", "Logins that the store was asked of, by what came of it.", |seen| {
        seen.cluster(|cluster| by("result", cluster.logins.clone()))
    }),
    counter("doorward_log_lines_total", "Lines that each target of the log took.", |_| logs(|counts| counts.written)),
    counter("doorward_log_lines_lost_total", "Lines that it did not take in time.", |_| logs(|counts| counts.lost)),
    gauge("doorward_log_failing", "1 while it cannot be written.", |_| {
        logs(|counts| u64::from(counts.trouble.is_some()))
    }),
    gauge("doorward_file_failing", "1 while a file cannot be written or read.", |seen| {
        by("file", troubles(seen.generations).map(|(file, trouble)| (file, u64::from(!trouble.is_null()))))
    }),
    gauge(
        "doorward_fallback",
        "1 while a kept generation serves, since the files were refused at the start.",
        |seen| one(u64::from(seen.generations.fallback().is_some())),
    ),
    gauge("doorward_last_reload_timestamp_seconds", "When the last reload came to its end.", |seen| {
        seen.generations.last_reload().map_or_else(Values::new, |last| one(last.time))
    }),
    gauge("doorward_last_reload_faults", "Faults that the last reload was refused for; 0 when it was good.", |seen| {
        seen.generations.last_reload().map_or_else(Values::new, |last| one(last.faults.unwrap_or_default() as u64))
    }),
    counter("doorward_requests_total", "Requests, by site, method, class of the status, and how they ended.", |seen| {
        let of = |(name, site): (Arc<str>, Arc<OfSite>)| {
            let answers = site.answers().into_iter();
            answers.map(move |([method, class, ended], count)| {
                let words =
                    [("method", METHODS[method]), ("status", CLASSES[class]), ("ended", Ended::ALL[ended].name())];
                let words = words.map(|(label, word)| (label, word.to_owned()));
                ([("site", name.to_string())].into_iter().chain(words).collect(), count.into())
            })
        };
        seen.counters().sites.all().into_iter().flat_map(of).collect()
    }),
    histogram("doorward_request_duration_seconds", "From a request's head to the end of its answer.", |seen| {
        seen.sites(OfSite::took)
    }),
    counter("doorward_received_bytes_total", "Bytes of requests' bodies.", |seen| seen.sites(|site| site.bytes()[0])),
    counter("doorward_sent_bytes_total", "Bytes of answers' bodies.", |seen| seen.sites(|site| site.bytes()[1])),
    histogram("doorward_backend_queue_seconds", "How long requests waited for a place at a back-end.", |seen| {
        seen.nodes(|node| {
            let [queue, _] = node.waits();
            queue
        })
    }),
    histogram(
        "doorward_backend_first_byte_seconds",
        "From then on until its answer began, but for long polls.",
        |seen| {
            seen.nodes(|node| {
                let [_, first_byte] = node.waits();
                first_byte
            })
        },
    ),
    histogram("doorward_login_duration_seconds", "Attempts to log in, by mode and outcome.", |seen| {
        let row = |([mode, outcome], observed): ([&str; 2], Observed)| {
            (vec![("mode", mode.to_owned()), ("outcome", outcome.to_owned())], observed.into())
        };
        seen.proxy.shared().state.logins.took().into_iter().map(row).collect()
    }),
    counter("doorward_tls_handshakes_total", "TLS handshakes, by listener, version and result.", |seen| {
        let sums = seen.counters().handshakes.sums(|sum: &mut u64, counter: &Counter| *sum += counter.get());
        let row = |((listener, [version, result]), count): ((String, [&str; 2]), u64)| {
            let labels = [("listener", listener), ("version", version.to_owned()), ("result", result.to_owned())];
            (labels.into(), count.into())
        };
        sums.into_iter().map(row).collect()
    }),
    gauge("doorward_certificate_end_timestamp_seconds", "When a chain of certificates ends.", |seen| {
        let listeners = seen.live.listeners.iter().map(|(name, listener)| (name.as_str(), listener));
        let listeners = listeners.chain(seen.live.admin_listener.iter().map(|listener| ("admin address", listener)));
        let chains = listeners
            .flat_map(|(name, listener)| listener.certificate_ends.iter().map(move |(file, end)| (name, file, *end)));
        let labels = |listener: &str, file: String| vec![("listener", listener.to_owned()), ("file", file)];
        chains.map(|(name, file, end)| (labels(name, file.display().to_string()), (end as f64).into())).collect()
    }),
    counter("doorward_sessions_opened_total", "Sessions that were opened.", |seen| {
        one(seen.counters().sessions_opened.sum())
    }),
    counter("doorward_sessions_ended_total", "Sessions that were ended, by reason.", |seen| {
        let sums = seen.counters().sessions_ended.sums(|sum: &mut u64, counter: &Counter| *sum += counter.get());
        by("reason", sums.into_iter().map(|((_, [reason, _]), count)| (reason, count)))
    }),
    histogram("doorward_directory_duration_seconds", "How long directory servers took.", |seen| {
        let row = |((server, [operation, result]), observed): ((String, [&str; 2]), Observed)| {
            let labels = [("server", server), ("operation", operation.to_owned()), ("result", result.to_owned())];
            (labels.into(), observed.into())
        };
        seen.live.directory.asked().into_iter().map(row).collect()
    }),
    histogram("doorward_policy_duration_seconds", "How long policies took for an answer.", |seen| {
        seen.policies(|health| health.took.clone())
    }),
    gauge("doorward_last_reload_success", "1 while the last reload was good.", |seen| {
        seen.generations.last_reload().map_or_else(Values::new, |last| one(u64::from(last.faults.is_none())))
    }),
    info("doorward_build_info", "The program that runs.", |_| by("version", [(env!("CARGO_PKG_VERSION"), 1)])),
    gauge("doorward_uptime_seconds", "Since the process started.", |seen| seen.process(Process::uptime)),
    gauge("process_start_time_seconds", "When the process started, since 1970.", |seen| {
        seen.process(|process| process.started)
    }),
    counter("process_cpu_seconds_total", "Processor time of all threads.", |seen| {
        seen.process(|process| process.cpu_seconds)
    }),
    gauge("process_resident_memory_bytes", "Memory that is in use.", |seen| {
        seen.process(|process| process.resident_bytes)
    }),
    gauge("process_virtual_memory_bytes", "Address space that is in use.", |seen| {
        seen.process(|process| process.virtual_bytes)
    }),
    gauge("process_threads", "Threads of the process.", |seen| seen.process(|process| process.threads)),
    gauge("process_open_fds", "Open descriptors.", |_| process::open_files().map_or_else(Values::new, one)),
    gauge("process_max_fds", "How many descriptors may be open.", |_| {
        process::most_open_files().map_or_else(Values::new, one)
    }),
];

/// A number of each target of the log.
fn logs(number: impl Fn(&log::Counts) -> u64) -> Values {
    by("target", log::counts().into_iter().map(|counts| (counts.target.clone(), number(&counts))))
}

/// A number without labels.
fn one(value: impl Into<Value>) -> Values {
    vec![(Labels::new(), value.into())]
}

/// Numbers with one label.
fn by<V: Into<Value>>(label: &'static str, values: impl IntoIterator<Item = (impl Into<String>, V)>) -> Values {
    values.into_iter().map(|(of, value)| (vec![(label, of.into())], value.into())).collect()
}

impl Seen<'_> {
    fn counters(&self) -> &Counters {
        &self.proxy.shared().state.counters
    }

    fn cluster(&self, of: fn(&cluster::Seen) -> Values) -> Values {
        self.proxy.shared().state.cluster.seen().map_or_else(Values::new, |seen| of(&seen))
    }

    fn sites<V: Into<Value>>(&self, of: fn(&OfSite) -> V) -> Values {
        by("site", self.counters().sites.all().into_iter().map(|(name, site)| (name.to_string(), of(&site))))
    }

    fn process<V: Into<Value>>(&self, of: fn(&Process) -> V) -> Values {
        self.process.as_ref().map_or_else(Values::new, |process| one(of(process)))
    }

    fn policies<V: Into<Value>>(&self, of: fn(&Health) -> V) -> Values {
        by("policy", self.live.policies.all().iter().map(|policy| (policy.name.clone(), of(&policy.health()))))
    }

    fn nodes<V: Into<Value>>(&self, of: fn(&Node) -> V) -> Values {
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
                values.push((vec![("policy", policy.name.clone()), ("said", said.to_owned())], count.into()));
            }
        }
        values
    }
}

impl<'a> Seen<'a> {
    pub(super) fn of(generations: &'a Generations, process: Option<Process>) -> Self {
        let proxy = generations.proxy();
        Self { generations, proxy, live: proxy.shared().live.load_full(), process }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_kind_of_metric_they_are() {
        for Row { metric: Metric { name, kind, help }, .. } in METRICS {
            assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
            assert_eq!(name.ends_with("_info"), matches!(kind, Kind::Info), "{name}");
            assert!(!matches!(kind, Kind::Histogram) || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        }
    }
}
