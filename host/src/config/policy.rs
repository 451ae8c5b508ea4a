//! `[[policy]]`: which component answers which question, where, under which limits, and what holds when it fails.

use std::path::Path;
use std::time::Duration;

use super::{Breaker, Config, Instances, OnError, Policy, Question, Recording, Table};

/// Reads one.
pub(super) fn policy(t: &Table<'_>, base: &Path) -> Policy {
    let asks = question(t);
    let limits = t.table("limits", limits).unwrap_or_default();
    let login = asks == Question::AuthMode;
    let instances = t.choice("instances", &[("warm", Instances::Warm), ("fresh", Instances::Fresh)]);
    if login && instances == Some(Instances::Warm) {
        t.fault("instances", "\"warm\"", "\"fresh\": nothing of one login may be near another");
    }
    // 4 MiB hold some ten thousand decisions about devices. What a login read is not kept.
    let memo = t.size("memo", if login { 0 } else { 4 << 20 });
    if login && memo > 0 {
        t.fault("memo", format!("{memo} bytes"), "\"0B\": nothing of a login is remembered");
    }
    let usual = usual_instances(asks);
    let file = t.text("file");
    let shadow = t.text("shadow");
    if let Some(shadow) = shadow.as_ref().filter(|shadow| shadow.starts_with("oci://")) {
        let expected = "a file; `doorward policy pull REFERENCE -o FILE` fetches one";
        t.fault("shadow", format!("\"{shadow}\""), expected);
    }
    Policy {
        name: t.required("name"),
        remote: file.as_ref().and_then(|text| super::registry::remote(t, text)),
        file: file.map(|path| base.join(path)),
        asks,
        digest: t.parsed("digest", "\"sha256:\" and 64 hexadecimal digits", sha256_digest),
        on_error: on_error(t, asks),
        memory: limits.memory,
        time: limits.time,
        compile_time: limits.compile_time,
        compile_memory: limits.compile_memory,
        memo,
        instances: instances.unwrap_or(usual),
        recording: t
            .choice("decisions", &[("off", Recording::Off), ("sampled", Recording::Sampled), ("full", Recording::Full)])
            .unwrap_or(Recording::Sampled),
        breaker: t.table("breaker", breaker).unwrap_or_default(),
        grants: grants(t),
        listeners: t.texts("listeners"),
        sites: t.texts("sites").iter().map(|site| site.to_ascii_lowercase()).collect(),
        shadow: shadow.map(|path| base.join(path)),
        lists: t.table("lists", |t| lists(t, base)).unwrap_or_default(),
        settings: t.json("settings").unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new())),
        place: t.place(),
    }
}

impl Policy {
    /// A policy with nothing set: a component file that is tried by itself, by the command line.
    pub fn alone(name: &str, asks: Question, place: super::Place) -> Self {
        let limits = Limits::default();
        let login = asks == Question::AuthMode;
        Self {
            name: name.to_owned(),
            file: None,
            remote: None,
            asks,
            digest: None,
            on_error: if matches!(asks, Question::Access | Question::Filter) {
                OnError::Deny
            } else {
                OnError::Default
            },
            memory: limits.memory,
            time: limits.time,
            compile_time: limits.compile_time,
            compile_memory: limits.compile_memory,
            memo: if login { 0 } else { 4 << 20 },
            instances: usual_instances(asks),
            recording: Recording::Off,
            breaker: Breaker::default(),
            grants: None,
            listeners: Vec::new(),
            sites: Vec::new(),
            shadow: None,
            lists: Vec::new(),
            settings: serde_json::Value::Object(serde_json::Map::new()),
            place,
        }
    }
}

/// What one login says to a policy shall not be near another.
fn usual_instances(asks: Question) -> Instances {
    if matches!(asks, Question::AuthMode | Question::Route) { Instances::Fresh } else { Instances::Warm }
}

/// `[policy.lists]`: files by the names that the policy knows them by.
fn lists(t: &Table<'_>, base: &Path) -> Vec<(String, std::path::PathBuf)> {
    let list = |name: String| {
        if name.contains(char::is_whitespace) {
            t.fault(&name, "a name with a blank", "a name without blanks");
        }
        let path = t.text(&name)?;
        Some((name, base.join(path)))
    };
    t.keys().into_iter().filter_map(list).collect()
}

fn question(t: &Table<'_>) -> Question {
    let choices = Question::ALL.map(|question| (question.name(), question));
    let asks = t.choice("asks", &choices);
    if !t.has("asks") {
        let names = Question::ALL.map(Question::name);
        t.fault("asks", "nothing", format!("the question it answers: {}", names.join(", ")));
    }
    asks.unwrap_or(Question::Access)
}

