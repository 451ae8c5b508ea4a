//! IMAP before the login (RFC 9051, sections 6.1 and 6.2; ID of RFC 2971; initial responses of RFC 4959).

pub use super::Wrong;
use super::scan::Limits;
use super::{Bytes, literal, mechanism, owned, quoted, without_end, word};

/// A longer tag is nobody's.
const TAG: usize = 128;
/// Pairs, and bytes of a key and of a value (RFC 2971, section 3.3).
const ID: (usize, usize, usize) = (30, 30, 1024);

/// What a program says of itself: a key, and its value, which NIL is none of.
pub type Pair = (Vec<u8>, Option<Vec<u8>>);

/// A command that may come before the login.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// STARTTLS
    StartTls,
    /// ID: keys with their values; none for NIL.
    Id(Vec<Pair>),
    /// LOGIN: name and password, which may be no UTF-8.
    Login(Bytes, Bytes),
    /// AUTHENTICATE: the mechanism, in capitals, and an initial response in base64.
    Authenticate(String, Option<Bytes>),
}

/// Bounds for [`super::scan::Scanner`]: of a command, of one with a token, and of a literal.
pub const fn limits(command: usize, long: usize, literal: usize) -> Limits {
    Limits { command, long, literal, is_long: is_authenticate }
}

/// Whether it begins like AUTHENTICATE, which may have a token.
fn is_authenticate(bytes: &[u8]) -> bool {
    let after_tag = bytes.get(..TAG + 16).unwrap_or(bytes).splitn(2, |byte| *byte == b' ').nth(1);
    after_tag.and_then(|rest| rest.get(..13)).is_some_and(|name| name.eq_ignore_ascii_case(b"AUTHENTICATE "))
}

/// The tag of a command: it may be repeated in an answer. Its first line is enough.
pub fn tag(command: &[u8]) -> Option<&str> {
    let tag = word(command).0;
    let right = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    let tag = std::str::from_utf8(tag).ok()?;
    ((1..=TAG).contains(&tag.len()) && tag.as_bytes().iter().all(right) && tag.len() < command.len()).then_some(tag)
}

