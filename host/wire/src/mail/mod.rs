//! What mail programs say before they are logged in: IMAP (RFC 3501, RFC 9051), POP3 (RFC 1939), ManageSieve (RFC 5804) and
//! submission (RFC 6409).
//!
//! One reader finds where a command ends ([`scan`]), also that of a command that is refused; the protocols read whole
//! commands. Nothing here is a tree: what comes before a login is a handful of commands.

pub mod imap;
pub mod pop3;
pub mod sasl;
pub mod scan;
pub mod sieve;
pub mod smtp;
pub mod watch;

use scan::Limits;
use zeroize::Zeroizing;

/// Bytes of which a part may be a password.
pub type Bytes = Zeroizing<Vec<u8>>;

/// Why what a client sent is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It has no tag that could be repeated (IMAP).
    Tag,
    /// There is no such command before the login.
    Unknown,
    /// Its arguments are not what it takes, it is too long, or does not end in CR LF.
    Syntax,
    /// It is a request of HTTP.
    Http,
}

/// Methods of HTTP, which a browser can be made to send to any port.
const METHODS: [&[u8]; 10] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI"];

/// Whether a line is the beginning of an HTTP request: then a browser was led here, and whoever goes on reading takes what
/// follows for commands (ALPACA, USENIX Security 2021).
pub fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let method = words.next().is_some_and(|first| METHODS.contains(&first));
    method && words.next_back().is_some_and(|last| last.starts_with(b"HTTP/"))
}

/// Whether clear text begins with a TLS record of a handshake: the client speaks TLS where nobody expects it.
pub fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16] | [0x16, 0x03, ..])
}

/// Bounds for [`scan::Scanner`] of a protocol whose commands are lines: of a line, and of AUTH, which may have a token.
pub const fn of_lines(command: usize, long: usize) -> Limits {
    let is_long: fn(&[u8]) -> bool = |bytes| bytes.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"AUTH "));
    Limits { command, long, literal: 0, is_long }
}

/// A command without its line end, which is CR LF.
fn without_end(command: &[u8]) -> Result<&[u8], Wrong> {
    let line = command.strip_suffix(b"\n").unwrap_or(command);
    let text = line.strip_suffix(b"\r");
    if is_http(text.unwrap_or(line)) { Err(Wrong::Http) } else { text.ok_or(Wrong::Syntax) }
}

/// A line without its end, and whether it is without CR, LF and NUL in it.
fn is_clean(line: &[u8]) -> bool {
    !line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// The first word, and what follows the blank behind it, if there is one.
fn word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', line) {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
        None => (line, None),
    }
}

/// A quoted string at the beginning (RFC 9051, `quoted`): what it says, and what follows. Escapes are `\"` and `\\` only.
fn quoted(bytes: &[u8]) -> Option<(Bytes, &[u8])> {
    let (b'"', mut rest) = bytes.split_first()? else { return None };
    // Its room is taken at once: a vector that grows leaves copies behind.
    let mut text = Bytes::new(Vec::with_capacity(bytes.len()));
    loop {
        let (first, after) = rest.split_first()?;
        rest = after;
        match first {
            b'"' => return Some((text, rest)),
            b'\\' => {
                let (escaped @ (b'"' | b'\\'), after) = rest.split_first()? else { return None };
                text.push(*escaped);
                rest = after;
            }
            b'\r' | b'\n' | 0 => return None,
            plain => text.push(*plain),
        }
    }
}

/// A literal at the beginning, whose bytes are all there: `{n}` or `{n+}`, the end of the line, and n bytes.
fn literal(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = (bytes.get(..end)?.strip_suffix(b"\r")?, bytes.get(end + 1..)?);
    let size = scan::size_of_literal(line).filter(|_| line.first() == Some(&b'{'))?.0;
    rest.split_at_checked(size)
}

/// What stands behind AUTHENTICATE or AUTH: the mechanism (RFC 4422, section 3.1), in capitals, and perhaps an initial response
/// in base64.
fn mechanism(arguments: &[u8]) -> Option<(String, Option<Bytes>)> {
    let (mechanism, initial) = word(arguments);
    let whole = initial.is_none_or(|initial| !initial.is_empty() && initial.iter().all(u8::is_ascii_graphic));
    name_of_mechanism(mechanism).filter(|_| whole).map(|mechanism| (mechanism, initial.map(owned)))
}

fn name_of_mechanism(name: &[u8]) -> Option<String> {
    let right = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = std::str::from_utf8(name).ok()?;
    ((1..=20).contains(&name.len()) && name.as_bytes().iter().all(right)).then(|| name.to_ascii_uppercase())
}

fn owned(bytes: &[u8]) -> Bytes {
    Bytes::new(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_their_first_line() {
        for line in [&b"GET / HTTP/1.1"[..], b"POST /a?b=c HTTP/1.0", b"PRI * HTTP/2.0", b"CONNECT a:993 HTTP/1.1"] {
            assert!(is_http(line), "{line:?}");
        }
        for line in [&b"a LOGIN b c"[..], b"GET LOGIN b c", b"", b"HTTP/1.1", b"get / HTTP/1.1"] {
            assert!(!is_http(line), "{line:?}");
        }
    }

    #[test]
    fn quoted_strings_have_two_escapes() {
        let said = |bytes: &[u8]| quoted(bytes).map(|(text, rest)| (text.to_vec(), rest.to_vec()));
        assert_eq!(said(br#""b\"o\\b" x"#), Some((br#"b"o\b"#.to_vec(), b" x".to_vec())));
        assert_eq!(said(b"\"\""), Some((Vec::new(), Vec::new())));
        for wrong in [&b"\"b\\ob\""[..], b"\"b\0\"", b"\"b\r\n\"", b"\"b", b"\"b\\", b"b\"", b""] {
            assert_eq!(said(wrong), None, "{wrong:?}");
        }
    }
}
