//! The log: an effect, but one without an answer, so it cannot change a decision. Natively it writes to standard error.

/// Writes a line that matters to the policy's author only.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line for the record.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a line that an operator should know.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a line that needs a hand.
pub fn error(message: &str) {
    write(Level::Error, message);
}

use crate::bindings::facts::doorward::policy::log::Level;

#[cfg(target_family = "wasm")]
use crate::bindings::facts::doorward::policy::log::write;

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
