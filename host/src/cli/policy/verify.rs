//! `policy verify`: who has signed an artifact, and whether that is enough.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::remote::{self, Reach};
use crate::cli::print::say;
use crate::registry;
use crate::workbench::Stop;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0; 1 where it is not signed as it must be, or is not to be had; 2 for wrong options."
)]
pub(in crate::cli) struct Verify {
    /// The artifact: oci://REGISTRY/NAME:TAG, or with @sha256:DIGEST.
    reference: String,
    #[command(flatten)]
    reach: Reach,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// It is not signed as it must be.
pub(super) fn run(verify: &Verify) -> Result<ExitCode, Stop> {
    let reference = remote::reference(&verify.reference)?;
    let registry = verify.reach.registry_for(&reference)?;
    if registry.trust_of(&reference.repository()).is_none() {
        let text =
            format!("nobody is named who may sign {}: --key, or a [[registry.trust]] for it", reference.repository());
        return Err(Stop::Unusable(text));
    }
    let (artifact, by) = registry::fetch(&reference, &registry).map_err(Stop::Bad)?;
    if verify.json {
        let json = json!({
            "ok": true, "reference": reference.to_string(), "manifest": artifact.manifest.to_string(),
            "version": artifact.version, "signed-by": by,
        });
        say(&json.to_string());
    } else {
        say(&format!("{reference}: {} is signed by {}", artifact.manifest, by.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}
