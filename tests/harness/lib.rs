//! What the black-box tests stand on: the running program, and everything around it.
//!
//! The tests see `doorward` only from outside: its command line, its sockets, its log. Each piece starts on port 0
//! in a temp directory of its own and is gone when its value is dropped, so tests run in parallel and in any order.
//!
//! The API is synchronous: a test is an ordinary `#[test]` function, and a step that fails panics and says what was
//! seen. Only [`Browser`] has a runtime inside, which nobody else meets. Nothing here sleeps to wait for something:
//! every wait is for an event and has a deadline.
//!
//! ```no_run
//! use harness::{Answer, Backend, Proxy};
//! let node = Backend::start(|_| Answer::text("hello from the node"));
//! let proxy = Proxy::serve(&format!("[[backend]]\nname = \"a\"\nurl = \"{}\"\n", node.url()));
//! let mut client = proxy.client().site("blue.localhost");
//! let chain = client.login("alice", "alice-secret");
//! assert_eq!(chain.last().unwrap().text(), "hello from the node");
//! assert_eq!(node.hits().len(), 1);
//! ```

mod ad;
mod answer;
mod backend;
mod browser;
mod certs;
mod client;
mod connection;
mod cookies;
mod guest;
mod html;
mod ldap;
mod http2;
mod message;
mod program;
mod proxy;
mod registry;
mod stack;
mod store;
mod wire;

#[cfg(test)]
mod selftest;

pub use ad::ActiveDirectory;
pub use answer::{Answer, Hold};
pub use backend::{Backend, Incoming, Seen, server_tls};
pub use browser::{Browser, Device, ENTER};
pub use certs::{Certs, Pair};
pub use client::Client;
pub use connection::{Connection, client_tls};
pub use cookies::Cookies;
pub use doorward_vectors::Question;
pub use guest::{Guest, VERSION};
pub use html::{Form, forms};
pub use http2::Http2Node;
pub use ldap::{Asked, LdapServer, Question as LdapQuestion, Reply};
pub use message::{Body, Request, Response};
pub use program::Program;
pub use proxy::{Demo, DemoAdmin, DemoSite, DemoUser, Listener, Proxy, Ran, Setup, binary};
pub use registry::{DockerRegistry, Registry};
pub use stack::{Node, Stack, User};
pub use store::{Monitor, Relay, Sentinels, Store};
pub use tempfile::TempDir;
pub use wire::{Headers, hex};

use std::path::PathBuf;

/// A fresh directory that other users may enter (servers of the stack drop their rights), removed when dropped.
pub fn temp_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix("doorward-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap_or_else(|e| panic!("no temp directory: {e}"))
}

/// Where screenshots go: `$DOORWARD_ARTIFACTS`, or a folder under the system's temp directory.
pub fn artifacts() -> PathBuf {
    let dir = std::env::var_os("DOORWARD_ARTIFACTS")
        .map_or_else(|| std::env::temp_dir().join("doorward-artifacts"), PathBuf::from);
    std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
    dir
}
