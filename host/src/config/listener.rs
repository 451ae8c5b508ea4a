//! `[[listener]]` and the flow limits: where browsers connect to, what is believed of them, and how many there may be.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::network::Networks;
use super::{Place, Table};
use crate::own_path;

/// `[[listener]]`: an address that browsers connect to.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name, for policies and logs.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether TLS begins on demand (the original's `allowStartTLS`).
    pub start_tls: bool,
    /// The site that the users of a mail door belong to.
    pub site: Option<String>,
    /// Where it listens.
    pub address: Address,
    /// Whether an IPv6 socket takes IPv6 only.
    pub v6_only: bool,
    /// Mode of the socket's file, where it is one.
    pub mode: u32,
    /// The PROXY protocol.
    pub proxied: Proxied,
    /// Certificates by server name; none means plain HTTP.
    pub certificates: Vec<Certificate>,
    /// What TLS asks of clients.
    pub tls: ListenerTls,
    /// The port of the secure listener that browsers are sent to instead.
    pub redirect_to_https: Option<u16>,
    /// The path of health checks.
    pub health_path: Option<String>,
    /// Whether health checks have access lines.
    pub health_log: bool,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// Flow limits of this listener.
    pub limits: Limits,
    /// Where it stands.
    pub place: Place,
}

impl Listener {
    /// Whether only one of both can listen: an address of all kinds is in the way of each that has its port.
    pub fn is_in_the_way_of(&self, other: &Self) -> bool {
        let (Address::Net(one), Address::Net(two)) = (self.address.clone(), other.address.clone()) else {
            return self.address == other.address;
        };
        let takes = |all: SocketAddr, v6_only: bool, one: SocketAddr| {
            all.ip().is_unspecified() && (all.is_ipv4() == one.is_ipv4() || (all.is_ipv6() && !v6_only))
        };
        let meet = one.ip() == two.ip() || takes(one, self.v6_only, two) || takes(two, other.v6_only, one);
        one.port() == two.port() && one.port() != 0 && meet
    }
}

impl Listener {
    /// Whether a host and a port are its own, as far as an address says so.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        let Address::Net(own) = self.address else { return false };
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let is_own = |ip: IpAddr| {
            let takes = own.is_ipv4() == ip.is_ipv4() || (own.is_ipv6() && !self.v6_only);
            ip == own.ip() || (own.ip().is_unspecified() && ip.is_loopback() && takes)
        };
        own.port() == port && port != 0 && host.parse().is_ok_and(is_own)
    }
}

/// What a listener speaks; each has a door of its own (`door`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 over TLS.
    Http,
    /// IMAP (RFC 3501, RFC 9051).
    Imap,
    /// POP3 (RFC 1939).
    Pop3,
    /// ManageSieve (RFC 5804).
    Sieve,
    /// Submission (RFC 6409).
    Submission,
}

impl Protocol {
    /// Its word, in the configuration and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Sieve => "sieve",
            Self::Submission => "submission",
        }
    }

    /// All of them, by their words.
    const CHOICES: [(&'static str, Self); 5] = [
        (Self::Http.name(), Self::Http),
        (Self::Imap.name(), Self::Imap),
        (Self::Pop3.name(), Self::Pop3),
        (Self::Sieve.name(), Self::Sieve),
        (Self::Submission.name(), Self::Submission),
    ];
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Net(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// A socket that systemd hands over, by its name (`FileDescriptorName=`).
    Systemd(String),
}

impl Address {
    /// What an operator wrote; relative paths start from `base`.
    pub fn parse(text: &str, base: &Path) -> Option<Self> {
        match text.split_once(':') {
            Some(("unix", path)) => (!path.is_empty()).then(|| Self::Unix(base.join(path))),
            Some(("systemd", name)) => (!name.is_empty()).then(|| Self::Systemd(name.to_owned())),
            _ => text.parse().ok().map(Self::Net),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Net(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// What a balancer in front says of its clients: the PROXY protocol.
#[derive(Debug, Clone)]
pub struct Proxied {
    /// Whether a header is expected.
    pub protocol: ProxyHeader,
    /// Who may send one.
    pub from: Networks,
    /// How long it may take to come.
    pub timeout: Duration,
}

/// Whether a connection begins with a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Never.
    Off,
    /// It may.
    Optional,
    /// Always.
    Required,
}

/// `[listener.tls]`.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// No TLS older than 1.3.
    pub only_1_3: bool,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// PEM file of the authorities of clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// Where it stands.
    pub place: Place,
}

/// Whether a client shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// It is not asked to.
    Off,
    /// It may; a wrong one is refused.
    Optional,
    /// It must.
    Required,
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Server names it is chosen for; empty means the default of the listener.
    pub names: Vec<String>,
    /// PEM file of the chain, leaf first.
    pub chain: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// DER file of an OCSP response, which is sent along.
    pub ocsp: Option<PathBuf>,
    /// Where it stands.
    pub place: Place,
}

/// The six flow limits of the original, by its names. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub max_connections: u64,
    /// New connections in each interval.
    pub max_interval_connections: u64,
    /// Length of that interval.
    pub interval: Duration,
    /// Connections at once from one peer.
    pub peer_max_connections: u64,
    /// New connections in each interval from one peer.
    pub peer_max_interval_connections: u64,
    /// Length of that interval.
    pub peer_interval: Duration,
}

/// `[limits]` itself: what holds for all listeners and classes together, and who counts as one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Limits of all connections together.
    pub all: Limits,
    /// So many bits of an IPv4 address make a peer.
    pub prefix_v4: u8,
    /// So many bits of an IPv6 address make a peer.
    pub prefix_v6: u8,
}

