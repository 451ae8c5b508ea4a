//! Where requests go: nodes, connections to them, and the login by recipe.

mod connect;
mod forward;
pub mod headers;
mod html;
mod login;
mod recipe;
mod tunnel;
mod unsent;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

pub use connect::Idle;
pub use forward::{NodeBody, Outgoing, forward};
pub use login::{Answered, LoggedIn, LoginError, log_in};
pub use recipe::Recipe;
pub use tunnel::Tunnel;

use crate::config::{self, Faults};
use crate::limits::Gate;
use crate::tls;

/// A back-end of a Snapshot. Taken over by the next Snapshot when nothing of it changed, so that its queue and its
/// connections outlive a reload.
#[derive(Debug)]
pub struct Node {
    id: u64,
    config: config::Backend,
    /// `host:port`, for connecting and for the log.
    authority: String,
    /// Path in front of every path, without a final `/`; usually empty.
    base_path: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The CA file's bytes, to tell whether it changed.
    ca: Option<Vec<u8>>,
    /// How it is logged in to.
    pub recipe: Recipe,
    gate: Gate,
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
        if config.insecure {
            tracing::warn!(backend = config.name, "the node's certificate is not checked: insecure = true");
        }
        let name = config.tls_name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
        let tls = if secure {
            let name = ServerName::try_from(name)
                .map_err(|error| place.key("tls.name").fault(error.to_string(), "a host name or address"))?;
            Some((tls::client(config.ca.as_deref(), config.insecure, &place.key("tls"))?, name))
        } else {
            None
        };
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            authority: format!("{host}:{port}"),
            base_path: url.path().trim_end_matches('/').to_owned(),
            tls,
            ca: config.ca.as_ref().and_then(|path| std::fs::read(path).ok()),
            recipe: Recipe::load(&config.recipe, base, place)?,
            gate: Gate::new(config.max_connections, config.queue_max_size, config.queue_timeout),
            config: config.clone(),
        })
    }

    /// Whether another Snapshot's node is this one, to the last setting.
    pub fn is_same(&self, other: &Self) -> bool {
        let of = |node: &Self| {
            let config = &node.config;
            (
                (
                    config.name.clone(),
                    config.url.clone(),
                    config.local_address,
                    config.ca.clone(),
                    config.tls_name.clone(),
                ),
                (config.max_connections, config.queue_max_size, config.queue_timeout),
                (config.connect_timeout, config.rw_timeout, config.insecure, config.aliases.clone()),
            )
        };
        of(self) == of(other) && self.recipe == other.recipe && self.ca == other.ca
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

    /// The path in front of every path.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }
}
