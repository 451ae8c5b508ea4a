//! `policy promote`: the shadow of a policy becomes the policy.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::subject::{compiler, of_configuration};
use crate::cli::print::say;
use crate::files::keep_and_replace;
use crate::policy;
use crate::workbench::Stop;

#[derive(Debug, Args)]
#[command(after_help = "A Doorward that runs with this configuration sees the change by itself.\n\n\
                        Exit status: 0; 1 where the candidate cannot become live; 2 where there is no such policy.")]
pub(in crate::cli) struct Promote {
    /// The policy's name in the configuration.
    name: String,
    /// The configuration.
    #[arg(long)]
    config: PathBuf,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// There is no such policy, no shadow, or the shadow cannot become live.
pub(super) fn run(promote: &Promote) -> Result<ExitCode, Stop> {
    let (config, faults) = of_configuration(&promote.config, &promote.name)?;
    if !faults.0.is_empty() {
        return Err(faults.into());
    }
    let bad = |text: String| Stop::Bad(format!("{}: {text}", promote.name));
    let Some(shadow) = config.shadow.clone() else {
        return Err(bad("it has no shadow; `shadow = \"FILE.wasm\"` gives it one".to_owned()));
    };
    if config.remote.is_some() {
        return Err(bad("it is in a registry; `doorward policy push` and `pull --update` replace it".to_owned()));
    }
    let Some(file) = config.file.clone() else {
        return Err(bad("it is built in and has no `file` to write over; name one, and keep the shadow".to_owned()));
    };
    let mut candidate = config.clone();
    (candidate.file, candidate.digest, candidate.shadow) = (Some(shadow.clone()), None, None);
    let bytes = policy::bytes_of(&candidate)?;
    let to = policy::digest(&bytes);
    let from = policy::bytes_of(&config).ok().map(|bytes| policy::digest(&bytes));
    if from.as_deref() == Some(to.as_str()) {
        return Err(bad(format!("{} and {} are the same already: sha256:{to}", file.display(), shadow.display())));
    }
    if config.digest.as_ref().is_some_and(|pinned| *pinned != to) {
        return Err(bad(format!("`digest` pins another component; write digest = \"sha256:{to}\" first")));
    }
    let loaded = policy::load(&candidate, &compiler()?, &[], None)?;
    if loaded.digest != to {
        return Err(bad(format!("{} changed while it was looked at", shadow.display())));
    }
    let previous = keep_and_replace(&file, &bytes).map_err(|error| bad(format!("{}: {error}", file.display())))?;
    if promote.json {
        let digest = |digest: &str| format!("sha256:{digest}");
        say(&json!({
            "ok": true, "policy": promote.name, "file": file, "from": from.as_deref().map(digest), "to": digest(&to),
            "previous": previous,
        })
        .to_string());
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("{}: {} is now sha256:{to}", promote.name, file.display()));
    if let Some(previous) = previous {
        say(&format!("the one before is kept as {}", previous.display()));
    }
    say(&format!("`shadow` may go from {} now", promote.config.display()));
    Ok(ExitCode::SUCCESS)
}
