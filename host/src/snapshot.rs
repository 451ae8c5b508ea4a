//! Snapshot: one compiled generation of everything an operator can change. Built whole, or refused whole.

mod contents;
mod fingerprint;
mod hosts;
mod tickets;
mod warnings;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::back::NodeSpec;
use crate::cluster;
use crate::config::{self, Collector, Config, Fault, Faults, Limits};
use crate::directory::{DirectorySpec, Shrink};
use crate::log;
use crate::pages::{Branding, Languages, Pages};
use crate::policy::{self, Compiler, PolicySpec, PolicySpecs, Quarantine};
use crate::session::{Cookie, Keys, Sessions};
use crate::{registry, tls, traces};

pub use contents::Contents;
pub use fingerprint::{Fingerprint, load_at_rest};
use hosts::Hosts;
pub use tickets::Renewed;

/// One generation. A request takes it once and keeps it to its end.
pub struct Snapshot {
    /// Counts up with each Snapshot that went live.
    pub generation: u64,
    /// Of the files that it was built from, where they stood still meanwhile.
    pub fingerprint: Option<Fingerprint>,
    /// What it was built from, part by part.
    pub contents: Contents,
    /// Addresses to listen on, by name.
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// How operators reach it.
    pub admin: config::Admin,
    /// Where they do, with its TLS.
    pub admin_listener: Option<Arc<Listener>>,
    /// Limits of all connections together.
    pub flow: config::Flow,
    /// Limit classes that access policies may pick.
    pub classes: BTreeMap<String, Limits>,
    /// Limits of requests.
    pub http: config::Http,
    /// What holds for mail programs.
    pub mail: config::Mail,
    /// The other front doors.
    pub cluster: Option<Arc<cluster::Settings>>,
    /// Which requests are told to a collector.
    pub traces: Option<Arc<traces::Settings>>,
    /// Who a request is from.
    pub forwarding: config::Forwarding,
    /// What is logged where.
    pub log: config::Log,
    /// How long Doorward goes on as before when it is to stop, but for what it tells balancers.
    pub drain_delay: std::time::Duration,
    /// How long requests may take to finish when Doorward stops.
    pub drain_timeout: std::time::Duration,
    /// What answers the six questions.
    pub policies: PolicySpecs,
    /// Doorward's own pages.
    pub pages: Pages,
    /// Their texts.
    pub languages: Languages,
    /// Where users are found.
    pub directory: Arc<DirectorySpec>,
    /// How a login is checked when no policy says.
    pub mode: config::Mode,
    /// Bytes of a form that are kept for a user whose session has ended.
    pub hold_max_size: u64,
    /// How long they are kept.
    pub hold_timeout: std::time::Duration,
    /// What guessing of passwords meets.
    pub throttle: config::Throttle,
    /// What seals and opens session cookies.
    pub sessions: Sessions,
    /// Cookies that no policy reads and that end with a session.
    pub hidden_cookies: Arc<HashSet<String>>,
    /// The back-ends, each with its number.
    pub nodes: Vec<Arc<NodeSpec>>,
    hosts: Hosts,
    /// Where users are whose entry names no node.
    pub default_nodes: Vec<usize>,
    sites: Sites,
    /// What is as the operator wrote it, and hardly as he means it: of the configuration and of the files that it names.
    pub warnings: Vec<Fault>,
    /// Files whose keys it has.
    key_files: Vec<PathBuf>,
}

impl PartialEq for Snapshot {
    /// Whether both were built from the same.
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

impl std::fmt::Debug for Snapshot {
    /// Without what it holds: keys and passwords are among that.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (generation, contents) = (&self.generation, &self.contents);
        f.debug_struct("Snapshot").field("generation", generation).field("contents", contents).finish_non_exhaustive()
    }
}

/// A listener with its TLS.
pub struct Listener {
    /// As configured.
    pub config: config::Listener,
    /// TLS; none for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// When the certificates that it shows end, each by the file of its chain: seconds since 1970.
    pub certificate_ends: Vec<(PathBuf, i64)>,
}

