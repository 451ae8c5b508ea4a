//! Headers of the PROXY protocol, however they are cut, and as they are written.

use std::net::{IpAddr, SocketAddr};

use doorward_wire::proxy_header::{Seen, parse};

/// A header is there when it is whole, and not before; what was decided is not decided otherwise when more comes.
pub(super) fn proxy_header(data: &[u8]) {
    let whole = parse(data);
    for end in 0..data.len() {
        let part = parse(&data[..end]);
        match (&part, &whole) {
            (Seen::Part, Seen::Header(length, _)) => assert!(end < *length, "{end} of {length} bytes are a part"),
            (Seen::Part, _) => {}
            (Seen::Broken(_), Seen::Broken(_)) => {}
            _ => assert_eq!(part, whole, "the first {end} bytes"),
        }
    }
    if let Seen::Header(length, ends) = whole {
        assert!(length <= data.len());
        if let Some((source, target)) = ends {
            written(source, target);
        }
    }
}

/// Written in both versions, two ends are read as they were.
fn written(source: SocketAddr, target: SocketAddr) {
    let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let family = match (source.ip(), target.ip()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            two.extend_from_slice(&[0x11, 0, 12]);
            two.extend_from_slice(&[source.octets(), target.octets()].concat());
            "TCP4"
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            two.extend_from_slice(&[0x21, 0, 36]);
            two.extend_from_slice(&[source.octets(), target.octets()].concat());
            "TCP6"
        }
        _ => panic!("the ends are of one family"),
    };
    two.extend_from_slice(&[source.port().to_be_bytes(), target.port().to_be_bytes()].concat());
    let (ips, ports) = ((source.ip(), target.ip()), (source.port(), target.port()));
    let one = format!("PROXY {family} {} {} {} {}\r\n", ips.0, ips.1, ports.0, ports.1).into_bytes();
    for bytes in [one, two] {
        let expected = Seen::Header(bytes.len(), Some((source, target)));
        assert_eq!(parse(&[&bytes[..], b"GET /"].concat()), expected, "{bytes:?}");
    }
}
