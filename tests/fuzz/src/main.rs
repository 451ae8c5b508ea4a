//! Runs the targets on stable Rust.
//!
//! ```text
//! doorward-fuzz                       the corpus of each target, then a minute of mutation over all of them
//! doorward-fuzz --seconds N [TARGET]  so many seconds; 0 runs the corpus only
//! doorward-fuzz --seed N ...          begins with another seed than 1
//! doorward-fuzz TARGET FILE...        these files
//! ```
//!
//! An input that fails is printed in hexadecimal digits and kept in `failures/`; the exit status is 1.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use doorward_fuzz::mutate::{Random, mutate};
use doorward_fuzz::{Target, target, targets};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut seconds, mut seed, mut only, mut files) = (60, 1, None, Vec::new());
    let number =
        |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or_else(|| usage("a number is missing"));
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => seconds = number(arguments.next()),
            "--seed" => seed = number(arguments.next()),
            "--help" => usage(""),
            name if only.is_none() => only = Some(target(name).unwrap_or_else(|| usage(&format!("no target {name}")))),
            file => files.push(PathBuf::from(file)),
        }
    }
    let chosen: Vec<&Target> =
        targets::ALL.iter().filter(|target| only.is_none_or(|only| only.name == target.name)).collect();
    let mut failed = false;
    if !files.is_empty() {
        for file in files {
            let bytes = std::fs::read(&file).unwrap_or_else(|error| usage(&format!("{}: {error}", file.display())));
            failed |= !run(chosen[0], &bytes);
        }
        std::process::exit(i32::from(failed));
    }
    let share = Duration::from_secs(seconds) / u32::try_from(chosen.len()).unwrap_or(1);
    for target in chosen {
        failed |= !fuzz(target, share, seed);
    }
    std::process::exit(i32::from(failed));
}

fn usage(problem: &str) -> ! {
    if !problem.is_empty() {
        eprintln!("doorward-fuzz: {problem}");
    }
    let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
    eprintln!("doorward-fuzz [--seconds N] [--seed N] [TARGET [FILE...]]\ntargets: {}", names.join(" "));
    std::process::exit(2);
}

/// Runs the corpus of a target, and what is made of it, for so long.
fn fuzz(target: &Target, share: Duration, seed: u64) -> bool {
    let corpus = corpus(target);
    for (name, bytes) in &corpus {
        if !run(target, bytes) {
            eprintln!("{}: it is {}", target.name, name.display());
            return false;
        }
    }
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let (mut random, end, mut count) = (Random::new(seed), Instant::now() + share, 0_u64);
    while Instant::now() < end {
        for _ in 0..16 {
            if !run(target, &mutate(&mut random, &corpus, target.words, target.longest)) {
                eprintln!("{}: input {count} of seed {seed}", target.name);
                return false;
            }
            count += 1;
        }
    }
    println!("{:18} {:3} files and {count} inputs made of them", target.name, corpus.len());
    true
}

/// The files of a target's corpus, in the order of their names.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| usage(&format!("{}: {error}", folder.display())));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a file of the corpus");
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// Whether the target holds for an input.
fn run(target: &Target, bytes: &[u8]) -> bool {
    if std::panic::catch_unwind(|| (target.run)(bytes)).is_ok() {
        return true;
    }
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("failures");
    let name = hex.chars().take(32).collect::<String>();
    let file = folder.join(format!("{}-{}-{name}", target.name, bytes.len()));
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, bytes));
    eprintln!("{}: FAILED for {hex}\nkept in {}: {kept:?}", target.name, file.display());
    false
}
