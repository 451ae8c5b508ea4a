//! The store of a cluster: a real `redis-server` (Debian's), with a replica and Sentinels where they are wanted, and a relay
//! to it that can be cut, held up and slowed down.

use crate::program::Program;
use rustix::process::Signal;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a server may take to start, to stop, or to become what it is to be.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, killed when dropped.
pub struct Store {
    program: Program,
    address: SocketAddr,
    dir: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Store {
    /// A server with these arguments.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let dir = crate::temp_dir();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // The port that the system gave may be somebody else's a moment later.
        for _ in 0..10 {
            let address = free_address();
            if let Some(program) = serve(dir.path(), address, &arguments) {
                return Self { program, address, dir, arguments };
            }
        }
        panic!("redis-server does not start");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as `[cluster]` has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Says a command on a connection of its own: the answer as it comes, with its first byte, and nested ones line by line.
    #[track_caller]
    pub fn say(&self, words: &[&str]) -> String {
        say(self.address, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Hears everything that is said to it from now on.
    #[track_caller]
    pub fn monitor(&self) -> Monitor {
        let mut stream = TcpStream::connect(self.address).expect("the store");
        stream.write_all(b"MONITOR\r\n").expect("it takes commands");
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).expect("it agrees");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut reader) = (heard.clone(), stream.try_clone().expect("a second descriptor"));
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Monitor { stream, heard }
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Holds it up: it answers nothing.
    pub fn pause(&self) {
        self.program.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.program.signal(Signal::CONT);
    }

    /// Ends it at once, with all that it holds.
    #[track_caller]
    pub fn stop(&mut self) {
        self.program.signal(Signal::KILL);
        self.program.wait(PATIENCE);
    }

    /// Starts it again at the same address, empty.
    #[track_caller]
    pub fn start_again(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(program) = serve(self.dir.path(), self.address, &self.arguments) {
                self.program = program;
                return;
            }
            assert!(Instant::now() < end, "redis-server does not start again at {}", self.address);
        }
    }
}

/// What is said to a server.
pub struct Monitor {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Monitor {
    /// All of it so far.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Sentinels that watch one primary.
pub struct Sentinels {
    all: Vec<(Program, SocketAddr)>,
    _dir: tempfile::TempDir,
}

impl Sentinels {
    /// Three of them, which agree after a second that a primary is away.
    #[track_caller]
    pub fn start(name: &str, primary: &Store) -> Self {
        let dir = crate::temp_dir();
        let mut all = Vec::new();
        for _ in 0..10 {
            if all.len() == 3 {
                break;
            }
            let address = free_address();
            let (ip, port) = (primary.address.ip(), primary.address.port());
            let file = dir.path().join(format!("sentinel-{}.conf", address.port()));
            let text = format!(
                "port {}\nbind 127.0.0.1\nprotected-mode no\nsentinel monitor {name} {ip} {port} 2\n\
                 sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n",
                address.port()
            );
            std::fs::write(&file, text).expect("a file");
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel").current_dir(dir.path());
            let program = Program::start("redis-sentinel", &mut command);
            if answers(address) {
                all.push((program, address));
            }
        }
        assert_eq!(all.len(), 3, "the Sentinels do not start");
        Self { all, _dir: dir }
    }

    /// Their addresses as `[cluster.sentinel]` has them.
    pub fn urls(&self) -> Vec<String> {
        self.all.iter().map(|(_, address)| format!("redis://{address}")).collect()
    }

    /// Waits until the first of them knows so many replicas and other Sentinels: then it can fail over.
    #[track_caller]
    pub fn wait_until_ready(&self, name: &str) {
        self.wait("ready", name, |said| {
            said.contains("num-slaves\r\n$1\r\n1") && said.contains("num-other-sentinels\r\n$1\r\n2")
        });
    }

    /// Waits until the first of them says that the primary is somewhere else.
    #[track_caller]
    pub fn wait_for_primary(&self, name: &str, address: SocketAddr) {
        self.wait("failed over", name, |said| said.contains(&format!("port\r\n$5\r\n{}", address.port())));
    }

    #[track_caller]
    fn wait(&self, what: &str, name: &str, is: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = say(self.all[0].1, &["SENTINEL", "MASTER", name]).unwrap_or_default();
            if is(&said) {
                return;
            }
            assert!(Instant::now() < end, "the Sentinels are not {what}: {said}");
            std::thread::yield_now();
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn serve(dir: &Path, address: SocketAddr, arguments: &[String]) -> Option<Program> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(arguments).current_dir(dir);
    let mut program = Program::start("redis-server", &mut command);
    let end = Instant::now() + PATIENCE;
    while let Some(line) = program.try_line(end.saturating_duration_since(Instant::now())) {
        if line.contains("Ready to accept connections") {
            return Some(program);
        }
    }
    None
}

fn answers(address: SocketAddr) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if say(address, &["PING"]).is_ok_and(|said| said.starts_with("+PONG")) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn say(address: SocketAddr, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| text += &format!("${}\r\n{word}\r\n", word.len()));
    stream.write_all(text.as_bytes())?;
    // It answers what it has read, and then closes; Sentinels know no QUIT.
    stream.shutdown(Shutdown::Write)?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// What a relay does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Open,
    Cut,
    Slow(Duration),
}

struct Relayed {
    manner: Mutex<(Manner, Vec<TcpStream>)>,
    changed: Condvar,
}

/// A way to a server that can be cut or slowed down.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Relayed>,
}

impl Relay {
    /// An open way.
    #[track_caller]
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Relayed { manner: Mutex::new((Manner::Open, Vec::new())), changed: Condvar::new() });
        let relayed = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut manner = relayed.manner.lock().unwrap();
                if manner.0 == Manner::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                let ends = [&client, &server].map(|end| end.try_clone().expect("a second descriptor"));
                manner.1.extend(ends);
                drop(manner);
                copy(&client, &server, &relayed);
                copy(&server, &client, &relayed);
            }
        });
        Self { address, shared }
    }

    /// Where it listens, as `[cluster]` has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends all connections, and lets no new one through.
    pub fn cut(&self) {
        let mut manner = self.shared.manner.lock().unwrap();
        manner.0 = Manner::Cut;
        manner.1.drain(..).for_each(|stream| _ = stream.shutdown(Shutdown::Both));
        self.shared.changed.notify_all();
    }

    /// From now on each piece takes so long.
    pub fn slow(&self, time: Duration) {
        self.shared.manner.lock().unwrap().0 = Manner::Slow(time);
        self.shared.changed.notify_all();
    }

    /// Lets everything through at once.
    pub fn open(&self) {
        self.shared.manner.lock().unwrap().0 = Manner::Open;
        self.shared.changed.notify_all();
    }
}

fn copy(from: &TcpStream, to: &TcpStream, shared: &Arc<Relayed>) {
    let (mut from, mut to, shared) =
        (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"), shared.clone());
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let manner = shared.manner.lock().unwrap();
            if let Manner::Slow(time) = manner.0 {
                let _until = shared.changed.wait_timeout_while(manner, time, |now| matches!(now.0, Manner::Slow(_)));
            } else {
                drop(manner);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
