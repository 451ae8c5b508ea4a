//! POP3 at a node of the demonstration (RFC 1939, CAPA of RFC 2449).

use doorward_wire::mail::pop3::{self, Command};
use doorward_wire::mail::scan::Literals;

use super::account::{Accounts, mailbox_by_plain, mailbox_of};
use super::letter::Letter;
use super::speak::{Answer, Speak};

/// A conversation.
pub(in crate::demo) struct Pop3 {
    accounts: Accounts,
    name: Vec<u8>,
    awaits: bool,
    letters: Option<Vec<Letter>>,
}

const CAPABILITIES: &str = "+OK\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN\r\nRESP-CODES\r\nPIPELINING\r\n.\r\n";
const WRONG: &str = "-ERR [AUTH] Wrong name or password\r\n";

impl Pop3 {
    fn enter(&mut self, letters: Option<Vec<Letter>>) -> Answer {
        let is_in = letters.is_some();
        self.letters = letters;
        if is_in { "+OK Logged in\r\n".into() } else { WRONG.into() }
    }

    fn before_login(&mut self, command: &[u8]) -> Answer {
        if std::mem::take(&mut self.awaits) {
            let letters = mailbox_by_plain(&self.accounts, command.trim_ascii_end());
            return self.enter(letters);
        }
        match pop3::read(command) {
            Ok(Command::Capabilities) => CAPABILITIES.into(),
            Ok(Command::Quit) => Answer::last("+OK Goodbye\r\n"),
            Ok(Command::User(name)) => {
                self.name = name;
                "+OK\r\n".into()
            }
            Ok(Command::Password(password)) => {
                let letters = mailbox_of(&self.accounts, &self.name, &password);
                self.enter(letters)
            }
            Ok(Command::Mechanisms) => "+OK\r\nPLAIN\r\n.\r\n".into(),
            Ok(Command::Authenticate(mechanism, response)) if mechanism == "PLAIN" => match response {
                Some(response) => {
                    let letters = mailbox_by_plain(&self.accounts, &response);
                    self.enter(letters)
                }
                None => {
                    self.awaits = true;
                    "+ \r\n".into()
                }
            },
            Ok(Command::StartTls | Command::Authenticate(..)) | Err(_) => "-ERR Unknown command\r\n".into(),
        }
    }
}

impl Speak for Pop3 {
    const LITERALS: Literals = Literals::None;

    fn begin(accounts: Accounts) -> (Self, &'static str) {
        (Self { accounts, name: Vec::new(), awaits: false, letters: None }, "+OK Demo ready\r\n")
    }

    fn hear(&mut self, command: &[u8]) -> Answer {
        let Some(letters) = &self.letters else { return self.before_login(command) };
        let text = String::from_utf8_lossy(command);
        let mut words = text.split_whitespace();
        let (name, numbers) = (words.next().unwrap_or_default().to_ascii_uppercase(), words);
        let numbers: Vec<Option<usize>> = numbers.map(|number| number.parse().ok()).collect();
        let letter = |number: Option<&Option<usize>>| letters.get(number.copied().flatten()?.checked_sub(1)?);
        let first = letter(numbers.first());
        match (name.as_str(), numbers.as_slice()) {
            ("CAPA", []) => CAPABILITIES.into(),
            ("NOOP" | "RSET", []) => "+OK\r\n".into(),
            ("QUIT", []) => Answer::last("+OK Goodbye\r\n"),
            ("STAT", []) => {
                let octets: usize = letters.iter().map(|letter| letter.whole().len()).sum();
                format!("+OK {} {octets}\r\n", letters.len()).into()
            }
            ("LIST" | "UIDL", []) => {
                let mut answer = "+OK\r\n".to_owned();
                for (at, letter) in letters.iter().enumerate() {
                    answer.push_str(&format!("{}\r\n", listed(&name, at + 1, letter)));
                }
                format!("{answer}.\r\n").into()
            }
            ("LIST" | "UIDL", [Some(number)]) if let Some(letter) = first => {
                format!("+OK {}\r\n", listed(&name, *number, letter)).into()
            }
            ("RETR", [_]) if let Some(letter) = first => several(&letter.whole()),
            ("TOP", [_, Some(lines)]) if let Some(letter) = first => {
                let text: String = letter.text.split_inclusive('\n').take(*lines).collect();
                several(&format!("{}{text}", letter.head))
            }
            ("LIST" | "UIDL" | "RETR" | "TOP", _) => "-ERR No such message\r\n".into(),
            ("DELE", _) => "-ERR This mailbox is read-only\r\n".into(),
            _ => "-ERR Unknown command\r\n".into(),
        }
    }
}

fn listed(command: &str, number: usize, letter: &Letter) -> String {
    if command == "LIST" { format!("{number} {}", letter.whole().len()) } else { format!("{number} demo-{number}") }
}

/// Lines, a dot before those that begin with one, and the line that ends them (RFC 1939, section 3).
fn several(text: &str) -> Answer {
    let mut answer = "+OK\r\n".to_owned();
    for line in text.split_inclusive('\n') {
        if line.starts_with('.') {
            answer.push('.');
        }
        answer.push_str(line);
    }
    format!("{answer}.\r\n").into()
}
