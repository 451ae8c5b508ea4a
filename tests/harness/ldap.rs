//! A directory server inside the test: records what it is asked, answers as the test says, or keeps silent, or lies.
//!
//! It knows as much of BER as bind, search, StartTLS and unbind need.

use crate::backend::server_tls;
use crate::certs::Pair;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// One thing that the server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A simple bind.
    Bind {
        /// Who.
        dn: String,
        /// With which password.
        password: String,
        /// And which controls.
        controls: Vec<String>,
    },
    /// A search.
    Search {
        /// Where.
        base: String,
        /// The filter as text, not escaped.
        filter: String,
        /// What is wanted of an entry.
        attributes: Vec<String>,
    },
    /// StartTLS.
    StartTls,
    /// The connection ends.
    Unbind,
}

/// One question as it came.
#[derive(Clone, Debug)]
pub struct Question {
    /// What it is.
    pub asked: Asked,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    /// Whether it came by TLS.
    pub tls: bool,
}

/// What the server says to a question.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    code: u8,
    text: String,
    referral: Option<String>,
    entries: Vec<(String, Vec<(String, String)>)>,
    references: Vec<String>,
    control: Option<(String, Vec<u8>)>,
    raw: Option<Vec<u8>>,
    behind: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Then {
    #[default]
    GoOn,
    Silence,
    Close,
}

impl Reply {
    /// A result code.
    pub fn result(code: u8) -> Self {
        Self { code, ..Self::default() }
    }

    /// Nothing at all, for as long as the server lives.
    pub fn silence() -> Self {
        Self { then: Then::Silence, ..Self::default() }
    }

    /// The end of the connection instead of an answer.
    pub fn close() -> Self {
        Self { then: Then::Close, ..Self::default() }
    }

    /// These bytes instead of an answer.
    pub fn raw(bytes: &[u8]) -> Self {
        Self { raw: Some(bytes.to_vec()), ..Self::default() }
    }

    /// The text of the result.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = text.to_owned();
        self
    }

    /// A URL to ask instead (code 10).
    #[must_use]
    pub fn referral(mut self, url: &str) -> Self {
        self.referral = Some(url.to_owned());
        self
    }

    /// An entry that was found.
    #[must_use]
    pub fn entry(mut self, dn: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.entries.push((dn.to_owned(), attributes));
        self
    }

    /// A place to look for more (a search result reference).
    #[must_use]
    pub fn reference(mut self, url: &str) -> Self {
        self.references.push(url.to_owned());
        self
    }

    /// A control with the result.
    #[must_use]
    pub fn control(mut self, name: &str, value: &[u8]) -> Self {
        self.control = Some((name.to_owned(), value.to_vec()));
        self
    }

    /// Bytes right behind the answer.
    #[must_use]
    pub fn behind(mut self, bytes: &[u8]) -> Self {
        self.behind = bytes.to_vec();
        self
    }

    /// All of it for a question with this number, answered by these tags.
    fn bytes(&self, id: &[u8], done: u8) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut all = Vec::new();
        for (dn, attributes) in &self.entries {
            let one = |(name, value): &(String, String)| {
                tlv(0x30, &[tlv(4, name.as_bytes()), tlv(0x31, &tlv(4, value.as_bytes()))].concat())
            };
            let attributes: Vec<u8> = attributes.iter().flat_map(one).collect();
            all.extend(message(id, &tlv(0x64, &[tlv(4, dn.as_bytes()), tlv(0x30, &attributes)].concat()), None));
        }
        for url in &self.references {
            all.extend(message(id, &tlv(0x73, &tlv(4, url.as_bytes())), None));
        }
        let mut result = [tlv(0x0a, &[self.code]), tlv(4, b""), tlv(4, self.text.as_bytes())].concat();
        if let Some(url) = &self.referral {
            result.extend(tlv(0xa3, &tlv(4, url.as_bytes())));
        }
        all.extend(message(id, &tlv(done, &result), self.control.as_ref()));
        all.extend(&self.behind);
        all
    }
}

