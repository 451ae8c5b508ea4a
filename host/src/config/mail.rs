//! `[mail]`, and the keys of a back-end that are about its mail servers.

use std::path::Path;
use std::time::Duration;

use hyper::Uri;

use super::mail_login::{self, MasterUser, Tokens};
use super::network::{Networks, ProxyProtocol};
use super::{Protocol, Table};

/// `[mail]`: what holds for all doors that mail programs come to.
#[derive(Debug, Clone)]
pub struct Mail {
    /// How long all that comes before a login may take, together.
    pub login_timeout: Duration,
    /// How long nothing may move after the login; none means the protocol's own.
    idle_timeout: Option<Duration>,
    /// Bytes of a command before the login, its literals included.
    pub line_max_size: usize,
    /// Bytes of one literal before the login.
    pub literal_max_size: usize,
    /// Bytes of a command, or a response, that may hold a token.
    pub sasl_max_size: usize,
    /// Wrong commands until the connection is closed (the original's `maxErrors`); 0 is no limit.
    pub max_errors: u64,
    /// Failed logins until the connection is closed (the original's `maxAuthErrors`); 0 is no limit.
    pub max_auth_errors: u64,
    /// From where passwords are taken without TLS.
    pub clear_text_from: Networks,
    /// Connections of one user, over all mail protocols; 0 is no limit.
    pub user_max_connections: usize,
    /// What Sieve scripts may use, as ManageSieve programs are told before the login.
    pub sieve_extensions: Vec<String>,
    /// What submission servers can do, as programs are told before the login.
    pub submission_extensions: Vec<String>,
    /// Tokens that are taken beside passwords, in TLS and in the mode `back-end`.
    pub tokens: Tokens,
}

/// Extensions of Sieve that Pigeonhole (Dovecot) and Cyrus have by default.
const SIEVE: [&str; 17] = [
    "fileinto",
    "reject",
    "envelope",
    "encoded-character",
    "vacation",
    "subaddress",
    "comparator-i;ascii-numeric",
    "relational",
    "regex",
    "imap4flags",
    "copy",
    "include",
    "variables",
    "body",
    "environment",
    "mailbox",
    "date",
];
/// Extensions of SMTP that every submission server has.
const SUBMISSION: [&str; 4] = ["PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"];

impl Default for Mail {
    fn default() -> Self {
        Self {
            login_timeout: Duration::from_secs(60),
            idle_timeout: None,
            line_max_size: 8 << 10,
            literal_max_size: 4 << 10,
            sasl_max_size: 16 << 10,
            max_errors: 20,
            max_auth_errors: 5,
            clear_text_from: Networks::default(),
            user_max_connections: 50,
            sieve_extensions: SIEVE.map(str::to_owned).to_vec(),
            submission_extensions: SUBMISSION.map(str::to_owned).to_vec(),
            tokens: Tokens::default(),
        }
    }
}

impl Mail {
    /// How long nothing may move after the login. Clients of IMAP renew an IDLE each 29 minutes at the latest (RFC 2177), and
    /// both sides count from different moments; a POP3 server waits for at least 10 minutes (RFC 1939, section 3), and so does a
    /// client for the answer to its message (RFC 5321, section 4.5.3.2.6).
    pub fn idle_timeout(&self, protocol: Protocol) -> Duration {
        let minutes = if matches!(protocol, Protocol::Pop3 | Protocol::Submission) { 10 } else { 35 };
        self.idle_timeout.unwrap_or(Duration::from_secs(minutes * 60))
    }
}

/// The mail servers of a back-end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMail {
    /// Where it speaks IMAP.
    pub imap: Option<MailUrl>,
    /// Where it speaks POP3.
    pub pop3: Option<MailUrl>,
    /// Where it speaks ManageSieve.
    pub sieve: Option<MailUrl>,
    /// Where it takes messages of its users.
    pub submission: Option<MailUrl>,
    /// Whether plain connections begin with STARTTLS: where the node does not offer it, nothing is sent.
    pub start_tls: bool,
    /// How it is told who the client is.
    pub client_address: ClientAddress,
    /// Mail sessions at once (the original's `connectionData.maxConnections`).
    pub max_connections: usize,
    /// Logins at once; more of them wait, as requests do.
    pub login_max: usize,
    /// Who logs in there for each user; none where users' own passwords or tokens go there.
    pub master: Option<MasterUser>,
    /// Whether it is watched that nobody goes back before the login; none where the server's list says.
    pub watch: Option<bool>,
}

