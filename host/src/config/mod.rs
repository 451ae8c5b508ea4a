//! The configuration as the operator wrote it: every key, every default, and all faults at once.
//!
//! Invariants: a `Config` has passed every check that needs no other file than the lock file; what needs one (certificates, policies,
//! recipes, templates) is checked when the Snapshot is built, and reported with the place kept here.

mod admin;
mod backend;
mod cluster;
mod directory;
mod fault;
mod fixed;
mod forwarding;
mod link;
mod listener;
mod log;
mod mail;
mod mail_login;
mod network;
mod parts;
mod policy;
mod reader;
mod registry;
mod session;
mod site;
#[cfg(test)]
mod tests;
mod traces;
pub mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use admin::Admin;
pub use backend::{Backend, Health, Tls};
pub use cluster::{Cluster, Sentinel, WhenAway};
pub use directory::{Directory, DirectoryKind, Ldap, Routes};
pub use doorward_vectors::{Question, nearest};
pub use fault::{Collector, Fault, Faults, Place, Severity, Source};
pub use fixed::Fixed;
pub use forwarding::{Forwarding, Style};
pub use listener::{
    Address, Certificate, ClientAuth, Flow, Limits, Listener, ListenerTls, Protocol, Proxied, ProxyHeader,
};
pub use log::{Level, Log, LogFormat, LogKind, LogKinds, LogTarget, LogTo, Masking};
pub use mail::{ClientAddress, Mail, MailUrl, NodeMail};
pub use mail_login::{MasterUser, Token, Tokens};
pub use network::{Network, Networks, ProxyProtocol, prefix};
pub use parts::Part;
pub use policy::{GRANTS, is_compile_time};
pub use reader::{Table, read, read_anyway};
pub use registry::{Locked, Provenance, Registry, Remote, Trust, read_lock, store_in};
pub use session::{Session, Throttle};
use session::{authentication, default_session, session};
pub use site::{Link, SharedComputer, Site, Wording};
pub use traces::Traces;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file's folder: what relative paths in it start from.
    pub base: PathBuf,
    /// The place of the file itself.
    pub place: Place,
    /// Worker threads.
    pub threads: Threads,
    /// `[log]`.
    pub log: Log,
    /// How long it goes on as before when it is to stop, but for what it tells balancers.
    pub drain_delay: Duration,
    /// How long requests may take to finish when Doorward stops.
    pub drain_timeout: Duration,
    /// A folder of our own: compiled policies, and what must outlive a restart.
    pub state_directory: Option<PathBuf>,
    /// `[admin]`.
    pub admin: Admin,
    /// `[cluster]`.
    pub cluster: Option<Cluster>,
    /// `[traces]`.
    pub traces: Option<Traces>,
    /// `[[listener]]`.
    pub listeners: Vec<Listener>,
    /// `[tls] ticket-key-file`: keys of session tickets that several front doors share.
    pub ticket_key_file: Option<PathBuf>,
    /// `[limits]`: what holds for all connections.
    pub flow: Flow,
    /// `[limits.NAME]`: the classes that an access policy may pick.
    pub classes: BTreeMap<String, Limits>,
    /// `[http]`.
    pub http: Http,
    /// `[mail]`.
    pub mail: Mail,
    /// Who a request is from: keys of `[http]` too.
    pub forwarding: Forwarding,
    /// `[registry]`.
    pub registry: Registry,
    /// `[[policy]]`, in order.
    pub policies: Vec<Policy>,
    /// Folder of page templates; the built-in looks when missing.
    pub templates: Option<PathBuf>,
    /// Folder of texts in more languages, or other words.
    pub languages: Option<PathBuf>,
    /// Tag of the language for those who ask for none that there is.
    pub default_language: String,
    /// `[directory]`.
    pub directory: Directory,
    /// `[authentication]`.
    pub authentication: Authentication,
    /// `[session]`.
    pub session: Session,
    /// `[[backend]]`.
    pub backends: Vec<Backend>,
    /// The back-ends of users whose entry names none: the first that takes logins.
    pub default_backends: Vec<String>,
    /// `[[site]]`.
    pub sites: Vec<Site>,
    /// What is taken as it is written, and hardly meant.
    pub warnings: Vec<Fault>,
}