/// A virtual host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Its place in the configuration.
    pub number: usize,
    /// Its first name.
    pub name: Arc<str>,
    /// Template when no policy picks one.
    pub template: Arc<str>,
    /// Shown on its pages.
    pub title: String,
    /// What its pages have of its own.
    pub branding: Branding,
}

/// Virtual hosts by exact name, by wildcard, and the one for all others.
#[derive(Debug, Default)]
struct Sites {
    /// Their first names, each at its number.
    names: Vec<Arc<str>>,
    exact: HashMap<String, Arc<Site>>,
    wildcard: HashMap<String, Arc<Site>>,
    other: Option<Arc<Site>>,
    first: Arc<Site>,
}

/// What a Snapshot is built with.
pub struct Materials<'a> {
    /// Compiles policies.
    pub compiler: &'a Compiler,
    /// Keys where no key file is set.
    pub keys: &'a Keys,
    /// Keys of session tickets where no key file is set.
    pub tickets: &'a Arc<Renewed>,
    /// The Snapshot to take unchanged parts from.
    pub previous: Option<&'a Snapshot>,
    /// The number of the new one.
    pub generation: u64,
    /// Components that may not go live, and what becomes of a policy that has one of them.
    pub quarantine: Option<(&'a Quarantine, policy::Suspect)>,
    /// Whether lists of users may lose most of their entries.
    pub shrink: Shrink,
    /// Whether this only tries: then no key file is made.
    pub trial: bool,
}

impl Snapshot {
    /// Builds a generation from its configuration, and proves every part of it.
    ///
    /// # Errors
    /// Every fault of every part.
    pub fn build(config: &Config, materials: &Materials<'_>) -> Result<Self, Faults> {
        let faults = Collector::default();
        let previous = materials.previous;
        let nodes = nodes(config, &faults);
        let policies = policies(config, materials, &faults);
        let tickets = faults.keep(tickets(config, materials));
        // Without its keys nothing goes live, but the other files are looked at.
        let tickets: Arc<dyn tls::Tickets> = tickets.unwrap_or_else(|| materials.tickets.clone());
        let listener = |config: &config::Listener| listener(config, &tickets, &faults);
        let listeners = config.listeners.iter().filter_map(listener);
        let listeners = listeners.map(|listener| (listener.config.name.clone(), listener)).collect();
        let admin_listener = config.admin.listener.as_ref().and_then(listener).map(speaking_http1);
        let shown = shown(config, &faults);
        let is_node = |name: &str| {
            config.backends.iter().any(|backend| backend.names().any(|known| known.eq_ignore_ascii_case(name)))
        };
        let traces = config.traces.as_ref().and_then(|config| faults.keep(traces(config).map_err(Faults::from)));
        let of_cluster = config.cluster.as_ref();
        let of_cluster = of_cluster.map(|cluster| cluster::Settings::build(cluster, config.session.absolute_timeout));
        let cluster = of_cluster.and_then(|built| faults.keep(built)).map(Arc::new);
        let previous_directory = previous.map(|previous| &*previous.directory);
        let directory =
            faults.keep(DirectorySpec::build(&config.directory, (previous_directory, materials.shrink), &is_node));
        let keys = faults.keep(keys(config, materials));
        faults.keep(log::check(&config.log.to, config.state_directory.as_deref()).map_err(Faults::from));
        config.warnings.iter().for_each(|warning| faults.add(warning.clone()));
        let warnings = faults.finish()?;
        let (Some((languages, pages, brandings)), Some(directory), Some(keys)) = (shown, directory, keys) else {
            return Err(Faults::default());
        };
        let hosts = Hosts::build(&nodes);
        let hidden_cookies = nodes.iter().flat_map(|node| node.recipe.session_cookies.iter().cloned());
        let mut snapshot = Self {
            generation: materials.generation,
            fingerprint: None,
            contents: Contents::of(config),
            listeners,
            admin: config.admin.clone(),
            admin_listener,
            flow: config.flow,
            classes: config.classes.clone(),
            http: config.http.clone(),
            mail: config.mail.clone(),
            cluster,
            traces,
            forwarding: config.forwarding.clone(),
            log: config.log.clone(),
            drain_delay: config.drain_delay,
            drain_timeout: config.drain_timeout,
            policies: PolicySpecs::new(policies),
            pages,
            languages,
            directory: Arc::new(directory),
            mode: config.authentication.mode,
            throttle: config.authentication.throttle,
            hold_max_size: config.session.hold_max_size,
            hold_timeout: config.session.hold_timeout,
            sessions: Sessions::new(keys, &config.session),
            hidden_cookies: Arc::new(hidden_cookies.chain(Cookie::secret_names().map(str::to_owned)).collect()),
            default_nodes: config.default_backends.iter().filter_map(|name| hosts.find(name)).collect(),
            hosts,
            nodes,
            sites: Sites::build(&config.sites, brandings),
            key_files: config.session.key_file.iter().chain(&config.ticket_key_file).cloned().collect(),
            warnings: Vec::new(),
        };
        let found = Collector::default();
        warnings.into_iter().for_each(|warning| found.add(warning));
        warnings::add(config, &snapshot, &found);
        snapshot.warnings = found.finish()?;
        Ok(snapshot)
    }

