//! Probes: asks nodes how they are, beside all requests, and watches over slow starts. Runs on the control runtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Empty;
use hyper::body::{Body, Bytes};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::connect::{Error, open_tcp};
use super::{Node, proxy_header};

/// How often it is looked whether something is due; the least `interval` there may be.
const TICK: Duration = Duration::from_millis(100);

/// Probes the nodes when they are due, for as long as the process runs. `nodes` are those of the live Snapshot.
pub async fn watch_over(nodes: impl Fn() -> Vec<Arc<Node>>) {
    loop {
        for node in nodes() {
            node.gate.give_back();
            if node.health.takes_probe(Instant::now()) {
                tokio::spawn(probe(node));
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn probe(node: Arc<Node>) {
    let settings = &node.config.health;
    let outcome = match tokio::time::timeout(settings.timeout, ask(&node)).await {
        Ok(Ok(status)) if settings.status.contains(&status.into()) => Ok(()),
        Ok(Ok(status)) => Err(format!("the probe is answered {status}")),
        Ok(Err(error)) => Err(format!("the probe failed: {error}")),
        Err(_) => Err("the probe is not answered in time".to_owned()),
    };
    let turn = node.health.probed(outcome.is_ok(), Instant::now());
    node.turned(turn, outcome.err().as_deref().unwrap_or_default());
}

async fn ask(node: &Node) -> Result<u16, Error> {
    let mut stream = open_tcp(node).await?;
    if let Some(version) = node.config.proxy_protocol {
        stream.write_all(&proxy_header::of_our_own(version)).await?;
    }
    match &node.tls {
        None => status(node, stream).await,
        Some((config, name)) => {
            let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await?;
            if node.config.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(Error::NoHttp2);
            }
            status(node, stream).await
        }
    }
}

/// The status of the node's answer; the connection ends with it.
async fn status<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(node: &Node, stream: S) -> Result<u16, Error> {
    let stream = TokioIo::new(stream);
    if node.config.http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        return first(connection, sender.send_request(request(node))).await;
    }
    let (mut sender, connection) = http1::handshake(stream).await?;
    first(connection, sender.send_request(request(node))).await
}

async fn first<B: Body>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = hyper::Result<hyper::Response<B>>>,
) -> Result<u16, Error> {
    let mut answer = std::pin::pin!(answer);
    let answer = tokio::select! {
        answer = answer.as_mut() => answer,
        // What the answer waits for is told to it when the connection ends.
        _ = connection => answer.await,
    };
    Ok(answer?.status().as_u16())
}

fn request(node: &Node) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    let target = format!("{}{}", node.base_path, node.config.health.path.as_deref().unwrap_or("/"));
    if node.config.http2 {
        let scheme = if node.tls.is_some() { "https" } else { "http" };
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = format!("{scheme}://{}{target}", node.authority).parse().unwrap_or_default();
    } else {
        *request.uri_mut() = target.parse().unwrap_or_default();
        if let Ok(host) = HeaderValue::from_str(&node.authority) {
            request.headers_mut().insert(HOST, host);
        }
    }
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("doorward-probe"));
    request
}
