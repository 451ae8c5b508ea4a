//! `[admin]`: how operators reach Doorward, and who they are.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward_wire::host::host_name;

use super::listener::{
    Address, Certificate, ClientAuth, Limits, Listener, ListenerTls, Protocol, Proxied, ProxyHeader,
};
use super::network::Networks;
use super::{Place, Table};

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Unix socket of `doorward ctl`.
    pub socket: Option<PathBuf>,
    /// Where the page, the API and the metrics are; nowhere without it.
    pub listener: Option<Listener>,
    /// The hosts that are answered there, in lower case and without port.
    pub hosts: Vec<String>,
    /// File of the accounts.
    pub accounts: Option<PathBuf>,
    /// File of the tokens.
    pub tokens: Option<PathBuf>,
    /// File of the audit log.
    pub audit: Option<PathBuf>,
    /// Who may read the metrics without a token.
    pub metrics_from: Networks,
    /// How long a session of the page may be idle.
    pub idle_timeout: Duration,
    /// How long it lasts at most.
    pub absolute_timeout: Duration,
    /// Where it stands.
    pub place: Place,
}

/// Names that a browser on this machine may call it by.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Admin {
    /// Nothing of it is written.
    pub(super) fn none(place: Place) -> Self {
        Self {
            socket: None,
            listener: None,
            hosts: Vec::new(),
            accounts: None,
            tokens: None,
            audit: None,
            metrics_from: Networks::default(),
            idle_timeout: IDLE,
            absolute_timeout: ABSOLUTE,
            place,
        }
    }

    /// The files that it names, but for what Doorward itself writes, and for accounts and tokens, which are looked at when
    /// somebody comes: a broken one is no reason to refuse a reload.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let certificates = self.listener.iter().flat_map(|listener| &listener.certificates);
        let authorities = self.listener.iter().filter_map(|listener| listener.tls.client_ca.as_ref());
        certificates.flat_map(|certificate| [&certificate.chain, &certificate.key]).chain(authorities)
    }
}

/// A helpdesk's break.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// A working day.
const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);

pub(super) fn admin(t: &Table<'_>, base: &Path) -> Admin {
    let path = |key: &str| t.text(key).map(|path| base.join(path));
    let hosts: Vec<String> = t.texts("hosts").iter().map(|host| host.to_ascii_lowercase()).collect();
    for host in hosts.iter().filter(|host| host_name(host).as_ref() != Some(*host)) {
        t.fault("hosts", format!("\"{host}\""), "a host name or an address, without port");
    }
    let listener = listener(t, base);
    let local = listener.as_ref().is_some_and(|listener| is_loopback(&listener.address));
    if listener.is_some() && !local && hosts.is_empty() {
        t.fault("hosts", "nothing", "the names that operators reach it by, for every other one is refused");
    }
    let own = listener.as_ref().and_then(|listener| match listener.address {
        Address::Net(address) if local => host_name(&address.to_string()),
        _ => None,
    });
    let names = LOOPBACK.into_iter().filter(|_| local).map(str::to_owned);
    let names = names.chain(own.filter(|own| !LOOPBACK.contains(&own.as_str())));
    Admin {
        socket: path("socket"),
        hosts: hosts.into_iter().chain(names).collect(),
        listener,
        accounts: path("accounts"),
        tokens: path("tokens"),
        audit: path("audit"),
        metrics_from: t.networks("metrics-from"),
        idle_timeout: t.duration("idle-timeout", IDLE),
        absolute_timeout: t.duration("absolute-timeout", ABSOLUTE),
        place: t.place(),
    }
}

fn is_loopback(address: &Address) -> bool {
    matches!(address, Address::Net(address) if address.ip().to_canonical().is_loopback())
}

