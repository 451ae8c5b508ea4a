//! The limit of our own stack: hyper at both ends, the policy work by hand, and nothing else.
//!
//! `bare-proxy LISTEN NODE-A NODE-B`, addresses as `HOST:PORT`.

use std::cell::RefCell;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Nodes {
    addresses: [String; 2],
    idle: RefCell<[Vec<SendRequest<Incoming>>; 2]>,
}

async fn handle(mut request: Request<Incoming>, nodes: Rc<Nodes>) -> Result<Response<Incoming>, hyper::Error> {
    let value = |name: &str| request.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let node = usize::from(value("cookie").windows(7).any(|part| part == b"route=b"));
    let device = if value("user-agent").windows(4).any(|part| part == b"Mobi") { "mobile" } else { "desktop" };
    let headers = request.headers_mut();
    headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    headers.insert("x-device", HeaderValue::from_static(device));
    headers.insert("x-template", HeaderValue::from_static("t3"));
    let kept = nodes.idle.borrow_mut()[node].pop();
    let mut connection = match kept {
        Some(kept) if !kept.is_closed() => kept,
        _ => {
            let stream = TcpStream::connect(&nodes.addresses[node]).await.expect("the node answers");
            stream.set_nodelay(true).expect("a socket");
            let (sender, driver) = handshake(TokioIo::new(stream)).await?;
            tokio::task::spawn_local(driver);
            sender
        }
    };
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    nodes.idle.borrow_mut()[node].push(connection);
    Ok(response)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("LISTEN NODE-A NODE-B");
    let (listen, addresses) = (next(), [next(), next()]);
    let nodes = Rc::new(Nodes { addresses, idle: RefCell::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await.expect("a free address");
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            let nodes = nodes.clone();
            tokio::task::spawn_local(
                hyper::server::conn::http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service_fn(move |request| handle(request, nodes.clone()))),
            );
        }
    });
}
