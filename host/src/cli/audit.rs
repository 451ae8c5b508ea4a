//! `doorward audit`: whether the audit log is as it was written.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::print::say;
use crate::admin::audit::chain;
use crate::files;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Find a line that was taken out, changed or put elsewhere; exit status 1 where there is one.
    Verify {
        /// The file; or several that follow each other, the oldest first.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The hash of the last line, as another machine's log has it: then an end that was cut off is found too.
        #[arg(long)]
        last: Option<String>,
    },
}

pub(super) fn run(audit: &Audit) -> anyhow::Result<ExitCode> {
    let Audit::Verify { files: paths, last } = audit;
    let read = paths.iter().map(|path| {
        let bytes = files::read(path).with_context(|| path.display().to_string())?;
        bytes.with_context(|| format!("{}: there is no such file", path.display()))
    });
    let read = read.collect::<anyhow::Result<Vec<_>>>()?;
    match chain::verify(&read, last.as_deref()) {
        Ok(verified) => {
            say(&format!("{} lines, each as it was written; the last of {}", verified.lines, verified.time));
            say(&format!("last: {}", verified.last));
            if verified.begins != chain::NOTHING {
                say(&format!("the first one follows a line that is not here: {}", verified.begins));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(broken) => {
            let path = paths.get(broken.file).map(|path| path.display().to_string()).unwrap_or_default();
            say(&format!("{path}:{}: {}", broken.line, broken.what));
            Ok(ExitCode::FAILURE)
        }
    }
}
