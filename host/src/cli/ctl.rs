//! `doorward ctl`: asks a running Doorward by its admin socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::print::say;
use crate::admin::verbs;
use crate::config::{self, Fixed};
use crate::policy::Quarantine;

/// A reload may have to compile policies for minutes.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Args)]
pub(super) struct Ctl {
    /// The admin socket.
    #[arg(long, conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration that names the admin socket.
    #[arg(long, required_unless_present = "socket")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is live, and how each policy does, as JSON.
    Status,
    /// The same for Prometheus.
    Metrics,
    /// Read the configuration again; the faults, if it is refused.
    Reload {
        /// Lists of users may lose most of their entries.
        #[arg(long)]
        accept_shrink: bool,
    },
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
            Self::Reload { accept_shrink: false } => ("reload", Vec::new()),
            Self::Reload { accept_shrink: true } => ("reload", vec![("accept-shrink", "1".to_owned())]),
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
            Self::Lift { digest } => ("lift", vec![("digest", digest.clone())]),
        }
    }
}

/// Runs the verb; exit status 0 when Doorward did it, 1 when it refused.
pub(super) fn run(ctl: &Ctl) -> anyhow::Result<ExitCode> {
    let (name, parameters) = ctl.verb.said();
    let verb = verbs::find(name).with_context(|| format!("{name} is not in the table of verbs"))?;
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (method, path) = (verb.method(), verb.target(&parameters));
    let (socket, state) = match (&ctl.socket, &ctl.config) {
        (Some(socket), _) => (socket.clone(), None),
        (None, Some(file)) => {
            let config = config::load_anyway(file)?.0;
            let none = || format!("{} names no admin socket ([admin] socket)", file.display());
            (config.admin.socket.with_context(none)?, config.state_directory)
        }
        (None, None) => bail!("--socket or --config is needed"),
    };
    let answer = match (ask(&socket, method.as_str(), &path, PATIENCE), &ctl.verb, state) {
        (Err(_), Verb::Lift { digest }, Some(state)) => return Ok(lift(digest, &state)),
        (Err(error), ..) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            bail!(no_answer(&socket))
        }
        (answer, ..) => answer.with_context(|| format!("{}: nobody answers", socket.display()))?,
    };
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| no_answer(&socket))?;
    let ok = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
    say(body.trim_end());
    Ok(ExitCode::from(u8::from(!ok)))
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
    let answer = ask(socket, "GET", "/status", Duration::from_secs(2)).unwrap_or_default();
    let status: Json =
        answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default();
    serde_json::from_value(status["started-with"].clone()).unwrap_or_default()
}

fn ask(socket: &Path, method: &str, path: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: doorward\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
