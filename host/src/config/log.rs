//! `[log]`: which events are written where, and how.

use std::path::{Path, PathBuf};

use super::{Place, Table, Tls};

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `[[log.to]]`, and standard error for what none of them takes that nobody should miss.
    pub to: Vec<LogTo>,
    /// Facts whose values are left out of records of decisions.
    pub decisions_mask: Vec<String>,
    /// One of so many decisions is recorded where a policy says "sampled".
    pub decisions_sample: u64,
}

/// Log levels, least talkative first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Only what needs a hand.
    Error,
    /// And what an operator should know.
    Warn,
    /// And what happens.
    Info,
    /// And what peers do wrong.
    Debug,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Its name, as the configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// What an event of the log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// Doorward itself, its nodes and directory servers.
    Server,
    /// The end of an exchange.
    Access,
    /// An attempt to log in.
    Login,
    /// A policy's decision.
    Decision,
    /// What an operator did.
    Audit,
    /// What policies say, and how they fail.
    Policy,
    /// What clients, nodes and directory servers do wrong on their connections.
    Protocol,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogKinds(u8);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// The journal of systemd, by its socket.
    Journald(PathBuf),
    /// The syslog of this machine, by its socket.
    Syslog(PathBuf),
    /// A log host, in datagrams.
    Udp(String),
    /// A log host.
    Tcp(String),
    /// A log host, by TLS.
    Tls(String),
    /// A file, which lines are appended to.
    File(PathBuf),
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object of JSON.
    Json,
    /// Syslog (RFC 5424).
    Rfc5424,
}

/// What is done to a value that not everybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Masking {
    /// It is left out.
    Drop,
    /// Of an address, only the network is told.
    Network,
    /// A hash stands for it, which is the same for the same value.
    Hash,
}

/// `[[log.to]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTo {
    /// Which events.
    pub what: LogKinds,
    /// The least important of them.
    pub level: Level,
    /// Where they go.
    pub target: LogTarget,
    /// How they look.
    pub format: LogFormat,
    /// The facility of syslog, as its number.
    pub facility: u8,
    /// The name of the structured data that values are put into, where they are not in the message.
    pub structured_data: Option<String>,
    /// Whether access lines have the user agent, and the referrer.
    pub fields: (bool, bool),
    /// Fields that are masked.
    pub mask: Vec<(String, Masking)>,
    /// The file of the key that hashes are made with.
    pub mask_key_file: Option<PathBuf>,
    /// Whether what finds no room waits in a file.
    pub spool: bool,
    /// TLS towards the log host.
    pub tls: Tls,
    /// Where it stands.
    pub place: Place,
}

impl LogKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Server, Self::Access, Self::Login, Self::Decision, Self::Audit, Self::Policy, Self::Protocol];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Access => "access",
            Self::Login => "login",
            Self::Decision => "decision",
            Self::Audit => "audit",
            Self::Policy => "policy",
            Self::Protocol => "protocol",
        }
    }
}

impl LogKinds {
    /// What goes to standard error when nobody says otherwise.
    pub const USUAL: Self = Self::of(&[LogKind::Server, LogKind::Login, LogKind::Audit, LogKind::Policy]);

