//! `policy replay`: asks a candidate what a decision log says others were asked, and shows what changes.
//!
//! Invariants: the log is read once, record by record; what is kept of it does not grow with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value as Json, json};

use super::outcome::{Stop, word};
use super::subject::{Options, Subject};
use crate::cli::print::{say, tell};
use crate::policy::{Error, Given, Recorded, Trace, Trial};

/// A longer line is no record: 64 facts of 8 KiB, escaped.
const LINE: usize = 1 << 20;
/// So many of each kind of change are shown, and so many kinds are told apart; templates may have any name.
const EXAMPLES: usize = 3;
const KINDS: usize = 200;
/// Lines between two looks at the clock.
const STRIDE: u64 = 4096;
/// How often it is told how far it has come.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 where nothing changes; 1 where a verdict changes, the candidate fails, or it \
                        reads what the record lacks; 2 where the log has no record that fits, or cannot be read.")]
pub(in crate::cli) struct Replay {
    /// The decision log, or - for standard input.
    log: PathBuf,
    /// The candidate: FILE.wasm, or the name of a built-in policy.
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What came of a replay.
#[derive(Debug, Default)]
struct Outcome {
    lines: u64,
    unreadable: u64,
    /// Records of other policies, of other questions, and of shadows.
    others: u64,
    asked: u64,
    same: u64,
    changed: Kinds<(String, String)>,
    /// By the fact that was read and is not in the record.
    diverged: Kinds<String>,
    /// By what went wrong.
    failed: Kinds<String>,
}

/// Counts by kind, with examples.
#[derive(Debug)]
struct Kinds<K>(BTreeMap<K, (u64, Vec<Json>)>, u64);

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

    /// By how often they came.
    fn sorted(&self) -> Vec<(&K, u64, &[Json])> {
        let mut kinds: Vec<_> = self.0.iter().map(|(kind, (count, examples))| (kind, *count, &examples[..])).collect();
        kinds.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        kinds
    }
}

/// Runs it.
///
/// # Errors
/// There is no such policy or log.
pub(super) fn run(replay: &Replay) -> Result<ExitCode, Stop> {
    let unusable = |error: std::io::Error| Stop::Unusable(format!("{}: {error}", replay.log.display()));
    let (input, size): (Box<dyn Read>, u64) = if replay.log.as_os_str() == "-" {
        (Box::new(std::io::stdin()), 0)
    } else {
        let file = File::open(&replay.log).map_err(unusable)?;
        let size = file.metadata().map_err(unusable)?.len();
        (Box::new(file), size)
    };
    let subject = Subject::candidate(replay.policy.as_deref(), &replay.options)?;
    let mut trial = subject.load()?;
    let asks = subject.config.asks.name();
    let name = replay.options.name.as_deref();
    let mut reader = BufReader::with_capacity(1 << 18, input);
    let (mut outcome, mut line, mut place, mut told) = (Outcome::default(), Vec::new(), 0, Instant::now());
    while read_line(&mut reader, &mut line, &mut place).map_err(unusable)? {
        outcome.lines += 1;
        match std::str::from_utf8(&line).map_err(|error| error.to_string()).and_then(Recorded::parse) {
            Err(_) => outcome.unreadable += 1,
            Ok(record) if record.of_shadow || record.asks != asks || name.is_some_and(|name| name != record.policy) => {
                outcome.others += 1;
            }
            Ok(record) => ask(&mut trial, record, &mut outcome)?,
        }
        if outcome.lines % STRIDE == 0 && told.elapsed() > PATIENCE {
            let share = (place * 100).checked_div(size).map(|share| format!(" ({share} %)")).unwrap_or_default();
            tell(&format!("{} lines{share}, {} changed", outcome.lines, outcome.changed.1));
            told = Instant::now();
        }
    }
    if outcome.asked == 0 {
        let of = name.map(|name| format!(" of \"{name}\"")).unwrap_or_default();
        let (lines, unreadable) = (outcome.lines, outcome.unreadable);
        let log = replay.log.display();
        return Err(Stop::Unusable(format!(
            "{log}: no decision{of} about \"{asks}\" in {lines} lines, of which {unreadable} are no records"
        )));
    }
    if replay.json {
        say(&outcome.json().to_string())
    } else {
        outcome.tell(asks)
    }
    Ok(super::outcome::status(outcome.is_same()))
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

fn ask(trial: &mut Trial, record: Recorded, outcome: &mut Outcome) -> Result<(), Stop> {
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
                let words = (old.as_ref().map_or_else(|| "failed".to_owned(), word), word(&new));
                outcome.changed.count(words, || example(new));
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

impl Outcome {
    fn is_same(&self) -> bool {
        self.changed.1 + self.diverged.1 + self.failed.1 == 0
    }

    fn json(&self) -> Json {
        let changes =
            self.changed.sorted().into_iter().map(
                |((old, new), count, examples)| json!({"old": old, "new": new, "count": count, "examples": examples}),
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

    fn tell(&self, asks: &str) {
        say(&format!("{} decisions about {asks}: {} the same, {} changed", self.asked, self.same, self.changed.1));
        for ((old, new), count, examples) in self.changed.sorted() {
            let inside = if old == new { " (what goes with it)" } else { "" };
            say(&format!("\n{count} × {old} → {new}{inside}"));
            tell_examples(examples);
        }
        if self.diverged.1 > 0 {
            say(&format!(
                "\n{} read what their record lacks (not read then, or masked), so their verdict is unknown",
                self.diverged.1
            ));
            for (fact, count, examples) in self.diverged.sorted() {
                say(&format!("{count} × {fact}"));
                tell_examples(examples);
            }
        }
        if self.failed.1 > 0 {
            say(&format!("\n{} failed", self.failed.1));
            for (error, count, examples) in self.failed.sorted() {
                say(&format!("{count} × {error}"));
                tell_examples(examples);
            }
        }
        if self.unreadable + self.others > 0 {
            let (lines, others, unreadable) = (self.lines, self.others, self.unreadable);
            say(&format!("\nof {lines} lines, {others} are of others or of shadows, and {unreadable} are no records"));
        }
    }
}

fn tell_examples(examples: &[Json]) {
    for example in examples {
        let facts: Vec<String> =
            example["facts"].as_object().into_iter().flatten().map(|(fact, value)| format!("{fact}={value}")).collect();
        let facts = if facts.is_empty() { "(nothing read)".to_owned() } else { facts.join(" ") };
        let verdict = |key: &str| if example[key].is_null() { "failed".to_owned() } else { example[key].to_string() };
        match &example["new"] {
            Json::Null => say(&format!("    {facts}: {}", verdict("old"))),
            new => say(&format!("    {facts}: {} → {new}", verdict("old"))),
        }
    }
}

#[cfg(test)]
mod tests {
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
