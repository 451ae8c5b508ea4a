//! A certificate that nobody signed but its own key: so that the first start is encrypted.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use zeroize::Zeroizing;

/// A year, as browsers allow.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate for these hosts, and its key, both as PEM.
///
/// # Errors
/// A name that no certificate can have.
pub(super) fn self_signed(hosts: &[String]) -> anyhow::Result<(String, Zeroizing<String>)> {
    let names: Vec<String> = match hosts {
        [host] if host == "*" => vec!["localhost".to_owned()],
        hosts => hosts.iter().filter(|host| *host != "*").cloned().collect(),
    };
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0].clone());
    let now = SystemTime::now();
    // The clocks of browsers are not all right.
    params.not_before = (now - Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + LIFETIME).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}
