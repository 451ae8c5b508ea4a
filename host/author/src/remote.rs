//! `push` and `sign`: a component becomes an artifact of a registry, and somebody vouches for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use doorward_registry::{COMPONENT_SIZE, Client, Credentials, EXPECTED, PrivateKey, Reference, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

use crate::outcome::{Stop, say};

/// A component of 64 MiB takes that long at 2 Mbit/s.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How a registry is reached.
#[derive(Debug, Args)]
struct Reach {
    /// File of names and passwords, as `docker login` writes it.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// File of the authorities that the registry's certificate is checked by [default: the system's].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Speak to the registry without TLS.
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The component.
    file: PathBuf,
    /// Where to: oci://REGISTRY/NAME:TAG.
    reference: String,
    /// The version that the artifact says it has [default: the tag].
    #[arg(long)]
    version: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// What is signed: oci://REGISTRY/NAME:TAG, or with @sha256:DIGEST.
    reference: String,
    /// The private key in PEM without a password, ECDSA P-256 or Ed25519, as `openssl genpkey` writes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Pushes.
///
/// # Errors
/// It is no component, or the registry does not take it.
pub(crate) fn push(push: &Push) -> Result<(), Stop> {
    let reference = reference(&push.reference)?;
    let client = client(&push.reach, &reference)?;
    let unusable = |what: String| Stop::Unusable(format!("{}: {what}", push.file.display()));
    let metadata = std::fs::metadata(&push.file).map_err(|error| unusable(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > COMPONENT_SIZE as u64 {
        return Err(unusable(format!("no regular file of at most {COMPONENT_SIZE} bytes")));
    }
    let bytes = std::fs::read(&push.file).map_err(|error| unusable(error.to_string()))?;
    if !wasmparser::Parser::is_component(&bytes) {
        return Err(Stop::Bad(format!("{}: no component; `doorward policy build` makes one", push.file.display())));
    }
    let digest =
        client.push(&reference, bytes, push.version.as_deref()).map_err(|error| Stop::Bad(error.to_string()))?;
    if push.json {
        say(&json!({"ok": true, "reference": reference.to_string(), "manifest": digest.to_string()}).to_string());
    } else {
        say(&format!("{reference} is {digest}"));
    }
    Ok(())
}

/// Signs.
///
/// # Errors
/// The key cannot be used, or the registry does not take the signature.
pub(crate) fn sign(sign: &Sign) -> Result<(), Stop> {
    let reference = reference(&sign.reference)?;
    let client = client(&sign.reach, &reference)?;
    let key = PrivateKey::read(&sign.key).map_err(Stop::Unusable)?;
    let digest = client.sign(&reference, &key).map_err(|error| Stop::Bad(error.to_string()))?;
    if sign.json {
        say(&json!({"ok": true, "reference": reference.to_string(), "manifest": digest.to_string()}).to_string());
    } else {
        say(&format!("{}: signed {digest}", reference.repository()));
    }
    Ok(())
}

fn reference(text: &str) -> Result<Reference, Stop> {
    Reference::parse(text).ok_or_else(|| Stop::Unusable(format!("\"{text}\": expected {EXPECTED}")))
}

fn client(reach: &Reach, reference: &Reference) -> Result<Client, Stop> {
    let credentials = reach.credentials.as_deref().map(Credentials::read).transpose().map_err(Stop::Unusable)?;
    let plain = if reach.plain_http { vec![reference.registry.clone()] } else { Vec::new() };
    let tls = Arc::new(tls(reach.ca.as_deref())?);
    let transport = Transport { tls, plain, inner: Vec::new(), timeout: TIMEOUT };
    Ok(Client { transport, credentials: credentials.unwrap_or_default() })
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, Stop> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unusable = |what: String| Stop::Unusable(format!("{}: {what}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
            let (taken, _) = roots.add_parsable_certificates(found.flatten());
            if taken == 0 {
                return Err(unusable("no certificate of an authority in it".to_owned()));
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Stop::Unusable(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
