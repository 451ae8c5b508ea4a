//! A back-end node inside the test: records every request, answers as the test says.

use crate::answer::{After, Answer, Line};
use crate::certs::Pair;
use crate::connection::{certificates, private_key};
use crate::wire::{self, Framing, Headers, hex};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// So much of a request's body is kept; length and digest are of all of it.
const KEPT: usize = 1 << 20;

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target, as written.
    pub target: String,
    /// All header lines.
    pub headers: Headers,
    /// The length of the body.
    pub length: u64,
    /// The SHA-256 of the body, in hexadecimal digits.
    pub sha256: String,
    /// The first megabyte of the body.
    pub body: Vec<u8>,
    /// Whether the body has been read to its end.
    pub complete: bool,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    /// Where that came from.
    pub peer: Option<SocketAddr>,
}

impl Seen {
    /// The first value of a header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Default)]
struct Books {
    seen: Vec<Seen>,
    open: HashMap<usize, TcpStream>,
    accepted: usize,
}

type Script = dyn Fn(&mut Incoming<'_>) -> Answer + Send + Sync;

struct Inner {
    books: Mutex<Books>,
    changed: Condvar,
    closing: AtomicBool,
    script: Box<Script>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A back-end on a port of its own; stops when dropped.
pub struct Backend {
    inner: Arc<Inner>,
    address: SocketAddr,
    acceptor: Option<std::thread::JoinHandle<()>>,
}

/// A request to be answered; its body is read when asked for, or after the script has decided.
pub struct Incoming<'a> {
    /// What is known of it so far.
    pub seen: Seen,
    framing: Framing,
    read: bool,
    line: &'a mut BufReader<Box<dyn Line + Send>>,
}

impl Incoming<'_> {
    /// Method and target in one, for a `match`.
    pub fn what(&self) -> (&str, &str) {
        (&self.seen.method, &self.seen.target)
    }

    /// Reads the body (its first megabyte is given).
    pub fn body(&mut self) -> &[u8] {
        let _ = self.finish();
        &self.seen.body
    }

    fn finish(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.read, true) {
            return Ok(());
        }
        if self.seen.headers.has_word("expect", "100-continue") {
            self.line.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            self.line.get_mut().flush()?;
        }
        let (mut digest, seen) = (Sha256::new(), &mut self.seen);
        let result = wire::body(self.line, self.framing, |piece| {
            digest.update(piece);
            seen.length += piece.len() as u64;
            let room = KEPT - seen.body.len();
            seen.body.extend_from_slice(&piece[..piece.len().min(room)]);
        });
        seen.sha256 = hex(&digest.finalize());
        seen.complete = result.is_ok();
        result
    }
}

