//! Manifests of OCI images and artifacts, and what in them is a policy.

use std::io::Read as _;

use serde_json::{Value as Json, json};

use crate::Digest;
use crate::error::{Error, Result};

pub(crate) const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
pub(crate) const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// A component may be so large.
pub const COMPONENT_SIZE: usize = 64 << 20;
/// Configurations of artifacts are a few hundred bytes.
pub(crate) const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const LAYER_TYPE: &str = "application/wasm";
/// Kubewarden's, and Istio's for artifacts.
const KUBEWARDEN_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// Istio's for images: an archive with one file in it.
const ARCHIVES: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
];
const ARCHIVED: &str = "plugin.wasm";

/// Something that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: usize,
    pub(crate) annotations: Json,
}

/// A manifest.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) layers: Vec<Descriptor>,
    annotations: Json,
}

/// How a component lies in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// As `plugin.wasm` in a tar archive, which may be compressed.
    Archive,
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, said of this place.
    pub(crate) fn read(bytes: &[u8], place: &str) -> Result<Self> {
        let wrong = |what: String| Error::Wrong(format!("{place}: {what}"));
        let json: Json =
            serde_json::from_slice(bytes).map_err(|error| wrong(format!("a manifest that is no JSON: {error}")))?;
        let is_index = json["mediaType"].as_str().is_some_and(|kind| INDEX_TYPES.contains(&kind));
        if is_index || json["manifests"].is_array() {
            return Err(wrong("an index of several manifests, where a policy has one".to_owned()));
        }
        let layers = json["layers"].as_array().ok_or_else(|| wrong("a manifest without layers".to_owned()))?;
        let layers = layers
            .iter()
            .map(|layer| descriptor(layer).ok_or_else(|| wrong("a layer without a sha256 and a size".to_owned())));
        Ok(Self { layers: layers.collect::<Result<_>>()?, annotations: json["annotations"].clone() })
    }

    /// The layer that holds a component.
    ///
    /// # Errors
    /// There is none, there are several, or it is too large.
    pub(crate) fn component(&self, place: &str) -> Result<(&Descriptor, Form)> {
        let form = |layer: &Descriptor| match layer.media_type.as_str() {
            LAYER_TYPE | KUBEWARDEN_LAYER => Some(Form::Plain),
            other if ARCHIVES.contains(&other) => Some(Form::Archive),
            _ => None,
        };
        let found: Vec<_> = self.layers.iter().filter_map(|layer| Some((layer, form(layer)?))).collect();
        match &found[..] {
            [(layer, form)] if layer.size <= COMPONENT_SIZE => Ok((*layer, *form)),
            [(layer, _)] => Err(Error::Wrong(format!(
                "{place}: a component of {} bytes, and {COMPONENT_SIZE} are taken",
                layer.size
            ))),
            [] => {
                let types: Vec<&str> = self.layers.iter().map(|layer| layer.media_type.as_str()).take(4).collect();
                let types = types.join(", ").escape_debug().to_string();
                Err(Error::Wrong(format!(
                    "{place}: no layer with WebAssembly ({LAYER_TYPE}, {KUBEWARDEN_LAYER}, or a tar with {ARCHIVED}), but {types}"
                )))
            }
            several => {
                Err(Error::Wrong(format!("{place}: {} layers with WebAssembly, where a policy has one", several.len())))
            }
        }
    }

    /// The version that it says it has.
    pub(crate) fn version(&self) -> Option<&str> {
        let version = self.annotations["org.opencontainers.image.version"].as_str();
        version
            .filter(|version| (1..=128).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_graphic()))
    }
}

/// The component of a layer.
///
/// # Errors
/// An archive is broken, too large, or has none in it.
pub(crate) fn unpacked(layer: &[u8], form: Form, place: &str) -> Result<Vec<u8>> {
    if form == Form::Plain {
        return Ok(layer.to_vec());
    }
    let wrong = |what: String| Error::Wrong(format!("{place}: {what}"));
    let mut unzipped = Vec::new();
    // By its bytes: some say that they compress and do not.
    let archive = if layer.starts_with(&[0x1f, 0x8b]) {
        let room = COMPONENT_SIZE as u64 + (1 << 20);
        let read = flate2::read::GzDecoder::new(layer).take(room).read_to_end(&mut unzipped);
        read.map_err(|error| wrong(format!("a layer that cannot be unpacked: {error}")))?;
        if unzipped.len() as u64 == room {
            return Err(wrong(format!("a layer that unpacks to more than {room} bytes")));
        }
        &unzipped[..]
    } else {
        layer
    };
    let found = doorward_wire::tar::file(archive, ARCHIVED).map_err(|error| wrong(error.to_owned()))?;
    let found = found.ok_or_else(|| wrong(format!("an archive without {ARCHIVED}")))?;
    if found.len() > COMPONENT_SIZE {
        return Err(wrong(format!("a component of {} bytes, and {COMPONENT_SIZE} are taken", found.len())));
    }
    Ok(found.to_vec())
}

pub(crate) fn descriptor(json: &Json) -> Option<Descriptor> {
    Some(Descriptor {
        media_type: json["mediaType"].as_str()?.to_owned(),
        digest: Digest::parse(json["digest"].as_str()?)?,
        size: usize::try_from(json["size"].as_u64()?).ok()?,
        annotations: json["annotations"].clone(),
    })
}

/// A manifest of our own.
pub(crate) fn written(config_type: &str, config: &[u8], layers: Vec<Json>, annotations: Json) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": {"mediaType": config_type, "digest": Digest::of(config).to_string(), "size": config.len()},
        "layers": layers,
    });
    if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
        manifest["annotations"] = annotations;
    }
    manifest.to_string().into_bytes()
}
