//! Small grammars of the web: form bodies, cookies, host names, and the path to come back to.
//!
//! Pure.

use hyper::HeaderMap;
use hyper::header::COOKIE;
use memchr::memchr;

/// Fields of `application/x-www-form-urlencoded`, decoded (WHATWG URL, section 5.1). Bytes that are no UTF-8 become
/// the replacement character.
pub fn form_fields(body: &[u8]) -> Vec<(String, String)> {
    let decode = |bytes: &[u8]| String::from_utf8_lossy(&percent_decode(bytes, true)).into_owned();
    body.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let cut = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (decode(&pair[..cut]), decode(pair.get(cut + 1..).unwrap_or_default()))
        })
        .collect()
}

/// The inverse of [`form_fields`].
pub fn form_encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        percent_encode(name, &mut body);
        body.push('=');
        percent_encode(value, &mut body);
    }
    body
}

/// Percent-decoding; `+` is a blank in forms. A `%` without two digits stays as it is.
pub fn percent_decode(bytes: &[u8], form: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(bytes.get(at)), digit(bytes.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 2;
            }
            (b'+', ..) if form => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    decoded
}

/// Everything but the unreserved characters (RFC 3986, section 2.3) as `%XX`.
pub fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The same for what is a path already: its slashes and its escapes stay.
pub fn path_encode(text: &str, into: &mut String) {
    for (index, piece) in text.split('/').enumerate() {
        if index > 0 {
            into.push('/');
        }
        for (index, part) in piece.split('%').enumerate() {
            if index > 0 {
                let escape = part.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                into.push_str(if escape { "%" } else { "%25" });
            }
            percent_encode(part, into);
        }
    }
}

/// A text that is safe in HTML, in attributes too.
pub fn escape_html(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Whether a header is of one connection only (RFC 9110, section 7.6.1), or matters to a proxy only, however its letters are
/// written.
pub fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

/// Cookies of a request, in order (RFC 6265, section 5.4).
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    pairs(headers).filter_map(move |(name, value)| Some((text(name)?, text(value)?)))
}

/// The values of the cookies of one name.
pub fn cookies_named<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let of_name = pairs(headers).filter(move |(other, _)| *other == name.as_bytes());
    of_name.filter_map(|(_, value)| std::str::from_utf8(value).ok())
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let all = headers.get_all(COOKIE).iter().flat_map(|line| cookie_pairs(line.as_bytes()));
    all.filter_map(|pair| memchr(b'=', pair).map(|cut| (&pair[..cut], &pair[cut + 1..])))
}

/// The parts of a `Cookie` line, without the blanks around them.
pub fn cookie_pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (pair, after) = match memchr(b';', line) {
            Some(cut) => (&line[..cut], Some(&line[cut + 1..])),
            None => (line, None),
        };
        rest = after;
        Some(pair.trim_ascii())
    })
}

/// Host without port, lower case, without a final dot; none when it is no host (RFC 3986, section 3.2.2).
pub fn host_name(host: &str) -> Option<String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (&host[..address.len() + 2], rest.strip_prefix(':').unwrap_or(rest))
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]:".contains(&byte);
    let right = !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(allowed)
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

/// Where a login leads back to: a path of this site and nothing else. Browsers read `\` as `/` and drop tabs and line
/// ends (WHATWG URL), so anything that could become another host is refused.
pub fn local_path(target: &str) -> Option<&str> {
    let second = target.as_bytes().get(1).copied();
    let right = target.starts_with('/')
        && target.len() <= 2048
        && !matches!(second, Some(b'/' | b'\\'))
        && target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>".contains(&byte));
    // `/%09/host`, `/..//host`: harmless to a browser that keeps to the path, refused all the same.
    let lower = target.to_ascii_lowercase();
    let odd = ["%09", "%0a", "%0d", "%5c", "/..", "//"]
        .iter()
        .any(|odd| lower.split(['?', '#']).next().unwrap_or("").contains(odd));
    (right && !odd).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_encoded() {
        let fields = form_fields(b"a=1&b=%C3%BC+x&c&=d&&e=%zz%4");
        let expected = [("a", "1"), ("b", "ü x"), ("c", ""), ("", "d"), ("e", "%zz%4")];
        assert_eq!(fields, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let odd = "p%C3 a+b&c=d;\"e'<f>\\gü€#?";
        let body = form_encode([("_pass", odd)]);
        assert_eq!(form_fields(body.as_bytes()), [("_pass".to_owned(), odd.to_owned())]);
    }

    #[test]
    fn hosts_lose_their_port_and_case() {
        let check = |host: &str, name: Option<&str>| assert_eq!(host_name(host).as_deref(), name, "{host}");
        check("Mail.Example.com:8080", Some("mail.example.com"));
        check("mail.example.com.", Some("mail.example.com"));
        check("[::1]:8080", Some("[::1]"));
        check("127.0.0.1", Some("127.0.0.1"));
        for bad in ["", ":80", "a b", "a/b", "a@b", "a:b", "[::1", "[x]", "a:123456", "a,b", "ä"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_login_leads_back_into_the_site_only() {
        for good in ["/", "/?_task=mail&_mbox=INBOX", "/inbox", "/a/b?next=http://x/"] {
            assert_eq!(local_path(good), Some(good));
        }
        let bad = ["", "//e", "/\\e", "/%09/e", "/%5ce", "https:e", "/..//e", "https://e/", "e", "/a\nb", "/ä", "\\e"];
        for bad in bad {
            assert_eq!(local_path(bad), None, "{bad}");
        }
    }
}