/// `[threads]`: the original's `minConnThreads` and `maxConnThreads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// Workers that are always there.
    pub min: usize,
    /// The most workers there may be.
    pub max: usize,
    /// All workers busy for so long: one more.
    pub grow_after: Duration,
    /// Workers idle for so long: one fewer.
    pub shrink_after: Duration,
}

/// `[http]`: the original's `httpHeadersMaxSize`, `httpBodyMaxSize`, `uploadMaxSize`, `allowLargeIncomingData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The target of a request, in bytes.
    pub uri_max_size: u64,
    /// All headers of a request, in bytes.
    pub headers_max_size: u64,
    /// The number of headers of a request.
    pub headers_max_count: u64,
    /// The body of a form of ours, in bytes: what comes without a session.
    pub body_max_size: u64,
    /// The body of a request with a session, in bytes.
    pub upload_max_size: u64,
    /// Over a limit: `false` answers and closes, `true` reads the rest first.
    pub allow_large_incoming_data: bool,
    /// How long the headers of a request may take.
    pub header_timeout: Duration,
    /// How long a client may send nothing of a body.
    pub body_timeout: Duration,
    /// Bytes a second that a body must have on the whole; 0 is any.
    pub body_min_rate: u64,
    /// Bytes a second of a node's answer that a client must take on the whole; 0 is any.
    pub answer_min_rate: u64,
    /// The same for both of whoever takes a place at a node that others wait for.
    pub scarce_min_rate: u64,
    /// Memory for what is read before it is wanted.
    pub read_ahead: ReadAhead,
    /// Beginnings of paths below which a name may have an encoded slash.
    pub encoded_slashes: Vec<String>,
    /// Folder of the answers to certificate challenges.
    pub acme_challenge_directory: Option<PathBuf>,
    /// Protocols that a connection may change to.
    pub upgrades: Arc<[Box<str>]>,
    /// How long nothing may move once it has.
    pub tunnel_idle_timeout: Duration,
}

/// `[http]`: how many bytes may be read before they are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAhead {
    /// Of one body.
    pub each: u64,
    /// Of all bodies of a user.
    pub user: u64,
    /// In all.
    pub total: u64,
}

/// What the limit of a login form is called, where no key of the configuration is smaller.
pub const LOGIN_FORM: &str = "login-form";

impl Http {
    /// The limit of a request with a session, whatever it sends: a draft, an attachment, an import. An operator who wrote a
    /// larger one for all bodies meant these too.
    pub fn session_body(&self) -> (&'static str, u64) {
        if self.body_max_size > self.upload_max_size {
            ("body-max-size", self.body_max_size)
        } else {
            ("upload-max-size", self.upload_max_size)
        }
    }

    /// The limit of a login form, which needs no more than `plenty`.
    pub fn login_form(&self, plenty: u64) -> (&'static str, u64) {
        if self.body_max_size < plenty { ("body-max-size", self.body_max_size) } else { (LOGIN_FORM, plenty) }
    }
}

