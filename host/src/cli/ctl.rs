//! `doorward ctl`: asks a running Doorward by its admin socket.

use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::people;
use super::print::say;
use crate::admin::verbs;
use crate::config::{self, Fixed};
use crate::policy::Quarantine;

/// A reload may have to compile policies for minutes.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often `top` looks.
const REFRESH: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Ctl {
    /// The admin socket.
    #[arg(long, conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration that names the admin socket.
    #[arg(long, default_value = "/etc/doorward/doorward.toml")]
    config: PathBuf,
    /// Print for programs: JSON, as the admin socket says it.
    #[arg(long, global = true)]
    json: bool,
    /// Why it is done, for the audit log.
    #[arg(long, global = true)]
    reason: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is live, what is wrong, and how each part does.
    Status,
    /// Its numbers, for Prometheus.
    Metrics,
    /// The newest lines of the audit log: who did what.
    Audit {
        /// So many.
        #[arg(long)]
        lines: Option<u32>,
    },
    /// How busy it is: nodes, queues, logins, and the slowest requests; again and again on a terminal.
    Top,
    /// Why a user could not log in: the last attempts in words, and whether the throttle shuts the name out.
    Why {
        /// The user's name, in any spelling.
        user: String,
    },
    /// The sessions that were seen since the start and are alive.
    Sessions {
        /// Those at this back-end.
        #[arg(long)]
        node: Option<String>,
        /// Those of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// What each directory server says of a user: entry, node, and whether a password is right.
    DirectoryTest {
        /// The user's name, in any spelling.
        #[arg(long)]
        user: String,
        /// Check a password too, which is read from standard input.
        #[arg(long)]
        password: bool,
    },
    /// Follow a user for a while: requests and logins in full but for secrets, in a file of the state directory.
    Trace {
        /// The user's name, in any spelling.
        #[arg(long)]
        user: String,
        /// For how long: `10m`, at most an hour; `0s` ends it.
        #[arg(long = "for", default_value = "10m")]
        time: String,
    },
    /// Let somebody try again whom the throttle of logins shuts out.
    #[command(group = clap::ArgGroup::new("whom").required(true))]
    Release {
        /// This name, from everywhere.
        #[arg(long, group = "whom")]
        user: Option<String>,
        /// This network, with all names: `192.0.2.0/24`, `2001:db8::/48`, or an address.
        #[arg(long, group = "whom")]
        network: Option<String>,
    },
    /// Read the configuration again; the faults, if it is refused.
    Reload {
        /// Lists of users may lose most of their entries.
        #[arg(long)]
        accept_shrink: bool,
    },
    /// The front doors of the cluster: what each says of itself, in what they differ, and how the store is.
    Cluster,
    /// Open the files of logs anew, after they were moved away.
    ReopenLogs,
    /// Start the program on disk anew, with the same sockets; this process goes when that one serves.
    Upgrade,
    /// Make an earlier generation live again; one that is kept on disk is built first.
    Rollback {
        /// Its number; the last one, if missing.
        generation: Option<u64>,
    },
    /// End sessions that began until now: of a user, one by the id in the log, or all.
    #[command(group = clap::ArgGroup::new("whose").required(true))]
    Revoke {
        /// All sessions of this user, at every site.
        #[arg(long, group = "whose")]
        user: Option<String>,
        /// One session: 32 hexadecimal digits, as the log has them.
        #[arg(long, group = "whose")]
        session: Option<String>,
        /// All sessions of all users.
        #[arg(long, group = "whose")]
        all: bool,
    },
    /// Let nobody new in at a back-end for a while; who is there stays.
    Drain {
        /// Its name.
        backend: String,
        /// How long, such as "30m"; an hour, if missing.
        #[arg(long = "for")]
        time: Option<String>,
    },
    /// Let people in again at a back-end that was drained.
    Undrain {
        /// Its name.
        backend: String,
    },
    /// Forget which back-end a user is on, so that the directory is asked again.
    PurgeRoutes {
        /// The user's name; all users, if missing.
        user: Option<String>,
    },
    /// End sessions of mail programs, which log in again at once: after a mailbox was moved, say.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Kick {
        /// Those of this user.
        #[arg(long, group = "which")]
        user: Option<String>,
        /// Those at this back-end.
        #[arg(long, group = "which")]
        node: Option<String>,
    },
    /// Lift the quarantine of a component that went bad.
    Lift {
        /// `sha256:…`
        digest: String,
    },
}

