//! Policies from registries: what is fetched, where it is kept, and what must be true of it before anybody compiles it.
//!
//! ```text
//! STATE/registry/MANIFEST.wasm    the component of the manifest with this digest
//! STATE/registry/MANIFEST.json    its digest and version, and the signatures that were found
//! ```
//!
//! Invariants: an artifact is asked for by its digest, which the configuration or the lock file says, so no tag changes what
//! runs; what is here already is never asked for again; its signatures are judged each time, by the keys as they are now. A
//! registry that is away, or sends something else, is a fault of the policy that needs it, and of nothing else.

mod kept;
mod locked;

use std::collections::BTreeSet;
use std::path::Path;

use doorward_registry::{Artifact, Client, Credentials, PublicKey, Reference, Transport, TrustedKey, is_older, verify};

use self::kept::{Kept, Store};
pub use self::locked::lock;
use crate::config::{self, Config, Fault, Locked, Provenance, Remote, Trust};
use crate::tls;

/// A client for the registries of a configuration.
///
/// # Errors
/// A file that it needs cannot be used.
pub fn client(config: &config::Registry) -> Result<Client, Fault> {
    let tls = tls::client(config.ca.as_deref(), false, &config.place)?;
    let credentials = config.credentials.as_deref().map(Credentials::read).transpose();
    let credentials = credentials
        .map_err(|found| config.place.key("credentials").fault(found, "a file as `docker login` writes it"))?;
    let (plain, inner) = (config.plain_http.clone(), config.inner_hosts.clone());
    let transport = Transport { tls, plain, inner, timeout: config.timeout };
    Ok(Client { transport, credentials: credentials.unwrap_or_default() })
}

/// A policy whose component is here and may be used. One that is no registry's is as it was.
///
/// # Errors
/// Why its artifact is not here, or may not be used.
pub fn ready(policy: &config::Policy, config: &Config, live: Option<&Provenance>) -> Result<config::Policy, Fault> {
    let mut policy = policy.clone();
    let place = policy.place.key("file");
    let Some(remote) = policy.remote.as_mut().filter(|remote| !remote.is_kept) else { return Ok(policy) };
    let fault = |found: String, expected: &str| place.fault(format!("oci://{}: {found}", remote.reference), expected);
    let Some(manifest) = remote.manifest().cloned() else {
        let file = config.place.file().display();
        let expected =
            format!("an entry of {}, which `doorward policy pull --config {file}` makes", config.lock_file().display());
        return Err(fault("nobody has said which artifact this tag means".to_owned(), &expected));
    };
    let state = config.state_directory.as_deref();
    let state = state.ok_or_else(|| fault("no state-directory to keep it in".to_owned(), "a state-directory"))?;
    let judge = Judge::of(&config.registry, &remote.reference)?;
    let store = Store::of(state);
    let client = || client(&config.registry);
    let kept = match store.find(&manifest) {
        Ok(Some(kept)) if judge.verdict(&kept, &manifest).is_ok() => kept,
        // It may have been signed anew since.
        Ok(Some(mut kept)) => {
            let found = client()?.signatures(&remote.reference, &manifest);
            let more = found.map_err(|error| {
                let lack = judge.verdict(&kept, &manifest).err().unwrap_or_default();
                fault(format!("{lack}; whether there are newer signatures is not known: {error}"), SIGNED)
            })?;
            kept.add(more);
            judge.verdict(&kept, &manifest).map_err(|lack| fault(lack, SIGNED))?;
            store.note(&manifest, &kept).map_err(|error| fault(error.to_string(), WRITABLE))?;
            kept
        }
        Ok(None) => {
            let pulled = client()?.pull(&remote.reference.at(&manifest), judge.needs_signatures());
            let artifact = pulled.map_err(|error| fault(error.to_string(), "the artifact as it was pushed"))?;
            let kept = Kept::of(&artifact);
            judge.verdict(&kept, &manifest).map_err(|lack| fault(lack, SIGNED))?;
            store.keep(&artifact, &needed(config)).map_err(|error| fault(error.to_string(), WRITABLE))?;
            kept
        }
        Err(error) => return Err(fault(error.to_string(), WRITABLE)),
    };
    if let Some(locked) = remote.locked.as_ref().filter(|locked| locked.component != kept.component) {
        let expected = format!("{}, as the lock file says", locked.component);
        return Err(fault(format!("its component is {}", kept.component), &expected));
    }
    let signed_by = judge.verdict(&kept, &manifest).map_err(|lack| fault(lack, SIGNED))?;
    let provenance = Provenance {
        reference: format!("oci://{}", remote.reference),
        repository: remote.reference.repository(),
        manifest: manifest.to_string(),
        version: kept.version,
        signed_by,
    };
    let live = live.or(remote.before.as_ref());
    if let Some(older) = live.and_then(|live| older_than(&provenance, live)).filter(|_| !may_be_older(remote)) {
        return Err(fault(older, "a version that is not older; `doorward policy pull --older` says that it may be"));
    }
    remote.provenance = Some(provenance);
    policy.digest.get_or_insert_with(|| kept.component.hex().to_owned());
    Ok(policy)
}

