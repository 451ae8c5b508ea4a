//! The upgrade: another process gets copies of the listening sockets, and takes over when it can serve.
//!
//! The new process has the old one at its standard input, as one end of a pair of sockets. First come the listeners, one
//! a message with its socket, then `end`, with the socket by which each hears what sessions the other ends. While it
//! compiles, the new process says `working`; when it can serve, `ready`. Then it waits for the old one's `go`, takes
//! over, and says `serves`. Until `go` it has accepted no connection and nothing has changed: whichever process ends
//! before, the other one knows, and there is only one front door.

use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};

use crate::log;
use crate::policy::Compiling;

/// Says that there is a process to take over from.
const VARIABLE: &str = "DOORWARD_UPGRADE";
/// A new process that says nothing for so long hangs. While it compiles, which is bounded itself, it says so.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// What is left to do after `go` takes milliseconds.
const FINISH: Duration = Duration::from_secs(20);
/// How often the new process says that it compiles.
const WORKING: Duration = Duration::from_secs(5);
/// How often the old process looks whether it is to end itself.
const LOOK: Duration = Duration::from_millis(100);
/// A new process that ends by itself writes first why, as long as the reader of its log lets it.
const END: Duration = log::PATIENCE.saturating_add(Duration::from_secs(1));
/// A listener's name and address; longer ones are no addresses. And what is wrong with a configuration, or its beginning.
const MESSAGE: usize = 4096;
/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of a program that does not say.
const UNKNOWN: &str = "unknown";
/// What stands before the reason for which the new process does not serve.
const FAILED: &str = "failed ";

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
pub(super) struct Before {
    socket: Arc<OwnedFd>,
    /// Whether it is of a version that says `go`.
    says_go: bool,
    /// Its version.
    from: String,
}

/// What the process before this one hands over.
pub(super) struct Legacy {
    pub before: Before,
    pub sockets: Vec<Handed>,
    /// Where it says which sessions it ends.
    pub link: Option<OwnedFd>,
}

/// Where this process was started to take over from another: that one, and what it listens on.
///
/// # Errors
/// It does not say.
pub(super) fn before() -> Result<Option<Legacy>> {
    if !is_upgrade() {
        return Ok(None);
    }
    let other = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut sockets = Vec::new();
    loop {
        let (text, socket) = receive(&other)?;
        let Some((listener, address)) = text.split_once('\n') else {
            let from = text.split_once(' ').map_or(UNKNOWN, |(_, version)| version).to_owned();
            let before = Before { socket: Arc::new(other), says_go: socket.is_some(), from };
            return Ok(Some(Legacy { before, sockets, link: socket }));
        };
        let socket = socket.ok_or_else(|| Error::other("a listener came without its socket"))?;
        sockets.push(Handed { listener: listener.to_owned(), address: address.to_owned(), socket });
    }
}

impl Before {
    /// Says again and again that this process works, as long as it compiles.
    pub(super) fn tell_of(&self, compiling: Compiling) {
        if !self.says_go {
            return;
        }
        let socket = Arc::downgrade(&self.socket);
        let tell = move || {
            while let Some(socket) = socket.upgrade() {
                if compiling.is_under_way() && send(&*socket, b"working", SendFlags::NOSIGNAL).is_err() {
                    return;
                }
                drop(socket);
                std::thread::sleep(WORKING);
            }
        };
        // Without it a slow compilation may be taken for a hang, which is told then.
        let _ = std::thread::Builder::new().name("upgrade".to_owned()).spawn(tell);
    }

    /// Tells it that this process can serve, and waits until it lets go.
    ///
    /// # Errors
    /// It ended, or is to end: then this process is not to serve either.
    pub(super) fn wait_for_go(&self) -> Result<()> {
        let over =
            || Error::other("the process before this one ended, or was told to end, before this one could serve");
        send(&*self.socket, b"ready", SendFlags::NOSIGNAL).map_err(|_| over())?;
        if !self.says_go {
            return Ok(());
        }
        match next_word(&self.socket, PATIENCE) {
            Ok(Some(word)) if word == "go" => Ok(()),
            _ => Err(over()),
        }
    }

