//! Why a stored password cannot be checked.

/// Why a stored value cannot be checked; for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A scheme that is not known here.
    #[error("password scheme {0} is not known")]
    Unknown(String),
    /// Parameters beyond what a login may cost.
    #[error("password scheme {0} with parameters that cost too much time or memory")]
    TooCostly(&'static str),
}
