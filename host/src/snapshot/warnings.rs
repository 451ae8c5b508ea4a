//! What a configuration is taken with, though it is hardly meant: of names in it, and of the files that it names.

use std::path::Path;

use rustix::fs::{Access, access};
use serde_json::Value as Json;

use super::Snapshot;
use crate::config::{
    Address, Collector, Config, DirectoryKind, LogTarget, Place, Policy, Protocol, SharedComputer, Tls,
};
use crate::{shortage, times, tls};

/// Adds all of them.
pub(super) fn add(config: &Config, snapshot: &Snapshot, warnings: &Collector) {
    certificates(config, warnings);
    hosts(config, warnings);
    folders(config, warnings);
    open_files(config, warnings);
    mail(config, warnings);
    attributes_of_recipes(config, snapshot, warnings);
    users(config, snapshot, warnings);
    for doubt in snapshot.pages.doubts() {
        warnings.add(config.place.key("templates").warning(doubt.as_str(), "a page that people can use"));
    }
    unshown(config, snapshot, warnings);
    for policy in config.policies.iter().filter(|policy| policy.file.is_none()) {
        settings(config, snapshot, policy, warnings);
    }
}

/// Settings of a site that its look's own templates do not show.
fn unshown(config: &Config, snapshot: &Snapshot, warnings: &Collector) {
    for site in &config.sites {
        let asks = site.shared_computer == SharedComputer::Ask;
        let said = [
            ("logo", site.logo.is_some()),
            ("accent-color", site.accent_color.is_some()),
            ("links", !site.links.is_empty()),
            ("announcement", site.announcement.is_some()),
            ("shared-computer", asks),
        ];
        for (key, _) in said.iter().filter(|(key, is_said)| *is_said && !snapshot.pages.shows(&site.template, key)) {
            let found = format!("what the login page of the look \"{}\" does not show", site.template);
            let expected = "a look whose login page has the variables for it";
            warnings.add(site.place.key(key).warning(found, expected));
        }
    }
}

/// More connections than this process may have open files.
fn open_files(config: &Config, warnings: &Collector) {
    if let Some((limit, wanted)) = shortage::too_few_open_files(config) {
        let found = format!("connections that may need {wanted} open files, where the hard limit is {limit}");
        let expected = "a higher limit (LimitNOFILE of systemd), or lower max-connections of listeners and back-ends";
        warnings.add(config.place.key("listener").warning(found, expected));
    }
}

/// Doors for mail programs that let nobody in.
fn mail(config: &Config, warnings: &Collector) {
    for listener in config.listeners.iter().filter(|listener| listener.protocol != Protocol::Http) {
        let protocol = listener.protocol.name();
        if !config.backends.iter().any(|backend| backend.mail.at(listener.protocol).is_some()) {
            let found = format!("\"{protocol}\", and no back-end has a server for it");
            warnings.add(listener.place.key("protocol").warning(found, format!("the key {protocol} at back-ends")));
        }
        if listener.certificates.is_empty() && config.mail.clear_text_from.is_empty() {
            let found = "a listener without TLS, where passwords are taken from nobody";
            let expected = "certificates beside it, or clear-text-from in [mail]";
            warnings.add(listener.place.key("protocol").warning(found, expected));
        }
    }
}

/// Certificates that do not hold, or not for long.
fn certificates(config: &Config, warnings: &Collector) {
    let now = i64::try_from(times::seconds_now()).unwrap_or(i64::MAX);
    let warn = |place: Place, file: &Path, trouble: Option<String>| {
        if let Some(trouble) = trouble {
            warnings.add(place.warning(format!("{}: {trouble}", file.display()), "one that holds for longer"));
        }
    };
    let chain = |place: Place, file: &Path| warn(place, file, tls::chain_trouble(file, now));
    let authorities = |place: Place, file: &Path| warn(place, file, tls::authorities_trouble(file, now));
    for listener in config.listeners.iter().chain(&config.admin.listener) {
        for certificate in &listener.certificates {
            chain(certificate.place.key("chain"), &certificate.chain);
        }
        listener.tls.client_ca.iter().for_each(|file| authorities(listener.tls.place.key("client-ca"), file));
    }
    for backend in &config.backends {
        let place = backend.place.key("tls");
        if backend.tls != Tls::default() && backend.url.starts_with("http:") && !backend.mail.has_tls() {
            let expected = "a url that begins with https://, or mail servers with TLS";
            warnings.add(place.warning("settings of TLS for a back-end without TLS", expected));
        }
        backend.tls.certificate.iter().for_each(|file| chain(place.key("certificate"), file));
        backend.tls.ca.iter().for_each(|file| authorities(place.key("ca"), file));
    }
    if let DirectoryKind::Ldap(ldap) = &config.directory.kind {
        ldap.ca.iter().for_each(|file| authorities(config.directory.place.key("ca"), file));
    }
}

