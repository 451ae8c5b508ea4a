//! Why nobody got in: for the log and for operators. What the person may know of it is the login's own affair.
//!
//! Pure.

use crate::auth::Problem;
use crate::reply::Refusal;

/// Why nobody got in. Its word stands in the log's line of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A blank password, or none.
    Blank,
    /// Nobody has this name.
    Unknown,
    /// The password is wrong.
    Wrong,
    /// The node refuses a user whom the directory takes.
    NodeRefused,
    /// The password is right, and the account has a problem.
    Account(Problem),
    /// A policy refuses it.
    Policy,
    /// A policy failed.
    PolicyFailed,
    /// A policy lets nobody in for now.
    Later,
    /// The code is wrong.
    WrongCode,
    /// The code came too late, or its page was used before.
    CodeTooLate,
    /// The form was not shown to this browser, or too long ago.
    FormToken,
    /// A password came in clear text where none is taken.
    ClearText,
    /// A token came where the node is not asked.
    Token,
    /// Too many have failed of late.
    Throttled,
    /// The node takes no more logins of this user for a while.
    NodeThrottled,
    /// The directory gives no answer.
    DirectoryAway,
    /// No node has the mailbox.
    NoNode,
    /// The node takes no new logins.
    NodeDrained,
    /// The node cannot be reached, or cannot check logins.
    NodeDown,
    /// The node did not answer in time.
    NodeTimeout,
    /// The node's answer is not what its recipe says.
    NodeBroken,
    /// The node's queue is full, or took too long.
    NodeBusy,
    /// The user has as many sessions of mail programs as there may be.
    TooManySessions,
    /// This machine has no descriptor, port or memory left for a connection to the node.
    Shortage,
    /// The store of the cluster is away, and then nobody logs in.
    StoreAway,
    /// The client left before the end.
    ClientGone,
    /// A fault of our own.
    Internal,
}

impl Reason {
    /// Its word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
            Self::NodeRefused => "node-refused",
            Self::Account(problem) => problem.name(),
            Self::Policy => "policy",
            Self::PolicyFailed => "policy-failed",
            Self::Later => "later",
            Self::WrongCode => "wrong-code",
            Self::CodeTooLate => "code-too-late",
            Self::FormToken => "form-token",
            Self::ClearText => "clear-text",
            Self::Token => "token",
            Self::Throttled => "throttled",
            Self::NodeThrottled => "node-throttled",
            Self::DirectoryAway => "directory-away",
            Self::NoNode => "no-node",
            Self::NodeDrained => "node-drained",
            Self::NodeDown => "node-down",
            Self::NodeTimeout => "node-timeout",
            Self::NodeBroken => "node-broken",
            Self::NodeBusy => "node-busy",
            Self::TooManySessions => "too-many-sessions",
            Self::Shortage => "shortage",
            Self::StoreAway => "store-away",
            Self::ClientGone => "client-gone",
            Self::Internal => "internal",
        }
    }

    /// Why nobody can say now.
    pub fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::DirectoryDown => Self::DirectoryAway,
            Refusal::PolicyFailed => Self::PolicyFailed,
            Refusal::NoNode => Self::NoNode,
            Refusal::NodeDraining => Self::NodeDrained,
            Refusal::LoginLater => Self::Later,
            Refusal::NodeAway | Refusal::NodeDown => Self::NodeDown,
            Refusal::NodeTimeout => Self::NodeTimeout,
            Refusal::NodeBroken => Self::NodeBroken,
            Refusal::QueueFull | Refusal::QueueTimeout => Self::NodeBusy,
            Refusal::TooManyConnections => Self::TooManySessions,
            Refusal::Shortage => Self::Shortage,
            Refusal::StoreAway => Self::StoreAway,
            Refusal::Internal => Self::Internal,
            // What a client sends; a login meets none of it.
            Refusal::BadRequest(_)
            | Refusal::PlainHttp
            | Refusal::MethodRefused
            | Refusal::EncodingRefused
            | Refusal::VersionRefused
            | Refusal::Http11Needed
            | Refusal::ExpectationRefused
            | Refusal::UriTooLong(_)
            | Refusal::HeadersTooLarge(_)
            | Refusal::TooManyHeaders(_)
            | Refusal::ClientTimeout
            | Refusal::NotFound
            | Refusal::BodyTooLarge(..)
            | Refusal::SessionNeeded
            | Refusal::UnknownSite => Self::Internal,
        }
    }
}
