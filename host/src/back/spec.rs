//! A node as plain data: what a generation says of it. What lives of it is [`super::pools`]'s.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};

use super::recipe::{Choice, Recipe};
use super::urls::{self, Fitting};
use crate::config::{self, Collector, Faults, MailUrl, Protocol};
use crate::limits::Shares;
use crate::reserved::Reserved;
use crate::secret::Secret;
use crate::tls;

/// A back-end of a Snapshot.
pub struct NodeSpec {
    pub(super) config: config::Backend,
    /// `host:port`, for connecting and for the log.
    pub(super) authority: String,
    /// Where it is for itself, and the path in front of every path.
    own: urls::Own,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Digests of the files of its TLS, to tell whether they changed.
    files: Vec<Option<[u8; 32]>>,
    /// How it is logged in to.
    pub recipe: Recipe,
    /// The headers by which its recipe tells it who the user is.
    reserved: Reserved,
    /// Its mail servers.
    mail: Vec<MailSpec>,
}

/// A mail server of a node.
pub(super) struct MailSpec {
    /// What it speaks.
    pub(super) protocol: Protocol,
    /// Where it is.
    pub(super) url: MailUrl,
    /// TLS, at once or by STARTTLS.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Whether TLS begins by STARTTLS.
    pub(super) starts_tls: bool,
    /// Who logs in for each user.
    pub(super) master: Option<Arc<Master>>,
}

/// A master user, with the password.
pub(super) struct Master {
    /// The name.
    pub(super) user: String,
    /// The password.
    pub(super) password: Secret,
    /// What stands between a user's name and this one, where that is how it is told.
    pub(super) separator: Option<String>,
}

impl NodeSpec {
    /// A node of the configuration.
    ///
    /// # Errors
    /// Every fault of its URL, TLS files and recipe.
    pub fn build(config: &config::Backend, base: &Path) -> Result<Self, Faults> {
        let place = &config.place;
        let faults = Collector::default();
        let recipe = faults.keep(recipe(config, base));
        let wrong = || place.key("url").fault(format!("\"{}\"", config.url), "http://HOST:PORT/ or https://HOST:PORT/");
        let at = faults.keep(at(&config.url).ok_or_else(|| wrong().into()));
        let (secure, host, port, path) = at.unwrap_or((true, String::new(), 443, String::new()));
        if config.tls.insecure {
            tracing::warn!(backend = config.name, "the node's certificate is not checked: insecure = true");
        }
        let name = config.tls.name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
        let tls = if secure && !name.is_empty() {
            let server = ServerName::try_from(name.clone())
                .map_err(|error| place.key("tls.name").fault(error.to_string(), "a host name or address").into());
            let protocol = if config.http2 { tls::HTTP2 } else { tls::HTTP1 };
            let tls = tls::to_node(&config.tls, protocol, &place.key("tls")).map_err(Faults::from);
            faults.keep(tls).zip(faults.keep(server))
        } else {
            None
        };
        faults.finish()?;
        let Some(recipe) = recipe else { return Err(Faults::default()) };
        Ok(Self {
            authority: format!("{host}:{port}"),
            own: urls::Own::new(&host, port, config.names().chain([name.as_str()]), &path),
            tls,
            files: config
                .tls
                .files()
                .chain(config.mail.master.as_ref().map(|master| &master.password_file))
                .map(|path| digest(path))
                .collect(),
            reserved: recipe.identity_headers(),
            recipe,
            mail: mail(config)?,
            config: config.clone(),
        })
    }

    /// Its server of a mail protocol.
    pub(super) fn mail_at(&self, protocol: Protocol) -> Option<&MailSpec> {
        self.mail.iter().find(|server| server.protocol == protocol)
    }

    /// Where its mail servers are, for what is known of their health.
    pub(super) fn mail_urls(&self) -> impl Iterator<Item = (Protocol, &MailUrl)> {
        self.mail.iter().map(|server| (server.protocol, &server.url))
    }

    /// Places of mail sessions, for which nobody waits; and those of logins, how long one waits for one.
    pub(super) fn mail_places(&self) -> (Shares, Shares, Duration) {
        let (mail, queue) = (&self.config.mail, self.config.queue_max_size);
        let sessions = Shares { places: mail.max_connections, queue: 0, share: mail.max_connections };
        let logins =
            Shares { places: mail.login_max, queue, share: mail.login_max.div_ceil(4).max(2).min(mail.login_max) };
        (sessions, logins, self.config.queue_timeout)
    }

    /// Whether another one is the same node, whatever is said of it: what is known of its health holds.
    pub(super) fn is_node(&self, other: &Self) -> bool {
        self.config.url == other.config.url
    }

    /// Whether another one is reached by the same connections.
    pub(super) fn is_reached_as(&self, other: &Self) -> bool {
        let way = |spec: &Self| {
            let streams =
                spec.config.http2.then(|| spec.config.max_connections + spec.config.long_poll_max_connections);
            (spec.config.http2, streams, spec.config.proxy_protocol, spec.recipe.keep_connections)
        };
        self.is_node(other)
            && way(self) == way(other)
            && (&self.config.local_address, &self.config.tls) == (&other.config.local_address, &other.config.tls)
            && self.files == other.files
    }

