//! Test vectors, run on a component.

use std::collections::HashMap;
use std::path::Path;

use doorward_vectors::{Expected, File, Vector};
use serde_json::{Value as Json, json};

use super::candidate::Candidate;
use super::outcome::{Stop, error_text, outcome_text, reads_json};
use super::purity::examine;
use super::vectors;
use crate::config::Faults;
use crate::policy::{Error, Trace, Trial};

/// Why a vector failed.
#[derive(Debug)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// What was read.
    pub trace: Trace,
}

/// Runs the vectors of a file: those that failed. `told` hears how many were run.
///
/// # Errors
/// The policy cannot be loaded.
pub fn run_file<'a>(
    subject: Candidate<'_>,
    file: &'a File,
    mut told: impl FnMut(usize),
) -> Result<Vec<(&'a Vector, Failure)>, Stop> {
    // Vectors with the same settings share an instance: then it has been asked other things before, as in life.
    let mut trials: HashMap<String, Result<Trial, String>> = HashMap::new();
    let mut failures = Vec::new();
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
        told(index + 1);
    }
    Ok(failures)
}

/// The policy with a vector's settings; that it refuses them is that vector's failure, and any other fault is one of
/// the policy.
fn with_settings(subject: Candidate<'_>, settings: Json) -> Result<Result<Trial, String>, Stop> {
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

fn run_vector(trial: &mut Trial, vector: &Vector, subject: Candidate<'_>) -> Result<(), Failure> {
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

/// What failed, for programs.
pub fn failures_json(path: &Path, file: &File, failures: &[(&Vector, Failure)]) -> Json {
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
