//! Pushing: components as artifacts, and signatures beside them. What authors type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value as Json, json};

use crate::client::{Client, MANIFEST_SIZE, Repository, refusal};
use crate::error::{Error, Result};
use crate::http::shown;
use crate::manifest::{CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPES, written};
use crate::signatures::{SIGNATURE, SIMPLE_TYPE, payload_of, tag_of};
use crate::{Digest, PrivateKey, Reference};

impl Client {
    /// Pushes a component as a Wasm OCI artifact, and gives the digest of its manifest.
    ///
    /// # Errors
    /// The registry does not take it.
    pub fn push(&self, reference: &Reference, component: Vec<u8>, version: Option<&str>) -> Result<Digest> {
        let tag = reference.tag.clone();
        let tag = tag.ok_or_else(|| Error::Wrong(format!("{reference}: a tag is needed to push to")))?;
        let version = version.unwrap_or(&tag).to_owned();
        self.run(reference, "pull,push", move |mut repository| async move {
            // As the Wasm working group of the CNCF has it.
            let layer = Digest::of(&component);
            let config = json!({
                "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.to_string()],
                "component": {"exports": [], "imports": []},
            });
            let config = config.to_string().into_bytes();
            let layers = vec![json!({"mediaType": LAYER_TYPE, "digest": layer.to_string(), "size": component.len()})];
            let annotations = json!({"org.opencontainers.image.version": version});
            let manifest = written(CONFIG_TYPE, &config, layers, annotations);
            repository.put_blob(&layer, component.into()).await?;
            repository.put_blob(&Digest::of(&config), config.into()).await?;
            repository.put_manifest(&tag, manifest).await
        })
    }

    /// Signs what a reference points to, as cosign does it: below the tag `sha256-….sig`, beside what others have signed.
    /// Gives the digest that was signed.
    ///
    /// # Errors
    /// There is nothing to sign, or the registry does not take it.
    pub fn sign(&self, reference: &Reference, key: &PrivateKey) -> Result<Digest> {
        self.run(reference, "pull,push", |mut repository| async move {
            let which = reference.digest.as_ref().map(Digest::to_string).or_else(|| reference.tag.clone());
            let digest = repository.manifest(&which.unwrap_or_default()).await?.digest;
            let payload = payload_of(&digest, &reference.repository());
            let signature = key.sign(&payload).map_err(Error::Wrong)?;
            let tag = tag_of(&digest);
            let mut layers = match repository.manifest(&tag).await {
                Ok(sent) => {
                    let read: Json = serde_json::from_slice(&sent.bytes).unwrap_or_default();
                    // Written anew, it would be without what others have signed.
                    read["layers"].as_array().cloned().ok_or_else(|| {
                        Error::Wrong(format!("{}:{tag}: no manifest of signatures", reference.repository()))
                    })?
                }
                Err(Error::NotFound(_)) => Vec::new(),
                Err(error) => return Err(error),
            };
            layers.push(json!({
                "mediaType": SIMPLE_TYPE, "digest": Digest::of(&payload).to_string(), "size": payload.len(),
                "annotations": {SIGNATURE: STANDARD.encode(signature)},
            }));
            let diff_ids: Vec<&Json> = layers.iter().map(|layer| &layer["digest"]).collect();
            let config = json!({
                "architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
            });
            let config = config.to_string().into_bytes();
            let manifest = written("application/vnd.oci.image.config.v1+json", &config, layers, Json::Null);
            repository.put_blob(&Digest::of(&payload), payload.into()).await?;
            repository.put_blob(&Digest::of(&config), config.into()).await?;
            repository.put_manifest(&tag, manifest).await?;
            Ok(digest)
        })
    }
}

impl Repository<'_> {
    async fn put_blob(&mut self, digest: &Digest, bytes: Bytes) -> Result<()> {
        let url = self.url("blobs/uploads/")?;
        let place = shown(&url);
        let begun = self.request(Method::POST, url.clone(), Vec::new(), Bytes::new(), MANIFEST_SIZE).await?;
        if begun.status != StatusCode::ACCEPTED {
            return Err(refusal(begun.status, &place));
        }
        let to = begun.header("Location").and_then(|to| url.join(to).ok());
        let mut to = to.ok_or_else(|| Error::Wrong(format!("{place}: it does not say where to upload to")))?;
        to.query_pairs_mut().append_pair("digest", &digest.to_string());
        let place = shown(&to);
        let headers = vec![("Content-Type", "application/octet-stream".to_owned())];
        let put = self.request(Method::PUT, to, headers, bytes, MANIFEST_SIZE).await?;
        if put.status == StatusCode::CREATED { Ok(()) } else { Err(refusal(put.status, &place)) }
    }

    async fn put_manifest(&mut self, tag: &str, manifest: Vec<u8>) -> Result<Digest> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let (place, digest) = (shown(&url), Digest::of(&manifest));
        let headers = vec![("Content-Type", MANIFEST_TYPES[0].to_owned())];
        let put = self.request(Method::PUT, url, headers, manifest.into(), MANIFEST_SIZE).await?;
        if put.status == StatusCode::CREATED { Ok(digest) } else { Err(refusal(put.status, &place)) }
    }
}
