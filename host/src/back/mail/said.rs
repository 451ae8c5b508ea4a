//! What a mail server is told of a login.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::back::spec::MailSpec;
use crate::peer::Peer;
use crate::secret::Secret;

/// So often may a connection go on from proxy to proxy, where they count.
pub(super) const PROXY_TTL: &str = "5";

/// What a server is told, and how.
pub(super) struct Login<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a Secret,
    pub(super) server: &'a MailSpec,
    /// Whom the client is told to be, where the server wants to know.
    pub(super) client: Option<Told<'a>>,
}

/// Who the client is.
pub(super) struct Told<'a> {
    pub(super) peer: &'a Peer,
    pub(super) id: &'a str,
}

/// A response of SASL's PLAIN (RFC 4616) in base64.
pub(super) fn plain(login: &Login<'_>) -> Zeroizing<String> {
    let response = Zeroizing::new(format!("\0{}\0{}", login.name, login.password.expose()));
    Zeroizing::new(STANDARD.encode(response.as_bytes()))
}
