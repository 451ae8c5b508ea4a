//! Names of artifacts: `registry.example.com/mail/access:1.4`, `…@sha256:…`.

use std::fmt;

use crate::Digest;

/// Where an artifact is, and which one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry: its host, and its port where it is no usual one.
    pub registry: String,
    /// The repository in it.
    pub name: String,
    /// The tag, where one is written.
    pub tag: Option<String>,
    /// The digest of the manifest, where one is written.
    pub digest: Option<Digest>,
}

/// What is expected, for faults.
pub const EXPECTED: &str = "\"oci://REGISTRY/NAME:TAG\" or \"oci://REGISTRY/NAME@sha256:DIGEST\", such as \"oci://registry.example.com/mail/access:1.4\"";

/// No registry takes a longer name.
const NAME_SIZE: usize = 255;
const TAG_SIZE: usize = 128;

impl Reference {
    /// Reads `REGISTRY/NAME:TAG`, `REGISTRY/NAME@sha256:…` or both, with or without `oci://` before it. A reference without
    /// tag and digest is none: "latest" is nothing that an operator means by leaving it out.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (registry, rest) = text.split_once('/')?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (rest, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        if tag.is_none() && digest.is_none() {
            return None;
        }
        let right = is_registry(registry) && is_name(name) && tag.is_none_or(is_tag);
        right.then(|| Self {
            registry: registry.to_ascii_lowercase(),
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The repository with its registry: `registry.example.com/mail/access`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.name)
    }

    /// The same artifact by its digest.
    #[must_use]
    pub fn at(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    // A host that is no address has a dot or a port, or it is this machine: "mail/access:1" names no registry.
    let is_plain = host == "localhost" || host.contains('.') || host.starts_with('[') || port.is_some();
    is_plain && port.is_none_or(is_port) && doorward_wire::host::host_name(host).is_some()
}

/// Parts of lower case letters and digits, joined by `.`, `_`, `__` or dashes (OCI distribution, "Pulling manifests").
fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (first, last) = (part.bytes().next(), part.bytes().next_back());
        first.is_some_and(inner)
            && last.is_some_and(inner)
            && part.bytes().all(|byte| inner(byte) || matches!(byte, b'.' | b'_' | b'-'))
            && !part.contains("..")
            && !part.contains("___")
    };
    text.len() <= NAME_SIZE && text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_SIZE
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_shown_alike() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in [
            "registry.example.com/mail/access:1.4".to_owned(),
            "localhost:5000/a:b".to_owned(),
            "[::1]:5000/a/b-c__d.e:V_1".to_owned(),
            format!("127.0.0.1:5000/access@{digest}"),
            format!("ghcr.io/x/y:1@{digest}"),
        ] {
            assert_eq!(Reference::parse(&format!("oci://{text}")).unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "a",
            "mail/access:1",
            "registry.example.com/access",
            "registry.example.com/:1",
            "r.example/a//b:1",
            "r.example/A:1",
            "r.example/a:",
            "r.example/a:-1",
            "r.example/../a:1",
            "r.example/a@sha256:12",
            "r.example/a@md5:12",
            "r.example:0/a:1",
            "r.example/a b:1",
            "user@r.example/a:1",
            "r.example/a:1?x",
        ] {
            assert_eq!(Reference::parse(wrong), None, "{wrong}");
        }
    }
}
