//! Where events go: the targets of the configuration, each with its queue and its writer.
//!
//! Invariants: nobody who hands an event over waits; targets that stay the same over a reload lose no line by it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::datagrams::Datagrams;
use super::entry::{Entry, Value};
use super::form::{Form, Frame};
use super::masks::Masks;
use super::remote::{Connected, Datagram, MakeTls};
use super::spool::Spool;
use crate::config::{Fault, Level, LogFormat, LogKind, LogKinds, LogTarget, LogTo, Masking};
use crate::files::{Lines, Manner, Sink};
use crate::secret::Secret;
use crate::text::hex;
use crate::tls;

/// How long a writer lets lines gather that may be many.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes of a line: in a datagram to a log host, and elsewhere.
const MOST: (usize, usize) = (2 << 10, 8 << 10);
/// Bytes of a key for hashes.
const KEY: usize = 32;

/// All targets.
#[derive(Default)]
pub(super) struct Outlets {
    all: Vec<Outlet>,
}

/// One of them.
struct Outlet {
    to: LogTo,
    form: Arc<Form>,
    lines: Arc<Lines>,
}

/// What became of a target's lines.
pub struct Counts {
    /// The target, as it is written in the configuration.
    pub target: String,
    /// Lines that were written.
    pub written: u64,
    /// Lines that were lost.
    pub lost: u64,
    /// Why it cannot be written, if so.
    pub trouble: Option<String>,
}

impl Outlets {
    /// Opens what the configuration names, but for what is open already.
    ///
    /// # Errors
    /// What cannot be opened, as a fault where it is named.
    pub(super) fn open(config: &[LogTo], state: Option<&Path>, before: &Self) -> Result<Self, Fault> {
        let mut all: Vec<Outlet> = Vec::new();
        for to in config {
            check(to, state)?;
            let form = Arc::new(form(to)?);
            let is_same = |outlet: &&Outlet| outlet.is_same_place(to);
            let open = all.iter().find(is_same).or_else(|| before.all.iter().find(is_same));
            let lines = match open {
                Some(outlet) => outlet.lines.clone(),
                None => Arc::new(lines(to, &form, state)?),
            };
            // Those whose lines look the same share what is made for them.
            let form = all.iter().map(|outlet| &outlet.form).find(|other| **other == form).cloned().unwrap_or(form);
            all.push(Outlet { to: to.clone(), form, lines });
        }
        Ok(Self { all })
    }

    /// The least important level of a kind that somebody wants.
    pub(super) fn level(&self, kind: LogKind) -> Option<Level> {
        self.all.iter().filter(|outlet| outlet.to.what.has(kind)).map(|outlet| outlet.to.level).max()
    }

    /// Hands an event over to all who want it.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        self.hand_over(|outlet| outlet.wants(entry.kind, entry.level), entry);
    }

    /// Whether somebody wants the user agent in access lines, and the referrer.
    pub(super) fn fields(&self) -> (bool, bool) {
        self.all.iter().fold((false, false), |(agent, referrer), outlet| {
            (agent | outlet.to.fields.0, referrer | outlet.to.fields.1)
        })
    }

    /// Hands an access line over to all who want it.
    pub(super) fn write_access(&self, entry: &Entry<'_>) {
        LINE.with_borrow_mut(|line| self.make(line, |outlet| outlet.wants(LogKind::Access, Level::Info), entry));
    }

    fn hand_over(&self, wants: impl Fn(&Outlet) -> bool, entry: &Entry<'_>) {
        // Not the thread's own: an event may come about while another one is handed over.
        self.make(&mut Vec::with_capacity(256), wants, entry);
    }

    /// Makes a line once for those whose lines look the same.
    fn make(&self, line: &mut Vec<u8>, wants: impl Fn(&Outlet) -> bool, entry: &Entry<'_>) {
        let mut made = None;
        for outlet in self.all.iter().filter(|outlet| wants(outlet)) {
            let this = Arc::as_ptr(&outlet.form);
            if made != Some(this) {
                line.clear();
                outlet.form.write(line, entry);
                made = Some(this);
            }
            outlet.lines.push(line);
        }
    }

    /// Hands over a line that was made elsewhere to targets of JSON, and its event to all others that want decisions.
    pub(super) fn write_decision(&self, json: &str, entry: &Entry<'_>) {
        let wants = |outlet: &Outlet| outlet.wants(LogKind::Decision, Level::Info);
        let is_whole = |outlet: &Outlet| outlet.to.format == LogFormat::Json && outlet.form.frame == Frame::Plain;
        let line = [json.as_bytes(), b"\n"].concat();
        for outlet in self.all.iter().filter(|outlet| wants(outlet) && is_whole(outlet)) {
            outlet.lines.push(&line);
        }
        self.hand_over(|outlet| wants(outlet) && !is_whole(outlet), entry);
    }

    /// Waits for what is on its way, no longer than this: whether all of it is written.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let left = |lines: &Lines| lines.flush(end.saturating_duration_since(Instant::now()));
        // Each of them, also behind one that is not done.
        self.all.iter().filter(|outlet| !left(&outlet.lines)).count() == 0
    }

    /// Opens all files anew.
    pub(super) fn reopen(&self) {
        self.all.iter().for_each(|outlet| outlet.lines.reopen());
    }

    /// What became of the lines of each target.
    pub(super) fn counts(&self) -> Vec<Counts> {
        let (mut seen, mut all): (Vec<&Arc<Lines>>, Vec<Counts>) = Default::default();
        for outlet in &self.all {
            if seen.iter().any(|lines| Arc::ptr_eq(lines, &outlet.lines)) {
                continue;
            }
            seen.push(&outlet.lines);
            let (written, lost) = outlet.lines.counts();
            let (target, trouble) = (outlet.lines.name().to_owned(), outlet.lines.trouble());
            // One that is spooled and one that is not may lead to the same host.
            match all.iter_mut().find(|counts| counts.target == target) {
                Some(counts) => {
                    (counts.written, counts.lost) = (counts.written + written, counts.lost + lost);
                    counts.trouble = counts.trouble.take().or(trouble);
                }
                None => all.push(Counts { target, written, lost, trouble }),
            }
        }
        all
    }
}

