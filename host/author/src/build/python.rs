//! Policies in Python, by componentize-py: CPython and the policy in one component, started and stopped at build time.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use doorward_vectors::Question;

use super::Built;
use super::description::Description;
use super::tool;
use crate::interface::Workshop;

const INSTALL: &str = "`pip install componentize-py==0.25.1` (in a virtual environment whose bin folder is on PATH), or \
                       set COMPONENTIZE_PY to the program";

/// The module that the tool is given, which asks the policy and says why it fails.
const ENTRY: &str = "doorward_entry";

/// That module for a policy.
fn entry_of(policy: &Description) -> Result<String> {
    let module = policy.source.file_stem().and_then(|name| name.to_str()).context("the source has no name")?;
    let source = policy.source.file_name().and_then(|name| name.to_str()).context("the source has no name")?;
    let marks = [
        ("{{entry}}", ENTRY),
        ("{{module}}", module),
        ("{{source}}", source),
        (
            "{{class}}",
            match policy.question {
                Question::Access => "Access",
                Question::Device => "Device",
                Question::Template => "Template",
                Question::AuthMode => "AuthMode",
                Question::Filter => "Filter",
                Question::Route => "Route",
            },
        ),
    ];
    Ok(marks.iter().fold(include_str!("entry/python.txt").to_owned(), |text, (mark, value)| text.replace(mark, value)))
}

/// Builds a module that has the classes `Settings` and the question's.
pub(super) fn build(policy: &Description) -> Result<Built> {
    let program: OsString = env::var_os("COMPONENTIZE_PY").unwrap_or_else(|| "componentize-py".into());
    let by = tool::first_line(&tool::run_or_install(Command::new(&program).arg("--version"), INSTALL)?);
    let workshop = Workshop::open()?;
    let output = workshop.join("policy.wasm");
    let entry = workshop.join(&format!("{ENTRY}.py"));
    fs::write(&entry, entry_of(policy)?).with_context(|| format!("cannot write {}", entry.display()))?;
    // The tool's Python leaves what it compiled beside the source.
    let cache = policy.folder.join("__pycache__");
    let was_there = cache.exists();
    let outcome = tool::run(
        Command::new(&program)
            .args(["--quiet", "--wit-path"])
            .arg(workshop.wit())
            .args(["--world", policy.question.world(), "componentize", "--stub-wasi", "--python-path"])
            .arg(&policy.folder)
            .arg("--python-path")
            .arg(workshop.join(""))
            .arg("--output")
            .arg(&output)
            .arg(ENTRY)
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
