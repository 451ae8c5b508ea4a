//! What went wrong with TLS, in words for an operator: libraries name their variants.

use rustls::pki_types::pem;
use rustls::{CertificateError, Error, InconsistentKeys};

/// An error of a connection: of TLS in it, or of the network.
pub fn words(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of_tls(error),
        None => error.to_string(),
    }
}

/// An error of TLS.
pub(super) fn of_tls(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => "the key of another certificate".to_owned(),
        Error::InconsistentKeys(_) => "a key that cannot be compared with the certificate".to_owned(),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => "no certificate was shown".to_owned(),
        Error::NoApplicationProtocol => "no protocol that both sides speak (ALPN)".to_owned(),
        Error::AlertReceived(alert) => format!("the other side ended it: {}", spaced(&format!("{alert:?}"))),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "the other side sent what is no TLS".to_owned()
        }
        Error::PeerIncompatible(what) => {
            format!("the other side speaks another TLS: {}", spaced(&format!("{what:?}")))
        }
        Error::PeerMisbehaved(what) => {
            format!("the other side breaks the rules of TLS: {}", spaced(&format!("{what:?}")))
        }
        Error::General(text) => text.clone(),
        Error::Other(other) => spaced(&other.0.to_string()),
        other => other.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    let text = match error {
        CertificateError::BadEncoding => "a certificate that cannot be read",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "a certificate that has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "a certificate that is not valid yet"
        }
        CertificateError::Revoked => "a certificate that was revoked",
        CertificateError::UnknownIssuer => "a certificate of an authority that is not trusted",
        CertificateError::BadSignature => "a certificate that its authority has not signed",
        CertificateError::NotValidForName => "a certificate for another name",
        CertificateError::NotValidForNameContext { presented, .. } => {
            return format!("a certificate for other names: {}", presented.join(", "));
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "a certificate for another purpose"
        }
        CertificateError::Other(other) => return format!("a wrong certificate: {}", spaced(&other.0.to_string())),
        other => return format!("a wrong certificate: {}", spaced(&format!("{other:?}"))),
    };
    text.to_owned()
}

/// An error of a PEM file in which `wanted` is looked for. Nothing of the file is in it: it may be a key.
pub(super) fn of_pem(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("no {wanted} in it"),
        pem::Error::MissingSectionEnd { .. } => "a section without its end (-----END …-----)".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a broken first line of a section (-----BEGIN …-----)".to_owned(),
        pem::Error::Base64Decode(_) => "a section that is no base64".to_owned(),
        _ => "a section that cannot be read".to_owned(),
    }
}

/// The name of a variant as words: `HandshakeFailure` is "handshake failure". What is no name stays as it is.
fn spaced(name: &str) -> String {
    // What stands in brackets behind it are the library's own values.
    let bare = name.split(['(', '{']).next().unwrap_or(name).trim();
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let mut words = String::new();
    for letter in bare.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn no_name_of_a_variant_is_told() {
        let other = rustls::OtherError(Arc::new(std::io::Error::other("UnsupportedCertVersion")));
        for (error, told) in [
            (Error::InconsistentKeys(InconsistentKeys::KeyMismatch), "the key of another certificate"),
            (CertificateError::UnknownIssuer.into(), "a certificate of an authority that is not trusted"),
            (CertificateError::Other(other).into(), "a wrong certificate: unsupported cert version"),
            (
                Error::AlertReceived(rustls::AlertDescription::HandshakeFailure),
                "the other side ended it: handshake failure",
            ),
        ] {
            assert_eq!(words(&std::io::Error::other(error)), told);
        }
        assert_eq!(words(&std::io::Error::other("the network says no")), "the network says no");
        assert_eq!(of_pem(&pem::Error::NoItemsFound, "private key"), "no private key in it");
    }
}
