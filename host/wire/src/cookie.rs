//! Cookies (RFC 6265).
//!
//! Pure.

use memchr::memchr;

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