/// How a mail server is told who the client is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// Not at all.
    #[default]
    Off,
    /// By ID (IMAP) and XCLIENT (the others), which Dovecot takes from `login_trusted_networks`.
    Id,
    /// By a PROXY header.
    Proxy(ProxyProtocol),
}

impl ClientAddress {
    const CHOICES: [(&'static str, Self); 4] = [
        ("off", Self::Off),
        ("id", Self::Id),
        ("proxy-v1", Self::Proxy(ProxyProtocol::V1)),
        ("proxy-v2", Self::Proxy(ProxyProtocol::V2)),
    ];
}

/// Where a mail server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailUrl {
    /// Whether TLS comes first.
    pub is_tls: bool,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl NodeMail {
    /// Where it speaks a protocol.
    pub fn at(&self, protocol: Protocol) -> Option<&MailUrl> {
        match protocol {
            Protocol::Http => None,
            Protocol::Imap => self.imap.as_ref(),
            Protocol::Pop3 => self.pop3.as_ref(),
            Protocol::Sieve => self.sieve.as_ref(),
            Protocol::Submission => self.submission.as_ref(),
        }
    }

    /// All of its servers, by their keys.
    pub fn servers(&self) -> impl Iterator<Item = (&'static str, &MailUrl)> {
        let all =
            [("imap", &self.imap), ("pop3", &self.pop3), ("sieve", &self.sieve), ("submission", &self.submission)];
        all.into_iter().filter_map(|(key, url)| Some((key, url.as_ref()?)))
    }

    /// Whether any of them is reached by TLS.
    pub fn has_tls(&self) -> bool {
        self.servers().any(|(_, url)| url.is_tls || self.start_tls)
    }
}

impl MailUrl {
    /// `imap://HOST`, `imaps://HOST:PORT` and so on, for the protocol of that name.
    fn parse(text: &str, (plain, port): (&str, u16), tls_port: u16) -> Option<Self> {
        let url: Uri = text.parse().ok()?;
        let is_tls = match url.scheme_str()?.strip_prefix(plain)? {
            "" => false,
            "s" => true,
            _ => return None,
        };
        let alone = matches!(url.path(), "" | "/") && url.query().is_none();
        let host = url.host().filter(|host| alone && !host.is_empty())?.trim_matches(['[', ']']).to_owned();
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return None;
        }
        Some(Self { is_tls, host, port: url.port_u16().unwrap_or(if is_tls { tls_port } else { port }) })
    }

