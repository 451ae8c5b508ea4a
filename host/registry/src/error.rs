//! Why something of a registry is not to be had.

/// What went wrong, in words that name the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not reached, or does not answer in time; or it says that it cannot now.
    #[error("{0}")]
    Away(String),
    /// It has nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// It lets nobody do that with these credentials, or without any.
    #[error("{0}")]
    Denied(String),
    /// It sent something else than was asked for.
    #[error("{0}")]
    Wrong(String),
}

/// The result of asking a registry.
pub(crate) type Result<T> = std::result::Result<T, Error>;
