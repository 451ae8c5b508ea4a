//! `policy diff`: what a new component may do that the old one may not, and what else is different.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::remote::{self, Reach};
use super::subject::{compiler, named};
use crate::cli::print::say;
use crate::config::{self, Place, Question, Source};
use crate::policy;
use crate::registry;
use crate::workbench::{self, Candidate, Difference, Shown, Stop};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 where nothing is different; 1 where something is; 2 where one of them is not to be had."
)]
pub(in crate::cli) struct Diff {
    /// FILE.wasm, the name of a built-in policy, or oci://REGISTRY/NAME:TAG.
    old: String,
    /// The same.
    new: String,
    /// Ask the new one what this decision log says others were asked; --name says which policy's records.
    #[arg(long, value_name = "LOG")]
    records: Option<PathBuf>,
    /// The policy's name in the log; with --config also the policy whose settings and grants it gets.
    #[arg(long, value_name = "POLICY", requires = "records")]
    name: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// One of them is not to be had, or is no policy.
pub(super) fn run(diff: &Diff) -> Result<ExitCode, Stop> {
    let engine = compiler()?;
    let (old, new) = (Side::of(diff, &diff.old)?, Side::of(diff, &diff.new)?);
    let difference = Difference::between(old.shown(&engine)?, new.shown(&engine)?);
    let replayed = diff.records.as_ref().map(|log| replay(diff, log, &new, &engine)).transpose()?;
    let same = difference.is_none() && replayed.as_ref().is_none_or(workbench::Replayed::is_same);
    if diff.json {
        let mut json = difference.json();
        json["ok"] = json!(true);
        json["replay"] = replayed.as_ref().map_or(serde_json::Value::Null, workbench::Replayed::json);
        say(&json.to_string());
    } else {
        difference.lines().iter().for_each(|line| say(line));
        if let Some(replayed) = &replayed {
            say(&format!("of {} recorded decisions it makes {} otherwise", replayed.asked, replayed.changed.sum()));
            for (workbench::Change { old, new, .. }, count, _) in replayed.changed.sorted() {
                say(&format!("  {count} × {old} → {new}"));
            }
            if replayed.diverged.sum() + replayed.failed.sum() > 0 {
                let (diverged, failed) = (replayed.diverged.sum(), replayed.failed.sum());
                say(&format!("  {diverged} read what their record lacks, {failed} failed"));
            }
        }
    }
    Ok(super::outcome::status(same))
}

/// One of the two.
struct Side {
    config: config::Policy,
    bytes: Vec<u8>,
    /// Holds a component that was fetched.
    _beside: Option<remote::Beside>,
}

impl Side {
    fn of(diff: &Diff, text: &str) -> Result<Self, Stop> {
        let place = Place::whole(&Arc::new(Source::new(text, "")));
        if !text.starts_with("oci://") {
            let (name, file) = named(text)?;
            let config = config::Policy { file, ..config::Policy::alone(&name, Question::Access, place) };
            let bytes = policy::bytes_of(&config)?;
            return Ok(Self { config, bytes, _beside: None });
        }
        let reference = remote::reference(text)?;
        let registry = diff.reach.registry_for(&reference)?;
        let (artifact, _) = registry::fetch(&reference, &registry).map_err(Stop::Unusable)?;
        let beside = remote::Beside::of(&artifact.component).map_err(|error| Stop::Unusable(error.to_string()))?;
        let file = Some(beside.path().to_owned());
        let config = config::Policy { file, ..config::Policy::alone(&reference.name, Question::Access, place) };
        Ok(Self { config, bytes: artifact.component, _beside: Some(beside) })
    }

    fn shown(&self, engine: &policy::Compiler) -> Result<Shown, Stop> {
        Shown::of(&self.config, &self.bytes, Some(engine))
            .map_err(|odd| Stop::Bad(format!("{}: {odd}", self.config.name)))
    }
}

fn replay(diff: &Diff, log: &PathBuf, new: &Side, engine: &policy::Compiler) -> Result<workbench::Replayed, Stop> {
    let unusable = |error: std::io::Error| Stop::Unusable(format!("{}: {error}", log.display()));
    let mut reader = std::io::BufReader::new(std::fs::File::open(log).map_err(unusable)?);
    let mut config = new.config.clone();
    let manifest = policy::manifest_of(&new.bytes).map_err(Stop::Bad)?;
    config.asks = manifest.questions.first().copied().unwrap_or(config.asks);
    if let (Some(file), Some(name)) = (&diff.reach.config, &diff.name) {
        let (configured, faults) = super::subject::of_configuration(file, name)?;
        if !faults.0.is_empty() {
            return Err(faults.into());
        }
        config = config::Policy { file: config.file, remote: None, digest: None, shadow: None, ..configured };
    }
    let mut trial = Candidate { config: &config, compiler: engine }.load()?;
    let asks = (config.asks.name(), diff.name.as_deref());
    let replayed = workbench::replay(&mut reader, &mut trial, asks, |_, _| std::ops::ControlFlow::Continue(()))?;
    if replayed.asked == 0 {
        let asks = config.asks.name();
        return Err(Stop::Unusable(format!(
            "{}: no decision about \"{asks}\" in {} lines",
            log.display(),
            replayed.lines
        )));
    }
    Ok(replayed)
}
