//! Credentials for registries, in the form of Docker's `config.json`, which `docker login`, `podman login` and `oras login`
//! write: read when they are needed, wiped when they are not any more, and shown nowhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use zeroize::Zeroizing;

/// No such file is larger.
const LARGEST: u64 = 1 << 20;

/// Who somebody is at some registries.
#[derive(Default)]
pub struct Credentials(Vec<(String, Zeroizing<String>)>);

impl Credentials {
    /// Reads a file: `{"auths": {"registry.example.com": {"auth": "base64 of NAME:PASSWORD"}}}`, or with `username` and
    /// `password`.
    ///
    /// # Errors
    /// What is wrong with it, in words without what it holds.
    pub fn read(path: &Path) -> Result<Self, String> {
        let of_file = || {
            let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
            if !metadata.is_file() || metadata.len() > LARGEST {
                return Err("no regular file of at most 1 MiB".to_owned());
            }
            let text = Zeroizing::new(std::fs::read(path).map_err(|error| error.to_string())?);
            Self::parse(&text)
        };
        of_file().map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(text).map_err(|error| format!("line {}: no JSON", error.line()))?;
        let auths = json["auths"].as_object().ok_or("no \"auths\", as docker's config.json has it")?;
        let mut all = Vec::new();
        for (registry, said) in auths {
            let host = registry.trim_start_matches("https://").trim_start_matches("http://");
            let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
            let basic = match (said["auth"].as_str(), said["username"].as_str(), said["password"].as_str()) {
                (Some(auth), ..) if !auth.is_empty() => Zeroizing::new(auth.to_owned()),
                (_, Some(name), Some(password)) => {
                    Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("{name}:{password}")).as_bytes()))
                }
                _ => return Err(format!("\"{host}\" has no \"auth\", and no \"username\" and \"password\"")),
            };
            let decoded = STANDARD.decode(basic.as_bytes()).map(Zeroizing::new);
            if !decoded.is_ok_and(|decoded| decoded.contains(&b':')) {
                return Err(format!("the \"auth\" of \"{host}\" is no base64 of NAME:PASSWORD"));
            }
            all.push((host, basic));
        }
        Ok(Self(all))
    }

    /// What is said to a registry: base64 of name and password.
    pub(crate) fn of(&self, registry: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == registry).map(|(_, basic)| basic.as_str())
    }
}

impl std::fmt::Debug for Credentials {
    /// The registries only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(registry, _)| registry)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_is_shown() {
        let text = br#"{"auths": {"https://A.test/v1/": {"auth": "bmFtZTpwYXNz"}, "b.test:5000": {"username": "n", "password": "geheim"}}}"#;
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(credentials.of("a.test"), Some("bmFtZTpwYXNz"));
        assert_eq!(credentials.of("b.test:5000"), Some("bjpnZWhlaW0="));
        assert_eq!(credentials.of("b.test"), None);
        let shown = format!("{credentials:?}");
        assert!(shown.contains("b.test:5000") && !shown.contains("geheim") && !shown.contains("bmFt"), "{shown}");
        for wrong in [
            "{}",
            "{\"auths\": {\"a\": {}}}",
            "{\"auths\": {\"a\": {\"auth\": \"geheim\"}}}",
            "{\"auths\": {\"a\": geheim}}",
        ] {
            let error = Credentials::parse(wrong.as_bytes()).unwrap_err();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
