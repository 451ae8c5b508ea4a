//! One stored password: `{SCHEME}value` (RFC 2307, RFC 3112 and what OpenLDAP and Dovecot add to them), or clear text.
//!
//! Invariants: every comparison takes the same time wherever two values differ; a value that would cost more than a login
//! may cost is refused before any work is done.
//!
//! Pure.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use super::crypt;
use super::error::Error;

/// A value that no password has, of the scheme that OpenLDAP uses by default.
pub(super) const NOBODY: &str = "{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A tenth of a second of PBKDF2 is some hundred thousand rounds.
const MOST_ROUNDS: u32 = 10_000_000;
/// Argon2 may take so many KiB (a gigabyte), and pass over so many KiB in all (ten seconds or so).
const MOST_KIB: u64 = 1 << 20;
const MOST_KIB_PASSED: u64 = 16 << 20;

/// Padding is left out by some and written by others.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn parts(stored: &str) -> Option<(String, &str)> {
    let (scheme, value) = stored.strip_prefix('{')?.split_once('}')?;
    Some((scheme.to_ascii_uppercase(), value))
}

/// Whether a stored value is that of a password.
///
/// # Errors
/// The value's scheme is not known, or would cost too much.
pub fn verify(stored: &str, password: &str) -> Result<bool, Error> {
    let Some((scheme, value)) = parts(stored) else {
        return Ok(stored.as_bytes().ct_eq(password.as_bytes()).into());
    };
    match scheme.as_str() {
        "CLEARTEXT" | "CLEAR" | "PLAIN" => Ok(value.as_bytes().ct_eq(password.as_bytes()).into()),
        "SHA" | "SSHA" => Ok(salted::<Sha1>(value, password)),
        "MD5" | "SMD5" => Ok(salted::<Md5>(value, password)),
        "SHA256" | "SSHA256" => Ok(salted::<Sha256>(value, password)),
        "SHA384" | "SSHA384" => Ok(salted::<Sha384>(value, password)),
        "SHA512" | "SSHA512" => Ok(salted::<Sha512>(value, password)),
        "CRYPT" | "SHA256-CRYPT" | "SHA512-CRYPT" | "BLF-CRYPT" => crypt::verify(value, password),
        "PBKDF2" | "PBKDF2-SHA1" => pbkdf2(value, |salt, rounds| {
            let mut key = [0; 20];
            pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), salt, rounds, &mut key);
            key.to_vec()
        }),
        "PBKDF2-SHA256" => pbkdf2(value, |salt, rounds| {
            let mut key = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut key);
            key.to_vec()
        }),
        "PBKDF2-SHA512" => pbkdf2(value, |salt, rounds| {
            let mut key = [0; 64];
            pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, rounds, &mut key);
            key.to_vec()
        }),
        "ARGON2" | "ARGON2I" | "ARGON2ID" => argon(value, password),
        _ => Err(Error::Unknown(format!("{{{scheme}}}"))),
    }
}

/// A value that costs what this one costs, and that no password has. The hash is what is changed: its place is known for
/// every scheme that takes time.
pub(super) fn unlike(stored: &str) -> Option<String> {
    let Some((scheme, value)) = parts(stored) else { return Some("\0".to_owned()) };
    let zero = match scheme.as_str() {
        "CRYPT" | "SHA256-CRYPT" | "SHA512-CRYPT" | "BLF-CRYPT" => ".",
        "PBKDF2" | "PBKDF2-SHA1" | "PBKDF2-SHA256" | "PBKDF2-SHA512" | "ARGON2" | "ARGON2I" | "ARGON2ID" => "A",
        // The hash is not where the time goes.
        _ => return Some(NOBODY.to_owned()),
    };
    let start = value.rfind('$')? + 1;
    // bcrypt has its salt and its hash in one field.
    let start = if value.starts_with("$2") { start + 22 } else { start };
    let hash = value.get(start..)?;
    Some(format!("{{{scheme}}}{}{}", &value[..start], zero.repeat(hash.len())))
}

/// base64 of the hash over password and salt, and then the salt.
fn salted<H: Digest>(value: &str, password: &str) -> bool {
    let Ok(bytes) = BASE64.decode(value) else { return false };
    let size = <H as Digest>::output_size();
    if bytes.len() < size {
        return false;
    }
    let (hash, salt) = bytes.split_at(size);
    let computed = H::new().chain_update(password).chain_update(salt).finalize();
    computed.as_slice().ct_eq(hash).into()
}

/// `rounds$salt$key`, in base64 with `.` for `+` and no padding (OpenLDAP's pw-pbkdf2).
fn pbkdf2(value: &str, derive: impl FnOnce(&[u8], u32) -> Vec<u8>) -> Result<bool, Error> {
    let mut fields = value.split('$');
    let (Some(rounds), Some(salt), Some(key), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Ok(false);
    };
    let decode = |field: &str| BASE64.decode(field.replace('.', "+")).ok();
    let (Ok(rounds), Some(salt), Some(key)) = (rounds.parse::<u64>(), decode(salt), decode(key)) else {
        return Ok(false);
    };
    match u32::try_from(rounds) {
        Ok(0) => Ok(false),
        Ok(rounds @ 1..=MOST_ROUNDS) => Ok(derive(&salt, rounds).ct_eq(&key).into()),
        _ => Err(Error::TooCostly("{PBKDF2}")),
    }
}

