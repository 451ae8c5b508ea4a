//! IMAP at a node of the demonstration: what mail programs need of RFC 3501 to show one mailbox that nothing changes.

use doorward_wire::mail::imap::{self, Command};
use doorward_wire::mail::scan::Literals;

use super::account::{Accounts, mailbox_by_plain, mailbox_of};
use super::letter::Letter;
use super::speak::{Answer, Speak};

mod fetch;
mod search;
mod words;

use words::words;

/// A conversation.
pub(in crate::demo) struct Imap {
    accounts: Accounts,
    letters: Option<Vec<Letter>>,
    is_selected: bool,
    /// The tag of the command that the next line belongs to: an IDLE, or an AUTHENTICATE.
    waits: Option<String>,
}

const BEFORE: &str = "IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE AUTH=PLAIN";
const AFTER: &str = "IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE NAMESPACE UNSELECT";
const READ_ONLY: &str = "NO [NOPERM] This mailbox is read-only";

impl Imap {
    fn enter(&mut self, tag: &str, letters: Option<Vec<Letter>>) -> Answer {
        self.letters = letters;
        match self.letters {
            Some(_) => format!("{tag} OK [CAPABILITY {AFTER}] Logged in\r\n").into(),
            None => format!("{tag} NO [AUTHENTICATIONFAILED] Wrong name or password\r\n").into(),
        }
    }

    fn before_login(&mut self, tag: &str, command: &[u8]) -> Answer {
        match imap::read(command) {
            Ok(Command::Login(name, password)) => {
                let letters = mailbox_of(&self.accounts, &name, &password);
                self.enter(tag, letters)
            }
            Ok(Command::Authenticate(mechanism, response)) if mechanism == "PLAIN" => match response {
                Some(response) => {
                    let letters = mailbox_by_plain(&self.accounts, &response);
                    self.enter(tag, letters)
                }
                None => {
                    self.waits = Some(tag.to_owned());
                    "+ \r\n".into()
                }
            },
            Ok(Command::Authenticate(..)) => format!("{tag} NO Mechanism is not supported\r\n").into(),
            Ok(command) => whenever(tag, &command, BEFORE),
            Err(_) => format!("{tag} BAD Log in first\r\n").into(),
        }
    }

    fn logged_in(&mut self, tag: &str, command: &[u8]) -> Answer {
        if let Ok(known) = imap::read(command) {
            return whenever(tag, &known, AFTER);
        }
        let text = String::from_utf8_lossy(command);
        let Some(words) = words(text.trim_end_matches(['\r', '\n'])) else { return bad(tag, "Invalid arguments") };
        let mut words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let is_uid = words.first().is_some_and(|word| word.eq_ignore_ascii_case("UID"));
        if is_uid {
            words.remove(0);
        }
        let Some((name, arguments)) = words.split_first() else { return bad(tag, "Unknown command") };
        let name = name.to_ascii_uppercase();
        let letters = self.letters.as_deref().unwrap_or_default();
        let (mut said, is_inbox) = (String::new(), |name: &str| name.eq_ignore_ascii_case("INBOX"));
        let end = match (name.as_str(), arguments) {
            ("LIST" | "LSUB", [.., pattern]) => {
                if pattern.is_empty() {
                    said = format!("* {name} (\\Noselect) \"/\" \"\"\r\n");
                } else if words::matches(pattern, "INBOX") {
                    said = format!("* {name} (\\HasNoChildren) \"/\" INBOX\r\n");
                }
                "OK Completed"
            }
            ("NAMESPACE", []) => {
                "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n".clone_into(&mut said);
                "OK Completed"
            }
            ("ENABLE", _) => {
                "* ENABLED\r\n".clone_into(&mut said);
                "OK Completed"
            }
            ("SUBSCRIBE" | "UNSUBSCRIBE" | "CHECK", _) => "OK Completed",
            ("SELECT" | "EXAMINE", [name, ..]) if is_inbox(name) => {
                said = select(letters);
                self.is_selected = true;
                "OK [READ-ONLY] Completed"
            }
            ("SELECT" | "EXAMINE" | "STATUS", [_, ..]) if !arguments.first().is_some_and(|name| is_inbox(name)) => {
                "NO [NONEXISTENT] There is INBOX only"
            }
            ("STATUS", [_, items]) => {
                said = status(letters, items);
                "OK Completed"
            }
            ("CLOSE" | "UNSELECT", []) if self.is_selected => {
                self.is_selected = false;
                "OK Completed"
            }
            ("IDLE", []) => {
                self.waits = Some(tag.to_owned());
                return "+ idling\r\n".into();
            }
            ("SEARCH", criteria) if self.is_selected => match search::search(letters, criteria) {
                Some(found) => {
                    said = format!("* SEARCH{found}\r\n");
                    "OK Completed"
                }
                None => "NO [CANNOT] There is no such search here",
            },
            ("FETCH", [set, items]) if self.is_selected => match fetch::fetch(letters, set, items, is_uid) {
                Some(answers) => return [answers, format!("{tag} OK Completed\r\n").into_bytes()].concat().into(),
                None => "BAD Invalid arguments",
            },
            ("STORE" | "EXPUNGE" | "COPY" | "MOVE" | "APPEND" | "CREATE" | "DELETE" | "RENAME", _) => READ_ONLY,
            ("SEARCH" | "FETCH" | "CLOSE" | "UNSELECT", _) => "BAD Not now, or invalid arguments",
            _ => "BAD Unknown command",
        };
        format!("{said}{tag} {end}\r\n").into()
    }
}

