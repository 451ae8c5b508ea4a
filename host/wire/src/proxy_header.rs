//! Headers of the PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`).
//!
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who a connection is from, and what it was made to.
pub type Ends = (SocketAddr, SocketAddr);

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Perhaps a header; not yet all of it.
    Part,
    /// No header.
    Other,
    /// A header of so many bytes. It may name no ends: then the socket's own hold.
    Header(usize, Option<Ends>),
    /// The beginning of a header, and then something else.
    Broken(&'static str),
}

/// The longest line of version 1, with its end (section 2.1).
const LINE: usize = 107;
/// The first bytes of version 2 (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 2 may have behind its 16 fixed bytes: addresses take 216 at most, and the rest is room for
/// extensions (TLS details, say), which are skipped.
const REST: usize = 4096;

/// Looks at the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> Seen {
    if bytes.starts_with(b"PROXY ") {
        line(bytes)
    } else if bytes.starts_with(SIGNATURE) {
        binary(bytes)
    } else if b"PROXY ".starts_with(bytes) || SIGNATURE.starts_with(bytes) {
        Seen::Part
    } else {
        Seen::Other
    }
}

/// Version 1: one line of text.
fn line(bytes: &[u8]) -> Seen {
    let Some(end) = bytes.windows(2).take(LINE - 1).position(|two| two == b"\r\n") else {
        return if bytes.len() < LINE { Seen::Part } else { Seen::Broken("a PROXY line that does not end") };
    };
    let ends = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok()).and_then(|line| {
        let mut words = line.split(' ').skip(1);
        match words.next()? {
            // Whatever follows is to be ignored.
            "UNKNOWN" => Some(None),
            "TCP4" => addresses::<Ipv4Addr>(words).map(Some),
            "TCP6" => addresses::<Ipv6Addr>(words).map(Some),
            _ => None,
        }
    });
    ends.map_or(Seen::Broken("a PROXY line that is none"), |ends| Seen::Header(end + 2, ends))
}

/// Two addresses and two ports, and nothing else.
fn addresses<'a, A: std::str::FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'a str>) -> Option<Ends> {
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (source, target) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse::<u16>().ok().filter(|_| is_number)
    };
    let ends = (SocketAddr::new(source, port()?), SocketAddr::new(target, port()?));
    words.next().is_none().then_some(ends)
}

/// Version 2: 16 fixed bytes, then addresses, then extensions.
fn binary(bytes: &[u8]) -> Seen {
    let Some(&[version, family, high, low]) = bytes.get(12..16) else { return Seen::Part };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST {
        return Seen::Broken("a PROXY header that is too long");
    }
    // Twelve bytes may be chance; the thirteenth decides early whether more is waited for.
    if version & 0xf0 != 0x20 || version & 0x0f > 1 {
        return Seen::Broken("a PROXY header of an unknown version or command");
    }
    let Some(rest) = bytes.get(16..16 + length) else { return Seen::Part };
    let local = version & 0x0f == 0;
    let ends = match family {
        // LOCAL: the balancer itself asks, as for a health check.
        _ if local => Some(None),
        0x00 => Some(None),
        0x11 => binary_addresses::<4>(rest).map(Some),
        0x21 => binary_addresses::<16>(rest).map(Some),
        // Unix sockets have paths of 108 bytes each, which are no addresses.
        0x31 if length >= 216 => Some(None),
        _ => None,
    };
    ends.map_or(Seen::Broken("a PROXY header without its addresses"), |ends| Seen::Header(16 + length, ends))
}

