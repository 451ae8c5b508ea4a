//! Finds users and binds as them: in LDAP servers, or in a file that behaves the same.

mod filter;
mod ldap;
mod ldif;

use std::collections::BTreeMap;

pub use ldap::Connections;

use crate::config::{self, DirectoryKind, Faults};
use crate::secret::Secret;
use filter::FilterTemplate;
use ldap::Servers;
use ldif::Ldif;

/// Where users are looked up. Part of the Snapshot; connections are the worker's.
#[derive(Debug)]
pub struct Directory {
    source: Source,
    filter: FilterTemplate,
    host_attribute: String,
    password_attribute: String,
    exposed_attributes: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Ldif(Ldif),
    Ldap(Servers),
}

/// A person's entry.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// Distinguished name.
    pub dn: String,
    /// Values by lower-case attribute name; only what was asked for.
    attributes: BTreeMap<String, Vec<String>>,
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
}

impl User {
    /// Values of an attribute.
    pub fn values(&self, attribute: &str) -> &[String] {
        self.attributes.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }
}

impl Directory {
    /// Reads what the directory needs: the LDIF file, or CA and password of the LDAP servers.
    ///
    /// # Errors
    /// Every fault found.
    pub fn build(config: &config::Directory) -> Result<Self, Faults> {
        let place = &config.place;
        let filter = FilterTemplate::parse(&config.filter).map_err(|error| {
            place.key("filter").fault(format!("\"{}\": {error}", config.filter), "an LDAP filter (RFC 4515)")
        })?;
        let source = match &config.kind {
            DirectoryKind::Ldif(path) => Source::Ldif(Ldif::load(path.as_deref(), place)?),
            DirectoryKind::Ldap(ldap) => Source::Ldap(Servers::build(ldap, place)?),
        };
        Ok(Self {
            source,
            filter,
            host_attribute: config.host_attribute.clone(),
            password_attribute: config.password_attribute.clone(),
            exposed_attributes: config.exposed_attributes.clone(),
        })
    }

    /// The entry of a user; none when there is none, or more than one.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn find(&self, connections: &Connections, name: &str) -> Result<Option<User>, Error> {
        let filter = self.filter.fill(name);
        let mut wanted: Vec<&str> = self.exposed_attributes.iter().map(String::as_str).collect();
        wanted.push(&self.host_attribute);
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

    /// Whether the directory takes this password for this user. The caller has refused blank ones.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn bind(&self, connections: &Connections, user: &User, secret: &Secret) -> Result<bool, Error> {
        match &self.source {
            Source::Ldif(ldif) => Ok(ldif.bind(&user.dn, secret).await),
            Source::Ldap(servers) => servers.bind(connections, &user.dn, secret).await,
        }
    }

    /// The stored password values of a user, for those who check them themselves. A locked user has none.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn stored_passwords(&self, connections: &Connections, user: &User) -> Result<Vec<Secret>, Error> {
        match &self.source {
            Source::Ldif(ldif) => Ok(ldif.passwords(&user.dn, &self.password_attribute)),
            Source::Ldap(servers) => servers.passwords(connections, &user.dn, &self.password_attribute).await,
        }
    }

    /// A user nobody is: work on it takes as long as work on a real one.
    pub fn nobody(&self) -> User {
        match &self.source {
            Source::Ldif(_) => User::default(),
            Source::Ldap(servers) => User { dn: servers.nobody(), ..User::default() },
        }
    }

    /// What the entry says of the user's node: the first value of the host attribute.
    pub fn host_of<'u>(&self, user: &'u User) -> Option<&'u str> {
        user.values(&self.host_attribute).first().map(String::as_str)
    }

    /// The attributes that policies may read.
    pub fn exposed(&self, user: &User) -> BTreeMap<String, Vec<String>> {
        let exposed =
            self.exposed_attributes.iter().map(|name| (name.to_ascii_lowercase(), user.values(name).to_vec()));
        exposed.filter(|(_, values)| !values.is_empty()).collect()
    }
}
