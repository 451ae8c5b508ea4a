//! Connections in the clear and by TLS, of either side.

use std::io::{Error, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};

/// What is read and written.
pub(super) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A client's side of TLS with `localhost`.
pub(super) fn client(wire: Box<dyn Wire>, ca: &Path) -> Box<dyn Wire> {
    let name = "localhost".try_into().expect("a name");
    let session = ClientConnection::new(harness::client_tls(ca, None), name).expect("a session");
    Box::new(StreamOwned::new(session, wire))
}

/// A server's side of it.
pub(super) fn server(wire: Box<dyn Wire>, config: Arc<ServerConfig>) -> Box<dyn Wire> {
    Box::new(StreamOwned::new(ServerConnection::new(config).expect("a session"), wire))
}

/// Whether nothing comes since the other side is gone.
pub(super) fn is_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe)
}