type Script = dyn Fn(&Question) -> Reply + Send + Sync;

struct Inner {
    script: Box<Script>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether TLS begins at once, or when it is asked for.
    ldaps: bool,
    seen: Mutex<Vec<Question>>,
    open: Mutex<Vec<TcpStream>>,
    closing: AtomicBool,
}

/// A directory server on a port of its own; stops when dropped.
pub struct LdapServer {
    inner: Arc<Inner>,
    address: SocketAddr,
    acceptor: Option<std::thread::JoinHandle<()>>,
}

impl LdapServer {
    /// Starts one without TLS.
    pub fn start(script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with("127.0.0.1:0", None, false, script)
    }

    /// The same at an address, such as that of one that was dropped before.
    pub fn start_at(address: SocketAddr, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(&address.to_string(), None, false, script)
    }

    /// Starts one that knows StartTLS: where the script's reply to it is result 0, TLS begins.
    pub fn start_tls(pair: &Pair, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with("127.0.0.1:0", Some(pair), false, script)
    }

    /// Starts one with TLS from the first byte.
    pub fn tls(pair: &Pair, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with("127.0.0.1:0", Some(pair), true, script)
    }

    fn start_with(
        address: &str,
        pair: Option<&Pair>,
        ldaps: bool,
        script: impl Fn(&Question) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("directory at {address}: {e}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let inner = Arc::new(Inner {
            script: Box::new(script),
            tls: pair.map(|pair| server_tls(pair, None, rustls::ALL_VERSIONS)),
            ldaps,
            seen: Mutex::default(),
            open: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inner);
        let acceptor = std::thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                if shared.closing.load(Ordering::Relaxed) {
                    return;
                }
                let number = {
                    let mut open = shared.open.lock().unwrap();
                    open.push(tcp.try_clone().expect("a socket can be copied"));
                    open.len()
                };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(shared.serve(tcp, number)));
            }
        });
        Self { inner, address, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.inner.ldaps { "ldaps" } else { "ldap" }, self.address)
    }

    /// How many connections have come so far.
    pub fn accepted(&self) -> usize {
        self.inner.open.lock().unwrap().len()
    }

    /// All questions so far.
    pub fn asked(&self) -> Vec<Question> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// Cuts all connections that are open; new ones can come.
    pub fn cut(&self) {
        for tcp in self.inner.open.lock().unwrap().iter() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for LdapServer {
    fn drop(&mut self) {
        self.inner.closing.store(true, Ordering::Relaxed);
        let woken = TcpStream::connect(self.address).is_ok();
        self.cut();
        if let (true, Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

impl Inner {
    fn serve(&self, tcp: TcpStream, number: usize) -> io::Result<()> {
        let mut line: Box<dyn Line> =
            if self.ldaps { self.secure(tcp.try_clone()?)? } else { Box::new(tcp.try_clone()?) };
        let mut tls = self.ldaps;
        loop {
            let message = read_message(&mut line)?;
            let (asked, done) = question(message.tag, &message.body, message.controls)?;
            let question = Question { asked, connection: number, tls };
            self.seen.lock().unwrap().push(question.clone());
            if question.asked == Asked::Unbind {
                return Ok(());
            }
            let reply = (self.script)(&question);
            match reply.then {
                Then::GoOn => {}
                Then::Close => return tcp.shutdown(Shutdown::Both),
                // Until the other side ends it.
                Then::Silence => return io::copy(&mut line, &mut io::sink()).map(drop),
            }
            line.write_all(&reply.bytes(&message.id, done))?;
            line.flush()?;
            if question.asked == Asked::StartTls && reply.code == 0 {
                line = self.secure(tcp.try_clone()?)?;
                tls = true;
            }
        }
    }

    fn secure(&self, tcp: TcpStream) -> io::Result<Box<dyn Line>> {
        let config = self.tls.clone().ok_or_else(|| io::Error::other("this server has no certificate"))?;
        let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Box::new(rustls::StreamOwned::new(connection, tcp)))
    }
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).expect("a short value");
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(u8::try_from(length).expect("short"));
    } else {
        bytes.push(0x84);
        bytes.extend(length.to_be_bytes());
    }
    bytes.extend(contents);
    bytes
}

fn message(id: &[u8], operation: &[u8], control: Option<&(String, Vec<u8>)>) -> Vec<u8> {
    let mut contents = [tlv(2, id), operation.to_vec()].concat();
    if let Some((name, value)) = control {
        contents.extend(tlv(0xa0, &tlv(0x30, &[tlv(4, name.as_bytes()), tlv(4, value)].concat())));
    }
    tlv(0x30, &contents)
}

/// One element of a line: its tag and contents.
fn read_element(line: &mut dyn Line) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    line.read_exact(&mut head)?;
    let length = if head[1] < 0x80 {
        usize::from(head[1])
    } else {
        let mut length = vec![0; usize::from(head[1] & 0x7f)];
        line.read_exact(&mut length)?;
        length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))
    };
    let mut contents = vec![0; length];
    line.read_exact(&mut contents)?;
    Ok((head[0], contents))
}

