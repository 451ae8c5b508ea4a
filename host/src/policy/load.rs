//! From bytes to a policy: digest, kind, version, grants, compilation, and a canary instance that takes the settings.

use std::path::Path;
use std::sync::Arc;

use doorward_engine::{Error, Grants, Guest, Manifest};
use doorward_vectors::WIT_VERSION;
use wasmtime::Engine;

use super::compile::Limits;
use super::compiler::{Compiler, digest};
use super::lists::Lists;
use super::quarantine::Quarantine;
use super::spec::{PolicySpec, Scope};
use crate::config::{self, Fault, Faults, Instances};

/// A component file may be so large: those of JavaScript and Python guests are 10 to 40 MiB.
const COMPONENT_SIZE: u64 = 64 << 20;

/// The default policies, as `policies/build` made them.
pub const BUILT_IN: [(&str, &[u8]); 4] = [
    ("access-control", include_bytes!("../../../policies/dist/access-control.wasm")),
    ("device-detection", include_bytes!("../../../policies/dist/device-detection.wasm")),
    ("virtual-hosts", include_bytes!("../../../policies/dist/virtual-hosts.wasm")),
    ("auth-mode", include_bytes!("../../../policies/dist/auth-mode.wasm")),
];

/// What becomes of a policy whose component is under quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspect {
    /// It is refused: what is live is better.
    Refused,
    /// Nothing is live yet. It is never asked, and its `on-error` holds.
    LeftAlone,
}

/// Builds a policy. One that is `proved` already, since it is live, is not proved again.
///
/// # Errors
/// Every fault: of the file, the component, its settings, or its shadow.
pub fn load(
    config: &config::Policy,
    compiler: &Compiler,
    proved: &[Arc<PolicySpec>],
    quarantine: Option<(&Quarantine, Suspect)>,
) -> Result<Arc<PolicySpec>, Faults> {
    let bytes = bytes_of(config)?;
    let digest = digest(&bytes);
    if let Some(pinned) = &config.digest
        && *pinned != digest
    {
        let found = format!("sha256:{digest} in {}", origin(config));
        return Err(config.place.key("digest").fault(found, format!("sha256:{pinned}")).into());
    }
    let suspect = quarantine.and_then(|(quarantine, then)| Some((quarantine.reason(&digest)?, then)));
    if let Some((reason, Suspect::Refused)) = &suspect {
        let found = format!("{}: sha256:{digest}, which is under quarantine: {reason}", origin(config));
        let expected = format!(
            "another component, or `doorward ctl --config {} lift sha256:{digest}`",
            config.place.file().display()
        );
        return Err(at_file(config).fault(found, expected).into());
    }
    let mut policy = build(config, compiler, &bytes, digest)?;
    policy.lists = Arc::new(Lists::read(&config.lists, &config.place)?);
    if let Some((reason, Suspect::LeftAlone)) = suspect {
        let (policy_name, digest) = (&policy.name, &policy.digest);
        tracing::error!(policy = policy_name, digest, reason, "a policy is under quarantine: it is not asked");
        policy.left_alone = true;
    }
    if let Some(file) = &config.shadow {
        policy.shadow = Some(shadow(config, file, compiler, proved)?);
    }
    if let Some(same) = proved.iter().find(|proved| ***proved == policy) {
        return Ok(same.clone());
    }
    Guest::start(&policy.start()).map_err(|error| refused(config, &error))?;
    Ok(Arc::new(policy))
}

/// The candidate beside a policy: another component, and all else alike.
fn shadow(
    config: &config::Policy,
    file: &Path,
    compiler: &Compiler,
    proved: &[Arc<PolicySpec>],
) -> Result<Arc<PolicySpec>, Faults> {
    let mut config = config.clone();
    (config.file, config.remote) = (Some(file.to_owned()), None);
    (config.digest, config.shadow) = (None, None);
    config.name.push_str("/shadow");
    let proved: Vec<Arc<PolicySpec>> = proved.iter().filter_map(|policy| policy.shadow.clone()).collect();
    load(&config, compiler, &proved, None).map_err(|Faults(mut faults)| {
        let file = config.place.key("file").fault("", "").key;
        for fault in faults.iter_mut().filter(|fault| fault.key == file) {
            let Fault { found, expected, .. } = fault;
            *fault = config.place.key("shadow").fault(std::mem::take(found), std::mem::take(expected));
        }
        Faults(faults)
    })
}

/// What a component is, without compiling it.
///
/// # Errors
/// What is wrong with it, in words for the operator.
pub fn manifest_of(bytes: &[u8]) -> Result<Manifest, String> {
    // What was compiled elsewhere would be run as it is: only WebAssembly itself is taken.
    if Engine::detect_precompiled(bytes).is_some() || !bytes.starts_with(b"\0asm") {
        return Err("no WebAssembly".to_owned());
    }
    Manifest::read(bytes).map_err(|odd| odd.to_string())
}

