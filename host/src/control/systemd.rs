//! Tells systemd how far the process is (`sd_notify(3)`), where that is what started it.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// It serves.
pub(super) fn ready() {
    say("READY=1");
}

/// It reads its configuration again; `ready` follows.
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
}

/// It ends.
pub(super) fn stopping() {
    say("STOPPING=1");
}

/// Another process serves now.
pub(super) fn replaced_by(process: u32) {
    say(&format!("MAINPID={process}"));
}

fn say(state: &str) {
    let Some(path) = std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty()) else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .and_then(|socket| socket.send_to_addr(state.as_bytes(), &address?));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd is not told");
    }
}
