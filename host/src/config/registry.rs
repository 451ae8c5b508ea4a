//! `[registry]`, and the lock file: where policies come from that are no files here, whose signatures they need, and what
//! each tag pointed to when the operator last said so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_registry::{Digest, EXPECTED, Reference};

use super::{Place, Source, Table, read};

/// `[registry]`.
#[derive(Debug, Clone)]
pub struct Registry {
    /// `[[registry.trust]]`: whose signatures count.
    pub trust: Vec<Trust>,
    /// Whether artifacts are taken that no entry of `trust` is about.
    pub takes_unsigned: bool,
    /// File of names and passwords, as docker's `config.json`.
    pub credentials: Option<PathBuf>,
    /// File of the authorities that certificates of registries are checked by.
    pub ca: Option<PathBuf>,
    /// Registries that are spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Hosts of inner addresses that a registry may lead to.
    pub inner_hosts: Vec<String>,
    /// How long fetching one artifact may take.
    pub timeout: Duration,
    /// Where it stands.
    pub place: Place,
}

/// Whose signatures count for some repositories.
#[derive(Debug, Clone)]
pub struct Trust {
    /// What the names of these repositories begin with.
    pub prefix: String,
    /// Files of public keys, by the names that the operator gave them.
    pub keys: Vec<(String, PathBuf)>,
    /// So many of the keys must have signed.
    pub threshold: usize,
    /// Where it stands.
    pub place: Place,
}

/// Where a policy comes from that is no file here.
#[derive(Debug, Clone)]
pub struct Remote {
    /// As it is written.
    pub reference: Reference,
    /// What the lock file says of its tag.
    pub locked: Option<Locked>,
    /// Whether its component is one of a kept generation, which was proved when it went live.
    pub is_kept: bool,
    /// What is known of the artifact, once it is here.
    pub provenance: Option<Provenance>,
    /// What was live of its repository before this process started.
    pub before: Option<Provenance>,
}

/// A line of the lock file: what a tag pointed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The reference with its tag.
    pub reference: String,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The digest of the component.
    pub component: Digest,
    /// The version that the artifact says it has, or else its tag.
    pub version: Option<String>,
    /// Whether the operator said that it may be older than what is live.
    pub may_be_older: bool,
}

/// What is known of an artifact that a policy is from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
    /// As it is written in the configuration.
    pub reference: String,
    /// The repository with its registry.
    pub repository: String,
    /// The digest of the manifest.
    pub manifest: String,
    /// The version that the artifact says it has, or else its tag.
    pub version: Option<String>,
    /// The keys that have signed it.
    pub signed_by: Vec<String>,
}

impl Registry {
    /// Nothing of it is written.
    pub fn none(place: Place) -> Self {
        Self {
            trust: Vec::new(),
            takes_unsigned: true,
            credentials: None,
            ca: None,
            plain_http: Vec::new(),
            inner_hosts: Vec::new(),
            timeout: TIMEOUT,
            place,
        }
    }

    /// The entry that is about a repository: the one with the longest prefix.
    pub fn trust_of(&self, repository: &str) -> Option<&Trust> {
        let about = self.trust.iter().filter(|trust| is_below(repository, &trust.prefix));
        about.max_by_key(|trust| trust.prefix.len())
    }

    /// The files that it names. Credentials are read when they are needed.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.trust.iter().flat_map(|trust| trust.keys.iter().map(|(_, file)| file)).chain(&self.ca)
    }
}

/// A component of 64 MiB takes that long at 10 Mbit/s.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn registry(t: &Table<'_>, base: &Path) -> Registry {
    let trust = t.tables("trust", |t| trust(t, base));
    for (at, one) in trust.iter().enumerate() {
        if trust.iter().take(at).any(|earlier| earlier.prefix == one.prefix) {
            t.collector().add(one.place.key("for").fault(format!("\"{}\" twice", one.prefix), "each only once"));
        }
    }
    let unsigned = t.choice("unsigned", &[("refuse", false), ("allow", true)]);
    Registry {
        takes_unsigned: unsigned.unwrap_or(trust.is_empty()),
        trust,
        credentials: t.text("credentials").map(|path| base.join(path)),
        ca: t.text("ca").map(|path| base.join(path)),
        plain_http: t.texts("plain-http").iter().map(|host| host.to_ascii_lowercase()).collect(),
        inner_hosts: t.texts("inner-hosts").iter().map(|host| host.to_ascii_lowercase()).collect(),
        timeout: t.duration("timeout", TIMEOUT),
        place: t.place(),
    }
}

