//! Sockets of either kind, network or Unix: where connections come from, and what they are read and written by.

use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket.
#[derive(Debug)]
pub enum Listening {
    /// On the network; with its address, where connections can have no other.
    Net(TcpListener, Option<SocketAddr>),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A connection, with what was read of it too early.
#[derive(Debug)]
pub(super) struct Stream {
    early: Vec<u8>,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Net(TcpStream),
    Unix(UnixStream),
}

/// What stands for an address where there is none: a peer of a Unix socket is on this machine.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Listening {
    /// A socket on the network. Its connections inherit that they send at once what they have.
    ///
    /// # Errors
    /// The system says no.
    pub fn net(socket: std::net::TcpListener) -> Result<Self> {
        socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
        let address = socket.local_addr().ok().filter(|address| !address.ip().is_unspecified());
        Ok(Self::Net(TcpListener::from_std(socket)?, address))
    }

    /// The next connection: its socket, the peer's address, and the one it connected to.
    pub(super) async fn accept(&self) -> Result<(Stream, SocketAddr, SocketAddr)> {
        let (socket, peer, local) = match self {
            Self::Net(listener, address) => {
                let (stream, peer) = listener.accept().await?;
                // The client may be gone already; that is found when its socket is read.
                let local = address.unwrap_or_else(|| stream.local_addr().unwrap_or(HERE));
                (Socket::Net(stream), peer, local)
            }
            Self::Unix(listener) => (Socket::Unix(listener.accept().await?.0), HERE, HERE),
        };
        Ok((Stream { early: Vec::new(), socket }, peer, local))
    }
}

impl Stream {
    /// Gives bytes back that were read too early.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.early.splice(0..0, bytes.iter().copied());
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if !this.early.is_empty() {
            let length = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..length]);
            this.early.drain(..length);
            return Poll::Ready(Ok(()));
        }
        match &mut this.socket {
            Socket::Net(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Net(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Net(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Net(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Net(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// So much of a connection is read at once to tell how it begins: all that many handshakes begin with.
const FIRST: usize = 512;

/// Reads some bytes behind those that are there already; none when the peer is at its end.
pub(super) async fn read_some(stream: &mut Stream, bytes: &mut Vec<u8>) -> Result<usize> {
    let mut room = [0; FIRST];
    let length = std::future::poll_fn(|cx| {
        let mut buf = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        Poll::Ready(Result::Ok(buf.filled().len()))
    })
    .await?;
    bytes.extend_from_slice(&room[..length]);
    Ok(length)
}
