//! LDAP servers: fail-over from one to the next, and what is asked of them.
//!
//! Invariants: searches and users' binds never share a connection; a connection that erred is never used again; every
//! question has a deadline; referrals are not followed (`ldap3` hands them back, and they are dropped); a password that a
//! server may have heard is sent no second time, since servers count wrong ones.

mod each;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ldap3::controls::RawControl;
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions, StdStream,
};

use super::line::Target;
use super::pool::{Connections, Use, caught};
use super::problem::Problem;
use super::spec::LdapSpec;
use super::standing::{Probe, Standing, State};
use super::{Bound, Error, Stored, User};
use crate::counters::{ByLabel, Histogram, PerWorker, Scale};
use crate::secret::Secret;
use crate::traces::{self, Label};
use crate::{shortage, tls};

/// Result codes (RFC 4511, appendix A).
const INVALID_CREDENTIALS: u32 = 49;
const NO_SUCH_OBJECT: u32 = 32;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// The control that asks for the account's problems, and the one that tells them (draft-behera-ldap-password-policy).
const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";

/// The live servers: what the generation says of them, and how they stand, which is the same for all workers.
#[derive(Debug)]
pub(super) struct Servers {
    /// Tells their connections from those that were opened or bound in another way.
    id: u64,
    servers: Vec<Server>,
    spec: Arc<LdapSpec>,
}

#[derive(Debug)]
struct Server {
    target: Target,
    standing: Arc<Standing>,
    /// What it was asked, by usage and result, and how long that took.
    asked: Arc<PerWorker<ByLabel<Histogram>>>,
}

/// A question that one server left without an answer.
struct Unanswered {
    error: String,
    /// Whether the server may have heard it.
    heard: bool,
}

impl Unanswered {
    /// The reason, if the next server may be asked the same.
    fn for_the_next(self, usage: Use) -> Result<String, Error> {
        if self.heard && usage == Use::UserBind { Err(Error::Down(self.error)) } else { Ok(self.error) }
    }
}

/// Ids of ways to servers.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Why a server gave no answer.
enum Trouble {
    /// It kept silent to the end of a deadline.
    Silent(&'static str),
    /// It cannot be reached, or says that it cannot: it did nothing about the question.
    Failed(String),
    /// It ended the connection or says nonsense, and what it did about the question is not known.
    Lost(String),
    /// A kept connection was lost, which says nothing of the server.
    LostKept(String),
    /// Somebody else found it silent while we waited.
    GivenUp,
    /// This machine lacks what a connection needs, which is no fault of the server.
    Ours(String),
}

impl Servers {
    /// The servers of the next generation.
    pub(super) fn next(spec: &Arc<LdapSpec>, before: Option<&Self>) -> Self {
        let known = before.map_or(&[][..], |before| &before.servers);
        let server = |target: &Target| {
            let known = known.iter().find(|known| known.target.url == target.url);
            let (standing, asked) =
                known.map_or_else(Default::default, |known| (known.standing.clone(), known.asked.clone()));
            Server { target: target.clone(), standing, asked }
        };
        let same_way = before.filter(|before| before.spec.is_reached_as(spec));
        Self {
            id: same_way.map_or_else(|| NEXT_ID.fetch_add(1, Ordering::Relaxed), |before| before.id),
            servers: spec.targets.iter().map(server).collect(),
            spec: spec.clone(),
        }
    }

    /// How each server stands, by its URL.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, State)> {
        self.servers.iter().map(|server| (server.target.url.as_str(), server.standing.state()))
    }

