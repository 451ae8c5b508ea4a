//! Policies in OCI registries: fetched, pushed, signed and verified.
//!
//! Nothing that a registry sends is believed before its digest is right, none of it is larger than what its manifest says
//! and than what is taken at all, and each command has an end in time. What is secret (credentials, tokens, private keys) is
//! in no error and is wiped.

mod push;
mod artifact;
mod signatures;
mod client;
mod http;
mod credentials;
mod manifest;
mod keys;
mod reference;
mod version;
mod error;
mod digest;

pub use artifact::{Artifact, Resolved};
pub use client::Client;
pub use credentials::Credentials;
pub use digest::Digest;
pub use error::Error;
pub use http::Transport;
pub use keys::{PrivateKey, PublicKey};
pub use manifest::COMPONENT_SIZE;
pub use reference::{EXPECTED, Reference};
pub use signatures::{Signature, SignatureForm, TrustedKey, Verdict, verify};
pub use version::is_older;
