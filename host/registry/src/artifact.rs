//! Fetching: a manifest, the component that it names, and what is known of it.

use crate::client::{Client, Repository};
use crate::error::Result;
use crate::manifest::{Manifest, unpacked};
use crate::{Digest, Reference, Signature};

/// An artifact that was fetched. Each of its parts is what it is called by.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The digest of its manifest, which a signature is about.
    pub manifest: Digest,
    /// The component.
    pub component: Vec<u8>,
    /// The version that the manifest says, or else the tag.
    pub version: Option<String>,
    /// What was found of signatures, whoever made them; nothing where nobody asked for them.
    pub signatures: Vec<Signature>,
}

/// What a tag points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The version that the manifest says, or else the tag.
    pub version: Option<String>,
}

impl Client {
    /// What a reference points to now.
    ///
    /// # Errors
    /// It is not to be had, or is no policy.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved> {
        self.run(reference, "pull", |mut repository| async move {
            let (manifest, digest) = manifest_of(&mut repository).await?;
            Ok(Resolved { manifest: digest, version: version_of(&manifest, repository.reference) })
        })
    }

    /// Fetches an artifact. Where the reference has a digest, it is that one and no other. Signatures are looked for only
    /// where somebody must have signed.
    ///
    /// # Errors
    /// It is not to be had, or what was sent is something else.
    pub fn pull(&self, reference: &Reference, with_signatures: bool) -> Result<Artifact> {
        self.run(reference, "pull", |mut repository| async move {
            let (manifest, digest) = manifest_of(&mut repository).await?;
            let place = repository.reference.to_string();
            let (layer, form) = manifest.component(&place)?;
            let bytes = repository.blob(&layer.digest, layer.size).await?;
            let component = unpacked(&bytes, form, &place)?;
            let version = version_of(&manifest, repository.reference);
            let signatures = match with_signatures {
                true => crate::signatures::fetch(&mut repository, &digest).await?,
                false => Vec::new(),
            };
            Ok(Artifact { manifest: digest, component, version, signatures })
        })
    }

    /// What there is of signatures for a manifest, whoever made them.
    ///
    /// # Errors
    /// The registry is not to be asked.
    pub fn signatures(&self, reference: &Reference, manifest: &Digest) -> Result<Vec<Signature>> {
        self.run(reference, "pull", |mut repository| async move {
            crate::signatures::fetch(&mut repository, manifest).await
        })
    }
}

async fn manifest_of(repository: &mut Repository<'_>) -> Result<(Manifest, Digest)> {
    let reference = repository.reference;
    let which = reference.digest.as_ref().map(Digest::to_string).or_else(|| reference.tag.clone());
    let sent = repository.manifest(&which.unwrap_or_default()).await?;
    Ok((Manifest::read(&sent.bytes, &reference.to_string())?, sent.digest))
}

fn version_of(manifest: &Manifest, reference: &Reference) -> Option<String> {
    manifest.version().map(str::to_owned).or_else(|| reference.tag.clone())
}
