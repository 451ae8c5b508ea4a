//! Finds users and checks their passwords: in LDAP servers, or in a file that behaves the same.

mod each;
mod filter;
mod ldap;
mod ldif;
mod line;
mod map;
mod name;
mod pool;
mod problem;
mod routes;
mod shrunk;
mod spec;
mod standing;
mod state;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use each::Asked;
pub use filter::{Filter, FilterTemplate};
pub use pool::Connections;
pub use problem::Problem;
pub use shrunk::Shrink;
pub use spec::DirectorySpec;
pub use standing::State;
pub use state::DirectoryState;

use crate::counters::{ByLabel, Histogram, Labels, Observed, PerWorker};
use crate::password::{Busy, Hashing};
use crate::secret::Secret;
use ldap::Servers;
use ldif::Ldif;
use routes::{Answer, Routes};

/// Where users are looked up: what the generation says of it, and what lives of it. Connections are the worker's.
#[derive(Debug)]
pub struct Directory {
    spec: Arc<DirectorySpec>,
    source: Source,
    routes: Arc<Routes>,
    hashing: Hashing,
}

#[derive(Debug)]
enum Source {
    Ldif(Arc<Ldif>),
    Ldap(Arc<Servers>),
}

/// A person: an entry, or a line of the map, or both.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// Distinguished name; empty for one whom only the map knows.
    pub dn: String,
    /// Values by lower-case attribute name; only what was asked for.
    attributes: BTreeMap<String, Vec<String>>,
    /// The back-end that the map names.
    mapped: Option<String>,
}

/// What comes of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is right.
    Right,
    /// It is wrong, or nobody may know whether it is.
    Wrong,
    /// It is right, and the account has a problem.
    Account(Problem),
}

/// What a directory stores of a password.
#[derive(Debug, Default)]
struct Stored {
    values: Vec<Secret>,
    problem: Option<Problem>,
}

