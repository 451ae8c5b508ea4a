//! Why a request is not answered as asked, and what the client then sees: the only mapping of failures to statuses.
//!
//! Pure.

use std::time::Duration;

use hyper::StatusCode;

use crate::config::{LOGIN_FORM, Level};
use crate::limits::Shut;

/// A failure that a client may see. The log has the cause; the request id joins the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is ambiguous or malformed; the text says how, for the log.
    BadRequest(&'static str),
    /// Plain HTTP was sent to a port that speaks TLS.
    PlainHttp,
    /// A method that Doorward never forwards.
    MethodRefused,
    /// A `Transfer-Encoding` that Doorward does not know (RFC 9112, section 6.1).
    EncodingRefused,
    /// A version of HTTP that is neither 1.0 nor 1.1 (RFC 9110, section 15.6.6).
    VersionRefused,
    /// What it asks for does not work over HTTP/2 (RFC 9113, section 7: `HTTP_1_1_REQUIRED`).
    Http11Needed,
    /// An `Expect` other than `100-continue` (RFC 9110, section 10.1.1).
    ExpectationRefused,
    /// The target is longer than `uri-max-size`, in bytes.
    UriTooLong(u64),
    /// The headers are larger than `headers-max-size`, in bytes.
    HeadersTooLarge(u64),
    /// There are more headers than `headers-max-count`.
    TooManyHeaders(u64),
    /// The client did not send its request in time.
    ClientTimeout,
    /// A path of Doorward's own that has nothing.
    NotFound,
    /// The body is larger than the named limit, in bytes.
    BodyTooLarge(&'static str, u64),
    /// A script asked without a session.
    SessionNeeded,
    /// No virtual host for this name.
    UnknownSite,
    /// A policy failed, and what it guards is not to be had without it.
    PolicyFailed,
    /// The directory cannot be asked.
    DirectoryDown,
    /// The user is right, but no node has the mailbox.
    NoNode,
    /// The node's queue is full.
    QueueFull,
    /// The client, whom a proxy in front names, has too many connections.
    TooManyConnections,
    /// Waited in the node's queue for too long.
    QueueTimeout,
    /// This machine has no descriptor, port or memory left for a connection to the node.
    Shortage,
    /// The node cannot be reached.
    NodeAway,
    /// The node takes no new logins.
    NodeDraining,
    /// A policy lets nobody in for now.
    LoginLater,
    /// The node says that it cannot check logins.
    NodeDown,
    /// The node did not answer in time.
    NodeTimeout,
    /// The node's answer is not HTTP, or not what was agreed.
    NodeBroken,
    /// The store of the cluster is away, and then nobody logs in.
    StoreAway,
    /// A fault of our own.
    Internal,
}

/// What a person is told, in a language of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text of the language files, by its key, and what its placeholders are filled with.
    Known(&'static str, Vec<(&'static str, String)>),
    /// A text that somebody else wrote, in one language.
    Given(String),
}

impl Message {
    /// A text without placeholders.
    pub const fn known(key: &'static str) -> Self {
        Self::Known(key, Vec::new())
    }

    /// How long to wait: in minutes, or in seconds where that is less than two minutes.
    pub fn wait(wait: Duration) -> Self {
        let (one, many, count) = match wait.as_secs() {
            seconds @ ..120 => ("wait_second", "wait_seconds", seconds),
            seconds => ("wait_minute", "wait_minutes", seconds.div_ceil(60)),
        };
        if count == 1 { Self::known(one) } else { Self::Known(many, vec![("count", count.to_string())]) }
    }
}

/// What a refusal looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Status code.
    pub status: StatusCode,
    /// One sentence for a person.
    pub detail: Message,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// How loud the log is about it.
    pub level: Level,
}

impl From<Shut> for Refusal {
    /// What somebody sees whom a node's gate did not let in.
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::Full => Self::QueueFull,
            Shut::TimedOut => Self::QueueTimeout,
            Shut::InVain => Self::NodeAway,
        }
    }
}

impl Refusal {
    /// What the client sees.
    pub fn look(&self) -> Look {
        use Level::{Debug, Error, Warn};
        // 5 s is long enough for a burst to pass and short enough for a person to wait.
        let soon = Some(Duration::from_secs(5));
        let minute = Some(Duration::from_secs(60));
        let kib = |bytes: &u64| ("kib", (bytes >> 10).to_string());
        let (status, level, retry_after, key) = match self {
            Self::BadRequest(_) => (400, Debug, None, "bad_request"),
            Self::PlainHttp => (400, Debug, None, "plain_http"),
            Self::MethodRefused => (405, Debug, None, "method_refused"),
            Self::EncodingRefused => (501, Debug, None, "encoding_refused"),
            Self::VersionRefused | Self::Http11Needed => (505, Debug, None, "version_refused"),
            Self::ExpectationRefused => (417, Debug, None, "expectation_refused"),
            Self::UriTooLong(_) => (414, Debug, None, "uri_too_long"),
            Self::HeadersTooLarge(_) => (431, Debug, None, "headers_too_large"),
            Self::TooManyHeaders(_) => (431, Debug, None, "too_many_headers"),
            Self::ClientTimeout => (408, Debug, None, "client_timeout"),
            Self::NotFound => (404, Debug, None, "not_found"),
            Self::BodyTooLarge(LOGIN_FORM, _) => (413, Debug, None, "login_form_too_large"),
            Self::BodyTooLarge(..) => (413, Debug, None, "body_too_large"),
            Self::SessionNeeded => (401, Debug, None, "session_needed"),
            Self::UnknownSite => (421, Debug, None, "unknown_site"),
            Self::PolicyFailed | Self::StoreAway => (503, Warn, soon, "not_now"),
            Self::DirectoryDown => (503, Error, soon, "directory_down"),
            Self::NoNode => (503, Warn, None, "no_node"),
            Self::TooManyConnections => (429, Debug, soon, "too_many_connections"),
            Self::QueueFull | Self::QueueTimeout => (503, Warn, soon, "busy"),
            // The log has told why it cannot be reached.
            Self::Shortage => (503, Debug, soon, "busy"),
            Self::NodeAway => (503, Debug, soon, "node_away"),
            Self::NodeDraining | Self::LoginLater => (503, Debug, minute, "node_draining"),
            Self::NodeDown => (502, Error, soon, "node_away"),
            Self::NodeTimeout => (504, Error, soon, "node_timeout"),
            Self::NodeBroken => (502, Error, None, "node_broken"),
            Self::Internal => (500, Error, None, "internal"),
        };
        let values = match self {
            Self::BadRequest(_) => vec![("how", String::new())],
            Self::UriTooLong(bytes) => vec![("bytes", bytes.to_string())],
            Self::HeadersTooLarge(bytes) => vec![kib(bytes)],
            Self::TooManyHeaders(most) => vec![("count", most.to_string())],
            Self::BodyTooLarge(LOGIN_FORM, bytes) => vec![kib(bytes)],
            Self::BodyTooLarge(limit, bytes) => vec![("limit", (*limit).to_owned()), kib(bytes)],
            _ => Vec::new(),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Look { status, detail: Message::Known(key, values), retry_after, level }
    }
}
