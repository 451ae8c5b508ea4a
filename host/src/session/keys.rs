//! The keys that seal cookies: XChaCha20-Poly1305 with a random nonce, from a file that is made when missing.
//!
//! A line of the file is a key of 32 bytes in base64, and perhaps the time from which on it seals, in seconds since 1970:
//! so that several front doors get a new key first and begin to use it all at once. The newest key stands first.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::files;
use crate::times::seconds_now;

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

/// Keys, the newest first. All of them open.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    cipher: XChaCha20Poly1305,
    /// Seals from this time on: seconds since 1970.
    from: u64,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// A key that nobody else has and that ends with the process.
    pub fn random() -> Self {
        Self(vec![Key::new()])
    }

    /// A new key that seals, and the one that sealed until now.
    pub fn renewed(&self) -> Self {
        Self(std::iter::once(Key::new()).chain(self.0.first().cloned()).collect())
    }

    /// Reads a key file: one base64 key of 32 bytes a line, the newest first. Makes it, readable for its owner only,
    /// when it is missing.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, String> {
        match Self::read(path)? {
            Some(keys) => Ok(keys),
            None => {
                Self::make(path)?;
                Self::read(path)?.ok_or_else(|| "it was removed just now".to_owned())
            }
        }
    }

    /// Makes a key file where there is none; false where there is one. Of two processes that begin at once, one makes it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn make(path: &Path) -> Result<bool, String> {
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*new_key())));
        files::create(path, text.as_bytes()).map_err(|error| error.to_string())
    }

    /// Reads a key file; none where there is none.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        Ok(Self::read_raw(path)?.map(|keys| Self(keys.iter().map(Key::of).collect())))
    }

    /// The keys of a file as they are, for who derives others of them; none where there is none.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read_raw(path: &Path) -> Result<Option<Vec<RawKey>>, String> {
        let Some(text) = text_of(path)? else { return Ok(None) };
        let mut keys = Vec::new();
        for (number, line) in key_lines(&text) {
            // A key says itself whether it is whole. The time behind it does not.
            let cut = line.contains(char::is_whitespace) && text.ends_with(line);
            let key = RawKey::read(line).filter(|_| !cut);
            keys.push(key.ok_or_else(|| format!("line {number} is no key, or only part of one"))?);
        }
        if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(Some(keys)) }
    }

    /// Puts a new key into a file, which seals after this time, and keeps the newest of the others: `keep` keys in all.
    ///
    /// # Errors
    /// What is wrong with the file; it is as it was then.
    pub fn rotate(path: &Path, after: Duration, keep: usize) -> Result<(), String> {
        Self::load(path)?;
        let old = text_of(path)?.unwrap_or_default();
        let from = seconds_now().saturating_add(after.as_secs());
        let mut text = Zeroizing::new(format!("{} {from}\n", STANDARD.encode(*new_key())));
        for (_, line) in key_lines(&old).take(keep.max(1) - 1) {
            text.push_str(line);
            text.push('\n');
        }
        files::replace(path, text.as_bytes()).map_err(|error| error.to_string())
    }

    /// The newest key whose time has come.
    fn sealing(&self) -> Option<&Key> {
        let now = seconds_now();
        self.0.iter().find(|key| key.from <= now).or(self.0.last())
    }

    /// Seals with the newest key whose time has come.
    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce);
        let payload = Payload { msg: plain, aad: purpose.name() };
        let sealed = self.sealing().and_then(|key| key.cipher.encrypt(&XNonce::from(nonce), payload).ok());
        [&nonce[..], &sealed.unwrap_or_default()].concat()
    }

    /// Opens what one of the keys sealed for this purpose.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        self.0.iter().find_map(|key| key.cipher.decrypt(&nonce, Payload { msg: sealed, aad: purpose.name() }).ok())
    }
}

impl Key {
    fn new() -> Self {
        Self { cipher: XChaCha20Poly1305::new(&(*new_key()).into()), from: 0 }
    }

    fn of(raw: &RawKey) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&(*raw.bytes).into()), from: raw.from }
    }
}

/// A key as its file has it.
pub struct RawKey {
    /// The key.
    pub bytes: Zeroizing<[u8; 32]>,
    /// Seals from this time on: seconds since 1970.
    pub from: u64,
}

impl RawKey {
    fn read(line: &str) -> Option<Self> {
        let (key, from) = line.split_once(char::is_whitespace).unwrap_or((line, "0"));
        let decoded = Zeroizing::new(STANDARD.decode(key).ok()?);
        let mut bytes = Zeroizing::new([0; 32]);
        (decoded.len() == bytes.len()).then(|| bytes.copy_from_slice(&decoded))?;
        Some(Self { bytes, from: from.trim().parse().ok()? })
    }
}

/// Lines that are meant as keys, with their numbers.
fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn text_of(path: &Path) -> Result<Option<Zeroizing<String>>, String> {
    files::read_text(path).map(|text| text.map(Zeroizing::new)).map_err(|error| error.to_string())
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

/// Random bytes, which nobody guesses.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
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
        let key = STANDARD.encode([9; 32]);
        for (bad, why) in [
            ("short\n".to_owned(), "line 1 is"),
            (format!("# ours\n{key}\n{key} soon\n"), "line 3 is"),
            (format!("{key}\n{}", &key[..20]), "line 2 is"),
            (format!("{key} 17955"), "line 1 is"),
            (String::new(), "it holds no key"),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let told = Keys::load(&path).unwrap_err();
            assert!(told.starts_with(why), "{bad}: {told}");
            assert!(Keys::rotate(&path, Duration::ZERO, 3).is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bad, "it is as it was");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_rotated_key_seals_when_its_time_has_come_and_opens_at_once() {
        let folder = std::env::temp_dir().join(format!("doorward-rotate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("session.keys");
        let old = Keys::load(&path).unwrap();
        Keys::rotate(&path, Duration::from_secs(3600), 3).unwrap();
        let both = Keys::load(&path).unwrap();
        // Another front door that has only the old key opens what this one seals until then.
        assert!(old.open(Purpose::Session, &both.seal(Purpose::Session, b"x")).is_some());
        Keys::rotate(&path, Duration::ZERO, 3).unwrap();
        let three = Keys::load(&path).unwrap();
        let sealed = three.seal(Purpose::Session, b"y");
        assert!(both.open(Purpose::Session, &sealed).is_none() && three.open(Purpose::Session, &sealed).is_some());
        assert!(three.open(Purpose::Session, &old.seal(Purpose::Session, b"x")).is_some());
        Keys::rotate(&path, Duration::ZERO, 2).unwrap();
        assert!(Keys::load(&path).unwrap().open(Purpose::Session, &old.seal(Purpose::Session, b"x")).is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
