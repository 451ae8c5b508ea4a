//! `policy watch`: builds a policy and runs its test vectors at each save, and brings it live where all is well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value as Json, json};
use tokio::signal::unix::{SignalKind, signal};

use super::outcome::stopped;
use super::subject::{Options, Subject, of_configuration};
use super::test::{run_file, tell_failures};
use crate::cli::author;
use crate::cli::print::say;
use crate::files::keep_and_replace;
use crate::policy;
use crate::workbench::{Stop, failures_json, vectors};

/// Folders of tools and of what was built. Hidden ones are left out too.
const OF_TOOLS: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// How deep folders of sources go, and how many files they have, at most.
const DEPTH: usize = 8;
const FILES: usize = 5000;

#[derive(Debug, Clone, Args)]
#[command(after_help = "With --config and --name the component is written over the `file` of that policy when all is \
                        well; a Doorward that runs with this configuration sees it by itself.\n\n\
                        Exit status: 0 after Ctrl-C. With --once: 0; 1 where the build or a vector fails; 2 where \
                        something cannot be read.")]
pub(in crate::cli) struct Watch {
    /// The folder with Cargo.toml or policy.toml; its vectors.toml is run if it is there.
    dir: PathBuf,
    /// Keep the component that was built last in this file.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Build and test once, and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON for each build instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it, until Ctrl-C or the end of the only build.
///
/// # Errors
/// There is no such folder, or the only build comes to no end.
pub(super) fn run(watch: &Watch) -> Result<ExitCode, Stop> {
    let unusable = |error: std::io::Error| Stop::Unusable(format!("{}: {error}", watch.dir.display()));
    let dir = fs::canonicalize(&watch.dir).map_err(unusable)?;
    if !dir.is_dir() {
        return Err(Stop::Unusable(format!("{} is no folder", watch.dir.display())));
    }
    let scratch = Scratch::new().map_err(|error| Stop::Unusable(format!("no temporary folder: {error}")))?;
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_owned();
    let output = match &watch.output {
        Some(output) => real(output),
        None => scratch.0.join(name).with_added_extension("wasm"),
    };
    if watch.once {
        return round(watch, &output);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(until_signal(watch, &dir, output));
        // A build that is on its way is not waited for.
        runtime.shutdown_background();
        ended
    });
    ended.map_err(|error| Stop::Bad(format!("{error:#}")))?;
    Ok(ExitCode::SUCCESS)
}

/// A folder that is there as long as the command runs.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let folder = std::env::temp_dir().join(format!("doorward-watch.{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One build after the other, whenever something was saved.
async fn until_signal(watch: &Watch, dir: &Path, output: PathBuf) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("no handler of SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("no handler of SIGTERM")?;
    let live = live_file(watch).ok().flatten();
    let written: Vec<PathBuf> = [Some(output.clone()), live].into_iter().flatten().collect();
    let files = watch.options.files().cloned().chain([dir.to_owned()]).collect();
    let mut changes = crate::watch::Watch::start_with(files, Box::new(move |path| sources(path, &written)));
    let task = Arc::new((watch.clone(), output));
    let work = async {
        loop {
            // What is saved while the build runs is built next.
            changes.mark();
            let task = Arc::clone(&task);
            tokio::task::spawn_blocking(move || {
                let (watch, output) = &*task;
                if let Err(stop) = round(watch, output) {
                    stopped(&stop, watch.json);
                }
            })
            .await
            .context("a build stopped")?;
            changes.changed().await;
        }
    };
    tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        failed = work => failed,
    }
}

/// The files that a build depends on: of a folder all but what tools, builds and editors write there.
fn sources(path: &Path, written: &[PathBuf]) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let (mut files, mut folders) = (Vec::new(), vec![(path.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // A link to a folder is not followed: it may lead back here.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < DEPTH && !name.starts_with('.') && !OF_TOOLS.contains(&&*name) {
                    folders.push((path, depth + 1));
                }
            } else if !is_by_the_way(&name) && !written.iter().any(|output| is_of(&path, output)) && files.len() < FILES
            {
                files.push(path);
            }
        }
    }
    files
}

/// Whether an editor or a build writes such a file beside what is saved.
fn is_by_the_way(name: &str) -> bool {
    let ends = ["~", ".swp", ".swo", ".swx", ".tmp", ".bak", ".orig", ".pyc", "#"];
    // Vim tries with this name whether it may write into the folder.
    name.starts_with(['.', '#']) || ends.iter().any(|end| name.ends_with(end)) || ["4913", "Cargo.lock"].contains(&name)
}

/// Whether it is this output, or what is written beside it on the way (`a.wasm`, `a.wasm.next`).
fn is_of(path: &Path, output: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.parent() == output.parent() && name(path).starts_with(&name(output))
}

