//! Generations that are kept over a restart, in the state folder: what an operator wrote, as it was read. What is secret
//! (keys, certificates with their keys, passwords) and who the users are (LDIF) stays where it is: nobody comes back in who
//! was taken out of a list of users.
//!
//! ```text
//! generations/policies/SHA256.wasm     components, each once
//! generations/7/manifest.json          what is in there, with the digest of each file
//! generations/7/doorward.toml, templates/…, languages/…, recipes/…
//! ```
//!
//! Invariants: a generation is there whole (its folder gets its name last); what does not fit its digest is not used; what
//! another version wrote stays as it is; no more than [`MOST`] that went well are kept.

mod parts;

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use self::parts::{Kind, Part, content_of, parts};
use super::Life;
use crate::config::{self, Config, Provenance};
use crate::files;
use crate::policy::digest;
use crate::snapshot::Fingerprint;

/// So many generations that went well are kept.
const MOST: usize = 5;
/// The version of what is written here.
const VERSION: u32 = 1;
/// So old are components that nothing names before they are removed.
const GRACE: std::time::Duration = std::time::Duration::from_secs(600);
const MANIFEST: &str = "manifest.json";
/// The folder of components, beside those of generations.
const POLICIES: &str = "policies";

/// The generations of one configuration in a state folder. Without one, nothing is kept.
#[derive(Debug, Default)]
pub struct Store {
    folder: Option<PathBuf>,
    /// The file of the configuration.
    source: PathBuf,
    /// The same as the program was told it.
    typed: PathBuf,
    /// Held by who writes.
    disk: Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    kept: Vec<Manifest>,
    /// The highest number that any has.
    highest: u64,
    trouble: Option<String>,
}

/// What is kept of a generation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Manifest {
    version: u32,
    generation: u64,
    /// Since when it was live the last time, and why.
    since: u64,
    reason: String,
    /// Whether it went well.
    went_well: bool,
    /// The file of the configuration that it was read from.
    configuration: PathBuf,
    /// Of all of it.
    content: String,
    files: Vec<File>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct File {
    kind: Kind,
    /// The file or folder that the configuration names.
    path: PathBuf,
    /// Where it is kept: in the folder of its generation, but for components.
    kept: PathBuf,
    sha256: String,
    /// What is known of a policy of a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<Provenance>,
}

