//! What a command prints.

use std::io::Write as _;

/// Prints a line on standard error: how far long work has come.
pub(super) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line on standard output. A reader that left is no reason to fail.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