    /// The virtual host of a name: exact, then the longest wildcard, then the one for all others.
    pub fn site(&self, host: &str) -> Option<&Arc<Site>> {
        self.sites.find(host)
    }

    /// The first names of all sites, each at its site's number.
    pub fn site_names(&self) -> &[Arc<str>] {
        &self.sites.names
    }

    /// The limits of a scope of connections: those of a class, or of a listener.
    pub fn limits_of(&self, scope: &str) -> Option<&Limits> {
        let (kind, name) = scope.split_once(' ')?;
        match kind {
            "class" => self.classes.get(name),
            _ => self.listeners.get(name).map(|listener| &listener.config.limits),
        }
    }

    /// Whose look is shown where no site is known: the one for all others, or the first.
    pub fn first_site(&self) -> &Arc<Site> {
        self.sites.other.as_ref().unwrap_or(&self.sites.first)
    }

    /// The first site of the configuration.
    pub fn foremost_site(&self) -> &Arc<Site> {
        &self.sites.first
    }

    /// Whether a site has this name, or a wildcard that fits it; the site for all others has no name.
    pub fn is_named(&self, host: &str) -> bool {
        self.sites.named(host).is_some()
    }

    /// The number of the node that a value of a directory's host attribute names.
    pub fn number_of(&self, host: &str) -> Option<usize> {
        self.hosts.find(host)
    }

    /// Whether it has the keys of this file.
    pub fn has_keys_of(&self, path: &Path) -> bool {
        self.key_files.iter().any(|known| known == path)
    }
}

/// A listener of the admin plane, which knows HTTP/1.1 only.
fn speaking_http1(listener: Arc<Listener>) -> Arc<Listener> {
    let Some(acceptor) = &listener.tls else { return listener };
    let mut tls = rustls::ServerConfig::clone(acceptor.config());
    tls.alpn_protocols = vec![tls::HTTP1.to_vec()];
    let (config, certificate_ends) = (listener.config.clone(), listener.certificate_ends.clone());
    Arc::new(Listener { config, tls: Some(TlsAcceptor::from(Arc::new(tls))), certificate_ends })
}

fn listener(config: &config::Listener, tickets: &Arc<dyn tls::Tickets>, faults: &Collector) -> Option<Arc<Listener>> {
    let tls = faults.keep(tls::server(config, tickets))?;
    let chains = config.certificates.iter().map(|certificate| &certificate.chain);
    let certificate_ends = chains.filter_map(|chain| Some((chain.clone(), tls::chain_end(chain)?))).collect();
    Some(Arc::new(Listener { config: config.clone(), tls: tls.map(TlsAcceptor::from), certificate_ends }))
}

fn traces(config: &config::Traces) -> Result<Arc<traces::Settings>, Fault> {
    let is_secure = config.endpoint.scheme() == "https";
    let tls = is_secure.then(|| tls::client(config.ca.as_deref(), false, &config.place)).transpose()?;
    let (endpoint, sample, slow) = (config.endpoint.clone(), config.sample, config.slow);
    Ok(Arc::new(traces::Settings { endpoint, sample, slow, tls }))
}

