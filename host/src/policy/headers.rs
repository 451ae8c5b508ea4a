//! Headers that a filter may write, and those that it may not.
//!
//! Pure.

use doorward_engine::HeaderRules;
use doorward_wire::http1::is_hop_by_hop;

use crate::reserved;

/// The rules for answers of filters.
pub(super) const RULES: HeaderRules = HeaderRules {
    may_set: |name| !is_immutable(name),
    may_answer: |name| !is_ours_to_answer(name),
    may_add: |name| !is_of_the_answer(name),
};

/// Headers towards a node that no policy may set, in any spelling: they frame the message, belong to the connection,
/// carry credentials, or say who and where the client is, which only Doorward knows.
fn is_immutable(name: &str) -> bool {
    const NAMES: [&str; 7] =
        ["authorization", "content-encoding", "content-length", "content-type", "cookie", "expect", "host"];
    let plain = name.to_ascii_lowercase().replace('_', "-");
    NAMES.contains(&plain.as_str()) || is_hop_by_hop(&plain) || reserved::is_reserved(name)
}

/// Headers of an answer that only Doorward writes.
fn is_ours_to_answer(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ];
    NAMES.contains(&name.to_ascii_lowercase().as_str())
}

/// Headers of somebody else's answer that no policy may set: those that only Doorward writes, and those that belong to the
/// answer itself, of which Doorward looks at some. A policy that wants another answer gives one.
fn is_of_the_answer(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "accept-ranges",
        "alt-svc",
        "clear-site-data",
        "content-encoding",
        "content-location",
        "content-range",
        "content-type",
        "etag",
        "location",
        "refresh",
        "strict-transport-security",
        "vary",
        "www-authenticate",
    ];
    let plain = name.to_ascii_lowercase();
    NAMES.contains(&plain.as_str()) || is_hop_by_hop(&plain) || is_ours_to_answer(name) || reserved::is_reserved(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_doorward_writes_no_filter_writes() {
        for name in ["Cookie", "X_Forwarded_For", "x-doorward-user", "Transfer-Encoding", "Host"] {
            assert!(!(RULES.may_set)(name), "{name}");
        }
        for name in ["content-length", "Set-Cookie", "X-Request-Id"] {
            assert!(!(RULES.may_answer)(name), "{name}");
        }
        for name in
            ["Location", "set-cookie", "Content-Type", "X-Request-Id", "Strict-Transport-Security", "Clear-Site-Data"]
        {
            assert!(!(RULES.may_add)(name), "{name}");
        }
        assert!((RULES.may_add)("x-frame-options") && (RULES.may_add)("Content-Security-Policy"));
        assert!((RULES.may_set)("x-tenant") && (RULES.may_answer)("retry-after"));
    }
}
