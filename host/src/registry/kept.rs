//! Artifacts that are here: components by the digest of their manifest, with what was found of signatures.

use std::collections::BTreeSet;
use std::io::{Error, Result};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use doorward_registry::{Artifact, Digest, Signature};
use serde::{Deserialize, Serialize};

use crate::{config, files};

/// So many artifacts are kept beside those that are needed.
const MOST: usize = 64;
/// So many signatures are kept of one: those that were found last, and as many from before.
const SIGNATURES: usize = 64;

/// The folder of artifacts.
#[derive(Debug)]
pub struct Store {
    state: PathBuf,
    folder: PathBuf,
}

/// What is known of an artifact that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The digest of its component.
    pub component: Digest,
    /// The version that it says it has, or else its tag.
    pub version: Option<String>,
    /// Signatures, whoever made them.
    pub signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    component: String,
    version: Option<String>,
    signatures: Vec<Signature>,
}

impl Kept {
    /// Of an artifact.
    pub fn of(artifact: &Artifact) -> Self {
        let (version, signatures) = (artifact.version.clone(), artifact.signatures.clone());
        Self { component: Digest::of(&artifact.component), version, signatures }
    }

    /// Adds signatures that were found later.
    pub fn add(&mut self, more: Vec<Signature>) {
        let before = std::mem::replace(&mut self.signatures, more);
        let before = before.into_iter().filter(|signature| !self.signatures.contains(signature)).collect::<Vec<_>>();
        self.signatures.extend(before);
        self.signatures.truncate(SIGNATURES);
    }
}

impl Store {
    /// The one of a state directory.
    pub fn of(state: &Path) -> Self {
        Self { state: state.to_owned(), folder: config::store_in(state) }
    }

    fn paths(&self, manifest: &Digest) -> (PathBuf, PathBuf) {
        let of = |end: &str| self.folder.join(format!("{}.{end}", manifest.hex()));
        (of("wasm"), of("json"))
    }

    /// An artifact, if it is here and is what was written. One that is broken is not here: it is fetched again.
    ///
    /// # Errors
    /// The folder cannot be read, or others may write to it.
    pub fn find(&self, manifest: &Digest) -> Result<Option<Kept>> {
        if !self.folder.exists() {
            return Ok(None);
        }
        files::private_folder(&self.folder).map_err(|error| self.told(&error))?;
        let (component, about) = self.paths(manifest);
        let (Some(bytes), Some(about)) = (files::read(&component)?, files::read(&about)?) else { return Ok(None) };
        let Ok(written) = serde_json::from_slice::<Written>(&about) else { return Ok(None) };
        let digest = Digest::parse(&written.component).filter(|digest| *digest == Digest::of(&bytes));
        let kept = |component| Kept { component, version: written.version, signatures: written.signatures };
        Ok(digest.map(kept))
    }

    /// Keeps an artifact; those that are needed stay.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, artifact: &Artifact, needed: &BTreeSet<Digest>) -> Result<()> {
        self.make().map_err(|error| self.told(&error))?;
        self.prune(needed);
        // The component gets its name first: what is known of it says that it is whole.
        files::replace(&self.paths(&artifact.manifest).0, &artifact.component)?;
        self.note(&artifact.manifest, &Kept::of(artifact))
    }

    /// Writes what is known of an artifact.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, manifest: &Digest, kept: &Kept) -> Result<()> {
        let Kept { component, version, signatures } = kept.clone();
        let written = Written { component: component.to_string(), version, signatures };
        files::replace(&self.paths(manifest).1, &serde_json::to_vec(&written).map_err(Error::other)?)
    }

    /// Makes the folder. What root makes for the user of a state directory is that user's.
    fn make(&self) -> Result<()> {
        let root = rustix::process::geteuid().is_root();
        let owner = std::fs::metadata(&self.state).ok().filter(|state| root && state.uid() != 0);
        let Some(owner) = owner else {
            files::own_folder(&self.state)?;
            return files::own_folder(&self.folder);
        };
        match std::fs::DirBuilder::new().mode(0o700).create(&self.folder) {
            Ok(()) => chown(&self.folder, Some(owner.uid()), Some(owner.gid())),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                files::private_folder(&self.folder).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the oldest artifacts that are not needed.
    fn prune(&self, needed: &BTreeSet<Digest>) {
        let needed: BTreeSet<PathBuf> = needed.iter().map(|manifest| self.paths(manifest).0).collect();
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "wasm") && !needed.contains(path))
            .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
            .collect();
        all.sort();
        let surplus = all.len().saturating_sub(MOST);
        for (_, path) in all.iter().take(surplus) {
            drop((std::fs::remove_file(path), std::fs::remove_file(path.with_extension("json"))));
        }
    }

    fn told(&self, error: &Error) -> Error {
        Error::new(error.kind(), format!("{}: {error}", self.folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(at: usize) -> Artifact {
        let (manifest, component) = (Digest::of(&at.to_le_bytes()), at.to_string().into_bytes());
        Artifact { manifest, component, version: None, signatures: Vec::new() }
    }

    #[test]
    fn what_is_needed_stays_however_many_come_after_it() {
        let state = std::env::temp_dir().join(format!("doorward-kept-{}", std::process::id()));
        files::own_folder(&state).unwrap();
        let (store, needed) = (Store::of(&state), BTreeSet::from([artifact(0).manifest]));
        for at in 0..MOST + 10 {
            store.keep(&artifact(at), &needed).unwrap();
        }
        assert!(store.find(&artifact(0).manifest).unwrap().is_some());
        let there = |at: &usize| store.find(&artifact(*at).manifest).unwrap().is_some();
        assert!((0..MOST + 10).filter(there).count() <= MOST + 2);
        std::fs::remove_dir_all(&state).unwrap();
    }
}
