//! What comes of a start, a reload, an upgrade.

use std::time::SystemTime;

use crate::config::Faults;

/// What came of a reload that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation that is live.
    pub generation: u64,
    /// Whether it is a new one.
    pub changed: bool,
}

/// The last reload, good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReload {
    /// When it came to its end.
    pub time: SystemTime,
    /// What is wrong with the configuration: so many faults. None where it is good.
    pub faults: Option<usize>,
}

/// Why a proxy cannot start or reload.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is refused, whole.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The machine refuses something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// There is no such generation to go back to.
    #[error("there is no such generation to go back to")]
    NoSuchGeneration,
    /// A component may not go live.
    #[error("sha256:{digest} is under quarantine; `doorward ctl lift sha256:{digest}` lifts that")]
    Quarantined {
        /// The component's digest.
        digest: String,
    },
    /// The process before this one ended, or does not let go.
    #[error("this process was started by an upgrade, and does not serve")]
    NotHandedOver(#[source] std::io::Error),
    /// Something else must come to its end first.
    #[error("{0}")]
    Busy(&'static str),
    /// wasmtime does not run here.
    #[error("the policy engine does not start: {0}")]
    Engine(String),
}
