//! TLS towards nodes and directory servers: whom to trust, and what to show.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, SupportedProtocolVersion};

use super::words::of_tls;
use super::{certificates, private_key, provider};
use crate::config::{self, Fault, Place};

/// TLS towards a server, trusting `ca` or else the system's authorities.
///
/// # Errors
/// What is wrong with the file, as a fault at `place`.
pub fn client(ca: Option<&Path>, insecure: bool, place: &Place) -> Result<Arc<ClientConfig>, Fault> {
    let tls = config::Tls { ca: ca.map(Path::to_owned), insecure, ..config::Tls::default() };
    build(&tls, place).map(Arc::new)
}

/// TLS towards a node which speaks `protocol` (ALPN, RFC 7301).
///
/// # Errors
/// What is wrong with a file, as a fault at `place`.
pub fn to_node(tls: &config::Tls, protocol: &[u8], place: &Place) -> Result<Arc<ClientConfig>, Fault> {
    let mut config = build(tls, place)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// TLS towards a log host.
///
/// # Errors
/// What is wrong with a file, as a fault at `place`.
pub fn to_log_host(tls: &config::Tls, place: &Place) -> Result<Arc<ClientConfig>, Fault> {
    build(tls, place).map(Arc::new)
}

fn build(tls: &config::Tls, place: &Place) -> Result<ClientConfig, Fault> {
    let versions: &[&SupportedProtocolVersion] = if tls.only_1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| place.fault(of_tls(&error), "a usable TLS set-up"))?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider())))
    } else {
        builder.with_root_certificates(roots(tls.ca.as_deref(), place)?)
    };
    let (Some(chain), Some(key)) = (&tls.certificate, &tls.key) else { return Ok(builder.with_no_client_auth()) };
    let fault = |name: &str, path: &Path, error: String| {
        place.key(name).fault(format!("{}: {error}", path.display()), "a PEM file")
    };
    let certificates = certificates(chain).map_err(|error| fault("certificate", chain, error))?;
    let private = private_key(key).map_err(|error| fault("key", key, error))?;
    builder.with_client_auth_cert(certificates, private).map_err(|error| match error {
        Error::InvalidCertificate(_) => fault("certificate", chain, of_tls(&error)),
        error => fault("key", key, of_tls(&error)),
    })
}

/// The authorities that this system trusts, as they are now.
pub fn system_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

fn roots(ca: Option<&Path>, place: &Place) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let fault = |error: String| {
                place.key("ca").fault(format!("{}: {error}", path.display()), "a PEM file of authorities")
            };
            let (taken, _) = roots.add_parsable_certificates(certificates(path).map_err(fault)?);
            if taken == 0 {
                return Err(fault("no certificate of an authority in it".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(system_authorities());
        }
    }
    Ok(roots)
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
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
