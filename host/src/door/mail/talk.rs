//! What a protocol before the login has to be able to say.

use doorward_wire::mail::Bytes;
use doorward_wire::mail::sasl::{self, Plain};
use doorward_wire::mail::scan::{Limits, Literals};

use super::refused::No;
use crate::config::{Mail, Protocol, Token, Tokens};

/// How a protocol speaks. Pure: bytes in, an answer and what is to be done out.
pub(super) trait Talk {
    /// Which it is.
    const PROTOCOL: Protocol;
    /// Which literals it has.
    const LITERALS: Literals;
    /// What is told in the middle of a session that has to end; nothing where nothing may be said unasked.
    const BYE: &'static [u8];
    /// Whether clients are greeted once more when TLS has begun.
    const GREETS_IN_TLS: bool = false;

    /// At the beginning of a connection.
    fn new(terms: Offers) -> Self;
    /// What it tells clients of the configuration, and of the host that they came to.
    fn configure(&mut self, _: &Mail, _host: &str) {}
    /// Bounds of what comes before the login.
    fn limits(mail: &Mail) -> Limits;
    /// The greeting.
    fn greet(&self, out: &mut Vec<u8>);
    /// TLS has begun: what was said before it is forgotten.
    fn secured(&mut self, terms: Offers);
    /// Whether the next line is the response to a challenge.
    fn awaits_response(&self) -> bool;
    /// The client's name for itself, where the protocol has one.
    fn hello(&self) -> &str {
        ""
    }
    /// Takes a command, its line end included, and answers it, but for a login.
    fn hear(&mut self, command: &[u8], out: &mut Vec<u8>) -> Heard;
    /// Whether a command that begins like this may have the literal that its client waits to send.
    fn takes_literal(&self, begin: &[u8]) -> bool;
    /// Refuses the command that began like this, since its literal is too large, or it has none.
    fn refuse_literal(&mut self, begin: &[u8], is_too_large: bool, out: &mut Vec<u8>);
    /// Answers a login that failed.
    fn no(&mut self, no: &No, out: &mut Vec<u8>);
    /// Answers a login that worked; with what the node can do then.
    fn yes(&mut self, capabilities: Option<&str>, out: &mut Vec<u8>);
    /// Passes back what is said of a token that is refused; the program answers that, and then hears no.
    fn challenge(&mut self, _: &str, _out: &mut Vec<u8>) {}
    /// Says goodbye before the login.
    fn bye(&self, why: Bye, out: &mut Vec<u8>);
}

/// What a connection offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offers {
    /// TLS may begin.
    pub(super) start_tls: bool,
    /// Passwords are taken.
    pub(super) passwords: bool,
    /// Tokens that are taken.
    pub(super) tokens: Tokens,
}

/// What the next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A command.
    Command,
    /// A response of PLAIN.
    Plain,
    /// One with a token.
    Token(Token),
    /// The answer to a challenge, which changes nothing.
    Acknowledged,
}

impl Offers {
    /// What a response of this mechanism is; none where it is not offered.
    pub(super) fn mechanism(self, name: &str) -> Option<Awaited> {
        if name == "PLAIN" && self.passwords {
            Some(Awaited::Plain)
        } else {
            self.tokens.named(name).map(Awaited::Token)
        }
    }
}

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is answered.
    Answered,
    /// It is answered, and was wrong.
    Wrong,
    /// It is answered; TLS comes next.
    StartTls,
    /// Somebody logs in. Bytes, since they may be no UTF-8.
    LogIn {
        /// The name.
        name: Bytes,
        /// The password.
        password: Bytes,
    },
    /// Somebody logs in with a token.
    Token {
        /// The name that it is for.
        name: String,
        /// How it came.
        token: Token,
        /// The whole response.
        response: Bytes,
    },
    /// A login that is answered already: nobody was asked about it.
    Denied,
    /// A password came where none is taken; it is answered.
    ClearText(Bytes),
    /// It is answered, and was the last.
    Close,
    /// Nothing more is said or read: it is no mail program.
    Drop,
}

/// What stands against a response of PLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotPlain {
    /// It is no base64.
    Encoding,
    /// Somebody wants to be somebody else.
    ForOthers,
    /// It has no name and password.
    Malformed,
}

/// The response that a line is; none where the client cancels.
pub(super) fn response(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(b"\r\n").filter(|response| *response != b"*")
}

/// Reads a response of PLAIN.
///
/// # Errors
/// It is none.
pub(super) fn plain(response: &[u8]) -> Result<Heard, NotPlain> {
    let response = sasl::initial(response).ok_or(NotPlain::Encoding)?;
    let plain = Plain::read(&response).ok_or(NotPlain::Malformed)?;
    if !plain.authorization.is_empty() && plain.authorization != plain.name {
        return Err(NotPlain::ForOthers);
    }
    let password = Bytes::new(plain.password.as_bytes().to_vec());
    Ok(Heard::LogIn { name: Bytes::new(plain.name.into_bytes()), password })
}

/// Reads a response with a token.
///
/// # Errors
/// It is none, or does not say whom it is for.
pub(super) fn token(token: Token, response: &[u8]) -> Result<Heard, NotPlain> {
    let response = sasl::initial(response).ok_or(NotPlain::Encoding)?;
    let name = match token {
        Token::XOauth2 => sasl::user_of_xoauth2(&response).map(str::to_owned),
        Token::OAuthBearer => sasl::user_of_oauthbearer(&response),
    };
    Ok(Heard::Token { name: name.ok_or(NotPlain::Malformed)?, token, response })
}

/// Reads a response of what was awaited.
///
/// # Errors
/// It is none.
pub(super) fn login(awaited: Awaited, response: &[u8]) -> Result<Heard, NotPlain> {
    match awaited {
        Awaited::Token(kind) => token(kind, response),
        Awaited::Plain | Awaited::Command | Awaited::Acknowledged => plain(response),
    }
}

/// Why a connection ends before a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bye {
    /// It took too long.
    TimedOut,
    /// What it sends is too large.
    TooLarge,
    /// Too much of it was wrong.
    TooManyErrors,
    /// Doorward ends.
    Draining,
}
