//! Fuzz targets: one function for each reader of bytes that strangers send. It takes any bytes, and panics where a property
//! of the reader does not hold.
//!
//! They are run in three ways: by the runner of this crate on stable Rust (`cargo run -p doorward-fuzz`), by `cargo fuzz`
//! in `libfuzzer/`, and one file at a time by the runner again.

pub mod mutate;
pub mod targets;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Words that inputs are made of.
    pub words: &'static [&'static [u8]],
    /// Longer inputs show nothing more.
    pub longest: usize,
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    targets::ALL.iter().find(|target| target.name == name)
}

/// Runs the target of this name.
///
/// # Panics
/// There is none, or a property does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    (target(name).expect("a target").run)(bytes);
}