    /// Its places for requests, and how long one waits for one.
    pub(super) fn places(&self) -> (Shares, Duration) {
        let config = &self.config;
        let (places, queue) = (config.max_connections, config.queue_max_size);
        (Shares { places, queue, share: config.user_share() }, config.queue_timeout)
    }

    /// Its places for long polls, for which nobody waits.
    pub(super) fn long_poll_places(&self) -> (Shares, Duration) {
        let places = self.config.long_poll_max_connections;
        (Shares { places, queue: 0, share: self.config.user_long_polls() }, Duration::ZERO)
    }

    /// Whether requests for a path are long polls.
    pub(super) fn is_long_poll(&self, path: &str) -> bool {
        let path = path.strip_prefix(self.base_path()).unwrap_or(path);
        self.config.long_poll.iter().any(|beginning| path.starts_with(beginning.as_str()))
    }

    /// As it is written.
    pub fn written(&self) -> &config::Backend {
        &self.config
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Every value of the host attribute that means it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.config.names()
    }

    /// `host:port` of its own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Its URL, as configured.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// Whether it gets the headers of common requests as they are put together: it speaks HTTP/1.1, and its recipe does
    /// nothing about them.
    pub fn takes_lines(&self) -> bool {
        !self.config.http2 && !self.recipe.touches_requests()
    }

    /// The path in front of every path.
    pub fn base_path(&self) -> &str {
        &self.own.base_path
    }

    /// Makes URLs fit: those of this node, and those of the public site that a browser asked for by this scheme and host.
    pub fn fitting<'a>(&'a self, scheme: &'a str, authority: &'a str) -> Fitting<'a> {
        Fitting::new(&self.own, scheme, authority)
    }

    /// Headers that only Doorward sends to it, besides those that it sends to no node for others.
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }
}

impl PartialEq for NodeSpec {
    fn eq(&self, other: &Self) -> bool {
        self.config.is_same(&other.config) && self.recipe == other.recipe && self.files == other.files
    }
}

impl std::fmt::Debug for NodeSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeSpec").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What a URL says of a node: whether by TLS, host, port and path.
fn at(url: &str) -> Option<(bool, String, u16, String)> {
    let url: Uri = url.parse().ok()?;
    let secure = match url.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    // No user stands before the host, and what stands behind it is a port that there is.
    let port = match url.authority()?.as_str().strip_prefix(url.host()?)?.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if secure => 443,
        None => 80,
    };
    Some((secure, url.host()?.to_owned(), port, url.path().to_owned()))
}

/// The mail servers that a node has. Their certificates have the name of the URL's host, or the one that is set.
fn mail(config: &config::Backend) -> Result<Vec<MailSpec>, Faults> {
    let (mut servers, master) = (Vec::new(), master(config)?);
    let all = [
        (Protocol::Imap, tls::IMAP),
        (Protocol::Pop3, tls::POP3),
        (Protocol::Sieve, tls::SIEVE),
        (Protocol::Submission, tls::SMTP),
    ];
    for (protocol, alpn) in all {
        let Some(url) = config.mail.at(protocol) else { continue };
        let starts_tls = !url.is_tls && config.mail.start_tls;
        let tls = if url.is_tls || starts_tls {
            let name = config.tls.name.clone().unwrap_or_else(|| url.host.clone());
            let wrong = |error: rustls::pki_types::InvalidDnsNameError| {
                config.place.key(protocol.name()).fault(error.to_string(), "a host name or address")
            };
            let name = ServerName::try_from(name).map_err(wrong)?;
            Some((tls::to_node(&config.tls, alpn, &config.place.key("tls"))?, name))
        } else {
            None
        };
        servers.push(MailSpec { protocol, url: url.clone(), tls, starts_tls, master: master.clone() });
    }
    Ok(servers)
}

fn master(config: &config::Backend) -> Result<Option<Arc<Master>>, Faults> {
    let Some(config::MasterUser { user, password_file, separator }) = &config.mail.master else { return Ok(None) };
    let read = std::fs::read_to_string(password_file).map(zeroize::Zeroizing::new);
    let password = read.map_err(|error| {
        let found = format!("{}: {error}", password_file.display());
        config.place.key("mail-master-password-file").fault(found, "a readable file with the password")
    })?;
    let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
    Ok(Some(Arc::new(Master { user: user.clone(), password, separator: separator.clone() })))
}

/// The digest of a file, which may be a key; none of one that cannot be read.
fn digest(path: &Path) -> Option<[u8; 32]> {
    Some(Sha256::digest(zeroize::Zeroizing::new(std::fs::read(path).ok()?)).into())
}

/// The recipe of a node, with its settings and its secret.
fn recipe(config: &config::Backend, base: &Path) -> Result<Recipe, Faults> {
    let place = &config.place;
    let secret = match &config.recipe_secret_file {
        None => None,
        Some(path) => {
            let wrong = |found: String| place.key("recipe-secret-file").fault(found, "a readable file with the secret");
            let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            // The line end of an editor is no part of it.
            let text = zeroize::Zeroizing::new(text);
            let text = text.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                return Err(wrong(format!("{}: an empty file", path.display())).into());
            }
            Some(Secret::new(text.to_owned()))
        }
    };
    let choice = Choice { name: &config.recipe, settings: &config.recipe_settings, secret: secret.as_ref() };
    Recipe::load(choice, base, place)
}
