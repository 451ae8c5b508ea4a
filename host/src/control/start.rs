//! The start: with what the files say; or, where they are refused, with the last generation that went well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Source, Store};
use crate::config::Config;
use crate::policy::Suspect;
use crate::proxy::{Error, Ground, NewSockets, Proxy, is_upgrade};
use crate::snapshot::{Snapshot, load_at_rest};

/// What serves from now on.
pub struct Started {
    /// The machine.
    pub proxy: Proxy,
    /// What it was started with.
    pub config: Config,
    pub(super) store: Arc<Store>,
    pub(super) fallback: Option<Fallback>,
}

/// A kept generation serves, since the files were refused at the start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fallback {
    /// Its number.
    pub generation: u64,
    /// What is wrong with the files.
    pub error: String,
    #[serde(skip)]
    pub(super) faults: usize,
}

/// A generation that may be started with.
type First = (Config, Snapshot, NewSockets);

/// Starts with what the files say. Where they are refused, the last generation that went well and is kept serves instead,
/// but not with `strict`, and not where this process takes over from another one, which serves on.
///
/// # Errors
/// Why the files are refused, where nothing else can serve; nothing runs then.
pub fn start(source: &Source, strict: bool) -> Result<Started, Error> {
    let store = Arc::new(match source {
        Source::File(path) => Store::open(state_directory(source).as_deref(), path),
        Source::Text(_) => Store::default(),
    });
    let may_fall_back = !strict && !is_upgrade() && !store.went_well().is_empty();
    let mut ground = None;
    // Where nothing else can serve, a component under quarantine is no reason not to start: its policy is not asked.
    let suspect = if may_fall_back { Suspect::Refused } else { Suspect::LeftAlone };
    let refused = match of_files(source, &store, &mut ground, suspect) {
        Ok(first) => return serve(ground, first, store, None),
        Err(Error::Faults(faults)) if may_fall_back => faults,
        Err(error) => return Err(error),
    };
    for life in store.went_well().iter().rev() {
        match of_kept(&store, life.generation, &mut ground) {
            Ok(first) => {
                let (generation, error) = (life.generation, refused.to_string());
                tracing::error!(generation, "the files are refused, and the last good generation serves:\n{error}");
                let fallback = Fallback { generation, error, faults: refused.0.len() };
                return serve(ground, first, store, Some(fallback));
            }
            Err(error) => {
                let error = error.with_source();
                tracing::warn!(generation = life.generation, error, "a kept generation cannot be used");
            }
        }
    }
    match of_files(source, &store, &mut ground, Suspect::LeftAlone) {
        Ok(first) => serve(ground, first, store, None),
        Err(_) => Err(refused.into()),
    }
}

/// Where generations are kept: as the files say, even if they have faults; or else as systemd says (`StateDirectory=`).
fn state_directory(source: &Source) -> Option<PathBuf> {
    let read = source.load_anyway();
    let of_systemd = || {
        let folders = std::env::var("STATE_DIRECTORY").ok()?;
        folders.split(':').next().filter(|folder| Path::new(folder).is_absolute()).map(PathBuf::from)
    };
    match read {
        Some(config) => config.state_directory,
        None => of_systemd(),
    }
}

fn of_files(source: &Source, store: &Store, ground: &mut Option<Ground>, suspect: Suspect) -> Result<First, Error> {
    let (mut config, fingerprint) = load_at_rest(|| source.load())?;
    store.tell_before(&mut config);
    let number = store.number_of(&config);
    let (mut snapshot, sockets) = build(&config, ground, number, suspect)?;
    // When a quarantine is lifted, the same files say something else.
    let whole = !snapshot.policies.all().iter().any(|policy| policy.is_left_alone());
    snapshot.fingerprint = fingerprint.filter(|_| whole);
    Ok((config, snapshot, sockets))
}

fn of_kept(store: &Store, generation: u64, ground: &mut Option<Ground>) -> Result<First, Error> {
    let config = store.load(generation).map_err(|why| Error::NotKept { generation, why })?;
    let (snapshot, sockets) = build(&config, ground, generation, Suspect::Refused)?;
    Ok((config, snapshot, sockets))
}

fn build(
    config: &Config,
    ground: &mut Option<Ground>,
    number: u64,
    suspect: Suspect,
) -> Result<(Snapshot, NewSockets), Error> {
    let ground = match ground {
        Some(ground) => ground,
        None => ground.insert(Ground::prepare(config)?),
    };
    let snapshot = ground.build(config, number, suspect)?;
    let sockets = ground.sockets_for(&snapshot)?;
    Ok((snapshot, sockets))
}

fn serve(
    ground: Option<Ground>,
    (config, snapshot, sockets): First,
    store: Arc<Store>,
    fallback: Option<Fallback>,
) -> Result<Started, Error> {
    let ground = ground.map_or_else(|| Ground::prepare(&config), Ok)?;
    let proxy = ground.start(&config, snapshot, sockets)?;
    Ok(Started { proxy, config, store, fallback })
}