/// The address, as a listener that no worker has.
fn listener(t: &Table<'_>, base: &Path) -> Option<Listener> {
    let certificates = t.tables("certificates", |t| Certificate {
        names: Vec::new(),
        chain: base.join(t.required("chain")),
        key: base.join(t.required("key")),
        ocsp: None,
        place: t.place(),
    });
    let client_ca = t.text("client-ca").map(|path| base.join(path));
    let expected = "an address and port, such as \"127.0.0.1:9443\" or \"[::1]:9443\"";
    let address = Address::Net(t.parsed("address", expected, |text| text.parse::<SocketAddr>().ok())?);
    if certificates.is_empty() && !is_loopback(&address) {
        let expected = "certificates beside it, or a loopback address: passwords would travel in the clear";
        t.fault("address", format!("{address} without certificates"), expected);
    }
    if client_ca.is_some() && certificates.is_empty() {
        t.fault("client-ca", "no certificates", "certificates beside it");
    }
    let client_auth = if client_ca.is_some() { ClientAuth::Optional } else { ClientAuth::Off };
    Some(Listener {
        name: String::new(),
        protocol: Protocol::Http,
        start_tls: false,
        site: None,
        address,
        v6_only: false,
        mode: 0,
        proxied: Proxied { protocol: ProxyHeader::Off, from: Networks::default(), timeout: Duration::ZERO },
        certificates,
        tls: ListenerTls { only_1_3: false, client_auth, client_ca, place: t.place() },
        redirect_to_https: None,
        health_path: None,
        health_log: false,
        idle_timeout: Duration::ZERO,
        handshake_timeout: Duration::from_secs(10),
        limits: Limits::NONE,
        place: t.place(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Config, Source, parse};
    use super::*;

    fn read(admin: &str) -> Result<Config, String> {
        let text = format!(
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:8080\"\n[[backend]]\nname = \"b\"\nurl = \"http://b/\"\n\
             recipe = \"form\"\n[[site]]\nhosts = [\"*\"]\n[admin]\n{admin}\n"
        );
        parse(&Arc::new(Source::new("c", text)), Path::new(".")).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_address_is_nobody_elses_and_is_secure_or_of_this_machine() {
        assert!(read("").unwrap().admin.listener.is_none());
        let local = read("address = \"127.0.0.1:9443\"").unwrap().admin;
        assert_eq!(local.hosts, LOOPBACK);
        assert!(local.listener.is_some());
        assert_eq!(read("address = \"127.0.0.2:9443\"").unwrap().admin.hosts[3..], ["127.0.0.2"]);
        let certificates = "certificates = [{ chain = \"c.pem\", key = \"k.pem\" }]\nhosts = [\"Doors.Example.com\"]";
        let foreign = read(&format!("address = \"0.0.0.0:9443\"\n{certificates}")).unwrap().admin;
        assert_eq!(foreign.hosts, ["doors.example.com"], "a wildcard address has no names of its own");
        for (wrong, told) in [
            ("address = \"127.0.0.1:8080\"", "admin.address"),
            ("address = \"0.0.0.0:9443\"\nhosts = [\"a.example\"]", "without certificates"),
            ("address = \"[::]:8080\"", "without certificates"),
            ("address = \"0.0.0.0:9443\"\ncertificates = [{ chain = \"c\", key = \"k\" }]", "admin.hosts"),
            ("address = \"0.0.0.0:9443\"\ncertificates = []\nhosts = [\"a\"]", "without certificates"),
            ("address = \"localhost:1\"", "admin.address"),
            ("address = \"127.0.0.1:9443\"\nhosts = [\"a:80\"]", "admin.hosts"),
            ("address = \"127.0.0.1:9443\"\nclient-ca = \"ca.pem\"", "admin.client-ca"),
        ] {
            let faults = read(wrong).unwrap_err();
            assert!(faults.contains(told), "{wrong}: {faults}");
        }
        let meets = read(&format!("address = \"0.0.0.0:8080\"\n{certificates}")).unwrap_err();
        assert!(meets.contains("the listener \"a\" listens"), "{meets}");
    }
}
