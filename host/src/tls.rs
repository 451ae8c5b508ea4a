//! Certificates by name for browsers, and trust in nodes and directory servers.

mod client;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use client::{client, to_node};

use crate::config::{self, Fault};

/// The one cryptography of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS settings of a listener, or none when it has no certificates.
///
/// # Errors
/// The certificate that cannot be read, or whose key does not fit.
pub fn server(listener: &config::Listener) -> Result<Option<Arc<ServerConfig>>, Fault> {
    if listener.certificates.is_empty() {
        return Ok(None);
    }
    let mut by_name = HashMap::new();
    let mut default = None;
    for certificate in &listener.certificates {
        let key = Arc::new(certified_key(certificate)?);
        for name in &certificate.names {
            by_name.insert(name.to_ascii_lowercase(), key.clone());
        }
        default = default.or(Some(key));
    }
    let place = &listener.place;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| place.fault(error.to_string(), "a usable TLS set-up"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { by_name, default }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn certified_key(certificate: &config::Certificate) -> Result<CertifiedKey, Fault> {
    let fault = |key: &str, path: &Path, what: String| {
        certificate.place.key(key).fault(format!("{}: {what}", path.display()), "a PEM file")
    };
    let chain = certificates(&certificate.chain).map_err(|error| fault("chain", &certificate.chain, error))?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)
        .map_err(|error| fault("key", &certificate.key, error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| fault("key", &certificate.key, error.to_string()))?;
    key.keys_match().map_err(|error| fault("key", &certificate.key, error.to_string()))?;
    Ok(key)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?.collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("no certificate in it".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(error.to_string()),
    }
}

/// Chooses a certificate by the server name: exact, then wildcard, then the first of the listener.
#[derive(Debug)]
struct ByName {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let exact = hello.server_name().and_then(|name| {
            let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            self.by_name.get(name).or_else(|| self.by_name.get(&wildcard?))
        });
        exact.or(self.default.as_ref()).cloned()
    }
}