/// A PHC string, with the algorithm's name in it.
fn argon(value: &str, password: &str) -> Result<bool, Error> {
    use argon2::PasswordVerifier as _;
    let Ok(hash) = argon2::PasswordHash::new(value) else { return Ok(false) };
    let Ok(params) = argon2::Params::try_from(&hash) else { return Ok(false) };
    let (memory, passes) = (u64::from(params.m_cost()), u64::from(params.t_cost()));
    if memory > MOST_KIB || memory * passes > MOST_KIB_PASSED {
        return Err(Error::TooCostly("{ARGON2}"));
    }
    Ok(argon2::Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    /// Made by `slappasswd -h SCHEME -s secret` (OpenLDAP 2.5, with pw-pbkdf2 and argon2), `openssl passwd`, and Perl's
    /// `crypt` over libxcrypt.
    const STORED: &[&str] = &[
        "secret",
        "{PLAIN}secret",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "{SSHA}yAtQjm4hyX2WaQmawjmnBa8dmAEM2VBr",
        "{CRYPT}$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.",
        "{SHA256-CRYPT}$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.",
        "{CRYPT}$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
        "{PBKDF2}10000$xWu/ehy1HNdeg4mGM9jcLg$KDwao9Q6gki648Eg2bKnDYASvBg",
        "{PBKDF2-SHA256}10000$xKo5PrZdhgnCyDXd3mylaw$zl/FsHa3BoACtjsvJmDY4qT73Hql7TFMVJ79L98d7Kw",
        "{PBKDF2-SHA512}10000$Aov41pAaxTL3djsmdSeKjg$HmdEtkswAhJOrNqEOSurnqNFgB5d2oW6QZKoIWYLHaMPbGW0gu.zHziUz0er1fM9UGyuATyDQJGa1VhRgl7WjA",
        "{ARGON2}$argon2i$v=19$m=4096,t=3,p=1$DlIVIs+cw+uzmxjVyRYJew$6JH5x7HXdv0jf47T4uhsPYpNmWkcW22/8wvy1rFtVCA",
        "{SSHA384}J7ydodyPYC+BGNpQoF1b7rWPaMZEbOCdrVJ6ZROHGWqhr0JPJsYiGB0ZI3/F17cv2n+jcR3hv7I=",
        "{SSHA512}9TFIS4JcJH7FcPiFBGd5sb+PYxBwquRhBC941KZRab5A17ux8PpmRY5uC6VaV29rVg5WmBXHzaaPsjCR3FMhCo+VXMJwEfEl",
        "{CRYPT}$y$j9T$abcdefghijklmnop$3dL1LkYnZM.OVXuVdnnaKVDlLYT92dRwOzDZ5XiVCe.",
        "{CRYPT}$y$j75$somesalt$lGca9Ev3rKiO3CYbtUahAR3WLFZB3KkB5BHPTx9dt3A",
        "{CRYPT}$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "{BLF-CRYPT}$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "{SHA512-CRYPT}$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/",
    ];

    #[test]
    fn values_of_each_scheme_are_checked() {
        for stored in STORED {
            assert_eq!(verify(stored, "secret"), Ok(true), "{stored}");
            assert_eq!(verify(stored, "Secret"), Ok(false), "{stored}");
            assert_eq!(verify(stored, ""), Ok(false), "{stored}");
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
    fn a_value_like_it_is_of_the_same_cost_and_nobodys() {
        for stored in STORED {
            let like = unlike(stored).unwrap();
            assert_ne!(like, *stored);
            assert_eq!(verify(&like, "secret"), Ok(false), "{like}");
            let cost = |value: &str| value.rfind('$').map(|end| value[..end].to_owned());
            if stored.contains('$') {
                assert_eq!((cost(&like), like.len()), (cost(stored), stored.len()));
            }
        }
        assert_eq!(unlike("{CRYPT}ab"), None);
    }

    #[test]
    fn what_is_not_known_is_an_error_and_what_is_broken_is_wrong() {
        assert_eq!(verify("{NOPE}x", "x"), Err(Error::Unknown("{NOPE}".to_owned())));
        for unknown in ["{CRYPT}xy1234", "{CRYPT}$1$salt$x", "{SASL}a@b", "{CRYPT}"] {
            assert!(matches!(verify(unknown, "x"), Err(Error::Unknown(_))), "{unknown}");
        }
        for broken in [
            "{SSHA}",
            "{SSHA}!!",
            "{SHA}AAAA",
            "{ARGON2}x",
            "{CRYPT}$6$",
            "{CRYPT}$2b$",
            NOBODY,
            "{PBKDF2}",
            "{PBKDF2}0$AA$AA",
            "{PBKDF2}1$AA$",
            "{PBKDF2-SHA256}x$AA$AA",
            "{CRYPT}$y$j9T$salt$",
            "{CRYPT}$y$",
            "{CRYPT}$y$j9T$salt$AAAA",
            "{CRYPT}$5$rounds=x$salt$x",
            "{ARGON2}$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$",
        ] {
            assert_eq!(verify(broken, ""), Ok(false), "{broken}");
        }
    }

    #[test]
    fn what_would_cost_too_much_is_not_begun() {
        for dear in [
            "{ARGON2}$argon2id$v=19$m=2097152,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "{ARGON2}$argon2id$v=19$m=65536,t=4000000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "{PBKDF2-SHA512}4000000000$AA$AA",
            "{CRYPT}$6$rounds=999999999$saltstring$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "{CRYPT}$2b$31$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "{CRYPT}$y$jQT$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(matches!(verify(dear, "x"), Err(Error::TooCostly(_))), "{dear}");
        }
    }
}
