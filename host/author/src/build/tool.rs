//! Other programs: where they are, and what they say when they fail.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

/// Runs a command to its end; a failure has its last words.
pub(super) fn run(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(output)
}

/// Runs a command that may not be there: then the error says how to install it.
pub(super) fn run_or_install(command: &mut Command, install: &str) -> Result<Output> {
    run(command).map_err(|error| match error.downcast_ref::<std::io::Error>() {
        Some(cause) if cause.kind() == ErrorKind::NotFound => {
            error.context(format!("{} is not installed: {install}", command.get_program().display()))
        }
        _ => error,
    })
}

/// The first line that a command writes, such as its version.
pub(super) fn first_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned()
}

/// A program of that name on PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The component that a tool wrote.
pub(super) fn component_at(path: &Path) -> Result<Vec<u8>> {
    let Ok(bytes) = fs::read(path) else { bail!("the tool ended well and wrote no component") };
    ensure!(bytes.starts_with(b"\0asm"), "the tool ended well and wrote something else than a component");
    Ok(bytes)
}
