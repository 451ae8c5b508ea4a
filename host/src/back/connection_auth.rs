//! Schemes of HTTP authentication that authenticate a connection and not a request (RFC 4559, section 6): what tells that
//! a node does so, or that a client wants it.
//!
//! Pure.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

/// What IIS and others have of them.
const SCHEMES: [&str; 5] = ["ntlm", "negotiate", "nego2", "kerberos", "credssp"];
/// Whether the connection stays authenticated, as IIS says.
const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");

fn is_scheme(text: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| text.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// The first word of credentials or of a challenge.
fn scheme_of(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    text.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

fn is_of_connection(credentials: &HeaderValue) -> bool {
    is_scheme(scheme_of(credentials.as_bytes()))
}

/// Whether a request asks to have its connection authenticated.
pub fn is_asked(request: &HeaderMap) -> bool {
    let lines = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION];
    lines.iter().any(|name| request.get_all(name).iter().any(is_of_connection))
}

/// Whether a line of an answer tells that the node authenticates the connection, or begins to.
pub(super) fn is_told(name: &str, value: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(PERSISTENT_AUTH.as_str()) {
        return value.eq_ignore_ascii_case(b"true");
    }
    let challenges = [header::WWW_AUTHENTICATE, header::PROXY_AUTHENTICATE];
    challenges.iter().any(|challenge| name.eq_ignore_ascii_case(challenge.as_str()))
        && items(value).iter().any(|item| is_scheme(scheme_of(item)))
}

/// Takes such credentials out of a request.
pub(super) fn remove_credentials(request: &mut HeaderMap) {
    if is_asked(request) {
        request.remove(header::AUTHORIZATION);
        request.remove(header::PROXY_AUTHORIZATION);
    }
}

/// Takes such challenges out of an answer, and leaves others. Whether there were any.
pub(super) fn remove_challenges(answer: &mut HeaderMap) -> bool {
    answer.remove(&PERSISTENT_AUTH);
    let lines: Vec<HeaderValue> = answer.get_all(header::WWW_AUTHENTICATE).iter().cloned().collect();
    if !lines.iter().any(|line| is_told(header::WWW_AUTHENTICATE.as_str(), line.as_bytes())) {
        return false;
    }
    answer.remove(header::WWW_AUTHENTICATE);
    for line in lines {
        let left = without_schemes(line.as_bytes());
        if let Ok(value) = HeaderValue::from_bytes(&left)
            && !left.is_empty()
        {
            answer.append(header::WWW_AUTHENTICATE, value);
        }
    }
    true
}

/// A line of challenges without those of such schemes. A parameter goes with the challenge that it follows.
fn without_schemes(line: &[u8]) -> Vec<u8> {
    let mut goes = false;
    let mut left = Vec::new();
    for item in items(line) {
        let scheme = is_scheme(scheme_of(item));
        if scheme || !is_parameter(item) {
            goes = scheme;
        }
        if !goes {
            left.push(item);
        }
    }
    left.join(&b", "[..])
}

/// `name=value`, with blanks around the sign, perhaps. A challenge has a scheme and a blank before that.
fn is_parameter(item: &[u8]) -> bool {
    let name = item.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=').unwrap_or(item.len());
    item[name..].trim_ascii_start().first() == Some(&b'=')
}

/// What stands between commas that are in no quoted string (RFC 9110, section 11.6.1).
fn items(line: &[u8]) -> Vec<&[u8]> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in line.iter().enumerate() {
        if *byte == b',' && !quoted {
            items.push(line[start..at].trim_ascii());
            start = at + 1;
        }
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
    }
    items.push(line[start..].trim_ascii());
    items.retain(|item| !item.is_empty());
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_told_apart_however_they_are_joined() {
        let check = |line: &str, told: bool, left: &str| {
            assert_eq!(is_told("WWW-Authenticate", line.as_bytes()), told, "{line:?}");
            assert_eq!(String::from_utf8(without_schemes(line.as_bytes())).unwrap(), left, "{line:?}");
        };
        check("NTLM", true, "");
        check("ntlm TlRMTVNTUAACAAAA==", true, "");
        check("Basic realm=\"x\"", false, "Basic realm=\"x\"");
        check("Basic realm=\"x\", charset=\"UTF-8\", Negotiate", true, "Basic realm=\"x\", charset=\"UTF-8\"");
        check(
            "Negotiate YII=, realm = x, Digest realm=\"NTLM, \\\", NTLM\"",
            true,
            "Digest realm=\"NTLM, \\\", NTLM\"",
        );
        check("Basic realm=\"NTLM\", , Bearer", false, "Basic realm=\"NTLM\", Bearer");
        check("NTLMv9 x", false, "NTLMv9 x");
        check("", false, "");
        // A quote that does not end hides the rest, as it would for a browser.
        check("Basic realm=\"x, NTLM", false, "Basic realm=\"x, NTLM");
    }

    #[test]
    fn credentials_are_told_by_their_scheme() {
        let check = |name: &'static str, value: &'static str, asked: bool| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(is_asked(&headers), asked, "{name}: {value}");
        };
        check("authorization", "NTLM x", true);
        check("authorization", "  negotiate\tx", true);
        check("proxy-authorization", "Nego2", true);
        check("authorization", "Basic NTLM", false);
        check("authorization", "", false);
        check("x-authorization", "NTLM x", false);
    }

    /// No bytes make it panic, and what is left names no such scheme.
    #[test]
    fn any_line_is_survived() {
        let words = ["NTLM", "Basic", "=", ",", "\"", "\\", " ", "realm", "\t", "\u{e9}", "Negotiate"];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut line = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                line.push_str(words[(state >> 33) as usize % words.len()]);
            }
            assert!(!is_told("www-authenticate", &without_schemes(line.as_bytes())), "{line:?}");
        }
    }
}