/// Hosts whose visitors see a browser's warning, wherever they come in by TLS.
fn hosts(config: &Config, warnings: &Collector) {
    let secure = config.listeners.iter().filter(|listener| !listener.certificates.is_empty());
    // For each listener: the names that are asked for by a client, and those that the certificate is for.
    let shown: Vec<Vec<(&[String], Vec<String>)>> = secure
        .map(|listener| listener.certificates.iter().map(|one| (&*one.names, tls::names(&one.chain))).collect())
        .collect();
    for certificate in config.listeners.iter().flat_map(|listener| &listener.certificates) {
        let names = tls::names(&certificate.chain);
        let wrong = |name: &&String| !tls::covers(&names, &name.to_ascii_lowercase());
        for name in certificate.names.iter().filter(wrong) {
            let expected = format!("names that the certificate is for: {}", names.join(", "));
            warnings.add(certificate.place.key("names").warning(format!("\"{name}\""), expected));
        }
    }
    let is_covered = |certificates: &Vec<(&[String], Vec<String>)>, host: &str| {
        let asked = certificates.iter().find(|(names, _)| {
            let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
            tls::covers(&names, host)
        });
        asked.or(certificates.first()).is_some_and(|(_, names)| tls::covers(names, host))
    };
    for site in config.sites.iter().filter(|_| !shown.is_empty()) {
        for (index, host) in site.hosts.iter().enumerate().filter(|(_, host)| *host != "*") {
            if !shown.iter().any(|certificates| is_covered(certificates, host)) {
                let found = format!("\"{host}\", which no certificate is for that is shown for it");
                let place = site.place.key(&format!("hosts[{index}]"));
                warnings.add(place.warning(found, "a host that is in a listener's certificates"));
            }
        }
    }
}

/// Folders in which this user cannot make the files that Doorward makes, and files that he cannot write.
fn folders(config: &Config, warnings: &Collector) {
    let root = &config.place;
    let file = |path: &Option<std::path::PathBuf>, place: Place| path.clone().map(|path| (path, place));
    let mut written = vec![
        file(&config.admin.socket, root.key("admin.socket")),
        file(&config.admin.audit, root.key("admin.audit")),
        file(&config.session.key_file, config.session.place.key("key-file")).filter(|(path, _)| !path.exists()),
        file(&config.session.revocations_file, config.session.place.key("revocations-file")),
        file(&config.ticket_key_file, root.key("tls.ticket-key-file")).filter(|(path, _)| !path.exists()),
        // Made when it is missing, as every file is.
        file(&config.state_directory, root.key("state-directory")),
    ];
    written.extend(config.log.to.iter().map(|to| match &to.target {
        LogTarget::File(path) => Some((path.clone(), to.place.key("target"))),
        _ => None,
    }));
    written.extend(config.listeners.iter().map(|listener| match &listener.address {
        Address::Unix(path) => Some((path.clone(), listener.place.key("address"))),
        _ => None,
    }));
    for (path, place) in written.into_iter().flatten() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A socket is replaced, and so is its file: only the folder counts.
        let is_plain = std::fs::metadata(&path).is_ok_and(|found| found.is_file() || found.is_dir());
        let asked = if is_plain { path.as_path() } else { folder };
        if let Err(error) = access(asked, Access::WRITE_OK) {
            let found = format!("{}: {}", asked.display(), std::io::Error::from(error));
            warnings.add(place.warning(found, "a place that this user may write to"));
        }
    }
}

/// Attributes that a recipe is filled with and that nobody reads from the directory: its requests cannot be made.
fn attributes_of_recipes(config: &Config, snapshot: &Snapshot, warnings: &Collector) {
    for backend in &config.backends {
        let node = snapshot.nodes.iter().find(|node| node.name() == backend.name);
        let mut names: Vec<&str> = node.iter().flat_map(|node| node.recipe.attributes()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            attribute(config, backend.place.key("recipe"), name, warnings);
        }
    }
}

