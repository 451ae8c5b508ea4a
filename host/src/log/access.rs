//! What an exchange was, and the one access line of it, whatever happened.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Version};
use serde_json::{Value as Json, json};

use super::entry::{Entry, Value};
use super::outlets::Outlets;
use crate::config::{Level, LogKind};
use crate::peer::Peer;
use crate::request_id::RequestId;
use crate::session::Session;
use crate::times::millis;

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

    /// The request's head, as far as it is kept.
    pub fn head(&self) -> Option<&Parts> {
        self.head.as_deref()
    }

    /// The request's method.
    pub fn method(&self) -> Option<&Method> {
        self.head.as_ref().map(|head| &head.method)
    }

    /// Its path, without the query, and without parameters of its parts: a session's id may be one.
    pub fn path(&self) -> Cow<'_, str> {
        let path = self.head.as_ref().map_or("", |head| head.uri.path());
        if !path.contains(';') {
            return Cow::Borrowed(path);
        }
        let bare = |part: &str| part.split_once(';').map_or_else(|| part.to_owned(), |(name, _)| format!("{name};…"));
        Cow::Owned(path.split('/').map(bare).collect::<Vec<_>>().join("/"))
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
        value.split(|byte| matches!(byte, b'?' | b'#' | b';')).next()
    }
}

impl Line {
    /// What everybody sees of it who reads it as JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "id": self.id.as_str(), "client": self.peer.address.to_string(), "listener": self.peer.listener,
            "tls": self.tls(), "protocol": self.protocol(), "site": self.site.as_deref(), "host": self.host.as_deref(),
            "method": self.method().map(Method::as_str), "path": self.path(), "status": self.status,
            "received": self.received, "sent": self.sent, "queue-ms": millis(self.queue),
            "node-ms": self.first_byte.map(millis), "ms": millis(self.took), "ended": self.ended.name(),
            "node": self.session.as_deref().map(Session::backend), "generation": self.generation,
        })
    }

    /// Hands the access line over to all who want it.
    pub(super) fn write(&self, outlets: &Outlets) {
        let ((agent, referrer), session, path) = (outlets.fields(), self.session.as_deref(), self.path());
        let fields = [
            ("id", Value::Word(self.id.as_str())),
            ("client", Value::word(self.peer.told().to_str().ok())),
            ("listener", Value::Word(&self.peer.listener)),
            ("tls", Value::word(self.tls())),
            ("protocol", Value::word(Some(self.protocol()))),
            ("site", Value::word(self.site.as_deref())),
            ("host", Value::word(self.host.as_deref())),
            ("method", Value::word(self.method().map(Method::as_str))),
            ("path", Value::word(Some(&path))),
            ("status", Value::Number(self.status.into())),
            ("received", Value::Number(self.received)),
            ("sent", Value::Number(self.sent)),
            ("queue_ms", Value::Number(millis(self.queue))),
            ("node_ms", Value::number(self.first_byte.map(millis))),
            ("ms", Value::Number(millis(self.took))),
            ("ended", Value::Word(self.ended.name())),
            ("user", Value::word(session.map(Session::user))),
            ("node", Value::word(session.map(Session::backend))),
            ("generation", Value::Number(self.generation)),
            ("agent", Value::bytes(self.user_agent().filter(|_| agent))),
            ("referrer", Value::bytes(self.referrer().filter(|_| referrer))),
        ];
        let (level, kind, message) = (Level::Info, LogKind::Access, "access");
        outlets.write_access(&Entry { time: SystemTime::now(), level, kind, message, fields: &fields });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line {
        let address = "192.0.2.1:7".parse().unwrap();
        let (head, ()) = hyper::Request::get(path).body(()).unwrap().into_parts();
        let peer = Arc::new(Peer::new("public".to_owned(), address, address));
        Line::begin(&peer, Some(&Arc::new(head)), 3)
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
            (&*line.path(), line.user_agent(), line.referrer()),
            ("/x", Some(&b"a"[..]), Some(&b"https://a/b"[..]))
        );
    }
}
