//! Signatures: where they lie, what they say, and whose they are.
//!
//! cosign puts them in two places: below the tag `sha256-….sig` in the same repository, as "simple signing", and beside the
//! manifest, found by the API of referrers, as a bundle with a statement of in-toto. Both are read. Good is one that a
//! listed key has made and that says this manifest's digest and this repository: a signature for one policy is none for
//! another.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::client::Repository;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Manifest, descriptor};
use crate::{Digest, PublicKey};

/// So many signatures of one manifest are looked at, in both places together.
const MOST: usize = 32;
/// The objects of these: a referrer, its bundle, and as many payloads.
const ASKED: usize = 3 * MOST;
/// A statement is a few hundred bytes; a bundle may have a certificate and proofs beside it.
const PAYLOAD_SIZE: usize = 64 << 10;
const BUNDLE_SIZE: usize = 512 << 10;

pub(crate) const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What cosign calls a manifest of simple signing that refers to another one.
const SIMPLE_REFERRER: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
/// What a statement says that signs an artifact. Others say something about it: what it is made of, who found it unsafe.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// Where the index says what a bundle's statement says.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// How a signature says what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureForm {
    /// Simple signing, as the atomic containers began it.
    Simple,
    /// A statement of in-toto, in an envelope (DSSE).
    Statement,
}

/// A signature, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    form: SignatureForm,
    /// In base64, as it was signed.
    payload: String,
    /// In base64.
    signature: String,
    /// Where it was found.
    pub place: String,
}

/// A key that may sign, by the name that the operator gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Its name.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Who has signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The names of the keys that have.
    pub by: BTreeSet<String>,
    /// Why other signatures do not count.
    pub others: BTreeSet<String>,
}

impl Verdict {
    /// Why that is not enough, in words.
    pub fn lack(&self, threshold: usize) -> String {
        let by: Vec<&str> = self.by.iter().map(String::as_str).collect();
        let by = match &by[..] {
            [] => "no signature that counts".to_owned(),
            some => format!("signed by {} only, and {threshold} must have signed", some.join(", ")),
        };
        let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
        if others.is_empty() { by } else { format!("{by}: {}", others.join("; ")) }
    }
}

/// Which of these keys have signed a manifest of a repository.
pub fn verify(signatures: &[Signature], keys: &[TrustedKey], manifest: &Digest, repository: &str) -> Verdict {
    let mut verdict = Verdict::default();
    if signatures.is_empty() {
        verdict.others.insert("it is not signed: nothing at its .sig tag, and nothing refers to it".to_owned());
    }
    for signature in signatures {
        let signer = keys.iter().find(|key| signature.is_by(&key.key));
        let told = match signer {
            None => Err("one is of no key that is listed for it".to_owned()),
            Some(key) => signature
                .says(manifest, repository)
                .map(|()| &key.name)
                .map_err(|why| format!("one by {} {why}", key.name)),
        };
        match told {
            Ok(name) => verdict.by.insert(name.clone()),
            Err(why) => verdict.others.insert(format!("{why} ({})", signature.place)),
        };
    }
    verdict
}

impl Signature {
    fn is_by(&self, key: &PublicKey) -> bool {
        let decoded = (STANDARD.decode(&self.payload), STANDARD.decode(&self.signature));
        let (Ok(payload), Ok(signature)) = decoded else { return false };
        match self.form {
            SignatureForm::Simple => key.has_signed(&payload, &signature),
            SignatureForm::Statement => key.has_signed(&before_signing(&payload), &signature),
        }
    }

