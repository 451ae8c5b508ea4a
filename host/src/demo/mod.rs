//! Everything that `doorward demo` needs besides the proxy: two nodes, users, and a configuration.

pub mod webmail;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::admin::caller::Role;
use crate::admin::people;
use crate::config::{self, Config, Source};
use crate::control;
use crate::secret::Secret;
use crate::session::random;
use crate::text::hex;
use webmail::{Account, Webmail};

/// The configuration, with placeholders for addresses.
const CONFIG: &str = include_str!("demo.toml");

/// A user of the demo: login name, password, node (none where a login leads to no mailbox), display name, address.
pub type User = (&'static str, &'static str, Option<&'static str>, &'static str, &'static str);

/// The users of `directory.ldif`, with the passwords that it has hashes of.
pub const USERS: [User; 8] = [
    ("alice", "alice-demo", Some("node-a"), "Alice Archer", "alice@blue.localhost"),
    ("bob", "bob-demo", Some("node-b"), "Bob Bennett", "bob@green.localhost"),
    ("carol", "carol-demo", Some("node-a"), "Carol Castillo", "carol@blue.localhost"),
    ("zoë", "zoe-demo", Some("node-b"), "Zoë Öztürk", "zoe@green.localhost"),
    ("jürgen", "juergen-demo", Some("node-a"), "Jürgen Groß", "juergen@blue.localhost"),
    ("søren", "soeren-demo", Some("node-b"), "Søren Ødegård", "soeren@green.localhost"),
    // Locked in the directory, so no node is reached.
    ("dora", "dora-demo", None, "Dora Dietrich", "dora@blue.localhost"),
    // Has no mailHost.
    ("nomad", "nomad-demo", None, "Nomad Nilsson", "nomad@green.localhost"),
];

/// The virtual hosts and their templates.
pub const SITES: [(&str, &str); 2] = [("blue.localhost", "blue"), ("green.localhost", "green")];

/// The file in the demo's folder.
const FILE: &str = "doorward.toml";

/// What only a configuration in a folder of its own has.
const ADMIN: &str = "[admin]\nsocket = \"doorward.sock\"  # doorward ctl --config doorward.toml status\n\
    audit = \"audit.jsonl\"     # doorward audit verify audit.jsonl\n";

/// Where operators reach the demo, if nobody else listens there.
const OPERATORS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9443);

/// The account that the demo makes.
const OPERATOR: &str = "admin";

/// Where the configuration comes from: a file, or else the text.
#[derive(Debug)]
pub struct Demo {
    file: Option<PathBuf>,
    text: String,
    /// The account that was made, with its password; none where there is one already.
    pub operator: Option<(&'static str, Secret)>,
    /// What stands for the file of accounts where there is no folder.
    _accounts: Option<OwnedFd>,
}

impl Demo {
    /// Starts both nodes in a thread of their own, which ends with the process. With a folder, the configuration is
    /// written there unless it is there already, and read from there; the nodes are where it says.
    ///
    /// # Errors
    /// No port, no thread, a folder that cannot be written, or a configuration in it that has no nodes of the demo.
    pub fn start(listen: SocketAddr, folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let file = folder.as_ref().map(|folder| folder.join(FILE));
        let written = file.as_ref().filter(|file| file.exists()).map(|file| config::load_anyway(file)).transpose()?;
        let sockets = match &written {
            Some((config, _)) => [node_of(config, "node-a")?, node_of(config, "node-b")?],
            None => [loopback(ANY_PORT)?, loopback(ANY_PORT)?],
        };
        let nodes = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        let mut text = filled(listen, nodes);
        let (mut operator, mut accounts) = (None, None);
        match (&folder, &file, &written) {
            (_, _, Some((config, _))) => {
                // A folder that is taken up again, perhaps one from before there was an admin address.
                if let Some(path) = config.admin.accounts.as_ref().filter(|path| !path.exists()) {
                    operator = Some(make_operator(path)?);
                }
            }
            (Some(folder), Some(file), None) => {
                std::fs::create_dir_all(folder)?;
                operator = Some(make_operator(&folder.join(ACCOUNTS))?);
                insert(&mut text, &format!("{ADMIN}{}", address_and_accounts(listen, ACCOUNTS)));
                std::fs::write(file, &text)?;
            }
            _ => {
                let (descriptor, path) = file_in_memory()?;
                let (account, secret) = new_operator()?;
                std::fs::write(&path, people::text_of(&[account]).as_bytes())?;
                (operator, accounts) = (Some((OPERATOR, secret)), Some(descriptor));
                insert(&mut text, &format!("[admin]\n{}", address_and_accounts(listen, &path.display().to_string())));
            }
        }
        std::thread::Builder::new().name("demo-nodes".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(serve(sockets)),
                Err(error) => tracing::error!(%error, "the demo's nodes do not start"),
            }
        })?;
        Ok(Self { file, text, operator, _accounts: accounts })
    }

    /// Where its configuration comes from.
    pub fn source(&self) -> control::Source {
        match &self.file {
            Some(file) => control::Source::File(file.clone()),
            None => {
                let source = Source::new("<built-in demo.toml>", self.text.as_str());
                control::Source::Text(Arc::new(source))
            }
        }
    }
}

