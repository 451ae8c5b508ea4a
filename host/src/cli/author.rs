//! The program beside this one for authors of policies, which begins and builds them: nothing of that is in the process that
//! faces the Internet, nor in the build that `doorward demo` waits for.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use serde_json::Value as Json;

/// The program.
const PROGRAM: &str = "doorward-author";

/// What is typed for it, which it reads itself.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

impl Words {
    /// Whether JSON is asked for.
    pub(super) fn json(&self) -> bool {
        self.words.iter().any(|word| word == "--json")
    }
}

/// Becomes the program.
///
/// # Errors
/// It is not there, or cannot be run.
pub(super) fn run(command: &str, words: &Words) -> Result<ExitCode, String> {
    let program = find(command)?;
    let error = Command::new(&program).arg(command).args(&words.words).exec();
    Err(format!("{}: {error}", program.display()))
}

/// Builds a policy; says how many bytes it has. How far that has come goes to standard error.
///
/// # Errors
/// It cannot be built, or there is nothing to build with.
pub(super) fn build(dir: &Path, output: &Path) -> Result<u64, String> {
    let program = find("build")?;
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut command = Command::new(&program);
    command.args([OsStr::new("build"), dir.as_os_str(), OsStr::new("--json"), OsStr::new("-o"), output.as_os_str()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut said = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut said).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    let report: Json = serde_json::from_str(&said).unwrap_or_default();
    match (report["bytes"].as_u64(), report["error"].as_str()) {
        (Some(bytes), _) => Ok(bytes),
        (None, Some(error)) => Err(error.to_owned()),
        (None, None) => Err(format!("{}: {status}", program.display())),
    }
}

fn find(command: &str) -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "`policy {command}` is done by {PROGRAM}, and there is no {}; in a checkout of Doorward, \
         `cargo run --release -p {PROGRAM} -- {command} …` builds and runs it",
        program.display()
    ))
}
