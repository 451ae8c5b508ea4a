//! `policy test`: runs test vectors on a component.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use doorward_vectors::{File, Vector};
use serde_json::json;

use super::subject::{Options, Subject};
use crate::cli::print::{say, tell};
use crate::workbench::{self, Failure, Stop, failures_json, reads_text, vectors};

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
            reports.push(failures_json(path, file, &failures));
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

/// Runs the vectors of a file, and tells how far it has come.
///
/// # Errors
/// The policy cannot be loaded.
pub(super) fn run_file<'a>(subject: &Subject, path: &Path, file: &'a File) -> Result<Vec<(&'a Vector, Failure)>, Stop> {
    let mut told = Instant::now();
    workbench::run_file(subject.candidate_of(), file, |count| {
        if told.elapsed() > PATIENCE {
            tell(&format!("{}: {count} of {} vectors", path.display(), file.vectors.len()));
            told = Instant::now();
        }
    })
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