    /// What each server was asked, by its URL.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&str, &PerWorker<ByLabel<Histogram>>)> {
        self.servers.iter().map(|server| (server.target.url.as_str(), &*server.asked))
    }

    /// A name that nobody has, to bind to for a user who is not there.
    pub(super) fn nobody(&self) -> String {
        format!("cn=nobody,{}", self.spec.settings.base)
    }

    /// Entries below the base that fit a filter, at most two: more than one is an answer already.
    pub(super) async fn search(
        self: &Arc<Self>,
        pool: &Connections,
        filter: &str,
        wanted: &[&str],
    ) -> Result<Vec<User>, Error> {
        self.look_up(pool, &self.spec.settings.base, Scope::Subtree, filter, wanted).await
    }

    /// The password values of one entry, and what stands against it.
    pub(super) async fn stored(
        self: &Arc<Self>,
        pool: &Connections,
        dn: &str,
        attribute: &str,
    ) -> Result<Stored, Error> {
        let wanted = [attribute, "pwdAccountLockedTime", "pwdReset"];
        let found = self.look_up(pool, dn, Scope::Base, "(objectClass=*)", &wanted).await?;
        Ok(found.into_iter().next().map(|user| user.stored(attribute)).unwrap_or_default())
    }

    async fn look_up(
        self: &Arc<Self>,
        pool: &Connections,
        base: &str,
        scope: Scope,
        filter: &str,
        wanted: &[&str],
    ) -> Result<Vec<User>, Error> {
        let ask = async |ldap: &mut Ldap| search_on(ldap, base, scope, filter, wanted).await;
        found(self.with_connection(pool, Use::Search, ask).await?).map_err(Error::Refused)
    }

    /// Whether the server takes this password for this name.
    pub(super) async fn bind(self: &Arc<Self>, pool: &Connections, dn: &str, secret: &Secret) -> Result<Bound, Error> {
        if dn.is_empty() || secret.is_blank() {
            return Ok(Bound::Wrong);
        }
        let ask = async |ldap: &mut Ldap| bind_on(ldap, dn, secret).await;
        let result = self.with_connection(pool, Use::UserBind, ask).await?;
        Ok(bound(&result).unwrap_or_else(|| {
            tracing::warn!(dn, result = told(&result), "the directory refuses a bind");
            // It is about this account: an outage for one user would tell that it exists.
            Bound::Wrong
        }))
    }

    /// Asks the first server that stands well; where none does, those that said no at once, and those that are being tried.
    async fn with_connection<T>(
        self: &Arc<Self>,
        pool: &Connections,
        usage: Use,
        ask: impl AsyncFn(&mut Ldap) -> Result<T, LdapError>,
    ) -> Result<T, Error> {
        let mut last = String::new();
        let mut passed_over = Vec::new();
        for server in &self.servers {
            if !server.standing.state().is_asked() {
                if let Some(probe) = server.standing.probe() {
                    self.try_again(&server.target, probe);
                }
                passed_over.push(server);
                continue;
            }
            match self.ask(server, pool, usage, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) => last = unanswered.for_the_next(usage)?,
            }
        }
        let deadline = Instant::now() + self.spec.settings.timeout;
        for server in passed_over {
            server.standing.probed(deadline).await;
            let state = server.standing.state();
            if !state.is_asked() && !matches!(state, State::Failed { silent: false, .. }) {
                continue;
            }
            match self.ask(server, pool, usage, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) => last = unanswered.for_the_next(usage)?,
            }
        }
        // Nobody else is left: those that were silent may be well again before their time. Nobody waits for all of them.
        let mut tried = Vec::new();
        let deadline = Instant::now() + self.spec.settings.timeout;
        while let Some(server) = self.silent_longest(&tried).filter(|_| Instant::now() < deadline) {
            tried.push(server.target.url.as_str());
            if let Some(probe) = server.standing.probe_early(Instant::now()) {
                self.try_again(&server.target, probe);
            }
            server.standing.probed(deadline).await;
            if !server.standing.state().is_asked() {
                continue;
            }
            match self.ask(server, pool, usage, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) => last = unanswered.for_the_next(usage)?,
            }
        }
        Err(Error::Down(if last.is_empty() { "all of them were silent a moment ago".to_owned() } else { last }))
    }

    /// Of the servers that were silent, the one for which that is longest ago; not the last one that was, and none of
    /// those that were tried.
    fn silent_longest(&self, tried: &[&str]) -> Option<&Server> {
        let since = |server: &&Server| match server.standing.state() {
            State::Failed { until, silent: true, .. } => Some(until),
            _ => None,
        };
        let last = self.servers.iter().filter_map(|server| since(&server)).max()?;
        let others = self.servers.iter().filter(|server| since(server).is_some_and(|until| until < last));
        others.filter(|server| !tried.contains(&server.target.url.as_str())).min_by_key(since)
    }

    /// Asks one server; trouble is noted down for everybody.
    async fn ask<T>(
        &self,
        server: &Server,
        pool: &Connections,
        usage: Use,
        ask: &impl AsyncFn(&mut Ldap) -> Result<T, LdapError>,
    ) -> Result<T, Unanswered> {
        let url = &server.target.url;
        let given_up = Standing::silenced(server.standing.changes());
        let (heard, began) = (Cell::new(false), Instant::now());
        let answer = tokio::select! {
            answer = self.ask_on_a_connection(server, pool, (usage, &heard), ask) => answer,
            () = given_up => Err(Trouble::GivenUp),
        };
        let unanswered = |error: String| Err(Unanswered { error: format!("{url}: {error}"), heard: heard.get() });
        let result = match &answer {
            Ok(_) => "answered",
            Err(Trouble::Silent(_) | Trouble::GivenUp) => "silent",
            Err(Trouble::Failed(_) | Trouble::Lost(_) | Trouble::LostKept(_) | Trouble::Ours(_)) => "failed",
        };
        traces::note("directory", result, Some(began), || Label::Text(format!("{} {url}", usage.name())));
        server.asked.mine().of("", [usage.name(), result]).observe(Scale::Network, began.elapsed());
        let (silent, error) = match answer {
            Ok(answer) => {
                if server.standing.answered() {
                    tracing::warn!(url, "a directory server answers again");
                }
                return Ok(answer);
            }
            Err(Trouble::GivenUp) => return unanswered("silent".to_owned()),
            Err(Trouble::LostKept(error)) => return unanswered(error),
            Err(Trouble::Ours(error)) => {
                tracing::error!(
                    url,
                    error,
                    "no connection to a directory server can be opened: this machine lacks something"
                );
                return unanswered(error);
            }
            Err(Trouble::Silent(doing)) => (true, format!("{doing} took too long")),
            Err(Trouble::Failed(error) | Trouble::Lost(error)) => (false, error),
        };
        // Nobody is told twice of the same outage: a server that fails while it is passed over was told of.
        if server.standing.state().is_asked() {
            tracing::warn!(url, error, "a directory server is passed over for now");
        }
        server.standing.failed(silent, self.spec.settings.retry_interval);
        unanswered(error)
    }

    /// Asks on a kept connection, or on a new one where there is none. A kept one may be dead without a word where the
    /// server is well: a search has half of its time for it, and the rest for a new one. A user's bind that was sent is not
    /// sent again, and so has all of its time.
    async fn ask_on_a_connection<T>(
        &self,
        server: &Server,
        pool: &Connections,
        (usage, heard): (Use, &Cell<bool>),
        ask: &impl AsyncFn(&mut Ldap) -> Result<T, LdapError>,
    ) -> Result<T, Trouble> {
        let (url, all) = (&server.target.url, self.spec.settings.timeout);
        if let Some(mut kept) =
            pool.take(self.spec.settings.idle_timeout, self.spec.settings.max_age, (self.id, url, usage))
        {
            let time = if usage == Use::Search { all / 2 } else { all };
            heard.set(true);
            let trouble = match self.within(time, &mut kept.ldap, ask).await {
                Ok(answer) => {
                    pool.put(kept);
                    return Ok(answer);
                }
                Err(trouble) => trouble,
            };
            // What ended this one has likely ended the others.
            pool.forget(url);
            heard.set(!matches!(trouble, Trouble::Failed(_)));
            let error = match trouble {
                Trouble::Failed(error) | Trouble::Lost(error) => error,
                _ => "silent".to_owned(),
            };
            tracing::debug!(url, error, "a kept directory connection was dead");
            if usage == Use::UserBind && heard.get() {
                return Err(Trouble::LostKept(format!("a kept connection: {error}")));
            }
            heard.set(false);
        }
        let mut ldap = self.connect(&server.target, usage).await?;
        heard.set(true);
        let answer = self.within(all, &mut ldap, ask).await;
        heard.set(!matches!(answer, Err(Trouble::Failed(_))));
        let answer = answer?;
        pool.put(pool.of(ldap, (self.id, url, usage)));
        Ok(answer)
    }

    /// Tries a server that is passed over, while nobody waits for it who has another one to ask.
    fn try_again(self: &Arc<Self>, target: &Target, probe: Probe) {
        let (servers, target) = (self.clone(), target.clone());
        tokio::task::spawn_local(async move {
            let failed = match servers.connect(&target, Use::Search).await {
                Ok(_) => {
                    if probe.well() {
                        tracing::warn!(url = target.url, "a directory server answers again");
                    }
                    return;
                }
                // It says nothing of the server: the next one may try at once.
                Err(Trouble::Ours(error)) => return tracing::debug!(url = target.url, error, "a try was given up"),
                Err(trouble) => trouble,
            };
            let silent = !matches!(failed, Trouble::Failed(_) | Trouble::Lost(_));
            tracing::debug!(url = target.url, silent, "a directory server is still away");
            probe.failed(silent, servers.spec.settings.retry_interval);
        });
    }

    async fn within<T>(
        &self,
        time: Duration,
        ldap: &mut Ldap,
        ask: &impl AsyncFn(&mut Ldap) -> Result<T, LdapError>,
    ) -> Result<T, Trouble> {
        let answer = tokio::time::timeout(time, caught(ask(ldap))).await;
        let answer = answer.map_err(|_| Trouble::Silent("an answer"))?;
        let answer = answer.ok_or_else(|| Trouble::Lost("an answer that makes no sense".to_owned()))?;
        answer.map_err(|error| match error {
            // It was not sent, or the server says that it cannot.
            LdapError::OpSend { .. } | LdapError::LdapResult { .. } => Trouble::Failed(error.to_string()),
            _ => Trouble::Lost(error.to_string()),
        })
    }

    /// Opens a connection; one for searches is bound as the service account.
    async fn connect(&self, target: &Target, usage: Use) -> Result<Ldap, Trouble> {
        let failed = |error: &dyn std::fmt::Display| Trouble::Failed(error.to_string());
        let opened = tokio::time::timeout(self.spec.settings.connect_timeout, target.open(&self.spec.tls)).await;
        let stream = opened.map_err(|_| Trouble::Silent("connecting"))?.map_err(|error| {
            // Without a descriptor names are not found, and the error does not say why.
            let ours = shortage::is_ours(&error) || shortage::has_no_descriptor();
            if ours { Trouble::Ours(error.to_string()) } else { failed(&tls::words(&error)) }
        })?;
        // The line is open and safe already; all that `ldap3` sees is a local socket.
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(stream));
        let (connection, mut ldap) =
            LdapConnAsync::with_settings(settings, "ldapi://line").await.map_err(|error| failed(&error))?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a directory connection ended");
            }
        });
        if usage == Use::Search && !self.spec.settings.bind_dn.is_empty() {
            let bind = async |ldap: &mut Ldap| {
                ldap.simple_bind(&self.spec.settings.bind_dn, self.spec.bind_password.expose()).await
            };
            let result = self.within(self.spec.settings.timeout, &mut ldap, &bind).await?;
            if result.rc != 0 {
                return Err(Trouble::Failed(format!("the service account may not bind: {}", told(&result))));
            }
        }
        Ok(ldap)
    }
}