    /// These.
    pub const fn of(kinds: &[LogKind]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether it has this one.
    pub const fn has(self, kind: LogKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Those that the other has not.
    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl LogTarget {
    /// Whether it is a log host.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Tcp(_) | Self::Tls(_))
    }
}

impl std::fmt::Display for LogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stderr => f.write_str("stderr"),
            Self::Journald(_) => f.write_str("journald"),
            Self::Syslog(_) => f.write_str("syslog"),
            Self::Udp(host) => write!(f, "syslog+udp://{host}"),
            Self::Tcp(host) => write!(f, "syslog+tcp://{host}"),
            Self::Tls(host) => write!(f, "syslog+tls://{host}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Facilities of syslog (RFC 5424, section 6.2.1), each at its number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "security", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// The number of `daemon`.
const DAEMON: u8 = 3;

/// Reads `[log]`.
pub(super) fn log(t: &Table<'_>, base: &Path) -> Log {
    let instead = |key: &str, instead: &str| {
        if t.has(key) {
            // It is known, and no use any more.
            t.json(key);
            t.fault(key, "a key of former versions", instead);
        }
    };
    instead("level", "[[log.to]] with level and target = \"stderr\"");
    instead("access", "[[log.to]] with what = [\"access\"] and target");
    instead("decisions", "[[log.to]] with what = [\"decision\"], format = \"json\" and target");
    let mask = t.texts("decisions-mask");
    let mut to = t.tables("to", |t| one(t, base));
    complete(&mut to, t.place());
    Log {
        to,
        decisions_mask: if t.has("decisions-mask") { mask } else { default_mask() },
        decisions_sample: t.count("decisions-sample", 100, 1..=1_000_000),
    }
}

/// What is without `[log]`.
pub(super) fn default(place: Place) -> Log {
    let mut to = Vec::new();
    complete(&mut to, place);
    Log { to, decisions_mask: default_mask(), decisions_sample: 100 }
}

/// What cannot be shown to everybody who may read a log: cookies, who logs in and whose session it is, and what was looked for on
/// lists, which may be a name.
fn default_mask() -> Vec<String> {
    ["request.cookie", "login.*", "session.session-user", "lists.*"].map(str::to_owned).to_vec()
}

/// What nobody should miss goes to standard error, where nothing else takes it.
fn complete(to: &mut Vec<LogTo>, place: Place) {
    let left = to.iter().fold(LogKinds::USUAL, |left, to| left.without(to.what));
    if !left.is_empty() {
        to.push(LogTo::stderr(left, Level::Info, place));
    }
}

impl LogTo {
    /// Standard error, as people read it.
    pub fn stderr(what: LogKinds, level: Level, place: Place) -> Self {
        Self {
            what,
            level,
            target: LogTarget::Stderr,
            format: LogFormat::Text,
            facility: DAEMON,
            structured_data: None,
            fields: (false, false),
            mask: Vec::new(),
            mask_key_file: None,
            spool: false,
            tls: Tls::default(),
            place,
        }
    }
}

/// Refuses the original's keys, and says what to write instead.
pub(super) fn originals(t: &Table<'_>) {
    for (key, instead) in [
        (
            "logType",
            "[[log.to]] with target: \"stderr\", \"journald\", \"syslog\", \"syslog+udp://HOST:514\" or a path",
        ),
        ("logHost", "[[log.to]] with target = \"syslog+udp://HOST:514\", \"syslog+tcp://…\" or \"syslog+tls://…\""),
        (
            "logLevel",
            "[[log.to]] with level = \"error\" (1, 2), \"warn\" (4), \"info\" (8), and what with \"protocol\" (16)",
        ),
    ] {
        if t.has(key) {
            t.json(key);
            t.fault(key, "a key of the original", instead);
        }
    }
}

fn one(t: &Table<'_>, base: &Path) -> LogTo {
    let levels = Level::ALL.map(|level| (level.name(), level));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json), ("rfc5424", LogFormat::Rfc5424)];
    let path = |key: &str| t.text(key).map(|path| base.join(path));
    let target = target(t, base);
    let facility = t.text("facility").map_or(DAEMON, |name| facility(t, &name));
    let has_format = t.has("format");
    let format =
        t.choice("format", &formats).unwrap_or(if target.is_remote() { LogFormat::Rfc5424 } else { LogFormat::Text });
    if target.is_remote() && has_format && format != LogFormat::Rfc5424 {
        t.fault("format", "a format that log hosts do not read", "\"rfc5424\"");
    }
    if format == LogFormat::Rfc5424 && matches!(target, LogTarget::Journald(_) | LogTarget::Syslog(_)) {
        t.fault("format", "\"rfc5424\"", "\"text\" or \"json\": this target has a form of its own around them");
    }
    let tls = Tls { ca: path("ca"), certificate: path("certificate"), key: path("key"), ..Tls::default() };
    for key in ["ca", "certificate", "key"] {
        if t.has(key) && !matches!(target, LogTarget::Tls(_)) {
            t.fault(key, "a key of TLS", "a target syslog+tls://…");
        }
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        let (there, missing) = if tls.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
        t.fault(there, format!("no {missing}"), "both, or none");
    }
    let what = what(t);
    let (mask, mask_key_file) = (mask(t), path("mask-key-file"));
    if mask_key_file.is_none() && mask.iter().any(|(_, masking)| *masking == Masking::Hash) {
        t.fault("mask", "a hash without a key", "mask-key-file, a file with 32 random bytes or more");
    }
    let spool = t.choice("when-full", &[("drop", false), ("spool", true)]).unwrap_or(false);
    if spool && !what.without(LogKinds::of(&[LogKind::Login, LogKind::Audit])).is_empty() {
        t.fault(
            "when-full",
            "\"spool\" for more than login and audit",
            "what = [\"login\", \"audit\"], or one of them",
        );
    }
    LogTo {
        what,
        level: t.choice("level", &levels).unwrap_or(Level::Info),
        target,
        format,
        facility,
        structured_data: structured_data(t),
        fields: fields(t),
        mask,
        mask_key_file,
        spool,
        tls,
        place: t.place(),
    }
}

fn what(t: &Table<'_>) -> LogKinds {
    if !t.has("what") {
        t.texts("what");
        return LogKinds::USUAL;
    }
    let mut kinds = Vec::new();
    for name in t.texts("what") {
        match LogKind::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => kinds.push(kind),
            None => {
                t.collector().add(t.place_of("what").unknown(&name, "one of these", LogKind::ALL.map(LogKind::name)))
            }
        }
    }
    LogKinds::of(&kinds)
}