/// Whether the command, of which only the first lines are there, may take a literal.
pub fn takes_literal(begin: &[u8]) -> bool {
    let name = tag(begin).and_then(|tag| begin.get(tag.len() + 1..)).map_or(&b""[..], |rest| word(rest).0);
    [&b"LOGIN"[..], b"ID"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Reads a whole command, its line end included.
///
/// # Errors
/// What is wrong with it.
pub fn read(command: &[u8]) -> Result<Command, Wrong> {
    let line = without_end(command);
    if line == Err(Wrong::Http) {
        return Err(Wrong::Http);
    }
    let tag = tag(command).ok_or(Wrong::Tag)?;
    let rest = line?.get(tag.len() + 1..).ok_or(Wrong::Syntax)?;
    let (name, arguments) = word(rest);
    let name = std::str::from_utf8(name).map_err(|_| Wrong::Unknown)?.to_ascii_uppercase();
    // A blank behind a command without arguments harms nobody.
    let alone = |command| if arguments.is_none_or(<[u8]>::is_empty) { Ok(command) } else { Err(Wrong::Syntax) };
    let arguments = || arguments.ok_or(Wrong::Syntax);
    match name.as_str() {
        "CAPABILITY" => alone(Command::Capability),
        "NOOP" => alone(Command::Noop),
        "LOGOUT" => alone(Command::Logout),
        "STARTTLS" => alone(Command::StartTls),
        "ID" => id(arguments()?).map(Command::Id).ok_or(Wrong::Syntax),
        "LOGIN" => login(arguments()?).ok_or(Wrong::Syntax),
        "AUTHENTICATE" => {
            let (mechanism, initial) = mechanism(arguments()?).ok_or(Wrong::Syntax)?;
            Ok(Command::Authenticate(mechanism, initial))
        }
        _ => Err(Wrong::Unknown),
    }
}

fn login(arguments: &[u8]) -> Option<Command> {
    let (name, rest) = astring(arguments)?;
    let (password, rest) = astring(rest.strip_prefix(b" ")?)?;
    // A NUL would end a name early elsewhere.
    let right = rest.is_empty() && !name.contains(&0) && !password.contains(&0);
    right.then_some(Command::Login(name, password))
}

fn id(arguments: &[u8]) -> Option<Vec<Pair>> {
    if arguments.eq_ignore_ascii_case(b"NIL") {
        return Some(Vec::new());
    }
    let mut rest = arguments.strip_prefix(b"(")?;
    let mut pairs: Vec<Pair> = Vec::new();
    if rest == b")" {
        return Some(pairs);
    }
    loop {
        let (key, after) = string(rest)?;
        let (value, after) = nstring(after.strip_prefix(b" ")?)?;
        let fits = key.len() <= ID.1 && value.as_ref().is_none_or(|value| value.len() <= ID.2);
        if pairs.len() == ID.0 || !fits {
            return None;
        }
        pairs.push((key.to_vec(), value.map(|value| value.to_vec())));
        match after {
            b")" => return Some(pairs),
            more => rest = more.strip_prefix(b" ")?,
        }
    }
}

/// `string`: quoted, or a literal.
fn string(bytes: &[u8]) -> Option<(Bytes, &[u8])> {
    quoted(bytes).or_else(|| literal(bytes).map(|(text, rest)| (owned(text), rest)))
}

/// `nstring`: a string, or NIL.
fn nstring(bytes: &[u8]) -> Option<(Option<Bytes>, &[u8])> {
    match bytes.split_at_checked(3) {
        Some((nil, rest)) if nil.eq_ignore_ascii_case(b"NIL") => Some((None, rest)),
        _ => string(bytes).map(|(text, rest)| (Some(text), rest)),
    }
}

/// `astring`: an atom or a string. Programs send `%`, `*` and UTF-8 in atoms; what ends one is a blank.
fn astring(bytes: &[u8]) -> Option<(Bytes, &[u8])> {
    if matches!(bytes.first(), Some(b'"' | b'{')) {
        return string(bytes);
    }
    let end = memchr::memchr(b' ', bytes).unwrap_or(bytes.len());
    let (atom, rest) = bytes.split_at_checked(end)?;
    let right = |byte: &u8| !byte.is_ascii_control() && !b"(){\"\\".contains(byte);
    (!atom.is_empty() && atom.iter().all(right)).then(|| (owned(atom), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(name: &[u8], password: &[u8]) -> Result<Command, Wrong> {
        Ok(Command::Login(owned(name), owned(password)))
    }

    #[test]
    fn a_login_is_taken_in_each_of_its_forms() {
        for command in [
            &b"a LOGIN bob pwd\r\n"[..],
            b"a lOgIn \"bob\" \"pwd\"\r\n",
            b"a LOGIN {3}\r\nbob {3}\r\npwd\r\n",
            b"a LOGIN {3+}\r\nbob {3+}\r\npwd\r\n",
            b"a LOGIN {3+}\r\nbob \"pwd\"\r\n",
            b"a LOGIN bob {3+}\r\npwd\r\n",
        ] {
            assert_eq!(read(command), login(b"bob", b"pwd"), "{:?}", String::from_utf8_lossy(command));
        }
        assert_eq!(read(br#"a LOGIN "b\"o\\b" "p""#.as_slice()), Err(Wrong::Syntax));
        assert_eq!(read(b"a LOGIN \"b\\\"o\\\\b\" \"p\"\r\n"), login(br#"b"o\b"#, b"p"));
        assert_eq!(read("a LOGIN müller pä%s*\r\n".as_bytes()), login("müller".as_bytes(), "pä%s*".as_bytes()));
        assert_eq!(read(b"a LOGIN \"\" {0+}\r\n\r\n"), login(b"", b""));
        let injected = b"a LOGIN {22+}\r\nx\r\nb LOGIN root root\r\n p\r\n";
        assert_eq!(read(injected), login(b"x\r\nb LOGIN root root\r\n", b"p"));
    }

    #[test]
    fn what_is_no_login_is_refused() {
        for arguments in [
            &b"bob"[..],
            b"bob p x",
            b"(bob) p",
            b"\"b\\ob\" p",
            b"\"b\0b\" p",
            b"{3+}\r\nb\0b p",
            b"{3+}bob pwd",
            b"~{3+}\r\nbob p",
            b" bob p",
            b"\"b",
            b"b\"ob p",
            b"bob {4+}\r\npwd",
            b"b\rb p",
        ] {
            let command = [b"a LOGIN ", arguments, b"\r\n"].concat();
            assert_eq!(read(&command), Err(Wrong::Syntax), "{:?}", String::from_utf8_lossy(&command));
        }
    }

    #[test]
    fn tags_are_what_may_be_repeated() {
        assert_eq!(tag(b"a1.B]~ NOOP\r\n"), Some("a1.B]~"));
        let long = [b'a'; 129];
        for wrong in [
            &b" NOOP"[..],
            b"* NOOP",
            b"+ NOOP",
            b"a+b NOOP",
            b"a{b NOOP",
            b"a\"b NOOP",
            b"%n%n NOOP",
            b"\xe4 NOOP",
            b"a\x1b NOOP",
            &long,
            b"a",
        ] {
            assert_eq!(tag(wrong), None, "{wrong:?}");
        }
        for wrong in [&b" NOOP\r\n"[..], b"\r\n", b"* NOOP\r\n", b"a+ LOGIN {8+}\r\nb NOOP\r\n\r\n"] {
            assert_eq!(read(wrong), Err(Wrong::Tag), "{wrong:?}");
        }
    }

    #[test]
    fn commands_before_the_login() {
        for (command, expected) in [
            (&b"a NOOP\r\n"[..], Ok(Command::Noop)),
            (b"a NOOP \r\n", Ok(Command::Noop)),
            (b"a noop\r\n", Ok(Command::Noop)),
            (b"a CAPABILITY\r\n", Ok(Command::Capability)),
            (b"a CAPABILITY x\r\n", Err(Wrong::Syntax)),
            (b"a LOGOUT\r\n", Ok(Command::Logout)),
            (b"a STARTTLS\r\n", Ok(Command::StartTls)),
            (b"a STARTTLS now\r\n", Err(Wrong::Syntax)),
            (b"a NOOP\n", Err(Wrong::Syntax)),
            (b"a NOOP\rb NOOP\r\n", Err(Wrong::Unknown)),
            (b"a  LOGIN bob p\r\n", Err(Wrong::Unknown)),
            (b"a XYZZY {8+}\r\nb NOOP\r\n\r\n", Err(Wrong::Unknown)),
            (b"a SELECT INBOX\r\n", Err(Wrong::Unknown)),
            (b"a <script>alert(1)</script>\r\n", Err(Wrong::Unknown)),
            (b"GET / HTTP/1.1\r\n", Err(Wrong::Http)),
            (b"POST /x HTTP/1.1\r\n", Err(Wrong::Http)),
        ] {
            assert_eq!(read(command), expected, "{:?}", String::from_utf8_lossy(command));
        }
        assert!(takes_literal(b"a LOGIN {3}\r\n") && takes_literal(b"a id (\"name\" {4}\r\n"));
        assert!(!takes_literal(b"a XYZZY {8}\r\n") && !takes_literal(b"a+ LOGIN {8}\r\n"));
    }

    #[test]
    fn programs_tell_what_they_are() {
        let pair =
            |key: &str, value: Option<&str>| (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()));
        assert_eq!(read(b"a ID NIL\r\n"), Ok(Command::Id(Vec::new())));
        assert_eq!(read(b"a ID ()\r\n"), Ok(Command::Id(Vec::new())));
        let outlook = b"a ID (\"name\" {23+}\r\nMicrosoft.Exchange.Imap \"version\" {6+}\r\n16.0.0 \"os\" nil)\r\n";
        let pairs =
            vec![pair("name", Some("Microsoft.Exchange.Imap")), pair("version", Some("16.0.0")), pair("os", None)];
        assert_eq!(read(outlook), Ok(Command::Id(pairs)));
        let many = |pairs: usize| format!("a ID ({})\r\n", vec!["\"k\" \"v\""; pairs].join(" "));
        assert!(read(many(30).as_bytes()).is_ok());
        assert_eq!(read(many(31).as_bytes()), Err(Wrong::Syntax));
        let sized = |key: usize, value: usize| format!("a ID (\"{}\" \"{}\")\r\n", "k".repeat(key), "v".repeat(value));
        assert!(read(sized(30, 1024).as_bytes()).is_ok());
        assert_eq!(read(sized(31, 1).as_bytes()), Err(Wrong::Syntax));
        assert_eq!(read(sized(1, 1025).as_bytes()), Err(Wrong::Syntax));
    }

    #[test]
    fn authenticate_has_a_mechanism_and_perhaps_a_response() {
        let said = |mechanism: &str, initial: Option<&[u8]>| {
            Ok(Command::Authenticate(mechanism.to_owned(), initial.map(owned)))
        };
        assert_eq!(read(b"a AUTHENTICATE plain\r\n"), said("PLAIN", None));
        assert_eq!(read(b"a AUTHENTICATE PLAIN AGJvYgBwd2Q=\r\n"), said("PLAIN", Some(b"AGJvYgBwd2Q=")));
        assert_eq!(read(b"a AUTHENTICATE PLAIN =\r\n"), said("PLAIN", Some(b"=")));
        for wrong in [
            &b"a AUTHENTICATE\r\n"[..],
            b"a AUTHENTICATE PLAIN \r\n",
            b"a AUTHENTICATE PLAIN a b\r\n",
            b"a AUTHENTICATE {5+}\r\nPLAIN\r\n",
        ] {
            assert_eq!(read(wrong), Err(Wrong::Syntax), "{wrong:?}");
        }
        assert!(is_authenticate(b"tag authenticate XOAUTH2 x") && !is_authenticate(b"AUTHENTICATE XOAUTH2 x"));
    }
}
