//! The real servers of `tests/stack`: OpenLDAP with a replica, two Roundcube nodes with Dovecot.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// One running stack. It ends with this process, however that ends: `up` gets our PID as its owner.
pub struct Stack {
    dir: PathBuf,
    settings: Vec<(String, String)>,
    environment: Environment,
    users: Vec<User>,
    stop: Stop,
}

/// What `up` starts by itself.
const USUAL: [&str; 8] = ["ldap1", "ldap2", "imap-a", "imap-b", "php-a", "php-b", "web-a", "web-b"];

/// When it is taken down.
#[derive(PartialEq, Eq)]
enum Stop {
    WhenDropped,
    WithTheProcess,
    Never,
}

#[derive(Debug, Deserialize)]
struct Environment {
    ca_file: PathBuf,
    rogue_ca_file: PathBuf,
    server_cert_file: PathBuf,
    server_key_file: PathBuf,
    ldap: Ldap,
    nodes: BTreeMap<String, Node>,
    sogo: String,
    cyrus: String,
    sqwebmail: String,
    radicale: String,
    postfix: String,
    postfix_tls: String,
    horde: String,
    horde_subpath: String,
    users_file: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Ldap {
    base_dn: String,
    people_dn: String,
    primary: Server,
    replica: Server,
    bind_dn: String,
    bind_password: String,
    pwreader_dn: String,
    pwreader_password: String,
    admin_dn: String,
    admin_password: String,
}

#[derive(Debug, Deserialize)]
struct Server {
    ldap: String,
    ldaps: String,
}

/// One webmail node; all URLs end with a slash.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// What `mailHost` says for it.
    pub mail_host: String,
    /// Its own address, 127.0.0.11 or .12.
    pub address: String,
    /// Plain HTTP.
    pub http: String,
    /// The same below a path.
    pub http_subpath: String,
    /// Below a path that its pages do not show, as behind a proxy that takes it off.
    pub http_subpath_hidden: String,
    /// At its own address, with a port shared by all nodes.
    pub http_by_address: String,
    /// TLS with a good certificate.
    pub https: String,
    /// TLS with an expired certificate.
    pub https_expired: String,
    /// TLS with a certificate for another name.
    pub https_wrongname: String,
    /// TLS with a certificate of an unknown CA.
    pub https_rogue: String,
    /// IMAP, plain.
    pub imap: String,
    /// IMAP behind TLS with a good certificate.
    pub imaps: String,
    /// POP3, plain.
    pub pop3: String,
    /// ManageSieve, with STARTTLS.
    pub sieve: String,
    /// Dovecot's submission, with STARTTLS; it relays to Postfix, which is to be started for it.
    pub submission: String,
    /// nginx's access log.
    pub access_log: PathBuf,
}

/// One test user; see `tests/stack/README.md` for those with a purpose.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// Login name.
    pub uid: String,
    /// Entry in the directory.
    pub dn: String,
    /// Address.
    pub mail: String,
    /// Password; empty for the one without.
    pub password: String,
    /// How the directory keeps it: `ssha`, `crypt`, `clear`, `none`.
    pub scheme: String,
    /// `A`, `B`, `Z` for a node that does not exist, or nothing.
    pub node: Option<String>,
    /// `active`, `disabled` or `locked`.
    pub status: String,
}

