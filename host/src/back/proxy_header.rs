//! The PROXY header that a connection to a node begins with, where the node wants one: who the client is.
//!
//! Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::ProxyProtocol;
use crate::peer::Peer;

/// What every header of version 2 begins with (the PROXY protocol, section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header of a client's connection.
pub(super) fn of(version: ProxyProtocol, peer: &Peer) -> Vec<u8> {
    let (client, local) = one_family(SocketAddr::new(peer.address, peer.port), peer.local);
    match version {
        ProxyProtocol::V1 => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), local.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let addresses = [octets(client.ip()), octets(local.ip())].concat();
            let family = if client.is_ipv4() { 0x11 } else { 0x21 };
            // 0x21: version 2, and the command PROXY. The length is 12 or 36.
            let length = if client.is_ipv4() { 12 } else { 36 };
            let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
            [&SIGNATURE[..], &[0x21, family, 0, length], &addresses, &ports].concat()
        }
    }
}

/// The header of a connection of our own.
pub(super) fn of_our_own(version: ProxyProtocol) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        // 0x20: version 2, and the command LOCAL; nothing follows.
        ProxyProtocol::V2 => [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
    }
}

/// A header has room for one family only. IPv4 stays IPv4 where both ends are.
fn one_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, local) = (plain(client), plain(local));
    if client.is_ipv4() == local.is_ipv4() {
        return (client, local);
    }
    let wide = |address: SocketAddr| SocketAddr::new(mapped(address.ip()).into(), address.port());
    (wide(client), wide(local))
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, local: &str) -> Peer {
        Peer::new("public".to_owned(), address.parse().unwrap(), local.parse().unwrap())
    }

    #[test]
    fn the_first_version_is_a_line() {
        let check = |client: &str, local: &str, line: &str| {
            let header = of(ProxyProtocol::V1, &peer(client, local));
            assert_eq!(String::from_utf8(header).unwrap(), line);
        };
        check("192.0.2.7:4711", "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n");
        check("192.0.2.7:4711", "[::ffff:198.51.100.1]:443", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n");
        check("[2001:db8::7]:1", "[2001:db8::1]:443", "PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n");
        check("192.0.2.7:1", "[2001:db8::1]:443", "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 443\r\n");
    }

    #[test]
    fn the_second_version_is_binary() {
        let header = of(ProxyProtocol::V2, &peer("192.0.2.7:258", "198.51.100.1:443"));
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x01\x02\x01\xbb";
        assert_eq!(header, expected);
        assert_eq!(of(ProxyProtocol::V2, &peer("[2001:db8::7]:1", "[2001:db8::1]:443")).len(), 16 + 36);
    }
}
