//! The next generation, built beside the live one on a thread that may take its time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Generations, Source};
use crate::config::Config;
use crate::directory::Shrink;
use crate::proxy::Error;
use crate::session::Keys;
use crate::snapshot::{Snapshot, load_at_rest};
use crate::watch::{Seen, Watch};

/// What came of building.
pub(super) struct Built {
    /// The files that the configuration names.
    pub files: Vec<PathBuf>,
    /// How they were before they were read.
    pub seen: Seen,
    /// Key files that were made for it. They go again where it does not go live, and then nobody has changed them.
    pub made: Vec<PathBuf>,
    /// The next generation; none where the files say what they said.
    pub next: Result<Option<Box<Next>>, Error>,
}

/// A generation that may go live. Dropped, it has never been.
pub(super) struct Next {
    pub config: Config,
    pub snapshot: Arc<Snapshot>,
    keys: MadeKeys,
}

impl Next {
    /// It is live: its configuration.
    pub(super) fn keep(self) -> Config {
        self.keys.keep();
        self.config
    }
}

/// Key files that were made for a generation. They go with it where it does not go live.
#[derive(Default)]
struct MadeKeys(Vec<PathBuf>);

impl MadeKeys {
    /// Makes those that are missing and that the live generation has not.
    fn make(config: &Config, live: &Snapshot) -> Self {
        let files = [&config.session.key_file, &config.ticket_key_file].into_iter().flatten();
        // What goes wrong is told as a fault of the configuration, when they are read.
        let made = |path: &&PathBuf| !live.has_keys_of(path) && Keys::make(path).unwrap_or(false);
        Self(files.filter(made).cloned().collect())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeKeys {
    fn drop(&mut self) {
        let remove = |path: &Path| {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(file = %path.display(), %error, "a key file that nothing uses is not removed");
            }
        };
        self.0.iter().for_each(|path| remove(path));
    }
}

/// Reads the files, and builds what they say.
pub(super) fn build(generations: &Generations, source: &Source, shrink: Shrink) -> Built {
    let anyway = source.load_anyway();
    let keys = anyway.as_ref().map(|config| MadeKeys::make(config, &generations.proxy().shared().live.load()));
    let made = keys.as_ref().map(|keys| keys.0.clone()).unwrap_or_default();
    // Known before they are read, so that one which is mended right behind the reading is seen to have changed.
    let named = anyway.map(|config| config.files()).unwrap_or_default();
    let seen = Watch::seen_of(&named);
    match load_at_rest(|| source.load()) {
        Ok((config, fingerprint)) => {
            let (files, built) = (config.files(), generations.build(&config, (fingerprint, shrink)));
            let keys = keys.unwrap_or_default();
            let next =
                built.map(|next| next.map(|snapshot| Box::new(Next { config, snapshot: Arc::new(snapshot), keys })));
            Built { files, seen, made, next }
        }
        Err(faults) => Built { files: named, seen, made, next: Err(faults.into()) },
    }
}
