//! IMAP before the login, and its answer to one.

use doorward_wire::mail::Bytes;
use doorward_wire::mail::imap::{self, Command, Wrong};
use doorward_wire::mail::scan::{Limits, Literals};

use super::refused::No;
use super::talk::{Awaited, Bye, Heard, NotPlain, Offers, Talk, login, response};
use crate::config::{Mail, Protocol};

/// A conversation.
pub(super) struct Imap {
    offers: Offers,
    /// The tag of the command that waits for its answer: a login's.
    tag: String,
    /// What the next line is.
    awaited: Awaited,
    /// The client asked what there is, and did not take it from the greeting.
    asked: bool,
}

impl Imap {
    /// What there is before the login. ENABLE and IDLE are the node's; they are in it since programs decide about push by the
    /// first list that they see.
    fn capabilities(&self) -> String {
        let mut list = "IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE".to_owned();
        if self.offers.start_tls {
            list.push_str(" STARTTLS");
        }
        list.push_str(if self.offers.passwords { " AUTH=PLAIN" } else { " LOGINDISABLED" });
        self.offers.tokens.each().for_each(|token| list.extend([" AUTH=", token.name()]));
        list
    }

    /// Answers a command that has a tag.
    fn tagged(&self, out: &mut Vec<u8>, tag: &str, text: &str) {
        out.extend_from_slice(format!("{tag} {text}\r\n").as_bytes());
    }

    fn authenticate(&mut self, awaited: Awaited, response: &[u8], out: &mut Vec<u8>) -> Heard {
        match login(awaited, response) {
            Ok(login) => return login,
            Err(NotPlain::Encoding) => {
                self.tagged(out, &self.tag, "BAD Invalid base64");
                return Heard::Wrong;
            }
            Err(NotPlain::ForOthers) => self.tagged(out, &self.tag, "NO [AUTHORIZATIONFAILED] Only for oneself"),
            Err(NotPlain::Malformed) => self.no(&No::Credentials, out),
        }
        Heard::Denied
    }

    fn command(&mut self, tag: &str, command: Command, out: &mut Vec<u8>) -> Heard {
        match command {
            Command::Capability => {
                self.asked = true;
                out.extend_from_slice(format!("* CAPABILITY {}\r\n", self.capabilities()).as_bytes());
                self.tagged(out, tag, "OK Completed");
            }
            Command::Noop => self.tagged(out, tag, "OK Completed"),
            Command::Id(_) => {
                out.extend_from_slice(b"* ID (\"name\" \"Doorward\")\r\n");
                self.tagged(out, tag, "OK Completed");
            }
            Command::Logout => {
                out.extend_from_slice(b"* BYE Logging out\r\n");
                self.tagged(out, tag, "OK Completed");
                return Heard::Close;
            }
            Command::StartTls if self.offers.start_tls => {
                self.tagged(out, tag, "OK Begin TLS negotiation now");
                return Heard::StartTls;
            }
            Command::StartTls => {
                self.tagged(out, tag, "BAD TLS is not available");
                return Heard::Wrong;
            }
            Command::Login(name, _) if !self.offers.passwords => {
                self.tagged(out, tag, PRIVACY);
                return Heard::ClearText(name);
            }
            Command::Login(name, password) => return Heard::LogIn { name, password },
            Command::Authenticate(..) if !self.offers.passwords => {
                self.tagged(out, tag, PRIVACY);
                return Heard::ClearText(Bytes::default());
            }
            Command::Authenticate(mechanism, initial) => match (self.offers.mechanism(&mechanism), initial) {
                (None, _) => self.tagged(out, tag, "NO Mechanism is not supported"),
                (Some(awaited), Some(initial)) => return self.authenticate(awaited, &initial, out),
                (Some(awaited), None) => {
                    out.extend_from_slice(b"+ \r\n");
                    self.awaited = awaited;
                }
            },
        }
        Heard::Answered
    }
}

const PRIVACY: &str = "NO [PRIVACYREQUIRED] Use TLS";

