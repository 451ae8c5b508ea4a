//! Commands after the login that take a session back before it (UNAUTHENTICATE: RFC 8437; RFC 5804, section 2.14.1), or put it
//! out of sight (COMPRESS, RFC 4978). Whoever copies a session must not let them through: the next login on it would go past
//! all that is checked at the door.
//!
//! Every line is looked at, whatever it belongs to: who would pass over literals has to believe that the server takes them,
//! which only the server knows. A command always begins behind the end of a line, so none is missed; a line of a message
//! that looks like one is taken for it.

/// The longest name, and the byte behind it.
const ROOM: usize = 15;
const NAMES: [&[u8]; 2] = [b"UNAUTHENTICATE", b"COMPRESS"];
/// Where commands have no tags. A line of a message may well begin with a word and this one.
const WITHOUT_TAGS: &[u8] = b"STARTTLS";

/// Follows what a client sends, however it is cut.
#[derive(Debug, Clone)]
pub struct Watch {
    has_tags: bool,
    at: At,
    /// What there is of a command's name.
    name: [u8; ROOM],
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the tag, or in it.
    Tag,
    /// Before the name of the command, or in it.
    Name,
    /// Behind it: nothing matters until the end of the line.
    Rest,
}

impl Watch {
    /// Of a protocol whose commands have tags (IMAP), or of one whose commands have none (ManageSieve).
    pub fn new(has_tags: bool) -> Self {
        let mut watch = Self { has_tags, at: At::Rest, name: [0; ROOM], length: 0 };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        (self.at, self.length) = (if self.has_tags { At::Tag } else { At::Name }, 0);
    }

    /// Takes what comes next: how much of it may be passed on, if a command is in it that may not. The server does not get the
    /// end of its line then, and must get nothing more.
    pub fn refuses(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut index = 0;
        while let Some(byte) = bytes.get(index).copied() {
            let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
            match self.at {
                At::Tag if is_blank && self.length > 0 => (self.at, self.length) = (At::Name, 0),
                At::Tag if !is_blank => self.length = 1,
                At::Name if is_blank && self.is_refused() => return Some(index),
                At::Name if is_blank && self.length > 0 => self.at = At::Rest,
                At::Name if !is_blank => match self.name.get_mut(self.length) {
                    Some(place) => {
                        *place = byte;
                        self.length += 1;
                    }
                    None => self.at = At::Rest,
                },
                At::Tag | At::Name => {}
                At::Rest => {
                    index += memchr::memchr(b'\n', bytes.get(index..).unwrap_or_default())?;
                }
            }
            if bytes.get(index) == Some(&b'\n') {
                self.begin();
            }
            index += 1;
        }
        None
    }

    fn is_refused(&self) -> bool {
        let name = self.name.get(..self.length).unwrap_or_default();
        let is_known = NAMES.iter().any(|known| name.eq_ignore_ascii_case(known));
        is_known || (!self.has_tags && name.eq_ignore_ascii_case(WITHOUT_TAGS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on of bytes that come in pieces of each size.
    fn passed(has_tags: bool, text: &str) -> Option<String> {
        let of = |size: usize| {
            let (mut watch, mut passed) = (Watch::new(has_tags), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                if let Some(length) = watch.refuses(piece) {
                    passed.extend_from_slice(&piece[..length]);
                    return Some(String::from_utf8(passed).unwrap());
                }
                passed.extend_from_slice(piece);
            }
            None
        };
        let whole = of(text.len());
        for size in 1..text.len() {
            assert_eq!(of(size), whole, "{text:?} in pieces of {size}");
        }
        whole
    }

    #[test]
    fn commands_that_go_back_before_the_login_do_not_pass() {
        for (text, expected) in [
            ("a UNAUTHENTICATE\r\n", "a UNAUTHENTICATE"),
            ("a NOOP\r\nb unauthenticate\r\nc LOGIN x y\r\n", "a NOOP\r\nb unauthenticate"),
            ("a  Unauthenticate \n", "a  Unauthenticate"),
            ("a\tCOMPRESS DEFLATE\r\n", "a\tCOMPRESS"),
            ("a APPEND x {30}\r\nb UNAUTHENTICATE\r\n", "a APPEND x {30}\r\nb UNAUTHENTICATE"),
            ("a IDLE\r\nDONE\r\n\r\nb UNAUTHENTICATE\r", "a IDLE\r\nDONE\r\n\r\nb UNAUTHENTICATE"),
            (" \r\n \nx UNAUTHENTICATE\0", " \r\n \nx UNAUTHENTICATE"),
        ] {
            assert_eq!(passed(true, text).as_deref(), Some(expected), "{text:?}");
        }
        assert_eq!(passed(false, "NOOP\r\nUNAUTHENTICATE\r\n").as_deref(), Some("NOOP\r\nUNAUTHENTICATE"));
        assert_eq!(passed(false, "NOOP\r\nstarttls\r\n").as_deref(), Some("NOOP\r\nstarttls"));
    }

    #[test]
    fn all_others_do() {
        for text in [
            "a SELECT UNAUTHENTICATE\r\nb UNAUTHENTICATED\r\nc UNAUTH\r\nUNAUTHENTICATE x\r\nd COMPRESSION\r\n",
            "The STARTTLS command\r\n",
            "a UID FETCH 1 (FLAGS)\r\n\r\na UNAUTHENTICATEUNAUTHENTICATE\r\n",
        ] {
            assert_eq!(passed(true, text), None, "{text:?}");
        }
        assert_eq!(passed(false, "PUTSCRIPT \"x\" {16+}\r\nx UNAUTHENTICATE\r\n"), None);
    }
}
