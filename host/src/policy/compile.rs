//! Compilation in a short-lived process of its own: the same binary, with limits on CPU time and memory.
//!
//! A small component can keep the compiler busy for a minute, or take gigabytes. Here that ends a process that serves
//! nobody, and the component is refused.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasmtime::Engine;

/// The hidden command that compiles; its arguments are the limits.
pub const COMMAND: &str = "compile-policy";
/// Compiled code is some ten times the size of a component; more than this is not taken from the other process.
const LARGEST: u64 = 1 << 30;

/// CPU time is what is limited, since on a busy machine a good component may wait long for its share of it: beside one
/// other process on the same core a tenth is its share, beside three a thirtieth. A compiler that uses none is given up
/// after so many times its limit.
const PATIENCE: u32 = 40;
/// How far behind traffic a compilation stands (`nice`): with all cores busy it gets a tenth of one.
pub(super) const BEHIND_TRAFFIC: u8 = 10;
/// At the command line somebody waits for it, and there is no traffic.
pub(super) const AWAITED: u8 = 0;

/// What one compilation may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// CPU time.
    pub time: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

/// CPU time for a component of less than 1 MiB. One of 150 KB needs 0.2 s, and one that is made to hurt the compiler any
/// time: 35 KB can keep it busy for a minute.
const TIME: Duration = Duration::from_secs(15);
/// CPU time for each MiB. Python needs 0.6 to 1.1 s a MiB and JavaScript 0.9, so a machine may be five times slower.
const TIME_PER_MIB: Duration = Duration::from_secs(6);
/// Memory for a component of less than 1 MiB: a sixth of it is what a good one of that size takes.
const MEMORY: u64 = 1 << 30;
/// Memory for each MiB. Python takes 18 MiB a MiB.
const MEMORY_PER_MIB: u64 = 32 << 20;

impl Limits {
    /// Those of a component of so many bytes: what the operator wrote, and else what grows with the component.
    pub(super) fn of(bytes: usize, time: Option<Duration>, memory: Option<u64>) -> Self {
        // A component is of 64 MiB at most.
        let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        Self {
            time: time.unwrap_or_else(|| TIME.saturating_add(TIME_PER_MIB.saturating_mul(mebibytes))),
            memory: memory.unwrap_or_else(|| MEMORY.saturating_add(MEMORY_PER_MIB.saturating_mul(mebibytes.into()))),
        }
    }
}

/// Why a component is not compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No process.
    #[error("the compiler does not start: {0}")]
    Start(std::io::Error),
    /// It took too long.
    #[error("compiling it takes longer than {0:?} (limits.compile-time)")]
    Time(Duration),
    /// It took too much memory, or the compiler ended in another bad way.
    #[error("compiling it takes more than {memory} MiB of memory (limits.compile-memory), or breaks the compiler ({status})", memory = .limit >> 20)]
    Broken {
        /// Bytes.
        limit: u64,
        /// How the process ended.
        status: ExitStatus,
    },
    /// It is no component.
    #[error("{0}")]
    Refused(String),
    /// What came back is nothing that can be run.
    #[error("the compiled code cannot be loaded: {0}")]
    Load(String),
}

/// Compiles in another process; gives back what `Component::deserialize` takes.
pub(super) fn compile(bytes: &[u8], limits: Limits, niceness: u8) -> Result<Vec<u8>, Error> {
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        .args([limits.time.as_secs().max(1).to_string(), limits.memory.to_string(), niceness.to_string()])
        .env_clear()
        // Our allocator would take the whole allowance for itself at once, a GiB of it; here it takes 16 MiB at a time.
        .env("MIMALLOC_ARENA_RESERVE", "16384")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::Start)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (done, result) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A compiler that gave up early closes its end; how it ended says why.
            let _ = input.map(|mut input| input.write_all(bytes));
        });
        scope.spawn(move || {
            let mut compiled = Vec::new();
            let read = output.map(|output| output.take(LARGEST).read_to_end(&mut compiled));
            let _ = done.send(read.is_some_and(|read| read.is_ok()).then_some(compiled));
        });
        let in_time = result.recv_timeout(limits.time * PATIENCE);
        if in_time.is_err() {
            // It may have ended in this moment; then there is nothing left to kill.
            let _ = child.kill();
        }
        let status = child.wait().map_err(Error::Start)?;
        match (in_time, status.code()) {
            (Err(_), _) => Err(Error::Time(limits.time)),
            (Ok(Some(compiled)), Some(0)) => Ok(compiled),
            (Ok(Some(reason)), Some(code)) if code == i32::from(REFUSED) => {
                Err(Error::Refused(String::from_utf8_lossy(&reason).into_owned()))
            }
            _ if status.signal() == Some(XCPU) => Err(Error::Time(limits.time)),
            _ => Err(Error::Broken { limit: limits.memory, status }),
        }
    })
}

/// Exit status of a compiler that refuses a component.
const REFUSED: u8 = 3;
/// `SIGXCPU`.
const XCPU: i32 = 24;

/// The other process: takes a component from standard input, and writes what it compiled, or why not, to standard
/// output. Gives the exit status.
pub fn run(time: u64, memory: u64, niceness: u8) -> u8 {
    let _ = nice(niceness.into());
    let limit = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit) };
    let cpu = Rlimit { current: Some(time), maximum: Some(time + 1) };
    let limited = setrlimit(Resource::Cpu, cpu).and_then(|()| setrlimit(Resource::Data, limit(memory)));
    if limited.and_then(|()| setrlimit(Resource::Core, limit(0))).is_err() {
        return 1;
    }
    let mut bytes = Vec::new();
    if std::io::stdin().lock().read_to_end(&mut bytes).is_err() {
        return 1;
    }
    let compiled =
        Engine::new(&doorward_engine::engine::settings()).and_then(|engine| engine.precompile_component(&bytes));
    let (output, status) = match compiled {
        Ok(compiled) => (compiled, 0),
        Err(error) => (format!("{error:#}").into_bytes(), REFUSED),
    };
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(&output).and_then(|()| stdout.flush()).is_err() {
        return 1;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowance_grows_with_the_component_unless_it_is_written() {
        let of = |bytes| Limits::of(bytes, None, None);
        assert_eq!(of(35 << 10), Limits { time: Duration::from_secs(15), memory: 1 << 30 }, "a bomb has no more");
        // What componentize-py makes of a few lines takes 10 to 19 s here.
        assert!(of(17 << 20).time >= Duration::from_secs(3 * 19), "{:?}", of(17 << 20));
        assert!(of(64 << 20).memory >= 64 * (20 << 20), "{:?}", of(64 << 20));
        let written = Limits::of(17 << 20, Some(Duration::from_secs(2)), Some(64 << 20));
        assert_eq!(written, Limits { time: Duration::from_secs(2), memory: 64 << 20 });
    }
}
