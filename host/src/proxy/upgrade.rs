//! The upgrade: another process gets copies of the listening sockets, and says when it serves.
//!
//! The new process has the old one at its standard input, as one end of a pair of sockets: first come the listeners, one
//! a message with its socket, then an empty name. When it serves, it sends a word back. Until then nothing has changed.

use std::io::{Error, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair, sockopt,
};

/// Says that there is a process to take over from.
const VARIABLE: &str = "DOORWARD_UPGRADE";
/// The new process may have to compile its policies, for minutes.
const PATIENCE: Duration = Duration::from_secs(600);
/// A listener's name and address; longer ones are no addresses.
const MESSAGE: usize = 4096;
/// What the new process says when it serves.
const READY: &[u8] = b"ready";

/// A listening socket on its way from one process to the next.
pub(super) struct Handed {
    /// The listener's name.
    pub listener: String,
    /// Its address as configured.
    pub address: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// The process that this one takes over from.
pub(super) struct Before(OwnedFd);

/// Where this process was started to take over from another: that one, and what it listens on.
///
/// # Errors
/// It does not say.
pub(super) fn before() -> Result<Option<(Before, Vec<Handed>)>> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(None);
    }
    let other = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut handed = Vec::new();
    loop {
        let (text, socket) = receive(&other)?;
        let Some((listener, address)) = text.split_once('\n') else { return Ok(Some((Before(other), handed))) };
        let socket = socket.ok_or_else(|| Error::other("a listener came without its socket"))?;
        handed.push(Handed { listener: listener.to_owned(), address: address.to_owned(), socket });
    }
}

impl Before {
    /// Tells it that this process serves.
    pub(super) fn let_go(&self) {
        if let Err(error) = send(&self.0, READY, SendFlags::NOSIGNAL) {
            tracing::warn!(%error, "the process before this one is gone already");
        }
    }
}

/// Starts the program anew, hands the sockets over, and waits until the new process serves. Its number.
///
/// # Errors
/// It does not come up; it has ended then.
pub(super) fn start(program: &Path, handed: &[Handed]) -> Result<u32> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, "1").stdin(Stdio::from(theirs));
    let mut child = command.spawn()?;
    // The command holds their end too; without it, their end is closed when they end.
    drop(command);
    let told = handed.iter().try_for_each(|one| tell(&ours, one)).and_then(|()| {
        send(&ours, b"end", SendFlags::NOSIGNAL)?;
        let mut word = [0; READY.len()];
        let (length, _) = recv(&ours, &mut word, RecvFlags::empty())?;
        if word[..length] == *READY { Ok(()) } else { Err(Error::other("it ended; its log says why")) }
    });
    match told {
        Ok(()) => Ok(child.id()),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn tell(to: &OwnedFd, one: &Handed) -> Result<()> {
    let text = format!("{}\n{}", one.listener, one.address);
    let sockets = [one.socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if text.len() > MESSAGE || !rights.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(Error::other("a listener that cannot be told of"));
    }
    sendmsg(to, &[IoSlice::new(text.as_bytes())], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(from: &OwnedFd) -> Result<(String, Option<OwnedFd>)> {
    let mut text = [0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(from, &mut [IoSliceMut::new(&mut text)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let socket = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Err(Error::other("the process before this one is gone"));
    }
    let text = text.get(..received.bytes).unwrap_or_default();
    Ok((String::from_utf8_lossy(text).into_owned(), socket))
}
