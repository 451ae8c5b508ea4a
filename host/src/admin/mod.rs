//! The admin plane: what operators ask and tell, by a Unix socket that only its owner reaches (`doorward ctl`, `curl`), and by
//! the admin address (the page, the API, the metrics), where there is one.
//!
//! All that can be asked and told is in one table (`verbs`). Whatever comes passes one gate (`gate`, `router`) before
//! anything is done, and all that is done goes one way (`dispatch`), which writes the audit log.

mod asking;
pub mod audit;
pub mod call;
pub mod caller;
mod candidates;
mod changes;
mod cluster;
mod commands;
mod configuration;
pub mod console;
pub mod dispatch;
mod gate;
mod helpdesk;
mod login;
mod logins;
mod mails;
mod masked;
mod metrics;
mod nodes;
mod overview;
pub mod people;
mod plane;
mod privacy;
pub mod reply;
mod router;
mod server;
mod sessions;
mod status;
mod trying;
pub mod verbs;
pub mod visit;
mod watching;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::oneshot;

use self::audit::Audit;
use self::plane::Plane;
use crate::control::Handle;
use crate::unix;

/// The socket's mode: who may ask, may do anything.
const MODE: u32 = 0o600;
/// How long a process that ends waits until what was asked is answered: the outcome of an upgrade, say.
const PARTING: Duration = Duration::from_secs(5);

/// A bound socket, whose file goes when it is dropped.
pub struct Socket {
    listener: std::os::unix::net::UnixListener,
    file: unix::File,
}

impl Socket {
    /// Binds the socket. One that a process left behind is replaced; one that somebody listens on is not.
    ///
    /// # Errors
    /// Somebody listens there, or the folder cannot be written.
    pub fn bind(path: &Path) -> std::io::Result<Self> {
        // Only its owner may reach it.
        let (listener, file) = unix::bind(path, MODE)?;
        Ok(Self { listener, file })
    }

    /// A socket that will have this name, in the place of the one of the process that this one takes over from.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn prepare(path: &Path) -> std::io::Result<unix::Prepared> {
        unix::prepare(path, MODE)
    }

    /// The socket that was prepared, under its name.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn of(prepared: unix::Prepared) -> std::io::Result<Self> {
        let (listener, file) = prepared.name()?;
        Ok(Self { listener, file })
    }
}

/// A plane that serves, until the process ends. When this is dropped, what was asked is answered, and the socket's file is
/// removed.
pub struct Serving {
    _file: Option<unix::File>,
    stop: Option<oneshot::Sender<Infallible>>,
    /// Closed when its thread has ended.
    ended: mpsc::Receiver<Infallible>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.ended.recv_timeout(PARTING);
    }
}

/// Serves whoever comes by the socket and by the admin address, on a thread of its own.
pub fn serve(socket: Option<Socket>, control: Handle) -> Serving {
    let (listener, file) = socket.map(|socket| (socket.listener, socket.file)).unzip();
    let thread = std::thread::Builder::new().name("admin".to_owned());
    let ((stop, stopped), (ends, ended)) = (oneshot::channel(), mpsc::channel());
    let life = move || {
        let _ends: mpsc::Sender<Infallible> = ends;
        run(listener, control, stopped);
    };
    if let Err(error) = thread.spawn(life) {
        tracing::error!(%error, "the admin plane cannot be served");
    }
    Serving { _file: file, stop: Some(stop), ended }
}

/// The life of the thread.
fn run(socket: Option<std::os::unix::net::UnixListener>, control: Handle, stopped: oneshot::Receiver<Infallible>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("admin-disk").build();
    let trouble = control.generations().proxy().shared().state.audit_trouble.clone();
    let (runtime, audit) = match runtime.and_then(|runtime| Ok((runtime, Audit::start(trouble)?))) {
        Ok(started) => started,
        Err(error) => return tracing::error!(%error, "the admin plane cannot be served"),
    };
    let sockets = control.generations().proxy().admin_sockets();
    let feed = control.generations().proxy().shared().desk.feed.clone();
    let parting = GracefulShutdown::new();
    let plane = Arc::new(Plane::new(control, audit));
    // What belongs to a connection stays on this thread.
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = socket.map(tokio::net::UnixListener::from_std).transpose();
        let by_socket = async {
            match listener {
                Ok(Some(listener)) => server::serve_socket(plane.clone(), listener, &parting).await,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the admin socket cannot be served"),
            }
        };
        let by_address = server::serve_address(plane.clone(), sockets, &parting);
        tokio::select! {
            // Who has connected by now is answered too.
            biased;
            _ = async { tokio::join!(by_socket, by_address) } => {}
            _ = stopped => {}
        }
        // What lasts as long as somebody watches ends; the others get their answers.
        feed.close();
        parting.shutdown().await;
    });
    runtime.shutdown_background();
}
