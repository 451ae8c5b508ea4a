//! A program that a test runs: its first line of output, its log, its end.

use regex_lite::Regex;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

/// A running program in a process group of its own; the whole group is killed when this is dropped.
pub struct Program {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    log: Arc<Log>,
    first: Mutex<mpsc::Receiver<String>>,
}

impl Program {
    /// Starts it; what it writes to standard error is its log.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_with(name, command, Stdio::null())
    }

    /// The same, with something for its standard input.
    #[track_caller]
    pub fn start_with(name: &str, command: &mut Command, input: Stdio) -> Self {
        let mut program = Self::start_unread(name, command, input);
        let kept = Arc::clone(&program.log);
        lines(program.child.stderr.take().expect("it is a pipe"), move |line| {
            let mut lines = kept.lines.lock().unwrap();
            match line {
                Some(line) => lines.0.push(line),
                None => lines.1 = true,
            }
            kept.more.notify_all();
        });
        program
    }

    /// The same, with a standard error that nobody reads.
    #[track_caller]
    pub fn start_unread(name: &str, command: &mut Command, input: Stdio) -> Self {
        let mut child = with_default_signals(command)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let (send, first) = mpsc::sync_channel(1000);
        // beyond the first thousand lines nobody reads them
        lines(child.stdout.take().expect("it is a pipe"), move |line| {
            line.into_iter().for_each(|l| drop(send.try_send(l)))
        });
        Self { name: name.to_owned(), child, ended: None, log: Arc::default(), first: Mutex::new(first) }
    }

    /// The next line of its standard output.
    #[track_caller]
    pub fn line(&mut self, timeout: Duration) -> String {
        self.first.lock().unwrap().recv_timeout(timeout).unwrap_or_else(|why| {
            let what = match why {
                mpsc::RecvTimeoutError::Timeout => format!("said nothing within {timeout:?}"),
                mpsc::RecvTimeoutError::Disconnected => {
                    // It is about to end: what it has to say about that may still be on its way.
                    self.wait_for_log_end();
                    "closed its output".to_owned()
                }
            };
            panic!("{} {what}; {}", self.name, self.tail())
        })
    }

    /// The next line of its standard output; none when there is none in time, or when it has ended.
    pub(crate) fn try_line(&mut self, timeout: Duration) -> Option<String> {
        self.first.lock().unwrap().recv_timeout(timeout).ok()
    }

    /// The rest of its standard output, once it has ended.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        self.first.lock().unwrap().recv_timeout(Duration::from_secs(5)).ok()
    }

    /// Waits for the end of the log, which comes with the end of the program and its children.
    pub(crate) fn wait_for_log_end(&self) {
        let lines = self.log.lines.lock().unwrap();
        let _end = self.log.more.wait_timeout_while(lines, Duration::from_secs(5), |l| !l.1).unwrap();
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All lines of the log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// Waits for a line of the log, from line number `from` on, that a regular expression finds.
    #[track_caller]
    pub fn wait_for_log(&self, from: usize, pattern: &str, timeout: Duration) -> String {
        let regex = Regex::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        let end = Instant::now() + timeout;
        let mut next = from;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().skip(next).find(|l| regex.is_match(l)) {
                return line.clone();
            }
            next = lines.0.len().max(from);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                let ended = if lines.1 { ", and it has ended" } else { "" };
                drop(lines);
                panic!("no line of the log matches {pattern:?} within {timeout:?}{ended}; {}", self.tail());
            }
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The end of the log, for messages.
    pub fn tail(&self) -> String {
        // Enough to see why, not so much that the cause is out of sight.
        let lines = self.log();
        let shown = &lines[lines.len().saturating_sub(40)..];
        format!("the log of {} ends with:\n  {}", self.name, shown.join("\n  "))
    }

    /// Sends a signal to the process.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap_or_else(|e| panic!("{} {signal:?}: {e}", self.name));
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        assert!(self.ends_within(timeout), "{} still runs after {timeout:?}; {}", self.name, self.tail());
        self.ended.expect("it has ended")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    fn ends_within(&mut self, timeout: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if self.ended.is_some() {
            return true;
        }
        let fd = rustix::process::pidfd_open(Pid::from_child(&self.child), rustix::process::PidfdFlags::empty());
        let fd = fd.expect("Linux 5.3 has pidfd_open");
        let timeout = Timespec::try_from(timeout).expect("a deadline that fits");
        let over = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).is_ok_and(|n| n == 1);
        if over {
            self.ended = self.child.wait().ok();
        }
        over
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        // Also for one that has ended: its children may not have. The ID cannot be another's before wait().
        if self.ended.is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// The same command, begun with every signal as a system begins programs. Under `nohup`, and in the background of a shell,
/// ours are not: children inherit what is ignored, and a shell script cannot even trap it then.
pub(crate) fn with_default_signals(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal").arg("--").arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        env.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

/// Hands on each line as it comes, and `None` at the end.
fn lines(from: impl Read + Send + 'static, mut each: impl FnMut(Option<String>) + Send + 'static) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            each(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned()));
            bytes.clear();
        }
        each(None);
    });
}
