//! LDAP servers: connections with deadlines, kept and reused, and fail-over from one server to the next.
//!
//! Invariants: searches and users' binds never share a connection; a connection that erred is never used again;
//! referrals are not followed (`ldap3` hands them back, and they are dropped).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions};

use super::{Error, User};
use crate::config::{self, Faults, Place};
use crate::secret::Secret;
use crate::tls;

/// Result codes (RFC 4511, appendix A).
const INVALID_CREDENTIALS: u32 = 49;
const NO_SUCH_OBJECT: u32 = 32;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// Idle connections of a kind that a worker keeps. A login takes one for some milliseconds.
const KEPT: usize = 4;

/// The servers of a Snapshot.
#[derive(Debug)]
pub(super) struct Servers {
    id: u64,
    urls: Vec<String>,
    start_tls: bool,
    tls: Arc<rustls::ClientConfig>,
    bind_dn: String,
    bind_password: Secret,
    base: String,
    connect_timeout: Duration,
    timeout: Duration,
    retry_interval: Duration,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    /// Bound as the service account.
    Search,
    /// Bound as whoever logged in last.
    UserBind,
}

/// A worker's idle connections, and which servers it passes over for now.
#[derive(Default)]
pub struct Connections {
    servers: Cell<u64>,
    idle: RefCell<HashMap<Use, Vec<(String, Ldap)>>>,
    passed_over: RefCell<HashMap<String, Instant>>,
}

/// Identities of `Servers`, so that connections to those of an older Snapshot are not used.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Servers {
    /// Reads CA and password.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub(super) fn build(config: &config::Ldap, place: &Place) -> Result<Self, Faults> {
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
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            urls: config.urls.clone(),
            start_tls: config.start_tls,
            tls: tls::client(config.ca.as_deref(), false, place)?,
            bind_dn: config.bind_dn.clone(),
            bind_password: Secret::new(bind_password.trim_end_matches(['\r', '\n']).to_owned()),
            base: config.base.clone(),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            retry_interval: config.retry_interval,
        })
    }

    /// A name that nobody has, to bind to for a user who is not there.
    pub(super) fn nobody(&self) -> String {
        format!("cn=nobody,{}", self.base)
    }

    /// Entries below the base that fit a filter, at most two: more than one is an answer already.
    pub(super) async fn search(&self, pool: &Connections, filter: &str, wanted: &[&str]) -> Result<Vec<User>, Error> {
        self.look_up(pool, &self.base, Scope::Subtree, filter, wanted).await
    }

    /// The password values of one entry.
    pub(super) async fn passwords(&self, pool: &Connections, dn: &str, attribute: &str) -> Result<Vec<Secret>, Error> {
        let found = self.look_up(pool, dn, Scope::Base, "(objectClass=*)", &[attribute]).await?;
        let values = found
            .into_iter()
            .flat_map(|mut user| user.attributes.remove(&attribute.to_ascii_lowercase()).unwrap_or_default());
        Ok(values.map(Secret::new).collect())
    }

    async fn look_up(
        &self,
        pool: &Connections,
        base: &str,
        scope: Scope,
        filter: &str,
        wanted: &[&str],
    ) -> Result<Vec<User>, Error> {
        let ask = async |ldap: &mut Ldap| {
            let options = SearchOptions::new().sizelimit(2);
            let ldap = ldap.with_search_options(options).with_timeout(self.timeout);
            let found = ldap.search(base, scope, filter, wanted.to_vec()).await?;
            well(found.1).map(|result| (found.0, result))
        };
        let (entries, result) = self.with_connection(pool, Use::Search, ask).await?;
        match result.rc {
            0 | SIZE_LIMIT_EXCEEDED => {}
            NO_SUCH_OBJECT => return Ok(Vec::new()),
            _ => return Err(Error::Refused(told(&result))),
        }
        let real = entries.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        Ok(real.map(|entry| user(SearchEntry::construct(entry))).collect())
    }

    /// Whether the server takes this password for this name.
    pub(super) async fn bind(&self, pool: &Connections, dn: &str, secret: &Secret) -> Result<bool, Error> {
        if dn.is_empty() || secret.is_blank() {
            return Ok(false);
        }
        let ask = async |ldap: &mut Ldap| well(ldap.with_timeout(self.timeout).simple_bind(dn, secret.expose()).await?);
        let result = self.with_connection(pool, Use::UserBind, ask).await?;
        match result.rc {
            0 => Ok(true),
            INVALID_CREDENTIALS | NO_SUCH_OBJECT | INAPPROPRIATE_AUTHENTICATION => Ok(false),
            // "Unwilling" and its like are about this account: an outage for one user would tell that it exists.
            _ => {
                tracing::warn!(dn, result = told(&result), "the directory refuses a bind");
                Ok(false)
            }
        }
    }

    /// Asks on a kept connection, and once more on a new one if that was dead; each server in turn.
    async fn with_connection<T>(
        &self,
        pool: &Connections,
        usage: Use,
        ask: impl AsyncFn(&mut Ldap) -> Result<T, LdapError>,
    ) -> Result<T, Error> {
        pool.belong_to(self.id);
        let mut last = String::new();
        for url in pool.in_order(&self.urls) {
            if let Some(mut ldap) = pool.take(usage, &url) {
                match ask(&mut ldap).await {
                    Ok(answer) => {
                        pool.put(self.id, usage, url, ldap);
                        return Ok(answer);
                    }
                    Err(error) => tracing::debug!(url, %error, "a kept directory connection was dead"),
                }
            }
            let mut ldap = match self.connect(&url, usage).await {
                Ok(ldap) => ldap,
                Err(error) => {
                    tracing::warn!(url, error, "a directory server is passed over for now");
                    pool.pass_over(&url, self.retry_interval);
                    last = format!("{url}: {error}");
                    continue;
                }
            };
            match ask(&mut ldap).await {
                Ok(answer) => {
                    pool.put(self.id, usage, url, ldap);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::warn!(url, %error, "a directory server is passed over for now");
                    pool.pass_over(&url, self.retry_interval);
                    last = format!("{url}: {error}");
                }
            }
        }
        Err(Error::Down(last))
    }

    async fn connect(&self, url: &str, usage: Use) -> Result<Ldap, String> {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(self.connect_timeout)
            .set_starttls(self.start_tls && url.starts_with("ldap://"))
            .set_config(self.tls.clone());
        let connecting = tokio::time::timeout(self.connect_timeout, LdapConnAsync::with_settings(settings, url));
        let (connection, mut ldap) =
            connecting.await.map_err(|_| "connecting took too long".to_owned())?.map_err(|error| error.to_string())?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a directory connection ended");
            }
        });
        if usage == Use::Search && !self.bind_dn.is_empty() {
            let bind = ldap.with_timeout(self.timeout).simple_bind(&self.bind_dn, self.bind_password.expose());
            let result = bind.await.map_err(|error| error.to_string())?;
            if result.rc != 0 {
                return Err(format!("the service account may not bind: {}", told(&result)));
            }
        }
        Ok(ldap)
    }
}