impl Default for Flow {
    /// No limit; an IPv4 address is a peer, and so is an IPv6 /64, which is what one customer has (RFC 6177).
    fn default() -> Self {
        Self { all: Limits::NONE, prefix_v4: 32, prefix_v6: 64 }
    }
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        max_connections: 0,
        max_interval_connections: 0,
        interval: Duration::from_secs(60),
        peer_max_connections: 0,
        peer_max_interval_connections: 0,
        peer_interval: Duration::from_secs(60),
    };

    /// Mail programs keep their connections for days, several for an account. The original's limits for its mail proxies
    /// (200, 600, 10, 50) are for another time.
    pub const fn of_mail() -> Self {
        Self {
            max_connections: 10_000,
            max_interval_connections: 6000,
            peer_max_connections: 100,
            peer_max_interval_connections: 600,
            ..Self::NONE
        }
    }
}

impl Default for Limits {
    /// The original's defaults for its web services.
    fn default() -> Self {
        Self {
            max_connections: 1000,
            max_interval_connections: 1200,
            peer_max_connections: 100,
            peer_max_interval_connections: 600,
            ..Self::NONE
        }
    }
}

pub(super) fn listener(t: &Table<'_>, base: &Path) -> Listener {
    let address = address(t, base);
    let is_v6 = matches!(address, Address::Net(SocketAddr::V6(_)));
    if t.has("v6-only") && !is_v6 {
        t.fault("v6-only", "an address that is not IPv6", "v6-only at an address such as \"[::]:443\" only");
    }
    let is_file = matches!(address, Address::Unix(_));
    for key in ["tls", "redirect-to-https"] {
        let (found, wanted) = if key == "tls" { ("no certificates", true) } else { ("certificates", false) };
        if t.has(key) && t.has("certificates") != wanted {
            t.fault(key, found, if wanted { "certificates beside it" } else { "a listener without TLS" });
        }
    }
    if t.has("mode") && !is_file {
        t.fault("mode", "an address that is no file", "mode at an address such as \"unix:/run/doorward.web\" only");
    }
    let protocol = t.choice("protocol", &Protocol::CHOICES).unwrap_or(Protocol::Http);
    let is_http = protocol == Protocol::Http;
    let (of_http, of_mail) = (["redirect-to-https", "health-path", "idle-timeout"], ["start-tls", "site"]);
    for key in of_mail.iter().filter(|_| is_http).chain(of_http.iter().filter(|_| !is_http)).filter(|key| t.has(key)) {
        let wanted = if is_http { "a listener for mail" } else { "a listener with protocol = \"http\"" };
        t.fault(key, format!("protocol = \"{}\"", protocol.name()), wanted);
    }
    if t.flag("start-tls", false) && !t.has("certificates") {
        t.fault("start-tls", "no certificates", "certificates beside it");
    }
    let octal = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && text.len() <= 4);
    Listener {
        name: t.required("name"),
        protocol,
        start_tls: t.flag("start-tls", false),
        site: t.text("site").map(|host| host.to_ascii_lowercase()),
        v6_only: t.flag("v6-only", false),
        mode: t.parsed("mode", "permissions such as \"0660\"", octal).unwrap_or(0o660),
        proxied: proxied(t, is_file),
        address,
        certificates: t.tables("certificates", |t| Certificate {
            names: t.texts("names"),
            chain: base.join(t.required("chain")),
            key: base.join(t.required("key")),
            ocsp: t.text("ocsp").map(|path| base.join(path)),
            place: t.place(),
        }),
        tls: t.table("tls", |t| tls(t, base)).unwrap_or_else(|| no_tls(t.place())),
        redirect_to_https: redirect(t),
        health_path: t.parsed("health-path", "a path such as \"/healthz\"", health_path),
        health_log: t.flag("health-log", false),
        idle_timeout: t.duration("idle-timeout", Duration::from_secs(300)),
        handshake_timeout: t.duration("handshake-timeout", Duration::from_secs(10)),
        limits: {
            let default = if is_http { Limits::default() } else { Limits::of_mail() };
            t.table("limits", |t| limits(t, default)).unwrap_or(default)
        },
        place: t.place(),
    }
}

