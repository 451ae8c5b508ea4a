//! Listening sockets: bound here, or handed over by systemd; what stays in the configuration is never closed.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Type};

use crate::config::{Address, Collector, Faults, Listener};
use crate::front::Listening;
use crate::snapshot::Snapshot;
use crate::unix;

/// Connections that the kernel keeps waiting for accept.
const BACKLOG: i32 = 4096;

/// A listening socket. Workers accept from copies of it.
pub(super) enum Socket {
    /// On the network.
    Net(TcpListener),
    /// A Unix socket, with its file where that is ours to remove.
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop")] Option<unix::File>),
}

/// Sockets by the listener's name, with the address asked for (whose port may be 0).
pub(super) type ByName = HashMap<String, (Address, Arc<Socket>)>;

/// All sockets of the process.
#[derive(Default)]
pub(super) struct Sockets {
    live: Mutex<ByName>,
    /// What systemd handed over, by name. It stays open, for a later configuration may ask for it again.
    handed: HashMap<String, Arc<Socket>>,
}

impl Sockets {
    /// No listener yet, and what the environment says was handed over.
    pub(super) fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut descriptors = ListenFd::from_env();
        let mut handed = HashMap::new();
        // Without names they all have this one (`sd_listen_fds_with_names(3)`).
        let names = names.split(':').map(str::to_owned).chain(std::iter::repeat("unknown".to_owned()));
        for (at, name) in (0..descriptors.len()).zip(names) {
            let net = descriptors.take_tcp_listener(at).ok().flatten();
            let net = net.and_then(|socket| socket.set_nonblocking(true).ok().map(|()| Socket::Net(socket)));
            let unix = || {
                let socket = descriptors.take_unix_listener(at).ok().flatten()?;
                socket.set_nonblocking(true).ok().map(|()| Socket::Unix(socket, None))
            };
            match net.or_else(unix) {
                Some(socket) => drop(handed.insert(name, Arc::new(socket))),
                None => tracing::warn!(name, "what systemd hands over here is no listening socket"),
            }
        }
        Self { live: Mutex::default(), handed }
    }

    /// The sockets of the live listeners.
    pub(super) fn live(&self) -> MutexGuard<'_, ByName> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sockets for every listener of the next Snapshot: those that stay are kept, new ones are bound.
    ///
    /// # Errors
    /// Every listener that cannot listen; nothing has changed then.
    pub(super) fn follow(&self, next: &Snapshot) -> Result<(), Faults> {
        let mut live = self.live();
        let faults = Collector::default();
        let mut sockets = ByName::new();
        for listener in next.listeners.values().map(|listener| &listener.config) {
            let address = &listener.address;
            // By name first; a listener that only got another name keeps its socket too.
            let by_name = live.get(&listener.name).filter(|(of, _)| of == address);
            let any_port = matches!(address, Address::Net(address) if address.port() == 0);
            let by_address = || live.values().find(|(of, _)| of == address && !any_port);
            let kept = by_name.or_else(by_address).map(|(_, socket)| socket.clone());
            if let (Some(_), Address::Unix(path)) = (&kept, address) {
                let mode = std::fs::Permissions::from_mode(listener.mode);
                if let Err(error) = std::fs::set_permissions(path, mode) {
                    tracing::warn!(listener = listener.name, %error, "the socket's mode cannot be set");
                }
            }
            let socket = kept.map_or_else(|| self.open(listener), Ok).map_err(|error| {
                let found = format!("{address}: {error}");
                listener.place.key("address").fault(found, "an address that is free here").into()
            });
            if let Some(socket) = faults.keep(socket) {
                sockets.insert(listener.name.clone(), (address.clone(), socket));
            }
        }
        faults.finish()?;
        *live = sockets;
        Ok(())
    }

    fn open(&self, listener: &Listener) -> std::io::Result<Arc<Socket>> {
        match &listener.address {
            Address::Net(address) => open(*address, listener.v6_only).map(|socket| Arc::new(Socket::Net(socket))),
            Address::Unix(path) => {
                let (socket, file) = unix::bind(path, listener.mode)?;
                Ok(Arc::new(Socket::Unix(socket, Some(file))))
            }
            Address::Systemd(name) => self.handed.get(name).cloned().ok_or_else(|| {
                let names: Vec<&str> = self.handed.keys().map(String::as_str).collect();
                std::io::Error::other(format!("systemd handed over no socket of that name, but [{}]", names.join(", ")))
            }),
        }
    }
}

impl Socket {
    /// A copy to accept from.
    pub(super) fn listening(&self) -> std::io::Result<Listening> {
        match self {
            Self::Net(socket) => tokio::net::TcpListener::from_std(socket.try_clone()?).map(Listening::Net),
            Self::Unix(socket, _) => tokio::net::UnixListener::from_std(socket.try_clone()?).map(Listening::Unix),
        }
    }

    /// Where it listens, as text.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Net(socket) => socket.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            Self::Unix(socket, _) => {
                let address = socket.local_addr();
                let path =
                    address.ok().and_then(|address| address.as_pathname().map(|path| path.display().to_string()));
                format!("unix:{}", path.unwrap_or_default())
            }
        }
    }
}

fn open(address: SocketAddr, v6_only: bool) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
