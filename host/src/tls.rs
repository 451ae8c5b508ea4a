//! Certificates by name for browsers, and trust in nodes and directory servers.

mod client;
mod dates;
mod server;
mod words;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use client::{client, system_authorities, to_node};
pub use dates::{authorities_trouble, chain_trouble, covers, names};
pub use server::{Tickets, server, subject};
pub use words::words;

/// The one cryptography of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
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
