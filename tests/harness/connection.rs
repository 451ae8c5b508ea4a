//! One client connection, plain or TLS: bytes, and HTTP/1.1 on top of them.

use crate::message::{Body, Request, Response};
use crate::wire::{self, Framing};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// How to get a connection.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) to: SocketAddr,
    pub(crate) from: Option<IpAddr>,
    pub(crate) preamble: Vec<u8>,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) timeout: Duration,
}

/// One open connection. Reads end with an error when nothing comes within the client's timeout.
pub struct Connection {
    io: BufReader<Box<dyn Stream>>,
    tcp: TcpStream,
    plain: bool,
    pub(crate) certificate: Option<Vec<u8>>,
    /// Whether another request may be sent on it.
    pub(crate) usable: bool,
    pub(crate) used: bool,
}

impl Connection {
    pub(crate) fn open(way: &Way, server_name: &str) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(way.to), socket2::Type::STREAM, None)?;
        if let Some(ip) = way.from {
            socket.bind(&SocketAddr::new(ip, 0).into())?;
        }
        socket.connect_timeout(&way.to.into(), way.timeout)?;
        let mut tcp = TcpStream::from(socket);
        tcp.set_read_timeout(Some(way.timeout))?;
        tcp.set_write_timeout(Some(way.timeout))?;
        tcp.set_nodelay(true)?;
        tcp.write_all(&way.preamble)?;
        let mut certificate = None;
        let stream: Box<dyn Stream> = match &way.tls {
            None => Box::new(tcp.try_clone()?),
            Some(config) => {
                let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
                let session = rustls::ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                let mut tls = rustls::StreamOwned::new(session, tcp.try_clone()?);
                while tls.conn.is_handshaking() {
                    tls.conn.complete_io(&mut tls.sock)?;
                }
                certificate = tls.conn.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
                Box::new(tls)
            }
        };
        Ok(Self { io: BufReader::new(stream), tcp, plain: way.tls.is_none(), certificate, usable: true, used: false })
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes.as_ref()).unwrap_or_else(|e| panic!("cannot write: {e}"));
    }

    /// Sends bytes as they are, if the other side still takes them.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.get_mut().write_all(bytes)?;
        self.io.get_mut().flush()
    }

    /// Reads until the other side closes; a reset or the timeout ends it too.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // What came before an error is in `out` all the same.
        let _ = self.io.read_to_end(&mut out);
        out
    }

    /// Whether the other side has closed: waits for it, and fails when bytes come instead.
    pub fn read_end(&mut self) -> io::Result<()> {
        match self.io.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("bytes came instead of the end")),
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Reads some bytes, at least one; none at the end.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 16384];
        let n = self.io.read(&mut buffer)?;
        Ok(buffer[..n].to_vec())
    }

    /// Reads one whole response to a request of this method.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let (head, status) = loop {
            let head = wire::head(&mut self.io)?
                .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"))?;
            let status: u16 = head.first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("not a status line: {:?}", head.first))
            })?;
            if !(100..200).contains(&status) || status == 101 {
                break (head, status);
            }
            interim.push(status);
        };
        let mut body = Vec::new();
        let framing = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            Framing::Length(0)
        } else {
            head.framing(Framing::ToEnd)?
        };
        self.usable = framing != Framing::ToEnd
            && status != 101
            && head.first.starts_with("HTTP/1.1")
            && !head.headers.has_word("connection", "close");
        wire::body(&mut self.io, framing, |piece| body.extend_from_slice(piece))
            .map_err(|e| io::Error::new(e.kind(), format!("{e} (after {} and {} bytes)", head.first, body.len())))?;
        Ok(Response {
            request: String::new(),
            status,
            status_line: head.first,
            headers: head.headers,
            body,
            interim,
            sent: 0,
            target: String::new(),
        })
    }

    /// Says that nothing more will be sent; reading goes on.
    pub fn finish_writing(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Closes with a reset instead of a proper end, as a machine that vanished does.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }

    /// This side's address.
    pub fn local_address(&self) -> SocketAddr {
        self.tcp.local_addr().expect("a connected socket has an address")
    }

    /// Writes the request and reads its answer; an answer that comes early ends the sending.
    pub(crate) fn exchange(&mut self, request: Request, head: &[u8]) -> io::Result<Response> {
        self.used = true;
        let method = request.method;
        let sent = self.try_write(head).and_then(|()| self.send_body(request.body));
        let whole = matches!(sent, Ok((_, true)));
        // A peer that refuses the body may have answered before it closed.
        let mut response = self.read_response(&method).map_err(|e| match &sent {
            Err(first) => io::Error::new(first.kind(), format!("while sending: {first}; then: {e}")),
            Ok(_) => e,
        })?;
        response.sent = sent.map_or(0, |(n, _)| n);
        self.usable &= whole;
        Ok(response)
    }

    /// How many bytes of the body went out, and whether that was all.
    fn send_body(&mut self, body: Body) -> io::Result<(u64, bool)> {
        match body {
            Body::None => Ok((0, true)),
            Body::Bytes(bytes) => self.send_stream(&mut &bytes[..], false),
            Body::Stream(mut from, length) => self.send_stream(&mut from, length.is_none()),
        }
    }

    fn send_stream(&mut self, from: &mut dyn Read, chunked: bool) -> io::Result<(u64, bool)> {
        let mut buffer = vec![0; 64 << 10];
        let mut sent = 0;
        loop {
            let n = from.read(&mut buffer)?;
            if n == 0 {
                if chunked {
                    self.try_write(b"0\r\n\r\n")?;
                }
                return Ok((sent, true));
            }
            if sent > 0 && self.answered() {
                return Ok((sent, false));
            }
            if chunked {
                self.try_write(format!("{n:x}\r\n").as_bytes())?;
            }
            self.try_write(&buffer[..n])?;
            if chunked {
                self.try_write(b"\r\n")?;
            }
            sent += n as u64;
        }
    }

    /// Whether there is something to read already (told only without TLS, whose records need not be an answer).
    fn answered(&self) -> bool {
        if !self.plain || self.tcp.set_nonblocking(true).is_err() {
            return false;
        }
        let there = self.tcp.peek(&mut [0]).is_ok();
        let _ = self.tcp.set_nonblocking(false);
        there
    }
}

/// TLS settings of a client that trusts one CA, and may have a certificate of its own.
pub fn client_tls(ca: &Path, own: Option<(&Path, &Path)>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(ca) {
        roots.add(certificate).unwrap_or_else(|e| panic!("{}: {e}", ca.display()));
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates(chain), private_key(key))
            .expect("a client certificate that fits its key"),
    })
}

pub(crate) fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

pub(crate) fn private_key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}
