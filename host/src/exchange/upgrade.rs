//! Requests for another protocol: which are forwarded as such, and the tunnel that comes of one.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::finish::Finish;
use crate::back::{self, Closed, Moved, headers};
use crate::log::access::Ended;
use crate::session::Session;
use crate::state::Shared;

/// A tunnel between client and node that was agreed on, with the exchange that it ends.
pub struct Tunnel {
    pub(super) node: back::Tunnel,
    pub(super) terms: Terms,
    /// Once the exchange is handed over.
    pub(super) finish: Option<Finish>,
}

/// How long a tunnel may be: as long as its session lives, and never silent for so long.
pub(super) struct Terms {
    shared: Arc<Shared>,
    session: Arc<Session>,
    idle: Duration,
}

impl Terms {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Session>, idle: Duration) -> Self {
        shared.state.watched.begin(&session);
        Self { shared, session, idle }
    }
}

impl Drop for Terms {
    fn drop(&mut self) {
        self.shared.state.watched.end(&self.session);
    }
}

/// A session that is over ends its tunnels within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Tunnel {
    /// Copies both ways to the end; `early` is what the client sent before it had the answer.
    pub async fn run<S: AsyncRead + AsyncWrite>(self, client: S, early: &[u8]) {
        let mut passing = Passing { finish: self.finish, moved: Moved::default() };
        let closed = self.node.run(client, early, (self.terms.idle, &passing.moved), self.terms.over()).await;
        if let Some(finish) = &mut passing.finish {
            finish.ends(match closed {
                Closed::InOrder => Ended::Whole,
                Closed::Client | Closed::Refused => Ended::Client,
                Closed::Node => Ended::Node,
                Closed::Deadline => Ended::Timeout,
            });
        }
    }
}

/// What goes through a tunnel, which is told however it ends.
struct Passing {
    finish: Option<Finish>,
    moved: Moved,
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(finish) = &mut self.finish {
            finish.received(self.moved.received.get());
            finish.sent(self.moved.sent.get());
        }
    }
}

impl Terms {
    /// Waits until the session is over.
    async fn over(&self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let snapshot = self.shared.live.load();
            if !snapshot.sessions.is_alive(&self.session, &self.shared.state.revoked, &self.shared.state.watched) {
                return tracing::debug!(session = self.session.id(), "a tunnel ends with its session");
            }
        }
    }
}

/// The protocol that a request may change to: one that is allowed, asked for in full and in the one proper way (RFC 9110,
/// section 7.8; for WebSocket RFC 6455, section 4.1). All other such wishes are dropped, as hop-by-hop headers are.
pub(super) fn wanted(head: &Parts, allowed: &[Box<str>]) -> Option<HeaderValue> {
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    let (protocol, second) = (protocols.next()?, protocols.next());
    let name = protocol.to_str().ok()?;
    let known = allowed.iter().any(|known| known.eq_ignore_ascii_case(name));
    let has_body = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    let proper = second.is_none()
        && known
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && !has_body
        && headers::names(&head.headers, "upgrade")
        && (!name.eq_ignore_ascii_case("websocket") || is_websocket(head));
    proper.then(|| protocol.clone())
}

/// A key of 16 bytes in base64, and the one version that there is.
fn is_websocket(head: &Parts) -> bool {
    let one = |name: header::HeaderName| {
        let mut values = head.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
    };
    let key = one(header::SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24 && key.ends_with(b"=="));
    key && one(header::SEC_WEBSOCKET_VERSION) == Some(b"13")
}
