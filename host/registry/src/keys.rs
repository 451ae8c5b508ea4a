//! Keys of signatures: ECDSA P-256, which cosign makes, and Ed25519.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

/// No file of a key is larger.
const LARGEST: u64 = 64 << 10;
/// A key as X.509 writes it (SubjectPublicKeyInfo): what stands before the bytes of a point, and of an Ed25519 key.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const EDWARDS: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// ECDSA over P-256 with SHA-256: an uncompressed point.
    P256(Vec<u8>),
    /// Ed25519.
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Reads a file of one key in PEM, as `cosign generate-key-pair` and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(path: &Path) -> Result<Self, String> {
        let found = bytes_of(path).and_then(|bytes| Self::parse(&bytes));
        found.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads a key in PEM.
    ///
    /// # Errors
    /// It is none that is known.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| "no public key in PEM".to_owned())?;
        let point = der.strip_prefix(&P256[..]).filter(|point| point.len() == 65 && point.first() == Some(&4));
        let edwards = der.strip_prefix(&EDWARDS[..]).filter(|key| key.len() == 32);
        match (point, edwards) {
            (Some(point), _) => Ok(Self::P256(point.to_vec())),
            (_, Some(key)) => Ok(Self::Ed25519(key.to_vec())),
            _ => Err("a key that is neither ECDSA P-256 nor Ed25519".to_owned()),
        }
    }

    /// Whether a signature of these bytes is this key's.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let checked = match self {
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        checked.is_ok()
    }
}

/// A private key. It is shown nowhere.
pub enum PrivateKey {
    /// ECDSA over P-256.
    P256(EcdsaKeyPair),
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a file of one key in PEM without a password, as `openssl genpkey` writes it.
    ///
    /// # Errors
    /// What is wrong with it, in words without what it holds.
    pub fn read(path: &Path) -> Result<Self, String> {
        let found = bytes_of(path).and_then(|bytes| Self::parse(&bytes));
        found.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        if pem.windows(9).any(|some| some == b"ENCRYPTED") {
            return Err(
                "a key under a password; `cosign sign` takes one, and openssl takes the password off".to_owned()
            );
        }
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "no private key in PEM".to_owned())?;
        let bytes = der.secret_der();
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes)
            .or_else(|_| EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes));
        if let Ok(pair) = p256 {
            return Ok(Self::P256(pair));
        }
        let edwards = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes);
        edwards.map(Self::Ed25519).map_err(|_| "a key that is neither ECDSA P-256 nor Ed25519".to_owned())
    }

    /// Its public key.
    pub fn public(&self) -> PublicKey {
        match self {
            Self::P256(pair) => PublicKey::P256(pair.public_key().as_ref().to_vec()),
            Self::Ed25519(pair) => PublicKey::Ed25519(pair.public_key().as_ref().to_vec()),
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| "the key signs nothing".to_owned())
            }
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(private key)")
    }
}

fn bytes_of(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err("no regular file of at most 64 KiB".to_owned());
    }
    std::fs::read(path).map(Zeroizing::new).map_err(|error| error.to_string())
}
