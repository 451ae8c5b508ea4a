//! Everything that `doorward demo` needs besides the proxy: two nodes, users, and a configuration.

pub mod webmail;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config::{self, Config, Faults, Source};
use webmail::{Account, Webmail};

/// The configuration, with holes for addresses.
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

/// The running nodes, and where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Demo {
    listen: SocketAddr,
    nodes: [SocketAddr; 2],
    folder: Option<PathBuf>,
}

impl Demo {
    /// Starts both nodes in a thread of their own, which ends with the process. With a folder, the configuration is
    /// written there unless it is there already, and read from there.
    ///
    /// # Errors
    /// No port, no thread, or a folder that cannot be written.
    pub fn start(listen: SocketAddr, folder: Option<PathBuf>) -> std::io::Result<Self> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
            let file = folder.join("doorward.toml");
            if !file.exists() {
                std::fs::write(file, CONFIG)?;
            }
        }
        let sockets = [loopback()?, loopback()?];
        let nodes = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        std::thread::Builder::new().name("demo-nodes".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(serve(sockets)),
                Err(error) => tracing::error!(%error, "the demo's nodes do not start"),
            }
        })?;
        Ok(Self { listen, nodes, folder })
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn config(&self) -> Result<Config, Faults> {
        let (path, base) = match &self.folder {
            Some(folder) => (folder.join("doorward.toml"), folder.clone()),
            None => (PathBuf::from("<built-in demo.toml>"), PathBuf::from(".")),
        };
        let text = match &self.folder {
            Some(_) => config::text_of(&path)?,
            None => CONFIG.to_owned(),
        };
        let holes = [("@LISTEN@", self.listen), ("@NODE_A@", self.nodes[0]), ("@NODE_B@", self.nodes[1])];
        let text = holes.iter().fold(text, |text, (hole, address)| text.replace(hole, &address.to_string()));
        config::parse(&Arc::new(Source { path, text }), Path::new(&base))
    }
}

fn loopback() -> std::io::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
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
    use crate::directory::{Bound, Connections, Directory};
    use crate::secret::Secret;

    #[tokio::test]
    async fn the_users_are_those_of_the_directory() {
        let config =
            Demo { listen: "127.0.0.1:0".parse().unwrap(), nodes: ["127.0.0.1:1".parse().unwrap(); 2], folder: None };
        let directory =
            Directory::build(&config.config().unwrap().directory, (None, crate::directory::Shrink::Refused), &|_| true)
                .unwrap();
        let connections = Connections::default();
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