/// Entries that one connection has.
async fn search_on(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    wanted: &[&str],
) -> Result<(Vec<User>, LdapResult), LdapError> {
    let ldap = ldap.with_search_options(SearchOptions::new().sizelimit(2));
    let found = ldap.search(base, scope, filter, wanted.to_vec()).await?;
    let result = well(found.1)?;
    let real = found.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
    Ok((real.map(|entry| user(SearchEntry::construct(entry))).collect(), result))
}

/// What a search found, or what the server says against it.
fn found((users, result): (Vec<User>, LdapResult)) -> Result<Vec<User>, String> {
    match result.rc {
        0 | SIZE_LIMIT_EXCEEDED => Ok(users),
        NO_SUCH_OBJECT => Ok(Vec::new()),
        _ => Err(told(&result)),
    }
}

/// A user's bind on one connection.
async fn bind_on(ldap: &mut Ldap, dn: &str, secret: &Secret) -> Result<LdapResult, LdapError> {
    let policy = RawControl { ctype: PASSWORD_POLICY.to_owned(), crit: false, val: None };
    well(ldap.with_controls(policy).simple_bind(dn, secret.expose()).await?)
}

/// What a bind says of the password; nothing where it says something else ("unwilling" and its like).
fn bound(result: &LdapResult) -> Option<Bound> {
    let response = result.ctrls.iter().find(|control| control.1.ctype == PASSWORD_POLICY);
    let problem = response.and_then(|control| Problem::of_policy(control.1.val.as_deref()?));
    match result.rc {
        0 => Some(problem.map_or(Bound::Right, Bound::Account)),
        INVALID_CREDENTIALS => {
            let problem = problem.or_else(|| Problem::of_active_directory(&result.text));
            Some(problem.map_or(Bound::Wrong, Bound::Account))
        }
        NO_SUCH_OBJECT | INAPPROPRIATE_AUTHENTICATION => Some(Bound::Wrong),
        _ => None,
    }
}

fn user(entry: SearchEntry) -> User {
    let attributes = entry
        .attrs
        .into_iter()
        .map(|(name, values)| (name.split(';').next().unwrap_or(&name).to_ascii_lowercase(), values));
    User { dn: entry.dn, attributes: attributes.collect(), mapped: None }
}

/// A server that says it is busy or going down is no better than one that is silent: the next one is asked.
fn well(result: LdapResult) -> Result<LdapResult, LdapError> {
    if matches!(result.rc, BUSY | UNAVAILABLE) { Err(LdapError::from(result)) } else { Ok(result) }
}

/// A result in words; the server's text may name the account, never a password.
fn told(result: &LdapResult) -> String {
    format!("result {} {}", result.rc, result.text)
}
