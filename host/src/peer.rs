//! What is known of a connection: from accept, from TLS, and from the access policy.

use std::net::{IpAddr, SocketAddr};

use hyper::header::HeaderValue;

/// A client's connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The listener's name.
    pub listener: String,
    /// The client's address; IPv4 also where the socket is IPv6.
    pub address: IpAddr,
    /// The same for headers, written once.
    pub told: HeaderValue,
    /// The client's port.
    pub port: u16,
    /// The address it connected to.
    pub local: SocketAddr,
    /// What TLS told, when there was TLS.
    pub tls: Option<PeerTls>,
}

/// What a TLS handshake told.
#[derive(Debug, Clone, Default)]
pub struct PeerTls {
    /// The server name asked for (SNI), lower case.
    pub server_name: Option<String>,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
}

impl Peer {
    /// A client before anything was read from it.
    pub fn new(listener: String, client: SocketAddr, local: SocketAddr) -> Self {
        let address = client.ip().to_canonical();
        // An address is a header value, whatever it is.
        let told = HeaderValue::from_str(&address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { listener, address, told, port: client.port(), local, tls: None }
    }

    /// The scheme the browser used.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