/// The JSON Schema of a policy's settings, for which it needs none.
///
/// # Errors
/// What is wrong with the component, or with the instance that was made for this.
pub fn schema_of(config: &config::Policy, compiler: &Compiler) -> Result<String, Faults> {
    let bytes = bytes_of(config)?;
    let policy = build(config, compiler, &bytes, digest(&bytes))?;
    Guest::schema(&policy.start()).map_err(|error| refused(config, &error))
}

fn build(config: &config::Policy, compiler: &Compiler, bytes: &[u8], digest: String) -> Result<PolicySpec, Fault> {
    let fault =
        |found: String, expected: String| at_file(config).fault(format!("{}: {found}", origin(config)), expected);
    let wanted = || format!("a component that answers \"{}\" of doorward:policy@{WIT_VERSION}", config.asks.name());
    let manifest = manifest_of(bytes).map_err(|found| fault(found, wanted()))?;
    if !manifest.questions.contains(&config.asks) {
        let asked: Vec<&str> = manifest.questions.iter().map(|question| question.name()).collect();
        return Err(fault(format!("a component that answers {}", asked.join(", ")), wanted()));
    }
    let grants = Grants::new(config.grants.as_deref(), config.asks);
    if let Some((lacking, line)) = grants.lacking(&manifest) {
        let found = format!("a component that imports {}, which is not granted", lacking.join(", "));
        return Err(fault(found, format!("one that needs no more than it is granted; `{line}` would grant it")));
    }
    let limits = Limits::of(bytes.len(), config.compile_time, config.compile_memory);
    let component = compiler.component(&digest, bytes, limits).map_err(|error| fault(error.to_string(), wanted()))?;
    let linked = doorward_engine::link(&component, config.asks, &grants)
        .map_err(|error| fault(format!("{error:#}"), wanted()))?;
    Ok(PolicySpec {
        name: config.name.clone(),
        digest,
        provenance: config.remote.as_ref().and_then(|remote| remote.provenance.clone()),
        question: config.asks,
        manifest,
        grants,
        on_error: config.on_error,
        memory: config.memory,
        time: config.time,
        memo: usize::try_from(config.memo).unwrap_or(usize::MAX),
        per_call: config.instances == Instances::Fresh,
        recording: config.recording,
        breaker: config.breaker,
        scope: Scope {
            listeners: config.listeners.iter().cloned().collect(),
            sites: config.sites.iter().cloned().collect(),
        },
        settings: config.settings.to_string(),
        lists: Arc::default(),
        linked,
        shadow: None,
        left_alone: false,
    })
}

/// The bytes of a policy: its file's, or those of the built-in policy of its name.
///
/// # Errors
/// There is no such file, it is too large, or no policy of that name is built in.
pub fn bytes_of(config: &config::Policy) -> Result<Vec<u8>, Fault> {
    let Some(path) = &config.file else {
        let found = BUILT_IN.iter().find(|(name, _)| *name == config.name);
        return found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| {
            let names = BUILT_IN.iter().map(|(name, _)| *name);
            config.place.key("name").unknown(&config.name, "a file beside it, or a built-in policy", names)
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
    if let Some(remote) = &config.remote {
        return format!("oci://{}", remote.reference);
    }
    config.file.as_ref().map_or_else(|| format!("built-in {}", config.name), |path| path.display().to_string())
}

/// What the canary said, as faults of the configuration.
fn refused(config: &config::Policy, error: &Error) -> Faults {
    let settings = config.place.key("settings");
    match error {
        Error::Settings(problems) if !problems.is_empty() => Faults(
            problems.iter().map(|problem| told(&settings.key(&problem.path), &problem.message, &config.name)).collect(),
        ),
        Error::Settings(_) => settings.fault("settings that it refuses", "settings that it accepts").into(),
        other => at_file(config)
            .fault(format!("{}: {other}", origin(config)), "a component that starts and takes its settings")
            .into(),
    }
}

/// A problem that a policy found in its settings. Most say what they expect, as serde does, and put words in backticks.
fn told(place: &config::Place, message: &str, policy: &str) -> Fault {
    let Some((found, expected)) = message.split_once(", expected ") else {
        return place.fault(message, format!("settings that {policy} accepts"));
    };
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let (word, known) = (quoted(found), quoted(expected));
    let mut fault = place.fault(found, expected);
    if let [word] = &word[..] {
        fault.meant = config::nearest(word, known.iter().map(String::as_str)).map(Box::from);
    }
    fault
}