fn address(t: &Table<'_>, base: &Path) -> Address {
    let expected = "an address and port, such as \"127.0.0.1:8080\" or \"[::]:443\", \"unix:PATH\" or \"systemd:NAME\"";
    t.parsed("address", expected, |text| Address::parse(text, base)).unwrap_or_else(|| {
        if !t.has("address") {
            t.fault("address", "nothing", expected);
        }
        Address::Net(SocketAddr::from(([127, 0, 0, 1], 0)))
    })
}

fn proxied(t: &Table<'_>, is_file: bool) -> Proxied {
    let kinds = [("off", ProxyHeader::Off), ("optional", ProxyHeader::Optional), ("required", ProxyHeader::Required)];
    let protocol = t.choice("proxy-protocol", &kinds).unwrap_or(ProxyHeader::Off);
    let from = t.networks("proxy-protocol-from");
    // Who may open a Unix socket is for its file to say.
    if protocol != ProxyHeader::Off && from.is_empty() && !is_file {
        t.fault("proxy-protocol-from", "nothing", "the networks whose PROXY headers are believed");
    }
    Proxied { protocol, from, timeout: t.duration("proxy-protocol-timeout", Duration::from_secs(3)) }
}

fn no_tls(place: Place) -> ListenerTls {
    ListenerTls { only_1_3: false, client_auth: ClientAuth::Off, client_ca: None, place }
}

