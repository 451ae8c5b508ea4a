//! `policy promote`: the shadow of a policy becomes the policy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::outcome::Stop;
use super::subject::{compiler, of_configuration};
use crate::cli::print::say;
use crate::policy;

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
    let previous = replace(&file, &bytes).map_err(|error| bad(format!("{}: {error}", file.display())))?;
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

/// Writes bytes over a file, and keeps what it was; at no time is there no file, or half of one.
pub(super) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<Option<PathBuf>> {
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (next, keeping, previous) = (beside(".next"), beside(".keeping"), beside(".previous"));
    let written = (|| {
        use std::io::Write as _;
        let kept = match fs::metadata(file) {
            Ok(metadata) => {
                fs::copy(file, &keeping)?;
                fs::rename(&keeping, &previous)?;
                Some(metadata.permissions())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut output = fs::File::create(&next)?;
        output.write_all(bytes)?;
        output.sync_all()?;
        let there = kept.is_some();
        if let Some(permissions) = kept {
            fs::set_permissions(&next, permissions)?;
        }
        fs::rename(&next, file)?;
        Ok(there.then(|| previous.clone()))
    })();
    if written.is_err() {
        // What is left over helps nobody; the first error is the one to tell.
        drop((fs::remove_file(&next), fs::remove_file(&keeping)));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_what_it_was_is_kept() {
        let folder = std::env::temp_dir().join(format!("doorward-promote-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.wasm");
        assert_eq!(replace(&file, b"one").unwrap(), None);
        assert_eq!(replace(&file, b"two").unwrap(), Some(folder.join("a.wasm.previous")));
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read(folder.join("a.wasm.previous")).unwrap(), b"one");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
