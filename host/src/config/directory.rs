//! `[directory]`: where users are found, as the operator wrote it.

use doorward_wire::host::host_name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::link::{LINK, link};
use super::{Place, Table};

/// `[directory]`.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Where entries are.
    pub kind: DirectoryKind,
    /// A file that says which user is on which back-end, and is asked first.
    pub map: Option<PathBuf>,
    /// Search filter; `{user}`, `{user.local}` and `{user.domain}` are filled in escaped.
    pub filter: String,
    /// Whether names that differ in case only are one name.
    pub fold_case: bool,
    /// Attribute with the user's one name; what was typed when missing.
    pub name_attribute: Option<String>,
    /// Attribute that names the user's back-end.
    pub host_attribute: String,
    /// Attribute that holds the password, for the mode `ldap-password`.
    pub password_attribute: String,
    /// Attributes that auth-mode policies may read.
    pub exposed_attributes: Vec<String>,
    /// For how long it is remembered which back-end a user is on.
    pub routes: Routes,
    /// Where people whose account has a problem are sent, by the problem's name.
    pub account_help: BTreeMap<String, String>,
    /// Where it stands.
    pub place: Place,
}

/// What is remembered of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routes {
    /// So long for a user who is there.
    pub lifetime: Duration,
    /// So long for one who is not.
    pub negative_lifetime: Duration,
    /// So many users.
    pub size: usize,
}

/// The two kinds of directory.
#[derive(Debug, Clone)]
pub enum DirectoryKind {
    /// Entries of an LDIF file; none means the embedded demo's.
    Ldif(Option<PathBuf>),
    /// LDAP servers.
    Ldap(Ldap),
}

/// `[directory]` of `kind = "ldap"`.
#[derive(Debug, Clone)]
pub struct Ldap {
    /// `ldap://` or `ldaps://`, tried in order.
    pub urls: Vec<String>,
    /// StartTLS on `ldap://`.
    pub start_tls: bool,
    /// Plain `ldap://` without StartTLS: only by this explicit word.
    pub insecure: bool,
    /// Account that searches; anonymous when empty.
    pub bind_dn: String,
    /// File with its password.
    pub bind_password_file: Option<PathBuf>,
    /// Where the search starts; the whole subtree is searched.
    pub base: String,
    /// CA certificates (PEM) to trust; the system's when missing.
    pub ca: Option<PathBuf>,
    /// Deadline of connecting, TLS included.
    pub connect_timeout: Duration,
    /// Deadline of each operation (the original's `timeout`).
    pub timeout: Duration,
    /// How long a server that failed is passed over (the original's `transientErrorRetryInterval`).
    pub retry_interval: Duration,
    /// A connection unused for so long is closed.
    pub idle_timeout: Duration,
    /// No connection is used for longer.
    pub max_age: Duration,
}

impl Directory {
    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_kind = match &self.kind {
            DirectoryKind::Ldif(file) => [file, &None],
            DirectoryKind::Ldap(ldap) => [&ldap.bind_password_file, &ldap.ca],
        };
        of_kind.into_iter().chain([&self.map]).flatten()
    }
}

/// Problems of accounts that can have a link, as `directory::Problem` names them.
const PROBLEMS: [&str; 6] = ["password-expired", "must-change", "locked", "disabled", "account-expired", "not-now"];

/// The filter finds a person by login name or by mail address.
const DEFAULT_FILTER: &str = "(|(uid={user})(mail={user}))";

/// The demo's users.
pub(super) fn default(place: Place) -> Directory {
    Directory {
        kind: DirectoryKind::Ldif(None),
        map: None,
        filter: DEFAULT_FILTER.to_owned(),
        fold_case: true,
        name_attribute: None,
        host_attribute: "mailHost".to_owned(),
        password_attribute: "userPassword".to_owned(),
        exposed_attributes: Vec::new(),
        // Long enough for a burst of logins, short enough that a moved mailbox is found within a minute; and a user who
        // was made just now waits for no longer than it takes to type the password again.
        routes: Routes { lifetime: Duration::from_secs(60), negative_lifetime: Duration::from_secs(5), size: 10_000 },
        account_help: BTreeMap::new(),
        place,
    }
}

