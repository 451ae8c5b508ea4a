//! Listening sockets: bound here, or handed over by systemd; what stays in the configuration is never closed.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Type};
use tokio::sync::watch;

use super::upgrade::Handed;
use crate::config::{Address, Collector, Faults, Listener};
use crate::door::Listening;
use crate::snapshot::Snapshot;
use crate::unix;

/// Connections that the kernel keeps waiting for accept.
const BACKLOG: i32 = 4096;

/// A listening socket. Workers accept from copies of it.
pub(super) enum Socket {
    /// On the network.
    Net(TcpListener),
    /// A Unix socket, with its file where that is ours to remove.
    Unix(UnixListener, OnceLock<unix::File>),
}

/// Sockets by the listener's name, with the address asked for (whose port may be 0).
pub(super) type ByName = HashMap<String, (Address, Arc<Socket>)>;

/// The socket of the admin address, with the address asked for.
type AdminSocket = Option<(Address, Arc<Socket>)>;

/// The name by which that socket is handed over: no listener has an empty one.
const ADMIN: &str = "";

/// The sockets of a generation that is not live yet.
pub struct NewSockets {
    sockets: ByName,
    admin: AdminSocket,
    /// Files of Unix sockets that stay, with their listeners and the modes that they get.
    modes: Vec<(String, PathBuf, u32)>,
}

/// All sockets of the process.
#[derive(Default)]
pub(super) struct Sockets {
    live: Mutex<ByName>,
    /// No worker accepts from it.
    admin: watch::Sender<AdminSocket>,
    /// What systemd handed over, by name. It stays open, for a later configuration may ask for it again.
    handed: HashMap<String, Arc<Socket>>,
}

