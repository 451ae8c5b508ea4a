//! The `doorward` program under test.

use crate::client::Client;
use crate::program::Program;
use rustix::process::Signal;
use serde::Deserialize;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// A cold start compiles policies, and the machine may be busy.
/// So long a start or a reload may take, with policies compiled beside other work. It only ends what hangs.
const START: Duration = Duration::from_secs(120);

/// The `doorward` binary: `$DOORWARD_BIN`, or the one that was built beside the test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("DOORWARD_BIN") {
        return PathBuf::from(path);
    }
    // target/<profile>/deps/suite-0123456789abcdef
    let own = std::env::current_exe().expect("a running test has a path");
    let path = own.parent().and_then(Path::parent).map(|dir| dir.join("doorward")).unwrap_or_default();
    assert!(path.exists(), "there is no {}: build it first, or set DOORWARD_BIN", path.display());
    path
}

/// A directory for one proxy, before it starts: put files there, then `serve`.
pub struct Setup {
    dir: tempfile::TempDir,
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    input: Option<OwnedFd>,
    unread: bool,
    user: Option<u32>,
}

/// A run that has ended by itself.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Setup {
    /// An empty directory, and the binary of [`binary`].
    pub fn new() -> Self {
        Self::with(binary())
    }

    /// An empty directory, and another program in place of doorward.
    pub fn with(program: impl Into<PathBuf>) -> Self {
        Self {
            dir: crate::temp_dir(),
            binary: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            unread: false,
            user: None,
        }
    }

    /// The directory, which is also where the program runs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file there, with the folders above it.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        write(&self.dir.path().join(path), contents.as_ref());
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument to `serve`.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Gives it something as its standard input: a socket, say.
    #[must_use]
    pub fn input(mut self, input: impl Into<OwnedFd>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Leaves its standard error to a pipe that nobody reads.
    #[must_use]
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Runs the program as another user, whose the directory is then. Only root can.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        std::os::unix::fs::chown(self.dir.path(), Some(user), Some(user)).expect("root may");
        self.user = Some(user);
        self
    }

    fn command(&self) -> Command {
        let mut command = match self.user {
            None => Command::new(&self.binary),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
                command.arg(&self.binary);
                command
            }
        };
        // Whatever it keeps for its user goes with the directory.
        command.env("XDG_CACHE_HOME", self.dir.path().join(".cache"));
        command.current_dir(self.dir.path()).envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Writes `doorward.toml` and runs `doorward serve` with it.
    #[track_caller]
    pub fn serve(self, config: &str) -> Proxy {
        write(&self.dir.path().join("doorward.toml"), config.as_bytes());
        self.serve_again()
    }

    /// Runs `doorward serve` with the files as they are.
    #[track_caller]
    pub fn serve_again(self) -> Proxy {
        let file = self.dir.path().join("doorward.toml");
        let mut command = self.command();
        command.args(["serve", "--config"]).arg(&file).arg("--json").args(&self.arguments);
        let input = self.input.map_or_else(Stdio::null, Stdio::from);
        let mut program = match self.unread {
            true => Program::start_unread("doorward", &mut command, input),
            false => Program::start_with("doorward", &mut command, input),
        };
        let line = program.line(START);
        let started: Started =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("first line {line:?}: {e}; {}", program.tail()));
        Proxy { program, started, dir: self.dir }
    }

    /// Runs the program with these arguments to its end: `check`, or a `serve` that is to be refused.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut program = Program::start("doorward", self.command().args(arguments));
        let mut stdout = String::new();
        let status = program.wait(Duration::from_secs(60));
        while let Some(line) = program.next_line() {
            stdout += &(line + "\n");
        }
        program.wait_for_log_end();
        Ran { status, stdout, stderr: program.log().join("\n") }
    }

    /// Runs `serve` with a config that is to be refused.
    #[track_caller]
    pub fn refused(&self, config: &str) -> Ran {
        write(&self.dir.path().join("doorward.toml"), config.as_bytes());
        let ran = self.run(&["serve", "--config", "doorward.toml"]);
        assert!(!ran.status.success(), "the config was not refused: {ran:?}");
        ran
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Deserialize)]
struct Started {
    listeners: Vec<Listener>,
    #[serde(default)]
    generation: u64,
}

/// One listening socket, as the program has said.
#[derive(Clone, Debug, Deserialize)]
pub struct Listener {
    /// Its name in the config.
    pub name: String,
    /// Where it listens: address and port, or `unix:PATH`.
    pub address: String,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
}

/// A running `doorward serve`, killed when dropped. A test that fails prints the end of its log.
pub struct Proxy {
    program: Program,
    started: Started,
    dir: tempfile::TempDir,
}

impl Proxy {
    /// Starts one with this config, in a fresh directory.
    #[track_caller]
    pub fn serve(config: &str) -> Self {
        Setup::new().serve(config)
    }

    /// The directory with its config; paths in the config are below it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file there; `doorward.toml` is the config. Replaces it at once, never in parts.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.dir.path().join(path);
        let half = path.with_extension("half-written");
        write(&half, contents.as_ref());
        std::fs::rename(&half, &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Asks it to end and waits until it has: its directory, for another run.
    #[track_caller]
    pub fn stop(mut self) -> Setup {
        assert!(self.terminate().success());
        let mut setup = Setup::new();
        setup.dir = self.dir;
        setup
    }

    /// All listening sockets.
    pub fn listeners(&self) -> &[Listener] {
        &self.started.listeners
    }

    /// The address of a listener.
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        let all = &self.started.listeners;
        let listener = all.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("no listener {name:?} in {all:?}"));
        listener.address.parse().unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The generation it started with.
    pub fn generation(&self) -> u64 {
        self.started.generation
    }

