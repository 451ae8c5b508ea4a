//! How a command of `doorward policy` ended.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::print::{say, tell};
use crate::workbench::Stop;

/// Says why it came to no end; the status that says so.
pub(super) fn stopped(stop: &Stop, json: bool) -> ExitCode {
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
pub(super) fn status(ok: bool) -> ExitCode {
    ExitCode::from(u8::from(!ok))
}
