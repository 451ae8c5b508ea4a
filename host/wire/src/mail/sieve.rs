//! ManageSieve before the login (RFC 5804, section 2).

use super::scan::Limits;
use super::{Bytes, Wrong, literal, name_of_mechanism, owned, quoted, without_end};

/// The longest quoted string (RFC 5804, section 4).
const QUOTED: usize = 1024;

/// A command that may come before the login.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// STARTTLS
    StartTls,
    /// LOGOUT
    Logout,
    /// NOOP, and what its answer repeats.
    Noop(Option<Vec<u8>>),
    /// AUTHENTICATE: the mechanism, in capitals, and an initial response in base64.
    Authenticate(String, Option<Bytes>),
}

/// Bounds for [`super::scan::Scanner`]: of a command, and of a literal, which may be a token.
pub const fn limits(command: usize, literal: usize) -> Limits {
    Limits { command, long: command.saturating_add(literal), literal, is_long: is_authenticate }
}

fn is_authenticate(bytes: &[u8]) -> bool {
    bytes.get(..13).is_some_and(|name| name.eq_ignore_ascii_case(b"AUTHENTICATE "))
}

/// Reads a whole command, its line end included.
///
/// # Errors
/// What is wrong with it.
pub fn read(command: &[u8]) -> Result<Command, Wrong> {
    let line = without_end(command)?;
    let (name, rest) = super::word(line);
    let name = std::str::from_utf8(name).map_err(|_| Wrong::Unknown)?.to_ascii_uppercase();
    let mut rest = rest.unwrap_or_default();
    let mut strings = Vec::new();
    let known = ["CAPABILITY", "STARTTLS", "LOGOUT", "NOOP", "AUTHENTICATE"].contains(&name.as_str());
    while known && !rest.is_empty() {
        let (text, after) = string(rest).ok_or(Wrong::Syntax)?;
        strings.push(text);
        // One blank between strings, none behind the last.
        rest = if after.is_empty() {
            after
        } else {
            after.strip_prefix(b" ").filter(|rest| !rest.is_empty()).ok_or(Wrong::Syntax)?
        };
        if strings.len() > 2 {
            return Err(Wrong::Syntax);
        }
    }
    let mut strings = strings.into_iter();
    let command = match (name.as_str(), strings.next(), strings.next()) {
        ("CAPABILITY", None, None) => Command::Capability,
        ("STARTTLS", None, None) => Command::StartTls,
        ("LOGOUT", None, None) => Command::Logout,
        ("NOOP", text, None) => Command::Noop(text.map(|text| text.to_vec())),
        ("AUTHENTICATE", Some(mechanism), initial) => {
            Command::Authenticate(name_of_mechanism(&mechanism).ok_or(Wrong::Syntax)?, initial)
        }
        _ if known => return Err(Wrong::Syntax),
        _ => return Err(Wrong::Unknown),
    };
    Ok(command)
}

/// What a client answers to a challenge: one string, with its line end.
pub fn response(command: &[u8]) -> Option<Bytes> {
    let (text, rest) = string(command.strip_suffix(b"\r\n")?)?;
    rest.is_empty().then_some(text)
}

fn string(bytes: &[u8]) -> Option<(Bytes, &[u8])> {
    match quoted(bytes) {
        Some((text, _)) if text.len() > QUOTED => None,
        Some(quoted) => Some(quoted),
        None => literal(bytes).map(|(text, rest)| (owned(text), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_before_the_login() {
        let auth = |initial: Option<&[u8]>| Ok(Command::Authenticate("PLAIN".to_owned(), initial.map(owned)));
        let long = [b"NOOP \"", [b'x'; 1025].as_slice(), b"\"\r\n"].concat();
        for (command, expected) in [
            (&b"CAPABILITY\r\n"[..], Ok(Command::Capability)),
            (b"capability\r\n", Ok(Command::Capability)),
            (b"STARTTLS\r\n", Ok(Command::StartTls)),
            (b"STARTTLS \"x\"\r\n", Err(Wrong::Syntax)),
            (b"LOGOUT\r\n", Ok(Command::Logout)),
            (b"NOOP\r\n", Ok(Command::Noop(None))),
            (b"NOOP \"x\"\r\n", Ok(Command::Noop(Some(b"x".to_vec())))),
            (b"NOOP {1+}\r\n\n\r\n", Ok(Command::Noop(Some(b"\n".to_vec())))),
            (b"NOOP x\r\n", Err(Wrong::Syntax)),
            (b"NOOP \"x\" \r\n", Err(Wrong::Syntax)),
            (b"AUTHENTICATE \"PLAIN\"\r\n", auth(None)),
            (b"AUTHENTICATE \"plain\" \"AGI=\"\r\n", auth(Some(b"AGI="))),
            (b"AUTHENTICATE \"PLAIN\" {4+}\r\nAGI=\r\n", auth(Some(b"AGI="))),
            (b"AUTHENTICATE \"PLAIN\" \"a\" \"b\"\r\n", Err(Wrong::Syntax)),
            (b"AUTHENTICATE PLAIN\r\n", Err(Wrong::Syntax)),
            (b"AUTHENTICATE\r\n", Err(Wrong::Syntax)),
            (b"LISTSCRIPTS\r\n", Err(Wrong::Unknown)),
            (b"UNAUTHENTICATE\r\n", Err(Wrong::Unknown)),
            (b"PUTSCRIPT \"x\" {3+}\r\n\r\n\r\r\n", Err(Wrong::Unknown)),
            (b"LOGOUT\n", Err(Wrong::Syntax)),
            (b"GET / HTTP/1.1\r\n", Err(Wrong::Http)),
            (&long, Err(Wrong::Syntax)),
        ] {
            assert_eq!(read(command), expected, "{:?}", String::from_utf8_lossy(command));
        }
        assert_eq!(response(b"\"AGI=\"\r\n"), Some(owned(b"AGI=")));
        assert_eq!(response(b"{4+}\r\nAGI=\r\n"), Some(owned(b"AGI=")));
        assert_eq!(response(b"\"*\"\r\n"), Some(owned(b"*")));
        assert_eq!(response(b"AGI=\r\n"), None);
    }
}
