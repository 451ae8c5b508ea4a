//! Small grammars of the web: cookies of requests, text in HTML, and bytes in hexadecimal.
//!
//! Pure.

use doorward_wire::cookie::cookie_pairs;
use hyper::HeaderMap;
use hyper::header::COOKIE;
use memchr::memchr;

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

/// A text as TOML writes it: as JSON does, but for DEL.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Bytes as two hexadecimal digits each, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
