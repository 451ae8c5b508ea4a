//! One line for each exchange, whatever happened. A queue takes it, so no worker ever waits for a disk or a reader.
//!
//! Invariants: a line is whole or not there; what found no room is counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::config::AccessLog;
use crate::files::{Lines, Manner};
use crate::peer::Peer;
use crate::request_id::RequestId;
use crate::session::Session;
use crate::text::rfc3339;

/// How long the writer lets lines gather: under load it is woken a hundred times a second, not for each line.
const GATHER: Duration = Duration::from_millis(10);

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// As it should: the whole answer was sent. A tunnel: one side had no more to say.
    Whole,
    /// The client left before.
    Client,
    /// The node broke off in the middle of its answer.
    Node,
    /// One of our deadlines passed in the middle of the answer; a tunnel was silent for too long, or its session ended.
    Timeout,
    /// The process ended, and its drain deadline passed.
    Drain,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Whole, Self::Client, Self::Node, Self::Timeout, Self::Drain];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Client => "client",
            Self::Node => "node",
            Self::Timeout => "timeout",
            Self::Drain => "drain",
        }
    }
}

/// What an exchange was. Query strings, cookies and bodies are told to nobody.
#[derive(Clone)]
pub struct Line {
    /// Request id.
    pub id: RequestId,
    /// The client, with its listener and its TLS.
    pub peer: Arc<Peer>,
    /// The virtual host's first name in the configuration, once it is found.
    pub site: Option<Arc<str>>,
    /// Its place there, in the generation that served it.
    pub site_number: Option<usize>,
    /// The host that was asked for.
    pub host: Option<Arc<str>>,
    /// None when it could not be read.
    head: Option<Arc<Parts>>,
    /// Status answered; 0 when nothing was.
    pub status: u16,
    /// Bytes of the request's body, or that the client sent through a tunnel.
    pub received: u64,
    /// Bytes of the answer's body, or that the client got through a tunnel.
    pub sent: u64,
    /// How long it waited for a place at the node.
    pub queue: Duration,
    /// From then on until the node's answer began; none where it did not.
    pub first_byte: Option<Duration>,
    /// How long all of it took.
    pub took: Duration,
    /// The session: its user, and the node that has the mailbox.
    pub session: Option<Arc<Session>>,
    /// Whether nobody wants to read of it.
    pub quiet: bool,
    /// How it ended.
    pub ended: Ended,
    /// Generation of the Snapshot that served it.
    pub generation: u64,
}

impl Line {
    /// An exchange that begins.
    pub fn begin(peer: &Arc<Peer>, head: Option<&Arc<Parts>>, generation: u64) -> Self {
        Self {
            id: RequestId::next(),
            peer: peer.clone(),
            site: None,
            site_number: None,
            host: None,
            head: head.cloned(),
            status: 0,
            received: 0,
            sent: 0,
            queue: Duration::ZERO,
            first_byte: None,
            took: Duration::ZERO,
            session: None,
            quiet: false,
            ended: Ended::Client,
            generation,
        }
    }

    /// Keeps of the request's head only what is told of it.
    pub fn keep_little(&mut self) {
        let Some(head) = &self.head else { return };
        let (mut little, ()) = hyper::Request::new(()).into_parts();
        little.method = head.method.clone();
        little.uri = head.uri.clone();
        little.version = head.version;
        for name in [header::USER_AGENT, header::REFERER] {
            if let Some(value) = head.headers.get(&name) {
                little.headers.insert(name, value.clone());
            }
        }
        self.head = Some(Arc::new(little));
    }

    /// The request's method.
    pub fn method(&self) -> Option<&Method> {
        self.head.as_ref().map(|head| &head.method)
    }

    /// Its path, without the query.
    pub fn path(&self) -> &str {
        self.head.as_ref().map_or("", |head| head.uri.path())
    }

    /// Its version of HTTP, as `HTTP/1.1`.
    pub fn protocol(&self) -> &'static str {
        match self.head.as_ref().map(|head| head.version) {
            Some(Version::HTTP_10) => "HTTP/1.0",
            Some(Version::HTTP_2) => "HTTP/2",
            Some(_) => "HTTP/1.1",
            None => "",
        }
    }

    /// The version of TLS, as `TLSv1.3`; none in the clear.
    pub fn tls(&self) -> Option<&'static str> {
        self.peer.tls.as_ref().map(|tls| tls.version)
    }

    /// What the client says that it is, as it wrote that.
    pub fn user_agent(&self) -> Option<&[u8]> {
        self.head.as_ref()?.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)
    }

    /// From where it comes, as it wrote that, without a query.
    pub fn referrer(&self) -> Option<&[u8]> {
        let value = self.head.as_ref()?.headers.get(header::REFERER)?.as_bytes();
        value.split(|byte| matches!(byte, b'?' | b'#')).next()
    }
}