/// Two addresses of so many bytes, and two ports; whatever follows is extensions.
fn binary_addresses<const SIZE: usize>(rest: &[u8]) -> Option<Ends>
where
    IpAddr: From<[u8; SIZE]>,
{
    let (source, rest) = rest.split_first_chunk::<SIZE>()?;
    let (target, rest) = rest.split_first_chunk::<SIZE>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let (target_port, _) = rest.split_first_chunk()?;
    let end = |address: &[u8; SIZE], port: &[u8; 2]| SocketAddr::new((*address).into(), u16::from_be_bytes(*port));
    Some((end(source, source_port), end(target, target_port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, target: &str) -> Option<Ends> {
        Some((source.parse().unwrap(), target.parse().unwrap()))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[test]
    fn a_line_is_read_exactly_or_not_at_all() {
        let check = |text: &str, seen: Seen| assert_eq!(parse(text.as_bytes()), seen, "{text:?}");
        let header =
            |text: &str, of: Option<Ends>| check(&format!("{text}\r\nGET /"), Seen::Header(text.len() + 2, of));
        header("PROXY TCP4 192.0.2.7 10.0.0.1 5000 443", ends("192.0.2.7:5000", "10.0.0.1:443"));
        header("PROXY TCP6 2001:db8::7 ::1 5000 443", ends("[2001:db8::7]:5000", "[::1]:443"));
        header("PROXY UNKNOWN", None);
        header("PROXY UNKNOWN ffff:f...f:ffff whatever", None);
        for bad in [
            "PROXY ",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443 ",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443 1",
            "PROXY TCP4  192.0.2.7 10.0.0.1 5000 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +500 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 0500 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443",
            "PROXY TCP4 192.0.2.07 10.0.0.1 5000 443",
            "PROXY TCP4 2001:db8::7 ::1 5000 443",
            "PROXY TCP6 192.0.2.7 10.0.0.1 5000 443",
            "PROXY TCP4 host 10.0.0.1 5000 443",
            "PROXY UDP4 192.0.2.7 10.0.0.1 5000 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\n",
            "PROXY UNKNOWN\u{e9}x",
        ] {
            let seen = parse(format!("{bad}\r\n").as_bytes());
            let broken = matches!(seen, Seen::Broken(_)) || bad.starts_with("PROXY UNKNOWN");
            assert!(broken, "{bad:?}: {seen:?}");
        }
    }

    #[test]
    fn a_line_has_107_bytes_at_most() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
        assert_eq!(parse(line(107).as_bytes()), Seen::Header(107, None));
        assert!(matches!(parse(line(108).as_bytes()), Seen::Broken(_)));
        assert_eq!(parse(&line(107).as_bytes()[..106]), Seen::Part);
        assert!(matches!(parse(&[b"PROXY ".as_slice(), &[b'x'; 101]].concat()), Seen::Broken(_)));
    }

    #[test]
    fn a_binary_header_is_read_exactly_or_not_at_all() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 1, 0xbb];
        let named = ends("192.0.2.7:5000", "10.0.0.1:443");
        assert_eq!(parse(&[v2(0x21, 0x11, &four), b"GET".to_vec()].concat()), Seen::Header(28, named));
        let with_extension = [&four[..], &[4, 0, 2, 9, 9]].concat();
        assert_eq!(parse(&v2(0x21, 0x11, &with_extension)), Seen::Header(33, named));
        let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[0x13, 0x88, 1, 0xbb]].concat();
        assert_eq!(parse(&v2(0x21, 0x21, &six)), Seen::Header(52, ends("[2001:db8::7]:5000", "[::1]:443")));
        assert_eq!(parse(&v2(0x20, 0x11, &four)), Seen::Header(28, None), "LOCAL");
        assert_eq!(parse(&v2(0x20, 0x00, &[])), Seen::Header(16, None), "LOCAL");
        assert_eq!(parse(&v2(0x21, 0x00, &[])), Seen::Header(16, None), "UNSPEC");
        assert_eq!(parse(&v2(0x21, 0x31, &[0; 216])), Seen::Header(232, None), "a Unix socket");
        for bad in [
            v2(0x21, 0x11, &four[..11]),
            v2(0x21, 0x21, &six[..35]),
            v2(0x21, 0x12, &four),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x11, 0x11, &four),
            v2(0x22, 0x11, &four),
            v2(0x21, 0x11, &[0; REST + 1]),
        ] {
            assert!(matches!(parse(&bad), Seen::Broken(_)), "{:?}", &bad[12..16]);
        }
    }

    #[test]
    fn every_part_of_a_header_waits_for_the_rest_and_other_bytes_do_not() {
        let whole = v2(0x21, 0x11, &[1; 20]);
        for header in [&whole[..], b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n"] {
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Seen::Part, "{length}");
            }
            assert!(matches!(parse(header), Seen::Header(..)));
        }
        for other in [&b"GET / HTTP/1.1"[..], b"PROPFIND /", b"PROXYX", b"\x16\x03\x01", b"\r\n\r\nG", b"\0", b"POST /"]
        {
            assert_eq!(parse(other), Seen::Other, "{other:?}");
        }
    }
}
