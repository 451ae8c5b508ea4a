//! A replay: a candidate is asked what a decision log says others were asked, and what changes is counted.
//!
//! Invariants: the log is read once, record by record; what is kept of it does not grow with it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::outcome::{Stop, word};
use crate::policy::{Error, Given, Recorded, Trace, Trial};

/// A longer line is no record: 64 facts of 8 KiB, escaped.
const LINE: usize = 1 << 20;
/// So many of each kind of change are shown, and so many kinds are told apart; templates may have any name.
const EXAMPLES: usize = 3;
const KINDS: usize = 200;
/// Lines between two words about how far it has come.
const STRIDE: u64 = 256;

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Lines that were read.
    pub lines: u64,
    /// Those that are no records.
    pub unreadable: u64,
    /// Records of other policies, of other questions, and of shadows.
    pub others: u64,
    /// Decisions that the candidate was asked.
    pub asked: u64,
    /// Those that stay as they were.
    pub same: u64,
    /// By the verdict that was, the one that would be, and the last fact that the candidate read before it decided.
    pub changed: Kinds<Change>,
    /// By the fact that was read and is not in the record.
    pub diverged: Kinds<String>,
    /// By what went wrong.
    pub failed: Kinds<String>,
}

/// A kind of change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The word of the verdict that was.
    pub old: String,
    /// The word of the one that would be.
    pub new: String,
    /// The read that made the difference: the last one before the candidate decided.
    pub read: String,
}

/// Counts by kind, with examples.
#[derive(Debug)]
pub struct Kinds<K>(BTreeMap<K, (u64, Vec<Json>)>, u64);

impl<K> Default for Kinds<K> {
    fn default() -> Self {
        Self(BTreeMap::new(), 0)
    }
}

impl<K: Ord> Kinds<K> {
    /// Counts one; beyond [`KINDS`] of them only the sum is known.
    fn count(&mut self, kind: K, example: impl FnOnce() -> Json) {
        self.1 += 1;
        if self.0.len() >= KINDS && !self.0.contains_key(&kind) {
            return;
        }
        let (count, examples) = self.0.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example());
        }
    }

    /// All of them.
    pub const fn sum(&self) -> u64 {
        self.1
    }

    /// By how often they came.
    pub fn sorted(&self) -> Vec<(&K, u64, &[Json])> {
        let mut kinds: Vec<_> = self.0.iter().map(|(kind, (count, examples))| (kind, *count, &examples[..])).collect();
        kinds.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        kinds
    }
}

/// Asks a candidate what the records of a log say that policies with its question were asked; of one policy only, where it is
/// named. `told` hears now and then how far it has come, in bytes, and may end it.
///
/// # Errors
/// The log cannot be read, or the candidate does not start.
pub fn replay(
    reader: &mut impl BufRead,
    trial: &mut Trial,
    (asks, name): (&str, Option<&str>),
    mut told: impl FnMut(&Replayed, u64) -> ControlFlow<()>,
) -> Result<Replayed, Stop> {
    let (mut outcome, mut line, mut place) = (Replayed::default(), Vec::new(), 0);
    let unusable = |error: std::io::Error| Stop::Unusable(error.to_string());
    while read_line(reader, &mut line, &mut place).map_err(unusable)? {
        outcome.lines += 1;
        match std::str::from_utf8(&line).map_err(|error| error.to_string()).and_then(Recorded::parse) {
            Err(_) => outcome.unreadable += 1,
            Ok(record) if record.of_shadow || record.asks != asks || name.is_some_and(|name| name != record.policy) => {
                outcome.others += 1;
            }
            Ok(record) => ask(trial, record, &mut outcome)?,
        }
        if outcome.lines.is_multiple_of(STRIDE) && told(&outcome, place).is_break() {
            break;
        }
    }
    Ok(outcome)
}

