//! `[[backend]]`: a node as the operator wrote it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mail::{self, NodeMail};
use super::network::ProxyProtocol;
use super::{Place, Table};

/// `[[backend]]`: a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What the host attribute says.
    pub name: String,
    /// Other values of the host attribute that mean this node.
    pub aliases: Vec<String>,
    /// `http` or `https`, host, port and base path.
    pub url: String,
    /// How it is logged in to: a built-in recipe's name or a file.
    pub recipe: String,
    /// Settings of the recipe, over its own.
    pub recipe_settings: BTreeMap<String, String>,
    /// A file with what the recipe shares with the node: a header's secret, or the key of a signature.
    pub recipe_secret_file: Option<PathBuf>,
    /// Parallel requests (the original's `connectionData.maxConnections`).
    pub max_connections: usize,
    /// Parallel requests of one user, those in the queue included; none means a quarter of all, and at least two.
    pub user_max_connections: Option<usize>,
    /// Waiting requests (the original's `requestsQueueMaxSize`).
    pub queue_max_size: usize,
    /// How long a request may wait.
    pub queue_timeout: Duration,
    /// Paths, by their beginnings, whose requests are long polls.
    pub long_poll: Vec<String>,
    /// Parallel long polls. They do not count as requests, and none waits.
    pub long_poll_max_connections: usize,
    /// How long the node may be silent while it answers one.
    pub long_poll_timeout: Duration,
    /// Deadline of connecting, TLS included.
    pub connect_timeout: Duration,
    /// How long the node may be silent (the original's `rwTimeout`).
    pub rw_timeout: Duration,
    /// Source addresses of connections, at most one of each family (the original's `localInterface`).
    pub local_address: Vec<IpAddr>,
    /// Whether it is spoken to in HTTP/2.
    pub http2: bool,
    /// The PROXY header that connections to it begin with; none when missing.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `[backend.tls]`.
    pub tls: Tls,
    /// `[backend.health]`.
    pub health: Health,
    /// How long the parallel requests take to grow to their limit when the node is back.
    pub slow_start: Duration,
    /// Takes no new logins.
    pub drain: bool,
    /// Its mail servers.
    pub mail: NodeMail,
    /// Where it stands.
    pub place: Place,
}

/// `[backend.health]`: when a node is down, and when it is up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked for; none means no probes.
    pub path: Option<String>,
    /// How often it is asked for.
    pub interval: Duration,
    /// How long a probe may take, connecting included.
    pub timeout: Duration,
    /// So many good probes in a row bring the node up.
    pub rise: u32,
    /// So many bad probes in a row mark it down.
    pub fall: u32,
    /// Statuses that are good.
    pub status: Vec<u64>,
    /// So many failed connects in a row mark it down ...
    pub failures: u32,
    /// ... within this time.
    pub window: Duration,
    /// The first pause before a request tries it again; each one after it is twice as long.
    pub pause: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            status: vec![200],
            failures: 3,
            window: Duration::from_secs(10),
            pause: Duration::from_secs(1),
        }
    }
}

/// `[backend.tls]`: trust in a node, and what it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// CA certificates (PEM) to trust; the system's when missing.
    pub ca: Option<PathBuf>,
    /// Name the node's certificate must have; the URL's host when missing.
    pub name: Option<String>,
    /// No check of the node's certificate at all. Loudly logged.
    pub insecure: bool,
    /// TLS 1.3 and nothing older.
    pub only_1_3: bool,
    /// Client certificate (PEM) that the node is shown.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
}

impl Tls {
    /// The files it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(&self.certificate).chain(&self.key)
    }
}

impl Backend {
    /// Every value of the host attribute that means this node.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    /// Where each of these is written.
    pub(super) fn places_of_names(&self) -> impl Iterator<Item = Place> {
        let alias = |index| self.place.key(&format!("aliases[{index}]"));
        std::iter::once(self.place.key("name")).chain((0..self.aliases.len()).map(alias))
    }

    /// So many of `max-connections` one user may have.
    pub fn user_share(&self) -> usize {
        self.user_max_connections.unwrap_or_else(|| quarter(self.max_connections)).min(self.max_connections)
    }

    /// So many of `long-poll-max-connections` one user may have.
    pub fn user_long_polls(&self) -> usize {
        quarter(self.long_poll_max_connections)
    }

    /// Whether both mean the same node in the same way, wherever they stand.
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { place: self.place.clone(), ..other.clone() }
    }
}

/// What one user may have where nothing is set. Two at least: where there is next to no room, a slow request should not
/// stop the page that made it.
fn quarter(places: usize) -> usize {
    places.div_ceil(4).max(2).min(places)
}

