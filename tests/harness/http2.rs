//! A back-end node that speaks HTTP/2 and nothing else: with TLS when that agrees on it, or at once without.

use crate::backend::server_tls;
use crate::certs::Pair;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};

type Script = dyn Fn(&Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync;

struct Inner {
    script: Box<Script>,
    seen: Mutex<Vec<Request<Vec<u8>>>>,
    accepted: AtomicUsize,
}

/// A node on a port of its own; stops when dropped.
pub struct Http2Node {
    inner: Arc<Inner>,
    address: SocketAddr,
    tls: bool,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Http2Node {
    /// Starts one, with TLS where there is a certificate.
    pub fn start(
        pair: Option<&Pair>,
        script: impl Fn(&Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("a bound socket has an address");
        let acceptor = pair.map(|pair| {
            let mut config = server_tls(pair, None, rustls::ALL_VERSIONS);
            Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
            tokio_rustls::TlsAcceptor::from(config)
        });
        let inner = Arc::new(Inner { script: Box::new(script), seen: Mutex::default(), accepted: AtomicUsize::new(0) });
        let shared = Arc::clone(&inner);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a socket for the runtime");
                let accepting = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        shared.accepted.fetch_add(1, Ordering::Relaxed);
                        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                        tokio::spawn(async move {
                            match acceptor {
                                None => shared.serve(stream).await,
                                Some(acceptor) => {
                                    if let Ok(stream) = acceptor.accept(stream).await {
                                        shared.serve(stream).await;
                                    }
                                }
                            }
                        });
                    }
                };
                tokio::select! { () = accepting => {}, _ = stopped => {} }
            });
        });
        Self { inner, address, tls: pair.is_some(), stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// All requests so far, with their bodies.
    pub fn hits(&self) -> Vec<Request<Vec<u8>>> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// How many connections have come so far.
    pub fn accepted(&self) -> usize {
        self.inner.accepted.load(Ordering::Relaxed)
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let inner = Arc::clone(&self);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes().to_vec();
                let request = Request::from_parts(head, body);
                let answer = (inner.script)(&request);
                inner.seen.lock().unwrap().push(request);
                Ok::<_, hyper::Error>(answer.map(|body| Full::new(Bytes::from(body))))
            }
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // How the connection ends is the test's business.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }
}

impl Drop for Http2Node {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
