//! Finds users and checks their passwords: in LDAP servers, or in a file that behaves the same.

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
mod standing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use pool::Connections;
pub use problem::Problem;
pub use shrunk::Shrink;
pub use standing::State;

use crate::config::{self, DirectoryKind, Faults};
use crate::password::{Busy, Hashing};
use crate::secret::Secret;
use filter::FilterTemplate;
use ldap::Servers;
use ldif::Ldif;
use map::Map;
use routes::{Answer, Routes};

/// Where users are looked up. Part of the Snapshot; connections are the worker's.
#[derive(Debug)]
pub struct Directory {
    source: Source,
    map: Option<Map>,
    routes: Routes,
    hashing: Hashing,
    filter: FilterTemplate,
    config: config::Directory,
}

#[derive(Debug)]
enum Source {
    Ldif(Ldif),
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
    /// Reads what the directory needs: the LDIF file, or CA and password of the LDAP servers; and the map, whose back-ends
    /// `is_node` knows. How servers stand is taken over from the previous one, and the same file may not have lost most of
    /// its entries since, unless that is accepted.
    ///
    /// # Errors
    /// Every fault found.
    pub fn build(
        config: &config::Directory,
        (previous, shrink): (Option<&Self>, Shrink),
        is_node: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Faults> {
        let place = &config.place;
        let filter = FilterTemplate::parse(&config.filter).map_err(|error| {
            place.key("filter").fault(format!("\"{}\": {error}", config.filter), "an LDAP filter (RFC 4515)")
        })?;
        let source = match &config.kind {
            DirectoryKind::Ldif(path) => {
                let before = previous.and_then(|previous| match (&previous.source, &previous.config.kind) {
                    (Source::Ldif(ldif), DirectoryKind::Ldif(before)) if before == path => Some(ldif),
                    _ => None,
                });
                Source::Ldif(Ldif::load(path.as_deref(), place, before.filter(|_| shrink == Shrink::Refused))?)
            }
            DirectoryKind::Ldap(ldap) => {
                let previous = previous.and_then(|previous| match &previous.source {
                    Source::Ldap(servers) => Some(&**servers),
                    Source::Ldif(_) => None,
                });
                Source::Ldap(Arc::new(Servers::build(ldap, place, previous)?))
            }
        };
        let before = previous.filter(|previous| previous.config.map == config.map && shrink == Shrink::Refused);
        let before = before.and_then(|previous| previous.map.as_ref());
        let map =
            config.map.as_ref().map(|path| Map::load(path, config.fold_case, is_node, (place, before))).transpose()?;
        Ok(Self {
            source,
            map,
            routes: Routes::new(config.routes),
            hashing: Hashing::default(),
            filter,
            config: config.clone(),
        })
    }

    /// The one form of a typed name; none of one that nobody can have.
    pub fn canonical(&self, typed: &str) -> Option<String> {
        name::canonical(typed, self.config.fold_case)
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
            None => self.known(connections, name, self.routes.lifetime()).await,
        }
    }

    /// A user by an answer that is not older than `age`.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn known(&self, connections: &Connections, name: &str, age: Duration) -> Result<Option<User>, Error> {
        let arrived = Instant::now();
        let route = self.routes.of(name);
        let mut answer = route.0.lock().await;
        let served = answer.as_ref().filter(|answer| self.routes.serves(answer, arrived, age));
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
        let filter = self.filter.fill(name);
        let mut wanted: Vec<&str> = self.config.exposed_attributes.iter().map(String::as_str).collect();
        wanted.push(&self.config.host_attribute);
        wanted.extend(self.config.name_attribute.as_deref());
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

    fn mapped(&self, name: &str) -> Option<String> {
        self.map.as_ref()?.node_of(name).map(str::to_owned)
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
        let (dn, attribute) = (user.map_or("", |user| &user.dn), &self.config.password_attribute);
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

    /// What names the user's back-end, in the order of the entry; the map's line alone, where there is one.
    pub fn hosts_of<'u>(&self, user: &'u User) -> &'u [String] {
        user.mapped.as_ref().map_or_else(|| user.values(&self.config.host_attribute), std::slice::from_ref)
    }

    /// The user's one name, where the entry has it: `name-attribute`, if that has one value.
    pub fn name_of(&self, user: &User) -> Option<String> {
        let [name] = user.values(self.config.name_attribute.as_deref()?) else { return None };
        self.canonical(name)
    }

    /// The attributes that policies may read.
    pub fn exposed(&self, user: &User) -> BTreeMap<String, Vec<String>> {
        let exposed =
            self.config.exposed_attributes.iter().map(|name| (name.to_ascii_lowercase(), user.values(name).to_vec()));
        exposed.filter(|(_, values)| !values.is_empty()).collect()
    }

    /// Which back-ends the entries of the operator's file name, each with its distinguished name; nothing of a server's.
    pub fn hosts_of_file(&self) -> Vec<(&str, &[String])> {
        match (&self.source, &self.config.kind) {
            (Source::Ldif(ldif), DirectoryKind::Ldif(Some(_))) => ldif.values(&self.config.host_attribute).collect(),
            _ => Vec::new(),
        }
    }

    /// Where somebody with this problem is sent.
    pub fn help(&self, problem: Problem) -> Option<&str> {
        self.config.account_help.get(problem.name()).map(String::as_str)
    }

    /// How each server stands, by its URL; nothing for a file.
    pub fn servers(&self) -> Vec<(String, State)> {
        match &self.source {
            Source::Ldif(_) => Vec::new(),
            Source::Ldap(servers) => servers.states().map(|(url, state)| (url.to_owned(), state)).collect(),
        }
    }
}