fn trust(t: &Table<'_>, base: &Path) -> Trust {
    let keys: Vec<(String, PathBuf)> = t.tables("keys", |t| (t.required("name"), base.join(t.required("file"))));
    if keys.is_empty() {
        t.fault("keys", "no key", "at least one: [{ name = \"…\", file = \"….pub\" }]");
    }
    let threshold = t.places("threshold", 1, 1..=100);
    if threshold > keys.len() && !keys.is_empty() {
        t.fault("threshold", format!("{threshold} of {} keys", keys.len()), "no more than there are keys");
    }
    let names: std::collections::BTreeSet<&String> = keys.iter().map(|(name, _)| name).collect();
    if names.len() < keys.len() {
        t.fault("keys", "one name for two keys", "a name for each key");
    }
    Trust { prefix: t.required("for").to_ascii_lowercase(), keys, threshold, place: t.place() }
}

/// Whether a repository is the one that a prefix names, or below it: "r.test/mail" is about "r.test/mail/a" and no
/// "r.test/mailing".
fn is_below(repository: &str, prefix: &str) -> bool {
    let rest = repository.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// The `file` of a policy that is in a registry.
pub(super) fn remote(t: &Table<'_>, text: &str) -> Option<Remote> {
    if !text.starts_with("oci://") {
        return None;
    }
    let reference = Reference::parse(text);
    if reference.is_none() {
        t.fault("file", format!("\"{text}\""), EXPECTED);
    }
    Some(Remote { reference: reference?, locked: None, is_kept: false, provenance: None, before: None })
}

impl Remote {
    /// The digest of the manifest that is meant: as it is written, or as the tag was locked.
    pub fn manifest(&self) -> Option<&Digest> {
        self.reference.digest.as_ref().or(self.locked.as_ref().map(|locked| &locked.manifest))
    }
}

/// Gives policies in registries what the lock file says of them, and the place where their components are kept.
pub(super) fn lock<'a>(
    t: &Table<'_>,
    file: &Path,
    state: Option<&Path>,
    policies: impl Iterator<Item = (&'a mut Remote, &'a mut Option<PathBuf>)>,
) {
    let mut policies = policies.peekable();
    if policies.peek().is_none() {
        return;
    }
    let locked = read_lock(file).unwrap_or_else(|faults| {
        faults.0.into_iter().for_each(|fault| t.collector().add(fault));
        Vec::new()
    });
    if state.is_none() {
        t.fault("state-directory", "a policy in a registry, without a folder to keep it in", "a state-directory");
    }
    let store = state.map(store_in);
    for (remote, file) in policies {
        let name = remote.reference.to_string();
        if remote.reference.digest.is_none() {
            remote.locked = locked.iter().find(|locked| locked.reference == name).cloned();
        }
        let of = |(manifest, store): (&Digest, &PathBuf)| store.join(format!("{}.wasm", manifest.hex()));
        let kept = remote.manifest().zip(store.as_ref()).map(of);
        *file = Some(kept.unwrap_or_else(|| PathBuf::from(format!("oci://{name}"))));
    }
}

/// The folder of artifacts in a state directory.
pub fn store_in(state: &Path) -> PathBuf {
    state.join("registry")
}

/// Reads a lock file; one that is not there locks nothing.
///
/// # Errors
/// What is wrong with it.
pub fn read_lock(file: &Path) -> Result<Vec<Locked>, super::Faults> {
    let text = match crate::files::read_text(file) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            let place = Place::whole(&Arc::new(Source::new(file, "")));
            return Err(place.fault(error.to_string(), "a file that `doorward policy pull` wrote").into());
        }
    };
    read(&Arc::new(Source::new(file, text)), |t| {
        let digest = |t: &Table<'_>, key: &str| {
            let found = t.parsed(key, "\"sha256:\" and 64 hexadecimal digits", Digest::parse);
            if found.is_none() && !t.has(key) {
                t.fault(key, "nothing", "the digest that `doorward policy pull` wrote");
            }
            found.unwrap_or_else(|| Digest::of(b""))
        };
        t.tables("artifact", |t| Locked {
            reference: t.required("reference"),
            manifest: digest(t, "manifest"),
            component: digest(t, "component"),
            version: t.text("version"),
            may_be_older: t.flag("may-be-older", false),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_whole_parts_is_about_a_repository() {
        let place = Place::whole(&Arc::new(Source::new("c", "")));
        let trust =
            |prefix: &str| Trust { prefix: prefix.to_owned(), keys: Vec::new(), threshold: 1, place: place.clone() };
        let all = vec![trust("r.test/mail"), trust("r.test/mail/a"), trust("r.test/other/")];
        let registry = Registry { trust: all, ..Registry::none(place.clone()) };
        let of = |repository: &str| registry.trust_of(repository).map(|trust| trust.prefix.as_str());
        assert_eq!(of("r.test/mail/b"), Some("r.test/mail"));
        assert_eq!(of("r.test/mail/a"), Some("r.test/mail/a"));
        assert_eq!(of("r.test/mail/ab"), Some("r.test/mail"));
        assert_eq!(of("r.test/other/x"), Some("r.test/other/"));
        assert_eq!((of("r.test/mailing/a"), of("r.test:5000/mail/a"), of("r.test")), (None, None, None));
    }
}