/// Only this is read of what another version wrote.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Store {
    /// The generations of this configuration that earlier processes left in the state folder. What cannot be read is told
    /// and passed over.
    pub(super) fn open(state: Option<&Path>, configuration: &Path) -> Self {
        let source = std::path::absolute(configuration).unwrap_or_else(|_| configuration.to_owned());
        let folder = state.map(|state| state.join("generations"));
        let mut known = Known::default();
        if let Some(folder) = folder.as_deref().filter(|folder| folder.exists()) {
            match files::own_folder(folder) {
                Ok(()) => known.read(folder, &source),
                // What others may write to is not believed.
                Err(error) => known.tell(Some(&error)),
            }
        }
        let typed = configuration.to_owned();
        Self { folder, source, typed, disk: Mutex::default(), known: Mutex::new(known) }
    }

    /// Those that went well, in the order in which they were live.
    pub(super) fn went_well(&self) -> Vec<Life> {
        let known = self.known();
        let mut lives: Vec<Life> = known.kept.iter().filter(|kept| kept.went_well).map(Manifest::life).collect();
        lives.sort_by_key(|life| (life.since, life.generation));
        lives
    }

    /// Whether this generation is kept; and whether it went well.
    pub(super) fn has(&self, generation: u64) -> Option<bool> {
        self.known().kept.iter().find(|kept| kept.generation == generation).map(|kept| kept.went_well)
    }

    /// The number of a generation that is what the files say now: that of the one that is kept, or else a new one.
    pub(super) fn number_of(&self, config: &Config) -> u64 {
        let highest = self.highest();
        if highest == 0 {
            return 1;
        }
        let content = parts(config).map(|parts| content_of(&parts)).unwrap_or_default();
        let known = self.known();
        let same = known.kept.iter().find(|kept| kept.content == content);
        same.map_or(highest + 1, |kept| kept.generation)
    }

    /// The highest number of a generation in the folder; 0 where there is none.
    pub(super) fn highest(&self) -> u64 {
        self.known().highest
    }

    /// What is wrong with the folder, if something is.
    pub fn trouble(&self) -> Option<String> {
        self.known().trouble.clone()
    }

    /// Keeps a generation that went live just now, whose files have this fingerprint. Where they say something else by
    /// now, there will be another one soon.
    pub(super) fn keep(&self, config: &Config, fingerprint: &Fingerprint, life: &Life) {
        let Some(folder) = &self.folder else { return };
        let _disk = self.disk();
        let kept = self.write(folder, config, fingerprint, life);
        let mut known = self.known();
        known.tell(kept.as_ref().err());
        if let Ok(Some(manifest)) = kept {
            let mut removed = known.replace(manifest);
            removed.extend(known.prune(life.generation));
            drop(known);
            self.remove(folder, &removed);
        }
    }

    /// This generation went well.
    pub(super) fn note_went_well(&self, generation: u64) {
        self.change(generation, |kept| kept.went_well = true);
    }

    /// This one is live again.
    pub(super) fn note_live(&self, life: &Life) {
        self.change(life.generation, |kept| {
            (kept.since, kept.reason) = (life.since, life.reason.to_string());
        });
    }

    /// This one went bad.
    pub(super) fn forget(&self, generation: u64) {
        let Some(folder) = &self.folder else { return };
        let _disk = self.disk();
        self.known().kept.retain(|kept| kept.generation != generation);
        self.remove(folder, &[generation]);
    }

    /// The configuration of a generation, with the files that are kept in the place of those that it names.
    ///
    /// # Errors
    /// A file is missing, or is not what was kept.
    pub(super) fn load(&self, generation: u64) -> std::result::Result<Config, String> {
        let folder = self.folder.as_ref().ok_or("nothing is kept without a state-directory")?;
        let manifest = self.known().kept.iter().find(|kept| kept.generation == generation).cloned();
        let manifest = manifest.ok_or("it is not kept")?;
        // Its paths are what the files' own are: relative where the program was told a relative path.
        let base = self.typed.parent().unwrap_or(Path::new("."));
        let mut text = None;
        for file in &manifest.files {
            let path = place_of(folder, generation, &file.kept)?;
            let bytes = files::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let bytes = bytes.ok_or_else(|| format!("{}: it is missing", path.display()))?;
            if digest(&bytes) != file.sha256 {
                return Err(format!("{}: it is not what was kept, for its digest is another one", path.display()));
            }
            if file.kind == Kind::Configuration {
                text = String::from_utf8(bytes).ok();
            }
        }
        let text = text.ok_or("its configuration is missing")?;
        let source = Arc::new(config::Source::new(&self.typed, text));
        let mut config = config::parse(&source, base).map_err(|faults| faults.to_string())?;
        let own = folder.join(generation.to_string());
        for file in &manifest.files {
            parts::put(&mut config, file, folder, &own);
        }
        Ok(config)
    }

    /// Tells policies of registries what was live of them when the process before this one ended: versions only grow over a
    /// start too.
    pub(super) fn tell_before(&self, config: &mut Config) {
        let known = self.known();
        let well = known.kept.iter().filter(|kept| kept.went_well);
        let Some(last) = well.max_by_key(|kept| (kept.since, kept.generation)) else { return };
        for remote in config.policies.iter_mut().filter_map(|policy| policy.remote.as_mut()) {
            let repository = remote.reference.repository();
            let mut all = last.files.iter().filter_map(|file| file.provenance.as_ref());
            remote.before = all.find(|of| of.repository == repository).cloned();
        }
    }

    /// Writes a generation beside the others; it gets its name when all of it is on the disk.
    fn write(
        &self,
        folder: &Path,
        config: &Config,
        fingerprint: &Fingerprint,
        life: &Life,
    ) -> Result<Option<Manifest>> {
        let parts = parts(config)?;
        if !fingerprint.is_of(config) {
            return Ok(None);
        }
        if let Some(state) = folder.parent() {
            files::own_folder(state)?;
        }
        for folder in [folder, &folder.join(POLICIES)] {
            files::own_folder(folder)?;
        }
        let place = folder.join(life.generation.to_string());
        if place.join(MANIFEST).exists() && read_manifest(&place)?.configuration != self.source {
            return Err(Error::other(format!("{} is another configuration's", place.display())));
        }
        let content = content_of(&parts);
        let before = self.known().kept.iter().any(|kept| kept.content == content && kept.went_well);
        let manifest = Manifest {
            version: VERSION,
            generation: life.generation,
            since: life.since,
            reason: life.reason.to_string(),
            // The same files were live before, and went well.
            went_well: before,
            configuration: self.source.clone(),
            content,
            files: parts.iter().map(Part::file).collect(),
        };
        let new = folder.join(format!(".new.{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&new);
        let written = write_parts(folder, &new, &parts).and_then(|()| {
            write_manifest(&new, &manifest)?;
            // An earlier one of the same number is the same, or it was never finished.
            let _ = std::fs::remove_dir_all(&place);
            std::fs::rename(&new, &place)
        });
        if written.is_err() {
            let _ = std::fs::remove_dir_all(&new);
        }
        written.map(|()| Some(manifest))
    }

    fn change(&self, generation: u64, change: impl FnOnce(&mut Manifest)) {
        let Some(folder) = &self.folder else { return };
        let _disk = self.disk();
        let found = self.known().kept.iter().find(|kept| kept.generation == generation).cloned();
        let Some(mut manifest) = found else { return };
        change(&mut manifest);
        let written = write_manifest(&folder.join(generation.to_string()), &manifest);
        let mut known = self.known();
        known.tell(written.as_ref().err());
        // What is not on the disk is tried again.
        if written.is_ok() {
            known.kept.retain(|kept| kept.generation != generation);
            known.kept.push(manifest);
            let removed = known.prune(generation);
            drop(known);
            self.remove(folder, &removed);
        }
    }

    /// Removes generations, and components that none of the others has.
    fn remove(&self, folder: &Path, generations: &[u64]) {
        let mut freed = BTreeSet::new();
        for generation in generations {
            let own = folder.join(generation.to_string());
            freed.extend(read_manifest(&own).into_iter().flat_map(|manifest| policies_of(folder, manifest)));
            // Without it, what is left of the folder is nothing.
            let _ = std::fs::remove_file(own.join(MANIFEST));
            let _ = std::fs::remove_dir_all(own);
        }
        if generations.is_empty() {
            return;
        }
        // Without all of what is used, nothing is known to be unused.
        let Some(used) = used_policies(folder) else { return };
        let there = std::fs::read_dir(folder.join(POLICIES)).into_iter().flatten().flatten();
        there.map(|entry| entry.path()).filter(|path| !used.contains(path)).for_each(|path| {
            if freed.contains(&path) || !is_new(&path) {
                let _ = std::fs::remove_file(path);
            }
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> MutexGuard<'_, ()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn read(&mut self, folder: &Path, source: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(generation) = name.to_str().and_then(|name| name.parse::<u64>().ok()) else {
                remove_if_abandoned(&entry.path());
                continue;
            };
            self.highest = self.highest.max(generation);
            match read_manifest(&entry.path()) {
                Ok(manifest) if manifest.generation == generation && manifest.configuration == source => {
                    self.kept.push(manifest);
                }
                // Of another configuration, which has the same folder.
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(generation, %error, "a kept generation is passed over");
                }
            }
        }
    }

    /// Tells what is wrong, once for each time that it begins.
    fn tell(&mut self, error: Option<&Error>) {
        let now = error.map(ToString::to_string);
        if self.trouble != now {
            match &now {
                Some(error) => tracing::error!(error, "generations are not kept over a restart"),
                None => tracing::warn!("generations are kept over a restart again"),
            }
            self.trouble = now;
        }
    }

    /// Takes one in the place of those that say the same, which only lists of users or certificates made a generation of
    /// their own: they would push out all others.
    fn replace(&mut self, manifest: Manifest) -> Vec<u64> {
        let same = |kept: &Manifest| kept.generation == manifest.generation || kept.content == manifest.content;
        let (same, others): (Vec<Manifest>, Vec<Manifest>) = self.kept.drain(..).partition(same);
        self.kept = others;
        self.highest = self.highest.max(manifest.generation);
        let removed = same.iter().map(|kept| kept.generation).filter(|old| *old != manifest.generation).collect();
        self.kept.push(manifest);
        removed
    }

    /// Lets go of those that are too many, and of those that came to nothing; all but the live one.
    fn prune(&mut self, live: u64) -> Vec<u64> {
        self.kept.sort_by_key(|kept| (kept.since, kept.generation));
        let mut well = self.kept.iter().filter(|kept| kept.went_well).count();
        let mut removed = Vec::new();
        self.kept.retain(|kept| {
            let stays = kept.generation == live || (kept.went_well && well <= MOST);
            well -= usize::from(kept.went_well && !stays);
            if !stays {
                removed.push(kept.generation);
            }
            stays
        });
        removed
    }
}

