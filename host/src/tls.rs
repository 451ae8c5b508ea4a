//! Certificates by name for browsers, and trust in nodes and directory servers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::{self, Fault, Place};

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

/// TLS towards a node or a directory server, trusting `ca` or else the system's authorities.
///
/// # Errors
/// What is wrong with the file, as a fault at `place`.
pub fn client(ca: Option<&Path>, insecure: bool, place: &Place) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let found = certificates(path)
                .map_err(|error| place.key("ca").fault(format!("{}: {error}", path.display()), "a PEM file"))?;
            roots.add_parsable_certificates(found);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| place.fault(error.to_string(), "a usable TLS set-up"))?;
    let config = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider()))).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    Ok(Arc::new(config))
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

/// `insecure = true`: any certificate will do. The operator wrote it, and the log says so at each load.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
