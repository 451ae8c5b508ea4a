//! Probes: asks nodes how they are, beside all requests, and watches over slow starts. Runs on the control thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Version};
use hyper_util::rt::TokioIo;

use super::body::{Outbound, Outgoing};
use super::connect::{Error, Local, open_line};
use super::{Node, http1, proxy_header};

/// How often it is looked whether something is due; the least `interval` there may be.
const TICK: Duration = Duration::from_millis(100);

/// Probes the nodes when they are due, for as long as the process runs. `nodes` are the live ones.
pub async fn watch_over(nodes: impl Fn() -> Vec<Arc<Node>>) {
    loop {
        for node in nodes() {
            node.gate().give_back();
            if node.health.takes_probe(Instant::now()) {
                tokio::task::spawn_local(probe(node));
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
        Ok(Err(error)) if error.is_ours() => {
            return tracing::warn!(backend = node.name(), %error, "a node cannot be probed: this machine lacks something");
        }
        Ok(Err(error)) => Err(format!("the probe failed: {error}")),
        Err(_) => Err("the probe is not answered in time".to_owned()),
    };
    let transition = node.health.probed(outcome.is_ok(), Instant::now());
    node.turned(transition, outcome.err().as_deref().unwrap_or_default());
}

/// The status of the node's answer; the connection ends with it.
async fn ask(node: &Node) -> Result<u16, Error> {
    let header = node.config.proxy_protocol.map(proxy_header::of_our_own);
    let line = open_line(node, header.as_deref()).await?;
    let request = request(node);
    if !node.config.http2 {
        let mut outbound = Outbound::from(request);
        let mut exchange = http1::Exchange::new(http1::Connection::new(line), &mut outbound);
        return Ok(exchange.head(&Method::GET).await?.status().as_u16());
    }
    let (mut sender, connection) = http2::handshake(Local, TokioIo::new(line)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = answer.as_mut() => answer,
        // What the answer waits for is told to it when the connection ends.
        _ = connection => answer.await,
    };
    Ok(answer?.status().as_u16())
}

fn request(node: &Node) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::nothing());
    let target = format!("{}{}", node.base_path(), node.config.health.path.as_deref().unwrap_or("/"));
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