impl Manifest {
    fn life(&self) -> Life {
        Life { generation: self.generation, since: self.since, reason: self.reason.clone().into() }
    }
}

/// Where a file is kept. Manifests are believed no further than the folder.
fn place_of(folder: &Path, generation: u64, kept: &Path) -> std::result::Result<PathBuf, String> {
    use std::path::Component;
    if !kept.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("{}: it is kept nowhere", kept.display()));
    }
    let is_policy = kept.starts_with(POLICIES);
    Ok(if is_policy { folder.join(kept) } else { folder.join(generation.to_string()).join(kept) })
}

fn write_parts(folder: &Path, own: &Path, parts: &[Part]) -> Result<()> {
    files::own_folder(own)?;
    for part in parts {
        let is_policy = matches!(part.kind, Kind::Policy | Kind::Artifact);
        let path = if is_policy { folder.join(&part.kept) } else { own.join(&part.kept) };
        let above: Vec<&Path> =
            path.ancestors().skip(1).take_while(|above| *above != own && *above != folder).collect();
        above.into_iter().rev().try_for_each(files::own_folder)?;
        let is_there =
            is_policy && files::read(&path).is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes == part.bytes));
        if !is_there {
            files::replace(&path, &part.bytes)?;
        }
    }
    Ok(())
}

