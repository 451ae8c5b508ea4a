//! The defaults of the code are those of docs/config.md.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Source, read_anyway, root, units};

/// What a key is where it is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    Time(Duration),
    Size(u64),
    Count(u64),
    Flag(bool),
}

thread_local! {
    /// Those of the keys that were read on this thread.
    static DEFAULTS: RefCell<BTreeMap<String, Default>> = const { RefCell::new(BTreeMap::new()) };
}

/// Keeps the default of a key that is read.
pub(super) fn told(table: &str, key: &str, default: Default) {
    let table: String = table.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect();
    let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
    DEFAULTS.with_borrow_mut(|defaults| {
        defaults.entry(path).or_insert(default);
    });
}

impl Default {
    /// Whether a document says the same.
    fn is(self, said: &str) -> bool {
        let said = said.trim_matches('"');
        match self {
            Self::Time(time) => units::duration(said) == Some(time),
            Self::Size(size) => units::size(said) == Some(size),
            Self::Count(count) => said.parse() == Ok(count),
            Self::Flag(flag) => said.parse() == Ok(flag),
        }
    }
}

/// Every table that there is, with nothing in it.
const EMPTY: &str = "\
[admin]
[threads]
[log]
[[log.to]]
[http]
[mail]
[traces]
[cluster]
[cluster.sentinel]
[registry]
[[registry.trust]]
[session]
[authentication.throttle]
[limits]
[[listener]]
[listener.limits]
[listener.tls]
[[policy]]
[policy.limits]
[policy.breaker]
[directory]
kind = \"ldap\"
[[backend]]
[backend.tls]
[backend.health]
[[site]]
";

/// The first default that a document names for each key of a table.
fn documented() -> BTreeMap<String, String> {
    let (mut found, mut table) = (BTreeMap::new(), None);
    for line in include_str!("../../../docs/config.md").lines() {
        let named = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim());
        let named =
            named.or(line.strip_prefix('`').map(|_| line.trim_end_matches(':')).filter(|_| line.ends_with(':')));
        if let Some(name) = named {
            let bare = name.split('`').nth(1).unwrap_or(name).trim_matches(['[', ']']).to_owned();
            table = if name == "Top level" { Some(String::new()) } else { name.contains("`[").then_some(bare) };
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let key = cells[0].strip_prefix('`').and_then(|key| key.strip_suffix('`'));
        let (Some(table), Some(key), true) = (&table, key, line.starts_with("| `") && cells.len() > 3) else {
            continue;
        };
        let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        let default = cells[2].strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or_default();
        found.entry(path).or_insert_with(|| default.to_owned());
    }
    found
}

#[test]
fn every_default_is_the_one_of_the_document() {
    let source = Arc::new(Source::new("c.toml", EMPTY));
    let (_, faults) = read_anyway(&source, |table| root(table, Path::new(".")));
    assert!(faults.is_err());
    let (defaults, documented) = (DEFAULTS.take(), documented());
    let mut compared = 0;
    for (path, default) in &defaults {
        // As many as there are cores; and the limits of all connections together, which are told beside the table.
        let own = path.starts_with("limits.") && !path.contains("prefix");
        if path == "threads.max" || own {
            continue;
        }
        let path = path.replace("limits.peer-prefix", "listener.limits.peer-prefix");
        let said = documented.get(&path).unwrap_or_else(|| panic!("{path} is not in docs/config.md: {documented:#?}"));
        // In words, where it follows from something else.
        if said.is_empty() {
            continue;
        }
        assert!(default.is(said), "{path} is {default:?}, and docs/config.md says {said}");
        compared += 1;
    }
    assert!(compared > 60, "{compared}");
    let is_number = |said: &String| said.trim_matches('"').starts_with(|c: char| c.is_ascii_digit());
    for (path, said) in documented.iter().filter(|(_, said)| is_number(said)) {
        let known = defaults.contains_key(path) || defaults.contains_key(&path.replace("listener.limits.", "limits."));
        // Words of a closed set, permissions, and what grows with a component.
        let others = ["mode", "min-version", "http", "status", "compile-time", "compile-memory"];
        let is_word = others.iter().any(|key| path.ends_with(key));
        assert!(known || is_word, "{path} = {said} of docs/config.md is no key with a default");
    }
}
