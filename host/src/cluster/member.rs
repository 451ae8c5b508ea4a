//! What doors say of themselves, and in what they differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What this process says of itself, for the other doors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Own {
    /// The version of the program.
    pub version: String,
    /// The live generation.
    pub generation: u64,
    /// Faults that the last reload was refused for.
    pub faults: u64,
    /// Requests that its nodes are answering, and those that wait.
    pub requests: u64,
    /// Live sessions that it has seen.
    pub sessions: u64,
    /// Nodes that take no new logins here.
    pub drains: Vec<String>,
    /// Digests of the parts of its configuration.
    pub parts: BTreeMap<String, String>,
    /// Whether it is about to end.
    pub draining: bool,
}

/// A door, as it said last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Member {
    /// Its name.
    pub door: String,
    /// By how much its clock is ahead of the store's, in milliseconds.
    pub clock: i64,
    /// When it said so, by the store's clock: milliseconds since 1970.
    pub at: u64,
    /// Tells its process from the one before.
    pub process: u64,
    /// What it says of itself.
    pub own: Own,
}

/// A door that has said nothing for so long is away.
pub(super) const AWAY: u64 = 10_000;
/// One that has said nothing for a day is no door any more.
pub(super) const FORGOTTEN: u64 = 86_400_000;
/// Doors of one cluster; there are never so many.
pub(super) const MOST: usize = 64;

impl Member {
    /// Whether it is here, at a time of the store's clock.
    pub(super) fn is_here(&self, now: u64) -> bool {
        now.saturating_sub(self.at) < AWAY
    }
}

/// By how much clocks differ at most, in whole seconds.
pub(super) fn spread(members: &[Member]) -> u64 {
    let clocks = || members.iter().map(|member| member.clock);
    let (least, most) = (clocks().min().unwrap_or_default(), clocks().max().unwrap_or_default());
    most.abs_diff(least).div_ceil(1000)
}

/// In what doors differ: versions, and parts of the configuration that are not alike everywhere. What is meant to differ
/// (where a door listens, what it is called, how operators reach it) is left out.
pub(super) fn differences(members: &[&Member]) -> Vec<String> {
    let mut found = Vec::new();
    let versions: BTreeSet<&str> = members.iter().map(|member| member.own.version.as_str()).collect();
    if versions.len() > 1 {
        found.push("version".to_owned());
    }
    let names: BTreeSet<&str> = members
        .iter()
        .flat_map(|member| member.own.parts.keys().map(String::as_str))
        .filter(|name| is_shared(name))
        .collect();
    for name in names {
        let said: BTreeSet<Option<&String>> = members.iter().map(|member| member.own.parts.get(name)).collect();
        if said.len() > 1 {
            found.push(name.to_owned());
        }
    }
    found
}

/// Whether a part of the configuration should be alike at all doors.
fn is_shared(part: &str) -> bool {
    let kind = part.split(' ').next().unwrap_or_default();
    let own = [
        "cluster",
        "admin",
        "listener",
        "certificate",
        "threads",
        "log",
        "session.revocations-file",
        "state-directory",
        "traces",
    ];
    !own.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(version: &str, clock: i64, parts: &[(&str, &str)]) -> Member {
        let parts = parts.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
        Member { clock, own: Own { version: version.to_owned(), parts, ..Own::default() }, ..Member::default() }
    }

    #[test]
    fn what_should_be_alike_and_is_not_is_named() {
        let one = member("1", 0, &[("limits", "a"), ("listener public", "a"), ("backend b", "a")]);
        let two = member("2", -1500, &[("limits", "b"), ("listener public", "b")]);
        assert_eq!(differences(&[&one, &two]), ["version", "backend b", "limits"]);
        assert!(differences(&[&one]).is_empty());
        assert_eq!((spread(&[one, two]), spread(&[])), (2, 0));
    }

    #[test]
    fn what_a_newer_door_says_besides_is_passed_over() {
        let text = r#"{"door":"b","clock":-3,"new":{"x":1},"own":{"generation":7,"newer":[1]}}"#;
        let member: Member = serde_json::from_str(text).unwrap();
        assert_eq!((member.door.as_str(), member.clock, member.own.generation), ("b", -3, 7));
    }
}
