//! ManageSieve before the login, and its answer to one (RFC 5804).

use doorward_wire::mail::imap::Wrong;
use doorward_wire::mail::scan::{Limits, Literals};
use doorward_wire::mail::sieve::{self, Command};
use doorward_wire::mail::{Bytes, sasl};

use super::refused::No;
use super::talk::{Awaited, Bye, Heard, NotPlain, Offers, Talk, login};
use crate::config::{Mail, Protocol};

/// The longest text that NOOP has repeated (RFC 5804, section 4: of a quoted string).
const TAG: usize = 1024;

/// A conversation.
pub(super) struct Sieve {
    offers: Offers,
    /// What scripts may use, as nodes have it.
    extensions: String,
    /// What comes next.
    awaited: Awaited,
}

impl Sieve {
    fn capabilities(&self, out: &mut Vec<u8>) {
        let mut sasl = if self.offers.passwords { "PLAIN" } else { "" }.to_owned();
        self.offers.tokens.each().for_each(|token| sasl.extend([" ", token.name()]));
        let start_tls = if self.offers.start_tls { "\"STARTTLS\"\r\n" } else { "" };
        let extensions = &self.extensions;
        let list = format!(
            "\"IMPLEMENTATION\" \"Doorward\"\r\n\"SASL\" \"{sasl}\"\r\n\"SIEVE\" \"{extensions}\"\r\n{start_tls}\
             \"VERSION\" \"1.0\"\r\n"
        );
        out.extend_from_slice(list.as_bytes());
    }

    fn authenticate(&mut self, awaited: Awaited, response: &[u8], out: &mut Vec<u8>) -> Heard {
        match login(awaited, response) {
            Ok(login) => login,
            Err(NotPlain::Encoding) => {
                out.extend_from_slice(b"NO \"Invalid base64\"\r\n");
                Heard::Wrong
            }
            Err(NotPlain::ForOthers | NotPlain::Malformed) => {
                self.no(&No::Credentials, out);
                Heard::Denied
            }
        }
    }
}

impl Talk for Sieve {
    const PROTOCOL: Protocol = Protocol::Sieve;
    const LITERALS: Literals = Literals::NonSynchronizing;
    const BYE: &'static [u8] = b"BYE \"Session ends\"\r\n";
    const GREETS_IN_TLS: bool = true;

    fn new(offers: Offers) -> Self {
        Self { offers, extensions: String::new(), awaited: Awaited::Command }
    }

    fn configure(&mut self, mail: &Mail, _: &str) {
        self.extensions = mail.sieve_extensions.join(" ");
    }

    fn limits(mail: &Mail) -> Limits {
        sieve::limits(mail.line_max_size, mail.sasl_max_size)
    }

    fn greet(&self, out: &mut Vec<u8>) {
        self.capabilities(out);
        out.extend_from_slice(b"OK \"Doorward ready\"\r\n");
    }

