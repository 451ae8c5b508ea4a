//! What is written into the store: sealed with keys of the cluster, which the store does not have.
//!
//! Invariants: what opens was sealed by a door of this cluster, for this kind of entry; of names, networks and passwords
//! nothing but keyed hashes leaves this process outside of a seal.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::session::{RawKey, random};
use crate::times::seconds_now;

/// Bytes of a nonce.
const NONCE: usize = 24;

/// What something is sealed for: it opens for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ended session.
    Ended,
    /// What a door says of itself.
    Member,
    /// A message to all doors.
    News,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Member => "member",
            Self::News => "news",
        }
    }
}

/// All keys of a cluster. Its newest key whose time has come seals, and all open.
pub(super) struct Crypt {
    cluster: String,
    keys: Vec<Derived>,
}

/// What is derived from one key of the file.
struct Derived {
    from: u64,
    cipher: XChaCha20Poly1305,
    nonces: Zeroizing<[u8; 32]>,
    prints: Zeroizing<[u8; 32]>,
}

impl Crypt {
    pub(super) fn new(cluster: &str, keys: &[RawKey]) -> Self {
        let derive = |key: &RawKey| {
            let of = |purpose: &str| Zeroizing::new(hash(&key.bytes, &[b"doorward cluster", purpose.as_bytes()]));
            let cipher = XChaCha20Poly1305::new(&(*of("seal")).into());
            Derived { from: key.from, cipher, nonces: of("nonce"), prints: of("print") }
        };
        Self { cluster: cluster.to_owned(), keys: keys.iter().map(derive).collect() }
    }

    fn sealing(&self) -> Option<&Derived> {
        let now = seconds_now();
        self.keys.iter().find(|key| key.from <= now).or(self.keys.last())
    }

    fn bound_to(&self, kind: Kind) -> Vec<u8> {
        format!("doorward 1 {} {}", self.cluster, kind.name()).into_bytes()
    }

    /// Seals something. Twice the same looks different.
    pub(super) fn seal(&self, kind: Kind, plain: &[u8]) -> Vec<u8> {
        self.seal_with(kind, plain, |_| random())
    }

    /// Seals something for a set, in which it is to be once: at all doors the same looks the same. The nonce is a keyed hash
    /// of what is sealed, so that it never serves twice for different things.
    pub(super) fn seal_same(&self, kind: Kind, plain: &[u8]) -> Vec<u8> {
        self.seal_with(kind, plain, |key| {
            let mut nonce = [0; NONCE];
            nonce.copy_from_slice(
                &hash(&key.nonces, &[self.cluster.as_bytes(), kind.name().as_bytes(), plain])[..NONCE],
            );
            nonce
        })
    }

    fn seal_with(&self, kind: Kind, plain: &[u8], nonce: impl Fn(&Derived) -> [u8; NONCE]) -> Vec<u8> {
        let Some(key) = self.sealing() else { return Vec::new() };
        let (nonce, aad) = (nonce(key), self.bound_to(kind));
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad });
        [&nonce[..], &sealed.unwrap_or_default()].concat()
    }

    /// Opens what a door of this cluster sealed as this kind.
    pub(super) fn open(&self, kind: Kind, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let (nonce, aad) = (XNonce::try_from(nonce).ok()?, self.bound_to(kind));
        self.keys.iter().find_map(|key| key.cipher.decrypt(&nonce, Payload { msg: sealed, aad: &aad }).ok())
    }

    /// A keyed hash of some parts, of 16 bytes: the same at all doors, and nothing to guess by without the key.
    pub(super) fn print(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut print = [0; 16];
        if let Some(key) = self.sealing() {
            print.copy_from_slice(&hash(&key.prints, parts)[..16]);
        }
        print
    }
}

/// HMAC-SHA256 over parts, each with its length.
fn hash(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A block of the hash; HMAC fills a shorter key up with zeros.
    let mut block = Zeroizing::new([0; 64]);
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(byte: u8, from: u64) -> RawKey {
        RawKey { bytes: Zeroizing::new([byte; 32]), from }
    }

    #[test]
    fn what_is_sealed_opens_in_its_cluster_as_its_kind_only() {
        let (ours, other) = (Crypt::new("a", &[raw(1, 0)]), Crypt::new("a", &[raw(2, 0)]));
        let staging = Crypt::new("b", &[raw(1, 0)]);
        let sealed = ours.seal(Kind::News, b"x");
        assert_eq!(ours.open(Kind::News, &sealed).as_deref(), Some(&b"x"[..]));
        assert_eq!(ours.open(Kind::Ended, &sealed), None, "another kind");
        assert_eq!(staging.open(Kind::News, &sealed), None, "another cluster of the same key");
        assert_eq!(other.open(Kind::News, &sealed), None, "another key");
        assert_eq!(ours.open(Kind::News, &sealed[..NONCE]), None);
        assert_ne!(ours.seal(Kind::News, b"x"), sealed);
    }

    #[test]
    fn in_a_set_the_same_is_once_and_a_key_that_is_not_due_opens_only() {
        let (one, two) = (Crypt::new("a", &[raw(1, 0)]), Crypt::new("a", &[raw(2, u64::MAX), raw(1, 0)]));
        assert_eq!(one.seal_same(Kind::Ended, b"x"), two.seal_same(Kind::Ended, b"x"));
        assert_ne!(one.seal_same(Kind::Ended, b"x"), one.seal_same(Kind::Ended, b"y"));
        assert_eq!(one.print(&[b"ab", b"c"]), two.print(&[b"ab", b"c"]));
        assert_ne!(one.print(&[b"ab", b"c"]), one.print(&[b"a", b"bc"]));
        let rotated = Crypt::new("a", &[raw(2, 0), raw(1, 0)]);
        assert!(two.open(Kind::News, &rotated.seal(Kind::News, b"x")).is_some(), "it has the key already");
        assert!(one.open(Kind::News, &rotated.seal(Kind::News, b"x")).is_none());
    }
}