fn attribute(config: &Config, place: Place, name: &str, warnings: &Collector) {
    let exposed = &config.directory.exposed_attributes;
    if !exposed.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        let what = "an attribute of [directory] exposed-attributes";
        warnings.add(place.warning(format!("the attribute \"{name}\""), "").none_of(
            name,
            what,
            exposed.iter().map(String::as_str),
        ));
    }
}

/// So many users of a file are told by name.
const TOLD: usize = 3;

/// Users of the LDIF file who cannot log in, since no back-end has a name that their entry has.
fn users(config: &Config, snapshot: &Snapshot, warnings: &Collector) {
    let lost = snapshot.directory.hosts_of_file().into_iter();
    let lost =
        lost.filter(|(_, hosts)| !hosts.is_empty() && hosts.iter().all(|host| snapshot.number_of(host).is_none()));
    let lost: Vec<String> = lost.map(|(dn, hosts)| format!("{dn}: \"{}\"", hosts.join("\", \""))).collect();
    if let Some(first) = lost.get(..TOLD.min(lost.len())).filter(|first| !first.is_empty()) {
        let more = if lost.len() > TOLD { format!(" and {} more", lost.len() - TOLD) } else { String::new() };
        let found = format!("users on back-ends that there are not: {}{more}", first.join("; "));
        let names = config.backends.iter().flat_map(|backend| backend.names()).collect::<Vec<_>>().join(", ");
        let expected =
            format!("in {} a back-end's name, alias, address or URL: {names}", config.directory.host_attribute);
        warnings.add(config.directory.place.key("file").warning(found, expected));
    }
}

/// Names in the settings of the built-in policies: what they say is looked up when a request comes, and then it is late.
fn settings(config: &Config, snapshot: &Snapshot, policy: &Policy, warnings: &Collector) {
    let place = policy.place.key("settings");
    let settings = &policy.settings;
    match policy.name.as_str() {
        "access-control" => {
            let lists = ["rules", "service-rules"].map(|list| (list.to_owned(), &settings[list]));
            let by_listener = settings["listener-rules"].as_object().into_iter().flatten();
            let by_listener = by_listener.map(|(name, rules)| (format!("listener-rules.{name}"), rules));
            for (path, rules) in lists.into_iter().chain(by_listener) {
                for (index, class) in of_each(rules, "/limits") {
                    if !config.classes.contains_key(class) {
                        let place = place.key(&format!("{path}[{index}].limits"));
                        let classes = config.classes.keys().map(String::as_str);
                        warnings.add(place.warning(format!("\"{class}\""), "").none_of(class, "a class", classes));
                    }
                }
            }
            for name in settings["listener-rules"].as_object().into_iter().flat_map(|rules| rules.keys()) {
                listener(config, place.key(&format!("listener-rules.{name}")), name, warnings);
            }
        }
        "virtual-hosts" => {
            template(snapshot, place.key("default"), &settings["default"], warnings);
            for (host, templates) in settings["hosts"].as_object().into_iter().flatten() {
                let place = place.key(&format!("hosts.{host}"));
                template(snapshot, place.clone(), templates, warnings);
                for (form, name) in templates.as_object().into_iter().flatten() {
                    template(snapshot, place.key(form), name, warnings);
                }
            }
        }
        "auth-mode" => {
            for (index, name) in of_each(&settings["rules"], "/attribute/name") {
                attribute(config, place.key(&format!("rules[{index}].attribute.name")), name, warnings);
            }
            for (index, name) in of_each(&settings["rules"], "/listener") {
                listener(config, place.key(&format!("rules[{index}].listener")), name, warnings);
            }
        }
        _ => {}
    }
}

/// The text at a pointer (RFC 6901) in each item of a list that has one, with the item's number.
fn of_each<'a>(list: &'a Json, pointer: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let items = list.as_array().into_iter().flatten().enumerate();
    items.filter_map(move |(index, item)| Some((index, item.pointer(pointer)?.as_str()?)))
}

fn template(snapshot: &Snapshot, place: Place, name: &Json, warnings: &Collector) {
    if let Some(name) = name.as_str().filter(|name| !snapshot.pages.has(name)) {
        warnings.add(place.warning(format!("\"{name}\""), "").none_of(name, "a template", snapshot.pages.looks()));
    }
}

fn listener(config: &Config, place: Place, name: &str, warnings: &Collector) {
    let known = config.listeners.iter().map(|listener| listener.name.as_str());
    if !known.clone().any(|known| known == name) {
        warnings.add(place.warning(format!("\"{name}\""), "").none_of(name, "a listener", known));
    }
}