    /// Name or address and port, as one connects to them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

pub(super) fn mail(t: &Table<'_>) -> Mail {
    let default = Mail::default();
    let bytes = |key: &str, default: usize, range: (u64, u64)| {
        let size = t.size(key, default as u64);
        if !(range.0..=range.1).contains(&size) {
            t.fault(key, format!("{size} bytes"), format!("from {} to {} bytes", range.0, range.1));
        }
        usize::try_from(size).unwrap_or(default)
    };
    Mail {
        login_timeout: t.duration("login-timeout", default.login_timeout),
        idle_timeout: t.has("idle-timeout").then(|| t.duration("idle-timeout", Duration::from_secs(35 * 60))),
        line_max_size: bytes("line-max-size", default.line_max_size, (1 << 10, 64 << 10)),
        literal_max_size: bytes("literal-max-size", default.literal_max_size, (256, 64 << 10)),
        sasl_max_size: bytes("sasl-max-size", default.sasl_max_size, (1 << 10, 64 << 10)),
        // The original takes 0 to 100.
        max_errors: t.count("max-errors", default.max_errors, 0..=100),
        max_auth_errors: t.count("max-auth-errors", default.max_auth_errors, 0..=100),
        clear_text_from: t.networks("clear-text-from"),
        user_max_connections: t.places("user-max-connections", default.user_max_connections, 0..=100_000),
        sieve_extensions: words(t, "sieve-extensions", default.sieve_extensions, false),
        submission_extensions: words(t, "submission-extensions", default.submission_extensions, true),
        tokens: mail_login::tokens(t),
    }
}

/// A list of words that clients are told as they stand: visible ASCII without quotes. `with_values` is one whose words may
/// have values behind them.
fn words(t: &Table<'_>, key: &str, default: Vec<String>, with_values: bool) -> Vec<String> {
    if !t.has(key) {
        return default;
    }
    let right = |c: char| (c.is_ascii_graphic() && !matches!(c, '"' | '\\')) || (with_values && c == ' ');
    let words = t.texts(key);
    for word in &words {
        if word.trim() != word || word.is_empty() || word.len() > 200 || !word.chars().all(right) {
            t.fault(key, format!("{word:?}"), "names of extensions, each in a text of its own");
        }
        // Doorward says these itself, where they are true.
        let name = word.split([' ', '=']).next().unwrap_or_default();
        if with_values && ["AUTH", "STARTTLS", "XCLIENT"].iter().any(|own| own.eq_ignore_ascii_case(name)) {
            t.fault(key, format!("{word:?}"), "what nodes can do after the login");
        }
    }
    if words.iter().map(|word| word.len() + 1).sum::<usize>() > 900 {
        t.fault(key, "a list of more than 900 bytes", "a shorter list");
    }
    words
}

/// The keys of a back-end that begin with a mail protocol's name, or with `mail-`.
pub(super) fn of_backend(t: &Table<'_>, base: &Path) -> NodeMail {
    let url = |protocol: Protocol, (port, tls_port): (u16, u16)| {
        let name = protocol.name();
        let expected = format!("\"{name}://HOST\" or \"{name}s://HOST\", perhaps with a port");
        t.parsed(name, &expected, |text| MailUrl::parse(text, (name, port), tls_port))
    };
    NodeMail {
        imap: url(Protocol::Imap, (143, 993)),
        pop3: url(Protocol::Pop3, (110, 995)),
        sieve: url(Protocol::Sieve, (4190, 4190)),
        submission: url(Protocol::Submission, (587, 465)),
        start_tls: t.flag("mail-start-tls", false),
        client_address: t.choice("mail-client-address", &ClientAddress::CHOICES).unwrap_or_default(),
        max_connections: t.places("mail-max-connections", 10_000, 1..=1_000_000),
        login_max: t.places("mail-login-max", 64, 1..=65_535),
        master: MasterUser::read(t, base),
        watch: t.choice("mail-watch", &[("auto", None), ("always", Some(true)), ("never", Some(false))]).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_named_by_its_scheme() {
        let read = |text: &str| MailUrl::parse(text, ("imap", 143), 993).map(|url| (url.is_tls, url.authority()));
        assert_eq!(read("imaps://10.0.0.11"), Some((true, "10.0.0.11:993".to_owned())));
        assert_eq!(read("imap://node-a.example:1143/"), Some((false, "node-a.example:1143".to_owned())));
        assert_eq!(read("imap://[2001:db8::1]"), Some((false, "[2001:db8::1]:143".to_owned())));
        for wrong in ["10.0.0.11", "pop3://a", "imapx://a", "imap://", "imap://a/inbox", "imap://u@a", "imap:a"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
    #[test]
    fn words_that_a_door_says_itself_are_known_in_any_case() {
        let check = |word: &str, is_fault: bool| {
            let text = format!("[mail]\nsubmission-extensions = [\"{word}\"]\n[[site]]\nhosts = [\"*\"]\n");
            let source = std::sync::Arc::new(crate::config::Source::new("c", text));
            let faults = crate::config::parse(&source, Path::new(".")).err().map(|faults| faults.to_string());
            assert_eq!(faults.unwrap_or_default().contains("submission-extensions"), is_fault, "{word}");
        };
        ["AUTH", "auth PLAIN", "AUTH=PLAIN", "starttls", "XClient ADDR"].into_iter().for_each(|word| check(word, true));
        ["SIZE 1000", "DSN", "AUTHORITY"].into_iter().for_each(|word| check(word, false));
    }
}
