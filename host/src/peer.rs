//! What is known of a connection: from accept, from TLS, and from the access policy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::body::Bytes;
use hyper::header::HeaderValue;

/// A client's connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The listener's name.
    pub listener: String,
    /// The client's address; IPv4 also where the socket is IPv6.
    pub address: IpAddr,
    told: HeaderValue,
    /// The client's port.
    pub port: u16,
    /// The address it connected to.
    pub local: SocketAddr,
    /// What TLS told, when there was TLS.
    pub tls: Option<PeerTls>,
    /// Whether the browser speaks TLS to a trusted proxy in front, where that one says so.
    pub https: Option<bool>,
}

/// What a TLS handshake told.
#[derive(Debug, Clone, Default)]
pub struct PeerTls {
    /// Its version, as `TLSv1.3`.
    pub version: &'static str,
    /// The server name asked for (SNI), lower case.
    pub server_name: Option<String>,
    /// The subject of the client's certificate, which was verified (RFC 4514).
    pub client_subject: Option<String>,
}

/// How a browser came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear text.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Http, Self::Https];

    /// Whether the browser speaks TLS.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https)
    }

    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Peer {
    /// A client before anything was read from it.
    pub fn new(listener: String, client: SocketAddr, local: SocketAddr) -> Self {
        let address = client.ip().to_canonical();
        Self { listener, address, told: told(address), port: client.port(), local, tls: None, https: None }
    }

    /// The client is another one: this is what a trusted proxy in front says.
    pub fn is_for(&mut self, client: IpAddr) {
        (self.address, self.told, self.port) = (client, told(client), 0);
    }

    /// Its address for headers.
    pub fn told(&self) -> &HeaderValue {
        &self.told
    }

    /// The scheme the browser used, with Doorward or with a trusted proxy in front.
    pub fn scheme(&self) -> Scheme {
        if self.https.unwrap_or(self.tls.is_some()) { Scheme::Https } else { Scheme::Http }
    }
}

/// Written once for a connection, since each of its requests tells it.
fn told(address: IpAddr) -> HeaderValue {
    let text = match address {
        IpAddr::V4(address) => dotted(address),
        IpAddr::V6(address) => address.to_string().into_bytes(),
    };
    // An address is a header value, whatever it is.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// As `Display` has it, without what that costs each connection.
fn dotted(address: Ipv4Addr) -> Vec<u8> {
    let mut text = Vec::with_capacity(15);
    for octet in address.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_as_it_is_written() {
        for text in
            ["0.0.0.0", "1.2.3.4", "10.20.30.40", "100.101.109.110", "127.0.0.1", "255.255.255.255", "2001:db8::1"]
        {
            assert_eq!(told(text.parse().unwrap()).to_str().unwrap(), text);
        }
    }
}