fn on_error(t: &Table<'_>, asks: Question) -> OnError {
    let (choices, usual): (&[(&str, OnError)], OnError) = match asks {
        Question::Access => (&[("deny", OnError::Deny), ("allow", OnError::Allow)], OnError::Deny),
        Question::AuthMode => (&[("default", OnError::Default), ("refuse", OnError::Deny)], OnError::Default),
        // What a filter guards is not to be had by making it fail.
        Question::Filter => (&[("refuse", OnError::Deny), ("pass", OnError::Default)], OnError::Deny),
        Question::Route => (&[("default", OnError::Default), ("refuse", OnError::Deny)], OnError::Default),
        Question::Device | Question::Template => (&[("default", OnError::Default)], OnError::Default),
    };
    t.choice("on-error", choices).unwrap_or(usual)
}

/// `[policy.limits]`.
struct Limits {
    memory: u64,
    time: Duration,
    compile_time: Option<Duration>,
    compile_memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 16 << 20, time: Duration::from_millis(10), compile_time: None, compile_memory: None }
    }
}

/// What stands in for a time and a size that cannot be read, so that no other fault comes of it.
const COMPILE_TIME: Duration = Duration::from_secs(15);
const COMPILE_MEMORY: u64 = 1 << 30;

/// Whether a compilation may be given so much CPU time.
pub fn is_compile_time(time: Duration) -> bool {
    (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&time)
}

fn limits(t: &Table<'_>) -> Limits {
    let default = Limits::default();
    // 256 MiB and 1 s are the most that an instance and a call may ever cost.
    let (memory, time) = (t.size("memory", default.memory), t.duration("time", default.time));
    if memory > 256 << 20 {
        t.fault("memory", format!("{memory} bytes"), "at most 256MiB");
    }
    if time > Duration::from_secs(1) || time < Duration::from_millis(1) {
        t.fault("time", format!("{time:?}"), "from 1ms to 1s");
    }
    let compile_time = t.has("compile-time").then(|| t.duration("compile-time", COMPILE_TIME));
    if let Some(time) = compile_time.filter(|time| !is_compile_time(*time)) {
        t.fault("compile-time", format!("{time:?}"), "from 1s to 10m");
    }
    let compile_memory = t.has("compile-memory").then(|| t.size("compile-memory", COMPILE_MEMORY));
    if let Some(memory) = compile_memory.filter(|memory| *memory < 64 << 20) {
        t.fault("compile-memory", format!("{memory} bytes"), "at least 64MiB");
    }
    Limits { memory, time, compile_time, compile_memory }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            watch: Duration::from_secs(60),
        }
    }
}

fn breaker(t: &Table<'_>) -> Breaker {
    let default = Breaker::default();
    let failures = t.count("failures", default.failures.into(), 1..=1_000_000);
    Breaker {
        failures: u32::try_from(failures).unwrap_or(default.failures),
        window: t.duration("window", default.window),
        pause: t.duration_or_none("pause", default.pause),
        watch: t.duration_or_none("watch", default.watch),
    }
}

/// What may be granted: the interfaces of the WIT, and an empty WASI.
pub const GRANTS: [&str; 10] =
    ["log", "clock", "lists", "connection", "request", "session", "usage", "login", "nodes", "wasi"];

fn grants(t: &Table<'_>) -> Option<Vec<String>> {
    let grants = t.texts("grants");
    if !t.has("grants") {
        return None;
    }
    for grant in &grants {
        if !GRANTS.contains(&grant.split('.').next().unwrap_or_default()) {
            let allowed = format!("interfaces ({}) or their functions, such as \"request.header\"", GRANTS.join(", "));
            t.fault("grants", format!("\"{grant}\""), allowed);
        }
    }
    Some(grants)
}

/// Policies are bound to listeners and virtual hosts by name: the names must be there, and a virtual host may be
/// called by any of its names.
pub(super) fn bind(t: &Table<'_>, mut config: Config) -> Config {
    let listeners: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    for policy in &mut config.policies {
        for name in policy.listeners.iter().filter(|name| !listeners.contains(&name.as_str())) {
            let place = policy.place.key("listeners");
            t.collector().add(place.unknown(name, "a listener", listeners.iter().copied()));
        }
        if policy.asks == Question::Access && !policy.sites.is_empty() {
            let fault = policy.place.key("sites").fault("virtual hosts", "none: `access` is asked before one is known");
            t.collector().add(fault);
        }
        for name in &mut policy.sites {
            let site = config.sites.iter().find(|site| site.hosts.contains(name));
            match site.and_then(|site| site.hosts.first()) {
                Some(first) => name.clone_from(first),
                None => {
                    let hosts = config.sites.iter().flat_map(|site| &site.hosts).map(String::as_str);
                    t.collector().add(policy.place.key("sites").unknown(name, "a host of a [[site]]", hosts));
                }
            }
        }
    }
    config
}

fn sha256_digest(text: &str) -> Option<String> {
    let hex = text.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hex.to_ascii_lowercase())
}
