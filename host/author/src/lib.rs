//! `doorward-author`: what authors of policies need and the front door does not: new policies, their builds, the interface,
//! and what is done with a registry by who publishes.
//!
//! `doorward policy new`, `build`, `wit`, `push` and `sign` run this program, which lies beside it; so nothing of it is in the process that
//! faces the Internet. Exit status: 0 when all is well, 1 when what was asked turned out bad, 2 when it could not be asked.

mod new;
mod remote;
mod wit;
mod build;
mod interface;
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser};
use doorward_vectors::Question;
use serde_json::json;

use self::outcome::{Stop, question, say, tell};

/// Begins and builds policies of Doorward.
#[derive(Debug, Parser)]
#[command(name = "doorward-author", version, about)]
enum Command {
    /// Build a policy into a component: a crate in Rust, or a source in Python, JavaScript or C.
    Build(Build),
    /// Begin a new policy: a folder that can be built and tested as it is.
    New(new::New),
    /// Print the interface of policies (WIT), of all questions or of one.
    Wit(wit::Wit),
    /// Push a component into a registry.
    Push(remote::Push),
    /// Sign an artifact of a registry.
    Sign(remote::Sign),
}

#[derive(Debug, Args)]
struct Build {
    /// The folder with Cargo.toml or policy.toml, or a core module of any compiler (.wasm, or its text in .wat).
    #[arg(value_name = "DIR|MODULE")]
    dir: PathBuf,
    /// The question that a core module answers, where its exports do not tell.
    #[arg(long, value_name = "QUESTION", value_parser = question)]
    asks: Option<Question>,
    /// The component to write.
    #[arg(short, long)]
    output: PathBuf,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// The commands, for man pages and completions.
pub fn command() -> clap::Command {
    Command::command()
}

/// Runs the command that was typed.
pub fn run() -> ExitCode {
    let command = Command::parse();
    let (outcome, json) = match &command {
        Command::Build(build) => (run_build(build), build.json),
        Command::New(new) => (new::run(new), new.json),
        Command::Wit(wit) => (wit::run(wit), wit.json),
        Command::Push(push) => (remote::push(push), push.json),
        Command::Sign(sign) => (remote::sign(sign), sign.json),
    };
    let (error, status) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Bad(error)) => (error, 1),
        Err(Stop::Unusable(error)) => (error, 2),
    };
    if json {
        say(&json!({"ok": false, "error": error}).to_string());
    } else {
        tell(&format!("doorward: {error}"));
    }
    ExitCode::from(status)
}

fn run_build(build: &Build) -> Result<(), Stop> {
    let report =
        build::build(&build.dir, build.asks, &build.output, tell).map_err(|error| Stop::Bad(format!("{error:#}")))?;
    if build.json {
        say(&json!({"ok": true, "file": build.output, "bytes": report.size, "by": report.by}).to_string());
    } else {
        say(&format!("{}: {} bytes, built by {}", build.output.display(), report.size, report.by));
    }
    Ok(())
}
