//! `[cluster]`: the front doors that are one, and the store by which they hear of each other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::{Place, Table};

/// `[cluster]`.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// What the cluster is called: the beginning of every key in the store.
    pub name: String,
    /// What this door is called.
    pub door: String,
    /// The servers, tried in order.
    pub store: Vec<Url>,
    /// Who is asked instead which server is the primary.
    pub sentinel: Option<Sentinel>,
    /// The account at the store.
    pub user: Option<String>,
    /// File with its password.
    pub password_file: Option<PathBuf>,
    /// File of the authorities that certificates of the store are checked by.
    pub ca: Option<PathBuf>,
    /// File with the keys that everything in the store is sealed with.
    pub key_file: Option<PathBuf>,
    /// How long a login waits for the store.
    pub timeout: Duration,
    /// What becomes of logins while the store is away.
    pub when_away: WhenAway,
    /// Where it stands.
    pub place: Place,
}

/// `[cluster.sentinel]`.
#[derive(Debug, Clone)]
pub struct Sentinel {
    /// What the Sentinels call the primary.
    pub master: String,
    /// The Sentinels, tried in order.
    pub hosts: Vec<Url>,
    /// File with the password of the Sentinels.
    pub password_file: Option<PathBuf>,
}

/// What becomes of logins while the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// They go on, under limits that are divided by the number of doors.
    GoOn,
    /// There are none.
    RefuseLogins,
}

impl Cluster {
    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_sentinel = self.sentinel.iter().filter_map(|sentinel| sentinel.password_file.as_ref());
        [&self.password_file, &self.ca, &self.key_file].into_iter().flatten().chain(of_sentinel)
    }
}

/// Longest name of a cluster or of a door.
const NAME: usize = 64;
/// The longest time that a login may be made to wait.
const LONGEST: Duration = Duration::from_secs(2);

/// Reads the table.
pub(super) fn cluster(t: &Table<'_>, base: &Path) -> Cluster {
    let path = |key: &str| t.text(key).map(|path| base.join(path));
    let store = urls(t, "store");
    let sentinel = t.table("sentinel", |t| Sentinel {
        master: t.required("master"),
        hosts: urls(t, "hosts"),
        password_file: t.text("password-file").map(|path| base.join(path)),
    });
    match (&sentinel, store.is_empty()) {
        (None, true) if !t.has("store") => t.fault("store", "nothing", STORE),
        (Some(_), false) => t.fault("store", "servers beside Sentinels", "one of store and sentinel"),
        (Some(sentinel), true) if sentinel.hosts.is_empty() => t.fault("sentinel", "no hosts", "at least one Sentinel"),
        _ => {}
    }
    let timeout = t.duration("timeout", Duration::from_millis(80));
    if timeout > LONGEST || timeout.is_zero() {
        t.fault("timeout", format!("{} ms", timeout.as_millis()), "from 1ms to 2s: a login waits that long");
    }
    let away = [("go-on", WhenAway::GoOn), ("refuse-logins", WhenAway::RefuseLogins)];
    let key_file = path("key-file");
    if key_file.is_none() && !t.has("key-file") {
        t.fault("key-file", "nothing", "the file of keys that all doors have, which `doorward keys rotate FILE` makes");
    }
    Cluster {
        name: name(t, "name"),
        door: name(t, "door"),
        store,
        sentinel,
        user: t.text("user"),
        password_file: path("password-file"),
        ca: path("ca"),
        key_file,
        timeout,
        when_away: t.choice("when-away", &away).unwrap_or(WhenAway::GoOn),
        place: t.place(),
    }
}

/// What servers are.
const STORE: &str = "servers such as \"rediss://store1:6379\", or \"redis://127.0.0.1:6379\" without TLS";

fn urls(t: &Table<'_>, key: &str) -> Vec<Url> {
    let mut found = Vec::new();
    for text in t.texts(key) {
        match url(&text) {
            Some(url) => found.push(url),
            // It may hold a password.
            None => t.fault(key, "something else", STORE),
        }
    }
    found
}

fn url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_bare = is_bare && matches!(url.path(), "" | "/") && url.fragment().is_none();
    (matches!(url.scheme(), "redis" | "rediss") && url.host_str().is_some_and(|host| !host.is_empty()) && is_bare)
        .then_some(url)
}

fn name(t: &Table<'_>, key: &str) -> String {
    let name = t.required(key);
    let right = name.len() <= NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !right {
        t.fault(key, format!("\"{name}\""), "1 to 64 letters, digits, and -_.");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_bare_address() {
        for right in ["redis://127.0.0.1:6379", "rediss://store1.example.com", "redis://[::1]:1/"] {
            assert!(url(right).is_some(), "{right}");
        }
        for wrong in ["", "store1:6379", "http://a/", "redis://u:p@a/", "redis://a/0", "redis://a?x", "redis:///"] {
            assert!(url(wrong).is_none(), "{wrong}");
        }
    }
}
