//! Serves an HTTP/2 connection, which is hyper's: one call of the exchange for each request.

use std::task::Poll;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Settings;
use super::cork::cork;
use super::streams::{StreamBody, Streams};
use super::timed::{BusyBody, Timed};
use super::trailers::Trailers;
use crate::door::client::Client;
use crate::door::drain::{poll_stop, stopped};
use crate::exchange::{self, Caller, Ending, Inbound};
use crate::log::access::Ended;
use crate::upload;

/// HTTP/2 streams of one connection: a browser's page needs fewer, and rapid resets are bounded by it.
const STREAMS: u32 = 100;

/// What a client may send of one stream, and of all, before we read it: as the edge profile of Envoy has it.
const STREAM_WINDOW: u32 = 64 << 10;
/// See [`STREAM_WINDOW`].
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What waits to be sent on a stream.
const SEND_BUFFER: usize = 128 << 10;
/// The most that `headers-max-size` means over HTTP/2, where each header counts 32 bytes besides its own: more would not
/// fit the map that holds them.
const LIST_SIZE: u32 = 1 << 20;

/// Serves a connection to its end.
pub(super) async fn serve<S>(client: Client, settings: Settings, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Client { worker, peer, clients, mut drain, .. } = client;
    // Frames are no heads: between requests there is the one deadline for all that a client may send.
    let idle = settings.idle_timeout;
    let (stream, starter) = Timed::new(stream, idle, idle);
    let streams = Streams::new(settings.demand);
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(settings.headers_max_size).unwrap_or(LIST_SIZE).min(LIST_SIZE));
    let client = peer.address;
    let service = service_fn(move |request: Request<Incoming>| {
        let request = request.map(|body| upload::Incoming::Http2(body, None));
        let (stall, busy) = (streams.begin(), starter.begin());
        let caller = Caller { peer: peer.clone(), clients: clients.clone(), connection: None };
        let answering = exchange::run(worker.clone(), caller, Ok(Inbound::new(request)));
        async move {
            match answering.await {
                Ending::Answer(answer) => Ok(answer.map(|body| StreamBody::new(BusyBody::new(body, busy), stall))),
                // Clients that know the code try again over HTTP/1.1, as they do with IIS.
                Ending::Http11Needed(mut answer) => {
                    answer.body_mut().ends(Ended::Whole);
                    Err(h2::Error::from(h2::Reason::HTTP_1_1_REQUIRED))
                }
                // Only HTTP/1.1 asks for another protocol.
                Ending::Tunnel(..) => Err(h2::Error::from(h2::Reason::INTERNAL_ERROR)),
            }
        }
    });
    let (stream, cork) = cork(Trailers::new(stream));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let (news, mut asked) = (drain.clone(), None);
    let mut stop = std::pin::pin!(stopped(&mut drain));
    let mut stopping = false;
    let ended = std::future::poll_fn(|cx| {
        let ended = connection.as_mut().poll(cx);
        if ended.is_ready() {
            return ended;
        }
        if !stopping && poll_stop(stop.as_mut(), &mut asked, &news, cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
            let ended = connection.as_mut().poll(cx);
            if ended.is_ready() {
                return ended;
            }
        }
        match cork.poll_release(cx) {
            // The client is gone, or took nothing in time.
            Poll::Ready(Err(_)) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%client, %error, "a connection ended");
    }
    let _ = std::future::poll_fn(|cx| cork.poll_release(cx)).await;
}
