//! Where requests go: nodes, connections to them, and the login by recipe.

mod body;
mod connect;
pub mod connection_auth;
mod dialogue;
mod forward;
mod health;
pub mod headers;
mod http1;
mod jar;
mod login;
mod masked;
mod peek;
mod pinned;
mod probe;
mod proxy_header;
mod recipe;
mod request;
mod timers;
mod tunnel;
mod urls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

pub use body::{NodeBody, Outbound, Outgoing};
pub use connect::Idle;
pub use dialogue::{ByRecipe, Dialogue};
pub use forward::{Hop, NodeAnswer, forward};
pub use health::Told;
pub use login::{Event, LoggedIn, LoginError, Pending, Person, Visitor, Watcher, equip, log_out};
pub use peek::{beginning, narrow_encoding};
pub use pinned::{ClientConnection, Owner};
pub use probe::watch_over;
pub use recipe::{Answered, BUILT_IN, Choice, Recipe};
pub use tunnel::Tunnel;
pub use urls::Fitting;

use crate::config::{self, Faults};
use crate::limits::{Gate, Shares};
use crate::reserved::Reserved;
use crate::secret::Secret;
use crate::tls;
use health::{Health, Turn};

/// A back-end of a Snapshot. Taken over by the next Snapshot when nothing of it changed, so that its queue and its
/// connections outlive a reload.
#[derive(Debug)]
pub struct Node {
    id: u64,
    config: config::Backend,
    /// `host:port`, for connecting and for the log.
    authority: String,
    /// Where it is for itself, and the path in front of every path.
    own: urls::Own,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The bytes of the files of its TLS, to tell whether they changed.
    files: Vec<Option<Vec<u8>>>,
    /// How it is logged in to.
    pub recipe: Recipe,
    /// The headers by which its recipe tells it who the user is.
    reserved: Reserved,
    gate: Gate,
    /// Long polls have places of their own, and none waits: those inside stay there for minutes.
    long_polls: Gate,
    health: Health,
}

/// Identities of nodes, so that a worker knows whose connections it keeps.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Node {
    /// A node of the configuration.
    ///
    /// # Errors
    /// Every fault of its URL, TLS files and recipe.
    pub fn build(config: &config::Backend, base: &std::path::Path) -> Result<Self, Faults> {
        let place = &config.place;
        let wrong = || place.key("url").fault(format!("\"{}\"", config.url), "http://HOST:PORT/ or https://HOST:PORT/");
        let url: Uri = config.url.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(host)) = (url.scheme_str(), url.host()) else { return Err(wrong().into()) };
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong().into()),
        };
        if config.tls.insecure {
            tracing::warn!(backend = config.name, "the node's certificate is not checked: insecure = true");
        }
        let name = config.tls.name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
        let tls = if secure {
            let name = ServerName::try_from(name.clone())
                .map_err(|error| place.key("tls.name").fault(error.to_string(), "a host name or address"))?;
            let protocol = if config.http2 { tls::HTTP2 } else { tls::HTTP1 };
            Some((tls::to_node(&config.tls, protocol, &place.key("tls"))?, name))
        } else {
            None
        };
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let recipe = recipe(config, base)?;
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            authority: format!("{host}:{port}"),
            own: urls::Own::new(host, port, config.names().chain([name.as_str()]), url.path()),
            tls,
            files: config.tls.files().map(|path| std::fs::read(path).ok()).collect(),
            reserved: recipe.identity_headers(),
            recipe,
            gate: gate(config),
            health: Health::new(config.health.clone()),
            long_polls: long_polls(config),
            config: config.clone(),
        })
    }

    /// Whether another Snapshot's node is this one, to the last setting.
    pub fn is_same(&self, other: &Self) -> bool {
        self.config.is_same(&other.config) && self.recipe == other.recipe && self.files == other.files
    }

    /// The gate that a request goes through, and how long the node may be silent about it.
    fn lane(&self, path: &str) -> (&Gate, Duration) {
        let path = path.strip_prefix(self.base_path()).unwrap_or(path);
        if self.config.long_poll.iter().any(|beginning| path.starts_with(beginning.as_str())) {
            (&self.long_polls, self.config.long_poll_timeout)
        } else {
            (&self.gate, self.config.rw_timeout)
        }
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

    /// How it is.
    pub fn told(&self) -> Told {
        self.health.told()
    }

    /// Requests that it is answering, requests that wait, and long polls.
    pub fn load(&self) -> [usize; 3] {
        [self.gate.inside(), self.gate.waiting(), self.long_polls.inside()]
    }

    /// It took a connection, or gave an answer on a kept one.
    fn is_reached(&self) {
        if self.health.is_troubled() {
            self.turned(self.health.reached(Instant::now()), "");
        }
    }

    /// Says in the log that it went down or came up. In the first case nobody waits for it any more, in the second it
    /// begins slowly.
    fn turned(&self, turn: Turn, why: &str) {
        match turn {
            Turn::Same => {}
            Turn::Down => {
                self.gate.send_away();
                tracing::error!(backend = self.name(), address = self.authority, why, "a node is down");
            }
            Turn::Up(after) => {
                self.gate.start_slowly(self.config.slow_start);
                let seconds = after.as_secs();
                tracing::warn!(backend = self.name(), address = self.authority, seconds, "a node is up again");
            }
        }
    }
}

fn gate(config: &config::Backend) -> Gate {
    let (places, queue) = (config.max_connections, config.queue_max_size);
    Gate::new(Shares { places, queue, share: config.user_share() }, config.queue_timeout)
}

fn long_polls(config: &config::Backend) -> Gate {
    let places = config.long_poll_max_connections;
    Gate::new(Shares { places, queue: 0, share: config.user_long_polls() }, Duration::ZERO)
}

/// The recipe of a node, with its settings and its secret.
fn recipe(config: &config::Backend, base: &std::path::Path) -> Result<Recipe, Faults> {
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
