//! `policy check`: the whole gate of a configuration, and a look at whether the policy is pure.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};

use super::subject::{Options, Subject};
use crate::cli::print::{say, tell};
use crate::workbench::{self, Checked, MOST_FAULTS, Stop, Wrong, vectors};

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 where no fault is found; 1 otherwise; 2 where options or files make no sense.")]
pub(in crate::cli) struct Check {
    /// The component: FILE.wasm, or the name of a built-in policy.
    #[arg(value_name = "FILE")]
    component: Option<String>,
    /// Ask of the facts of these test vectors too [default: vectors.toml beside the component].
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// There is no such policy, or it cannot be loaded.
pub(super) fn run(check: &Check) -> Result<ExitCode, Stop> {
    let mut subject = Subject::find(check.component.as_deref(), &check.options)?;
    let file = vectors_of(check, &subject).map(|path| vectors::read(&path)).transpose()?;
    // Many a policy takes no empty settings; those that all vectors have in common are good ones.
    if let (false, Some(settings)) =
        (check.options.has_settings(), file.as_ref().and_then(|file| file.settings.clone()))
    {
        subject.config.settings = settings;
    }
    let Checked { wrong, asked } = workbench::check(subject.candidate_of(), file.as_ref())?;
    if wrong.len() >= MOST_FAULTS {
        tell(&format!("{MOST_FAULTS} faults: the rest is not asked"));
    }
    report(check, &subject, &wrong, asked);
    Ok(super::outcome::status(wrong.is_empty()))
}

/// The vectors that are named, or those beside the component.
fn vectors_of(check: &Check, subject: &Subject) -> Option<PathBuf> {
    let beside = || Some(subject.config.file.as_ref()?.with_file_name("vectors.toml")).filter(|path| path.is_file());
    check.vectors.clone().or_else(beside)
}

fn report(check: &Check, subject: &Subject, wrong: &[Wrong], asked: usize) {
    let (name, place) = (&subject.config.name, &subject.config.place);
    if check.json {
        let faults: Vec<Json> = wrong
            .iter()
            .map(|wrong| {
                let expected = "the same answer to the same facts, in time";
                let mut fault = json!(place.fault(wrong.text.clone(), expected));
                (fault["about"], fault["decision"]) = (json!(wrong.about), wrong.json.clone());
                fault
            })
            .collect();
        say(&json!({"ok": wrong.is_empty(), "policy": name, "asked": asked, "faults": faults}).to_string());
        return;
    }
    for wrong in wrong {
        let fault = place.fault(&wrong.text, "the same answer to the same facts, in time");
        say(&format!(
            "{}:{}: {}: found {}\n  expected {}",
            fault.file.display(),
            fault.line,
            wrong.about,
            fault.found,
            fault.expected
        ));
    }
    if wrong.is_empty() {
        say(&format!("{name}: no fault found; asked of {asked} sets of facts, it is pure"));
    }
}