impl Verb {
    /// Its name in the table of verbs, and what is said with it.
    fn said(&self) -> (&'static str, Vec<(&'static str, String)>) {
        match self {
            Self::Status => ("status", Vec::new()),
            Self::Metrics => ("metrics", Vec::new()),
            Self::Audit { lines } => ("audit", lines.iter().map(|lines| ("lines", lines.to_string())).collect()),
            Self::Top => ("top", Vec::new()),
            Self::Why { user } => ("why", vec![("user", user.clone())]),
            Self::Sessions { node, user } => {
                let named = [("node", node), ("user", user)].into_iter();
                ("sessions", named.filter_map(|(name, value)| Some((name, value.clone()?))).collect())
            }
            Self::DirectoryTest { user, .. } => ("directory-test", vec![("user", user.clone())]),
            Self::Trace { user, time } => ("trace", vec![("user", user.clone()), ("for", time.clone())]),
            Self::Release { user, network } => {
                let named = [("user", user), ("network", network)].into_iter();
                ("release", named.filter_map(|(name, value)| Some((name, value.clone()?))).collect())
            }
            Self::Reload { accept_shrink: false } => ("reload", Vec::new()),
            Self::Reload { accept_shrink: true } => ("reload", vec![("accept-shrink", "1".to_owned())]),
            Self::Cluster => ("cluster", Vec::new()),
            Self::ReopenLogs => ("reopen-logs", Vec::new()),
            Self::Upgrade => ("upgrade", Vec::new()),
            Self::Rollback { generation } => {
                ("rollback", generation.iter().map(|to| ("generation", to.to_string())).collect())
            }
            Self::Revoke { user, session, .. } => {
                let pair = match (user, session) {
                    (Some(user), _) => ("user", user.clone()),
                    (None, Some(session)) => ("session", session.clone()),
                    (None, None) => ("all", String::new()),
                };
                ("revoke", vec![pair])
            }
            Self::Drain { backend, time } => {
                let time = time.iter().map(|time| ("for", time.clone()));
                ("drain", [("backend", backend.clone())].into_iter().chain(time).collect())
            }
            Self::Undrain { backend } => ("undrain", vec![("backend", backend.clone())]),
            Self::PurgeRoutes { user } => ("purge-routes", user.iter().map(|user| ("user", user.clone())).collect()),
            Self::Kick { user, node } => {
                let user = user.iter().map(|user| ("user", user.clone()));
                ("kick", user.chain(node.iter().map(|node| ("node", node.clone()))).collect())
            }
            Self::Lift { digest } => ("lift", vec![("digest", digest.clone())]),
        }
    }
}

/// Runs the verb; exit status 0 when Doorward did it, 1 when it refused.
pub(super) fn run(ctl: &Ctl) -> anyhow::Result<ExitCode> {
    let (name, parameters) = ctl.verb.said();
    let verb = verbs::find(name).with_context(|| format!("{name} is not in the table of verbs"))?;
    let reason = ctl.reason.iter().map(|reason| (verbs::REASON, reason.as_str()));
    let parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (*name, value.as_str())).chain(reason).collect();
    let (method, path) = (verb.method(), verb.target(&parameters));
    let (socket, state) = match &ctl.socket {
        Some(socket) => (socket.clone(), None),
        None => {
            let config = config::load_anyway(&ctl.config)?.0;
            let none = || format!("{} names no admin socket ([admin] socket)", ctl.config.display());
            (config.admin.socket.with_context(none)?, config.state_directory)
        }
    };
    let password = match ctl.verb {
        Verb::DirectoryTest { password: true, .. } => Some(super::ask::secret(None, "Password: ")?),
        _ => None,
    };
    let body = password.as_ref().map_or("", |secret| secret.expose());
    let question = Question { method: method.as_str(), path: &path, body, patience: PATIENCE };
    let is_top = matches!(ctl.verb, Verb::Top) && !ctl.json && std::io::stdout().is_terminal();
    loop {
        let answer = match (question.ask(&socket), &ctl.verb, &state) {
            (Err(_), Verb::Lift { digest }, Some(state)) => return Ok(lift(digest, state)),
            (Err(error), ..) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                bail!(no_answer(&socket))
            }
            (answer, ..) => answer.with_context(|| format!("{}: nobody answers", socket.display()))?,
        };
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| no_answer(&socket))?;
        let ok = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        let text = shown(name, body, ctl.json);
        if !(is_top && ok) {
            say(text.trim_end());
            return Ok(ExitCode::from(u8::from(!ok)));
        }
        // From the top left corner, over what was there.
        say(&format!("\u{1b}[H\u{1b}[2J{}", text.trim_end()));
        std::thread::sleep(REFRESH);
    }
}

/// An answer as it is printed.
fn shown(verb: &str, body: &str, json: bool) -> String {
    match serde_json::from_str::<Json>(body) {
        Ok(answer) if !json => {
            let width = std::io::stdout().is_terminal().then(width).flatten();
            people::print(verb, &answer, crate::times::seconds_now(), width)
        }
        _ => body.to_owned(),
    }
}

/// How wide the terminal is.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Somebody was there.
fn no_answer(socket: &Path) -> String {
    let socket = socket.display();
    format!(
        "{socket}: the process that listened there ended before it answered; `status` says whether another one serves"
    )
}

/// Nobody runs: the quarantine of the state folder is what the next start looks at.
fn lift(digest: &str, state: &Path) -> ExitCode {
    let quarantine = Quarantine::load(Some(state));
    let lifted = quarantine.lift(digest);
    if let Some(trouble) = quarantine.trouble() {
        say(&trouble);
        return ExitCode::FAILURE;
    }
    say(&if lifted {
        format!("lifted for the next start: {digest}")
    } else {
        format!("not under quarantine: {digest}")
    });
    ExitCode::from(u8::from(!lifted))
}

/// What the running process that has this socket was started with, where there is one and it says so.
pub(super) fn started_with(socket: &Path) -> Vec<Fixed> {
    let question = Question { method: "GET", path: "/status", body: "", patience: Duration::from_secs(2) };
    let answer = question.ask(socket).unwrap_or_default();
    let status: Json =
        answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default();
    serde_json::from_value(status["started-with"].clone()).unwrap_or_default()
}

/// What is asked on the socket.
struct Question<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a str,
    patience: Duration,
}

impl Question<'_> {
    fn ask(&self, socket: &Path) -> std::io::Result<String> {
        let Self { method, path, body, patience } = self;
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(*patience))?;
        let head = format!("Host: doorward\r\nContent-Length: {}\r\nConnection: close", body.len());
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n")?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
