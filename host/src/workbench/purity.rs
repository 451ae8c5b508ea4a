//! Whether a policy is pure as far as some facts show: what it says must not depend on what it was asked before.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::outcome::{outcome_json, outcome_text, reads_json, reads_text};
use crate::policy::{Error, Given, Told, Trial};

/// Asked of the same facts, the policy did two things.
#[derive(Debug)]
pub(super) struct Impure {
    /// Which of the ways of asking differed from a fresh instance.
    way: &'static str,
    fresh: Told,
    other: String,
    other_json: Json,
}

/// Asks a warm instance twice, a fresh one once, and the memory: all must do the same. Gives back what the warm instance
/// said; if that is an error, it is not looked further.
///
/// # Errors
/// An instance does not start.
pub(super) fn examine(trial: &mut Trial, given: &Arc<Given>) -> Result<Result<Told, Box<Impure>>, Error> {
    let told = trial.ask(given)?;
    if told.answer.is_err() {
        return Ok(Ok(told));
    }
    let fresh = trial.ask_fresh(given)?;
    let again = trial.ask(given)?;
    for (way, other) in [("a warm instance", &told), ("a warm instance, asked again,", &again)] {
        if (&other.answer, &other.trace) != (&fresh.answer, &fresh.trace) {
            let text = format!("{}\n{}", outcome_text(&other.answer), reads_text(&other.trace, "    "));
            let json = with_reads(outcome_json(&other.answer), reads_json(&other.trace));
            return Ok(Err(Box::new(Impure { way, fresh, other: text, other_json: json })));
        }
    }
    let remembered = match trial.recall(&told, given) {
        Ok(None) => return Ok(Ok(told)),
        Ok(Some(answer)) if Ok(&answer) == fresh.answer.as_ref() => return Ok(Ok(told)),
        Ok(Some(answer)) => answer.to_json(),
        Err(problem) => json!(problem),
    };
    let (other, other_json) = (remembered.to_string(), json!({"verdict": remembered}));
    Ok(Err(Box::new(Impure { way: "the memory", fresh, other, other_json })))
}

fn with_reads(mut outcome: Json, reads: Json) -> Json {
    outcome["reads"] = reads;
    outcome
}

impl Impure {
    /// In words, with both answers and the facts.
    pub(super) fn text(&self) -> String {
        let (fresh, reads) = (outcome_text(&self.fresh.answer), reads_text(&self.fresh.trace, "    "));
        format!("not pure: a fresh instance says {fresh}\n{reads}\n  and {} says {}", self.way, self.other)
    }

    /// As JSON.
    pub(super) fn json(&self) -> Json {
        let fresh = with_reads(outcome_json(&self.fresh.answer), reads_json(&self.fresh.trace));
        json!({"asked": self.way.trim_end_matches(','), "fresh": fresh, "other": self.other_json})
    }

    /// In a line.
    pub(super) fn short(&self) -> String {
        let other = self.other.lines().next().unwrap_or_default();
        format!("not pure: a fresh instance says {} and {} says {other}", outcome_text(&self.fresh.answer), self.way)
    }
}
