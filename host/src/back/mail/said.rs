//! What a mail server is told of a login.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::challenge;
use crate::back::spec::MailSpec;
use crate::config::Token;
use crate::peer::Peer;
use crate::secret::Secret;

/// So often may a connection go on from proxy to proxy, where they count.
pub(super) const PROXY_TTL: &str = "5";

/// What a server is told, and how.
pub(super) struct Login<'a> {
    /// As whom somebody acts who logs in for others; empty where it is the user.
    pub(super) authorization: &'a str,
    pub(super) name: &'a str,
    pub(super) password: &'a Secret,
    /// A token: then its response is in place of the password.
    pub(super) token: Option<(Token, &'a Challenged)>,
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
    let Login { authorization, name, password, .. } = login;
    let response = Zeroizing::new([authorization, "\0", name, "\0", password.expose()].concat());
    Zeroizing::new(STANDARD.encode(response.as_bytes()))
}

/// A token as it came, in base64.
pub(super) fn token(login: &Login<'_>) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(login.password.expose().as_bytes()))
}

/// What a server said of a token that it refuses.
#[derive(Default)]
pub struct Challenged(RefCell<Option<String>>);

impl Challenged {
    /// The server says this.
    pub(super) fn by(&self, challenge: &str) {
        *self.0.borrow_mut() = challenge::known(challenge);
    }

    /// What it said, as a client may hear it.
    pub fn take(&self) -> Option<String> {
        self.0.take()
    }
}

/// The answer to that, which a server waits for before it says no (RFC 7628, section 3.2.3): one byte; XOAUTH2 has none.
pub(super) fn acknowledged(token: Token) -> &'static [u8] {
    match token {
        Token::XOauth2 => b"\r\n",
        Token::OAuthBearer => b"AQ==\r\n",
    }
}
