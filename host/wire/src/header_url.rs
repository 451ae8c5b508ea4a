//! Where URLs stand in the values of headers.
//!
//! Pure.

use std::ops::Range;

use memchr::memchr;

/// The URL of a `Refresh`: `5; url=/there`, perhaps in quotes (WHATWG HTML, "shared declarative refresh steps").
pub fn of_refresh(value: &[u8]) -> Option<Range<usize>> {
    let behind = |at: usize, skips: &[u8]| {
        at + value.get(at..).unwrap_or_default().iter().take_while(|byte| skips.contains(byte)).count()
    };
    let time = behind(behind(0, b" \t"), b"0123456789. \t");
    let mut start = behind(time, b" \t;,");
    if value.get(start..start + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"url")) {
        let equals = behind(start + 3, b" \t");
        if value.get(equals) == Some(&b'=') {
            start = behind(equals + 1, b" \t");
        }
    }
    let quote = value.get(start).copied().filter(|byte| b"\"'".contains(byte));
    let start = start + usize::from(quote.is_some());
    let rest = value.get(start..)?;
    let length = quote.and_then(|quote| memchr(quote, rest)).unwrap_or(rest.len());
    (length > 0).then(|| start..start + length)
}

/// The URLs of a `Link`: `<https://…>; rel=next, <…>` (RFC 8288, section 3): what stands between angles outside of quoted strings.
pub fn of_links(value: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut quoted, mut at) = (Vec::new(), false, 0);
    while let Some(byte) = value.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                let Some(length) = memchr(b'>', value.get(at..).unwrap_or_default()) else { break };
                found.push(at + 1..at + length);
                at += length;
            }
            _ => {}
        }
        at += 1;
    }
    found
}