/// `[[policy]]`.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name; a built-in policy's when no file is given.
    pub name: String,
    /// The component file; none means built in.
    pub file: Option<PathBuf>,
    /// Where it comes from, where that is a registry; then `file` is where it is kept.
    pub remote: Option<Remote>,
    /// The question it answers.
    pub asks: Question,
    /// `sha256:…` that the component must have.
    pub digest: Option<String>,
    /// What holds when it fails.
    pub on_error: OnError,
    /// Memory cap in bytes.
    pub memory: u64,
    /// Time cap of a call.
    pub time: Duration,
    /// CPU time that compiling it may take; none: what a component of its size may take.
    pub compile_time: Option<Duration>,
    /// Memory that compiling it may take, in bytes; none: what a component of its size may take.
    pub compile_memory: Option<u64>,
    /// Bytes of remembered decisions on each worker; 0 remembers none.
    pub memo: u64,
    /// Whether an instance is used again.
    pub instances: Instances,
    /// Which of its decisions are recorded.
    pub recording: Recording,
    /// When it is left alone.
    pub breaker: Breaker,
    /// What it may import; what its question gives, when missing.
    pub grants: Option<Vec<String>>,
    /// Listeners that it is asked at; all when empty.
    pub listeners: Vec<String>,
    /// First names of the virtual hosts that it is asked for; all when empty.
    pub sites: Vec<String>,
    /// A candidate that is asked the same.
    pub shadow: Option<PathBuf>,
    /// Files that it may ask by name whether they have a value.
    pub lists: Vec<(String, PathBuf)>,
    /// Its settings, as JSON.
    pub settings: serde_json::Value,
    /// Where it stands.
    pub place: Place,
}

/// Whether an instance of a policy is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One for each worker, kept warm.
    Warm,
    /// A new one for each question that the memory does not answer.
    Fresh,
}

/// Which decisions are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// None.
    Off,
    /// One of some, and every refusal and failure.
    Sampled,
    /// All.
    Full,
}

/// `[policy.breaker]`: when a policy is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// So many failures open it ...
    pub failures: u32,
    /// ... within this time.
    pub window: Duration,
    /// The first pause; each one after it is twice as long.
    pub pause: Duration,
    /// A policy that goes bad so soon after it went live is rolled back.
    pub watch: Duration,
}

/// What holds when a policy traps, loops or lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The client is refused.
    Deny,
    /// The client is let in.
    Allow,
    /// The built-in answer.
    Default,
}

/// `[authentication]`.
#[derive(Debug, Clone)]
pub struct Authentication {
    /// How a login is checked when no policy says.
    pub mode: Mode,
    /// What guessing of passwords meets.
    pub throttle: Throttle,
}

/// How a login is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bind to the directory as the user.
    LdapBind,
    /// Compare with the password attribute.
    LdapPassword,
    /// Ask the back-end.
    BackEnd,
}

impl Mode {
    /// Its name, for the operator and the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::LdapBind => "ldap-bind",
            Self::LdapPassword => "ldap-password",
            Self::BackEnd => "back-end",
        }
    }
}

/// Reads a configuration file.
///
/// # Errors
/// Every fault found, each with its place.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let source = Arc::new(Source::new(path, text_of(path)?));
    parse(&source, path.parent().unwrap_or(Path::new(".")))
}

/// Reads a configuration file, and what could be read of it in spite of its faults.
///
/// # Errors
/// The file itself cannot be read.
pub fn load_anyway(path: &Path) -> Result<(Config, Faults), Faults> {
    Ok(parse_anyway(path, text_of(path)?))
}

/// Reads the text that a configuration file has, or could have, in spite of its faults.
pub fn parse_anyway(path: &Path, text: String) -> (Config, Faults) {
    let source = Arc::new(Source::new(path, text));
    let base = path.parent().unwrap_or(Path::new("."));
    let (mut config, faults) = read_anyway(&source, |table| root(table, base));
    let (warnings, faults) =
        faults.map_or_else(|faults| (Vec::new(), faults), |warnings| (warnings, Faults::default()));
    config.warnings = warnings;
    (config, faults)
}

/// The text of a configuration file.
///
/// # Errors
/// That it cannot be read, as a fault of the whole file.
pub fn text_of(path: &Path) -> Result<String, Faults> {
    std::fs::read_to_string(path).map_err(|error| {
        let source = Arc::new(Source::new(path, ""));
        Place::whole(&source).fault(error.to_string(), "a readable file").into()
    })
}

/// Reads a configuration from its text; relative paths start from `base`.
///
/// # Errors
/// Every fault found, each with its place.
pub fn parse(source: &Arc<Source>, base: &Path) -> Result<Config, Faults> {
    let (mut config, faults) = read_anyway(source, |table| root(table, base));
    config.warnings = faults?;
    Ok(config)
}

