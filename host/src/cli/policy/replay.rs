//! `policy replay`: asks a candidate what a decision log says others were asked, and shows what changes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value as Json;

use super::subject::{Options, Subject};
use crate::cli::print::{say, tell};
use crate::workbench::{self, Change, Replayed, Stop};

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
    let mut told = Instant::now();
    let outcome = workbench::replay(&mut reader, &mut trial, (asks, name), |outcome, place| {
        if told.elapsed() > PATIENCE {
            let share = (place * 100).checked_div(size).map(|share| format!(" ({share} %)")).unwrap_or_default();
            tell(&format!("{} lines{share}, {} changed", outcome.lines, outcome.changed.sum()));
            told = Instant::now();
        }
        ControlFlow::Continue(())
    });
    let outcome = outcome.map_err(|stop| match stop {
        Stop::Unusable(error) => Stop::Unusable(format!("{}: {error}", replay.log.display())),
        other => other,
    })?;
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
        tell_outcome(&outcome, asks)
    }
    Ok(super::outcome::status(outcome.is_same()))
}

fn tell_outcome(outcome: &Replayed, asks: &str) {
    say(&format!(
        "{} decisions about {asks}: {} the same, {} changed",
        outcome.asked,
        outcome.same,
        outcome.changed.sum()
    ));
    for (Change { old, new, read }, count, examples) in outcome.changed.sorted() {
        let inside = if old == new { " (what goes with it)" } else { "" };
        let after = if read.is_empty() { String::new() } else { format!(", after {read}") };
        say(&format!("\n{count} × {old} → {new}{inside}{after}"));
        tell_examples(examples);
    }
    if outcome.diverged.sum() > 0 {
        say(&format!(
            "\n{} read what their record lacks (not read then, or masked), so their verdict is unknown",
            outcome.diverged.sum()
        ));
        for (fact, count, examples) in outcome.diverged.sorted() {
            say(&format!("{count} × {fact}"));
            tell_examples(examples);
        }
    }
    if outcome.failed.sum() > 0 {
        say(&format!("\n{} failed", outcome.failed.sum()));
        for (error, count, examples) in outcome.failed.sorted() {
            say(&format!("{count} × {error}"));
            tell_examples(examples);
        }
    }
    if outcome.unreadable + outcome.others > 0 {
        let (lines, others, unreadable) = (outcome.lines, outcome.others, outcome.unreadable);
        say(&format!("\nof {lines} lines, {others} are of others or of shadows, and {unreadable} are no records"));
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