pub(super) fn directory(t: &Table<'_>, base: &Path) -> Directory {
    let default = default(t.place());
    let kind = if t.choice("kind", &[("ldif", false), ("ldap", true)]).unwrap_or(false) {
        DirectoryKind::Ldap(ldap(t, base))
    } else {
        DirectoryKind::Ldif(t.text("file").map(|path| base.join(path)))
    };
    let password_attribute = t.text("password-attribute").unwrap_or(default.password_attribute);
    let exposed_attributes = t.texts("exposed-attributes");
    // No policy gets to see a password, and no cache to keep one.
    let is_password = |name: &&String| {
        let passwords = [password_attribute.as_str(), "userPassword", "unicodePwd"];
        passwords.iter().any(|password| password.eq_ignore_ascii_case(name))
    };
    for name in exposed_attributes.iter().filter(is_password) {
        t.fault(
            "exposed-attributes",
            format!("\"{name}\", which holds passwords"),
            "attributes that policies may read",
        );
    }
    Directory {
        kind,
        map: t.text("map").map(|path| base.join(path)),
        filter: t.text("filter").unwrap_or(default.filter),
        fold_case: t.flag("fold-case", default.fold_case),
        name_attribute: t.text("name-attribute"),
        host_attribute: t.text("host-attribute").unwrap_or(default.host_attribute),
        password_attribute,
        exposed_attributes,
        routes: Routes {
            lifetime: t.duration_or_none("route-lifetime", default.routes.lifetime),
            negative_lifetime: t.duration_or_none("route-negative-lifetime", default.routes.negative_lifetime),
            // An entry takes some hundred bytes.
            size: t.places("route-cache-size", default.routes.size, 0..=1_000_000),
        },
        account_help: t.table("account-help", account_help).unwrap_or_default(),
        place: default.place,
    }
}

/// A link for each problem.
fn account_help(t: &Table<'_>) -> BTreeMap<String, String> {
    let help = |name: &str| Some((name.to_owned(), t.parsed(name, LINK, link)?));
    PROBLEMS.into_iter().filter_map(help).collect()
}

fn ldap(t: &Table<'_>, base: &Path) -> Ldap {
    let urls = t.texts("urls");
    let (start_tls, insecure) = (t.flag("start-tls", false), t.flag("insecure", false));
    if urls.is_empty() {
        t.fault("urls", "nothing", "at least one ldaps:// or ldap:// URL");
    }
    for url in &urls {
        let Some((scheme, authority)) = url.split_once("://") else {
            t.fault("urls", format!("\"{url}\""), "a URL that starts with ldaps:// or ldap://");
            continue;
        };
        let right = host_name(authority.trim_end_matches('/')).is_some();
        match scheme {
            "ldaps" | "ldap" if !right => t.fault("urls", format!("\"{url}\""), "ldaps://HOST, and perhaps :PORT"),
            "ldaps" => {}
            "ldap" if start_tls || insecure => {}
            "ldap" => t.fault(
                "urls",
                format!("\"{url}\", which would send passwords in clear text"),
                "ldaps://, or start-tls = true, or insecure = true",
            ),
            _ => t.fault("urls", format!("\"{url}\""), "a URL that starts with ldaps:// or ldap://"),
        }
    }
    Ldap {
        urls,
        start_tls,
        insecure,
        bind_dn: t.text("bind-dn").unwrap_or_default(),
        bind_password_file: t.text("bind-password-file").map(|path| base.join(path)),
        base: t.required("base"),
        ca: t.text("ca").map(|path| base.join(path)),
        connect_timeout: t.duration("connect-timeout", Duration::from_secs(4)),
        timeout: t.duration("timeout", Duration::from_secs(4)),
        retry_interval: t.duration_or_none("retry-interval", Duration::from_secs(5)),
        // Firewalls and servers forget silent connections, the shortest-minded after a few minutes.
        idle_timeout: t.duration_or_none("idle-timeout", Duration::from_secs(60)),
        max_age: t.duration_or_none("max-age", Duration::from_secs(600)),
    }
}
