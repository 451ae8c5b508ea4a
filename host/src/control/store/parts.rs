//! What is kept of a generation: the files that a configuration names and that are neither secret nor lists of users.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{File, POLICIES};
use crate::config::{Config, Policy, Provenance};
use crate::files;
use crate::policy::digest;
use crate::text::hex;

/// Bytes of one generation. Components are the largest, and those of JavaScript have some 12 MiB.
const LARGEST: usize = 128 << 20;

/// What a kept file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Configuration,
    Policy,
    /// A policy of a registry, whose path is its reference.
    Artifact,
    Templates,
    Languages,
    Logo,
    Recipe,
}

/// A file of a generation.
pub(super) struct Part {
    pub kind: Kind,
    /// The file or folder that the configuration names.
    path: PathBuf,
    /// Where it is kept.
    pub kept: PathBuf,
    pub bytes: Vec<u8>,
    /// What is known of a policy of a registry.
    provenance: Option<Provenance>,
}

impl Part {
    /// A path is known by all of it.
    fn known_by(&self) -> PathBuf {
        if self.kind == Kind::Artifact { self.path.clone() } else { absolute(&self.path) }
    }

    pub(super) fn file(&self) -> File {
        let (path, kept) = (self.path.clone(), self.kept.clone());
        File { kind: self.kind, path, kept, sha256: digest(&self.bytes), provenance: self.provenance.clone() }
    }
}

/// A digest of all parts, which another generation has only if it says the same.
pub(super) fn content_of(parts: &[Part]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        for text in [part.path.as_os_str(), part.kept.as_os_str()] {
            let bytes = text.as_encoded_bytes();
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.update(Sha256::digest(&part.bytes));
    }
    hex(&hash.finalize())
}

/// All of them, as they are now.
///
/// # Errors
/// One cannot be read, or they are too large.
pub(super) fn parts(config: &Config) -> Result<Vec<Part>> {
    let mut parts = vec![read(Kind::Configuration, config.place.file(), "doorward.toml".into())?];
    let files = |policy: &'_ Policy| {
        let provenance = policy.remote.as_ref().and_then(|remote| remote.provenance.clone());
        [(named(policy), policy.file.clone(), provenance), (None, policy.shadow.clone(), None)]
    };
    for (named, path, provenance) in config.policies.iter().flat_map(files) {
        let Some(path) = path else { continue };
        let kind = if named.is_some() { Kind::Artifact } else { Kind::Policy };
        let mut part = read(kind, &path, PathBuf::new())?;
        (part.path, part.provenance) = (named.unwrap_or(path), provenance);
        part.kept = Path::new(POLICIES).join(format!("{}.wasm", digest(&part.bytes)));
        parts.push(part);
    }
    for (kind, name, folder) in
        [(Kind::Templates, "templates", &config.templates), (Kind::Languages, "languages", &config.languages)]
    {
        let Some(folder) = folder else { continue };
        for path in files::below(folder).into_iter().filter(|path| path.is_file()) {
            let within = path.strip_prefix(folder).map_err(Error::other)?;
            let mut part = read(kind, &path, Path::new(name).join(within))?;
            part.path.clone_from(folder);
            parts.push(part);
        }
    }
    for (index, backend) in config.backends.iter().enumerate() {
        if backend.recipe.contains(['.', '/']) {
            let path = config.base.join(&backend.recipe);
            parts.push(read(Kind::Recipe, &path, PathBuf::from(format!("recipes/{index}.toml")))?);
        }
    }
    for (index, site) in config.sites.iter().enumerate() {
        if let Some(path) = &site.logo {
            parts.push(read(Kind::Logo, path, PathBuf::from(format!("logos/{index}")))?);
        }
    }
    match parts.iter().map(|part| part.bytes.len()).sum::<usize>() {
        size if size > LARGEST => Err(Error::other(format!("its files have {size} bytes, and {LARGEST} are kept"))),
        _ => Ok(parts.into_iter().map(|part| Part { path: part.known_by(), ..part }).collect()),
    }
}

/// What a policy in a registry is known by, whatever its tag means at the time.
fn named(policy: &Policy) -> Option<PathBuf> {
    policy.remote.as_ref().map(|remote| PathBuf::from(format!("oci://{}", remote.reference)))
}

/// Puts a kept file in the place of what the configuration names.
pub(super) fn put(config: &mut Config, file: &File, folder: &Path, own: &Path) {
    let is_meant = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| absolute(path) == file.path);
    match file.kind {
        Kind::Configuration => {}
        Kind::Policy => {
            let policies = config.policies.iter_mut().flat_map(|policy| [&mut policy.file, &mut policy.shadow]);
            policies.filter(|path| is_meant(path)).for_each(|path| *path = Some(folder.join(&file.kept)));
        }
        Kind::Artifact => {
            for policy in config.policies.iter_mut().filter(|policy| named(policy).as_ref() == Some(&file.path)) {
                policy.file = Some(folder.join(&file.kept));
                if let Some(remote) = &mut policy.remote {
                    (remote.is_kept, remote.provenance) = (true, file.provenance.clone());
                }
            }
        }
        Kind::Templates => config.templates = Some(own.join("templates")),
        Kind::Languages => config.languages = Some(own.join("languages")),
        Kind::Logo => {
            let logos = config.sites.iter_mut().map(|site| &mut site.logo);
            logos.filter(|path| is_meant(path)).for_each(|path| *path = Some(own.join(&file.kept)));
        }
        Kind::Recipe => {
            let base = config.base.clone();
            let named = |recipe: &str| absolute(&base.join(recipe)) == file.path;
            for backend in config.backends.iter_mut().filter(|backend| named(&backend.recipe)) {
                backend.recipe = absolute(&own.join(&file.kept)).display().to_string();
            }
        }
    }
}

fn read(kind: Kind, path: &Path, kept: PathBuf) -> Result<Part> {
    let bytes = files::read(path).and_then(|bytes| bytes.ok_or_else(|| ErrorKind::NotFound.into()));
    let bytes = bytes.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(Part { kind, path: path.to_owned(), kept, bytes, provenance: None })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
