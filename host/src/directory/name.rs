//! Names of users: one form for each, and their parts.
//!
//! Pure.

use unicode_normalization::UnicodeNormalization as _;

/// Longer names are nobody's (RFC 5321 allows 254 characters for an address).
const LONGEST: usize = 256;

/// The one form of a typed name: without blanks around it, composed (NFC), and in lower case where case means nothing. `None`
/// when it can be nobody's: empty, too long, with control characters, or with what stands for bytes that are no UTF-8.
pub(super) fn canonical(typed: &str, fold_case: bool) -> Option<String> {
    if typed.len() > LONGEST || typed.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let name: String = typed.trim().nfc().collect();
    let name = if fold_case { name.to_lowercase().nfc().collect() } else { name };
    // Some compositions take more bytes than they had.
    Some(name).filter(|name| !name.is_empty() && name.len() <= LONGEST)
}

/// The local part and the domain of `user@domain` (at its last `@`) or `DOMAIN\user`; the whole name and nothing of others.
pub(super) fn parts(name: &str) -> (&str, &str) {
    if let Some((domain, local)) = name.split_once('\\') {
        return (local, domain);
    }
    name.rsplit_once('@').unwrap_or((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_one() {
        let check =
            |typed: &str, folded: Option<&str>| assert_eq!(canonical(typed, true).as_deref(), folded, "{typed:?}");
        check("alice", Some("alice"));
        check("  Alice@Example.TEST \u{a0}", Some("alice@example.test"));
        check("CORP\\Alice", Some("corp\\alice"));
        check("Zoë", Some("zoë"));
        check("Zoe\u{308}", Some("zoë"));
        check("İ", Some("i\u{307}"));
        for nobody in ["", " ", "\u{3000}", "a\0b", "a\nb", "a\u{7f}", "\u{fffd}", &"x".repeat(257)] {
            check(nobody, None);
        }
        assert_eq!(canonical(" MixedCase ", false).as_deref(), Some("MixedCase"));
    }

    #[test]
    fn both_ways_to_write_a_domain_are_known() {
        let check = |name: &str, local: &str, domain: &str| assert_eq!(parts(name), (local, domain), "{name}");
        check("alice", "alice", "");
        check("alice@a.test", "alice", "a.test");
        check("a@b@c", "a@b", "c");
        check("corp\\alice", "alice", "corp");
        check("corp\\a@b", "a@b", "corp");
    }
}