    /// Tells it that this process serves.
    pub(super) fn serves(&self) {
        tracing::info!(from = self.from, to = VERSION, "another process is taken over from");
        if self.says_go
            && let Err(error) = send(&*self.socket, format!("serves {VERSION}").as_bytes(), SendFlags::NOSIGNAL)
        {
            tracing::warn!(%error, "the process before this one is gone already");
        }
    }
}

/// An upgrade that may be stopped, until the new process was told to go.
#[derive(Default)]
pub struct Stop(Mutex<Stage>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// None is under way, or the new process was not told to go yet.
    #[default]
    Open,
    /// This process is to end.
    Stopped,
    /// The new process was told to go.
    Gone,
}

impl Stop {
    /// The upgrade is not to come to its end. Too late where the new process was told to go.
    pub fn stop(&self) {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage == Stage::Open {
            *stage = Stage::Stopped;
        }
    }

    fn is_stopped(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == Stage::Stopped
    }

    /// Tells the new process to go, if this one is not to end. There is no way between the two.
    fn go(&self, socket: &OwnedFd) -> Result<()> {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage == Stage::Stopped {
            return Err(stopped());
        }
        send(socket, b"go", SendFlags::NOSIGNAL)?;
        *stage = Stage::Gone;
        Ok(())
    }

    fn failed(&self) {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage == Stage::Gone {
            *stage = Stage::Open;
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Interrupted, "this process was told to end, so the new one does not serve")
}

/// Whether this process was started to take over from another.
pub fn is_upgrade() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Tells the process that this one was to take over from why it does not.
pub fn give_up(why: &str) {
    if is_upgrade() {
        let text = format!("{FAILED}{why}");
        let end = text.floor_char_boundary(MESSAGE);
        // Whoever is not there any more does not need to know.
        let _ = send(std::io::stdin().as_fd(), &text.as_bytes()[..end], SendFlags::NOSIGNAL);
    }
}

/// Starts the program anew, hands the sockets over, and waits until the new process serves. Its number and version.
///
/// # Errors
/// It does not come up; it has ended then.
pub(super) fn start(
    program: &Path,
    handed: &[Handed],
    link: OwnedFd,
    stop: &Stop,
    patience: Duration,
) -> Result<(u32, String)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, "1").stdin(Stdio::from(theirs));
    let mut child = command.spawn()?;
    // The command holds their end too; without it, their end is closed when they end.
    drop(command);
    let told = hand_over(&ours, handed, link).and_then(|()| wait(&ours, stop, patience));
    told.map(|version| (child.id(), version)).map_err(|error| {
        stop.failed();
        // Whoever takes no more has perhaps said why.
        let last = (error.kind() == ErrorKind::BrokenPipe).then(|| next_word(&ours, LOOK).ok().flatten()).flatten();
        let error = last.and_then(|word| word.strip_prefix(FAILED).map(Error::other)).unwrap_or(error);
        // Who has said why it fails, or has closed its end, ends by itself.
        let ends = !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut);
        let why = end_of(&mut child, if ends { END } else { LOOK });
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Error::other(format!("it ended ({why}); its log says why"))
            }
            _ => error,
        }
    })
}

/// How it ended. What is left of it after a while is not to serve.
fn end_of(child: &mut Child, patience: Duration) -> String {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return status.to_string();
        }
        std::thread::sleep(LOOK / 10);
    }
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

fn hand_over(to: &OwnedFd, handed: &[Handed], link: OwnedFd) -> Result<()> {
    for one in handed {
        tell(to, &format!("{}\n{}", one.listener, one.address), &one.socket)?;
    }
    tell(to, &format!("end {VERSION}"), &link)
}