impl Talk for Imap {
    const PROTOCOL: Protocol = Protocol::Imap;
    const LITERALS: Literals = Literals::Both;
    const BYE: &'static [u8] = b"* BYE Session ends\r\n";

    fn new(offers: Offers) -> Self {
        Self { offers, tag: String::new(), awaited: Awaited::Command, asked: false }
    }

    fn limits(mail: &Mail) -> Limits {
        imap::limits(mail.line_max_size, mail.sasl_max_size, mail.literal_max_size)
    }

    fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("* OK [CAPABILITY {}] Doorward ready\r\n", self.capabilities()).as_bytes());
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
                self.tagged(out, &self.tag, "BAD Cancelled");
                return Heard::Wrong;
            };
            return self.authenticate(awaited, response, out);
        }
        let tag = imap::tag(command).unwrap_or("*").to_owned();
        match imap::read(command) {
            Ok(read) => {
                self.tag.clone_from(&tag);
                self.command(&tag, read, out)
            }
            Err(Wrong::Http) => Heard::Drop,
            Err(wrong) => {
                let text = match wrong {
                    Wrong::Tag | Wrong::Http => "BAD Invalid tag",
                    Wrong::Unknown => "BAD Unknown command",
                    Wrong::Syntax => "BAD Invalid arguments",
                };
                self.tagged(out, if wrong == Wrong::Tag { "*" } else { &tag }, text);
                Heard::Wrong
            }
        }
    }

    fn takes_literal(&self, begin: &[u8]) -> bool {
        imap::takes_literal(begin) && (self.offers.passwords || !is_login(begin))
    }

    fn refuse_literal(&mut self, begin: &[u8], is_too_large: bool, out: &mut Vec<u8>) {
        let text = match is_too_large {
            true => "BAD [TOOBIG] Literal is too large",
            false if is_login(begin) => PRIVACY,
            false => "BAD Unknown command",
        };
        self.tagged(out, imap::tag(begin).unwrap_or("*"), text);
    }

    fn no(&mut self, no: &No, out: &mut Vec<u8>) {
        let text = match no {
            No::Credentials => "NO [AUTHENTICATIONFAILED] Authentication failed".to_owned(),
            No::Unavailable => "NO [UNAVAILABLE] Temporarily not available".to_owned(),
            No::Fault => "NO [SERVERBUG] Mailbox cannot be found".to_owned(),
            No::Expired => "NO [EXPIRED] The password has expired".to_owned(),
            No::Account(text) => format!("NO [CONTACTADMIN] {text}"),
            No::Policy(text) => format!("NO [ALERT] {text}"),
            No::Limit => "NO [LIMIT] Too many connections".to_owned(),
        };
        self.tagged(out, &self.tag, &text);
    }

    fn yes(&mut self, capabilities: Option<&str>, out: &mut Vec<u8>) {
        // Who asked although the greeting said it does not look into answers either.
        if let (Some(list), true) = (capabilities, self.asked) {
            out.extend_from_slice(format!("* CAPABILITY {list}\r\n").as_bytes());
        }
        let code = capabilities.map(|list| format!("[CAPABILITY {list}] ")).unwrap_or_default();
        self.tagged(out, &self.tag, &format!("OK {code}Logged in"));
    }

    fn challenge(&mut self, challenge: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("+ {challenge}\r\n").as_bytes());
        self.awaited = Awaited::Acknowledged;
    }

    fn bye(&self, why: Bye, out: &mut Vec<u8>) {
        out.extend_from_slice(match why {
            Bye::TimedOut => b"* BYE Login took too long\r\n".as_slice(),
            Bye::TooLarge => b"* BYE [TOOBIG] Command is too large\r\n",
            Bye::TooManyErrors => b"* BYE Too many errors\r\n",
            Bye::Draining => b"* BYE Server is shutting down\r\n",
        });
    }
}

fn is_login(begin: &[u8]) -> bool {
    let name = imap::tag(begin).and_then(|tag| begin.get(tag.len() + 1..)).unwrap_or_default();
    name.get(..6).is_some_and(|name| name.eq_ignore_ascii_case(b"LOGIN "))
}
