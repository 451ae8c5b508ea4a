//! `[session]`, and `[authentication]` with its defence against guessing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Authentication, Mode, Place, Table};

/// `[session]`: the original's back-end `sessionIdleTimeout` and `sessionActivityTimeout`.
#[derive(Debug, Clone)]
pub struct Session {
    /// A session unused for so long ends.
    pub idle_timeout: Duration,
    /// The same at a computer that others use too.
    pub shared_idle_timeout: Duration,
    /// No session lives longer.
    pub absolute_timeout: Duration,
    /// File with the sealing keys; made when missing. Without one, sessions end with the process.
    pub key_file: Option<PathBuf>,
    /// File that keeps over a restart which sessions were ended early.
    pub revocations_file: Option<PathBuf>,
    /// Bytes of a form that are kept for a user whose session has ended, until the next login; 0 is none.
    pub hold_max_size: u64,
    /// How long they are kept.
    pub hold_timeout: Duration,
    /// Where it stands.
    pub place: Place,
}

/// `[authentication.throttle]`: what guessing of passwords meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Failures are counted over this time, from the first on.
    pub window: Duration,
    /// Wrong passwords of one name from one network before the next tries are delayed.
    pub free_failures: usize,
    /// The longest delay; the first is a second, and each failure doubles it.
    pub max_delay: Duration,
    /// Wrong passwords of one name from one network; then that name is refused to that network.
    pub max_failures: usize,
    /// Names that failed from one network; then that network is refused.
    pub max_names: usize,
    /// Wrong passwords of one name from anywhere; then unknown devices are delayed for it, but never refused.
    pub user_failures: usize,
    /// Wrong passwords of a name on a device that has logged in with it before.
    pub device_failures: usize,
    /// How long a device that has logged in is remembered.
    pub device_lifetime: Duration,
}

impl Throttle {
    /// What one of so many doors allows that do not hear of each other: its part of each count, and never none.
    #[must_use]
    pub fn divided(self, doors: usize) -> Self {
        let part = |count: usize| (count / doors.max(1)).max(1);
        Self {
            free_failures: part(self.free_failures),
            max_failures: part(self.max_failures),
            max_names: part(self.max_names),
            user_failures: part(self.user_failures),
            device_failures: part(self.device_failures),
            ..self
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(15 * 60),
            free_failures: 3,
            max_delay: Duration::from_secs(8),
            max_failures: 10,
            max_names: 50,
            user_failures: 30,
            device_failures: 10,
            device_lifetime: Duration::from_secs(90 * 86_400),
        }
    }
}

pub(super) fn default_session(place: Place) -> Session {
    Session {
        idle_timeout: Duration::from_secs(900),
        shared_idle_timeout: Duration::from_secs(300),
        absolute_timeout: Duration::from_secs(216_000),
        key_file: None,
        revocations_file: None,
        hold_max_size: 0,
        hold_timeout: Duration::from_secs(600),
        place,
    }
}

/// What a held form may be at most: it travels to the browser and back in the login page.
const HOLD_MOST: u64 = 256 << 10;

pub(super) fn session(t: &Table<'_>, base: &Path) -> Session {
    let default = default_session(t.place());
    let hold_max_size = t.size("hold-max-size", default.hold_max_size);
    if hold_max_size > HOLD_MOST {
        t.fault("hold-max-size", format!("{} KiB", hold_max_size >> 10), "256 KiB at most");
    }
    Session {
        idle_timeout: t.duration("idle-timeout", default.idle_timeout),
        shared_idle_timeout: t.duration("shared-idle-timeout", default.shared_idle_timeout),
        absolute_timeout: t.duration("absolute-timeout", default.absolute_timeout),
        key_file: t.text("key-file").map(|path| base.join(path)),
        revocations_file: t.text("revocations-file").map(|path| base.join(path)),
        hold_max_size,
        hold_timeout: t.duration("hold-timeout", default.hold_timeout),
        place: t.place(),
    }
}

pub(super) fn authentication(t: &Table<'_>) -> Authentication {
    let modes = [("ldap-bind", 0), ("ldap-password", 1), ("back-end", 2)];
    let mode = match t.choice("mode", &modes) {
        Some(1) => Mode::LdapPassword,
        Some(2) => Mode::BackEnd,
        _ => Mode::LdapBind,
    };
    Authentication { mode, throttle: t.table("throttle", throttle).unwrap_or_default() }
}

fn throttle(t: &Table<'_>) -> Throttle {
    let default = Throttle::default();
    // What failed is remembered as four bytes each, in tables of a bounded number of entries.
    let count = |key: &str, default: usize| t.places(key, default, 1..=1000);
    Throttle {
        window: t.duration("window", default.window),
        free_failures: count("free-failures", default.free_failures),
        max_delay: t.duration_or_none("max-delay", default.max_delay),
        max_failures: count("max-failures", default.max_failures),
        max_names: count("max-names", default.max_names),
        user_failures: count("user-failures", default.user_failures),
        device_failures: count("device-failures", default.device_failures),
        device_lifetime: t.duration("device-lifetime", default.device_lifetime),
    }
}
