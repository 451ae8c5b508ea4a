//! The way between two processes of an upgrade, by which each hears at once what the other revokes.
//!
//! A message is lines as the file has them. Who ends a session sends that before it says so to anybody, and who looks a
//! session up reads first what has come: so nobody opens a session that the other process has ended.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

/// Bytes of a message at most: a fraction of what a socket holds (200 KiB).
const MESSAGE: usize = 16 << 10;
/// Bytes that wait for a process that does not read: more than a whole list.
const WAITING: usize = 128 << 20;
/// Stands behind the list of the process that sends one.
pub(super) const END_OF_LIST: &str = "end-of-list";

/// Which of the two the other process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    Older,
    Newer,
}

/// One end.
pub(super) struct Link {
    pub(super) socket: Arc<OwnedFd>,
    pub(super) other: Other,
    out: VecDeque<Vec<u8>>,
    waiting: usize,
    /// Room for a message that comes: one line may be longer than a message should be, by a name that an operator typed.
    buffer: Vec<u8>,
}

/// The other process has ended.
pub(super) struct Gone;

/// Both ends.
pub(super) fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

impl Link {
    pub(super) fn new(socket: OwnedFd, other: Other) -> Self {
        Self { socket: Arc::new(socket), other, out: VecDeque::new(), waiting: 0, buffer: vec![0; 2 * MESSAGE] }
    }

    /// Sends lines, or keeps them until the other process has read what came before.
    pub(super) fn tell(&mut self, lines: &str) -> Result<(), Gone> {
        let mut message = Vec::new();
        for line in lines.lines() {
            if message.len() + line.len() >= MESSAGE && !message.is_empty() {
                self.keep(std::mem::take(&mut message));
            }
            message.extend_from_slice(line.as_bytes());
            message.push(b'\n');
        }
        self.keep(message);
        self.send_on()
    }

    fn keep(&mut self, message: Vec<u8>) {
        if self.waiting + message.len() > WAITING {
            return tracing::error!("the other process of the upgrade hears nothing of an ended session");
        }
        self.waiting += message.len();
        self.out.push_back(message);
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn send_on(&mut self) -> Result<(), Gone> {
        while let Some(message) = self.out.front() {
            match send(&*self.socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => {
                    self.waiting -= message.len();
                    self.out.pop_front();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// A message that has come, if one has.
    pub(super) fn receive(&mut self) -> Result<Option<String>, Gone> {
        loop {
            match recv(&*self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(Gone),
                Ok((length, _)) => {
                    let message = self.buffer.get(..length).unwrap_or_default();
                    return Ok(Some(String::from_utf8_lossy(message).into_owned()));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(_) => return Err(Gone),
            }
        }
    }

    /// What is waited for at this end.
    pub(super) fn interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }
}
