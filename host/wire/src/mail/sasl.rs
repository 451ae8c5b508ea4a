//! SASL as mail programs use it (RFC 4422): strict base64, PLAIN (RFC 4616), and whom the tokens of XOAUTH2 and OAUTHBEARER
//! (RFC 7628) are for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Bytes, owned};

/// A response in base64 (RFC 4648, section 4: with its padding, nothing else in it). `None` where it is none.
pub fn decode(line: &[u8]) -> Option<Bytes> {
    // All of it is taken at once: a vector that grows leaves copies behind.
    let mut decoded = Bytes::new(vec![0; base64::decoded_len_estimate(line.len())]);
    let length = STANDARD.decode_slice(line, &mut decoded).ok()?;
    decoded.truncate(length);
    Some(decoded)
}

/// An initial response: `=` is an empty one (RFC 4959, RFC 4954).
pub fn initial(line: &[u8]) -> Option<Bytes> {
    if line == b"=" { Some(owned(b"")) } else { decode(line).filter(|_| !line.is_empty()) }
}

/// What PLAIN says.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    /// As whom somebody wants to act; empty for the one who has the password.
    pub authorization: String,
    /// Whose password it is.
    pub name: String,
    /// The password: UTF-8, without NUL.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { authorization, name, password: _ } = self;
        f.debug_struct("Plain").field("authorization", authorization).field("name", name).finish_non_exhaustive()
    }
}

impl Plain {
    /// Reads a response of PLAIN. `None` where it is none: then it is answered like a wrong password.
    pub fn read(response: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(response).ok()?;
        let mut parts = text.split('\0');
        let (authorization, name, password) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && is_name(authorization) && is_name(name);
        let password = || Zeroizing::new(password.to_owned());
        whole.then(|| Self { authorization: authorization.to_owned(), name: name.to_owned(), password: password() })
    }
}

/// Whether a text may be a name, as far as a protocol is concerned: control characters would be lines of their own elsewhere.
pub fn is_name(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whom the token of a response of XOAUTH2 is for: `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
pub fn user_of_xoauth2(response: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(response).ok()?.strip_suffix("\u{1}\u{1}")?;
    let (user, auth) = text.strip_prefix("user=")?.split_once('\u{1}')?;
    let token = auth.strip_prefix("auth=")?;
    (is_bearer(token) && !user.is_empty() && is_name(user)).then_some(user)
}

/// Whom the token of a response of OAUTHBEARER is for (RFC 7628, section 3.1): the name of its GS2 header, whose `=2C` and
/// `=3D` are a comma and an equals sign (RFC 5801).
pub fn user_of_oauthbearer(response: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(response).ok()?;
    let (header, pairs) = text.split_once('\u{1}')?;
    // Without channel binding: there is none that a proxy could keep.
    let user = header.strip_prefix("n,")?.strip_suffix(',')?.strip_prefix("a=")?;
    let pairs = pairs.strip_suffix("\u{1}\u{1}")?;
    let mut tokens = pairs.split('\u{1}').filter_map(|pair| pair.strip_prefix("auth="));
    let is_one = tokens.next().is_some_and(is_bearer) && tokens.next().is_none();
    let user = unescape(user)?;
    (is_one && !user.is_empty() && is_name(&user)).then_some(user)
}

/// `saslname` (RFC 5801, section 4).
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = part.split_at_checked(2)?;
        text.push(match escaped {
            "2C" | "2c" => ',',
            "3D" | "3d" => '=',
            _ => return None,
        });
        text.push_str(rest);
    }
    (!name.contains(',')).then_some(text)
}

/// `Bearer` and a token (RFC 6750, section 2.1).
fn is_bearer(text: &str) -> bool {
    let token =
        text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    token.is_some_and(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode(b"AGJvYgBwd2Q=").unwrap().as_slice(), b"\0bob\0pwd");
        assert_eq!(decode(b"").unwrap().as_slice(), b"");
        for wrong in [&b"!!!!"[..], b"=AAA", b"AAA=BBB", b"AAA", b"AA AA", b"AAAA\r", b"_-AA", b"AB=="] {
            assert!(decode(wrong).is_none(), "{wrong:?}");
        }
        assert_eq!(initial(b"=").unwrap().as_slice(), b"");
        assert!(initial(b"").is_none());
    }

    #[test]
    fn plain_has_three_parts() {
        let read = |bytes: &[u8]| {
            Plain::read(bytes).map(|plain| (plain.authorization, plain.name, plain.password.to_string()))
        };
        let said = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(read(b"\0bob\0pwd"), said("", "bob", "pwd"));
        assert_eq!(read("alice\0müller\0a\r\nb".as_bytes()), said("alice", "müller", "a\r\nb"));
        for wrong in
            [&b""[..], b"bob", b"\0bob", b"\0bob\0pwd\0", b"\0b\xff\0pwd", b"\0bob\r\nDELE 1\0pwd", b"\0b\x01\0p"]
        {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        let debug = format!("{:?}", Plain::read(b"\0bob\0secret").unwrap());
        assert!(!debug.contains("secret"), "{debug}");
    }

    #[test]
    fn tokens_say_whom_they_are_for() {
        assert_eq!(user_of_xoauth2(b"user=bob@a\x01auth=Bearer ya29.x\x01\x01"), Some("bob@a"));
        for wrong in [
            &b"user=bob\x01auth=Bearer \x01\x01"[..],
            b"user=\x01auth=Bearer t\x01\x01",
            b"user=bob\x01auth=Basic t\x01\x01",
            b"user=bob\x01auth=Bearer t\x01",
            b"user=b\nb\x01auth=Bearer t\x01\x01",
            b"",
        ] {
            assert_eq!(user_of_xoauth2(wrong), None, "{wrong:?}");
        }
        let bearer = b"n,a=a=2Cb=3Dc,\x01host=x\x01port=143\x01auth=Bearer t\x01\x01";
        assert_eq!(user_of_oauthbearer(bearer).as_deref(), Some("a,b=c"));
        for wrong in [
            &b"n,,\x01auth=Bearer t\x01\x01"[..],
            b"y,a=bob,\x01auth=Bearer t\x01\x01",
            b"p=tls-unique,a=bob,\x01auth=Bearer t\x01\x01",
            b"n,a=b=b,\x01auth=Bearer t\x01\x01",
            b"n,a=b,c,\x01auth=Bearer t\x01\x01",
            b"n,a=bob,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            b"n,a=bob,\x01auth=Bearer t",
        ] {
            assert_eq!(user_of_oauthbearer(wrong), None, "{wrong:?}");
        }
    }
}