/// The policies. Those that the live generation has are proved already.
fn policies(config: &Config, materials: &Materials<'_>, faults: &Collector) -> Vec<Arc<PolicySpec>> {
    let proved = materials.previous.map_or(&[][..], |previous| previous.policies.all());
    faults.keep(registry::check(&config.registry).map_err(Faults::from));
    let load = |policy: &config::Policy| {
        if materials.trial
            && policy.remote.is_some()
            && !config.state_directory.as_ref().is_some_and(|state| state.is_dir())
        {
            let found = format!("\"{}\" is not looked at: there is no state-directory to keep it in", policy.name);
            faults.add(policy.place.key("file").warning(found, "a state-directory that is there"));
            return None;
        }
        let live = proved.iter().find(|live| live.name == policy.name).and_then(|live| live.provenance.as_ref());
        let policy = faults.keep(registry::ready(policy, config, live).map_err(Faults::from))?;
        faults.keep(policy::load(&policy, materials.compiler, proved, materials.quarantine))
    };
    config.policies.iter().filter_map(load).collect()
}

fn keys(config: &Config, materials: &Materials<'_>) -> Result<Keys, Faults> {
    let path = config.session.key_file.as_ref().filter(|path| !materials.trial || path.exists());
    let Some(path) = path else { return Ok(materials.keys.clone()) };
    keys_of(path, materials).map_err(|found| config.session.place.key("key-file").fault(found, KEY_FILE).into())
}

fn tickets(config: &Config, materials: &Materials<'_>) -> Result<Arc<dyn tls::Tickets>, Faults> {
    let path = config.ticket_key_file.as_ref().filter(|path| !materials.trial || path.exists());
    let Some(path) = path else { return Ok(materials.tickets.clone()) };
    let keys = keys_of(path, materials);
    let keys = keys.map_err(|found| config.place.key("tls.ticket-key-file").fault(found, KEY_FILE))?;
    Ok(Arc::new(tickets::Shared(keys)))
}

/// What a key file is.
const KEY_FILE: &str = "a file of base64 keys of 32 bytes, one a line";

/// The keys of a file, which is made where it is missing, but for one that the live generation has the keys of: other
/// keys would end everybody's session.
fn keys_of(path: &Path, materials: &Materials<'_>) -> Result<Keys, String> {
    let told = |error: String| format!("{}: {error}", path.display());
    if !materials.previous.is_some_and(|previous| previous.has_keys_of(path)) {
        return Keys::load(path).map_err(told);
    }
    let gone = || "it was removed; sessions go on with its keys until a restart, which makes new ones".to_owned();
    Keys::read(path).and_then(|keys| keys.ok_or_else(gone)).map_err(told)
}

fn nodes(config: &Config, faults: &Collector) -> Vec<Arc<NodeSpec>> {
    let built = config.backends.iter().filter_map(|backend| faults.keep(NodeSpec::build(backend, &config.base)));
    let nodes: Vec<Arc<NodeSpec>> = built.map(Arc::new).collect();
    check_trust(config, &nodes, faults);
    check_tokens(config, faults);
    nodes
}

/// Tokens are for nodes, which check them: nobody else here can.
fn check_tokens(config: &Config, faults: &Collector) {
    let picked = config.policies.iter().any(|policy| policy.asks == config::Question::AuthMode);
    if config.mail.tokens.is_any() && !picked && config.authentication.mode != config::Mode::BackEnd {
        let expected = "[authentication] mode = \"back-end\", or an auth-mode policy that selects it for tokens";
        faults.add(config.place.key("mail.mechanisms").fault("tokens, which only a node can check", expected));
    }
}

