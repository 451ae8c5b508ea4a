//! `policy eval`: one decision, and all there is to see of it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::facts::Typed;
use super::subject::{Options, Subject};
use crate::cli::print::{say, tell};
use crate::workbench::{Stop, how_to_give, outcome_text, reads_json, reads_text};

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0; 1 where the policy gives no verdict, or reads a fact that is not given; \
                        2 where the facts or options make no sense.")]
pub(in crate::cli) struct Eval {
    /// The component: FILE.wasm, or the name of a built-in policy.
    #[arg(value_name = "FILE")]
    component: Option<String>,
    #[command(flatten)]
    facts: Typed,
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// There is no such policy, or it does not start.
pub(super) fn run(eval: &Eval) -> Result<ExitCode, Stop> {
    let given = eval.facts.given()?;
    let subject = Subject::find(eval.component.as_deref(), &eval.options)?;
    let mut trial = subject.load()?;
    let failed = |error: crate::policy::Error| Stop::Bad(error.to_string());
    let told = trial.ask(&given).map_err(failed)?;
    // The first call of an instance also touches its memory for the first time.
    let warm = if told.answer.is_ok() { Some(trial.ask(&given).map_err(failed)?.took) } else { None };
    let memory = trial.memory();
    let ok = told.answer.is_ok();
    let lacking = told.answer.as_ref().err().and_then(how_to_give);
    if eval.json {
        let mut report = crate::workbench::outcome_json(&told.answer);
        report["ok"] = json!(ok);
        report["policy"] = json!(subject.config.name);
        report["asks"] = json!(subject.config.asks.name());
        report["reads"] = reads_json(&told.trace);
        report["first-us"] = json!(micros(told.took));
        report["warm-us"] = json!(warm.map(micros));
        report["memory"] = json!(memory);
        if ok && !told.words.is_empty() {
            report["said"] = json!(told.words);
        }
        if let Some(lacking) = &lacking {
            report["hint"] = json!(lacking);
        }
        say(&report.to_string());
        return Ok(super::outcome::status(ok));
    }
    say(&format!("{} {}", subject.config.asks.name(), outcome_text(&told.answer)));
    say(&format!("  read\n{}", reads_text(&told.trace, "    ")));
    if ok {
        told.words.iter().for_each(|line| say(&format!("  said {line}")));
    }
    let mut took = format!("  took {:.1} µs the first time", micros(told.took));
    if let Some(warm) = warm {
        took.push_str(&format!(", {:.1} µs warm", micros(warm)));
    }
    say(&took);
    if let Some(memory) = memory {
        say(&format!("  memory {} KiB", memory >> 10));
    }
    if let Some(lacking) = lacking {
        tell(&format!("doorward: {lacking}"));
    }
    Ok(super::outcome::status(ok))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
