//! The PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): a balancer in front tells, before TLS, whom
//! it connects for.
//!
//! Invariants: a header is read exactly or the connection is closed; no byte behind it is lost.

use doorward_wire::proxy_header::{Ends, Seen, parse};

use super::stream::{Stream, read_some};
use crate::config::{Proxied, ProxyHeader};

/// The ends that the PROXY header of this connection names, or those of the socket; why it is closed otherwise.
///
/// A header is only ever read from those who may send one. Others are closed where one is required, and where it is
/// optional their header is as wrong as any other bytes would be.
pub(super) async fn ends(proxied: &Proxied, stream: &mut Stream, socket: Ends) -> Result<Ends, &'static str> {
    let believed = proxied.from.is_empty() || proxied.from.contain(socket.0.ip());
    match proxied.protocol {
        ProxyHeader::Off => return Ok(socket),
        ProxyHeader::Optional if !believed => return Ok(socket),
        ProxyHeader::Required if !believed => return Err("the peer may not send a PROXY header"),
        _ => {}
    }
    let read = tokio::time::timeout(proxied.timeout, header(stream)).await;
    match read.unwrap_or(Err("no PROXY header in time"))? {
        Some(named) => Ok(named.unwrap_or(socket)),
        None if proxied.protocol == ProxyHeader::Optional => Ok(socket),
        None => Err("no PROXY header"),
    }
}

/// Reads a header, if there is one. What was read behind it, or instead of it, is given back.
async fn header(stream: &mut Stream) -> Result<Option<Option<Ends>>, &'static str> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Seen::Part => match read_some(stream, &mut bytes).await {
                Ok(0) | Err(_) => return Err("closed before the PROXY header was there"),
                Ok(_) => {}
            },
            Seen::Other => {
                stream.unread(&bytes);
                return Ok(None);
            }
            Seen::Header(length, ends) => {
                stream.unread(&bytes[length..]);
                return Ok(Some(ends));
            }
            Seen::Broken(how) => return Err(how),
        }
    }
}
