//! A conversation with a mail server: lines, one after the other.

use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::super::connect::{self, open_tcp};
use super::super::http1::Line;
use super::super::spec::MailSpec;
use super::super::{Node, proxy_header};
use crate::config::ClientAddress;
use crate::peer::Peer;

/// All that a server may say before it has answered a login.
const MOST: usize = 64 << 10;
/// One line of it.
const LINE: usize = 16 << 10;

/// Why nobody is logged in.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server refuses name or password.
    Wrong,
    /// The password has to be changed first.
    Expired,
    /// It takes no more of this user's.
    Busy,
    /// It cannot be reached, or left.
    Away(String),
    /// This machine lacks something.
    Shortage(String),
    /// It says nothing.
    Silent,
    /// It says that it cannot check logins now.
    Unwilling,
    /// There is no way to send it a password.
    TakesNoPassword,
    /// It says what nobody may say there.
    Broken(&'static str),
    /// Its users could become others after their login.
    Unsafe(&'static str),
}

impl From<connect::Error> for Failed {
    fn from(error: connect::Error) -> Self {
        if error.is_ours() { Self::Shortage(error.to_string()) } else { Self::Away(error.to_string()) }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        connect::Error::from(error).into()
    }
}

/// A connection to a server that was greeted, or is about to be.
pub(super) struct Talk {
    line: Box<dyn Line>,
    /// What was read and not taken yet.
    read: Vec<u8>,
    /// Bytes that it said so far.
    said: usize,
    /// Its first line.
    pub(super) greeting: String,
    /// Whether it may take a session back before the login: it says so, or does not say what it can do.
    pub(super) goes_back: bool,
}

impl Talk {
    /// TCP, a PROXY header if there is to be one, and TLS if that comes first.
    pub(super) async fn connect(node: &Node, server: &MailSpec, peer: &Peer) -> Result<Self, Failed> {
        let mut stream = open_tcp(&server.url.authority(), &node.config.local_address).await?;
        if let ClientAddress::Proxy(version) = node.config.mail.client_address {
            stream.write_all(&proxy_header::of(version, peer)).await?;
        }
        let line: Box<dyn Line> = match &server.tls {
            Some((config, name)) if !server.starts_tls => {
                Box::new(TlsConnector::from(config.clone()).connect(name.clone(), stream).await?)
            }
            _ => Box::new(stream),
        };
        Ok(Self { line, read: Vec::new(), said: 0, greeting: String::new(), goes_back: true })
    }

    /// Hears the greeting.
    pub(super) async fn greeting(&mut self) -> Result<(), Failed> {
        self.greeting = self.hear().await?;
        Ok(())
    }

    /// The next line, without its end; bytes that are no UTF-8 become the replacement character.
    pub(super) async fn hear(&mut self) -> Result<String, Failed> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read) {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line);
                return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
            }
            self.more(LINE).await?;
        }
    }

    /// The next bytes, so many.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<u8>, Failed> {
        while self.read.len() < count {
            self.more(count).await?;
        }
        Ok(self.read.drain(..count).collect())
    }

    /// Reads more, of which there may be so much before it is taken.
    async fn more(&mut self, most: usize) -> Result<(), Failed> {
        if self.read.len() > most || most > MOST || self.said > MOST {
            return Err(Failed::Broken("it says more than anybody has to before a login"));
        }
        let read = self.line.read_buf(&mut self.read).await?;
        self.said += read;
        if read == 0 { Err(Failed::Away("it closed the connection".to_owned())) } else { Ok(()) }
    }

    /// Says something.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.line.write_all(bytes).await?;
        Ok(self.line.flush().await?)
    }

    /// Begins TLS, which the server has just agreed to. What it sent behind its word came in the clear, and is nobody's.
    pub(super) async fn secure(
        self,
        (config, name): &(Arc<rustls::ClientConfig>, ServerName<'static>),
    ) -> Result<Self, Failed> {
        if !self.read.is_empty() {
            return Err(Failed::Broken("it goes on in the clear after STARTTLS"));
        }
        let line = TlsConnector::from(config.clone()).connect(name.clone(), self.line).await?;
        Ok(Self { line: Box::new(line), ..self })
    }

    /// The connection, and what was read of it.
    pub(super) fn into_parts(self) -> (Box<dyn Line>, Vec<u8>) {
        (self.line, self.read)
    }
}
