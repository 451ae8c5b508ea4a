//! How a command ends, and what it prints on the way.

use std::io::Write as _;

use doorward_vectors::Question;

/// Why a command came to no end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What was typed makes no sense, or an input cannot be read: status 2.
    Unusable(String),
    /// What was asked about is wrong: status 1.
    Bad(String),
}

/// A question by its name.
///
/// # Errors
/// The names there are.
pub(crate) fn question(text: &str) -> Result<Question, String> {
    let names = Question::ALL.map(Question::name);
    Question::named(text).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// Prints a line on standard error: how far long work has come.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line on standard output. A reader that left is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