fn facility(t: &Table<'_>, name: &str) -> u8 {
    let found = FACILITIES.iter().position(|known| *known == name);
    if found.is_none() {
        t.collector().add(t.place_of("facility").unknown(name, "one of these", FACILITIES));
    }
    found.and_then(|number| u8::try_from(number).ok()).unwrap_or(DAEMON)
}

fn target(t: &Table<'_>, base: &Path) -> LogTarget {
    let text = t.required("target");
    let host = |host: &str| {
        let named = host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
        if !named || host.contains('/') {
            t.fault(
                "target",
                format!("\"{text}\""),
                "a host and a port, such as \"syslog+tls://logs.example.com:6514\"",
            );
        }
        host.to_owned()
    };
    match text.split_once(':') {
        Some(("syslog+udp", rest)) => LogTarget::Udp(host(rest.trim_start_matches('/'))),
        Some(("syslog+tcp", rest)) => LogTarget::Tcp(host(rest.trim_start_matches('/'))),
        Some(("syslog+tls", rest)) => LogTarget::Tls(host(rest.trim_start_matches('/'))),
        Some(("syslog", path)) => LogTarget::Syslog(base.join(path)),
        Some(("journald", path)) => LogTarget::Journald(base.join(path)),
        _ => match text.as_str() {
            "stderr" => LogTarget::Stderr,
            "syslog" => LogTarget::Syslog("/dev/log".into()),
            "journald" => LogTarget::Journald("/run/systemd/journal/socket".into()),
            path => LogTarget::File(base.join(path)),
        },
    }
}

/// The name of structured data, which needs a number that was registered (RFC 5424, section 6.3.2).
fn structured_data(t: &Table<'_>) -> Option<String> {
    t.parsed("structured-data", "a name with a registered number, such as \"doorward@32473\"", |name| {
        let (word, number) = name.split_once('@')?;
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_number = number.split('.').all(|part| part.parse::<u32>().is_ok());
        (name.len() <= 32 && is_word(word) && is_number).then(|| name.to_owned())
    })
}

fn fields(t: &Table<'_>) -> (bool, bool) {
    let names = t.texts("fields");
    for name in names.iter().filter(|name| !["agent", "referrer"].contains(&name.as_str())) {
        t.collector().add(t.place_of("fields").unknown(name, "one of these", ["agent", "referrer"]));
    }
    let has = |name: &str| names.iter().any(|one| one == name);
    (has("agent"), has("referrer"))
}

fn mask(t: &Table<'_>) -> Vec<(String, Masking)> {
    let one = |text: String| {
        let (name, how) = text.split_once(':').unwrap_or((&text, ""));
        let masking = match how {
            "" if !text.contains(':') => Masking::Drop,
            "network" => Masking::Network,
            "hash" => Masking::Hash,
            _ => {
                t.fault("mask", format!("\"{text}\""), "a field such as \"user\", \"client:network\" or \"user:hash\"");
                return None;
            }
        };
        Some((name.to_owned(), masking))
    };
    t.texts("mask").into_iter().filter_map(one).collect()
}
