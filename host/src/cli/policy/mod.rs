//! `doorward policy`: policies built, looked at, tried, measured and brought live, without a running Doorward.
//!
//! Exit status: 0 when all is well, 1 when what was asked turned out bad, 2 when it could not be asked.

mod bench;
mod check;
mod eval;
mod facts;
mod inspect;
mod promote;
mod purity;
mod replay;
mod samples;
mod subject;
mod test;
mod vectors;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::{author, say, tell};
use crate::config::{Fault, Faults};
use crate::policy::{Answer, Error, Trace};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Build a policy into a component: a crate in Rust, or a source in Python, JavaScript or C.
    Build(author::Words),
    /// Show what a component is: its questions, what it imports, its digest and the schema of its settings.
    Inspect(inspect::Inspect),
    /// Load a policy as a configuration would, and ask it of sample facts to see that it is pure.
    Check(check::Check),
    /// Make one decision, and show what was read and how long it took.
    Eval(eval::Eval),
    /// Run test vectors: facts, and the verdicts they must bring.
    Test(test::Test),
    /// Build a policy and run its test vectors at each save, and bring it live where all is well.
    Watch(watch::Watch),
    /// Measure how long a decision takes: of a fresh instance, of a warm one, and found again.
    Bench(bench::Bench),
    /// Ask a policy what a decision log says others were asked, and show what changes.
    Replay(replay::Replay),
    /// Begin a new policy: a folder that can be built and tested as it is.
    New(author::Words),
    /// Print the interface of policies (WIT), of all questions or of one.
    Wit(author::Words),
    /// Make the shadow of a policy live.
    Promote(promote::Promote),
}

/// Why a command came to no end.
#[derive(Debug)]
enum Stop {
    /// What was typed makes no sense, or an input cannot be read: status 2.
    Unusable(String),
    /// What was asked about is wrong: status 1.
    Faults(Faults),
    /// It is wrong, and that is all there is to say: status 1.
    Bad(String),
}

impl From<Faults> for Stop {
    fn from(faults: Faults) -> Self {
        Self::Faults(faults)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Faults(fault.into())
    }
}

/// Runs the command that was typed.
///
/// # Errors
/// None: what goes wrong is told here, as text or as JSON.
pub(super) fn run(policy: &Policy) -> anyhow::Result<ExitCode> {
    crate::log::start(crate::config::Level::Error);
    let (outcome, json) = match policy {
        Policy::Build(words) => (author::run("build", words).map_err(Stop::Unusable), words.json()),
        Policy::New(words) => (author::run("new", words).map_err(Stop::Unusable), words.json()),
        Policy::Wit(words) => (author::run("wit", words).map_err(Stop::Unusable), words.json()),
        Policy::Inspect(inspect) => (inspect::run(inspect), inspect.json),
        Policy::Check(check) => (check::run(check), check.json),
        Policy::Eval(eval) => (eval::run(eval), eval.json),
        Policy::Test(test) => (test::run(test), test.json),
        Policy::Watch(watch) => (watch::run(watch), watch.json),
        Policy::Bench(bench) => (bench::run(bench), bench.json),
        Policy::Replay(replay) => (replay::run(replay), replay.json),
        Policy::Promote(promote) => (promote::run(promote), promote.json),
    };
    Ok(outcome.unwrap_or_else(|stop| stopped(&stop, json)))
}

fn stopped(stop: &Stop, json: bool) -> ExitCode {
    let (error, status) = match stop {
        Stop::Faults(faults) => {
            let told = if json { json!({"ok": false, "faults": faults.0}).to_string() } else { faults.to_string() };
            say(&told);
            return ExitCode::from(1);
        }
        Stop::Bad(error) => (error, 1),
        Stop::Unusable(error) => (error, 2),
    };
    if json {
        say(&json!({"ok": false, "error": error}).to_string());
    } else {
        tell(&format!("doorward: {error}"));
    }
    ExitCode::from(status)
}

/// Status 0, or 1.
fn status(ok: bool) -> ExitCode {
    ExitCode::from(u8::from(!ok))
}

/// The word of a verdict: `deny` of `{"deny": "…"}`.
fn word(verdict: &Json) -> String {
    let word = verdict.as_str().or_else(|| verdict.as_object()?.keys().next().map(String::as_str));
    word.unwrap_or("nothing that is known").to_owned()
}

/// An outcome as text: the verdict as JSON, or why there is none.
fn outcome_text(outcome: &Result<Answer, Error>) -> String {
    match outcome {
        Ok(answer) => answer.to_json().to_string(),
        Err(error) => format!("failed: {}", error_text(error)),
    }
}

/// Why there is no verdict, with what the policy said before, a line for each.
fn error_text(error: &Error) -> String {
    let lines: String = error.words().iter().map(|line| format!("\n    said {line}")).collect();
    format!("{}{lines}", error.cause())
}

/// An outcome as JSON, to be put into an object: `verdict` or `error`.
fn outcome_json(outcome: &Result<Answer, Error>) -> Json {
    match outcome {
        Ok(answer) => json!({"verdict": answer.to_json()}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

/// What was read, a line for each fact.
fn reads_text(trace: &Trace, indent: &str) -> String {
    let reads = trace.reads();
    let width = reads.iter().map(|(fact, _)| fact.to_string().len()).max().unwrap_or(0);
    let lines: Vec<String> =
        reads.iter().map(|(fact, value)| format!("{indent}{:width$}  {}", fact.to_string(), value.to_json())).collect();
    if lines.is_empty() { format!("{indent}(nothing)") } else { lines.join("\n") }
}

/// What was read, as JSON.
fn reads_json(trace: &Trace) -> Json {
    trace.to_json(|_| false)
}

/// What to do about a fact that was read and not given.
fn how_to_give(error: &Error) -> Option<String> {
    let Error::NotGiven(fact) = error else { return None };
    let option = match fact.parts() {
        (_, "attribute", Some(name)) => format!("attribute.{name}=VALUE,VALUE"),
        (_, function, Some(name)) => format!("{function}.{name}=VALUE"),
        (_, function, None) => format!("{function}=VALUE"),
    };
    Some(format!("the policy read {fact}, which is not given: add --fact {option}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Fact;

    #[test]
    fn a_fact_that_lacks_is_told_with_the_option_that_gives_it() {
        for (fact, option) in [
            ("request.host", "--fact host=VALUE"),
            ("request.header(user-agent)", "--fact header.user-agent=VALUE"),
            ("login.attribute(mail)", "--fact attribute.mail=VALUE,VALUE"),
        ] {
            let told = how_to_give(&Error::NotGiven(Fact::parse(fact).unwrap())).unwrap();
            assert!(told.ends_with(option), "{told}");
        }
    }

    #[test]
    fn the_word_of_a_verdict_is_its_only_key_or_itself() {
        assert_eq!(word(&json!("deny")), "deny");
        assert_eq!(word(&json!({"deny": "no"})), "deny");
    }
}
