//! Submission before the login, and its answer to one (RFC 6409; AUTH of RFC 4954, STARTTLS of RFC 3207).

use doorward_wire::mail::imap::Wrong;
use doorward_wire::mail::scan::{Limits, Literals};
use doorward_wire::mail::smtp::{self, Command};
use doorward_wire::mail::{Bytes, of_lines, sasl};

use super::refused::No;
use super::talk::{Awaited, Bye, Heard, NotPlain, Offers, Talk, login, response};
use crate::config::{Mail, Protocol};

/// A conversation.
pub(super) struct Submission {
    offers: Offers,
    /// What the server calls itself.
    host: String,
    /// What nodes can do.
    extensions: Vec<String>,
    /// The client's name, once it has said EHLO; in TLS it has to say it again.
    hello: Option<String>,
    awaits: Awaits,
}

/// What the next line is.
#[derive(Default)]
enum Awaits {
    /// A command.
    #[default]
    Command,
    /// A response of a mechanism.
    Response(Awaited),
    /// The name, or then the password, of LOGIN.
    Name,
    Password(Bytes),
}

impl Submission {
    fn greet_again(&self, out: &mut Vec<u8>) {
        let mut lines = vec![self.host.clone()];
        lines.extend(self.extensions.iter().cloned());
        if self.offers.start_tls {
            lines.push("STARTTLS".to_owned());
        }
        if self.offers.passwords {
            let tokens = self.offers.tokens.each().map(|token| format!(" {}", token.name()));
            lines.push(format!("AUTH PLAIN LOGIN{}", tokens.collect::<String>()));
        }
        let last = lines.len() - 1;
        for (number, line) in lines.into_iter().enumerate() {
            out.extend_from_slice(format!("250{}{line}\r\n", if number == last { ' ' } else { '-' }).as_bytes());
        }
    }

    fn authenticate(&mut self, awaited: Awaited, response: &[u8], out: &mut Vec<u8>) -> Heard {
        match login(awaited, response) {
            Ok(login) => login,
            Err(NotPlain::Encoding) => is_no_base64(out),
            Err(NotPlain::ForOthers | NotPlain::Malformed) => {
                self.no(&No::Credentials, out);
                Heard::Denied
            }
        }
    }

    fn hear_name(&mut self, response: &[u8], out: &mut Vec<u8>) -> Heard {
        let Some(name) = sasl::initial(response) else { return is_no_base64(out) };
        out.extend_from_slice(b"334 UGFzc3dvcmQ6\r\n");
        self.awaits = Awaits::Password(name);
        Heard::Answered
    }

    fn response(&mut self, awaits: Awaits, line: &[u8], out: &mut Vec<u8>) -> Heard {
        if matches!(awaits, Awaits::Response(Awaited::Acknowledged)) {
            self.no(&No::Credentials, out);
            return Heard::Denied;
        }
        let Some(response) = response(line) else {
            out.extend_from_slice(b"501 5.7.0 Cancelled\r\n");
            return Heard::Wrong;
        };
        match awaits {
            Awaits::Name => self.hear_name(response, out),
            Awaits::Password(name) => match sasl::decode(response) {
                // A NUL would be the end of something elsewhere.
                Some(password) if password.contains(&0) => {
                    self.no(&No::Credentials, out);
                    Heard::Denied
                }
                Some(password) => Heard::LogIn { name, password },
                None => is_no_base64(out),
            },
            Awaits::Response(awaited) => self.authenticate(awaited, response, out),
            Awaits::Command => Heard::Wrong,
        }
    }

    fn begin_login(&mut self, mechanism: &str, initial: Option<Bytes>, out: &mut Vec<u8>) -> Heard {
        if !self.offers.passwords {
            out.extend_from_slice(b"538 5.7.11 Use STARTTLS\r\n");
            return Heard::ClearText(Bytes::default());
        }
        if self.hello.is_none() {
            out.extend_from_slice(b"503 5.5.1 EHLO first\r\n");
            return Heard::Wrong;
        }
        match (mechanism, self.offers.mechanism(mechanism), initial) {
            ("LOGIN", _, Some(initial)) => return self.hear_name(&initial, out),
            ("LOGIN", _, None) => {
                out.extend_from_slice(b"334 VXNlcm5hbWU6\r\n");
                self.awaits = Awaits::Name;
            }
            (_, Some(awaited), Some(initial)) => return self.authenticate(awaited, &initial, out),
            (_, Some(awaited), None) => {
                out.extend_from_slice(b"334 \r\n");
                self.awaits = Awaits::Response(awaited);
            }
            (_, None, _) => out.extend_from_slice(b"504 5.5.4 Mechanism is not supported\r\n"),
        }
        Heard::Answered
    }
}

fn is_no_base64(out: &mut Vec<u8>) -> Heard {
    out.extend_from_slice(b"501 5.5.2 Invalid base64\r\n");
    Heard::Wrong
}

impl Talk for Submission {
    const PROTOCOL: Protocol = Protocol::Submission;
    const LITERALS: Literals = Literals::None;
    const BYE: &'static [u8] = b"421 4.3.2 Session ends\r\n";

