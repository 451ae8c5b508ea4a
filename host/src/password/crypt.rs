//! The methods of `crypt(3)` that are still in use: sha256, sha512, bcrypt and yescrypt.
//!
//! Pure.

use super::error::Error;

/// A second or so of each.
const MOST_SHA_ROUNDS: u64 = 2_000_000;
const MOST_BCRYPT: u32 = 16;
/// yescrypt's memory in bytes.
const MOST_MEMORY: u64 = 1 << 30;

/// Shorter hashes are none: yescrypt's crate would compare an empty one with nothing.
const SHORTEST: usize = 22;

/// Whether a value is that of a password.
pub(super) fn verify(value: &str, password: &str) -> Result<bool, Error> {
    let mut fields = value.split('$').skip(1);
    let (method, first) = (fields.next(), fields.next());
    match method {
        Some("5" | "6") => {
            use sha_crypt::PasswordVerifier as _;
            if rounds(first).is_some_and(|rounds| rounds > MOST_SHA_ROUNDS) {
                return Err(Error::TooCostly("{CRYPT} $5$ or $6$"));
            }
            Ok(sha_crypt::ShaCrypt::default().verify_password(password.as_bytes(), value).is_ok())
        }
        Some("2a" | "2b" | "2x" | "2y") => {
            if first.and_then(|cost| cost.parse().ok()).is_some_and(|cost: u32| cost > MOST_BCRYPT) {
                return Err(Error::TooCostly("{CRYPT} $2$"));
            }
            Ok(bcrypt::verify(password, value).unwrap_or(false))
        }
        Some("y") => {
            use yescrypt::PasswordVerifier as _;
            let Some(Ok(params)) = first.map(str::parse::<yescrypt::Params>) else { return Ok(false) };
            // 128 bytes in each of its blocks.
            let memory = params.n().saturating_mul(u64::from(params.r())).saturating_mul(128);
            // Its time factor has no bound of its own and is 0 wherever it is used; parallel lanes are done one by one.
            let plain = yescrypt::Params::new(yescrypt::Mode::Rw, params.n(), params.r(), params.p());
            if memory.saturating_mul(u64::from(params.p())) > MOST_MEMORY || plain != Ok(params) {
                return Err(Error::TooCostly("{CRYPT} $y$"));
            }
            let is_whole = fields.nth(1).is_some_and(|hash| hash.len() >= SHORTEST);
            Ok(is_whole && yescrypt::Yescrypt::default().verify_password(password.as_bytes(), value).is_ok())
        }
        method => Err(Error::Unknown(format!("{{CRYPT}} ${}$", method.unwrap_or("?")))),
    }
}

fn rounds(field: Option<&str>) -> Option<u64> {
    field?.strip_prefix("rounds=")?.parse().ok()
}