    /// Whether it is about this manifest of this repository.
    ///
    /// # Errors
    /// What it is about instead.
    fn says(&self, manifest: &Digest, repository: &str) -> std::result::Result<(), String> {
        let payload = STANDARD.decode(&self.payload).unwrap_or_default();
        let said: Json = serde_json::from_slice(&payload).map_err(|_| "says nothing that can be read".to_owned())?;
        let shown = |text: &str| text.chars().take(200).collect::<String>().escape_debug().to_string();
        let (digests, named) = match self.form {
            SignatureForm::Simple => {
                let critical = &said["critical"];
                if critical["type"] != "cosign container image signature" {
                    return Err("is for something else than an artifact".to_owned());
                }
                let digest = critical["image"]["docker-manifest-digest"].as_str().map(str::to_owned);
                (vec![digest.unwrap_or_default()], critical["identity"]["docker-reference"].as_str())
            }
            SignatureForm::Statement => {
                if said["predicateType"] != SIGNS {
                    let other = shown(said["predicateType"].as_str().unwrap_or_default());
                    return Err(format!("says something about an artifact (\"{other}\"), and does not sign it"));
                }
                let subjects = said["subject"].as_array().map(Vec::as_slice).unwrap_or_default();
                let digest =
                    |subject: &Json| format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap_or_default());
                let [subject] = subjects else { return Err("is not for one artifact".to_owned()) };
                let annotated = subject["annotations"]["repository"].as_str();
                (vec![digest(subject)], subject["name"].as_str().filter(|name| !name.is_empty()).or(annotated))
            }
        };
        let wanted = manifest.to_string();
        if let Some(other) = digests.iter().find(|digest| **digest != wanted) {
            return Err(format!("is for {}", shown(other)));
        }
        match named.filter(|named| !named.is_empty()).map(bare) {
            Some(named) if named == repository => Ok(()),
            Some(other) => Err(format!("is for the repository {}", shown(other))),
            None => Err("says no repository".to_owned()),
        }
    }
}

/// A repository without a tag or a digest.
fn bare(named: &str) -> &str {
    let named = named.split('@').next().unwrap_or_default();
    match named.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => named,
    }
}