impl Speak for Imap {
    const LITERALS: Literals = Literals::Both;

    fn begin(accounts: Accounts) -> (Self, &'static str) {
        let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE AUTH=PLAIN] Demo ready\r\n";
        (Self { accounts, letters: None, is_selected: false, waits: None }, greeting)
    }

    fn hear(&mut self, command: &[u8]) -> Answer {
        if let Some(tag) = self.waits.take() {
            let response = command.trim_ascii_end();
            return match self.letters {
                Some(_) if response.eq_ignore_ascii_case(b"DONE") => format!("{tag} OK Completed\r\n").into(),
                Some(_) => bad(&tag, "DONE was expected"),
                None => {
                    let letters = mailbox_by_plain(&self.accounts, response);
                    self.enter(&tag, letters)
                }
            };
        }
        let Some(tag) = imap::tag(command) else { return bad("*", "Invalid tag") };
        if self.letters.is_some() { self.logged_in(tag, command) } else { self.before_login(tag, command) }
    }
}

fn bad(tag: &str, text: &str) -> Answer {
    format!("{tag} BAD {text}\r\n").into()
}

/// Answers what may come before the login and after it.
fn whenever(tag: &str, command: &Command, capabilities: &str) -> Answer {
    match command {
        Command::Capability => format!("* CAPABILITY {capabilities}\r\n{tag} OK Completed\r\n").into(),
        Command::Noop => format!("{tag} OK Completed\r\n").into(),
        Command::Id(_) => format!("* ID (\"name\" \"Doorward demo\")\r\n{tag} OK Completed\r\n").into(),
        Command::Logout => Answer::last(format!("* BYE Goodbye\r\n{tag} OK Completed\r\n")),
        Command::StartTls | Command::Login(..) | Command::Authenticate(..) => bad(tag, "Not now"),
    }
}

fn select(letters: &[Letter]) -> String {
    let (count, next) = (letters.len(), letters.len() + 1);
    let unseen = letters.iter().position(|letter| !letter.is_seen);
    let unseen = unseen.map_or_else(String::new, |at| format!("* OK [UNSEEN {}] First unseen\r\n", at + 1));
    format!(
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* OK [PERMANENTFLAGS ()] Read-only\r\n\
         * {count} EXISTS\r\n* 0 RECENT\r\n{unseen}* OK [UIDVALIDITY 1] Valid\r\n* OK [UIDNEXT {next}] Next\r\n"
    )
}

fn status(letters: &[Letter], items: &str) -> String {
    let items = items.trim_matches(['(', ')']).split_whitespace().filter_map(|item| {
        let number = match item.to_ascii_uppercase().as_str() {
            "MESSAGES" => letters.len(),
            "UIDNEXT" => letters.len() + 1,
            "UIDVALIDITY" => 1,
            "UNSEEN" => letters.iter().filter(|letter| !letter.is_seen).count(),
            "RECENT" => 0,
            _ => return None,
        };
        Some(format!("{} {number}", item.to_ascii_uppercase()))
    });
    format!("* STATUS INBOX ({})\r\n", items.collect::<Vec<_>>().join(" "))
}