/// Waits for what the new process says, until it serves: its version.
fn wait(socket: &OwnedFd, stop: &Stop, patience: Duration) -> Result<String> {
    let mut heard = Instant::now();
    loop {
        if stop.is_stopped() {
            return Err(stopped());
        }
        match next_word(socket, LOOK)?.as_deref() {
            Some("working") => heard = Instant::now(),
            Some("ready") => break,
            Some(word) => {
                let why = word.strip_prefix(FAILED).unwrap_or("it says what no Doorward says");
                return Err(Error::other(why.to_owned()));
            }
            None if heard.elapsed() < patience => {}
            None => {
                let seconds = patience.as_secs();
                let why = format!("it said nothing for {seconds} s, and was ended");
                return Err(Error::new(ErrorKind::TimedOut, why));
            }
        }
    }
    stop.go(socket)?;
    let word = next_word(socket, FINISH)?.unwrap_or_default();
    match word.split_once(' ').unwrap_or((&word, UNKNOWN)) {
        ("serves", version) => Ok(version.to_owned()),
        _ => Err(Error::other(
            word.strip_prefix(FAILED).unwrap_or("it was ready, and did not begin to serve").to_owned(),
        )),
    }
}

/// The next word of the other process; none if it says nothing for so long.
fn next_word(socket: &OwnedFd, within: Duration) -> Result<Option<String>> {
    let (end, mut broken) = (Instant::now() + within, false);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(Error::other)?;
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            polled => drop(polled?),
        }
        let mut word = [0; MESSAGE];
        return match recv(socket, &mut word, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(ErrorKind::ConnectionReset.into()),
            Ok((length, _)) => Ok(word.get(..length).map(|word| String::from_utf8_lossy(word).into_owned())),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
            // It ended with something unread. That is told first, and what it said before is there all the same.
            Err(rustix::io::Errno::CONNRESET) if !std::mem::replace(&mut broken, true) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

fn tell(to: &OwnedFd, text: &str, socket: &OwnedFd) -> Result<()> {
    let sockets = [socket.as_fd()];
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::files::tests::Folder;

    /// What comes of an upgrade to a program that is this script.
    fn upgrade_to(script: &str, stop: &Stop, patience: Duration) -> String {
        let folder = Folder::new(&format!("upgrade-{}", script.len()));
        let program = folder.0.join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (link, _other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        start(&program, &[], link, stop, patience).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_hangs_ends_or_talks_nonsense_is_no_upgrade_and_has_ended() {
        let (stop, long) = (Stop::default(), Duration::from_secs(60));
        assert_eq!(
            upgrade_to("exec sleep 600", &stop, Duration::from_secs(1)),
            "it said nothing for 1 s, and was ended"
        );
        assert_eq!(upgrade_to("exit 3", &stop, long), "it ended (exit status: 3); its log says why");
        assert_eq!(upgrade_to("kill -9 $$", &stop, long), "it ended (signal: 9 (SIGKILL)); its log says why");
        stop.stop();
        assert_eq!(upgrade_to("exec sleep 601", &stop, long), stopped().to_string());
    }

    #[test]
    fn a_program_that_says_why_it_fails_writes_all_of_it_to_its_log() {
        let folder = Folder::new("upgrade-log");
        let log = folder.0.join("log");
        let script = format!("printf 'failed why' >&0\nsleep 0.5\necho all > {}", log.display());
        assert_eq!(upgrade_to(&script, &Stop::default(), Duration::from_secs(60)), "why");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "all\n");
    }

    #[test]
    fn a_stop_before_go_holds_and_one_after_it_is_too_late() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let before = Stop::default();
        before.stop();
        assert!(before.go(&ours).is_err());
        let after = Stop::default();
        after.go(&ours).unwrap();
        after.stop();
        assert!(!after.is_stopped());
        assert_eq!(next_word(&theirs, Duration::from_secs(60)).unwrap().as_deref(), Some("go"));
        assert_eq!(next_word(&theirs, Duration::ZERO).unwrap(), None);
    }
}
