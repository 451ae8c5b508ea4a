//! `policy test`: runs test vectors on a component.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use doorward_vectors::{Expected, File, Vector};
use serde_json::{Value as Json, json};

use super::outcome::{Stop, error_text, outcome_text, reads_json, reads_text};
use super::purity::examine;
use super::subject::{Options, Subject};
use super::vectors;
use crate::cli::print::{say, tell};
use crate::config::Faults;
use crate::policy::{Error, Trace, Trial};

/// Work that takes longer than this tells how far it has come.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 where all vectors hold; 1 where one fails; 2 where a file cannot be read.")]
pub(in crate::cli) struct Test {
    /// The component: FILE.wasm, or the name of a built-in policy.
    #[arg(value_name = "FILE")]
    component: Option<String>,
    /// Files of test vectors [default: vectors.toml].
    #[arg(value_name = "VECTORS")]
    files: Vec<PathBuf>,
    /// More files of test vectors; a folder stands for its vectors.toml.
    #[arg(long = "vectors", value_name = "FILE")]
    more: Vec<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Why a vector failed.
pub(super) struct Failure {
    reason: String,
    trace: Trace,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, or the policy cannot be loaded.
pub(super) fn run(test: &Test) -> Result<ExitCode, Stop> {
    let (component, paths) = what(test);
    let files: Vec<(PathBuf, File)> =
        paths.into_iter().map(|path| vectors::read(&path).map(|file| (path, file))).collect::<Result<_, _>>()?;
    let subject = Subject::find(component, &test.options)?;
    let mut reports = Vec::new();
    let (mut count, mut failed) = (0, 0);
    for (path, file) in &files {
        let failures = run_file(&subject, path, file)?;
        count += file.vectors.len();
        failed += failures.len();
        if test.json {
            reports.push(json_of(path, file, &failures));
        } else {
            tell_failures(path, &failures);
        }
    }
    if test.json {
        let ok = failed == 0;
        say(&json!({"ok": ok, "policy": subject.config.name, "vectors": count, "failed": failed, "files": reports})
            .to_string());
    } else if failed == 0 {
        say(&format!("{}: all {count} vectors hold", subject.config.name));
    } else {
        say(&format!("{}: {failed} of {count} vectors failed", subject.config.name));
    }
    Ok(super::outcome::status(failed == 0))
}

/// The component, if one is named, and the files of vectors.
fn what(test: &Test) -> (Option<&str>, Vec<PathBuf>) {
    let mut component = test.component.as_deref();
    let mut paths: Vec<PathBuf> = test.files.iter().chain(&test.more).cloned().collect();
    // With a configuration no component needs to be named, so the first file may be one of vectors.
    if test.options.of_configuration()
        && let Some(file) = component.filter(|name| Path::new(name).extension().is_some_and(|end| end == "toml"))
    {
        paths.insert(0, file.into());
        component = None;
    }
    if paths.is_empty() {
        paths.push("vectors.toml".into());
    }
    for path in &mut paths {
        if path.is_dir() {
            path.push("vectors.toml");
        }
    }
    (component, paths)
}

/// Runs the vectors of a file, and tells which failed.
///
/// # Errors
/// The policy cannot be loaded.
pub(super) fn run_file<'a>(subject: &Subject, path: &Path, file: &'a File) -> Result<Vec<(&'a Vector, Failure)>, Stop> {
    // Vectors with the same settings share an instance: then it has been asked other things before, as in life.
    let mut trials: HashMap<String, Result<Trial, String>> = HashMap::new();
    let mut failures = Vec::new();
    let mut told = Instant::now();
    for (index, vector) in file.vectors.iter().enumerate() {
        let settings = vectors::settings_of(vector, file, &subject.config.settings);
        let key = settings.to_string();
        if !trials.contains_key(&key) {
            trials.insert(key.clone(), with_settings(subject, settings)?);
        }
        let outcome = match trials.get_mut(&key) {
            Some(Ok(trial)) => run_vector(trial, vector, subject),
            Some(Err(refused)) => Err(Failure { reason: refused.clone(), trace: Trace::default() }),
            None => Ok(()),
        };
        failures.extend(outcome.err().map(|failure| (vector, failure)));
        if told.elapsed() > PATIENCE {
            tell(&format!("{}: {} of {} vectors", path.display(), index + 1, file.vectors.len()));
            told = Instant::now();
        }
    }
    Ok(failures)
}

/// The policy with a vector's settings; that it refuses them is that vector's failure, and any other fault is one of
/// the policy.
fn with_settings(subject: &Subject, settings: Json) -> Result<Result<Trial, String>, Stop> {
    let key = subject.config.place.key("settings").fault("", "").key;
    match subject.load_with(settings) {
        Ok(trial) => Ok(Ok(trial)),
        Err(Faults(faults)) if faults.iter().all(|fault| fault.key.starts_with(&key)) => {
            let path = |full: &str| full[key.len()..].trim_start_matches('.').to_owned();
            let problems: Vec<String> =
                faults.iter().map(|fault| format!("{}: {}", path(&fault.key), fault.found)).collect();
            Ok(Err(format!("the policy does not take the settings: {}", problems.join("; "))))
        }
        Err(faults) => Err(faults.into()),
    }
}

fn run_vector(trial: &mut Trial, vector: &Vector, subject: &Subject) -> Result<(), Failure> {
    let failure = |reason: String, trace: &Trace| Failure { reason, trace: trace.clone() };
    let none = Trace::default();
    let expected = Expected::new(&vector.expect, subject.config.asks).map_err(|error| failure(error, &none))?;
    let given = vectors::given(vector).map_err(|_| failure("its facts cannot be".to_owned(), &none))?;
    let told = examine(trial, &given).map_err(|error| failure(error.to_string(), &none))?;
    let told = told.map_err(|impure| failure(impure.short(), &none))?;
    match &told.answer {
        Ok(answer) if expected.fits(&vectors::answered(answer)) => Ok(()),
        Ok(_) => Err(failure(format!("expected {expected}, found {}", outcome_text(&told.answer)), &told.trace)),
        Err(Error::NotGiven(fact)) => {
            Err(failure(format!("the policy read {fact}, which the vector does not give"), &told.trace))
        }
        Err(error) => {
            Err(failure(format!("expected {expected}, but the policy failed: {}", error_text(error)), &told.trace))
        }
    }
}

/// Prints what failed, and what was read.
pub(super) fn tell_failures(path: &Path, failures: &[(&Vector, Failure)]) {
    for (vector, failure) in failures {
        say(&format!("{}:{}: {}: {}", path.display(), vector.line, vector.name, failure.reason));
        if !failure.trace.reads().is_empty() {
            say(&reads_text(&failure.trace, "    read "));
        }
    }
}

/// The same as JSON.
pub(super) fn json_of(path: &Path, file: &File, failures: &[(&Vector, Failure)]) -> Json {
    let failures: Vec<Json> = failures
        .iter()
        .map(|(vector, failure)| {
            json!({
                "name": vector.name, "line": vector.line, "expect": vector.expect, "reason": failure.reason,
                "reads": reads_json(&failure.trace),
            })
        })
        .collect();
    json!({"file": path, "vectors": file.vectors.len(), "failures": failures})
}
