//! Whether the files of a configuration say what they said before.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::config::{Config, Faults};
use crate::{files, tls};

/// A hash over all that a configuration names, and over the system's authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A file that changed so short a time before it was read may have been read in two states. The kernel's clock for files
/// has a grain of 10 ms at most.
const GRAIN: Duration = Duration::from_millis(20);
/// Who writes for longer than this while the files are read goes on for longer.
const TRIES: usize = 3;

/// Loads a configuration whose files stand still meanwhile: then its fingerprint is of what was loaded.
///
/// # Errors
/// The faults of the configuration.
pub fn load_at_rest(load: impl Fn() -> Result<Config, Faults>) -> Result<(Config, Option<Fingerprint>), Faults> {
    let mut tries = 0;
    loop {
        let began = SystemTime::now();
        let config = load()?;
        tries += 1;
        let (fingerprint, newest) = Fingerprint::of(&config);
        let rested = newest.is_none_or(|newest| newest + GRAIN < began);
        if rested || tries == TRIES {
            return Ok((config, rested.then_some(fingerprint)));
        }
        std::thread::sleep(GRAIN * 2);
    }
}

impl Fingerprint {
    /// Whether it is of what the files of a configuration say now.
    pub fn is_of(&self, config: &Config) -> bool {
        Self::of(config).0 == *self
    }

    /// The fingerprint, and when one of the files changed last.
    fn of(config: &Config) -> (Self, Option<SystemTime>) {
        let (mut hash, mut newest) = (Sha256::new(), None);
        let paths: Vec<PathBuf> = config.files().iter().flat_map(|file| files::below(file)).collect();
        for path in &paths {
            newest = newest.max(files::changed_at(path));
            add(&mut hash, path.as_os_str().as_encoded_bytes());
            add(&mut hash, &contents(path));
        }
        for certificate in tls::system_authorities() {
            add(&mut hash, &certificate);
        }
        (Self(hash.finalize().into()), newest)
    }
}

/// With its length, so that no two lists of parts look the same.
pub(super) fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

/// A file's hash, or why it cannot be read. A folder is told by what is in it.
pub(super) fn contents(path: &Path) -> Vec<u8> {
    if path.is_dir() {
        return b"folder".to_vec();
    }
    match files::read(path) {
        Ok(Some(bytes)) => Sha256::digest(zeroize::Zeroizing::new(bytes)).to_vec(),
        Ok(None) => b"missing".to_vec(),
        Err(error) => error.to_string().into_bytes(),
    }
}
