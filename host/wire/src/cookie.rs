//! Cookies (RFC 6265).
//!
//! Pure.

use memchr::memchr;

use crate::cookie_date;

/// The parts of a `Cookie` line, without the blanks around them.
pub fn cookie_pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (pair, after) = line.split_at(memchr(b';', line).unwrap_or(line.len()));
        rest = after.get(1..);
        Some(pair.trim_ascii())
    })
}

/// Name and value of a cookie that a `Set-Cookie` sets; none where browsers take it for none (section 5.2).
pub fn pair_of(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split(';').next()?.split_once('=')?;
    Some((name.trim(), value.trim())).filter(|(name, _)| !name.is_empty())
}

/// The value of an attribute of a `Set-Cookie`: the last one counts (section 5.3).
pub fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let attributes = line.split(';').skip(1).map(|part| part.split_once('=').unwrap_or((part, "")));
    attributes.filter(|(other, _)| other.trim().eq_ignore_ascii_case(name)).last().map(|(_, value)| value.trim())
}

/// Whether a browser would forget the cookie of a `Set-Cookie` at once (sections 5.2.1, 5.2.2 and 5.3); `now` in seconds
/// since 1970.
pub fn is_over(line: &str, now: i64) -> bool {
    let age = attribute(line, "max-age").filter(|age| {
        let digits = age.strip_prefix('-').unwrap_or(age);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    match (age, attribute(line, "expires").and_then(cookie_date::parse)) {
        (Some(age), _) => age.starts_with('-') || age.bytes().all(|byte| byte == b'0'),
        (None, Some(expires)) => expires <= now,
        (None, None) => false,
    }
}
