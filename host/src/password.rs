//! Checks a password against what a directory stores (RFC 2307, RFC 3112 and what OpenLDAP adds to them).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// A scheme that is not known here; its name is for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("password scheme {0} is not known")]
pub struct UnknownScheme(String);

/// Whether any of the stored values is that of the password. Hashing is done off the worker.
pub async fn verify_any(stored: Vec<Secret>, secret: Secret) -> bool {
    let check = move || {
        if stored.is_empty() {
            // The same work for a user who has no password, or is not there at all.
            let _ = verify(NOBODY, secret.expose());
        }
        stored.iter().any(|value| match verify(value.expose(), secret.expose()) {
            Ok(right) => right,
            Err(error) => {
                tracing::error!(%error, "a stored password cannot be checked");
                false
            }
        })
    };
    tokio::task::spawn_blocking(check).await.unwrap_or(false)
}

/// A value that no password has, of the scheme that OpenLDAP uses by default.
const NOBODY: &str = "{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether a stored value is that of a password.
///
/// # Errors
/// The value's scheme is not known.
pub fn verify(stored: &str, password: &str) -> Result<bool, UnknownScheme> {
    let Some((scheme, value)) = stored.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Ok(stored.as_bytes().ct_eq(password.as_bytes()).into());
    };
    match scheme.to_ascii_uppercase().as_str() {
        "CLEARTEXT" => Ok(value.as_bytes().ct_eq(password.as_bytes()).into()),
        "SHA" | "SSHA" => Ok(salted::<Sha1>(value, password)),
        "MD5" | "SMD5" => Ok(salted::<Md5>(value, password)),
        "SHA256" | "SSHA256" => Ok(salted::<Sha256>(value, password)),
        "SHA384" | "SSHA384" => Ok(salted::<Sha384>(value, password)),
        "SHA512" | "SSHA512" => Ok(salted::<Sha512>(value, password)),
        "CRYPT" => crypt(value, password),
        "ARGON2" => Ok(argon(value, password)),
        _ => Err(UnknownScheme(format!("{{{scheme}}}"))),
    }
}

/// base64 of the hash over password and salt, and then the salt.
fn salted<H: Digest>(value: &str, password: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(value) else { return false };
    let size = <H as Digest>::output_size();
    if bytes.len() < size {
        return false;
    }
    let (hash, salt) = bytes.split_at(size);
    let computed = H::new().chain_update(password).chain_update(salt).finalize();
    computed.as_slice().ct_eq(hash).into()
}

/// The `crypt(3)` methods that are still in use.
fn crypt(value: &str, password: &str) -> Result<bool, UnknownScheme> {
    match value.split('$').nth(1) {
        Some("5" | "6") => {
            use sha_crypt::PasswordVerifier as _;
            Ok(sha_crypt::ShaCrypt::default().verify_password(password.as_bytes(), value).is_ok())
        }
        Some("2a" | "2b" | "2x" | "2y") => Ok(bcrypt::verify(password, value).unwrap_or(false)),
        method => Err(UnknownScheme(format!("{{CRYPT}} ${}$", method.unwrap_or("?")))),
    }
}

fn argon(value: &str, password: &str) -> bool {
    use argon2::PasswordVerifier as _;
    let parsed = argon2::PasswordHash::new(value);
    parsed.is_ok_and(|hash| argon2::Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `slappasswd -h SCHEME -s secret` (OpenLDAP 2.5) and `openssl passwd`.
    const STORED: [&str; 7] = [
        "secret",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "{SSHA}yAtQjm4hyX2WaQmawjmnBa8dmAEM2VBr",
        "{CRYPT}$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.",
        "{CRYPT}$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
    ];

    #[test]
    fn values_of_each_scheme_are_checked() {
        for stored in STORED {
            assert_eq!(verify(stored, "secret"), Ok(true), "{stored}");
            assert_eq!(verify(stored, "Secret"), Ok(false), "{stored}");
        }
        let salted = |size: usize, hash: &[u8]| STANDARD.encode([&hash[..size], b"salt"].concat());
        let check = |name: &str, hash: Vec<u8>| {
            let stored = format!("{{{name}}}{}", salted(hash.len(), &hash));
            assert_eq!(verify(&stored, "secret"), Ok(true), "{stored}");
            assert_eq!(verify(&stored, "secret1"), Ok(false), "{stored}");
        };
        check("SSHA", Sha1::digest(b"secretsalt").to_vec());
        check("SSHA256", Sha256::digest(b"secretsalt").to_vec());
        check("ssha512", Sha512::digest(b"secretsalt").to_vec());
        check("SMD5", Md5::digest(b"secretsalt").to_vec());
    }

    #[test]
    fn what_is_not_known_is_an_error_and_what_is_broken_is_wrong() {
        assert_eq!(verify("{NOPE}x", "x"), Err(UnknownScheme("{NOPE}".to_owned())));
        assert!(verify("{CRYPT}xy1234", "x").is_err());
        for broken in ["{SSHA}", "{SSHA}!!", "{SHA}AAAA", "{ARGON2}x", "{CRYPT}$6$", "{CRYPT}$2b$", NOBODY] {
            assert_eq!(verify(broken, "x"), Ok(false), "{broken}");
        }
    }
}
