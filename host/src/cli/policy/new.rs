//! `policy new`: a policy to begin with.

use std::process::ExitCode;

use clap::Args;

use super::Stop;

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// Its name.
    name: String,
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(new: &New) -> Result<ExitCode, Stop> {
    Err(Stop::Unusable(new.name.clone()))
}
