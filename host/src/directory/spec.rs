//! A directory as plain data: what a generation says of it. What lives of it is [`super::state`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::filter::FilterTemplate;
use super::ldif::Ldif;
use super::line::Target;
use super::map::Map;
use super::{Problem, Shrink, User, name};
use crate::config::{self, DirectoryKind, Faults, Place};
use crate::secret::Secret;
use crate::tls;

/// Where users of a Snapshot are looked up.
#[derive(Debug)]
pub struct DirectorySpec {
    pub(super) source: SourceSpec,
    pub(super) map: Option<Map>,
    pub(super) filter: FilterTemplate,
    pub(super) config: config::Directory,
}

#[derive(Debug)]
pub(super) enum SourceSpec {
    Ldif(Arc<Ldif>),
    Ldap(Arc<LdapSpec>),
}

/// LDAP servers and how they are asked.
#[derive(Debug)]
pub(super) struct LdapSpec {
    pub(super) targets: Vec<Target>,
    pub(super) settings: config::Ldap,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// The digest of the file of authorities.
    ca: Option<[u8; 32]>,
    pub(super) bind_password: Secret,
}

impl LdapSpec {
    /// Reads CA and password.
    ///
    /// # Errors
    /// The file that cannot be read.
    fn build(config: &config::Ldap, place: &Place) -> Result<Self, Faults> {
        let bind_password = match &config.bind_password_file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                let found = format!("{}: {error}", path.display());
                place.key("bind-password-file").fault(found, "a readable file with the password")
            })?,
        };
        if config.insecure {
            tracing::warn!(urls = ?config.urls, "passwords go to the directory in clear text: insecure = true");
        }
        let target = |url: &String| {
            let fault = || place.key("urls").fault(format!("\"{url}\""), "ldaps://HOST:PORT or ldap://HOST:PORT");
            Target::parse(url, config.start_tls).ok_or_else(fault)
        };
        Ok(Self {
            targets: config.urls.iter().map(target).collect::<Result<_, config::Fault>>()?,
            settings: config.clone(),
            tls: tls::client(config.ca.as_deref(), false, place)?,
            ca: config.ca.as_ref().and_then(|path| Some(Sha256::digest(std::fs::read(path).ok()?).into())),
            bind_password: Secret::new(bind_password.trim_end_matches(['\r', '\n']).to_owned()),
        })
    }

    /// Whether connections to the servers of another one are as good: they are opened and bound in the same way.
    pub(super) fn is_reached_as(&self, other: &Self) -> bool {
        let way = |spec: &Self| (spec.settings.start_tls, spec.settings.bind_dn.clone(), spec.ca);
        way(self) == way(other) && self.bind_password == other.bind_password
    }
}

impl DirectorySpec {
    /// Reads what the directory needs: the LDIF file, or CA and password of the LDAP servers; and the map, whose back-ends
    /// `is_node` knows. A file that the previous one has read may not have lost most of its entries since, unless that is
    /// accepted.
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
                    (SourceSpec::Ldif(ldif), DirectoryKind::Ldif(before)) if before == path => Some(&**ldif),
                    _ => None,
                });
                let before = before.filter(|_| shrink == Shrink::Refused);
                SourceSpec::Ldif(Arc::new(Ldif::load(path.as_deref(), place, before)?))
            }
            DirectoryKind::Ldap(ldap) => SourceSpec::Ldap(Arc::new(LdapSpec::build(ldap, place)?)),
        };
        let before = previous.filter(|previous| previous.config.map == config.map && shrink == Shrink::Refused);
        let before = before.and_then(|previous| previous.map.as_ref());
        let map =
            config.map.as_ref().map(|path| Map::load(path, config.fold_case, is_node, (place, before))).transpose()?;
        Ok(Self { source, map, filter, config: config.clone() })
    }

    /// The one form of a typed name; none of one that nobody can have.
    pub fn canonical(&self, typed: &str) -> Option<String> {
        name::canonical(typed, self.config.fold_case)
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
            (SourceSpec::Ldif(ldif), DirectoryKind::Ldif(Some(_))) => {
                ldif.values(&self.config.host_attribute).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Where somebody with this problem is sent.
    pub fn help(&self, problem: Problem) -> Option<&str> {
        self.config.account_help.get(problem.name()).map(String::as_str)
    }

    /// Whether what another one says of users is what this one would say: the same servers are asked the same.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let asked = |spec: &Self| {
            let config = &spec.config;
            (
                config.filter.clone(),
                (config.host_attribute.clone(), config.name_attribute.clone(), config.exposed_attributes.clone()),
                config.routes.size,
            )
        };
        let servers = match (&self.source, &other.source) {
            (SourceSpec::Ldap(one), SourceSpec::Ldap(other)) => {
                let servers = |spec: &LdapSpec| {
                    (spec.settings.urls.clone(), spec.settings.base.clone(), spec.settings.bind_dn.clone())
                };
                servers(one) == servers(other)
            }
            // A file is at hand, and may say something else.
            _ => false,
        };
        servers && asked(self) == asked(other)
    }
}