impl Connections {
    fn belong_to(&self, servers: u64) {
        if self.servers.replace(servers) != servers {
            self.idle.borrow_mut().clear();
            self.passed_over.borrow_mut().clear();
        }
    }

    /// A kept connection to this server.
    fn take(&self, usage: Use, url: &str) -> Option<Ldap> {
        let mut idle = self.idle.borrow_mut();
        let of_use = idle.get_mut(&usage)?;
        of_use.retain_mut(|(_, ldap)| !ldap.is_closed());
        let newest = of_use.iter().rposition(|(of, _)| of == url)?;
        Some(of_use.remove(newest).1)
    }

    fn put(&self, servers: u64, usage: Use, url: String, ldap: Ldap) {
        let mut idle = self.idle.borrow_mut();
        let of_use = idle.entry(usage).or_default();
        if self.servers.get() == servers && of_use.len() < KEPT {
            of_use.push((url, ldap));
        }
    }

    /// Servers to try: in the operator's order, those passed over left out; all of them when none is left.
    fn in_order(&self, urls: &[String]) -> Vec<String> {
        let now = Instant::now();
        let mut passed_over = self.passed_over.borrow_mut();
        passed_over.retain(|_, until| *until > now);
        let well: Vec<String> = urls.iter().filter(|url| !passed_over.contains_key(*url)).cloned().collect();
        if well.is_empty() { urls.to_vec() } else { well }
    }

    fn pass_over(&self, url: &str, interval: Duration) {
        self.passed_over.borrow_mut().insert(url.to_owned(), Instant::now() + interval);
    }
}

fn user(entry: SearchEntry) -> User {
    let attributes = entry
        .attrs
        .into_iter()
        .map(|(name, values)| (name.split(';').next().unwrap_or(&name).to_ascii_lowercase(), values));
    User { dn: entry.dn, attributes: attributes.collect() }
}

/// A server that says it is busy or going down is no better than one that is silent: the next one is asked.
fn well(result: LdapResult) -> Result<LdapResult, LdapError> {
    if matches!(result.rc, BUSY | UNAVAILABLE) { Err(LdapError::from(result)) } else { Ok(result) }
}

/// A result in words; the server's text may name the account, never a password.
fn told(result: &LdapResult) -> String {
    format!("result {} {}", result.rc, result.text)
}
