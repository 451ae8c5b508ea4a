//! Pure. The mail of a mailbox as mail programs read it (RFC 5322), oldest first: the letters of the webmail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::demo::webmail::mailbox::messages;

/// When letters came, newest first. Days that stay the same, since a program remembers what it has seen.
const DATES: [&str; 6] = [
    "Thu, 08 Jan 2026 09:41:00 +0000",
    "Thu, 08 Jan 2026 08:15:00 +0000",
    "Wed, 07 Jan 2026 18:20:00 +0000",
    "Wed, 07 Jan 2026 11:05:00 +0000",
    "Mon, 05 Jan 2026 16:30:00 +0000",
    "Fri, 02 Jan 2026 10:00:00 +0000",
];

/// One letter. Its number in the mailbox is its UID too.
pub(super) struct Letter {
    /// Its header fields, with the empty line behind them.
    pub(super) head: String,
    /// What is behind it: lines that end in CR LF.
    pub(super) text: String,
    /// When it came, as IMAP says it.
    pub(super) came: String,
    /// The `Date` of its head.
    pub(super) date: &'static str,
    /// Who wrote it: a display name as heads have it, and an address.
    pub(super) from: (String, &'static str),
    /// Whom it is for, in the same way.
    pub(super) to: (String, &'static str),
    /// Its subject as heads have it.
    pub(super) subject: String,
    /// Its `Message-ID`.
    pub(super) id: String,
    /// Whether somebody has read it.
    pub(super) is_seen: bool,
}

impl Letter {
    /// All of it.
    pub(super) fn whole(&self) -> String {
        format!("{}{}", self.head, self.text)
    }
}

/// The mailbox of a person with this display name and address.
pub(super) fn mailbox(owner: &str, address: &'static str) -> Vec<Letter> {
    let mut letters = messages(owner);
    letters.reverse();
    let to = (word(owner), address);
    let letter = letters.into_iter().zip(DATES.iter().rev()).map(|(letter, date)| {
        let (from, subject) = ((word(letter.sender), letter.address), word(letter.subject));
        let id = format!("<{}.{}>", letter.number, address);
        let head = format!(
            "From: {} <{}>\r\nTo: {} <{}>\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: {id}\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            from.0, from.1, to.0, to.1
        );
        let text = format!("{}\r\n", letter.paragraphs.join("\r\n\r\n"));
        // `08-Jan-2026 09:41:00 +0000`
        let came = date.split_once(", ").map_or_else(String::new, |(_, rest)| rest.replacen(' ', "-", 2));
        Letter { head, text, came, date, from, to: to.clone(), subject, id, is_seen: !letter.unread }
    });
    letter.collect()
}

/// A text as heads have it (RFC 2047).
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " .,:'?&<>/-".contains(c);
    if text.chars().all(plain) && !text.contains(['<', ',']) {
        text.to_owned()
    } else {
        format!("=?utf-8?B?{}?=", STANDARD.encode(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_ascii_in_their_heads_and_lines_in_their_texts() {
        for owner in ["Alice Archer", "Zoë Öztürk"] {
            let letters = mailbox(owner, "z@a.test");
            assert_eq!(letters.len(), DATES.len());
            assert!(letters[0].came.ends_with(" 10:00:00 +0000") && letters[0].came.starts_with("02-Jan-2026"));
            for letter in letters {
                assert!(letter.head.is_ascii() && letter.head.ends_with("\r\n\r\n"), "{}", letter.head);
                assert!(letter.text.ends_with("\r\n") && !letter.whole().replace("\r\n", "").contains(['\r', '\n']));
            }
        }
    }
}
