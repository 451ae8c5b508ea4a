//! What a policy said, or why something came to no end, as text and as JSON.

use serde_json::{Value as Json, json};

use crate::config::{Fault, Faults};
use crate::policy::{Answer, Error, Trace};

/// Why something came to no end.
#[derive(Debug)]
pub enum Stop {
    /// What was said makes no sense, or an input cannot be read.
    Unusable(String),
    /// What was asked about is wrong.
    Faults(Faults),
    /// It is wrong, and that is all there is to say.
    Bad(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable(text) | Self::Bad(text) => f.write_str(text),
            Self::Faults(faults) => faults.fmt(f),
        }
    }
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

/// The word of a verdict: `deny` of `{"deny": "…"}`.
pub(super) fn word(verdict: &Json) -> String {
    let word = verdict.as_str().or_else(|| verdict.as_object()?.keys().next().map(String::as_str));
    word.unwrap_or("nothing that is known").to_owned()
}

/// An outcome as text: the verdict as JSON, or why there is none.
pub fn outcome_text(outcome: &Result<Answer, Error>) -> String {
    match outcome {
        Ok(answer) => answer.to_json().to_string(),
        Err(error) => format!("failed: {}", error_text(error)),
    }
}

/// Why there is no verdict, with what the policy said before, a line for each.
pub(super) fn error_text(error: &Error) -> String {
    let lines: String = error.words().iter().map(|line| format!("\n    said {line}")).collect();
    format!("{}{lines}", error.cause())
}

/// An outcome as JSON, to be put into an object: `verdict` or `error`.
pub fn outcome_json(outcome: &Result<Answer, Error>) -> Json {
    match outcome {
        Ok(answer) => json!({"verdict": answer.to_json()}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

/// What was read, a line for each fact.
pub fn reads_text(trace: &Trace, indent: &str) -> String {
    let reads = trace.reads();
    let width = reads.iter().map(|(fact, _)| fact.to_string().len()).max().unwrap_or(0);
    let lines: Vec<String> =
        reads.iter().map(|(fact, value)| format!("{indent}{:width$}  {}", fact.to_string(), value.to_json())).collect();
    if lines.is_empty() { format!("{indent}(nothing)") } else { lines.join("\n") }
}

/// What was read, as JSON.
pub fn reads_json(trace: &Trace) -> Json {
    trace.to_json(|_| false)
}

/// What to do about a fact that was read and not given.
pub fn how_to_give(error: &Error) -> Option<String> {
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
