//! Why a request is not answered as asked, and what the client then sees: the only mapping of failures to statuses.
//!
//! Pure.

use std::time::Duration;

use hyper::StatusCode;

use crate::config::Level;

/// A failure that a client may see. The log has the cause; the request id joins the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is ambiguous or malformed; the text says how.
    BadRequest(&'static str),
    /// A method that Doorward never forwards.
    MethodRefused,
    /// A `Transfer-Encoding` that Doorward does not know (RFC 9112, section 6.1).
    EncodingRefused,
    /// A version of HTTP that is neither 1.0 nor 1.1 (RFC 9110, section 15.6.6).
    VersionRefused,
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
    /// A login form that is not ours or too old.
    ForeignForm,
    /// The body is larger than the named limit, in bytes.
    BodyTooLarge(&'static str, u64),
    /// A script asked without a session.
    SessionNeeded,
    /// No virtual host for this name.
    UnknownSite,
    /// A filter failed, and what it guards is not to be had without it.
    FilterFailed,
    /// The directory cannot be asked.
    DirectoryDown,
    /// The user is right, but no node has the mailbox.
    NoNode,
    /// The node's queue is full.
    QueueFull,
    /// Waited in the node's queue for too long.
    QueueTimeout,
    /// The node cannot be reached.
    NodeAway,
    /// The node takes no new logins.
    NodeDraining,
    /// The node says that it cannot check logins.
    NodeDown,
    /// The node did not answer in time.
    NodeTimeout,
    /// The node's answer is not HTTP, or not what was agreed.
    NodeBroken,
    /// A fault of our own.
    Internal,
}

/// What a refusal looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Status code.
    pub status: StatusCode,
    /// One sentence for a person.
    pub detail: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// How loud the log is about it.
    pub level: Level,
}

impl Refusal {
    /// What the client sees.
    pub fn look(&self) -> Look {
        use Level::{Debug, Error, Warn};
        // 5 s is long enough for a burst to pass and short enough for a person to wait.
        let soon = Some(Duration::from_secs(5));
        let (status, level, retry_after, detail) = match self {
            Self::BadRequest(how) => (400, Debug, None, format!("The request could not be understood: {how}.")),
            Self::MethodRefused => (405, Debug, None, "This kind of request is not answered here.".to_owned()),
            Self::EncodingRefused => {
                (501, Debug, None, "The request has a Transfer-Encoding that is not known here.".to_owned())
            }
            Self::VersionRefused => {
                (505, Debug, None, "Only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here.".to_owned())
            }
            Self::ExpectationRefused => (417, Debug, None, "The request expects what is not known here.".to_owned()),
            Self::UriTooLong(bytes) => {
                (414, Debug, None, format!("The address is longer than allowed: uri-max-size is {bytes} bytes."))
            }
            Self::HeadersTooLarge(bytes) => (
                431,
                Debug,
                None,
                format!("The request's headers are larger than allowed: headers-max-size is {} KiB.", bytes >> 10),
            ),
            Self::TooManyHeaders(most) => {
                (431, Debug, None, format!("The request has too many headers: headers-max-count is {most}."))
            }
            Self::ClientTimeout => (408, Debug, None, "The request did not arrive in time.".to_owned()),
            Self::NotFound => (404, Debug, None, "There is nothing at this address.".to_owned()),
            Self::ForeignForm => {
                (403, Debug, None, "The login form was too old. Please load the page again and log in.".to_owned())
            }
            Self::BodyTooLarge(limit, bytes) => {
                (413, Debug, None, format!("What was sent is larger than allowed: {limit} is {} KiB.", bytes >> 10))
            }
            Self::SessionNeeded => (401, Debug, None, "The session has ended. Please log in again.".to_owned()),
            Self::UnknownSite => (421, Debug, None, "This server does not serve that host name.".to_owned()),
            Self::FilterFailed => (503, Warn, soon, "This is not possible at the moment. Please try again.".to_owned()),
            Self::DirectoryDown => {
                (503, Error, soon, "Logging in is not possible at the moment. Please try again.".to_owned())
            }
            Self::NoNode => (
                503,
                Warn,
                None,
                "You are known, but no mailbox is assigned to you. Please ask your administrator.".to_owned(),
            ),
            Self::QueueFull | Self::QueueTimeout => {
                (503, Warn, soon, "Your mail server is busy. Please try again in a moment.".to_owned())
            }
            // The log has told why it cannot be reached.
            Self::NodeAway => {
                (503, Debug, soon, "Your mail server cannot be reached at the moment. Please try again.".to_owned())
            }
            Self::NodeDraining => (
                503,
                Debug,
                Some(Duration::from_secs(60)),
                "Your mail server is being looked after and takes no new logins. Please try again later.".to_owned(),
            ),
            Self::NodeDown => {
                (502, Error, soon, "Your mail server cannot be reached at the moment. Please try again.".to_owned())
            }
            Self::NodeTimeout => (504, Error, soon, "Your mail server did not answer in time.".to_owned()),
            Self::NodeBroken => (502, Error, None, "Your mail server gave an answer that makes no sense.".to_owned()),
            Self::Internal => (500, Error, None, "Something went wrong here.".to_owned()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Look { status, detail, retry_after, level }
    }
}