    /// A client of the listener `public`, or of the first one.
    #[track_caller]
    pub fn client(&self) -> Client {
        let all = &self.started.listeners;
        let listener = all.iter().find(|l| l.name == "public").or(all.first());
        Client::new(self.address(&listener.expect("it has a listener").name))
    }

    /// A client of a listener.
    #[track_caller]
    pub fn client_of(&self, listener: &str) -> Client {
        Client::new(self.address(listener))
    }

    /// The program itself: its log, signals, its end.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// All lines of the log so far.
    pub fn log(&self) -> Vec<String> {
        self.program.log()
    }

    /// Waits for a line of the log that a regular expression finds, among those written already too.
    #[track_caller]
    pub fn wait_for_log(&self, pattern: &str, timeout: Duration) -> String {
        self.program.wait_for_log(0, pattern, timeout)
    }

    /// The same for the lines after the first `from` ones (`log().len()`, taken before).
    #[track_caller]
    pub fn wait_for_log_after(&self, from: usize, pattern: &str, timeout: Duration) -> String {
        self.program.wait_for_log(from, pattern, timeout)
    }

    /// Asks at its admin socket, which the configuration must name `admin.sock`: status and body.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str) -> (u16, String) {
        self.admin_with(method, path, "Accept: */*")
    }

    /// The same with another header.
    #[track_caller]
    pub fn admin_with(&self, method: &str, path: &str, header: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        let socket = self.dir().join("admin.sock");
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("the admin socket");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n");
        write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{head:?}")), body.to_owned())
    }

    /// Its status, by the admin socket.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let (status, body) = self.admin("GET", "/status");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
    }

    /// Waits until its status is as it should be.
    #[track_caller]
    pub fn wait_for_status(&self, what: &str, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let end = std::time::Instant::now() + START;
        loop {
            let status = self.status();
            if is(&status) {
                return status;
            }
            assert!(std::time::Instant::now() < end, "{what} is not so: {status:#}");
            std::thread::yield_now();
        }
    }

    /// Asks it to read its config again (SIGHUP). It answers in its log.
    #[track_caller]
    pub fn reload(&self) {
        self.program.signal(Signal::HUP);
    }

    /// Asks it to end (SIGTERM).
    pub fn begin_to_terminate(&self) {
        self.program.signal(Signal::TERM);
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.program.signal(Signal::TERM);
        // longer than any drain time that a test sets
        self.program.wait(Duration::from_secs(30))
    }
}

/// What `doorward demo` says when it is up.
#[derive(Clone, Debug, Deserialize)]
struct DemoStarted {
    url: String,
    sites: Vec<DemoSite>,
    users: Vec<DemoUser>,
    mail: Vec<DemoMail>,
    admin: DemoAdmin,
}

#[derive(Clone, Debug, Deserialize)]
struct DemoMail {
    protocol: String,
    address: SocketAddr,
}

/// Where operators of the demo come to, and the account that was made for them.
#[derive(Clone, Debug, Deserialize)]
pub struct DemoAdmin {
    /// The operator's page.
    pub url: String,
    /// Its account, where one was made.
    pub name: Option<String>,
    /// The password of that.
    pub password: Option<String>,
}

/// One virtual host of the demo.
#[derive(Clone, Debug, Deserialize)]
pub struct DemoSite {
    /// Its name.
    pub host: String,
    /// The template it shows.
    pub template: String,
}

/// One user of the demo.
#[derive(Clone, Debug, Deserialize)]
pub struct DemoUser {
    /// Login name.
    pub name: String,
    /// Password.
    pub password: String,
    /// The node with the mailbox; nothing for a user without one.
    pub node: Option<String>,
}

/// A running `doorward demo`, killed when dropped.
pub struct Demo {
    program: Program,
    started: DemoStarted,
    _dir: tempfile::TempDir,
}

impl Demo {
    /// Starts it on a free port.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_in(Setup::new())
    }

    /// Starts it as it was set up.
    #[track_caller]
    pub fn start_in(setup: Setup) -> Self {
        let mut command = setup.command();
        command.args(["demo", "--listen", "127.0.0.1:0", "--json"]).args(&setup.arguments);
        let mut program = Program::start("doorward demo", &mut command);
        let line = program.line(START);
        let started =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("first line {line:?}: {e}; {}", program.tail()));
        Self { program, started, _dir: setup.dir }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.started.url
    }

    /// Its address.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        let url = &self.started.url;
        let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        authority.replace("localhost", "127.0.0.1").parse().unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    /// The URL of one of its virtual hosts.
    #[track_caller]
    pub fn url_of(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.address().port())
    }

    /// Its virtual hosts.
    pub fn sites(&self) -> &[DemoSite] {
        &self.started.sites
    }

    /// Whether mail programs can come to it.
    pub fn has_mail(&self) -> bool {
        !self.started.mail.is_empty()
    }

    /// Where they come to, by protocol.
    #[track_caller]
    pub fn mail(&self, protocol: &str) -> SocketAddr {
        self.started.mail.iter().find(|one| one.protocol == protocol).expect("a listener of that protocol").address
    }

    /// Where operators come to.
    pub fn admin(&self) -> &DemoAdmin {
        &self.started.admin
    }

    /// Its users.
    pub fn users(&self) -> &[DemoUser] {
        &self.started.users
    }

    /// A client of it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// The program itself: its log, signals, its end.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

fn write(path: &Path, contents: &[u8]) {
    let folder = path.parent().expect("a file has a folder");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, contents))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
