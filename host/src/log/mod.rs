//! Set-up of the log on standard error.

pub mod access;

use tracing_subscriber::filter::LevelFilter;

use crate::config::{Fault, Level};

/// Starts the log; called once. Another level needs a restart.
pub fn start(level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // `ldap3` logs the whole of a bind at trace level; no level of ours reaches that.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        // A reader of the log that left ends nothing: telling of it there would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .finish();
    // A second start (in tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What an operator should know of a configuration that is taken.
pub fn warnings(warnings: &[Fault]) {
    for warning in warnings {
        let at = format!("{}:{}", warning.file.display(), warning.line);
        let Fault { key, found, expected, .. } = warning;
        tracing::warn!(at, key, found, expected, "the configuration is taken, with a warning");
    }
}