/// Where lines are handed over. Cheap to clone.
#[derive(Clone)]
pub struct Log(Option<(Lines, Arc<AtomicU64>)>);

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// The file that cannot be opened.
    pub fn start(target: &AccessLog) -> std::io::Result<Self> {
        let manner = Manner { name: "access-log", gather: GATHER, lost: |lines| Some(format!("lost lines={lines}\n")) };
        let lines = match target {
            AccessLog::Off => return Ok(Self(None)),
            AccessLog::Stderr => super::stderr().cloned().ok_or_else(|| std::io::Error::other("there is none"))?,
            AccessLog::File(path) => Lines::to_file(path, manner)?,
        };
        Ok(Self(Some((lines, Arc::default()))))
    }

    /// Whether anybody reads the lines.
    pub fn on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over; never waits. A line that finds no room is counted instead.
    pub fn record(&self, line: &Line) {
        let Some((lines, dropped)) = &self.0 else { return };
        if !lines.push(|bytes| add(bytes, line, SystemTime::now())) {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for what is on its way, no longer than this. For the end, when nobody would come back to it.
    pub fn flush(&self, within: Duration) -> bool {
        self.0.as_ref().is_none_or(|(lines, _)| lines.flush(within))
    }

    /// Opens the file anew.
    pub fn reopen(&self) {
        if let Some((lines, _)) = &self.0 {
            lines.reopen();
        }
    }

    /// Lines that found no room.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |(_, dropped)| dropped.load(Ordering::Relaxed))
    }

    /// Why it cannot be written, if so.
    pub fn trouble(&self) -> Option<String> {
        self.0.as_ref().and_then(|(lines, _)| lines.trouble())
    }
}

fn add(bytes: &mut Vec<u8>, line: &Line, now: SystemTime) {
    let session = line.session.as_deref();
    bytes.extend_from_slice(b"access time=");
    rfc3339(bytes, now);
    let _ = write!(bytes, " id={} client={} listener=", line.id, line.peer.address);
    field(bytes, &line.peer.listener);
    bytes.extend_from_slice(b" tls=");
    field(bytes, line.tls().unwrap_or_default());
    bytes.extend_from_slice(b" protocol=");
    field(bytes, line.protocol());
    for (name, value) in [
        (" site=", line.site.as_deref().unwrap_or_default()),
        (" host=", line.host.as_deref().unwrap_or_default()),
        (" method=", line.method().map_or("", Method::as_str)),
        (" path=", line.path()),
    ] {
        bytes.extend_from_slice(name.as_bytes());
        field(bytes, value);
    }
    let _ = write!(bytes, " status={} received={} sent={}", line.status, line.received, line.sent);
    let _ = write!(bytes, " queue_ms={} node_ms=", line.queue.as_millis());
    match line.first_byte {
        Some(time) => _ = write!(bytes, "{}", time.as_millis()),
        None => bytes.push(b'-'),
    }
    let _ = write!(bytes, " ms={} ended={} user=", line.took.as_millis(), line.ended.name());
    field(bytes, session.map_or("", Session::user));
    bytes.extend_from_slice(b" node=");
    field(bytes, session.map_or("", Session::backend));
    let _ = writeln!(bytes, " generation={}", line.generation);
}

/// A value that ends at the next blank, whatever a client put into it.
fn field(bytes: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        bytes.push(b'-');
    } else if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        bytes.extend_from_slice(text.as_bytes());
    } else {
        let _ = write!(bytes, "{text:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line {
        let address = "192.0.2.1:7".parse().unwrap();
        let (head, ()) = hyper::Request::get(path).body(()).unwrap().into_parts();
        let peer = Arc::new(Peer::new("public".to_owned(), address, address));
        let mut line = Line::begin(&peer, Some(&Arc::new(head)), 3);
        line.id = RequestId::NONE;
        (line.status, line.sent, line.took, line.ended) = (200, 5, Duration::from_micros(2500), Ended::Whole);
        line
    }

    #[test]
    fn a_line_has_its_fields_and_no_query() {
        let mut bytes = Vec::new();
        add(&mut bytes, &line("/a\"b?secret"), SystemTime::UNIX_EPOCH);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "access time=1970-01-01T00:00:00.000Z id=0000000000000000 client=192.0.2.1 listener=public tls=- \
             protocol=HTTP/1.1 site=- host=- method=GET path=\"/a\\\"b\" status=200 received=0 sent=5 queue_ms=0 \
             node_ms=- ms=2 ended=whole user=- node=- generation=3\n"
        );
    }

    #[test]
    fn of_the_head_only_little_is_kept_and_of_a_referrer_no_query() {
        let mut line = line("/x?y");
        let (mut head, ()) = hyper::Request::get("/x?y").body(()).unwrap().into_parts();
        for (name, value) in [("user-agent", "a"), ("referer", "https://a/b?token=1#c"), ("cookie", "s=1")] {
            head.headers.insert(name, HeaderValue::from_static(value));
        }
        line.head = Some(Arc::new(head));
        line.keep_little();
        assert_eq!(line.head.as_ref().unwrap().headers.len(), 2);
        assert_eq!(
            (line.path(), line.user_agent(), line.referrer()),
            ("/x", Some(&b"a"[..]), Some(&b"https://a/b"[..]))
        );
    }
}
