//! Certificates by name for browsers, and trust in nodes and directory servers.

mod client;
mod dates;
mod server;
mod words;

use std::path::Path;
use std::sync::Arc;

use rustls::ProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use client::{client, system_authorities, to_log_host, to_node};
pub use dates::{authorities_trouble, chain_end, chain_trouble, covers, names};
pub use server::{Tickets, server, subject};
pub use words::words;

/// HTTP/1.1 and HTTP/2, as a handshake names them (ALPN, RFC 7301).
pub const HTTP1: &[u8] = b"http/1.1";
/// See [`HTTP1`].
pub const HTTP2: &[u8] = b"h2";

/// IMAP and POP3, as IANA's registry of ALPN has them.
pub const IMAP: &[u8] = b"imap";
/// See [`IMAP`].
pub const POP3: &[u8] = b"pop3";
/// See [`IMAP`].
pub const SIEVE: &[u8] = b"managesieve";
/// What programs and servers of SMTP call it; the registry has no name for it.
pub const SMTP: &[u8] = b"smtp";

/// The one cryptography of the process, in front and towards nodes and directory. It prefers the hybrid of X25519 and
/// ML-KEM-768, which a quantum computer does not break (docs/decisions/0011).
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A version of TLS as it is told.
pub fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wanted = "certificate";
    let told = |error| words::of_pem(&error, wanted);
    let chain: Vec<_> = CertificateDer::pem_file_iter(path).map_err(told)?.collect::<Result<_, _>>().map_err(told)?;
    if chain.is_empty() { Err(format!("no {wanted} in it")) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| words::of_pem(&error, "private key"))
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    #[test]
    fn the_hybrid_key_exchange_is_offered_first_and_the_usual_ones_behind_it() {
        let groups: Vec<NamedGroup> = super::provider().kx_groups.iter().map(|group| group.name()).collect();
        let expected = [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];
        assert_eq!(groups[..4], expected);
    }
}