/// All elements of contents.
fn elements(mut bytes: &[u8]) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let mut line = io::Cursor::new(bytes.to_vec());
        all.push(read_element(&mut line)?);
        bytes = &bytes[usize::try_from(line.position()).expect("a short message")..];
    }
    Ok(all)
}

/// A message as it came.
struct Message {
    id: Vec<u8>,
    tag: u8,
    body: Vec<u8>,
    controls: Vec<String>,
}

fn read_message(line: &mut dyn Line) -> io::Result<Message> {
    let (_, contents) = read_element(line)?;
    let mut parts = elements(&contents)?.into_iter();
    let (Some((2, id)), Some((tag, body))) = (parts.next(), parts.next()) else {
        return Err(io::Error::other("no message"));
    };
    let mut controls = Vec::new();
    if let Some((0xa0, all)) = parts.next() {
        for (_, control) in elements(&all)? {
            let (_, name) = elements(&control)?.into_iter().next().ok_or_else(|| io::Error::other("no control"))?;
            controls.push(text(name));
        }
    }
    Ok(Message { id, tag, body, controls })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What an operation asks, and the tag of its result.
fn question(tag: u8, body: &[u8], controls: Vec<String>) -> io::Result<(Asked, u8)> {
    let parts = if tag == 0x42 { Vec::new() } else { elements(body)? };
    let part = |index: usize| parts.get(index).map(|(_, contents)| contents.clone()).unwrap_or_default();
    Ok(match tag {
        0x60 => (Asked::Bind { dn: text(part(1)), password: text(part(2)), controls }, 0x61),
        0x63 => {
            let (filter_tag, filter_contents) = parts.get(6).ok_or_else(|| io::Error::other("no filter"))?;
            let attributes = elements(&part(7))?.into_iter().map(|(_, name)| text(name)).collect();
            let filter = filter(*filter_tag, filter_contents)?;
            (Asked::Search { base: text(part(0)), filter, attributes }, 0x65)
        }
        0x77 => (Asked::StartTls, 0x78),
        0x42 => (Asked::Unbind, 0),
        other => return Err(io::Error::other(format!("operation {other:#x}"))),
    })
}

/// A filter as text, not escaped.
fn filter(tag: u8, contents: &[u8]) -> io::Result<String> {
    let parts = if tag == 0x87 { Vec::new() } else { elements(contents)? };
    let many = |sign: &str| -> io::Result<String> {
        let inner: Vec<String> =
            parts.iter().map(|(tag, contents)| filter(*tag, contents)).collect::<Result<_, _>>()?;
        Ok(format!("({sign}{})", inner.concat()))
    };
    Ok(match tag {
        0xa0 => many("&")?,
        0xa1 => many("|")?,
        0xa2 => many("!")?,
        0x87 => format!("({}=*)", text(contents.to_vec())),
        _ => {
            let mut values = parts.iter().map(|(_, value)| text(value.clone()));
            format!("({}={})", values.next().unwrap_or_default(), values.next().unwrap_or_default())
        }
    })
}
