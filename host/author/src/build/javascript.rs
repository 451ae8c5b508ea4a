//! Policies in JavaScript, by componentize-qjs: QuickJS and the policy in one component, started at build time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use doorward_vectors::Question;

use super::Built;
use super::description::Description;
use super::tool;
use crate::interface::Workshop;

const INSTALL: &str = "`npm ci` in the policy's folder if it has a package-lock.json, else \
                       `npm install --save-exact componentize-qjs@0.4.5` there";

/// Builds a module that exports `settings` and the question.
pub(super) fn build(policy: &Description) -> Result<Built> {
    let program = find(&policy.folder).with_context(|| format!("componentize-qjs is not installed: {INSTALL}"))?;
    let workshop = Workshop::open()?;
    let output = workshop.join("policy.wasm");
    let entry = Entry::write(policy)?;
    tool::run_or_install(
        Command::new("node")
            .arg(&program)
            // Without `--sync` it would want the asynchronous kind of functions, which policies are not given.
            // `--opt-size` would save a third of 1.6 MB, and a call would take half as long again.
            .args(["--sync", "--stub-wasi", "--world", policy.question.world(), "--wit"])
            .arg(workshop.wit())
            .arg("--js")
            .arg(&entry.0)
            .arg("--module-root")
            .arg(&policy.folder)
            .arg("--output")
            .arg(&output)
            .env("NO_COLOR", "1"),
        "`apt install nodejs npm` (18 or later)",
    )?;
    Ok(Built { component: tool::component_at(&output)?, by: format!("componentize-qjs {}", version(&program)) })
}

/// The module that the tool is given, which asks the policy and says why it fails. It must lie beside the policy, whose
/// folder is all that the tool looks at; it goes when this is dropped.
struct Entry(PathBuf);

impl Entry {
    fn write(policy: &Description) -> Result<Self> {
        let name = format!(".doorward-entry-{}.js", std::process::id());
        let source = policy.source.file_name().and_then(|name| name.to_str()).context("the source has no name")?;
        let question = match policy.question {
            Question::Access => "access",
            Question::Device => "device",
            Question::Template => "template",
            Question::AuthMode => "authMode",
            Question::Filter => "filter",
            Question::Route => "route",
        };
        let marks = [("{{entry}}", name.as_str()), ("{{source}}", source), ("{{question}}", question)];
        let text = include_str!("entry/javascript.txt").to_owned();
        let text = marks.iter().fold(text, |text, (mark, value)| text.replace(mark, value));
        let path = policy.folder.join(&name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What stays is a small file that the next build does not look at.
        let _ = fs::remove_file(&self.0);
    }
}

/// The program, a script of node: of the policy's own packages, or else of PATH, where npm lays a link to it.
fn find(folder: &Path) -> Option<PathBuf> {
    let own = folder.join("node_modules/componentize-qjs/bin/componentize-qjs");
    if own.is_file() { Some(own) } else { tool::on_path("componentize-qjs")?.canonicalize().ok() }
}

/// What its `package.json` says; the program itself does not tell.
fn version(program: &Path) -> String {
    let package = program.ancestors().nth(2).and_then(|folder| fs::read_to_string(folder.join("package.json")).ok());
    let package: Option<serde_json::Value> = package.and_then(|text| serde_json::from_str(&text).ok());
    package.as_ref().and_then(|package| package["version"].as_str()).unwrap_or("of unknown version").to_owned()
}
