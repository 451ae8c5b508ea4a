//! What the commands about registries share: how a registry is reached, and a component that is somewhere only for a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use doorward_registry::{EXPECTED, Reference};

use crate::config::{self, Config, Place, Source, Trust};
use crate::workbench::Stop;

/// How a registry is reached, and whose signatures count.
#[derive(Debug, Clone, Args)]
pub(super) struct Reach {
    /// The configuration; its [registry] says what the options below say.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of names and passwords, as `docker login` writes it.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    credentials: Option<PathBuf>,
    /// File of the authorities that the registry's certificate is checked by [default: the system's].
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    ca: Option<PathBuf>,
    /// Speak to the registry without TLS.
    #[arg(long, conflicts_with = "config")]
    plain_http: bool,
    /// A public key that must have signed the artifact; may be repeated, and then each of them must.
    #[arg(long = "key", value_name = "FILE", conflicts_with = "config")]
    keys: Vec<PathBuf>,
}

impl Reach {
    /// As a configuration says it.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub(super) fn registry(&self) -> Result<config::Registry, Stop> {
        if let Some(file) = &self.config {
            return Ok(config_of(file)?.registry);
        }
        let place = Place::whole(&Arc::new(Source::new("options", "")));
        let mut registry = config::Registry::none(place.clone());
        (registry.credentials, registry.ca) = (self.credentials.clone(), self.ca.clone());
        if !self.keys.is_empty() {
            let keys = self.keys.iter().map(|file| (file.display().to_string(), file.clone())).collect();
            registry.trust = vec![Trust { prefix: String::new(), keys, threshold: self.keys.len(), place }];
            registry.takes_unsigned = false;
        }
        Ok(registry)
    }

    /// The same for this reference.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub(super) fn registry_for(&self, reference: &Reference) -> Result<config::Registry, Stop> {
        let mut registry = self.registry()?;
        if self.plain_http {
            registry.plain_http.push(reference.registry.clone());
        }
        for trust in registry.trust.iter_mut().filter(|trust| trust.prefix.is_empty()) {
            trust.prefix = reference.repository();
        }
        Ok(registry)
    }
}

/// A configuration, whose faults elsewhere are no matter here.
///
/// # Errors
/// It cannot be read, or its [registry] or lock file has faults.
pub(super) fn config_of(file: &Path) -> Result<Config, Stop> {
    let (config, faults) = config::load_anyway(file).map_err(|faults| Stop::Unusable(faults.to_string()))?;
    let lock = config.lock_file();
    let about = |fault: &config::Fault| {
        fault.key.starts_with("registry") || *fault.file == *lock || fault.key.ends_with(".file")
    };
    let faults: Vec<config::Fault> = faults.0.into_iter().filter(about).collect();
    if faults.is_empty() { Ok(config) } else { Err(Stop::Faults(config::Faults(faults))) }
}

/// A reference that was typed.
///
/// # Errors
/// It is none.
pub(super) fn reference(text: &str) -> Result<Reference, Stop> {
    Reference::parse(text).ok_or_else(|| Stop::Unusable(format!("\"{text}\": expected {EXPECTED}")))
}

/// A component in a file of its own, which goes when this goes.
pub(super) struct Beside(PathBuf);

impl Beside {
    /// Of these bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn of(bytes: &[u8]) -> std::io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        let path = std::env::temp_dir().join(format!("doorward-{}.wasm", crate::text::hex(&random)));
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let beside = Self(path);
        file?.write_all(bytes)?;
        Ok(beside)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