pub(super) fn backend(t: &Table<'_>, base: &Path) -> Backend {
    let http2 = t.choice("http", &[("1.1", false), ("2", true)]).unwrap_or(false);
    let versions = [("off", None), ("v1", Some(ProxyProtocol::V1)), ("v2", Some(ProxyProtocol::V2))];
    let proxy_protocol = t.choice("proxy-protocol", &versions).flatten();
    if http2 && proxy_protocol.is_some() {
        let found = "a PROXY header, which names one client, for connections that clients share";
        t.fault("proxy-protocol", found, "\"off\" beside http = \"2\"");
    }
    Backend {
        name: t.required("name"),
        aliases: t.texts("aliases"),
        url: t.required("url"),
        recipe: t.required("recipe"),
        recipe_settings: t
            .table("recipe-settings", |t| {
                t.keys().into_iter().map(|key| (key.clone(), t.text(&key).unwrap_or_default())).collect()
            })
            .unwrap_or_default(),
        recipe_secret_file: t.text("recipe-secret-file").map(|path| base.join(path)),
        max_connections: t.places("max-connections", 64, 1..=65_535),
        user_max_connections: t.has("user-max-connections").then(|| t.places("user-max-connections", 16, 1..=65_535)),
        queue_max_size: t.places("queue-max-size", 64, 0..=65_535),
        queue_timeout: t.duration_or_none("queue-timeout", Duration::from_secs(30)),
        long_poll: long_poll(t),
        // A poll that waits costs a socket on each side and nothing else; these many fit under common limits of open
        // files.
        long_poll_max_connections: t.places("long-poll-max-connections", 1000, 1..=65_535),
        // The longest heartbeat of ActiveSync is 59 minutes ([MS-ASCMD], section 2.2.3.79).
        long_poll_timeout: t.duration("long-poll-timeout", Duration::from_secs(3600)),
        connect_timeout: t.duration("connect-timeout", Duration::from_secs(5)),
        rw_timeout: t.duration("rw-timeout", Duration::from_secs(400)),
        local_address: local_address(t),
        http2,
        proxy_protocol,
        tls: t.table("tls", |t| tls(t, base)).unwrap_or_default(),
        health: t.table("health", health).unwrap_or_default(),
        slow_start: t.duration_or_none("slow-start", Duration::ZERO),
        drain: t.flag("drain", false),
        mail: mail::of_backend(t, base),
        place: t.place(),
    }
}

fn long_poll(t: &Table<'_>) -> Vec<String> {
    let paths = t.texts("long-poll");
    for path in paths.iter().filter(|path| !path.starts_with('/')) {
        t.fault("long-poll", format!("\"{path}\""), "a list of paths, such as \"/Microsoft-Server-ActiveSync\"");
    }
    paths
}

fn local_address(t: &Table<'_>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in t.texts("local-address") {
        match text.parse::<IpAddr>() {
            Ok(address) if addresses.iter().all(|known| known.is_ipv4() != address.is_ipv4()) => {
                addresses.push(address);
            }
            _ => {
                let expected = "an IPv4 address, an IPv6 address, or a list of one of each";
                t.fault("local-address", format!("\"{text}\""), expected);
            }
        }
    }
    addresses
}

fn health(t: &Table<'_>) -> Health {
    let default = Health::default();
    let path = t.parsed("path", "a path that begins with \"/\"", |path| {
        (path.starts_with('/') && path.parse::<hyper::Uri>().is_ok()).then(|| path.to_owned())
    });
    let times =
        |key: &str, default: u32| u32::try_from(t.count(key, u64::from(default), 1..=1_000_000)).unwrap_or(default);
    let interval = t.duration("interval", default.interval);
    if interval < Duration::from_millis(100) {
        t.fault("interval", format!("{interval:?}"), "at least 100ms");
    }
    let status = t.counts("status", 100..=599);
    Health {
        path,
        interval,
        timeout: t.duration("timeout", default.timeout),
        rise: times("rise", default.rise),
        fall: times("fall", default.fall),
        status: if status.is_empty() { default.status } else { status },
        failures: times("failures", default.failures),
        window: t.duration("window", default.window),
        pause: t.duration_or_none("pause", default.pause),
    }
}

fn tls(t: &Table<'_>, base: &Path) -> Tls {
    let (certificate, key) = (t.text("certificate"), t.text("key"));
    for (there, missing) in [("certificate", "key"), ("key", "certificate")] {
        if t.has(there) && !t.has(missing) {
            t.fault(missing, "nothing", format!("a PEM file, since there is a {there}"));
        }
    }
    Tls {
        ca: t.text("ca").map(|path| base.join(path)),
        name: t.text("name"),
        insecure: t.flag("insecure", false),
        only_1_3: t.choice("min-version", &[("1.2", false), ("1.3", true)]).unwrap_or(false),
        certificate: certificate.map(|path| base.join(path)),
        key: key.map(|path| base.join(path)),
    }
}