/// Where only the node is asked for passwords, each node must check them. A policy that picks the mode is heeded at each
/// login.
fn check_trust(config: &Config, nodes: &[Arc<NodeSpec>], faults: &Collector) {
    let picked = config.policies.iter().any(|policy| policy.asks == config::Question::AuthMode);
    if picked || config.authentication.mode != config::Mode::BackEnd {
        return;
    }
    for backend in &config.backends {
        if backend.mail.master.is_some() {
            let expected = "\"password\", or another [authentication] mode than \"back-end\"";
            faults.add(backend.place.key("mail-login").fault("\"master\"", expected));
        }
        if nodes.iter().any(|node| node.name() == backend.name && !node.recipe.checks_password()) {
            let expected = "one that checks passwords, or another [authentication] mode than \"back-end\"";
            faults.add(backend.place.key("recipe").fault(format!("\"{}\"", backend.recipe), expected));
        }
    }
}

/// What people see of Doorward itself: texts, pages, and what each site has of its own.
fn shown(config: &Config, faults: &Collector) -> Option<(Languages, Pages, Vec<Branding>)> {
    let languages = Languages::build(config.languages.as_deref(), &config.default_language, &config.place);
    let languages = faults.keep(languages)?;
    let place = config.place.key("templates");
    let pages = faults.keep(Pages::build(config.templates.as_deref(), &languages, &place).map_err(Faults::from));
    let brandings = config.sites.iter().map(|site| Branding::build(site, &languages, faults)).collect();
    let pages = pages?;
    check_templates(config, &pages, faults);
    Some((languages, pages, brandings))
}

fn check_templates(config: &Config, pages: &Pages, faults: &Collector) {
    for site in config.sites.iter().filter(|site| !pages.has(&site.template)) {
        faults.add(site.place.key("template").unknown(&site.template, "a template", pages.looks()));
    }
}

impl Sites {
    fn build(sites: &[config::Site], brandings: Vec<Branding>) -> Self {
        let mut built = Self::default();
        for (number, (config, branding)) in std::iter::zip(sites, brandings).enumerate() {
            let name: Arc<str> = Arc::from(config.hosts.first().map_or("", String::as_str));
            built.names.push(name.clone());
            let (template, title) = (config.template.as_str().into(), config.title.clone());
            let site = Arc::new(Site { number, name, template, title, branding });
            if number == 0 {
                built.first = site.clone();
            }
            for host in &config.hosts {
                match host.strip_prefix("*.") {
                    _ if host == "*" => built.other = Some(site.clone()),
                    Some(domain) => drop(built.wildcard.insert(domain.to_owned(), site.clone())),
                    None => drop(built.exact.insert(host.clone(), site.clone())),
                }
            }
        }
        built
    }

    fn find(&self, host: &str) -> Option<&Arc<Site>> {
        self.named(host).or(self.other.as_ref())
    }

    fn named(&self, host: &str) -> Option<&Arc<Site>> {
        let domains = || std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'));
        let by_domain = || domains().map(|(_, domain)| domain).find_map(|domain| self.wildcard.get(domain));
        self.exact.get(host).or_else(by_domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Place, Source};

    #[test]
    fn virtual_hosts_are_found_from_exact_to_any() {
        let place = Place::whole(&Arc::new(Source::new("test", "")));
        let site = |name: &str| config::Site {
            hosts: vec![name.to_owned()],
            template: "blue".to_owned(),
            title: name.to_owned(),
            logo: None,
            accent_color: None,
            links: Vec::new(),
            announcement: None,
            announcement_until: None,
            shared_computer: config::SharedComputer::Never,
            place: place.clone(),
        };
        let build = |sites: &[config::Site]| Sites::build(sites, vec![Branding::default(); sites.len()]);
        let sites = build(&[site("mail.a.test"), site("*.a.test"), site("*.b.a.test")]);
        let check = |host: &str, title: Option<&str>| {
            assert_eq!(sites.find(host).map(|site| site.title.as_str()), title, "{host}");
        };
        check("mail.a.test", Some("mail.a.test"));
        check("x.a.test", Some("*.a.test"));
        check("x.y.a.test", Some("*.a.test"));
        check("x.b.a.test", Some("*.b.a.test"));
        check("a.test", None);
        check("", None);
        assert_eq!(build(&[site("*")]).find("x").map(|site| site.title.as_str()), Some("*"));
    }
}
