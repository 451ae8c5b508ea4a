//! A log host: by UDP, by TCP, and by TLS (RFC 5424, 5425, 5426, 6587).
//!
//! Invariants: on a stream each line has its length before it (octet counting); a peer that has closed is noticed before
//! the next line is written; a line is counted as written only when all of it was handed to the system.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::files::{Broken, Sink};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a peer is waited for at once.
const STEP: Duration = Duration::from_millis(500);
/// A peer that takes nothing for so long is given up, and tried anew. Lines wait meanwhile, and no worker does.
const STALL: Duration = Duration::from_secs(60);
/// Lines are written in pieces of about this size.
const PIECE: usize = 32 << 10;

/// Lines in datagrams.
pub(super) struct Datagram {
    host: String,
    socket: Option<UdpSocket>,
    /// Lines that the host did not want, as far as that is heard of.
    lost: u64,
}

/// How TLS is set up: made anew for each connection, since files of certificates are renewed.
pub(super) type MakeTls = Box<dyn Fn() -> std::result::Result<Arc<ClientConfig>, String> + Send>;

/// Lines on a connection.
pub(super) struct Connected {
    host: String,
    tls: Option<MakeTls>,
    line: Option<Line>,
}

/// A connection.
struct Line {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Datagram {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), socket: None, lost: 0 }
    }

    fn socket(&mut self) -> Result<&UdpSocket> {
        if self.socket.is_none() {
            let address = first(&self.host, |address| {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(socket)
            })?;
            self.socket = Some(address);
        }
        self.socket.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Sink for Datagram {
    fn write(&mut self, lines: &[u8]) -> std::result::Result<(), Broken> {
        let mut written = 0;
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            let mut sent = self.socket().and_then(|socket| socket.send(bare));
            if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                // So it is told of a line before this one; this one did not go out for it.
                self.lost += 1;
                sent = self.socket().and_then(|socket| socket.send(bare));
            }
            match sent {
                Ok(_) => {}
                // Once more: it may listen again at any time, and nothing can be told from it.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.lost += 1,
                Err(error) => {
                    // Its name may mean another host by now.
                    self.socket = None;
                    return Err(Broken { written, error });
                }
            }
            written += line.len();
        }
        Ok(())
    }

    fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

impl Connected {
    pub(super) fn new(host: &str, tls: Option<MakeTls>) -> Self {
        Self { host: host.to_owned(), tls, line: None }
    }

    fn connect(&self) -> Result<Line> {
        let stream = first(&self.host, |address| TcpStream::connect_timeout(&address, CONNECT))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT))?;
        stream.set_write_timeout(Some(STEP))?;
        let Some(make) = &self.tls else { return Ok(Line { stream, tls: None }) };
        let config = make().map_err(Error::other)?;
        let name = self.host.rsplit_once(':').map_or(&*self.host, |(name, _)| name).trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned()).map_err(Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(Error::other)?;
        let mut line = Line { stream, tls: None };
        let began = Instant::now();
        while tls.is_handshaking() {
            if began.elapsed() > CONNECT {
                return Err(ErrorKind::TimedOut.into());
            }
            tls.complete_io(&mut line.stream)?;
        }
        line.tls = Some(Box::new(tls));
        Ok(line)
    }

    /// The connection as it is, if the peer has not closed it, or a new one.
    fn line(&mut self) -> Result<&mut Line> {
        if self.line.as_mut().is_some_and(|line| !line.is_open()) {
            self.line = None;
        }
        if self.line.is_none() {
            self.line = Some(self.connect()?);
        }
        self.line.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Line {
    /// Whether the peer still listens, as far as can be known.
    fn is_open(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let open = self.has_no_end();
        self.stream.set_nonblocking(false).is_ok() && open
    }

    /// Reads what a log host should not say, up to where nothing is there.
    fn has_no_end(&mut self) -> bool {
        let mut nothing = [0; 512];
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(&mut nothing),
                Some(tls) => match tls.read_tls(&mut self.stream) {
                    Ok(0) => Ok(0),
                    Ok(more) => match tls.process_new_packets() {
                        Ok(state) if !state.peer_has_closed() => {
                            // It is thrown away, so that it fills nothing.
                            while matches!(tls.reader().read(&mut nothing), Ok(1..)) {}
                            Ok(more)
                        }
                        _ => Ok(0),
                    },
                    Err(error) => Err(error),
                },
            };
            match read {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Writes a piece; how much of it went out is known where there is no TLS.
    fn write(&mut self, piece: &[u8]) -> std::result::Result<(), (usize, Error)> {
        let (mut written, mut last) = (0, Instant::now());
        if let Some(tls) = &mut self.tls {
            tls.set_buffer_limit(None);
            tls.writer().write_all(piece).map_err(|error| (0, error))?;
        }
        loop {
            let wrote = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.stream),
                None if written < piece.len() => self.stream.write(&piece[written..]),
                _ => return Ok(()),
            };
            match wrote {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(more) => {
                    written += if self.tls.is_none() { more } else { 0 };
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if last.elapsed() >= STALL {
                        return Err((written, ErrorKind::TimedOut.into()));
                    }
                }
                Err(error) => return Err((written, error)),
            }
        }
    }
}

impl Sink for Connected {
    fn write(&mut self, lines: &[u8]) -> std::result::Result<(), Broken> {
        let mut lines_left = lines.split_inclusive(|b| *b == b'\n').peekable();
        let mut written = 0;
        while lines_left.peek().is_some() {
            // Where each line of the piece ends: in the piece, and in what was given.
            let (mut piece, mut ends, mut end) = (Vec::with_capacity(PIECE + 8192), Vec::new(), written);
            while let Some(line) = lines_left.next_if(|_| piece.len() < PIECE) {
                let bare = line.strip_suffix(b"\n").unwrap_or(line);
                let _ = write!(piece, "{} ", bare.len());
                piece.extend_from_slice(bare);
                end += line.len();
                ends.push((piece.len(), end));
            }
            let sent = match self.line() {
                Ok(line) => line.write(&piece),
                Err(error) => Err((0, error)),
            };
            if let Err((bytes, error)) = sent {
                self.line = None;
                let whole = ends.iter().rev().find(|(in_piece, _)| *in_piece <= bytes);
                return Err(Broken { written: whole.map_or(written, |(_, end)| *end), error });
            }
            written = end;
        }
        Ok(())
    }
}

impl Drop for Line {
    /// Says that no more comes.
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

/// The first address of a host with which it works.
fn first<T>(host: &str, mut try_it: impl FnMut(SocketAddr) -> Result<T>) -> Result<T> {
    let mut failed = Error::new(ErrorKind::NotFound, "the host has no address");
    for address in host.to_socket_addrs()? {
        match try_it(address) {
            Ok(it) => return Ok(it),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