fn write_manifest(own: &Path, manifest: &Manifest) -> Result<()> {
    let text = serde_json::to_string_pretty(manifest).map_err(Error::other)?;
    files::replace(&own.join(MANIFEST), text.as_bytes())
}

fn read_manifest(own: &Path) -> Result<Manifest> {
    let text = files::read_text(&own.join(MANIFEST))?;
    let text = text.ok_or_else(|| Error::new(ErrorKind::NotFound, "it has no manifest"))?;
    let Versioned { version } = serde_json::from_str(&text)?;
    if version != VERSION {
        return Err(Error::other(format!("it is of version {version}, and this program knows {VERSION}")));
    }
    Ok(serde_json::from_str(&text)?)
}

/// The components that generations on the disk have, whichever process and configuration they are of; none where one of
/// them cannot be read. A folder without a manifest is what is left of one.
fn used_policies(folder: &Path) -> Option<BTreeSet<PathBuf>> {
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let is_generation = entry.file_name().to_str().is_some_and(|name| name.parse::<u64>().is_ok());
        if is_generation && entry.path().join(MANIFEST).exists() {
            used.extend(policies_of(folder, read_manifest(&entry.path()).ok()?));
        }
    }
    Some(used)
}

fn policies_of(folder: &Path, manifest: Manifest) -> impl Iterator<Item = PathBuf> {
    let policies = manifest.files.into_iter().filter(|file| matches!(file.kind, Kind::Policy | Kind::Artifact));
    policies.map(|file| folder.join(file.kept))
}

/// Whether a component was written of late: another process may be about to write the manifest that names it.
fn is_new(path: &Path) -> bool {
    let age = std::fs::metadata(path).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_none_or(|age| age < GRACE)
}

/// What a process left half-written that is no more.
fn remove_if_abandoned(path: &Path) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let process = name.strip_prefix(".new.");
    if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
        let _ = std::fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests;
