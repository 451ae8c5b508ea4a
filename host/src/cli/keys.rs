//! `doorward keys`: the files of keys that seal session cookies and session tickets.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Subcommand;

use super::print::say;
use crate::config::units;
use crate::session;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Put a new key into a file, which is made if it is missing. A running Doorward reads it by itself.
    Rotate {
        /// The file: `[session] key-file`, or `[tls] ticket-key-file`.
        file: PathBuf,
        /// When the new key begins to seal, such as "1h": the time to copy the file to the other front doors.
        #[arg(long, default_value = "0s", value_parser = parse_duration)]
        after: Duration,
        /// Keys to keep; what was sealed with others does not open any more.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..))]
        keep: u8,
    },
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    units::duration(text).ok_or_else(|| "a time with its unit, such as 30m or 1h".to_owned())
}

pub(super) fn run(keys: &Keys) -> anyhow::Result<ExitCode> {
    let Keys::Rotate { file, after, keep } = keys;
    session::Keys::rotate(file, *after, (*keep).into()).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    say(&format!("{}: a new key seals in {} s", file.display(), after.as_secs()));
    Ok(ExitCode::SUCCESS)
}
