//! Where the configuration comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Faults};

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, with all that it names.
    File(PathBuf),
    /// A text that never changes.
    Text(Arc<config::Source>),
}

impl Source {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn load(&self) -> Result<Config, Faults> {
        match self {
            Self::File(path) => config::load(path),
            Self::Text(source) => config::parse(source, Path::new(".")),
        }
    }

    /// What can be read of it in spite of faults; none where it is no file, or one that cannot be read.
    pub(super) fn load_anyway(&self) -> Option<Config> {
        match self {
            Self::File(path) => config::load_anyway(path).ok().map(|(config, _)| config),
            Self::Text(_) => None,
        }
    }
}