impl Stack {
    /// The stack that all tests of this process share; started by the first who asks. Do not stop its services:
    /// others use them. With `DOORWARD_STACK=DIR` it is the one that runs there already.
    pub fn start() -> &'static Self {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var_os("DOORWARD_STACK") {
            Some(dir) => Self::read(PathBuf::from(dir), Vec::new(), Stop::Never),
            None => Self::up(&[], &[], Stop::WithTheProcess),
        })
    }

    /// A stack of one's own, to play failures with `ctl`, with settings of `lib.sh` other than usual. Stopped when
    /// dropped.
    pub fn own(settings: &[(&str, &str)]) -> Self {
        Self::up(settings, &[], Stop::WhenDropped)
    }

    /// The two directory servers only, of one's own. Nobody listens at the addresses of the nodes.
    pub fn directory() -> Self {
        Self::up(&[], &["ldap1", "ldap2"], Stop::WhenDropped)
    }

    /// Some services only, of one's own, with settings other than usual. Those that `up` does not start by itself are
    /// started after the others, in the order given.
    pub fn with(settings: &[(&str, &str)], services: &[&str]) -> Self {
        let (usual, more): (Vec<&str>, Vec<&str>) = services.iter().partition(|name| USUAL.contains(name));
        let stack = Self::up(settings, &usual, Stop::WhenDropped);
        if !more.is_empty() {
            stack.ctl(&[&["start"][..], &more].concat());
        }
        stack
    }

    fn up(settings: &[(&str, &str)], services: &[&str], stop: Stop) -> Self {
        // `down --purge` removes the folder, not we
        let dir = crate::temp_dir().keep();
        let mut all: Vec<(String, String)> = settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        all.push(("RS_OWNER".into(), std::process::id().to_string()));
        script("up", &dir, &all, services);
        Self::read(dir, all, stop)
    }

    fn read(dir: PathBuf, settings: Vec<(String, String)>, stop: Stop) -> Self {
        let environment: Environment = json(&dir.join("env.json"));
        let users = json(&environment.users_file);
        Self { dir, settings, environment, users, stop }
    }

    /// Runs `ctl`: `["stop", "ldap1"]`, `["pause", "web-a"]`, `["start", "ldap1"]`, ...
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        script("ctl", &self.dir, &self.settings, arguments)
    }

    /// Its folder, with all logs below `log`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a service has logged: `ldap1.out`, `nginx-a.access.log`, ...
    #[track_caller]
    pub fn log(&self, name: &str) -> String {
        let path = self.dir.join("log").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The CA of all good certificates.
    pub fn ca(&self) -> &Path {
        &self.environment.ca_file
    }

    /// A CA that signed none of them.
    pub fn rogue_ca(&self) -> &Path {
        &self.environment.rogue_ca_file
    }

    /// A good certificate for `webmail.example.test` and `localhost`, and its key.
    pub fn server_pair(&self) -> (&Path, &Path) {
        (&self.environment.server_cert_file, &self.environment.server_key_file)
    }

    /// `ldap://` of provider and replica.
    pub fn ldap(&self) -> [&str; 2] {
        [&self.environment.ldap.primary.ldap, &self.environment.ldap.replica.ldap]
    }

    /// `ldaps://` of provider and replica.
    pub fn ldaps(&self) -> [&str; 2] {
        [&self.environment.ldap.primary.ldaps, &self.environment.ldap.replica.ldaps]
    }

    /// `dc=example,dc=test`.
    pub fn base_dn(&self) -> &str {
        &self.environment.ldap.base_dn
    }

    /// Where the people are.
    pub fn people_dn(&self) -> &str {
        &self.environment.ldap.people_dn
    }

    /// DN and password of the account that may search.
    pub fn service(&self) -> (&str, &str) {
        (&self.environment.ldap.bind_dn, &self.environment.ldap.bind_password)
    }

    /// DN and password of the account that may also read `userPassword`.
    pub fn password_reader(&self) -> (&str, &str) {
        (&self.environment.ldap.pwreader_dn, &self.environment.ldap.pwreader_password)
    }

    /// Changes the directory (LDIF with `changetype`), as its administrator, at the provider.
    #[track_caller]
    pub fn modify(&self, ldif: &str) {
        use std::io::Write as _;
        let ldap = &self.environment.ldap;
        let mut child = Command::new("ldapmodify")
            .args(["-x", "-H", &ldap.primary.ldap, "-D", &ldap.admin_dn, "-w", &ldap.admin_password])
            .env("LDAPNOINIT", "1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("ldapmodify: {e}"));
        child.stdin.take().expect("it is a pipe").write_all(ldif.as_bytes()).expect("ldapmodify reads");
        checked("ldapmodify", child.wait_with_output().expect("ldapmodify ends"));
    }

    /// Node `A` or `B`.
    #[track_caller]
    pub fn node(&self, name: &str) -> &Node {
        self.environment.nodes.get(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// The URL of SOGo, in front of node `A`'s mail. It runs when `ctl start db cache sogo` has started it.
    pub fn sogo(&self) -> &str {
        &self.environment.sogo
    }

    /// The URL of Cyrus: JMAP and DAV, for `alice`, `carol`, `erin` and `grace`. It runs when `ctl start cyrus` has started it.
    pub fn cyrus(&self) -> &str {
        &self.environment.cyrus
    }

    /// The URL of sqwebmail, for the same users. It runs when `ctl start sqauth sqmail sqweb` has started it.
    pub fn sqwebmail(&self) -> &str {
        &self.environment.sqwebmail
    }

    /// Where Postfix takes messages, with STARTTLS. It runs when `ctl start postfix` has started it.
    pub fn postfix(&self) -> &str {
        &self.environment.postfix
    }

    /// The same, TLS first.
    pub fn postfix_tls(&self) -> &str {
        &self.environment.postfix_tls
    }

    /// The URL of Radicale, for the same users. It runs when `ctl start radicale` has started it.
    pub fn radicale(&self) -> &str {
        &self.environment.radicale
    }

    /// Gives a user another password at Cyrus.
    #[track_caller]
    pub fn cyrus_password(&self, name: &str, password: &str) {
        let arguments = ["password", &self.dir.display().to_string(), name, password];
        script("tools/cyrus.py", &self.dir, &self.settings, &arguments);
    }

    /// Gives a user another password at Radicale.
    #[track_caller]
    pub fn radicale_password(&self, name: &str, password: &str) {
        let file = self.dir.join("radicale/users");
        let users = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let line = |line: &str| match line.split_once(':') {
            Some((known, _)) if known == name => format!("{name}:{password}\n"),
            _ => format!("{line}\n"),
        };
        std::fs::write(&file, users.lines().map(line).collect::<String>()).expect("the file of Radicale's users");
    }

    /// The URL of Horde, in front of node `A`'s mail. It runs when `ctl start horde` has started it.
    pub fn horde(&self) -> &str {
        &self.environment.horde
    }

    /// The same Horde at `/horde/`, Debian's place for it.
    pub fn horde_subpath(&self) -> &str {
        &self.environment.horde_subpath
    }

    /// All users.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The user of a login name.
    #[track_caller]
    pub fn user(&self, uid: &str) -> &User {
        self.users.iter().find(|u| u.uid == uid).unwrap_or_else(|| panic!("there is no user {uid}"))
    }

    /// Runs `check.py`, the acceptance check, with these arguments; its output, and a panic when it fails.
    #[track_caller]
    pub fn check(&self, arguments: &[&str]) -> String {
        script("check.py", &self.dir, &self.settings, arguments)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.stop == Stop::WhenDropped {
            let done = command("down", &self.dir, &self.settings).arg("--purge").output();
            if !done.is_ok_and(|o| o.status.success()) {
                eprintln!("the stack at {} could not be stopped", self.dir.display());
            }
        }
    }
}

fn command(name: &str, dir: &Path, settings: &[(String, String)]) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack").join(name);
    let mut command = Command::new(path);
    command.env("RS_DIR", dir).envs(settings.iter().map(|(k, v)| (k, v)));
    crate::program::with_default_signals(&command)
}

#[track_caller]
fn script(name: &str, dir: &Path, settings: &[(String, String)], arguments: &[&str]) -> String {
    let output = command(name, dir, settings).args(arguments).output();
    checked(&format!("tests/stack/{name} {}", arguments.join(" ")), output.unwrap_or_else(|e| panic!("{name}: {e}")))
}

#[track_caller]
fn checked(what: &str, output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
    out
}

#[track_caller]
fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
