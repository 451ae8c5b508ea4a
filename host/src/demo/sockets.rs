//! Where the demo's nodes are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

use crate::config::{Config, MailUrl};

/// A free port of this machine.
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The sockets of a node. A configuration from before the demo had mail servers has none of those.
pub(super) struct Sockets {
    pub(super) http: TcpListener,
    pub(super) imap: Option<TcpListener>,
    pub(super) pop3: Option<TcpListener>,
}

impl Sockets {
    /// At free ports.
    pub(super) fn any() -> anyhow::Result<Self> {
        let mail = || loopback(ANY_PORT).map(Some);
        Ok(Self { http: loopback(ANY_PORT)?, imap: mail()?, pop3: mail()? })
    }

    /// Where the configuration has a node of the demo.
    pub(super) fn of(config: &Config, name: &str) -> anyhow::Result<Self> {
        let file = config.place.file().display();
        let backend = config.backends.iter().find(|backend| backend.name == name);
        let backend = backend.with_context(|| format!("{file} has no back-end {name}, which is a node of the demo"))?;
        let at = |url: &str, scheme: &str| {
            let address = url.strip_prefix(scheme).unwrap_or(url).trim_end_matches('/');
            let address = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
            let address = address
                .with_context(|| format!("{file}: {name} is at {url}, and the demo's are at {scheme}127.0.0.1:PORT"))?;
            loopback(address).with_context(|| format!("{name} of {file}, at {address}"))
        };
        let mail = |url: &Option<MailUrl>| url.as_ref().map(|url| at(&url.authority(), "")).transpose();
        let http = at(backend.url.as_str(), "http://")?;
        Ok(Self { http, imap: mail(&backend.mail.imap)?, pop3: mail(&backend.mail.pop3)? })
    }

    /// Where they are: of HTTP, IMAP and POP3.
    pub(super) fn addresses(&self) -> std::io::Result<[SocketAddr; 3]> {
        let mail = |socket: &Option<TcpListener>| socket.as_ref().map_or(Ok(ANY_PORT), TcpListener::local_addr);
        Ok([self.http.local_addr()?, mail(&self.imap)?, mail(&self.pop3)?])
    }
}

fn loopback(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
