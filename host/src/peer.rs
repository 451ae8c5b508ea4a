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
    /// The server name asked for (SNI), lower case.
    pub server_name: Option<String>,
    /// The subject of the client's certificate, which was verified (RFC 4514).
    pub client_subject: Option<String>,
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

    /// The scheme the browser used.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure() { "https" } else { "http" }
    }

    /// Whether the browser speaks TLS, to Doorward or to a trusted proxy in front.
    pub fn is_secure(&self) -> bool {
        self.https.unwrap_or(self.tls.is_some())
    }
}

/// Written once for a connection, since each of its requests tells it.
fn told(address: IpAddr) -> HeaderValue {
    // An address is a header value, whatever it is.
    HeaderValue::from_str(&address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
