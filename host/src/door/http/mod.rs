//! HTTP on the wire, towards clients: what a listener with `protocol = "http"` speaks.

mod cork;
mod http1;
mod http2;
mod line;
mod streams;
mod timed;
mod trailers;

use std::time::Duration;

use super::client::Client;
use super::handshake::Channel;
use crate::config::Http;
use crate::http1::{Limits, limits_of};
use crate::limits::Demand;
use crate::reply::Refusal;
use crate::tls::HTTP2;

/// What is told to a browser that was sent to an `http://` URL with the port of TLS, as nginx does.
const PLAIN: Refusal = Refusal::PlainHttp;

/// What a connection needs of the configuration.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// How long the headers of a request may take.
    header_timeout: Duration,
    /// How long a connection may be idle.
    idle_timeout: Duration,
    /// Limits of a head.
    head: Limits,
    /// The headers of a request, in bytes.
    headers_max_size: u64,
    /// What is asked of a client that is sent an answer.
    demand: Demand,
}

impl Settings {
    fn new(client: &Client, http: &Http) -> Self {
        let idle_timeout = client.listener.config.idle_timeout;
        Self {
            header_timeout: http.header_timeout,
            idle_timeout,
            head: limits_of(http),
            headers_max_size: http.headers_max_size,
            demand: Demand { allowance: idle_timeout, rate: http.answer_min_rate, scarce_rate: http.scarce_min_rate },
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(client: Client, channel: Channel) {
    let settings = Settings::new(&client, &client.worker.live().http);
    // Boxed, so that a connection without TLS has no room for it.
    match channel {
        Channel::Clear(stream) => http1::serve(client, settings, stream).await,
        Channel::NotTls(stream) => Box::pin(http1::refuse(client, settings, stream, PLAIN)).await,
        Channel::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP2) => {
            Box::pin(http2::serve(client, settings, *stream)).await;
        }
        Channel::Tls(stream) => Box::pin(http1::serve(client, settings, *stream)).await,
    }
}