/// Fetches what a reference points to now, and judges it.
///
/// # Errors
/// It is not to be had, or not signed as it must be.
pub fn fetch(reference: &Reference, config: &config::Registry) -> Result<(Artifact, Vec<String>), String> {
    let told = |fault: Fault| fault.to_string();
    let judge = Judge::of(config, reference).map_err(told)?;
    let artifact = client(config).map_err(told)?.pull(reference, judge.needs_signatures());
    let artifact = artifact.map_err(|error| error.to_string())?;
    let signed_by = judge.verdict(&Kept::of(&artifact), &artifact.manifest);
    signed_by.map(|by| (artifact, by)).map_err(|lack| format!("{reference}: {lack}"))
}

const SIGNED: &str = "an artifact that is signed as [[registry.trust]] says";
const WRITABLE: &str = "a folder of our own that can be read and written";

/// Whether its operator said that it may be older than what is live: in the lock file, or by writing a digest.
fn may_be_older(remote: &Remote) -> bool {
    remote.locked.as_ref().is_none_or(|locked| locked.may_be_older)
}

/// Why an artifact is older than another one of its repository, if it is.
pub fn older_than(new: &Provenance, old: &Provenance) -> Option<String> {
    let (next, last) = (new.version.as_deref()?, old.version.as_deref()?);
    let same = new.repository == old.repository && is_older(next, last);
    same.then(|| format!("version {} is older than {}, which is live", next.escape_debug(), last.escape_debug()))
}

/// Who must have signed an artifact.
struct Judge {
    keys: Vec<TrustedKey>,
    threshold: usize,
    repository: String,
    /// Nobody is listed for it, and that is no hindrance.
    takes_all: bool,
}

impl Judge {
    /// Of a repository, with the keys as their files have them now.
    fn of(config: &config::Registry, reference: &Reference) -> Result<Self, Fault> {
        let repository = reference.repository();
        let Some(trust) = config.trust_of(&repository) else {
            let takes_all = config.takes_unsigned;
            return Ok(Self { keys: Vec::new(), threshold: 1, repository, takes_all });
        };
        Ok(Self { keys: keys_of(trust)?, threshold: trust.threshold, repository, takes_all: false })
    }

    /// Whether anybody must have signed: else nobody asks for signatures, which a registry may not even know.
    fn needs_signatures(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The names of those who have signed.
    ///
    /// # Errors
    /// Why that is not enough.
    fn verdict(&self, kept: &Kept, manifest: &doorward_registry::Digest) -> Result<Vec<String>, String> {
        if self.takes_all {
            return Ok(Vec::new());
        }
        if self.keys.is_empty() {
            return Err(format!(
                "no [[registry.trust]] is about {}, and what is not signed is refused",
                self.repository
            ));
        }
        let verdict = verify(&kept.signatures, &self.keys, manifest, &self.repository);
        if verdict.by.len() >= self.threshold {
            Ok(verdict.by.into_iter().collect())
        } else {
            Err(verdict.lack(self.threshold))
        }
    }
}

fn keys_of(trust: &Trust) -> Result<Vec<TrustedKey>, Fault> {
    let mut keys: Vec<TrustedKey> = Vec::new();
    for (name, file) in &trust.keys {
        let key = PublicKey::read(file);
        let key =
            key.map_err(|found| trust.place.key("keys").fault(found, "a public key in PEM: ECDSA P-256 or Ed25519"))?;
        // Two names of one key would be two of a threshold.
        if let Some(same) = keys.iter().find(|known| known.key == key) {
            let found = format!("one key as \"{}\" and as \"{name}\"", same.name);
            return Err(trust.place.key("keys").fault(found, "a key of its own for each name"));
        }
        keys.push(TrustedKey { name: name.clone(), key });
    }
    Ok(keys)
}

/// Looks at the keys, also where nothing of a registry is used.
///
/// # Errors
/// A file that is no key.
pub fn check(config: &config::Registry) -> Result<(), Fault> {
    config.trust.iter().try_for_each(|trust| keys_of(trust).map(drop))
}

/// What the lock file says after an artifact was pulled.
pub fn locked_of(reference: &Reference, artifact: &Artifact, may_be_older: bool) -> Locked {
    Locked {
        reference: reference.to_string(),
        manifest: artifact.manifest.clone(),
        component: doorward_registry::Digest::of(&artifact.component),
        version: artifact.version.clone(),
        may_be_older,
    }
}

/// Keeps an artifact in the state directory of a configuration.
///
/// # Errors
/// It cannot be written.
pub fn keep(state: &Path, config: &Config, artifact: &Artifact) -> std::io::Result<()> {
    Store::of(state).keep(artifact, &needed(config))
}

/// The manifests of a configuration and of its lock file. A lock file that cannot be read is a fault elsewhere.
fn needed(config: &Config) -> BTreeSet<doorward_registry::Digest> {
    let meant = config.policies.iter().filter_map(|policy| policy.remote.as_ref()?.manifest().cloned());
    let locked = config::read_lock(&config.lock_file()).unwrap_or_default();
    meant.chain(locked.into_iter().map(|locked| locked.manifest)).collect()
}
