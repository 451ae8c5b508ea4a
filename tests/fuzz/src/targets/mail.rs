//! Commands of mail programs, however they are cut; for IMAP beside imap-codec.

use std::cell::Cell;

use doorward_wire::mail::scan::{Found, Literals, Scanner};
use doorward_wire::mail::watch::Watch;
use doorward_wire::mail::{imap, of_lines, pop3, sasl, sieve, smtp};
use imap_codec::CommandCodec;
use imap_codec::decode::Decoder as _;
use imap_codec::imap_types::command::{Command, CommandBody};

const MOST: usize = 512;
const LONG: usize = 1024;
const LITERAL: usize = 128;

/// What is found, one command after the other: its bytes, or why there is none.
fn all(mut scanner: Scanner, bytes: &[u8], chunk: usize) -> Vec<Result<&[u8], Found>> {
    let (mut found, mut begin, mut end) = (Vec::new(), 0, 0);
    loop {
        match scanner.scan(&bytes[begin..end]) {
            Found::More if end == bytes.len() => return found,
            Found::More => {
                assert!(end - begin <= LONG, "more than the bound is waited for");
                end = bytes.len().min(end + chunk);
            }
            Found::Waits(length) => {
                assert!(length <= end - begin);
                scanner.invited(&bytes[begin..end]);
            }
            Found::Command(length) => {
                assert!(length <= LONG);
                found.push(Ok(&bytes[begin..begin + length]));
                begin += length;
                scanner.next();
            }
            Found::Refuse(length) => {
                found.push(Err(Found::Refuse(length)));
                begin += length;
                scanner.next();
            }
            last @ (Found::TooLarge | Found::Nul) => {
                found.push(Err(last));
                return found;
            }
        }
    }
}

/// A command that must not pass is found at the same byte however it comes, and never behind the end of a line with it.
fn watched(data: &[u8]) {
    for has_tags in [true, false] {
        let passed = |chunk: usize| {
            let (mut watch, mut passed) = (Watch::new(has_tags), 0);
            for piece in data.chunks(chunk) {
                match watch.refuses(piece) {
                    Some(length) => return passed + length,
                    None => passed += piece.len(),
                }
            }
            passed
        };
        let whole = passed(data.len().max(1));
        assert!([1, 3, 64].into_iter().all(|chunk| passed(chunk) == whole));
        let names = [&b"UNAUTHENTICATE"[..], b"COMPRESS"];
        let reached = data.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        let mut lines: Vec<&[u8]> = reached.collect();
        // The last one has no end that has passed.
        lines.pop();
        for line in lines {
            let mut words = line.split(|byte| b" \t\r\0".contains(byte)).filter(|word| !word.is_empty());
            let name = words.nth(usize::from(has_tags)).unwrap_or_default();
            assert!(!names.iter().any(|known| name.eq_ignore_ascii_case(known)), "{line:?} passed");
        }
    }
}

/// Commands end at the same places however they come; each is read, or refused, by its protocol.
pub(super) fn commands(data: &[u8]) {
    watched(data);
    let protocols = [
        (Literals::Both, imap::limits(MOST, LONG, LITERAL)),
        (Literals::NonSynchronizing, sieve::limits(MOST, LITERAL)),
        (Literals::None, of_lines(MOST, LONG)),
        (Literals::None, of_lines(MOST, LONG)),
    ];
    for (number, (literals, limits)) in protocols.into_iter().enumerate() {
        let whole = all(Scanner::new(literals, limits), data, usize::MAX / 2);
        for chunk in [1, 3, 64] {
            let cut = all(Scanner::new(literals, limits), data, chunk);
            // A NUL behind what is too large by then may be seen first, and the other way round: both end the connection.
            let (good, last): (Vec<&_>, Vec<&_>) = whole.iter().partition(|found| !is_end(found));
            let (cut_good, cut_last): (Vec<&_>, Vec<&_>) = cut.iter().partition(|found| !is_end(found));
            assert_eq!(good, cut_good, "{literals:?} in chunks of {chunk}");
            assert_eq!(last.len(), cut_last.len(), "{literals:?} in chunks of {chunk}");
        }
        for command in whole.into_iter().flatten() {
            match number {
                0 => check_imap(command),
                1 => _ = (sieve::read(command), sieve::response(command)),
                2 => _ = pop3::read(command),
                _ => _ = smtp::read(command),
            }
        }
    }
}

fn is_end(found: &Result<&[u8], Found>) -> bool {
    matches!(found, Err(Found::TooLarge | Found::Nul))
}

/// What imap-codec takes, is read alike; what is written of a login is read as that login.
fn check_imap(command: &[u8]) {
    let ours = imap::read(command);
    if let Ok(imap::Command::Login(name, password)) = &ours {
        let literal = |bytes: &[u8]| [format!("{{{}+}}\r\n", bytes.len()).as_bytes(), bytes].concat();
        let written = [&b"x LOGIN "[..], &literal(name), b" ", &literal(password), b"\r\n"].concat();
        assert_eq!(Ok(imap::Command::Login(name.clone(), password.clone())), imap::read(&written));
    }
    let Ok((b"", theirs)) = CommandCodec::default().decode(command) else { return };
    TAKEN_BY_BOTH.with(|taken| taken.set(taken.get() + 1));
    // A longer tag is no program's.
    if theirs.tag.as_ref().len() > 128 {
        return;
    }
    compare(&theirs, &ours, command);
}