/// Why the directory gave no answer. A user that is not there is an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server could be asked.
    #[error("no directory server answers: {0}")]
    Down(String),
    /// A server said no to the question itself.
    #[error("the directory refuses: {0}")]
    Refused(String),
    /// Passwords cannot be checked as fast as they come.
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl User {
    /// Values of an attribute.
    pub fn values(&self, attribute: &str) -> &[String] {
        self.attributes.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Whether the directory has an entry, which a password can be checked with.
    pub fn has_entry(&self) -> bool {
        !self.dn.is_empty()
    }

    /// Takes the stored password out of an entry that was read for it.
    fn stored(mut self, attribute: &str) -> Stored {
        let values = self.attributes.remove(&attribute.to_ascii_lowercase()).unwrap_or_default();
        // draft-behera-ldap-password-policy, section 5.3: locked until somebody unlocks it. Any other time is when it was
        // locked, and for how long that holds is not here to see.
        let locked = self.values("pwdAccountLockedTime").iter().any(|time| time == "000001010000Z");
        let reset = self.values("pwdReset").iter().any(|reset| reset == "TRUE");
        let problem = match (locked, reset) {
            (true, _) => Some(Problem::Locked),
            (_, true) => Some(Problem::MustChange),
            _ => None,
        };
        Stored { values: values.into_iter().map(Secret::new).collect(), problem }
    }
}

impl Directory {
    /// A directory by itself.
    pub fn alone(spec: DirectorySpec) -> Arc<Self> {
        DirectoryState::default().follow(&Arc::new(spec))
    }

    /// A user as the directory has him now; none when there is none, or more than one. That somebody is not there is
    /// remembered for a moment.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn find(&self, connections: &Connections, name: &str) -> Result<Option<User>, Error> {
        self.known(connections, name, Duration::ZERO).await
    }

    /// Which back-end a user is on, and nothing else that could be wanted of an entry, by an answer that may be as old as
    /// `route-lifetime`.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn route(&self, connections: &Connections, name: &str) -> Result<Option<User>, Error> {
        match self.mapped(name) {
            Some(mapped) => Ok(Some(User { mapped: Some(mapped), ..User::default() })),
            None => self.known(connections, name, self.spec.config.routes.lifetime).await,
        }
    }

    /// A user by an answer that is not older than `age`.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn known(&self, connections: &Connections, name: &str, age: Duration) -> Result<Option<User>, Error> {
        let arrived = Instant::now();
        let route = self.routes.of(name, &self.spec.config.routes);
        let mut answer = route.0.lock().await;
        let served = answer.as_ref().filter(|answer| answer.serves(arrived, age, &self.spec.config.routes));
        if let Some(answer) = served {
            return Ok(self.with_map(name, answer.user.clone()));
        }
        *answer = None;
        let user = self.search(connections, name).await?;
        *answer = Answer::new(user.as_ref());
        drop(answer);
        Ok(self.with_map(name, user))
    }

    async fn search(&self, connections: &Connections, name: &str) -> Result<Option<User>, Error> {
        let (filter, wanted) = (self.spec.filter.fill(name), self.wanted());
        let mut found = match &self.source {
            Source::Ldif(ldif) => ldif.search(&filter, &wanted),
            Source::Ldap(servers) => servers.search(connections, &filter, &wanted).await?,
        };
        if found.len() > 1 {
            tracing::warn!(user = name, "two entries of the directory fit one user; neither may log in");
            return Ok(None);
        }
        Ok(found.pop())
    }

    /// The attributes that an entry is asked for.
    fn wanted(&self) -> Vec<&str> {
        let mut wanted: Vec<&str> = self.spec.config.exposed_attributes.iter().map(String::as_str).collect();
        wanted.push(&self.spec.config.host_attribute);
        wanted.extend(self.spec.config.name_attribute.as_deref());
        wanted
    }

    /// The back-end that the map names for a canonical name.
    pub fn mapped(&self, name: &str) -> Option<String> {
        self.spec.map.as_ref()?.node_of(name).map(str::to_owned)
    }

    /// What the map says stands above what the entry says.
    fn with_map(&self, name: &str, user: Option<User>) -> Option<User> {
        match self.mapped(name) {
            Some(mapped) => Some(User { mapped: Some(mapped), ..user.unwrap_or_default() }),
            None => user,
        }
    }

    /// Forgets what is remembered of one user, or of all; of how many that was.
    pub fn purge(&self, name: Option<&str>) -> usize {
        self.routes.purge(name)
    }

    /// What the directory says when a user binds with a password. Who is not there costs a bind too.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn bind(&self, connections: &Connections, user: Option<&User>, secret: &Secret) -> Result<Bound, Error> {
        let dn = user.map_or("", |user| &user.dn);
        match &self.source {
            Source::Ldif(ldif) => self.fits(ldif.stored(dn, "userPassword"), secret).await,
            Source::Ldap(servers) if dn.is_empty() => {
                servers.bind(connections, &servers.nobody(), secret).await.map(|_| Bound::Wrong)
            }
            Source::Ldap(servers) => servers.bind(connections, dn, secret).await,
        }
    }

    /// Whether a password is the one that the directory stores. Who is not there costs a look and a hash too.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn compare(
        &self,
        connections: &Connections,
        user: Option<&User>,
        secret: &Secret,
    ) -> Result<Bound, Error> {
        let (dn, attribute) = (user.map_or("", |user| &user.dn), &self.spec.config.password_attribute);
        let stored = match &self.source {
            Source::Ldif(ldif) => ldif.stored(dn, attribute),
            Source::Ldap(servers) if dn.is_empty() => {
                servers.stored(connections, &servers.nobody(), attribute).await.map(|_| Stored::default())?
            }
            Source::Ldap(servers) => servers.stored(connections, dn, attribute).await?,
        };
        self.fits(stored, secret).await
    }

    /// The problem of an account is told to nobody but who has the right password.
    async fn fits(&self, stored: Stored, secret: &Secret) -> Result<Bound, Error> {
        let right = self.hashing.any_fits(stored.values, secret.clone()).await?;
        Ok(if right { stored.problem.map_or(Bound::Right, Bound::Account) } else { Bound::Wrong })
    }

    /// What each server was asked, by its URL, what for and with what result, and how long that took; nothing for a file.
    pub fn asked(&self) -> Vec<(Labels, Observed)> {
        let Source::Ldap(servers) = &self.source else { return Vec::new() };
        let of = |(url, asked): (&str, &PerWorker<ByLabel<Histogram>>)| {
            let sums = asked.sums(Observed::add).into_iter();
            sums.map(|((_, words), observed)| ((url.to_owned(), words), observed)).collect::<Vec<_>>()
        };
        servers.asked().flat_map(of).collect()
    }

    /// How each server stands, by its URL; nothing for a file.
    pub fn servers(&self) -> Vec<(String, State)> {
        match &self.source {
            Source::Ldif(_) => Vec::new(),
            Source::Ldap(servers) => servers.states().map(|(url, state)| (url.to_owned(), state)).collect(),
        }
    }
}

impl Deref for Directory {
    type Target = DirectorySpec;

    fn deref(&self) -> &DirectorySpec {
        &self.spec
    }
}
