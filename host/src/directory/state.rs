//! What lives of the directory: how its servers stand, what it said of users, and where passwords are checked. One for the
//! process, and told of each generation that goes live.
//!
//! Invariants: a connection is used again as long as it would be opened and bound in the same way; what a server is known
//! for holds as long as its URL is named; what was said of users holds as long as the same servers are asked the same; no
//! more passwords are checked at once than there are cores, over all generations.

use std::sync::{Arc, Mutex, PoisonError};

use super::ldap::Servers;
use super::spec::{DirectorySpec, SourceSpec};
use super::{Directory, Source};
use crate::password::Hashing;

/// What lives of the directory.
#[derive(Debug, Default)]
pub struct DirectoryState {
    hashing: Hashing,
    live: Mutex<Option<Arc<Directory>>>,
}

impl DirectoryState {
    /// This directory goes live.
    pub fn follow(&self, spec: &Arc<DirectorySpec>) -> Arc<Directory> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let source = match &spec.source {
            SourceSpec::Ldif(ldif) => Source::Ldif(ldif.clone()),
            SourceSpec::Ldap(ldap) => {
                let before = live.as_ref().and_then(|before| match &before.source {
                    Source::Ldap(servers) => Some(&**servers),
                    Source::Ldif(_) => None,
                });
                Source::Ldap(Arc::new(Servers::next(ldap, before)))
            }
        };
        let same = live.as_ref().filter(|before| before.spec.says_as(spec));
        let routes = same.map(|before| before.routes.clone()).unwrap_or_default();
        let next = Arc::new(Directory { spec: spec.clone(), source, routes, hashing: self.hashing.clone() });
        *live = Some(next.clone());
        next
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::config::{self, Source as Text};
    use crate::directory::{Connections, Shrink};
    use crate::secret::Secret;

    #[test]
    fn as_many_passwords_are_checked_at_once_as_there_are_cores_over_all_generations() {
        let text = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"*\"]\n\
                    [[backend]]\nname = \"a\"\nurl = \"http://127.0.0.1/\"\nrecipe = \"roundcube\"\n";
        let config = config::parse(&Arc::new(Text::new("test", text)), Path::new(".")).unwrap().directory;
        let spec = || Arc::new(DirectorySpec::build(&config, (None, Shrink::Refused), &|_| true).unwrap());
        let state = DirectoryState::default();
        let (old, new) = (state.follow(&spec()), state.follow(&spec()));
        let (connections, secret) = (Connections::default(), Secret::new("x".to_owned()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().max_blocking_threads(1).build().unwrap().block_on(async {
            // The one thread that checks passwords has something else to do.
            let (release, held) = std::sync::mpsc::channel::<()>();
            let other = tokio::task::spawn_blocking(move || held.recv());
            let checks = (0..2 * cores).map(|number| {
                let mut check = Box::pin([&old, &new][number % 2].bind(&connections, None, &secret));
                assert!(Pin::new(&mut check).poll(&mut Context::from_waker(Waker::noop())).is_pending());
                check
            });
            let checks: Vec<_> = checks.collect();
            assert_eq!((old.hashing.busy(), new.hashing.busy()), (cores, cores));
            drop(release);
            assert!(other.await.unwrap().is_err());
            for check in checks {
                check.await.unwrap();
            }
        });
    }
}