/// What is signed of a statement (DSSE, "PAE").
fn before_signing(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {STATEMENT_TYPE} {} ", STATEMENT_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// What simple signing says.
pub(crate) fn payload_of(manifest: &Digest, repository: &str) -> Vec<u8> {
    let said = json!({
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": manifest.to_string()},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    said.to_string().into_bytes()
}

/// What was found of signatures, with an end to how much of it there can be.
#[derive(Default)]
struct Found {
    signatures: Vec<Signature>,
    /// What was asked for: each thing once, however often it is named.
    asked: BTreeSet<Digest>,
    /// What simple signing says, by its digest, in base64: several may have signed the same.
    payloads: BTreeMap<Digest, String>,
}

impl Found {
    fn add(&mut self, signature: Signature) {
        let is_new = |known: &Signature| {
            (&known.payload, &known.signature, known.form) != (&signature.payload, &signature.signature, signature.form)
        };
        if self.signatures.len() < MOST && self.signatures.iter().all(is_new) {
            self.signatures.push(signature);
        }
    }

    /// Whether something is asked for, which it is once.
    fn asks(&mut self, digest: &Digest) -> bool {
        self.signatures.len() < MOST && self.asked.len() < ASKED && self.asked.insert(digest.clone())
    }
}

/// All signatures of a manifest, of both places. What is broken in one of them is no signature, and hides no good one: anybody
/// who may push may put something beside a manifest.
///
/// # Errors
/// The registry cannot be asked, or refuses, and has shown none until then. That it has none is no error.
pub(crate) async fn fetch(repository: &mut Repository<'_>, manifest: &Digest) -> Result<Vec<Signature>> {
    let mut found = Found::default();
    let below_tag = below_tag(repository, manifest, &mut found).await;
    let referring = referring(repository, manifest, &mut found).await;
    let is_told = |error: &Error| matches!(error, Error::Away(_) | Error::Denied(_));
    let why = [below_tag.err(), referring.err()].into_iter().flatten().find(is_told);
    match why.filter(|_| found.signatures.is_empty()) {
        Some(error) => Err(error),
        None => Ok(found.signatures),
    }
}

async fn below_tag(repository: &mut Repository<'_>, manifest: &Digest, found: &mut Found) -> Result<()> {
    let tag = tag_of(manifest);
    let sent = repository.manifest(&tag).await?;
    let read = Manifest::read(&sent.bytes, &format!("{}:{tag}", repository.reference.repository()))?;
    simple(repository, &read, &tag, found).await
}

async fn referring(repository: &mut Repository<'_>, manifest: &Digest, found: &mut Found) -> Result<()> {
    let Some(index) = repository.referrers(manifest).await? else { return Ok(()) };
    let all = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut away = Ok(());
    for entry in all.iter().filter(|entry| may_sign(entry)) {
        let Some(entry) = descriptor(entry) else { continue };
        if let Err(error @ Error::Away(_)) = of_referrer(repository, &entry.digest, found).await {
            away = Err(error);
        }
    }
    away
}

async fn of_referrer(repository: &mut Repository<'_>, referrer: &Digest, found: &mut Found) -> Result<()> {
    if !found.asks(referrer) {
        return Ok(());
    }
    let sent = repository.manifest(&referrer.to_string()).await?;
    let read = Manifest::read(&sent.bytes, &format!("{}@{referrer}", repository.reference.repository()))?;
    simple(repository, &read, "by referrers", found).await?;
    for layer in read.layers.iter().filter(|layer| layer.media_type.starts_with(BUNDLE)).take(1) {
        bundle(repository, layer, found).await?;
    }
    Ok(())
}

/// The tag that signatures of a manifest lie below.
pub(crate) fn tag_of(manifest: &Digest) -> String {
    format!("sha256-{}.sig", manifest.hex())
}

/// Whether an entry of an index may be a signature. Below the fallback's tag some do not say what they are; then their own
/// manifest does.
fn may_sign(entry: &Json) -> bool {
    let kind = entry["artifactType"].as_str().unwrap_or_default();
    let is_meant = kind.is_empty() || kind == SIMPLE_REFERRER || kind.starts_with(BUNDLE);
    is_meant && entry["annotations"][PREDICATE].as_str().is_none_or(|predicate| predicate == SIGNS)
}

async fn simple(repository: &mut Repository<'_>, manifest: &Manifest, place: &str, found: &mut Found) -> Result<()> {
    let layers = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_TYPE && layer.size <= PAYLOAD_SIZE);
    let mut away = Ok(());
    for layer in layers {
        let Some(signature) = layer.annotations[SIGNATURE].as_str().filter(|text| text.len() <= 1024) else { continue };
        if found.asks(&layer.digest) {
            match repository.blob(&layer.digest, layer.size).await {
                Ok(payload) => _ = found.payloads.insert(layer.digest.clone(), STANDARD.encode(&payload)),
                Err(error @ Error::Away(_)) => away = Err(error),
                // Another layer may be good.
                Err(_) => {}
            }
        }
        if let Some(payload) = found.payloads.get(&layer.digest).cloned() {
            let (signature, place) = (signature.to_owned(), place.to_owned());
            found.add(Signature { form: SignatureForm::Simple, payload, signature, place });
        }
    }
    away
}

/// The signature of a bundle (sigstore's `bundle.v0.3`), where it is one of a statement.
async fn bundle(repository: &mut Repository<'_>, layer: &Descriptor, found: &mut Found) -> Result<()> {
    if layer.size > BUNDLE_SIZE || !found.asks(&layer.digest) {
        return Ok(());
    }
    let bytes = repository.blob(&layer.digest, layer.size).await?;
    let read: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    for signature in of_envelope(&read["dsseEnvelope"]) {
        found.add(signature);
    }
    Ok(())
}

/// The signatures of an envelope (DSSE). A statement of what is in an artifact may be long; one that signs it is short.
fn of_envelope(envelope: &Json) -> impl Iterator<Item = Signature> {
    let payload = envelope["payload"].as_str().filter(|payload| payload.len() <= PAYLOAD_SIZE / 3 * 4);
    let payload = payload.filter(|_| envelope["payloadType"] == STATEMENT_TYPE);
    let signatures = payload.and_then(|_| envelope["signatures"].as_array()).into_iter().flatten().take(MOST);
    let signatures = signatures.filter_map(|signature| signature["sig"].as_str()).filter(|text| text.len() <= 1024);
    signatures.map(move |signature| Signature {
        form: SignatureForm::Statement,
        payload: payload.unwrap_or_default().to_owned(),
        signature: signature.to_owned(),
        place: "by referrers".to_owned(),
    })
}

#[cfg(test)]
mod tests;