fn root(t: &Table<'_>, base: &Path) -> Config {
    let (flow, classes) = t.table("limits", listener::flow).unwrap_or_default();
    let of_http = t.table("http", |t| (http(t, base), forwarding::forwarding(t)));
    let (http, forwarding) = of_http.unwrap_or_else(|| (default_http(), Forwarding::default()));
    let config = Config {
        base: base.to_owned(),
        place: t.place(),
        threads: t.table("threads", threads).unwrap_or_else(default_threads),
        log: t.table("log", |t| log::log(t, base)).unwrap_or_else(|| log::default(t.place())),
        drain_delay: t.duration_or_none("drain-delay", Duration::ZERO),
        drain_timeout: t.duration_or_none("drain-timeout", Duration::from_secs(30)),
        state_directory: t.text("state-directory").map(|path| base.join(path)),
        cluster: t.table("cluster", |t| cluster::cluster(t, base)),
        traces: t.table("traces", |t| traces::traces(t, base)).flatten(),
        admin: t.table("admin", |t| admin::admin(t, base)).unwrap_or_else(|| Admin::none(t.place())),
        listeners: t.tables("listener", |t| listener::listener(t, base)),
        ticket_key_file: t.table("tls", |t| t.text("ticket-key-file").map(|path| base.join(path))).flatten(),
        flow,
        classes: classes.into_iter().collect(),
        http,
        mail: t.table("mail", mail::mail).unwrap_or_default(),
        forwarding,
        registry: t.table("registry", |t| registry::registry(t, base)).unwrap_or_else(|| Registry::none(t.place())),
        policies: t.tables("policy", |t| policy::policy(t, base)),
        templates: t.text("templates").map(|path| base.join(path)),
        languages: t.text("languages").map(|path| base.join(path)),
        default_language: t.text("default-language").unwrap_or_else(|| "en".to_owned()),
        directory: t
            .table("directory", |t| directory::directory(t, base))
            .unwrap_or_else(|| directory::default(t.place())),
        authentication: t
            .table("authentication", authentication)
            .unwrap_or(Authentication { mode: Mode::LdapBind, throttle: Throttle::default() }),
        session: t.table("session", |t| session(t, base)).unwrap_or_else(|| default_session(t.place())),
        backends: t.tables("backend", |t| backend::backend(t, base)),
        default_backends: t.texts("default-backend"),
        sites: t.tables("site", |t| site::site(t, base)),
        warnings: Vec::new(),
    };
    log::originals(t);
    check_whole(t, &config);
    let mut config = policy::bind(t, config);
    let (lock, state) = (config.lock_file(), config.state_directory.clone());
    let remotes = config.policies.iter_mut().filter_map(|policy| Some((policy.remote.as_mut()?, &mut policy.file)));
    registry::lock(t, &lock, state.as_deref(), remotes);
    config
}

