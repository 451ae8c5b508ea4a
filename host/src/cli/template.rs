//! `doorward template`: the templates that ship with Doorward, to begin own ones with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::print::say;
use crate::pages::shipped;

/// The templates that ship with Doorward.
#[derive(Debug, Subcommand)]
pub(super) enum Template {
    /// List all files, by the path that `extends` and `include` name.
    List,
    /// Print one file, such as blue/desktop/login.html.
    Show {
        /// Its path.
        path: String,
    },
    /// Write the files of all looks, or of one, to a folder, which `templates` may name then.
    Export {
        /// The folder; made when it is missing. No file that is there is written over.
        dir: PathBuf,
        /// The look: blue or green.
        #[arg(long)]
        look: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// There is no such file or look, or it cannot be written.
pub(super) fn run(template: &Template) -> anyhow::Result<ExitCode> {
    let files = shipped();
    match template {
        Template::List => files.keys().for_each(|path| say(path)),
        Template::Show { path } => {
            let bytes =
                files.get(path).with_context(|| format!("no file {path}; `doorward template list` has them all"))?;
            use std::io::Write as _;
            // A reader that left is no reason to fail.
            let _ = std::io::stdout().write_all(bytes);
        }
        Template::Export { dir, look } => {
            let looks = files.keys().filter_map(|path| path.split('/').next());
            if let Some(look) = look.as_deref().filter(|look| !looks.clone().any(|known| known == *look)) {
                let known: std::collections::BTreeSet<&str> = looks.collect();
                bail!("no look {look}, but {}", known.into_iter().collect::<Vec<_>>().join(", "));
            }
            let of_look = |path: &str| look.as_deref().is_none_or(|look| path.split('/').next() == Some(look));
            let wanted =
                files.iter().filter(|(path, _)| of_look(path)).map(|(path, bytes)| (path.as_str(), bytes)).collect();
            export(dir, &wanted)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all files, or none where one is there already.
fn export(dir: &Path, files: &BTreeMap<&str, &Vec<u8>>) -> anyhow::Result<()> {
    if let Some(path) = files.keys().map(|path| dir.join(path)).find(|path| path.exists()) {
        bail!("{} is there already; nothing is written", path.display());
    }
    for (path, bytes) in files {
        let path = dir.join(path);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    say(&format!("{} files in {}", files.len(), dir.display()));
    Ok(())
}
