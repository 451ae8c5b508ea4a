//! Policies in Rust, with whatever Rust the machine has.
//!
//! Invariant: the same sources and the same rustc give the same bytes, in whatever folder they lie and whoever builds
//! them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result};
use wit_component::ComponentEncoder;

use super::Built;
use super::tool::run;

const TARGET: &str = "wasm32-unknown-unknown";

/// Time for rustup to fetch the standard library (20 MB); without a network it would try for many minutes.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(60);

/// How the core module is compiled, over whatever the workspace says. Against `3`, `s` makes the default policies a third
/// smaller (202 for 315 KB), and a call measured the same: most of it is the crossing of the boundary.
const PROFILE: &[&str] = &[
    "profile.release.opt-level='s'",
    "profile.release.lto='fat'",
    "profile.release.codegen-units=1",
    "profile.release.panic='abort'",
    "profile.release.strip='symbols'",
    "profile.release.debug=false",
    "profile.release.debug-assertions=false",
    "profile.release.overflow-checks=false",
    "profile.release.incremental=false",
];

/// Builds the policy crate in a directory. Tells of longer steps by `progress`.
pub(super) fn build(crate_dir: &Path, progress: &mut impl FnMut(&str)) -> Result<Built> {
    let toolchain = Toolchain::find(crate_dir, progress)?;
    progress(&format!("building {} with {}", crate_dir.display(), toolchain.version));
    let module = compile(crate_dir, &toolchain)?;
    let core = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|mut encoder| encoder.encode())
        .context("the module is not a policy: does the crate call `doorward_policy::export!`?")?;
    Ok(Built { component, by: toolchain.version })
}

/// A rustc that can compile for WebAssembly.
struct Toolchain {
    rustc: OsString,
    version: String,
    /// Where its own standard library was compiled, or will be.
    sysroot: PathBuf,
    /// Set if the standard library must be compiled along: the linker for it.
    build_std: Option<PathBuf>,
}

impl Toolchain {
    /// The user's rustc if it knows the target, or does after rustup has added it; else Debian's, which has the sources of
    /// its standard library beside it.
    fn find(crate_dir: &Path, progress: &mut impl FnMut(&str)) -> Result<Toolchain> {
        let users = Toolchain::probe(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()), crate_dir).ok();
        let mut linkers = Vec::new();
        if let Some(users) = users {
            if users.has_target() {
                return Ok(users);
            }
            progress(&format!("asking rustup for {TARGET}"));
            if rustup_adds_target(crate_dir) && users.has_target() {
                return Ok(users);
            }
            linkers = users.own_linkers();
        }
        Toolchain::debian(crate_dir, linkers).with_context(|| {
            format!(
                "no Rust here can compile for {TARGET}. Either `rustup target add {TARGET}`, or on Debian \
                 `apt install cargo rustc-web rust-web-src lld`"
            )
        })
    }

    /// Asks a rustc who it is; in the crate's directory, because of `rust-toolchain.toml`.
    fn probe(rustc: OsString, crate_dir: &Path) -> Result<Toolchain> {
        let ask = |argument: &[&str]| {
            let output = run(Command::new(&rustc).args(argument).current_dir(crate_dir))?;
            Ok::<String, anyhow::Error>(String::from_utf8(output.stdout)?.trim().to_string())
        };
        let (version, sysroot) = (ask(&["--version"])?, PathBuf::from(ask(&["--print", "sysroot"])?));
        Ok(Toolchain { rustc, version, sysroot, build_std: None })
    }

    /// Debian's packages rustc-web and rust-web-src, which leave the standard library for WebAssembly to be compiled. They
    /// bring no linker for it, so one of these is taken, its own, or that of the package lld.
    fn debian(crate_dir: &Path, mut linkers: Vec<PathBuf>) -> Option<Toolchain> {
        let mut debian = Toolchain::probe("/usr/bin/rustc".into(), crate_dir).ok()?;
        if !debian.sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file() {
            return None;
        }
        linkers.extend(debian.own_linkers());
        linkers.push("/usr/bin/wasm-ld".into());
        debian.build_std = Some(linkers.into_iter().find(|linker| linker.is_file())?);
        Some(debian)
    }

    /// Where a toolchain keeps its own linker, for any host.
    fn own_linkers(&self) -> Vec<PathBuf> {
        let hosts = fs::read_dir(self.sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
        hosts.map(|host| host.path().join("bin/rust-lld")).collect()
    }

    fn has_target(&self) -> bool {
        self.sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
    }
}

/// Whether rustup is there, has a network, and added the target in time.
fn rustup_adds_target(crate_dir: &Path) -> bool {
    let command = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(crate_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut rustup) = command else { return false };
    let deadline = Instant::now() + RUSTUP_PATIENCE;
    while Instant::now() < deadline {
        match rustup.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => return false,
        }
    }
    // It is given up either way; if it ended in this moment there is nothing left to kill.
    let _ = rustup.kill().and_then(|()| rustup.wait());
    false
}

/// Compiles the core module and says where it lies.
fn compile(crate_dir: &Path, toolchain: &Toolchain) -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(crate_dir).args(["rustc", "--release", "--lib", "--crate-type", "cdylib", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics");
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    // Incremental builds give other bytes, whoever asked for them.
    cargo.env("CARGO_INCREMENTAL", "0");
    cargo.env("RUSTC", &toolchain.rustc).env("CARGO_ENCODED_RUSTFLAGS", path_remapping(crate_dir, toolchain)?);
    if let Some(linker) = &toolchain.build_std {
        // Compiling the standard library is an unstable option; a stable rustc takes it with this variable.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        cargo.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="]);
    }
    let output = run(cargo.stderr(Stdio::inherit()))?;
    // One JSON object a line; the crate itself comes last.
    let messages = String::from_utf8(output.stdout).context("cargo wrote no text")?;
    let mut modules = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?.iter();
        files.filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
    });
    modules.next_back().context("cargo made no module")
}

/// Flags that take the folders of this machine out of the bytes (they would show in the places of panics).
fn path_remapping(crate_dir: &Path, toolchain: &Toolchain) -> Result<String> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let located = run(Command::new("cargo")
        .args(["locate-project", "--workspace", "--message-format=plain"])
        .current_dir(crate_dir))?;
    let workspace = PathBuf::from(String::from_utf8(located.stdout)?.trim()).with_file_name("");
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    let library = library.canonicalize().unwrap_or(library);
    // The last one that fits counts, so what may lie inside another comes later.
    let folders = [(Some(workspace), "/policy"), (cargo_home, "/cargo"), (Some(library), "/rust")];
    let flags = folders.into_iter().filter_map(|(from, to)| {
        let from = from?.to_str()?.trim_end_matches('/').to_string();
        Some(format!("--remap-path-prefix={from}={to}"))
    });
    // The separator that cargo defines for this variable.
    Ok(flags.collect::<Vec<_>>().join("\u{1f}"))
}