thread_local! {
    /// An access line that is made.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Outlet {
    fn wants(&self, kind: LogKind, level: Level) -> bool {
        self.to.what.has(kind) && level <= self.to.level
    }

    /// Whether lines for a target may go the way of this one.
    fn is_same_place(&self, to: &LogTo) -> bool {
        let (one, other) = (&self.to, to);
        one.target == other.target && one.spool == other.spool && one.tls == other.tls
    }
}

fn form(to: &LogTo) -> Result<Form, Fault> {
    let frame = match to.target {
        LogTarget::Journald(_) => Frame::Journal,
        LogTarget::Syslog(_) => Frame::Local,
        _ => Frame::Plain,
    };
    let key = to.mask_key_file.as_ref().map(|path| {
        let fault = |found: String| {
            to.place.key("mask-key-file").fault(found, format!("a file with {KEY} random bytes or more"))
        };
        let bytes = std::fs::read(path).map_err(|error| fault(format!("{}: {error}", path.display())))?;
        if bytes.len() < KEY {
            return Err(fault(format!("{}: {} bytes", path.display(), bytes.len())));
        }
        Ok(Secret::new(hex(&bytes)))
    });
    // What is not wanted is masked.
    let unwanted = [("agent", to.fields.0), ("referrer", to.fields.1)].into_iter().filter(|(_, wanted)| !wanted);
    let masks = to.mask.iter().cloned().chain(unwanted.map(|(name, _)| (name.to_owned(), Masking::Drop))).collect();
    Ok(Form {
        frame,
        format: to.format,
        facility: to.facility,
        structured_data: to.structured_data.clone(),
        masks: Masks::new(masks, key.transpose()?),
        most: if matches!(to.target, LogTarget::Udp(_)) { MOST.0 } else { MOST.1 },
        sender: format!("{} doorward {}", host_name(), std::process::id()),
    })
}

/// Whether a target can be opened, as far as that is told without opening it.
pub(super) fn check(to: &LogTo, state: Option<&Path>) -> Result<(), Fault> {
    form(to)?;
    if matches!(to.target, LogTarget::Tls(_)) {
        tls::to_log_host(&to.tls, &to.place)?;
    }
    if to.spool && state.is_none() {
        return Err(to.place.key("when-full").fault("\"spool\"", "a state-directory, where the file is"));
    }
    Ok(())
}

/// The name of this machine.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name = !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic());
    if is_name { name } else { "-".to_owned() }
}

fn lines(to: &LogTo, form: &Arc<Form>, state: Option<&Path>) -> Result<Lines, Fault> {
    let (name, form) = (to.target.to_string(), form.clone());
    let gather = if to.what.has(LogKind::Access) && to.target != LogTarget::Stderr { GATHER } else { Duration::ZERO };
    let log = name.clone();
    let lost = Box::new(move |lines| {
        let fields = [("log", Value::Text(&log)), ("lines", Value::Number(lines))];
        let message = "lines of a log were lost: they were not taken in time";
        let entry =
            Entry { time: SystemTime::now(), level: Level::Warn, kind: LogKind::Server, message, fields: &fields };
        let mut line = Vec::new();
        form.write(&mut line, &entry);
        line
    });
    let manner = Manner { name, gather, lost };
    let fault = |error: std::io::Error| {
        to.place.key("target").fault(format!("{}: {error}", to.target), "a target that can be opened")
    };
    let sink: Box<dyn Sink> = match &to.target {
        LogTarget::Stderr => return Lines::to_stderr(manner).map_err(fault),
        LogTarget::File(path) => return Lines::to_file(path, manner).map_err(fault),
        LogTarget::Journald(path) => Box::new(Datagrams::new(path.clone(), true)),
        LogTarget::Syslog(path) => Box::new(Datagrams::new(path.clone(), false)),
        LogTarget::Udp(host) => Box::new(Datagram::new(host)),
        LogTarget::Tcp(host) => Box::new(Connected::new(host, None)),
        LogTarget::Tls(host) => {
            let (tls, place) = (to.tls.clone(), to.place.clone());
            let make: MakeTls = Box::new(move || tls::to_log_host(&tls, &place).map_err(|fault| fault.to_string()));
            Box::new(Connected::new(host, Some(make)))
        }
    };
    let sink = match (to.spool, state) {
        (false, _) | (true, None) => sink,
        (true, Some(folder)) => {
            let name: String =
                to.target.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            Box::new(Spool::open(folder, &name, sink).map_err(fault)?)
        }
    };
    Lines::start(sink, manner).map_err(fault)
}

/// Standard error alone, for who runs a command.
pub(super) fn stderr(level: Level, place: crate::config::Place) -> LogTo {
    LogTo::stderr(LogKinds::USUAL, level, place)
}
