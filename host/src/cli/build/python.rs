//! Policies in Python, by componentize-py: CPython and the policy in one component, started and stopped at build time.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::Built;
use super::description::Description;
use super::interface::Workshop;
use super::tool;

const INSTALL: &str = "`pip install componentize-py==0.25.1` (in a virtual environment whose bin folder is on PATH), or \
                       set COMPONENTIZE_PY to the program";

/// Builds a module that has the classes `Settings` and the question's.
pub(super) fn build(policy: &Description) -> Result<Built> {
    let program: OsString = env::var_os("COMPONENTIZE_PY").unwrap_or_else(|| "componentize-py".into());
    let by = tool::first_line(&tool::run_or_install(Command::new(&program).arg("--version"), INSTALL)?);
    let workshop = Workshop::open()?;
    let output = workshop.join("policy.wasm");
    let module = policy.source.file_stem().context("the source has no name")?;
    // The tool's Python leaves what it compiled beside the source.
    let cache = policy.folder.join("__pycache__");
    let was_there = cache.exists();
    let outcome = tool::run(
        Command::new(&program)
            .args(["--quiet", "--wit-path"])
            .arg(workshop.wit())
            .args(["--world", policy.question.world(), "componentize", "--stub-wasi", "--python-path"])
            .arg(&policy.folder)
            .arg("--output")
            .arg(&output)
            .arg(module)
            // It would add its own to Python's, which says all.
            .env("RUST_BACKTRACE", "0"),
    );
    if !was_there {
        // There may be none; if it stays it does no harm.
        let _ = fs::remove_dir_all(&cache);
    }
    outcome?;
    Ok(Built { component: tool::component_at(&output)?, by })
}