/// Reads a line without its end; one that is too long comes back empty, which is no record. Gives whether there was one.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, place: &mut u64) -> std::io::Result<bool> {
    line.clear();
    let mut read = 0;
    loop {
        let available = match reader.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            available => available?,
        };
        if available.is_empty() {
            return Ok(read > 0);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        if read + part.len() <= LINE {
            line.extend_from_slice(part)
        } else {
            line.clear()
        }
        read += part.len() + usize::from(end.is_some());
        let taken = part.len() + usize::from(end.is_some());
        reader.consume(taken);
        *place += taken as u64;
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn ask(trial: &mut Trial, record: Recorded, outcome: &mut Replayed) -> Result<(), Stop> {
    outcome.asked += 1;
    let given = Arc::new(Given::from_trace(record.trace.clone()));
    let told = trial.ask(&given).map_err(|error| Stop::Bad(format!("the candidate does not start: {error}")))?;
    let old = record.verdict;
    let example = |new: Json| json!({"facts": facts_json(&record.trace), "old": old, "new": new});
    match told.answer {
        Ok(answer) => {
            let new = answer.to_json();
            if old.as_ref() == Some(&new) {
                outcome.same += 1;
            } else {
                let last = told.trace.reads().last();
                let change = Change {
                    old: old.as_ref().map_or_else(|| "failed".to_owned(), word),
                    new: word(&new),
                    read: last.map_or_else(String::new, |(fact, _)| fact.to_string()),
                };
                outcome.changed.count(change, || example(new));
            }
        }
        Err(Error::NotGiven(fact)) => outcome.diverged.count(fact.to_string(), || example(Json::Null)),
        // It failed then as it does now.
        Err(_) if old.is_none() => outcome.same += 1,
        Err(error) => outcome.failed.count(error.to_string(), || example(Json::Null)),
    }
    Ok(())
}

/// What a record says was read.
fn facts_json(trace: &Trace) -> Json {
    trace.reads().iter().map(|(fact, value)| (fact.to_string(), value.to_json())).collect()
}

impl Replayed {
    /// Whether nothing would change.
    pub fn is_same(&self) -> bool {
        self.changed.1 + self.diverged.1 + self.failed.1 == 0
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let changes =
            self.changed.sorted().into_iter().map(
                |(Change { old, new, read }, count, examples)| json!({"old": old, "new": new, "read": read, "count": count, "examples": examples}),
            );
        let diverged = self
            .diverged
            .sorted()
            .into_iter()
            .map(|(fact, count, examples)| json!({"fact": fact, "count": count, "examples": examples}));
        let failed = self
            .failed
            .sorted()
            .into_iter()
            .map(|(error, count, examples)| json!({"error": error, "count": count, "examples": examples}));
        json!({
            "ok": self.is_same(), "lines": self.lines, "unreadable": self.unreadable, "others": self.others,
            "asked": self.asked, "same": self.same,
            "changed": self.changed.1, "changes": changes.collect::<Json>(),
            "diverged": self.diverged.1, "divergences": diverged.collect::<Json>(),
            "failed": self.failed.1, "failures": failed.collect::<Json>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_read_one_by_one_and_giants_are_skipped() {
        let giant = "x".repeat(LINE + 1);
        let text = format!("a\n\n{giant}\nb");
        // A small buffer, so that lines come in parts.
        let mut reader = BufReader::with_capacity(16, text.as_bytes());
        let (mut line, mut place, mut lines) = (Vec::new(), 0, Vec::new());
        while read_line(&mut reader, &mut line, &mut place).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines[..2], ["a", ""]);
        assert!(lines[2].len() <= 16);
        assert_eq!(lines[3..], ["b"]);
        assert_eq!(place, text.len() as u64);
    }

    #[test]
    fn kinds_are_bounded_and_the_most_frequent_come_first() {
        let mut kinds = Kinds::default();
        for n in 0..KINDS * 2 {
            kinds.count(n.to_string(), || json!(n));
            kinds.count("often".to_owned(), || json!(n));
        }
        assert_eq!(kinds.1, KINDS as u64 * 4);
        assert!(kinds.0.len() <= KINDS);
        let sorted = kinds.sorted();
        assert_eq!((sorted[0].0.as_str(), sorted[0].1, sorted[0].2.len()), ("often", KINDS as u64 * 2, EXAMPLES));
    }
}
