//! POP3 before the login (RFC 1939, section 4; CAPA of RFC 2449; STLS of RFC 2595; AUTH of RFC 5034).

use super::{Bytes, Wrong, is_clean, mechanism, owned, without_end, word};

/// A command with its line end; AUTH may have more (RFC 2449, section 4).
const LINE: usize = 255;

/// A command that may come before the login.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// CAPA
    Capabilities,
    /// STLS
    StartTls,
    /// QUIT
    Quit,
    /// USER: the name, which may be no UTF-8.
    User(Vec<u8>),
    /// PASS: all that follows its first blank.
    Password(Bytes),
    /// AUTH without anything: the list of mechanisms.
    Mechanisms,
    /// AUTH: the mechanism, in capitals, and an initial response in base64.
    Authenticate(String, Option<Bytes>),
}

/// Reads a line, its end included.
///
/// # Errors
/// What is wrong with it.
pub fn read(command: &[u8]) -> Result<Command, Wrong> {
    let line = Some(without_end(command)?).filter(|line| is_clean(line)).ok_or(Wrong::Syntax)?;
    let (name, argument) = word(line);
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let alone = |command| if argument.is_none_or(<[u8]>::is_empty) { Ok(command) } else { Err(Wrong::Syntax) };
    if is("AUTH") {
        return match argument.filter(|argument| !argument.is_empty()).map(mechanism) {
            None => Ok(Command::Mechanisms),
            Some(Some((mechanism, initial))) => Ok(Command::Authenticate(mechanism, initial)),
            Some(None) => Err(Wrong::Syntax),
        };
    }
    if command.len() > LINE {
        return Err(Wrong::Syntax);
    }
    if is("CAPA") {
        alone(Command::Capabilities)
    } else if is("STLS") {
        alone(Command::StartTls)
    } else if is("QUIT") {
        alone(Command::Quit)
    } else if is("USER") {
        argument.filter(|name| !name.is_empty()).map(|name| Command::User(name.to_vec())).ok_or(Wrong::Syntax)
    } else if is("PASS") {
        argument.map(|password| Command::Password(owned(password))).ok_or(Wrong::Syntax)
    } else {
        Err(Wrong::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_before_the_login() {
        let user = |name: &[u8]| Ok(Command::User(name.to_vec()));
        let password = |text: &[u8]| Ok(Command::Password(owned(text)));
        let auth = |mechanism: &str, initial: Option<&[u8]>| {
            Ok(Command::Authenticate(mechanism.to_owned(), initial.map(owned)))
        };
        for (command, expected) in [
            (&b"CAPA\r\n"[..], Ok(Command::Capabilities)),
            (b"capa \r\n", Ok(Command::Capabilities)),
            (b"STLS\r\n", Ok(Command::StartTls)),
            (b"STLS x\r\n", Err(Wrong::Syntax)),
            (b"QUIT\r\n", Ok(Command::Quit)),
            (b"USER bob\r\n", user(b"bob")),
            (b"user b b\r\n", user(b"b b")),
            (b"USER \xe9\r\n", user(b"\xe9")),
            (b"USER\r\n", Err(Wrong::Syntax)),
            (b"USER b\0b\r\n", Err(Wrong::Syntax)),
            (b"USER bob\n", Err(Wrong::Syntax)),
            (b"PASS  a b \r\n", password(b" a b ")),
            (b"PASS \r\n", password(b"")),
            (b"PASS\r\n", Err(Wrong::Syntax)),
            (b"AUTH\r\n", Ok(Command::Mechanisms)),
            (b"AUTH PLAIN\r\n", auth("PLAIN", None)),
            (b"AUTH plain AGJvYgBwd2Q=\r\n", auth("PLAIN", Some(b"AGJvYgBwd2Q="))),
            (b"AUTH PLAIN a b\r\n", Err(Wrong::Syntax)),
            (b"APOP bob 0123\r\n", Err(Wrong::Unknown)),
            (b"NOOP\r\n", Err(Wrong::Unknown)),
            (b"STAT\r\n", Err(Wrong::Unknown)),
            (b"\r\n", Err(Wrong::Unknown)),
            (b"GET / HTTP/1.1\r\n", Err(Wrong::Http)),
        ] {
            assert_eq!(read(command), expected, "{:?}", String::from_utf8_lossy(command));
        }
    }

    #[test]
    fn only_a_token_may_be_long() {
        let line = |name: &str, length: usize| format!("{name}{}\r\n", "x".repeat(length)).into_bytes();
        assert!(read(&line("USER ", 240)).is_ok());
        assert_eq!(read(&line("USER ", 300)), Err(Wrong::Syntax));
        assert!(read(&line("AUTH XOAUTH2 ", 4000)).is_ok());
        let is_long = super::super::of_lines(1, 2).is_long;
        assert!(is_long(b"auth PLAIN") && !is_long(b"USER"));
    }
}
