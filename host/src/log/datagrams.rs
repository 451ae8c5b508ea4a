//! Sockets of this machine that take a line in one piece: the local syslog, and the journal of systemd.

use std::io::{Error, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::form::PART;
use crate::files::{Broken, Sink};

/// How long a socket that is full is waited for at once.
const WAIT: Duration = Duration::from_millis(500);

/// Lines to such a socket.
pub(super) struct Datagrams {
    path: PathBuf,
    /// Fields, each on a line of its own (systemd's "Native Journal Protocol").
    is_journal: bool,
    socket: Option<UnixDatagram>,
    /// Lines that are larger than the socket takes.
    lost: u64,
}

impl Datagrams {
    pub(super) fn new(path: PathBuf, is_journal: bool) -> Self {
        Self { path, is_journal, socket: None, lost: 0 }
    }

    fn send(&mut self, line: &[u8]) -> std::io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                socket.set_write_timeout(Some(WAIT))?;
                none.insert(socket)
            }
        };
        let sent = match self.is_journal {
            true => {
                let mut fields = line.to_vec();
                fields.iter_mut().filter(|b| **b == PART).for_each(|b| *b = b'\n');
                fields.push(b'\n');
                socket.send(&fields)
            }
            false => socket.send(line),
        };
        sent.map(drop)
    }
}

impl Sink for Datagrams {
    fn write(&mut self, lines: &[u8]) -> Result<(), Broken> {
        let mut written = 0;
        for line in lines.split_inclusive(|b| *b == b'\n') {
            match self.send(line.strip_suffix(b"\n").unwrap_or(line)) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => self.lost += 1,
                Err(error) => {
                    // Who listens there may be another one by now.
                    if error.kind() != ErrorKind::WouldBlock {
                        self.socket = None;
                    }
                    return Err(Broken {
                        written,
                        error: Error::new(error.kind(), format!("{}: {error}", self.path.display())),
                    });
                }
            }
            written += line.len();
        }
        Ok(())
    }

    fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