fn tls(t: &Table<'_>, base: &Path) -> ListenerTls {
    let kinds = [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
    let client_auth = t.choice("client-auth", &kinds).unwrap_or(ClientAuth::Off);
    let client_ca = t.text("client-ca").map(|path| base.join(path));
    if client_auth != ClientAuth::Off && client_ca.is_none() && !t.has("client-ca") {
        t.fault("client-ca", "nothing", "a PEM file of the authorities whose clients are let in");
    }
    let only_1_3 = t.choice("min-version", &[("1.2", false), ("1.3", true)]).unwrap_or(false);
    ListenerTls { only_1_3, client_auth, client_ca, place: t.place() }
}

/// A path that no site has for its own.
fn health_path(text: &str) -> Option<String> {
    let right = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\%".contains(&byte));
    (right && text.len() > 1 && !text.starts_with(own_path::PREFIX)).then(|| text.to_owned())
}

/// `true` is the port that browsers take by themselves.
fn redirect(t: &Table<'_>) -> Option<u16> {
    let written = t.json("redirect-to-https")?;
    let port = written.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let port = if written == true { Some(443) } else { port };
    if port.is_none() && written != false {
        t.fault("redirect-to-https", written.to_string(), "true, false, or the port of the secure listener");
    }
    port
}

/// `[limits]`: its own keys, and a table for each class.
pub(super) fn flow(t: &Table<'_>) -> (Flow, Vec<(String, Limits)>) {
    let default = Flow::default();
    let flow = Flow {
        all: limits(t, default.all),
        prefix_v4: bits(t, "peer-prefix-v4", default.prefix_v4, 32),
        prefix_v6: bits(t, "peer-prefix-v6", default.prefix_v6, 128),
    };
    let classes = t.keys().into_iter().filter(|key| !KEYS.contains(&key.as_str()));
    let classes = classes.filter_map(|key| {
        // A slip in a key must not be told as a class of that name.
        if !t.json(&key).is_some_and(|value| value.is_object()) {
            let fault = t.place_of(&key).fault("neither a known key nor a class", "");
            t.collector().add(fault.none_of(&key, "the table of a class, or one of these", KEYS));
            return None;
        }
        Some((key.clone(), t.table(&key, |t| limits(t, Limits::default()))?))
    });
    (flow, classes.collect())
}

/// Keys of `[limits]` that are no classes.
const KEYS: [&str; 8] = [
    "max-connections",
    "max-interval-connections",
    "interval",
    "peer-max-connections",
    "peer-max-interval-connections",
    "peer-interval",
    "peer-prefix-v4",
    "peer-prefix-v6",
];

fn bits(t: &Table<'_>, key: &str, default: u8, most: u64) -> u8 {
    u8::try_from(t.count(key, default.into(), 1..=most)).unwrap_or(default)
}

fn limits(t: &Table<'_>, default: Limits) -> Limits {
    // The largest count that the original takes is 100000; proxies in front of many users need more.
    let most = 10_000_000;
    let count = |key: &str, default: u64| t.count(key, default, 0..=most);
    Limits {
        max_connections: count("max-connections", default.max_connections),
        max_interval_connections: count("max-interval-connections", default.max_interval_connections),
        interval: t.duration("interval", default.interval),
        peer_max_connections: count("peer-max-connections", default.peer_max_connections),
        peer_max_interval_connections: count("peer-max-interval-connections", default.peer_max_interval_connections),
        peer_interval: t.duration("peer-interval", default.peer_interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse};

    #[test]
    fn two_listeners_cannot_have_one_address() {
        let check = |one: &str, two: &str, meet: bool| {
            let text = format!(
                "[[listener]]\nname = \"a\"\naddress = {one}\n[[listener]]\nname = \"b\"\naddress = {two}\n\
                 [[backend]]\nname = \"b\"\nurl = \"http://b/\"\nrecipe = \"form\"\n[[site]]\nhosts = [\"*\"]\n"
            );
            let faults = parse(&std::sync::Arc::new(Source::new("c", text)), Path::new(".")).err();
            let told = faults.is_some_and(|faults| faults.to_string().contains("listener[1].address"));
            assert_eq!(told, meet, "{one} {two}");
        };
        check(r#""127.0.0.1:80""#, r#""127.0.0.1:80""#, true);
        check(r#""127.0.0.1:80""#, r#""127.0.0.1:81""#, false);
        check(r#""127.0.0.1:0""#, r#""127.0.0.1:0""#, false);
        check(r#""127.0.0.1:80""#, r#""127.0.0.2:80""#, false);
        check(r#""0.0.0.0:80""#, r#""127.0.0.2:80""#, true);
        check(r#""[::]:80""#, r#""127.0.0.2:80""#, true);
        check("\"[::]:80\"\nv6-only = true", r#""127.0.0.2:80""#, false);
        check("\"[::]:80\"\nv6-only = true", r#""[::1]:80""#, true);
        check(r#""unix:a""#, r#""unix:a""#, true);
        check(r#""systemd:a""#, r#""systemd:b""#, false);
    }

    #[test]
    fn a_mail_server_is_no_listener_of_doorwards() {
        let check = |listener: &str, server: &str, is_fault: bool| {
            let text = format!(
                "[[listener]]\nname = \"a\"\naddress = {listener}\nprotocol = \"sieve\"\n\
                 [[backend]]\nname = \"b\"\nurl = \"http://b/\"\nrecipe = \"form\"\nsieve = \"sieve://{server}\"\n\
                 [[site]]\nhosts = [\"*\"]\n"
            );
            let faults = parse(&std::sync::Arc::new(Source::new("c", text)), Path::new(".")).err();
            let found = faults.map(|faults| faults.to_string()).unwrap_or_default();
            assert_eq!(
                found.contains("backend[0].sieve") && found.contains("\"a\""),
                is_fault,
                "{listener} {server} {found}"
            );
        };
        check(r#""127.0.0.1:4190""#, "127.0.0.1", true);
        check(r#""127.0.0.1:4190""#, "localhost", true);
        check(r#""127.0.0.1:4190""#, "127.0.0.1:4191", false);
        check(r#""127.0.0.1:4190""#, "127.0.0.2", false);
        check(r#""10.0.0.1:4190""#, "localhost", false);
        check(r#""0.0.0.0:4190""#, "127.0.0.1", true);
        check(r#""0.0.0.0:4190""#, "10.0.0.1", false);
        check(r#""0.0.0.0:4190""#, "[::1]", false);
        check(r#""[::]:4190""#, "localhost", true);
        check("\"[::]:4190\"\nv6-only = true", "localhost", false);
    }

    #[test]
    fn a_listener_speaks_a_protocol_that_has_a_door() {
        let read = |line: &str| {
            let text = format!(
                "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n{line}\n\
                 [[backend]]\nname = \"b\"\nurl = \"http://b/\"\nrecipe = \"form\"\n[[site]]\nhosts = [\"*\"]\n"
            );
            parse(&std::sync::Arc::new(Source::new("c", text)), Path::new("."))
                .map(|config| config.listeners[0].protocol)
                .map_err(|faults| faults.to_string())
        };
        assert_eq!(read(""), Ok(Protocol::Http));
        assert_eq!(read("protocol = \"http\""), Ok(Protocol::Http));
        assert_eq!(read("protocol = \"imap\"\nsite = \"*\""), Ok(Protocol::Imap));
        let fault = read("protocol = \"smtp\"").unwrap_err();
        assert!(fault.contains("listener[0].protocol") && fault.contains("\"smtp\""), "{fault}");
        assert!(fault.contains("http") && fault.contains("pop3"), "the known ones are named: {fault}");
        let fault = read("protocol = \"imap\"\nhealth-path = \"/x\"\nstart-tls = true").unwrap_err();
        assert!(fault.contains("health-path") && fault.contains("start-tls"), "{fault}");
        assert!(read("start-tls = false").unwrap_err().contains("a listener for mail"));
    }
}
