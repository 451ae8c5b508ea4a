//! Submission before the login (RFC 5321, section 4.1; AUTH of RFC 4954; STARTTLS of RFC 3207).

use super::{Bytes, Wrong, is_clean, mechanism, without_end, word};

/// A command with its line end (RFC 5321, section 4.5.3.1.4); AUTH may have more (RFC 4954, section 4).
const LINE: usize = 512;
/// The longest name of a host (RFC 5321, section 4.5.3.1.2).
const HOST: usize = 255;

/// A command that may come before the login, or is known well enough to be refused in its own way.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO: the client's name.
    Ehlo(String),
    /// HELO: the client's name.
    Helo(String),
    /// STARTTLS
    StartTls,
    /// NOOP
    Noop,
    /// RSET
    Reset,
    /// QUIT
    Quit,
    /// HELP
    Help,
    /// VRFY
    Verify,
    /// MAIL, RCPT, DATA, ETRN: only after the login.
    Mail,
    /// BDAT: the same, and what follows is no command but a part of a message (RFC 3030).
    Chunk,
    /// XCLIENT and XFORWARD: who the client would like to be.
    Claim,
    /// AUTH: the mechanism, in capitals, and an initial response in base64.
    Authenticate(String, Option<Bytes>),
}

/// Reads a line, its end included.
///
/// # Errors
/// What is wrong with it.
pub fn read(command: &[u8]) -> Result<Command, Wrong> {
    let line = Some(without_end(command)?).filter(|line| is_clean(line)).ok_or(Wrong::Syntax)?;
    // Blanks at the end are to be tolerated (RFC 5321, section 4.1.1).
    let (name, argument) = word(line.trim_ascii_end());
    let name = std::str::from_utf8(name).map_err(|_| Wrong::Unknown)?.to_ascii_uppercase();
    let alone = |command| if argument.is_none() { Ok(command) } else { Err(Wrong::Syntax) };
    if name == "AUTH" {
        let (mechanism, initial) = argument.and_then(mechanism).ok_or(Wrong::Syntax)?;
        return Ok(Command::Authenticate(mechanism, initial));
    }
    if command.len() > LINE {
        return Err(Wrong::Syntax);
    }
    match name.as_str() {
        "EHLO" => host(argument).map(Command::Ehlo),
        "HELO" => host(argument).map(Command::Helo),
        "STARTTLS" => alone(Command::StartTls),
        // It may have an argument, which means nothing.
        "NOOP" => Ok(Command::Noop),
        "RSET" => alone(Command::Reset),
        "QUIT" => alone(Command::Quit),
        "VRFY" => Ok(Command::Verify),
        "HELP" => Ok(Command::Help),
        "MAIL" | "RCPT" | "DATA" | "ETRN" => Ok(Command::Mail),
        "BDAT" => Ok(Command::Chunk),
        "XCLIENT" | "XFORWARD" => Ok(Command::Claim),
        _ => Err(Wrong::Unknown),
    }
}

/// A name that may be told to a node: one word of visible ASCII.
fn host(argument: Option<&[u8]>) -> Result<String, Wrong> {
    let name = argument.filter(|name| (1..=HOST).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic));
    name.and_then(|name| String::from_utf8(name.to_vec()).ok()).ok_or(Wrong::Syntax)
}

#[cfg(test)]
mod tests {
    use super::super::owned;
    use super::*;

    #[test]
    fn commands_before_the_login() {
        let auth = |initial: Option<&[u8]>| Ok(Command::Authenticate("PLAIN".to_owned(), initial.map(owned)));
        let name = |length: usize| format!("EHLO {}\r\n", "a".repeat(length)).into_bytes();
        let (longest, longer) = (name(255), name(256));
        for (command, expected) in [
            (&b"EHLO a.example\r\n"[..], Ok(Command::Ehlo("a.example".to_owned()))),
            (b"ehlo [192.0.2.1] \r\n", Ok(Command::Ehlo("[192.0.2.1]".to_owned()))),
            (b"HELO x\r\n", Ok(Command::Helo("x".to_owned()))),
            (b"EHLO\r\n", Err(Wrong::Syntax)),
            (b"EHLO a b\r\n", Err(Wrong::Syntax)),
            (b"EHLO \x01\r\n", Err(Wrong::Syntax)),
            (b"EHLO a\nb\r\n", Err(Wrong::Syntax)),
            (&longest, Ok(Command::Ehlo("a".repeat(255)))),
            (&longer, Err(Wrong::Syntax)),
            (b"STARTTLS\r\n", Ok(Command::StartTls)),
            (b"STARTTLS now\r\n", Err(Wrong::Syntax)),
            (b"NOOP x\r\n", Ok(Command::Noop)),
            (b"RSET\r\n", Ok(Command::Reset)),
            (b"QUIT\r\n", Ok(Command::Quit)),
            (b"MAIL FROM:<a@b>\r\n", Ok(Command::Mail)),
            (b"DATA\r\n", Ok(Command::Mail)),
            (b"VRFY bob\r\n", Ok(Command::Verify)),
            (b"EXPN x\r\n", Err(Wrong::Unknown)),
            (b"XCLIENT ADDR=10.0.0.1\r\n", Ok(Command::Claim)),
            (b"BDAT 9 LAST\r\n", Ok(Command::Chunk)),
            (b"HELP\r\n", Ok(Command::Help)),
            (b"AUTH PLAIN\r\n", auth(None)),
            (b"AUTH plain AGI=\r\n", auth(Some(b"AGI="))),
            (b"AUTH PLAIN =\r\n", auth(Some(b"="))),
            (b"AUTH\r\n", Err(Wrong::Syntax)),
            (b"NOOP\n", Err(Wrong::Syntax)),
            (b"POST / HTTP/1.1\r\n", Err(Wrong::Http)),
        ] {
            assert_eq!(read(command), expected, "{:?}", String::from_utf8_lossy(command));
        }
    }
}
