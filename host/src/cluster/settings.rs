//! `[cluster]` with what its files say: part of a Snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::crypt::Crypt;
use crate::config::{self, Fault, Faults, Sentinel, WhenAway};
use crate::files;
use crate::secret::Secret;
use crate::session::Keys;
use crate::tls;

/// How the store is reached, and what is written there.
pub struct Settings {
    pub(super) name: String,
    pub(super) door: String,
    pub(super) store: Vec<Url>,
    pub(super) sentinel: Option<(Sentinel, Option<Secret>)>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) crypt: Crypt,
    pub(super) timeout: Duration,
    pub(super) when_away: WhenAway,
    /// Seconds that a session lives at most.
    pub(super) lifetime: u64,
    /// Of all of it: a connection goes on where that stays as it was.
    pub(super) fingerprint: [u8; 32],
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("name", &self.name).field("door", &self.door).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the files that the table names.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn build(config: &config::Cluster, lifetime: Duration) -> Result<Self, Faults> {
        let place = &config.place;
        let secret = |key: &str, path: &Path| {
            secret(path).map_err(|error| place.key(key).fault(error, "a file with a password"))
        };
        let tls = tls::client(config.ca.as_deref(), false, place)?;
        let password = config.password_file.as_deref().map(|path| secret("password-file", path)).transpose()?;
        let sentinel = config.sentinel.clone().map(|sentinel| {
            let path = sentinel.password_file.clone();
            let password = path.map(|path| secret("sentinel.password-file", &path)).transpose()?;
            Ok::<_, Fault>((sentinel, password))
        });
        let path = config.key_file.as_deref().unwrap_or(Path::new(""));
        let keys = Keys::read_raw(path).and_then(|keys| keys.ok_or_else(|| "there is no such file".to_owned()));
        let keys = keys.map_err(|error| {
            let found = format!("{}: {error}", path.display());
            place
                .key("key-file")
                .fault(found, "keys that all doors have: `doorward keys rotate FILE` makes them, then copy it")
        })?;
        Ok(Self {
            fingerprint: fingerprint(config, lifetime),
            name: config.name.clone(),
            door: config.door.clone(),
            store: config.store.clone(),
            sentinel: sentinel.transpose()?,
            user: config.user.clone(),
            password,
            tls,
            crypt: Crypt::new(&config.name, &keys),
            timeout: config.timeout,
            when_away: config.when_away,
            lifetime: lifetime.as_secs(),
        })
    }

    /// The key of this name in the store. All of a cluster's are on one slot; the version is that of what they hold.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{{{}}}:1:{name}", self.name)
    }
}

/// Of what is written, and of what the files hold.
fn fingerprint(config: &config::Cluster, lifetime: Duration) -> [u8; 32] {
    let config::Cluster { name, door, store, sentinel, user, timeout, when_away, .. } = config;
    let mut hash = Sha256::new();
    let servers: Vec<&str> = store.iter().map(Url::as_str).collect();
    hash.update(format!("{name} {door} {servers:?} {sentinel:?} {user:?} {timeout:?} {when_away:?} {lifetime:?}"));
    let of_sentinel = sentinel.as_ref().and_then(|sentinel| sentinel.password_file.as_ref());
    for path in [&config.password_file, &config.ca, &config.key_file].into_iter().flatten().chain(of_sentinel) {
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(Sha256::digest(zeroize::Zeroizing::new(files::read(path).ok().flatten().unwrap_or_default())));
    }
    hash.finalize().into()
}

fn secret(path: &Path) -> Result<Secret, String> {
    let told = |error: String| format!("{}: {error}", path.display());
    let text = files::read_text(path).map_err(|error| told(error.to_string()))?;
    let text = text.map(zeroize::Zeroizing::new).ok_or_else(|| told("there is no such file".to_owned()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
