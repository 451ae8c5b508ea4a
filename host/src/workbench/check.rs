//! The whole gate of a configuration for one policy, and a look at whether the policy is pure.

use std::sync::Arc;

use doorward_vectors::File;
use serde_json::{Value as Json, json};

use super::candidate::Candidate;
use super::outcome::{Stop, outcome_text, reads_json, reads_text};
use super::purity::examine;
use super::{samples, vectors};
use crate::policy::{self, Error, Given, Trial};

/// After so many faults the rest is not asked: they are alike.
pub const MOST_FAULTS: usize = 10;

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong.
    pub wrong: Vec<Wrong>,
    /// Of so many sets of facts it was asked.
    pub asked: usize,
}

/// What was found wrong in a decision.
#[derive(Debug)]
pub struct Wrong {
    /// Which facts it was asked of.
    pub about: String,
    /// What is wrong.
    pub text: String,
    /// The same for programs.
    pub json: Json,
}

/// Checks a policy: with its shadow, as a configuration would, and then of sample facts, and of those of its vectors.
///
/// # Errors
/// It cannot be loaded.
pub fn check(candidate: Candidate<'_>, file: Option<&File>) -> Result<Checked, Stop> {
    policy::load(candidate.config, candidate.compiler, &[], None)?;
    let samples: Vec<(String, Arc<Given>)> =
        samples::all().into_iter().enumerate().map(|(index, given)| (format!("sample {}", index + 1), given)).collect();
    let wrong = ask(&mut candidate.load()?, &samples, Missing::IsFault)?;
    let mut checked = Checked { wrong, asked: samples.len() };
    for vector in file.map(|file| &*file.vectors).unwrap_or_default() {
        let settings = file.map(|file| vectors::settings_of(vector, file, &candidate.config.settings));
        // Settings that a vector shows to be refused are no fault of the policy.
        let Ok(mut trial) = candidate.load_with(settings.unwrap_or_default()) else { continue };
        let facts = [(format!("vector \"{}\"", vector.name), vectors::given(vector)?)];
        checked.wrong.extend(ask(&mut trial, &facts, Missing::IsNone)?);
        checked.asked += 1;
    }
    Ok(checked)
}

/// What it means when a fact is read and not given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The samples have them all.
    IsFault,
    /// `policy test` tells it.
    IsNone,
}

fn ask(trial: &mut Trial, facts: &[(String, Arc<Given>)], missing: Missing) -> Result<Vec<Wrong>, Stop> {
    let mut wrong = Vec::new();
    for (about, given) in facts {
        let about = about.clone();
        match examine(trial, given).map_err(|error| Stop::Bad(error.to_string()))? {
            Ok(told) => match &told.answer {
                Err(Error::NotGiven(_)) if missing == Missing::IsNone => {}
                Err(error) => wrong.push(Wrong {
                    about,
                    text: format!("{}\n{}", outcome_text(&told.answer), reads_text(&told.trace, "    ")),
                    json: json!({"error": error.to_string(), "reads": reads_json(&told.trace)}),
                }),
                Ok(_) => {}
            },
            Err(impure) => wrong.push(Wrong { about, text: impure.text(), json: json!({"impure": impure.json()}) }),
        }
        if wrong.len() >= MOST_FAULTS {
            break;
        }
    }
    Ok(wrong)
}
