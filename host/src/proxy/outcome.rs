//! Why there is no start, no reload, no upgrade.

use crate::config::Faults;

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
    /// A generation that is kept over a restart cannot be used.
    #[error("generation {generation} cannot be used: {why}")]
    NotKept {
        /// Its number.
        generation: u64,
        /// What is wrong with it.
        why: String,
    },
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
    /// Something else was asked for later, and is done instead.
    #[error("superseded by {0}: nothing has changed")]
    Superseded(&'static str),
    /// The process ends.
    #[error("this process is ending, and does nothing more; ask again, in case another one takes its place")]
    Ending,
    /// wasmtime does not run here.
    #[error("the policy engine does not start: {0}")]
    Engine(String),
}

impl Error {
    /// The error, with what the machine said.
    pub fn with_source(&self) -> String {
        let source = std::error::Error::source(self).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{self}{source}")
    }
}
