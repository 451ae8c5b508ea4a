//! Files that pages refer to.

use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};

use crate::own_path::OwnPath;
use crate::text::hex;

/// A file that pages refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
    /// What tells this version from others (RFC 9110, section 8.8.3).
    pub tag: String,
}

impl Asset {
    /// A file of this media type.
    pub fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        let tag = hex(&Sha256::digest(&bytes)[..8]);
        Self { media_type, bytes: bytes.into(), tag: format!("\"{tag}\"") }
    }

    /// What tells this version from others, in an address.
    pub fn version(&self) -> &str {
        self.tag.trim_matches('"')
    }

    /// The address of this version.
    pub(super) fn address(&self, path: OwnPath<'_>) -> String {
        format!("{}?v={}", path.path(), self.version())
    }
}

/// The media type of a file, by the end of its name.
pub(super) fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "jpg" | "jpeg" => "image/jpeg",
        "txt" => "text/plain; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "xml" => "application/xml",
        "webp" => "image/webp",
        _ => return None,
    })
}