impl Backend {
    /// Starts one over plain HTTP.
    pub fn start(script: impl Fn(&mut Incoming<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", None, script)
    }

    /// Starts one with TLS.
    pub fn tls(pair: &Pair, script: impl Fn(&mut Incoming<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", Some(pair), script)
    }

    /// Starts one at an address, such as that of one that was dropped before.
    pub fn start_at(
        address: &str,
        tls: Option<&Pair>,
        script: impl Fn(&mut Incoming<'_>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let tls = tls.map(|pair| server_tls(pair, None, rustls::ALL_VERSIONS));
        Self::start_with(address, tls, script)
    }

    /// Starts one with TLS that asks clients for a certificate of this CA (a PEM file).
    pub fn tls_asking(
        pair: &Pair,
        clients: &Path,
        script: impl Fn(&mut Incoming<'_>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_with("127.0.0.1:0", Some(server_tls(pair, Some(clients), rustls::ALL_VERSIONS)), script)
    }

    /// Starts one with TLS 1.2 and nothing newer.
    pub fn tls_1_2(pair: &Pair, script: impl Fn(&mut Incoming<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with("127.0.0.1:0", Some(server_tls(pair, None, &[&rustls::version::TLS12])), script)
    }

    fn start_with(
        address: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&mut Incoming<'_>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        // std sets SO_REUSEADDR, so an address just left can be had again
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("back-end at {address}: {e}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let inner = Arc::new(Inner {
            books: Mutex::default(),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
            script: Box::new(script),
            tls,
        });
        let shared = Arc::clone(&inner);
        let acceptor = std::thread::spawn(move || {
            while let Ok((tcp, peer)) = listener.accept() {
                if shared.closing.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(tcp, peer));
            }
        });
        Self { inner, address, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.inner.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// All requests so far. One is there as soon as its head has come; its body when that has been read.
    pub fn hits(&self) -> Vec<Seen> {
        self.books().seen.clone()
    }

    /// How many connections have come so far.
    pub fn accepted(&self) -> usize {
        self.books().accepted
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.books().open.len()
    }

    /// Waits until at least so many requests have come.
    #[track_caller]
    pub fn wait_for_hits(&self, count: usize, timeout: Duration) -> Vec<Seen> {
        // No panic while the books are held: it would poison them for all others.
        match self.wait(timeout, |b| b.seen.len() >= count).map(|b| b.seen.clone()).map_err(|b| b.seen.clone()) {
            Ok(seen) => seen,
            Err(seen) => panic!("{} requests came, not {count}: {seen:#?}", seen.len()),
        }
    }

    /// Waits until so many connections are open: none, when the proxy is to have let go.
    #[track_caller]
    pub fn wait_for_open(&self, count: usize, timeout: Duration) {
        let open = self.wait(timeout, |b| b.open.len() == count).err().map(|b| b.open.len());
        assert_eq!(open, None, "connections are open, not {count}");
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.inner.books.lock().unwrap()
    }

    fn wait(
        &self,
        timeout: Duration,
        done: impl Fn(&Books) -> bool,
    ) -> Result<MutexGuard<'_, Books>, MutexGuard<'_, Books>> {
        let end = Instant::now() + timeout;
        let mut books = self.books();
        while !done(&books) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(books);
            }
            books = self.inner.changed.wait_timeout(books, left).unwrap().0;
        }
        Ok(books)
    }
}

/// TLS settings of a server.
pub fn server_tls(
    pair: &Pair,
    clients: Option<&Path>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("the provider has these versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(certificates(ca));
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a CA that can be trusted"))
        }
    };
    let config = builder.with_single_cert(certificates(&pair.chain), private_key(&pair.key));
    Arc::new(config.expect("a certificate that fits its key"))
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.inner.closing.store(true, Ordering::Relaxed);
        // wakes accept() up; it then sees that it is over
        let woken = TcpStream::connect(self.address).is_ok();
        for tcp in self.inner.books.lock().unwrap().open.values() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
        if let (true, Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

impl Inner {
    fn serve(&self, tcp: TcpStream, peer: SocketAddr) {
        let Ok(copy) = tcp.try_clone() else { return };
        let number = {
            let mut books = self.books.lock().unwrap();
            books.accepted += 1;
            let number = books.accepted;
            books.open.insert(number, copy);
            number
        };
        self.changed.notify_all();
        if self.closing.load(Ordering::Relaxed) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
        // How the connection ends is the test's business, not an error of the back-end.
        let after = self.converse(&tcp, peer, number).unwrap_or(After::Close);
        if after == After::Reset {
            let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
        } else {
            let _ = tcp.shutdown(Shutdown::Write);
        }
        drop(tcp);
        self.books.lock().unwrap().open.remove(&number);
        self.changed.notify_all();
    }

    fn converse(&self, tcp: &TcpStream, peer: SocketAddr, connection: usize) -> io::Result<After> {
        tcp.set_nodelay(true)?;
        let line: Box<dyn Line + Send> = match &self.tls {
            None => Box::new(tcp.try_clone()?),
            Some(config) => {
                let session = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(session, tcp.try_clone()?))
            }
        };
        let mut line = BufReader::new(line);
        while let Some(head) = wire::head(&mut line)? {
            let framing = head.framing(Framing::Length(0))?;
            let mut words = head.first.split(' ').map(str::to_owned);
            let seen = Seen {
                method: words.next().unwrap_or_default(),
                target: words.next().unwrap_or_default(),
                headers: head.headers,
                connection,
                peer: Some(peer),
                ..Seen::default()
            };
            let place = {
                let mut books = self.books.lock().unwrap();
                books.seen.push(seen.clone());
                books.seen.len() - 1
            };
            self.changed.notify_all();
            let mut incoming = Incoming { seen, framing, read: false, line: &mut line };
            let answer = (self.script)(&mut incoming);
            let body = if answer.early { Ok(()) } else { incoming.finish() };
            let seen = incoming.seen;
            let method = seen.method.clone();
            let done = seen.headers.has_word("connection", "close");
            self.books.lock().unwrap().seen[place] = seen;
            self.changed.notify_all();
            body?;
            let after = answer.write(&method, line.get_mut(), &self.closing)?;
            if done || after != After::Keep {
                return Ok(after);
            }
        }
        Ok(After::Close)
    }
}