thread_local! {
    /// So that a test can tell that the comparison is made at all.
    static TAKEN_BY_BOTH: Cell<u64> = const { Cell::new(0) };
}

fn compare(theirs: &Command<'_>, ours: &Result<imap::Command, imap::Wrong>, command: &[u8]) {
    assert_eq!(imap::tag(command), Some(theirs.tag.as_ref()));
    let expected = match &theirs.body {
        CommandBody::Capability => imap::Command::Capability,
        CommandBody::Noop => imap::Command::Noop,
        CommandBody::Logout => imap::Command::Logout,
        CommandBody::StartTLS => imap::Command::StartTls,
        CommandBody::Login { username, password } => {
            let bytes = |text: &[u8]| doorward_wire::mail::Bytes::new(text.to_vec());
            imap::Command::Login(bytes(username.as_ref()), bytes(password.declassify().as_ref()))
        }
        CommandBody::Authenticate { mechanism, initial_response } => {
            // A blank and nothing behind it: an empty response is `=` (RFC 4959, section 3).
            if command.ends_with(b" \r\n") {
                assert_eq!(*ours, Err(imap::Wrong::Syntax));
                return;
            }
            let Ok(imap::Command::Authenticate(name, initial)) = ours else {
                assert!(
                    mechanism.as_ref().len() > 20
                        || !mechanism.as_ref().is_ascii()
                        || has_odd_mechanism(mechanism.as_ref())
                );
                return;
            };
            assert!(mechanism.as_ref().eq_ignore_ascii_case(name));
            let decoded = initial.as_ref().map(|initial| sasl::initial(initial).expect("it is base64 there"));
            assert_eq!(decoded.as_deref().map(Vec::as_slice), initial_response.as_ref().map(|i| &**i.declassify()));
            return;
        }
        CommandBody::Id { parameters } => {
            let pairs = parameters.as_deref().unwrap_or_default();
            let fits = |(key, value): &(_, _)| {
                let (key, value): (
                    &imap_codec::imap_types::core::IString<'_>,
                    &imap_codec::imap_types::core::NString<'_>,
                ) = (key, value);
                key.as_ref().len() <= 30 && value.0.as_ref().is_none_or(|value| value.as_ref().len() <= 1024)
            };
            // RFC 2971 has bounds, which that reader does not know.
            if pairs.len() > 30 || !pairs.iter().all(fits) {
                assert_eq!(*ours, Err(imap::Wrong::Syntax));
                return;
            }
            let pair =
                |(key, value): &(
                    imap_codec::imap_types::core::IString<'_>,
                    imap_codec::imap_types::core::NString<'_>,
                )| { (key.as_ref().to_vec(), value.0.as_ref().map(|value| value.as_ref().to_vec())) };
            imap::Command::Id(pairs.iter().map(pair).collect())
        }
        // Nothing that may come before a login.
        _ => {
            assert!(ours.is_err(), "{ours:?}");
            return;
        }
    };
    // A browser's line may be a login with odd words: nobody is let in with it.
    if *ours != Err(imap::Wrong::Http) {
        assert_eq!(ours.as_ref(), Ok(&expected));
    }
}

/// Names of mechanisms have letters, digits, `-` and `_` (RFC 4422, section 3.1); any atom will do there.
fn has_odd_mechanism(name: &str) -> bool {
    !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Responses are read or not; what is read is what was sent.
pub(super) fn responses(data: &[u8]) {
    if let Some(decoded) = sasl::decode(data) {
        use base64::Engine as _;
        assert_eq!(base64::engine::general_purpose::STANDARD.encode(&*decoded).as_bytes(), data);
    }
    if let Some(plain) = sasl::Plain::read(data) {
        let sasl::Plain { authorization, name, password } = plain;
        assert!(sasl::is_name(&name) && sasl::is_name(&authorization));
        assert_eq!([authorization.as_bytes(), name.as_bytes(), password.as_bytes()].join(&0), data);
    }
    assert!(sasl::user_of_xoauth2(data).is_none_or(|user| !user.is_empty() && sasl::is_name(user)));
    assert!(sasl::user_of_oauthbearer(data).is_none_or(|user| !user.is_empty() && sasl::is_name(&user)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_compared() {
        let before = TAKEN_BY_BOTH.with(Cell::get);
        commands(b"a LOGIN bob {3+}\r\npwd\r\nb ID (\"a\" NIL)\r\nc AUTHENTICATE PLAIN AGI=\r\nd SELECT x\r\n");
        assert_eq!(TAKEN_BY_BOTH.with(Cell::get) - before, 4);
    }
}
