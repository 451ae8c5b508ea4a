//! What this machine cannot give us: descriptors, memory, ports. No fault of a node or of a directory server.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Backend, Config, Limits};

/// What a connection to somebody may lack on our side.
const OURS: [Errno; 7] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOBUFS,
    // No port is left to connect from, or the `local-address` is not this machine's.
    Errno::ADDRNOTAVAIL,
    Errno::ADDRINUSE,
    // So many processes and threads.
    Errno::AGAIN,
];

/// Descriptors beside connections: listeners, files, logs, pipes, the directory.
const OTHERS: u64 = 200;

/// Whether an error says that this machine lacks something.
pub fn is_ours(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| OURS.contains(&error))
}

/// Whether no descriptor is left: some errors (of looking up a name, say) do not tell.
pub fn has_no_descriptor() -> bool {
    std::fs::File::open("/dev/null").is_err_and(|error| is_ours(&error))
}

/// Raises the limit of open files as far as it goes.
pub fn raise_open_files() {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let limit = getrlimit(Resource::Nofile).current;
    tracing::info!(before = before.current, limit, "the limit of open files is raised");
}

/// The limit of open files, where it is lower than what the configured connections may need, and what that is.
pub fn too_few_open_files(config: &Config) -> Option<(u64, u64)> {
    let (limit, wanted) = (getrlimit(Resource::Nofile).maximum?, wanted_open_files(config)?);
    (limit < wanted).then_some((limit, wanted))
}

/// How many files the configured connections may need: one for each client, and one for each request at a node. None
/// where listeners have no limit.
fn wanted_open_files(config: &Config) -> Option<u64> {
    let limited = |limits: &Limits| Some(limits.max_connections).filter(|most| *most > 0);
    let of_listeners: Option<u64> = config.listeners.iter().map(|listener| limited(&listener.limits)).sum();
    let clients = of_listeners.into_iter().chain(limited(&config.flow.all)).min()?;
    let of_mail = |node: &Backend| {
        if node.mail.servers().next().is_some() { node.mail.max_connections } else { 0 }
    };
    let of = |node: &Backend| node.max_connections + node.long_poll_max_connections + of_mail(node);
    let nodes = config.backends.iter().map(of).sum::<usize>() as u64;
    // A request has a client: there are no more of one kind than of the other.
    Some(clients + nodes.min(clients) + OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_want_is_told_from_the_faults_of_others() {
        for (error, ours) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
            (Errno::TIMEDOUT, false),
            (Errno::CONNRESET, false),
        ] {
            assert_eq!(is_ours(&error.into()), ours, "{error}");
        }
        assert!(!is_ours(&io::Error::other("a certificate is wrong")));
    }
}