impl Sockets {
    /// What the process before this one listened on, and what the environment says systemd handed over.
    pub(super) fn from_environment(before: Vec<Handed>) -> Self {
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
                socket.set_nonblocking(true).ok().map(|()| Socket::Unix(socket, OnceLock::new()))
            };
            match net.or_else(unix) {
                Some(socket) => drop(handed.insert(name, Arc::new(socket))),
                None => tracing::warn!(name, "what systemd hands over here is no listening socket"),
            }
        }
        let live = before.into_iter().filter_map(|one| {
            let socket = Socket::from_descriptor(one.socket).ok()?;
            Some((one.listener, (Address::parse(&one.address, Path::new(""))?, Arc::new(socket))))
        });
        let mut live: ByName = live.collect();
        Self { admin: watch::Sender::new(live.remove(ADMIN)), live: Mutex::new(live), handed }
    }

    /// Copies of the live sockets, for the process after this one.
    pub(super) fn hand_over(&self) -> std::io::Result<Vec<Handed>> {
        let live = self.live();
        let one = |(listener, (address, socket)): (&String, &(Address, Arc<Socket>))| {
            let socket = match &**socket {
                Socket::Net(socket) => OwnedFd::from(socket.try_clone()?),
                Socket::Unix(socket, _) => OwnedFd::from(socket.try_clone()?),
            };
            Ok(Handed { listener: listener.clone(), address: address.to_string(), socket })
        };
        let admin = self.admin.borrow().as_ref().map(|one_of| (ADMIN.to_owned(), one_of.clone()));
        live.iter().chain(admin.iter().map(|(name, socket)| (name, socket))).map(one).collect()
    }

    /// The socket of the admin address, and whatever takes its place.
    pub(super) fn admin(&self) -> AdminSockets {
        AdminSockets(self.admin.subscribe())
    }

    /// Where operators reach it: the address that was bound.
    pub(super) fn admin_address(&self) -> Option<String> {
        self.admin.borrow().as_ref().map(|(configured, socket)| socket.address(configured))
    }

    /// The process before this one is leaving: the files of Unix sockets are ours now.
    pub(super) fn own_files(&self) {
        for (address, socket) in self.live().values() {
            if let (Address::Unix(path), Socket::Unix(_, file)) = (address, &**socket) {
                file.get_or_init(|| unix::File::at(path));
            }
        }
    }

    /// The process after this one has them now; that one also answers at the admin address.
    pub(super) fn leave(&self) {
        self.admin.send_replace(None);
        for (_, socket) in self.live().values() {
            if let Socket::Unix(_, file) = &**socket {
                file.get().inspect(|file| file.leave());
            }
        }
    }

    /// The sockets of the live listeners.
    pub(super) fn live(&self) -> MutexGuard<'_, ByName> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sockets for every listener of the next Snapshot: those that stay, and new ones, which are bound. Nothing changes
    /// for those that stay, and new ones are gone when this is dropped.
    ///
    /// # Errors
    /// Every listener that cannot listen.
    pub(super) fn prepare(&self, next: &Snapshot) -> Result<NewSockets, Faults> {
        let live = self.live();
        let faults = Collector::default();
        let (mut sockets, mut modes) = (ByName::new(), Vec::new());
        // One that moves between a listener and the admin address is kept too.
        let admin = self.admin.borrow().clone();
        let by_address = |address: &Address| {
            let any_port = matches!(address, Address::Net(address) if address.port() == 0);
            let found = live.values().chain(&admin).find(|(of, _)| of == address && !any_port);
            found.map(|(_, socket)| socket.clone())
        };
        for listener in next.listeners.values().map(|listener| &listener.config) {
            let address = &listener.address;
            // By name first; a listener that only got another name keeps its socket too.
            let by_name = live.get(&listener.name).filter(|(of, _)| of == address);
            let kept = by_name.map(|(_, socket)| socket.clone()).or_else(|| by_address(address));
            if let (Some(_), Address::Unix(path)) = (&kept, address) {
                modes.push((listener.name.clone(), path.clone(), listener.mode));
            }
            let socket = kept.map_or_else(|| self.open(listener), Ok).map_err(|error| {
                let found = format!("{address}: {error}");
                listener.place.key("address").fault(found, "an address that is free here").into()
            });
            if let Some(socket) = faults.keep(socket) {
                sockets.insert(listener.name.clone(), (address.clone(), socket));
            }
        }
        let admin = next.admin_listener.as_ref().and_then(|listener| {
            let address = &listener.config.address;
            let kept = admin.iter().find(|(of, _)| of == address).map(|(_, socket)| socket.clone());
            let kept = kept.or_else(|| by_address(address));
            faults
                .keep(kept.map_or_else(|| self.open(&listener.config), Ok).map_err(|error| {
                    let found = format!("{address}: {error}");
                    Faults::from(listener.config.place.key("address").fault(found, "an address that is free here"))
                }))
                .map(|socket| (address.clone(), socket))
        });
        faults.finish()?;
        Ok(NewSockets { sockets, admin, modes })
    }

    /// Listens there from now on.
    pub(super) fn commit(&self, NewSockets { sockets, admin, modes }: NewSockets) {
        for (listener, path, mode) in modes {
            if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
                tracing::warn!(listener, %error, "the socket's mode cannot be set");
            }
        }
        *self.live() = sockets;
        self.admin.send_replace(admin);
    }

    fn open(&self, listener: &Listener) -> std::io::Result<Arc<Socket>> {
        match &listener.address {
            Address::Net(address) => open(*address, listener.v6_only).map(|socket| Arc::new(Socket::Net(socket))),
            Address::Unix(path) => {
                let (socket, file) = unix::bind(path, listener.mode)?;
                Ok(Arc::new(Socket::Unix(socket, OnceLock::from(file))))
            }
            Address::Systemd(name) => self.handed.get(name).cloned().ok_or_else(|| {
                let names: Vec<&str> = self.handed.keys().map(String::as_str).collect();
                std::io::Error::other(format!("systemd handed over no socket of that name, but [{}]", names.join(", ")))
            }),
        }
    }
}

/// The socket of the admin address: the one that there is now, and news of another.
pub struct AdminSockets(watch::Receiver<AdminSocket>);

impl AdminSockets {
    /// A copy to accept from; none where there is no admin address, or where the process after this one answers there.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn current(&mut self) -> std::io::Result<Option<TcpListener>> {
        match self.0.borrow_and_update().as_ref().map(|(_, socket)| &**socket) {
            Some(Socket::Net(socket)) => socket.try_clone().map(Some),
            Some(Socket::Unix(..)) | None => Ok(None),
        }
    }

    /// Waits for another one.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Socket {
    fn from_descriptor(descriptor: OwnedFd) -> std::io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        socket.set_nonblocking(true)?;
        let is_unix = socket.local_addr()?.is_unix();
        let descriptor = OwnedFd::from(socket);
        Ok(if is_unix { Self::Unix(descriptor.into(), OnceLock::new()) } else { Self::Net(descriptor.into()) })
    }

    /// A copy to accept from.
    pub(super) fn listening(&self) -> std::io::Result<Listening> {
        match self {
            Self::Net(socket) => Listening::net(socket.try_clone()?),
            Self::Unix(socket, _) => tokio::net::UnixListener::from_std(socket.try_clone()?).map(Listening::Unix),
        }
    }

    /// Where it listens: as configured, but with the port that it got.
    pub(super) fn address(&self, configured: &Address) -> String {
        let bound = match self {
            Self::Net(socket) => socket.local_addr().ok(),
            Self::Unix(..) => None,
        };
        bound.map_or_else(|| configured.to_string(), |address| address.to_string())
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
