//! TLS in front: certificates by name, certificates of clients, and tickets with which a client comes back.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::words::of_tls;
use super::{HTTP1, HTTP2, IMAP, POP3, SIEVE, SMTP, certificates, private_key, provider};
use crate::config::{self, ClientAuth, Collector, Fault, Faults, Protocol};

/// Seals and opens what a ticket holds.
pub trait Tickets: std::fmt::Debug + Send + Sync {
    /// Only [`Tickets::open`] of somebody with the same keys can read it.
    fn seal(&self, plain: &[u8]) -> Vec<u8>;
    /// What was sealed; nothing of what was not.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// TLS settings of a listener, or none when it has no certificates.
///
/// # Errors
/// The certificate that cannot be read, or whose key does not fit.
pub fn server(listener: &config::Listener, tickets: &Arc<dyn Tickets>) -> Result<Option<Arc<ServerConfig>>, Faults> {
    if listener.certificates.is_empty() {
        return Ok(None);
    }
    let faults = Collector::default();
    let mut by_name = HashMap::new();
    let mut default = None;
    for certificate in &listener.certificates {
        let key = faults.keep(certified_key(certificate).map_err(Faults::from));
        let Some(key) = key.map(Arc::new) else { continue };
        for name in &certificate.names {
            by_name.insert(name.to_ascii_lowercase(), key.clone());
        }
        default = default.or(Some(key));
    }
    let versions = if listener.tls.only_1_3 { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
    let client_auth = faults.keep(client_auth(&listener.tls).map_err(Faults::from));
    faults.finish()?;
    let Some((verifier, context)) = client_auth else { return Err(Faults::default()) };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| listener.place.fault(of_tls(&error), "a usable TLS set-up"))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName { by_name, default }));
    config.alpn_protocols = match listener.protocol {
        Protocol::Http => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        // A browser that is led here by somebody else's name offers HTTP only, and is refused (ALPACA, USENIX Security 2021).
        Protocol::Imap => vec![IMAP.to_vec()],
        Protocol::Pop3 => vec![POP3.to_vec()],
        Protocol::Sieve => vec![SIEVE.to_vec()],
        Protocol::Submission => vec![SMTP.to_vec()],
    };
    config.ticketer = Arc::new(Ticketer { tickets: tickets.clone(), context });
    // No early data: whoever records a request could send it again (RFC 8446, section 8).
    config.max_early_data_size = 0;
    Ok(Some(Arc::new(config)))
}

/// What checks clients' certificates, and a digest of what they are checked by.
fn client_auth(tls: &config::ListenerTls) -> Result<(Arc<dyn ClientCertVerifier>, [u8; 32]), Fault> {
    let (Some(path), false) = (&tls.client_ca, tls.client_auth == ClientAuth::Off) else {
        return Ok((Arc::new(NoClientAuth), Sha256::digest(b"no client certificates").into()));
    };
    let fault = |error: String| {
        tls.place.key("client-ca").fault(format!("{}: {error}", path.display()), "a PEM file of authorities")
    };
    let (mut roots, mut digest) = (RootCertStore::empty(), Sha256::new_with_prefix([tls.client_auth as u8]));
    for certificate in certificates(path).map_err(fault)? {
        digest.update(&certificate);
        roots.add(certificate).map_err(|error| fault(of_tls(&error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if tls.client_auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
    let verifier = builder.build().map_err(|error| fault(error.to_string()))?;
    Ok((verifier, digest.finalize().into()))
}

fn certified_key(certificate: &config::Certificate) -> Result<CertifiedKey, Fault> {
    let fault = |key: &str, path: &Path, what: String| {
        certificate
            .place
            .key(key)
            .fault(format!("{}: {what}", path.display()), if key == "ocsp" { "a DER file" } else { "a PEM file" })
    };
    let chain = certificates(&certificate.chain).map_err(|error| fault("chain", &certificate.chain, error))?;
    let key = private_key(&certificate.key).map_err(|error| fault("key", &certificate.key, error))?;
    // `from_der` compares both, where that can be done.
    let mut key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        Error::InvalidCertificate(_) => fault("chain", &certificate.chain, of_tls(&error)),
        error => fault("key", &certificate.key, of_tls(&error)),
    })?;
    if let Some(path) = &certificate.ocsp {
        let response = std::fs::read(path).map_err(|error| fault("ocsp", path, error.to_string()))?;
        // An OCSPResponse is a SEQUENCE (RFC 6960, section 4.2.1); what it says is for browsers to judge.
        if response.first() != Some(&0x30) {
            return Err(fault("ocsp", path, "no OCSP response in DER".to_owned()));
        }
        key.ocsp = Some(response);
    }
    key.keys_match().map_err(|error| fault("key", &certificate.key, of_tls(&error)))?;
    Ok(key)
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

/// Tickets of one listener. They name what clients' certificates were checked by, so that none that was got at one
/// listener opens another that asks for other certificates. (For the server name, rustls sees to that.)
#[derive(Debug)]
struct Ticketer {
    tickets: Arc<dyn Tickets>,
    context: [u8; 32],
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    /// 12 hours: a day's work begins with one full handshake. Random keys live that long.
    fn lifetime(&self) -> u32 {
        12 * 60 * 60
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(self.tickets.seal(&[&self.context, plain].concat()))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open(cipher)?.strip_prefix(&self.context).map(<[u8]>::to_vec)
    }
}

/// The subject of a certificate as text (RFC 4514), in ASCII: whatever a name may not say plainly is escaped.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names: Vec<_> = certificate.subject().iter_rdn().collect();
    let mut text = String::new();
    for (at, name) in names.iter().rev().enumerate() {
        for (part, pair) in name.iter().enumerate() {
            match (at, part) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            let identifier = pair.attr_type().to_id_string();
            let known = SHORT.iter().find(|(of, _)| *of == identifier).map(|(_, short)| *short);
            text.push_str(known.unwrap_or(&identifier));
            text.push('=');
            escape(&mut text, pair.as_slice());
        }
    }
    Some(text)
}

/// The short names of RFC 4514, section 3.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

fn escape(text: &mut String, value: &[u8]) {
    for byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'@' | b'/' | b':' => {
                text.push(char::from(*byte))
            }
            // A space is plain only between others; escaped it is right everywhere.
            _ => drop(write!(text, "\\{byte:02X}")),
        }
    }
}
