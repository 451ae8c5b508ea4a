//! `doorward policy`: policies built, looked at, tried, measured and brought live, without a running Doorward.
//!
//! Exit status: 0 when all is well, 1 when what was asked turned out bad, 2 when it could not be asked.

mod bench;
mod check;
mod diff;
mod eval;
mod facts;
mod inspect;
mod outcome;
mod promote;
mod pull;
mod remote;
mod replay;
mod subject;
mod test;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use self::outcome::stopped;
use super::author;
use crate::workbench::Stop;

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Build a policy into a component: a crate in Rust, or a source in Python, JavaScript or C.
    Build(author::Words),
    /// Show what a component is: its questions, what it imports, its digest and the schema of its settings.
    Inspect(inspect::Inspect),
    /// Load a policy as a configuration would, and ask it of sample facts to see that it is pure.
    Check(check::Check),
    /// Make one decision, and show what was read and how long it took.
    Eval(eval::Eval),
    /// Run test vectors: facts, and the verdicts they must bring.
    Test(test::Test),
    /// Build a policy and run its test vectors at each save, and bring it live where all is well.
    Watch(watch::Watch),
    /// Measure how long a decision takes: of a fresh instance, of a warm one, and found again.
    Bench(bench::Bench),
    /// Ask a policy what a decision log says others were asked, and show what changes.
    Replay(replay::Replay),
    /// Begin a new policy: a folder that can be built and tested as it is.
    New(author::Words),
    /// Print the interface of policies (WIT), of all questions or of one.
    Wit(author::Words),
    /// Make the shadow of a policy live.
    Promote(promote::Promote),
    /// Show what a new component may do that the old one may not, and what else is different.
    Diff(diff::Diff),
    /// Fetch policies from registries, and say in the lock file which artifact a tag means.
    Pull(pull::Pull),
    /// Show who has signed an artifact of a registry, and whether that is enough.
    Verify(verify::Verify),
    /// Push a component into a registry.
    Push(author::Words),
    /// Sign an artifact of a registry.
    Sign(author::Words),
}

/// Runs the command that was typed.
///
/// # Errors
/// None: what goes wrong is told here, as text or as JSON.
pub(super) fn run(policy: &Policy) -> anyhow::Result<ExitCode> {
    crate::log::start(crate::config::Level::Error);
    let (outcome, json) = match policy {
        Policy::Build(words) => (author::run("build", words).map_err(Stop::Unusable), words.json()),
        Policy::New(words) => (author::run("new", words).map_err(Stop::Unusable), words.json()),
        Policy::Wit(words) => (author::run("wit", words).map_err(Stop::Unusable), words.json()),
        Policy::Inspect(inspect) => (inspect::run(inspect), inspect.json),
        Policy::Check(check) => (check::run(check), check.json),
        Policy::Eval(eval) => (eval::run(eval), eval.json),
        Policy::Test(test) => (test::run(test), test.json),
        Policy::Watch(watch) => (watch::run(watch), watch.json),
        Policy::Bench(bench) => (bench::run(bench), bench.json),
        Policy::Replay(replay) => (replay::run(replay), replay.json),
        Policy::Promote(promote) => (promote::run(promote), promote.json),
        Policy::Diff(diff) => (diff::run(diff), diff.json),
        Policy::Pull(pull) => (pull::run(pull), pull.json),
        Policy::Verify(verify) => (verify::run(verify), verify.json),
        Policy::Push(words) => (author::run("push", words).map_err(Stop::Unusable), words.json()),
        Policy::Sign(words) => (author::run("sign", words).map_err(Stop::Unusable), words.json()),
    };
    Ok(outcome.unwrap_or_else(|stop| stopped(&stop, json)))
}