/// What no single table can know.
fn check_whole(t: &Table<'_>, config: &Config) {
    for (key, empty) in [
        ("listener", config.listeners.is_empty()),
        ("backend", config.backends.is_empty()),
        ("site", config.sites.is_empty()),
    ] {
        if empty && !t.has(key) {
            t.fault(key, "nothing", format!("at least one [[{key}]]"));
        }
    }
    // A redirect to whatever a Host says would send people wherever a link likes.
    let named = config.sites.iter().flat_map(|site| &site.hosts).any(|host| host != "*");
    for listener in config.listeners.iter().filter(|listener| listener.redirect_to_https.is_some() && !named) {
        let place = listener.place.key("redirect-to-https");
        t.collector().add(place.fault("no site with a name", "a site with a host name to redirect to"));
    }
    for listener in &config.listeners {
        let hosts = config.sites.iter().flat_map(|site| site.hosts.iter().map(String::as_str));
        if let Some(site) = listener.site.as_ref().filter(|site| !hosts.clone().any(|host| host == *site)) {
            t.collector().add(listener.place.key("site").unknown(site, "a host of a site", hosts));
        }
    }
    unique(t, config.listeners.iter().map(|l| (l.name.as_str(), l.place.key("name"))));
    unique(t, config.policies.iter().map(|p| (p.name.as_str(), p.place.key("name"))));
    unique(t, config.backends.iter().flat_map(|b| std::iter::zip(b.names(), b.places_of_names())));
    unique(t, config.sites.iter().flat_map(|s| s.hosts.iter().map(|host| (host.as_str(), s.place.key("hosts")))));
    for (index, listener) in config.listeners.iter().enumerate() {
        if let Some(earlier) = config.listeners.iter().take(index).find(|earlier| earlier.is_in_the_way_of(listener)) {
            let found = format!("{}, where the listener \"{}\" listens", listener.address, earlier.name);
            t.collector().add(listener.place.key("address").fault(found, "an address that no other listener has"));
        }
        if let Some(admin) = config.admin.listener.as_ref().filter(|admin| admin.is_in_the_way_of(listener)) {
            let found = format!("{}, where the listener \"{}\" listens", admin.address, listener.name);
            t.collector().add(admin.place.key("address").fault(found, "an address of its own"));
        }
    }
    for backend in &config.backends {
        for (key, url) in backend.mail.servers() {
            if let Some(own) = config.listeners.iter().find(|listener| listener.is_at(&url.host, url.port)) {
                let found = format!("{}, where the listener \"{}\" listens", url.authority(), own.name);
                t.collector().add(backend.place.key(key).fault(found, "a mail server, and not Doorward itself"));
            }
        }
    }
    check_cluster(t, config);
    let is_known = |name: &&String| config.backends.iter().any(|backend| backend.names().any(|known| known == *name));
    for name in config.default_backends.iter().filter(|name| !is_known(name)) {
        let place = t.place_of("default-backend");
        t.collector().add(place.unknown(name, "a back-end", config.backends.iter().flat_map(Backend::names)));
    }
}

/// What doors of a cluster must have besides: keys that are the same at all of them, and ended sessions over a restart.
fn check_cluster(t: &Table<'_>, config: &Config) {
    if config.cluster.is_none() {
        return;
    }
    let session = &config.session;
    for (key, file, why) in [
        ("key-file", &session.key_file, "a file of keys that all doors of the cluster have"),
        (
            "revocations-file",
            &session.revocations_file,
            "a file that keeps ended sessions, for the store may lose them",
        ),
    ] {
        if file.is_none() {
            let place = t.place().key(&format!("session.{key}"));
            t.collector().add(place.fault("nothing, with [cluster]", why));
        }
    }
}

fn unique<'a>(t: &Table<'_>, names: impl Iterator<Item = (&'a str, Place)>) {
    let mut seen = std::collections::BTreeSet::new();
    for (name, place) in names {
        if !name.is_empty() && !seen.insert(name.to_ascii_lowercase()) {
            t.collector().add(place.fault(format!("the name \"{name}\" twice"), "a name of its own"));
        }
    }
}

/// Workers do not wait, so more of them than cores only share the cores; the original's bound is 20.
fn default_threads() -> Threads {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Threads { min: 1, max: cores.min(20), grow_after: Duration::from_secs(1), shrink_after: Duration::from_secs(60) }
}

/// The original's `minConnThreads` and `maxConnThreads`.
fn threads(t: &Table<'_>) -> Threads {
    let default = default_threads();
    // The bounds are the original's: 1 to 128.
    let min = t.places("min", default.min, 1..=128);
    let max = t.places("max", default.max.max(min), 1..=128);
    if max < min {
        t.fault("max", max.to_string(), format!("at least min, which is {min}"));
    }
    Threads {
        min,
        max,
        grow_after: t.duration_or_none("grow-after", default.grow_after),
        shrink_after: t.duration_or_none("shrink-after", default.shrink_after),
    }
}

