//! What `demo`, `serve` and `check` are told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// What `doorward demo` is told.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Address to listen on; port 0 takes a free one. A configuration that is there already says it itself.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Run from a configuration in this folder (written there first), which may be changed while it runs.
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// What `doorward serve` is told.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration file.
    #[arg(long)]
    pub(super) config: PathBuf,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
    /// Do not start with the last good generation where the files are refused.
    #[arg(long)]
    pub(super) strict: bool,
}

/// What `doorward check` is told.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(long)]
    pub(super) config: PathBuf,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
    /// Exit status 1 for warnings too.
    #[arg(long)]
    pub(super) strict: bool,
}