    fn new(offers: Offers) -> Self {
        let (host, extensions) = ("localhost".to_owned(), Vec::new());
        Self { offers, host, extensions, hello: None, awaits: Awaits::Command }
    }

    fn configure(&mut self, mail: &Mail, host: &str) {
        self.extensions.clone_from(&mail.submission_extensions);
        // A site may have a pattern for a name, or several.
        let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if !host.is_empty() && host.chars().all(right) {
            host.clone_into(&mut self.host);
        }
    }

    fn limits(mail: &Mail) -> Limits {
        of_lines(mail.line_max_size, mail.sasl_max_size)
    }

    fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("220 {} ESMTP Doorward ready\r\n", self.host).as_bytes());
    }

    fn secured(&mut self, offers: Offers) {
        (self.offers, self.hello, self.awaits) = (offers, None, Awaits::Command);
    }

    fn awaits_response(&self) -> bool {
        !matches!(self.awaits, Awaits::Command)
    }

    fn hello(&self) -> &str {
        self.hello.as_deref().unwrap_or_default()
    }

    fn hear(&mut self, command: &[u8], out: &mut Vec<u8>) -> Heard {
        match std::mem::take(&mut self.awaits) {
            Awaits::Command => {}
            awaits => return self.response(awaits, command, out),
        }
        let answer: &[u8] = match smtp::read(command) {
            Ok(Command::Ehlo(name)) => {
                self.hello = Some(name);
                self.greet_again(out);
                return Heard::Answered;
            }
            Ok(Command::Helo(_)) => {
                // Who says HELO knows nothing of AUTH.
                self.hello = None;
                out.extend_from_slice(format!("250 {}\r\n", self.host).as_bytes());
                return Heard::Answered;
            }
            Ok(Command::Authenticate(mechanism, initial)) => return self.begin_login(&mechanism, initial, out),
            Ok(Command::StartTls) if self.offers.start_tls => {
                out.extend_from_slice(b"220 2.0.0 Begin TLS negotiation now\r\n");
                return Heard::StartTls;
            }
            Ok(Command::Quit) => {
                out.extend_from_slice(b"221 2.0.0 Logging out\r\n");
                return Heard::Close;
            }
            Ok(Command::Noop | Command::Reset) => {
                out.extend_from_slice(b"250 2.0.0 Done\r\n");
                return Heard::Answered;
            }
            Ok(Command::Help) => {
                out.extend_from_slice(b"214 2.0.0 EHLO, STARTTLS, AUTH\r\n");
                return Heard::Answered;
            }
            Ok(Command::Verify) => {
                out.extend_from_slice(b"252 2.5.0 Send a message and see\r\n");
                return Heard::Answered;
            }
            Ok(Command::Chunk) => {
                // What follows is a part of a message, and must not be taken for commands.
                out.extend_from_slice(NOT_YET);
                return Heard::Close;
            }
            Ok(Command::Mail) => NOT_YET,
            Ok(Command::StartTls) => b"503 5.5.1 TLS is not available\r\n",
            Ok(Command::Claim) => b"550 5.7.0 Not from there\r\n",
            Err(Wrong::Http) => return Heard::Drop,
            Err(Wrong::Unknown | Wrong::Tag) => b"502 5.5.1 Unknown command\r\n",
            Err(Wrong::Syntax) => b"501 5.5.2 Invalid arguments\r\n",
        };
        out.extend_from_slice(answer);
        Heard::Wrong
    }

    fn takes_literal(&self, _: &[u8]) -> bool {
        false
    }

    fn refuse_literal(&mut self, _: &[u8], _: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"501 5.5.2 Invalid arguments\r\n");
    }

    fn no(&mut self, no: &No, out: &mut Vec<u8>) {
        let text = match no {
            No::Credentials => "535 5.7.8 Authentication failed".to_owned(),
            No::Unavailable => "454 4.7.0 Temporarily not available".to_owned(),
            No::Fault => "454 4.7.0 Mailbox cannot be found".to_owned(),
            No::Expired => "535 5.7.8 The password has expired".to_owned(),
            No::Account(text) => format!("525 5.7.13 {text}"),
            No::Policy(text) => format!("535 5.7.8 {text}"),
            No::Limit => "454 4.7.0 Too many connections".to_owned(),
        };
        out.extend_from_slice(format!("{text}\r\n").as_bytes());
    }

    fn yes(&mut self, _: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"235 2.7.0 Logged in\r\n");
    }

    fn challenge(&mut self, challenge: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("334 {challenge}\r\n").as_bytes());
        self.awaits = Awaits::Response(Awaited::Acknowledged);
    }

    fn bye(&self, why: Bye, out: &mut Vec<u8>) {
        out.extend_from_slice(match why {
            Bye::TimedOut => b"421 4.4.2 Login took too long\r\n".as_slice(),
            Bye::TooLarge => b"500 5.5.6 Line is too long\r\n",
            Bye::TooManyErrors => b"421 4.7.0 Too many errors\r\n",
            Bye::Draining => b"421 4.3.2 Server is shutting down\r\n",
        });
    }
}

const NOT_YET: &[u8] = b"530 5.7.0 Log in first\r\n";