fn default_http() -> Http {
    Http {
        uri_max_size: 8 << 10,
        headers_max_size: 64 << 10,
        headers_max_count: 100,
        body_max_size: 64 << 10,
        upload_max_size: 16 << 20,
        allow_large_incoming_data: false,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
        body_min_rate: 240,
        answer_min_rate: 240,
        // A bad mobile connection has twice as much.
        scarce_min_rate: 4000,
        // Most attachments fit into 4 MiB, and so do sixty of them at once.
        read_ahead: ReadAhead { each: 4 << 20, user: 16 << 20, total: 256 << 20 },
        encoded_slashes: Vec::new(),
        acme_challenge_directory: None,
        upgrades: Arc::from([Box::from("websocket")]),
        tunnel_idle_timeout: Duration::from_secs(3600),
    }
}

fn upgrades(t: &Table<'_>, default: Arc<[Box<str>]>) -> Arc<[Box<str>]> {
    if !t.has("upgrades") {
        return default;
    }
    let names = t.texts("upgrades");
    // These would carry whole requests past every check.
    let is_http = |name: &str| ["h2", "h2c", "http", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http));
    let right =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    for name in names.iter().filter(|name| !right(name) || is_http(name)) {
        t.fault("upgrades", format!("\"{name}\""), "names of protocols that are no HTTP, such as \"websocket\"");
    }
    names.into_iter().map(String::into_boxed_str).collect()
}

/// Beginnings of paths.
fn paths(t: &Table<'_>, key: &str) -> Vec<String> {
    let paths = t.texts(key);
    let right = |path: &String| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    for path in paths.iter().filter(|path| !right(path)) {
        t.fault(key, format!("\"{path}\""), "the beginning of a path, such as \"/files/\"");
    }
    paths
}

fn http(t: &Table<'_>, base: &Path) -> Http {
    let default = default_http();
    let headers_max_size = t.size("headers-max-size", default.headers_max_size);
    // Browsers send some KB of cookies; the original's upper bound is 10240 KB.
    if !((8 << 10)..=(10 << 20)).contains(&headers_max_size) {
        t.fault("headers-max-size", format!("{headers_max_size} bytes"), "from 8KiB to 10MiB");
    }
    let uri_max_size = t.size("uri-max-size", default.uri_max_size);
    // A `Uri` has at most 65534 bytes; below a page's address nothing works.
    if !(256..=(63 << 10)).contains(&uri_max_size) {
        t.fault("uri-max-size", format!("{uri_max_size} bytes"), "from 256B to 63KiB");
    }
    Http {
        uri_max_size,
        headers_max_size,
        // More than 32768 names do not fit the map that holds them.
        headers_max_count: t.count("headers-max-count", default.headers_max_count, 8..=10_000),
        body_max_size: t.size("body-max-size", default.body_max_size),
        upload_max_size: t.size("upload-max-size", default.upload_max_size),
        allow_large_incoming_data: t.flag("allow-large-incoming-data", default.allow_large_incoming_data),
        header_timeout: t.duration("header-timeout", default.header_timeout),
        body_timeout: t.duration("body-timeout", default.body_timeout),
        body_min_rate: t.count("body-min-rate", default.body_min_rate, 0..=1_000_000),
        answer_min_rate: t.count("answer-min-rate", default.answer_min_rate, 0..=1_000_000),
        scarce_min_rate: t.count("scarce-min-rate", default.scarce_min_rate, 0..=1_000_000),
        read_ahead: ReadAhead {
            each: t.size("read-ahead-size", default.read_ahead.each),
            user: t.size("read-ahead-user-size", default.read_ahead.user),
            total: t.size("read-ahead-total-size", default.read_ahead.total),
        },
        encoded_slashes: paths(t, "encoded-slashes"),
        acme_challenge_directory: t.text("acme-challenge-directory").map(|path| base.join(path)),
        upgrades: upgrades(t, default.upgrades),
        tunnel_idle_timeout: t.duration("tunnel-idle-timeout", default.tunnel_idle_timeout),
    }
}
