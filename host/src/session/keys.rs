//! The keys that seal cookies: XChaCha20-Poly1305 with a random nonce, from a file that is made when missing.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// What something is sealed for: it opens for nothing else, so that one kind never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session, in its cookie.
    Session,
    /// That a form was shown to this browser.
    Form,
    /// That a device has logged in before.
    Device,
    /// A login that waits for its second factor.
    SecondFactor,
    /// What a browser sent without a session, kept until there is one.
    Held,
    /// A session ticket of TLS.
    Ticket,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Form => b"form",
            Self::Device => b"device",
            Self::SecondFactor => b"second-factor",
            Self::Held => b"held",
            Self::Ticket => b"ticket",
        }
    }
}

/// Bytes of a nonce.
const NONCE: usize = 24;

/// Keys, the sealing one first; the others still open.
#[derive(Clone)]
pub struct Keys(Vec<XChaCha20Poly1305>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// A key that nobody else has and that ends with the process.
    pub fn random() -> Self {
        Self(vec![XChaCha20Poly1305::new(&(*new_key()).into())])
    }

    /// A new key that seals, and the one that sealed until now.
    pub fn renewed(&self) -> Self {
        let new = XChaCha20Poly1305::new(&(*new_key()).into());
        Self(std::iter::once(new).chain(self.0.first().cloned()).collect())
    }

    /// Reads a key file: one base64 key of 32 bytes a line, the newest first. Makes it, readable for its owner only,
    /// when it is missing.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*new_key())));
                let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| error.to_string())?;
                text
            }
            Err(error) => return Err(error.to_string()),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let key = |line: &str| {
            let bytes = Zeroizing::new(STANDARD.decode(line).ok()?);
            XChaCha20Poly1305::new_from_slice(&bytes).ok()
        };
        let keys: Option<Vec<_>> = lines.map(key).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self).ok_or_else(|| "a line that is no key".to_owned())
    }

    /// Seals with the newest key.
    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce);
        let payload = Payload { msg: plain, aad: purpose.name() };
        let sealed = self.0.first().and_then(|key| key.encrypt(&XNonce::from(nonce), payload).ok());
        [&nonce[..], &sealed.unwrap_or_default()].concat()
    }

    /// Opens what one of the keys sealed for this purpose.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        self.0.iter().find_map(|key| key.decrypt(&nonce, Payload { msg: sealed, aad: purpose.name() }).ok())
    }
}

fn new_key() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    fill_random(&mut *key);
    key
}

/// Random bytes of the operating system. Without them there are no secrets, so the process ends.
#[expect(clippy::panic, reason = "a front door that hands out guessable sessions is worse than one that is shut")]
pub(super) fn fill_random(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        panic!("no random bytes from the operating system: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_old_keys_still_open() {
        let folder = std::env::temp_dir().join(format!("doorward-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("session.keys");
        let sealed = Keys::load(&path).unwrap().seal(Purpose::Session, b"x");
        assert_eq!(Keys::load(&path).unwrap().open(Purpose::Session, &sealed).unwrap(), b"x");
        assert!(Keys::load(&path).unwrap().open(Purpose::Form, &sealed).is_none());
        let rotated = format!("{}\n{}", STANDARD.encode([9; 32]), std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, rotated).unwrap();
        assert_eq!(Keys::load(&path).unwrap().open(Purpose::Session, &sealed).unwrap(), b"x");
        std::fs::write(&path, "short\n").unwrap();
        assert!(Keys::load(&path).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
