//! HTTP/1.1 towards registries: one connection for each request, every byte counted, every wait with an end, and no
//! redirect or token server followed to where the registry has no business to send anybody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::error::{Error, Result};

/// How long a connection and its handshake may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What is asked.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// So many bytes of an answer are taken.
    pub(crate) largest: usize,
}

/// What came.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Whose certificates are trusted.
    pub tls: Arc<ClientConfig>,
    /// Registries, with their ports, that are spoken to without TLS.
    pub plain: Vec<String>,
    /// Hosts of inner addresses that a registry may lead to: token servers, and where blobs are.
    pub inner: Vec<String>,
    /// How long all of one command may take.
    pub timeout: Duration,
}

impl Transport {
    /// The URL of a path at a registry.
    pub(crate) fn url(&self, registry: &str, path: &str) -> Result<Url> {
        let scheme = if self.plain.iter().any(|plain| plain == registry) { "http" } else { "https" };
        let url = format!("{scheme}://{registry}{path}");
        Url::parse(&url).map_err(|error| Error::Wrong(format!("{url}: {error}")))
    }

    /// Whether a registry may lead to this place: to itself, or to another host by https.
    fn may_lead_to(&self, registry: &str, url: &Url) -> Result<()> {
        let there = authority(url);
        let is_plain = self.plain.contains(&there);
        let bare = url.username().is_empty() && url.password().is_none();
        if bare && (url.scheme() == "https" || (url.scheme() == "http" && is_plain)) {
            return Ok(());
        }
        Err(Error::Wrong(format!("{registry} leads to {}, which is no https", shown(url))))
    }

    /// Asks, of a registry or of where it leads to.
    pub(crate) async fn ask(&self, registry: &str, ask: Ask) -> Result<Answer> {
        self.may_lead_to(registry, &ask.url)?;
        let place = shown(&ask.url);
        let stream = tokio::time::timeout(CONNECT_TIME, self.connect(registry, &ask.url)).await;
        let stream = stream.map_err(|_| Error::Away(format!("{place}: no connection within {CONNECT_TIME:?}")))??;
        if ask.url.scheme() == "http" {
            return exchange(stream, ask, &place).await;
        }
        let host = ask.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| Error::Wrong(format!("{place}: {error}")))?;
        let handshake = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream);
        let stream = tokio::time::timeout(CONNECT_TIME, handshake).await;
        let stream = stream.map_err(|_| Error::Away(format!("{place}: no TLS within {CONNECT_TIME:?}")))?;
        exchange(stream.map_err(|error| Error::Away(format!("{place}: {error}")))?, ask, &place).await
    }

    async fn connect(&self, registry: &str, url: &Url) -> Result<TcpStream> {
        let place = shown(url);
        let away = |error: std::io::Error| Error::Away(format!("{place}: {error}"));
        let port = url.port_or_known_default().unwrap_or(443);
        let addresses: Vec<SocketAddr> = match url.host() {
            Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
            Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
            Some(Host::Domain(name)) => tokio::net::lookup_host((name, port)).await.map_err(away)?.collect(),
            None => Vec::new(),
        };
        // What a registry may not send us to, it may not send us to by a name either.
        let host = url.host_str().unwrap_or_default();
        let is_its_own = authority(url) == registry || self.inner.iter().any(|inner| inner == host);
        if let Some(inner) = addresses.iter().find(|address| !is_its_own && is_inner(address.ip())) {
            return Err(Error::Wrong(format!(
                "{registry} leads to {place}, which is the inner address {}",
                inner.ip()
            )));
        }
        let mut last = std::io::Error::other("its name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(away(last))
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ask: Ask,
    place: &str,
) -> Result<Answer> {
    let away = |error: hyper::Error| Error::Away(format!("{place}: {}", words(&error)));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(away)?;
    let driven = tokio::spawn(connection);
    let target = &ask.url[url::Position::BeforePath..url::Position::AfterQuery];
    let wrong = |error: hyper::http::Error| Error::Wrong(format!("{place}: {error}"));
    let mut request = Request::builder()
        .method(ask.method)
        .uri(target.parse::<Uri>().map_err(|error| wrong(error.into()))?)
        .header("Host", authority(&ask.url))
        .header("User-Agent", concat!("doorward/", env!("CARGO_PKG_VERSION")))
        .header("Connection", "close");
    for (name, value) in &ask.headers {
        let mut value = HeaderValue::from_str(value).map_err(|error| wrong(error.into()))?;
        value.set_sensitive(*name == "Authorization");
        request = request.header(*name, value);
    }
    let answer = sender.send_request(request.body(Full::new(ask.body)).map_err(wrong)?).await.map_err(away)?;
    let (head, mut body) = answer.into_parts();
    // What is said beside an error is for people, and nobody reads much of it.
    let (mut bytes, largest) = (Vec::new(), if head.status.is_success() { ask.largest } else { 4 << 10 });
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(away)?;
        let data = frame.data_ref().map(|data| &data[..]).unwrap_or_default();
        if bytes.len() + data.len() > largest {
            if head.status.is_success() {
                return Err(Error::Wrong(format!("{place}: an answer of more than {largest} bytes")));
            }
            break;
        }
        bytes.extend_from_slice(data);
    }
    driven.abort();
    Ok(Answer { status: head.status, headers: head.headers, body: bytes.into() })
}

/// What hyper says, with what is behind it.
fn words(error: &hyper::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// The host of a URL, with its port where it is no usual one.
pub(crate) fn authority(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

/// A URL as it may be told: a query may hold what lets somebody in.
pub(crate) fn shown(url: &Url) -> String {
    url[..url::Position::AfterPath].to_owned()
}

/// Addresses of this machine, of the house, and of the link: where services listen that ask for no password.
fn is_inner(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_inner;

    #[test]
    fn inner_addresses_are_known() {
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for outer in ["192.0.2.1", "100.128.0.1", "2001:db8::1"] {
            assert!(!is_inner(outer.parse().unwrap()), "{outer}");
        }
    }
}
