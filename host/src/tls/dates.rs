//! What certificates say of themselves: until when they hold, and for which names.

use std::net::IpAddr;
use std::path::Path;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificates;

/// A certificate that holds for less than this is told of: automatic renewal comes weeks before, and a week is left to
/// mend it.
const SOON: i64 = 14 * 86_400;

/// Why the certificates of a chain hardly do, at a time in seconds since 1970; nothing of one that cannot be read, which
/// is a fault elsewhere.
pub fn chain_trouble(path: &Path, now: i64) -> Option<String> {
    let chain = certificates(path).ok()?;
    chain.iter().find_map(|certificate| trouble(certificate, now))
}

/// When the first certificate of a chain ends: seconds since 1970; nothing of a chain that cannot be read.
pub fn chain_end(path: &Path) -> Option<i64> {
    let chain = certificates(path).ok()?;
    let ends = chain.iter().filter_map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    ends.min()
}

/// Why authorities hardly do: when not one of them is good.
pub fn authorities_trouble(path: &Path, now: i64) -> Option<String> {
    let authorities = certificates(path).ok()?;
    let troubles = authorities.iter().map(|certificate| trouble(certificate, now)).collect::<Option<Vec<_>>>()?;
    troubles.into_iter().next()
}

fn trouble(certificate: &[u8], now: i64) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let subject = certificate.subject();
    if until < now {
        Some(format!("a certificate that has expired, on {} ({subject})", validity.not_after))
    } else if from > now {
        Some(format!("a certificate that is not valid before {} ({subject})", validity.not_before))
    } else if until - now < SOON {
        Some(format!(
            "a certificate that expires in {} days, on {} ({subject})",
            (until - now) / 86_400,
            validity.not_after
        ))
    } else {
        None
    }
}

/// The names that the first certificate of a chain is for; none of one that cannot be read.
pub fn names(path: &Path) -> Vec<String> {
    let chain = certificates(path).unwrap_or_default();
    let Some((_, leaf)) = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok()) else {
        return Vec::new();
    };
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok()
            .map(|address| address.to_string()),
        _ => None,
    });
    names.collect()
}

/// Whether a certificate with these names is for a host, or for all hosts of a wildcard (RFC 9525, section 6.3).
pub fn covers(names: &[String], host: &str) -> bool {
    let above = host.split_once('.').map(|(_, above)| format!("*.{above}"));
    names.iter().any(|name| name == host || Some(name) == above.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_takes_the_place_of_one_label() {
        let names = ["mail.a.test".to_owned(), "*.b.test".to_owned()];
        for (host, covered) in [
            ("mail.a.test", true),
            ("x.a.test", false),
            ("x.b.test", true),
            ("*.b.test", true),
            ("b.test", false),
            ("x.y.b.test", false),
            ("*.y.b.test", false),
        ] {
            assert_eq!(covers(&names, host), covered, "{host}");
        }
    }
}
