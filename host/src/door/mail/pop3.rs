//! POP3 before the login, and its answer to one.

use doorward_wire::mail::imap::Wrong;
use doorward_wire::mail::pop3::{self, Command};
use doorward_wire::mail::scan::{Limits, Literals};
use doorward_wire::mail::{Bytes, of_lines};

use super::refused::No;
use super::talk::{Awaited, Bye, Heard, NotPlain, Offers, Talk, login, response};
use crate::config::{Mail, Protocol};

/// A conversation.
pub(super) struct Pop3 {
    offers: Offers,
    /// The name of the last USER.
    name: Option<Vec<u8>>,
    /// What the next line is.
    awaited: Awaited,
}

impl Pop3 {
    fn authenticate(&mut self, awaited: Awaited, response: &[u8], out: &mut Vec<u8>) -> Heard {
        match login(awaited, response) {
            Ok(login) => login,
            Err(NotPlain::Encoding) => {
                out.extend_from_slice(b"-ERR Invalid base64\r\n");
                Heard::Wrong
            }
            Err(NotPlain::ForOthers | NotPlain::Malformed) => {
                self.no(&No::Credentials, out);
                Heard::Denied
            }
        }
    }

    /// What there is, before the login and after it (RFC 2449, section 5): the list of the node has the rest.
    fn capabilities(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n",
        );
        if self.offers.start_tls {
            out.extend_from_slice(b"STLS\r\n");
        }
        if self.offers.passwords {
            out.extend_from_slice(b"USER\r\nSASL PLAIN");
            self.offers.tokens.each().for_each(|token| out.extend([b" ", token.name().as_bytes()].concat()));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

const PRIVACY: &[u8] = b"-ERR Use TLS\r\n";

impl Talk for Pop3 {
    const PROTOCOL: Protocol = Protocol::Pop3;
    const LITERALS: Literals = Literals::None;
    /// Nothing may be said unasked; messages are deleted by QUIT only, so that no harm is done.
    const BYE: &'static [u8] = b"";

    fn new(offers: Offers) -> Self {
        Self { offers, name: None, awaited: Awaited::Command }
    }

    fn limits(mail: &Mail) -> Limits {
        of_lines(mail.line_max_size, mail.sasl_max_size)
    }

    /// Without a timestamp: a proxy cannot pass APOP on.
    fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"+OK Doorward ready\r\n");
    }

    fn secured(&mut self, offers: Offers) {
        *self = Self::new(offers);
    }

    fn awaits_response(&self) -> bool {
        self.awaited != Awaited::Command
    }

    fn hear(&mut self, command: &[u8], out: &mut Vec<u8>) -> Heard {
        let awaited = std::mem::replace(&mut self.awaited, Awaited::Command);
        if awaited == Awaited::Acknowledged {
            self.no(&No::Credentials, out);
            return Heard::Denied;
        }
        if awaited != Awaited::Command {
            let Some(response) = response(command) else {
                out.extend_from_slice(b"-ERR Cancelled\r\n");
                return Heard::Wrong;
            };
            return self.authenticate(awaited, response, out);
        }
        let clear = !self.offers.passwords;
        match pop3::read(command) {
            Ok(Command::Capabilities) => self.capabilities(out),
            Ok(Command::StartTls) if self.offers.start_tls => {
                out.extend_from_slice(b"+OK Begin TLS negotiation now\r\n");
                return Heard::StartTls;
            }
            Ok(Command::StartTls) => {
                out.extend_from_slice(b"-ERR TLS is not available\r\n");
                return Heard::Wrong;
            }
            Ok(Command::Quit) => {
                out.extend_from_slice(b"+OK Logging out\r\n");
                return Heard::Close;
            }
            Ok(Command::User(name)) if clear => {
                out.extend_from_slice(PRIVACY);
                return Heard::ClearText(Bytes::new(name));
            }
            Ok(Command::Password(_) | Command::Authenticate(..)) if clear => {
                out.extend_from_slice(PRIVACY);
                return Heard::ClearText(Bytes::default());
            }
            // As for a name that is known, and as fast.
            Ok(Command::User(name)) => {
                self.name = Some(name);
                out.extend_from_slice(b"+OK\r\n");
            }
            Ok(Command::Password(password)) => match self.name.take() {
                Some(name) => return Heard::LogIn { name: Bytes::new(name), password },
                None => {
                    out.extend_from_slice(b"-ERR USER first\r\n");
                    return Heard::Wrong;
                }
            },
            Ok(Command::Mechanisms) => {
                out.extend_from_slice(if clear { b"+OK\r\n".as_slice() } else { b"+OK\r\nPLAIN\r\n" });
                self.offers.tokens.each().for_each(|token| out.extend([token.name().as_bytes(), b"\r\n"].concat()));
                out.extend_from_slice(b".\r\n");
            }
            Ok(Command::Authenticate(mechanism, initial)) => match (self.offers.mechanism(&mechanism), initial) {
                (None, _) => out.extend_from_slice(b"-ERR Mechanism is not supported\r\n"),
                (Some(awaited), Some(initial)) => return self.authenticate(awaited, &initial, out),
                (Some(awaited), None) => {
                    out.extend_from_slice(b"+ \r\n");
                    self.awaited = awaited;
                }
            },
            Err(Wrong::Http) => return Heard::Drop,
            Err(Wrong::Unknown | Wrong::Tag) => {
                out.extend_from_slice(b"-ERR Unknown command\r\n");
                return Heard::Wrong;
            }
            Err(Wrong::Syntax) => {
                out.extend_from_slice(b"-ERR Invalid arguments\r\n");
                return Heard::Wrong;
            }
        }
        Heard::Answered
    }

    fn takes_literal(&self, _: &[u8]) -> bool {
        false
    }

    fn refuse_literal(&mut self, _: &[u8], _: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Invalid arguments\r\n");
    }

    fn no(&mut self, no: &No, out: &mut Vec<u8>) {
        let text = match no {
            No::Credentials => "[AUTH] Authentication failed".to_owned(),
            No::Unavailable => "[SYS/TEMP] Temporarily not available".to_owned(),
            No::Fault => "[SYS/PERM] Mailbox cannot be found".to_owned(),
            No::Expired => "[AUTH] The password has expired".to_owned(),
            No::Account(text) => format!("[SYS/PERM] {text}"),
            No::Policy(text) => format!("[AUTH] {text}"),
            No::Limit => "[SYS/TEMP] Too many connections".to_owned(),
        };
        out.extend_from_slice(format!("-ERR {text}\r\n").as_bytes());
    }

    fn yes(&mut self, _: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"+OK Logged in\r\n");
    }

    fn challenge(&mut self, challenge: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("+ {challenge}\r\n").as_bytes());
        self.awaited = Awaited::Acknowledged;
    }

    fn bye(&self, why: Bye, out: &mut Vec<u8>) {
        out.extend_from_slice(match why {
            Bye::TimedOut => b"-ERR Login took too long\r\n".as_slice(),
            Bye::TooLarge => b"-ERR Command is too large\r\n",
            Bye::TooManyErrors => b"-ERR Too many errors\r\n",
            Bye::Draining => b"-ERR [SYS/TEMP] Server is shutting down\r\n",
        });
    }
}