    fn secured(&mut self, offers: Offers) {
        (self.offers, self.awaited) = (offers, Awaited::Command);
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
            let response = sieve::response(command);
            let Some(response) = response.filter(|response| response.as_slice() != b"*") else {
                out.extend_from_slice(b"NO \"Cancelled\"\r\n");
                return Heard::Wrong;
            };
            return self.authenticate(awaited, &response, out);
        }
        match sieve::read(command) {
            Ok(Command::Capability) => {
                self.capabilities(out);
                out.extend_from_slice(DONE);
            }
            Ok(Command::Noop(None)) => out.extend_from_slice(DONE),
            Ok(Command::Noop(Some(tag))) if tag.len() <= TAG => {
                out.extend_from_slice(b"OK (TAG ");
                string(&tag, out);
                out.extend_from_slice(b") \"Done\"\r\n");
            }
            Ok(Command::Logout) => {
                out.extend_from_slice(b"OK \"Logging out\"\r\n");
                return Heard::Close;
            }
            Ok(Command::StartTls) if self.offers.start_tls => {
                out.extend_from_slice(b"OK \"Begin TLS negotiation now\"\r\n");
                return Heard::StartTls;
            }
            Ok(Command::StartTls) => {
                out.extend_from_slice(b"NO \"TLS is not available\"\r\n");
                return Heard::Wrong;
            }
            Ok(Command::Authenticate(..)) if !self.offers.passwords => {
                out.extend_from_slice(b"NO (ENCRYPT-NEEDED) \"Use TLS\"\r\n");
                return Heard::ClearText(Bytes::default());
            }
            Ok(Command::Authenticate(mechanism, initial)) => match (self.offers.mechanism(&mechanism), initial) {
                (None, _) => out.extend_from_slice(b"NO \"Mechanism is not supported\"\r\n"),
                (Some(awaited), Some(initial)) => return self.authenticate(awaited, &initial, out),
                (Some(awaited), None) => {
                    out.extend_from_slice(b"\"\"\r\n");
                    self.awaited = awaited;
                }
            },
            Err(Wrong::Http) => return Heard::Drop,
            Err(Wrong::Unknown | Wrong::Tag) => {
                out.extend_from_slice(b"NO \"Unknown command\"\r\n");
                return Heard::Wrong;
            }
            Ok(Command::Noop(Some(_))) | Err(Wrong::Syntax) => {
                out.extend_from_slice(b"NO \"Invalid arguments\"\r\n");
                return Heard::Wrong;
            }
        }
        Heard::Answered
    }

    fn takes_literal(&self, _: &[u8]) -> bool {
        false
    }

    fn refuse_literal(&mut self, _: &[u8], _: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"NO \"Invalid arguments\"\r\n");
    }

    fn no(&mut self, no: &No, out: &mut Vec<u8>) {
        let (code, text) = match no {
            No::Credentials => ("", "Authentication failed"),
            No::Unavailable => ("(TRYLATER) ", "Temporarily not available"),
            No::Fault => ("(TRYLATER) ", "Mailbox cannot be found"),
            No::Expired => ("", "The password has expired"),
            No::Account(text) => ("", *text),
            No::Policy(text) => ("", text.as_str()),
            No::Limit => ("(TRYLATER) ", "Too many connections"),
        };
        out.extend_from_slice(format!("NO {code}").as_bytes());
        string(text.as_bytes(), out);
        out.extend_from_slice(b"\r\n");
    }

    fn yes(&mut self, _: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"OK \"Logged in\"\r\n");
    }

    fn challenge(&mut self, challenge: &str, out: &mut Vec<u8>) {
        string(challenge.as_bytes(), out);
        out.extend_from_slice(b"\r\n");
        self.awaited = Awaited::Acknowledged;
    }

    fn bye(&self, why: Bye, out: &mut Vec<u8>) {
        out.extend_from_slice(match why {
            Bye::TimedOut => b"BYE \"Login took too long\"\r\n".as_slice(),
            Bye::TooLarge => b"BYE \"Command is too large\"\r\n",
            Bye::TooManyErrors => b"BYE \"Too many errors\"\r\n",
            Bye::Draining => b"BYE (TRYLATER) \"Server is shutting down\"\r\n",
        });
    }
}

const DONE: &[u8] = b"OK \"Done\"\r\n";

/// A string of a server: quoted where it has a form for it, or else a literal.
fn string(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text).ok().filter(|text| sasl::is_name(text)) {
        Some(text) => {
            out.push(b'"');
            for byte in text.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
        }
        None => {
            out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
            out.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_a_form_for_all_bytes() {
        let said = |text: &[u8]| {
            let mut out = Vec::new();
            string(text, &mut out);
            out
        };
        assert_eq!(said(br#"a"b\c"#), br#""a\"b\\c""#);
        assert_eq!(said(b"a\r\nOK"), b"{5}\r\na\r\nOK");
        assert_eq!(said(b"\xff"), b"{1}\r\n\xff");
    }
}
