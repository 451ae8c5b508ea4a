//! The authority of a request: its host, and perhaps a port.
//!
//! Pure.

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
