//! A line to an LDAP server: TCP, TLS or StartTLS under one deadline, and what the server says looked at before `ldap3`
//! reads it.
//!
//! Invariants: without TLS that was asked for nothing but the wish for it is sent; bytes behind the answer to StartTLS end
//! the line (CVE-2021-33515 and its like); a server cannot make us keep more than one message of a bounded size.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use doorward_wire::ldap::{self as ber, Found};

/// An entry with the attributes that are asked for has some kilobytes; a photograph that a policy wants, some hundred.
const MESSAGE_SIZE: usize = 1 << 20;
/// Answers to one question are two entries at most: what comes beyond is a server that does not stop.
const ANSWER_SIZE: usize = 4 << 20;

/// `ExtendedRequest` 1.3.6.1.4.1.1466.20037 with message number 1 (RFC 4511, section 4.14).
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// Where a server is, and what protects the way.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As the operator wrote it, for the log.
    pub(super) url: String,
    host: String,
    port: u16,
    protection: Protection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    None,
    StartTls,
    Tls,
}

impl Target {
    /// Takes a URL apart that the configuration has checked.
    pub(super) fn parse(url: &str, start_tls: bool) -> Option<Self> {
        let (scheme, authority) = url.split_once("://")?;
        let (protection, port) = match scheme {
            "ldaps" => (Protection::Tls, 636),
            _ if start_tls => (Protection::StartTls, 389),
            _ => (Protection::None, 389),
        };
        let authority = authority.trim_end_matches('/');
        let (host, written) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = written.map_or(Some(port), |port| port.parse().ok())?;
        Some(Self { url: url.to_owned(), host: host.trim_matches(['[', ']']).to_owned(), port, protection })
    }

    /// Opens a line. What `ldap3` gets is one end of a pair of sockets; dropping it closes the line.
    pub(super) async fn open(&self, tls: &Arc<ClientConfig>) -> io::Result<StdUnixStream> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        // A peer that is gone without a word is noticed while the connection is idle, and not by somebody's login.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(20))
            .with_interval(Duration::from_secs(5))
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        if self.protection == Protection::StartTls {
            start_tls(&mut stream).await?;
        }
        let (ours, theirs) = UnixStream::pair()?;
        if self.protection == Protection::None {
            tokio::task::spawn_local(relay(stream, ours, self.url.clone()));
        } else {
            let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
            tokio::task::spawn_local(relay(stream, ours, self.url.clone()));
        }
        theirs.into_std()
    }
}

/// Asks for TLS, and reads the answer and not a byte more.
async fn start_tls(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(START_TLS).await?;
    let mut said = Vec::with_capacity(256);
    let end = loop {
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::Error::other("it ended the connection at StartTLS"));
        }
        match ber::message(&said, 4096) {
            Found::Message(end) => break end,
            Found::More => {}
            Found::Nonsense => return Err(io::Error::other("it says nonsense to StartTLS")),
        }
    };
    if said.len() > end {
        return Err(io::Error::other("it sends more behind its answer to StartTLS"));
    }
    // The message was looked at: sequence, number, operation, and in that the result first.
    let operation = ber::element(&said).and_then(|(_, contents, _)| ber::element(contents)).map(|(_, _, rest)| rest);
    let operation = operation.and_then(ber::element).filter(|(tag, ..)| *tag == 0x78);
    match operation.and_then(|(_, contents, _)| ber::element(contents)) {
        Some((0x0a, [0], _)) => Ok(()),
        Some((0x0a, code, _)) => Err(io::Error::other(format!("it refuses StartTLS: result {code:?}"))),
        _ => Err(io::Error::other("it says nonsense to StartTLS")),
    }
}

/// Passes on both ways until either side ends, or the server says what no server may.
async fn relay(server: impl AsyncRead + AsyncWrite, ours: UnixStream, url: String) {
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_us, mut to_us) = ours.into_split();
    // What the server has said since we last asked.
    let answered = std::cell::Cell::new(0);
    let up = async {
        let mut asked = zeroize::Zeroizing::new([0; 4096]);
        loop {
            let size = from_us.read(&mut asked[..]).await?;
            if size == 0 {
                return to_server.shutdown().await;
            }
            answered.set(0);
            to_server.write_all(&asked[..size]).await?;
            to_server.flush().await?;
        }
    };
    let down = async {
        let mut said = Vec::new();
        loop {
            if from_server.read_buf(&mut said).await? == 0 {
                return Ok(());
            }
            loop {
                match ber::message(&said, MESSAGE_SIZE) {
                    Found::More => break,
                    Found::Nonsense => return Err(io::Error::other("it says nonsense")),
                    Found::Message(size) => {
                        answered.set(answered.get() + size);
                        if answered.get() > ANSWER_SIZE {
                            return Err(io::Error::other("it says too much"));
                        }
                        to_us.write_all(&said[..size]).await?;
                        said.drain(..size);
                    }
                }
            }
        }
    };
    let ended: io::Result<()> = tokio::select! { ended = up => ended, ended = down => ended };
    if let Err(error) = ended {
        tracing::debug!(url, %error, "a directory connection ended");
    }
}
