//! Cookies and their dates.

use std::time::{Duration, UNIX_EPOCH};

use doorward_wire::cookie::{attribute, cookie_pairs, is_over, pair_of};
use doorward_wire::cookie_date;

/// The parts of a line are all of it, without blanks around them, and are read again as they were.
pub(super) fn cookies(data: &[u8]) {
    let pairs: Vec<&[u8]> = cookie_pairs(data).collect();
    assert_eq!(pairs.len(), data.iter().filter(|byte| **byte == b';').count() + 1);
    for pair in &pairs {
        assert!(pair.trim_ascii() == *pair && !pair.contains(&b';'));
    }
    let joined = pairs.join(&b"; "[..]);
    assert_eq!(cookie_pairs(&joined).collect::<Vec<_>>(), pairs);
}

/// What a `Set-Cookie` says lies in its line, before its first semicolon or behind it. A cookie that is over stays over, and
/// an attribute that is added at the end is the one that counts.
pub(super) fn set_cookies(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    let (first, rest) = line.split_once(';').unwrap_or((&line, ""));
    if let Some((name, value)) = pair_of(&line) {
        assert!(!name.is_empty() && !name.contains(['=', ';']) && !value.contains(';'));
        assert!(first.contains(name) && first.contains(value));
        assert_eq!(pair_of(&format!("{name}={value}; x")), Some((name, value)));
    }
    for name in ["path", "max-age", "expires", "domain"] {
        let said = attribute(&line, name);
        assert!(said.is_none_or(|said| rest.contains(said) && !said.contains(';') && said.trim() == said), "{said:?}");
        assert_eq!(attribute(&format!("{line};{} = / ", name.to_uppercase()), name), Some("/"));
    }
    let over = [i64::MIN, 0, 1_800_000_000, i64::MAX].map(|now| is_over(&line, now));
    assert!(over.is_sorted(), "{over:?}");
    assert!(is_over(&format!("{line};Max-Age=0"), 0));
}

/// A date that HTTP knows is no other one here; one that is written as servers write it is read as it was.
pub(super) fn dates(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = cookie_date::parse(&text);
    let Some(seconds) = read else { return };
    if let Ok(time) = httpdate::parse_http_date(&text) {
        let since = time.duration_since(UNIX_EPOCH).expect("HTTP has no earlier dates").as_secs();
        assert_eq!(u64::try_from(seconds), Ok(since), "{text:?}");
    }
    assert!((-11_644_473_600..=253_402_300_800).contains(&seconds), "{seconds}");
    if let Ok(since) = u64::try_from(seconds)
        && since < 253_402_300_800
    {
        let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since));
        assert_eq!(cookie_date::parse(&written), Some(seconds), "{written}");
    }
}
