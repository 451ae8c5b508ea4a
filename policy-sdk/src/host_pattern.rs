//! Names of virtual hosts, exact or with a wildcard, and the table that finds the most specific one.
//!
//! Pure.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A host name (`mail.example.com`) or a wildcard (`*.example.com`: every name with one or more labels before
/// `.example.com`, not `example.com` itself). Letter case and a dot at the end do not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Every name that ends in a dot and this.
    Below(String),
}

impl HostPattern {
    /// Whether the host is one that the pattern means.
    pub fn matches(&self, host: &str) -> bool {
        let host = normal(host);
        match self {
            HostPattern::Exact(name) => host == *name,
            HostPattern::Below(parent) => host
                .strip_suffix(parent.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl FromStr for HostPattern {
    /// What is wrong, for the operator.
    type Err = String;

    fn from_str(text: &str) -> Result<HostPattern, String> {
        let text = normal(text);
        let (name, pattern): (&str, fn(String) -> HostPattern) = match text.strip_prefix("*.") {
            Some(parent) => (parent, HostPattern::Below),
            None => (&text, HostPattern::Exact),
        };
        check_name(name)?;
        Ok(pattern(name.to_string()))
    }
}

/// Values by host pattern; an exact name is found before a wildcard, and a longer wildcard before a shorter one.
#[derive(Debug, Clone)]
pub struct HostMap<T> {
    patterns: BTreeMap<HostPattern, T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        HostMap { patterns: BTreeMap::new() }
    }
}

impl<T> HostMap<T> {
    /// Puts a value under a pattern; returns the one that was there before, if the pattern is not new.
    pub fn insert(&mut self, pattern: HostPattern, value: T) -> Option<T> {
        self.patterns.insert(pattern, value)
    }

    /// The value under the most specific pattern for this host.
    pub fn find(&self, host: &str) -> Option<&T> {
        let host = normal(host);
        let parents = host.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| &host[at + 1..]);
        self.patterns.get(&HostPattern::Exact(host.clone())).or_else(|| {
            parents.into_iter().find_map(|parent| self.patterns.get(&HostPattern::Below(parent.to_string())))
        })
    }
}

/// The form in which names are compared: lower case, no dot at the end.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Refuses what no request could ask for. An underscore is not for host names, but it is in use.
fn check_name(name: &str) -> Result<(), String> {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address
            .parse::<Ipv6Addr>()
            .map(drop)
            .map_err(|_| format!("`{name}` is not an IPv6 address in brackets"));
    }
    if !name.is_ascii() {
        return Err(format!("`{name}` has letters beyond ASCII: write it in its xn-- form"));
    }
    if name.contains('*') {
        return Err(format!("`{name}`: a star stands only at the beginning, as in `*.example.com`"));
    }
    if name.contains(':') {
        return Err(format!("`{name}`: a host is written without scheme and port"));
    }
    // RFC 1035, 2.3.4: 63 octets a label, 255 on the wire and so 253 in text.
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(format!("`{name}` is not a host name"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_hosts() {
        let check = |pattern: &str, host: &str, expected: bool| {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(host), expected, "{pattern:?} on {host}");
            let mut map = HostMap::default();
            map.insert(pattern.clone(), ());
            assert_eq!(map.find(host).is_some(), expected, "{pattern:?} in a map, on {host}");
        };
        check("mail.example.com", "mail.example.com", true);
        check("Mail.Example.COM.", "mail.example.com", true);
        check("mail.example.com", "MAIL.example.com.", true);
        check("mail.example.com", "x.mail.example.com", false);
        check("*.example.com", "mail.example.com", true);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", ".example.com", false);
        check("*.example.com", "badexample.com", false);
        check("10.0.0.1", "10.0.0.1", true);
        check("[2001:db8::1]", "[2001:db8::1]", true);
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let mut map = HostMap::default();
        for pattern in ["*.com", "*.example.com", "*.mail.example.com", "mail.example.com"] {
            map.insert(pattern.parse().unwrap(), pattern);
        }
        let check = |host: &str, expected: Option<&str>| assert_eq!(map.find(host).copied(), expected, "{host}");
        check("mail.example.com", Some("mail.example.com"));
        check("x.mail.example.com", Some("*.mail.example.com"));
        check("www.example.com", Some("*.example.com"));
        check("example.com", Some("*.com"));
        check("example.org", None);
        check("", None);
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let check = |text: &str, message: &str| match text.parse::<HostPattern>() {
            Ok(pattern) => panic!("{text} was read as {pattern:?}"),
            Err(error) => assert!(error.contains(message), "{text}: {error}"),
        };
        check("", "not a host name");
        check("*", "a star stands only at the beginning");
        check("*.", "a star stands only");
        check("a*.example.com", "a star stands only at the beginning");
        check("*.*.example.com", "a star stands only at the beginning");
        check("a..example.com", "not a host name");
        check("-a.example.com", "not a host name");
        check("a b.example.com", "not a host name");
        check("bücher.example", "xn--");
        check("example.com:443", "without scheme and port");
        check("https://example.com", "without scheme and port");
        check("[::g]", "IPv6");
    }
}
