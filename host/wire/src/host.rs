//! Host names, and the authority of a request: its host, and perhaps a port.
//!
//! Pure.

/// Host without port, lower case, without a final dot; none when it is no host (RFC 3986, section 3.2.2).
pub fn host_name(host: &str) -> Option<String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (host.get(..address.len() + 2)?, rest.strip_prefix(':').unwrap_or(rest))
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

/// Whether this is `host` or `host:port` as a `Host` may have it (RFC 9110, section 7.2): no user, no path, a port of
/// digits.
pub fn is_authority(text: &[u8]) -> bool {
    let bracket = text.first() == Some(&b'[');
    let end = if bracket { text.iter().position(|byte| *byte == b']').map(|at| at + 1) } else { None };
    let end = end.or_else(|| text.iter().position(|byte| *byte == b':')).unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    let right_port = match port.split_first() {
        None => true,
        Some((b':', digits)) => {
            let number = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
            digits.len() <= 5 && number.is_some_and(|number| number.parse::<u16>().is_ok())
        }
        Some(_) => false,
    };
    let right_name = if bracket {
        let inside = name.get(1..name.len().saturating_sub(1)).unwrap_or_default();
        std::str::from_utf8(inside).is_ok_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        let part = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        !name.is_empty() && name.len() <= 255 && name.iter().all(part) && name != b"."
    };
    right_name && right_port
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in ["a", "a.b:80", "A-_.b", "127.0.0.1:65535", "[::1]", "[::1]:8080"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in ["", ":80", "a:", "a:b", "a:65536", "a:-1", "a@b", "a/b", "a b", "[::1", "[x]", "[::1]x", "a,b", "."]
        {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
