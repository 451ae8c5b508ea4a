//! Everything that `doorward demo` needs besides the proxy: two nodes, users, and a configuration.

mod mail;
mod sockets;
pub mod webmail;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::admin::caller::Role;
use crate::admin::people;
use crate::config::{self, Source};
use crate::control;
use crate::secret::Secret;
use crate::session::random;
use crate::text::hex;
use mail::{Account, Accounts, Imap, Pop3};
use sockets::{ANY_PORT, Sockets};
use webmail::{Account as AtWebmail, Webmail};

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

/// Where mail programs reach it, in the same way.
const IMAP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1143);
const POP3: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1110);

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
            Some((config, _)) => [Sockets::of(config, "node-a")?, Sockets::of(config, "node-b")?],
            None => [Sockets::any()?, Sockets::any()?],
        };
        let nodes = [sockets[0].addresses()?, sockets[1].addresses()?];
        let mut text = filled(listen, &nodes);
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
    let address = or_any(listen, OPERATORS);
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
fn filled(listen: SocketAddr, [a, b]: &[[SocketAddr; 3]; 2]) -> String {
    let placeholders = [
        ("@LISTEN@", listen),
        ("@IMAP@", or_any(listen, IMAP)),
        ("@POP3@", or_any(listen, POP3)),
        ("@NODE_A@", a[0]),
        ("@IMAP_A@", a[1]),
        ("@POP3_A@", a[2]),
        ("@NODE_B@", b[0]),
        ("@IMAP_B@", b[1]),
        ("@POP3_B@", b[2]),
    ];
    placeholders
        .iter()
        .fold(CONFIG.to_owned(), |text, (placeholder, address)| text.replace(placeholder, &address.to_string()))
}

/// The usual address, if nobody else listens there, or a free one; and a free one where the demo itself has one.
fn or_any(listen: SocketAddr, usual: SocketAddr) -> SocketAddr {
    let is_free = listen.port() != 0 && std::net::TcpListener::bind(usual).is_ok();
    if is_free { usual } else { ANY_PORT }
}

async fn serve([a, b]: [Sockets; 2]) {
    tokio::join!(serve_node("node-a", a), serve_node("node-b", b));
}

async fn serve_node(name: &str, Sockets { http, imap, pop3 }: Sockets) {
    let (http, imap, pop3) = (TcpListener::from_std(http), of_mail(imap), of_mail(pop3));
    let Ok(http) = http else { return tracing::error!(name, "a node of the demo has no socket") };
    let accounts: Accounts = at_home(name)
        .map(|(user, password, _, owner, address)| Account { names: [*user, *address], password, owner, address })
        .collect();
    let (of_imap, of_pop3) = (accounts.clone(), accounts);
    tokio::join!(
        node(name).serve(http),
        async {
            if let Some(socket) = imap {
                mail::serve::<Imap>(socket, of_imap).await
            }
        },
        async {
            if let Some(socket) = pop3 {
                mail::serve::<Pop3>(socket, of_pop3).await
            }
        },
    );
}

fn of_mail(socket: Option<std::net::TcpListener>) -> Option<TcpListener> {
    socket.and_then(|socket| TcpListener::from_std(socket).ok())
}

/// Whose mailboxes a node has: as real ones do, it takes those whom the directory locks too.
fn at_home(name: &str) -> impl Iterator<Item = &'static User> {
    USERS.iter().filter(move |(.., node, _, _)| node.is_none_or(|node| node == name))
}

/// A node takes its users by name and by address.
fn node(name: &str) -> Webmail {
    let accounts = at_home(name).flat_map(|(user, password, _, display_name, mail)| {
        [*user, *mail].map(|user| AtWebmail {
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
        let text = filled(ANY_PORT, &[["127.0.0.1:1".parse().unwrap(); 3]; 2]);
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
