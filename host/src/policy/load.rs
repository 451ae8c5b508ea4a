//! From bytes to a policy: digest, kind, version, compilation, and a canary instance that takes the settings.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::Policy;
use super::engine::{Compiler, digest};
use super::guest::{Error, Guest};
use super::imports::{self, WIT_VERSION};
use crate::config::{self, Fault, Faults};

/// A component file may be so large: those of JavaScript and Python guests are 10 to 40 MiB.
const COMPONENT_SIZE: u64 = 64 << 20;

/// The default policies, as `policies/build` made them.
const BUILT_IN: [(&str, &[u8]); 4] = [
    ("access-control", include_bytes!("../../../policies/dist/access-control.wasm")),
    ("device-detection", include_bytes!("../../../policies/dist/device-detection.wasm")),
    ("virtual-hosts", include_bytes!("../../../policies/dist/virtual-hosts.wasm")),
    ("auth-mode", include_bytes!("../../../policies/dist/auth-mode.wasm")),
];

/// Identities of policies, so that a worker can tell whose instances it keeps.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Builds a policy, or takes it over from `previous` when nothing of it changed.
///
/// # Errors
/// Every fault: of the file, the component, or its settings.
pub fn load(config: &config::Policy, compiler: &Compiler, previous: &[Arc<Policy>]) -> Result<Arc<Policy>, Faults> {
    let bytes = read(config)?;
    let digest = digest(&bytes);
    if let Some(pinned) = &config.digest
        && *pinned != digest
    {
        let found = format!("sha256:{digest} in {}", origin(config));
        return Err(config.place.key("digest").fault(found, format!("sha256:{pinned}")).into());
    }
    let settings = config.settings.to_string();
    let same = |old: &&Arc<Policy>| {
        old.digest == digest
            && old.settings == settings
            && (old.name.as_str(), old.question, old.on_error) == (config.name.as_str(), config.asks, config.on_error)
            && (old.memory, old.time) == (config.memory, config.time)
    };
    if let Some(old) = previous.iter().find(same) {
        return Ok(old.clone());
    }
    let policy = build(config, compiler, &bytes, digest, settings)?;
    Guest::start(&policy.start()).map_err(|error| refused(config, &error))?;
    Ok(Arc::new(policy))
}

fn build(
    config: &config::Policy,
    compiler: &Compiler,
    bytes: &[u8],
    digest: String,
    settings: String,
) -> Result<Policy, Fault> {
    let fault =
        |found: String, expected: String| at_file(config).fault(format!("{}: {found}", origin(config)), expected);
    let wanted = || format!("a component that answers \"{}\" of doorward:policy@{WIT_VERSION}", config.asks.name());
    // What was compiled elsewhere would be run as it is: only WebAssembly itself is taken.
    if Engine::detect_precompiled(bytes).is_some() || !bytes.starts_with(b"\0asm") {
        return Err(fault("no WebAssembly".to_owned(), wanted()));
    }
    let component = compiler.component(&digest, bytes).map_err(|error| fault(format!("{error:#}"), wanted()))?;
    let wasi = check_kind(compiler.engine(), &component, config.asks).map_err(|found| fault(found, wanted()))?;
    let pre = imports::linker(compiler.engine(), config.asks, wasi)
        .and_then(|linker| linker.instantiate_pre(&component))
        .map_err(|error| fault(format!("{error:#}"), wanted()))?;
    Ok(Policy {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        name: config.name.clone(),
        digest,
        question: config.asks,
        on_error: config.on_error,
        memory: config.memory,
        time: config.time,
        settings,
        wasi,
        pre,
        failures: AtomicU64::new(0),
    })
}

/// Looks at imports and exports before anything is linked, so that what is wrong is said in the operator's words.
/// Returns whether the component needs WASI.
fn check_kind(engine: &Engine, component: &Component, question: config::Question) -> Result<bool, String> {
    let kind = component.component_type();
    let exports: Vec<String> = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let wanted = imports::interface(question.name());
    if !exports.contains(&wanted) {
        let ours: Vec<&String> = exports.iter().filter(|name| name.starts_with("doorward:policy/")).collect();
        return Err(match ours.iter().find(|name| name.split('@').next() == wanted.split('@').next()) {
            Some(other) => format!("a component built against {other}, and this Doorward speaks version {WIT_VERSION}"),
            None if ours.is_empty() => "a component that is no policy".to_owned(),
            None => format!("a component that exports {ours:?}"),
        });
    }
    let mut wasi = false;
    for (name, _) in kind.imports(engine) {
        match name.split('/').next() {
            Some("doorward:policy") => {}
            Some(package) if package.starts_with("wasi:") => wasi = true,
            _ => return Err(format!("a component that imports {name}, which no policy is given")),
        }
    }
    Ok(wasi)
}

fn read(config: &config::Policy) -> Result<Vec<u8>, Fault> {
    let Some(path) = &config.file else {
        let found = BUILT_IN.iter().find(|(name, _)| *name == config.name);
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        return found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| {
            let expected = format!("a built-in policy ({}) or a file", names.join(", "));
            config.place.key("name").fault(format!("\"{}\"", config.name), expected)
        });
    };
    read_capped(path).map_err(|found| {
        at_file(config).fault(format!("{}: {found}", path.display()), "a readable component of at most 64 MiB")
    })
}

fn read_capped(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("no regular file".to_owned());
    }
    if metadata.len() > COMPONENT_SIZE {
        return Err(format!("{} bytes", metadata.len()));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

fn at_file(config: &config::Policy) -> config::Place {
    config.place.key(if config.file.is_some() { "file" } else { "name" })
}

fn origin(config: &config::Policy) -> String {
    config.file.as_ref().map_or_else(|| format!("built-in {}", config.name), |path| path.display().to_string())
}

/// What the canary said, as faults of the configuration.
fn refused(config: &config::Policy, error: &Error) -> Faults {
    let settings = config.place.key("settings");
    match error {
        Error::Settings(problems) if !problems.is_empty() => Faults(
            problems
                .iter()
                .map(|problem| {
                    let found = problem.message.clone();
                    settings.key(&problem.path).fault(found, format!("settings that {} accepts", config.name))
                })
                .collect(),
        ),
        Error::Settings(_) => settings.fault("settings that it refuses", "settings that it accepts").into(),
        other => at_file(config)
            .fault(format!("{}: {other}", origin(config)), "a component that starts and takes its settings")
            .into(),
    }
}