/// The file of the policy that is to be replaced, if one is named.
fn live_file(watch: &Watch) -> Result<Option<PathBuf>, Stop> {
    let Some((file, name)) = watch.options.configured() else { return Ok(None) };
    let (config, _) = of_configuration(file, name)?;
    if config.remote.is_some() {
        return Err(Stop::Bad(format!("{name}: it is in a registry, and has no `file` to write over")));
    }
    let Some(live) = config.file else {
        return Err(Stop::Bad(format!("{name}: it is built in and has no `file` to write over")));
    };
    if config.digest.is_some() {
        return Err(Stop::Bad(format!("{name}: `digest` pins its component; a policy that is watched has none")));
    }
    // A link is kept, and what it leads to is replaced.
    Ok(Some(real(&live)))
}

/// A path without links, also of a file that is not there yet.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let beside = || Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?));
    fs::canonicalize(&path).ok().or_else(beside).unwrap_or(path)
}

/// Builds it, runs its vectors, and brings it live.
///
/// # Errors
/// It cannot be built, loaded or read.
fn round(watch: &Watch, output: &Path) -> Result<ExitCode, Stop> {
    let live = live_file(watch)?;
    let bytes = author::build(&watch.dir, output).map_err(Stop::Bad)?;
    let subject = Subject::find(Some(&output.to_string_lossy()), &watch.options)?;
    let name = &subject.config.name;
    if watch.options.has_settings() {
        subject.load()?;
    }
    let vectors = run_vectors(watch, &subject)?;
    let changed = match &live {
        Some(live) if vectors.failed == 0 => go_live(output, live)?,
        _ => false,
    };
    let ok = vectors.failed == 0;
    if watch.json {
        let live = live.filter(|_| ok);
        say(&json!({
            "ok": ok, "policy": name, "bytes": bytes, "vectors": vectors.count, "failed": vectors.failed,
            "files": vectors.report, "live": live, "changed": changed,
        })
        .to_string());
        return Ok(super::outcome::status(ok));
    }
    let held = match (vectors.count, vectors.failed) {
        (0, _) => "no test vectors".to_owned(),
        (count, 0) => format!("all {count} vectors hold"),
        (count, failed) => format!("{failed} of {count} vectors failed"),
    };
    let place = match live.filter(|_| ok) {
        Some(live) if changed => format!("; written to {}", live.display()),
        Some(live) => format!("; {} is the same already", live.display()),
        None => String::new(),
    };
    say(&format!("{name}: {} bytes; {held}{place}", bytes));
    Ok(super::outcome::status(ok))
}

/// How many vectors there were, and which failed.
#[derive(Default)]
struct Vectors {
    count: usize,
    failed: usize,
    report: Vec<Json>,
}

/// Runs the vectors of the folder, if there are any.
fn run_vectors(watch: &Watch, subject: &Subject) -> Result<Vectors, Stop> {
    let path = watch.dir.join("vectors.toml");
    if !path.exists() {
        return Ok(Vectors::default());
    }
    let file = vectors::read(&path)?;
    let failures = run_file(subject, &path, &file)?;
    if !watch.json {
        tell_failures(&path, &failures);
    }
    Ok(Vectors {
        count: file.vectors.len(),
        failed: failures.len(),
        report: vec![failures_json(&path, &file, &failures)],
    })
}

/// Writes the component over the live one, unless it is that already.
fn go_live(output: &Path, live: &Path) -> Result<bool, Stop> {
    let bad = |path: &Path, error: &std::io::Error| Stop::Bad(format!("{}: {error}", path.display()));
    let bytes = fs::read(output).map_err(|error| bad(output, &error))?;
    if fs::read(live).is_ok_and(|there| policy::digest(&there) == policy::digest(&bytes)) {
        return Ok(false);
    }
    keep_and_replace(live, &bytes).map_err(|error| bad(live, &error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_and_editors_write_is_no_source() {
        let folder = std::env::temp_dir().join(format!("doorward-sources-{}", std::process::id()));
        let sources_there = ["Cargo.toml", "src/lib.rs", "src/deep/a.rs", "vectors.toml", "b.wasm"];
        let others = [
            "Cargo.lock",
            "target/release/x.d",
            "node_modules/a.js",
            "__pycache__/a.pyc",
            ".git/HEAD",
            ".a.rs.swp",
            "a.rs~",
            "#a.rs#",
            ".#a.rs",
            "4913",
            "out.wasm",
            "out.wasm.next",
            "out.wasm.keeping",
            "out.wasm.4711",
        ];
        for name in sources_there.iter().chain(&others) {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(&folder, folder.join("src/back")).unwrap();
        let mut found = sources(&folder, &[folder.join("out.wasm")]);
        found.sort();
        let mut expected: Vec<PathBuf> =
            sources_there.iter().chain(&["src/back"]).map(|name| folder.join(name)).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(sources(&folder.join("Cargo.toml"), &[]), [folder.join("Cargo.toml")]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