/// The file of accounts in a folder.
const ACCOUNTS: &str = "admins.toml";

/// Puts a table in front of the first one.
fn insert(text: &mut String, table: &str) {
    text.insert_str(text.find("[threads]").unwrap_or_default(), table);
}

/// Where operators come to: at a free port where the demo itself has one, or where the usual one is taken.
fn address_and_accounts(listen: SocketAddr, accounts: &str) -> String {
    let is_free = listen.port() != 0 && std::net::TcpListener::bind(OPERATORS).is_ok();
    let address = if is_free { OPERATORS } else { ANY_PORT };
    format!(
        "address = \"{address}\"     # the operator's page\naccounts = \"{accounts}\"     # doorward admin passwd\n\n"
    )
}

/// An account with a password that nobody knows yet.
fn new_operator() -> anyhow::Result<(people::Account, Secret)> {
    let secret = Secret::new(hex(&random::<10>()));
    let password = Some(people::hashed(&secret).map_err(|error| anyhow::anyhow!(error))?);
    Ok((people::Account { name: OPERATOR.to_owned(), role: Role::Admin, password, subject: None }, secret))
}

fn make_operator(path: &Path) -> anyhow::Result<(&'static str, Secret)> {
    let (account, secret) = new_operator()?;
    people::write(path, &[account])?;
    Ok((OPERATOR, secret))
}

/// A file that is nowhere on a disk and goes with the process, and the path by which it is read.
fn file_in_memory() -> std::io::Result<(OwnedFd, PathBuf)> {
    let descriptor = rustix::fs::memfd_create("doorward-admins", rustix::fs::MemfdFlags::CLOEXEC)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
    Ok((descriptor, path))
}

/// The configuration with its addresses.
fn filled(listen: SocketAddr, nodes: [SocketAddr; 2]) -> String {
    let placeholders = [("@LISTEN@", listen), ("@NODE_A@", nodes[0]), ("@NODE_B@", nodes[1])];
    placeholders
        .iter()
        .fold(CONFIG.to_owned(), |text, (placeholder, address)| text.replace(placeholder, &address.to_string()))
}

/// A socket where the configuration has a node of the demo.
fn node_of(config: &Config, name: &str) -> anyhow::Result<std::net::TcpListener> {
    let file = config.place.file().display();
    let backend = config.backends.iter().find(|backend| backend.name == name);
    let url =
        backend.with_context(|| format!("{file} has no back-end {name}, which is a node of the demo"))?.url.as_str();
    let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let address = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    let address =
        address.with_context(|| format!("{file}: {name} is at {url}, and the demo's are at http://127.0.0.1:PORT"))?;
    loopback(address).with_context(|| format!("{name} of {file}, at {address}"))
}

/// A free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn loopback(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn serve(sockets: [std::net::TcpListener; 2]) {
    let [a, b] = sockets.map(TcpListener::from_std);
    let (Ok(a), Ok(b)) = (a, b) else { return tracing::error!("the demo's nodes have no sockets") };
    tokio::join!(node("node-a").serve(a), node("node-b").serve(b));
}

/// A node takes its users by name and by address; as real ones do, it takes those whom the directory locks too.
fn node(name: &str) -> Webmail {
    let at_home = USERS.iter().filter(|(.., node, _, _)| node.is_none_or(|node| node == name));
    let accounts = at_home.flat_map(|(user, password, _, display_name, mail)| {
        [*user, *mail].map(|user| Account {
            user: user.to_owned(),
            password: (*password).to_owned(),
            display_name: (*display_name).to_owned(),
        })
    });
    Webmail::new(name, accounts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Bound, Connections, Directory, DirectorySpec};
    use crate::secret::Secret;

    #[tokio::test]
    async fn the_users_are_those_of_the_directory() {
        let text = filled(ANY_PORT, ["127.0.0.1:1".parse().unwrap(); 2]);
        let config = Demo { file: None, text, operator: None, _accounts: None };
        let spec = DirectorySpec::build(
            &config.source().load().unwrap().directory,
            (None, crate::directory::Shrink::Refused),
            &|_| true,
        )
        .unwrap();
        let (directory, connections) = (Directory::alone(spec), Connections::default());
        for (name, password, node, _, mail) in USERS {
            for name in [name, mail] {
                let user = directory.find(&connections, name).await.unwrap().unwrap();
                let secret = Secret::new(password.to_owned());
                let right = directory.bind(&connections, Some(&user), &secret).await.unwrap() == Bound::Right;
                assert_eq!(right, !name.starts_with("dora"), "{name}");
                let host = directory.hosts_of(&user).first().filter(|_| right);
                assert_eq!(host.map(String::as_str), node, "{name}");
            }
        }
    }
}
