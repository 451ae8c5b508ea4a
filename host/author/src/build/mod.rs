//! `doorward policy build`: from a folder to a component, with whatever tools of its language the machine has.
//!
//! A folder with a `Cargo.toml` is a crate in Rust; one with a `policy.toml` says its question and its source. A file is a
//! core module, which whatever compiler made.
//! Invariants:
//! - The output file is replaced whole or not at all.
//! - No component that is made here imports WASI: what Python and JavaScript would ask of it stops the policy.

mod c;
mod description;
mod javascript;
mod module;
mod python;
mod rust;
mod tool;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use description::{Description, Language};
use doorward_vectors::Question;

/// What was built, and by what.
#[derive(Debug)]
pub(super) struct BuildReport {
    /// Its size in bytes.
    pub size: usize,
    /// The tool and its version: others may give other bytes.
    pub by: String,
}

/// What a language's tools made.
struct Built {
    component: Vec<u8>,
    by: String,
}

/// Builds the policy in a directory, or of a core module, as a component. Tells of longer steps by `progress`.
pub(super) fn build(
    dir: &Path,
    asks: Option<Question>,
    output: &Path,
    mut progress: impl FnMut(&str),
) -> Result<BuildReport> {
    if dir.is_file() {
        return done(of_module(dir, asks)?, output);
    }
    ensure!(asks.is_none(), "--asks is for core modules: {} says its question itself", dir.display());
    let crate_there = dir.join("Cargo.toml").is_file();
    let built = match Description::read(dir)? {
        Some(_) if crate_there => bail!("{} has both a Cargo.toml and a policy.toml: which is it?", dir.display()),
        Some(policy) => {
            progress(&format!("building {}", policy.source.display()));
            match policy.language {
                Language::Python => python::build(&policy),
                Language::JavaScript => javascript::build(&policy),
                Language::C => c::build(&policy),
                Language::Module => of_module(&policy.source, Some(policy.question)),
            }?
        }
        None if crate_there => rust::build(dir, &mut progress)?,
        None => bail!("{} is no policy: it has neither a Cargo.toml nor a policy.toml", dir.display()),
    };
    done(built, output)
}

/// A component of a core module in a file.
fn of_module(path: &Path, question: Option<Question>) -> Result<Built> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let component = module::component_of(&bytes, question).with_context(|| path.display().to_string())?;
    Ok(Built { component, by: "its own compiler".to_owned() })
}

/// Lays the component where it is wanted.
fn done(built: Built, output: &Path) -> Result<BuildReport> {
    replace(output, &built.component)?;
    Ok(BuildReport { size: built.component.len(), by: built.by })
}

/// Writes a file beside the output and moves it there.
fn replace(output: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = output.with_extension(format!("wasm.{}", std::process::id()));
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, output))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("cannot write {}", output.display()))
}
