//! The slowest requests of late, for an operator who looks.
//!
//! Invariants: a request that is not among them costs one load of an atomic; no request waits for who looks; a user, or the
//! network of who has no session, is in it once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::log::access::Line;
use crate::secret::Values;

const KEPT: usize = 10;
/// What is older is not shown, when something younger is there to be.
const YOUNG: Duration = Duration::from_secs(60);

/// The slowest requests, by how long they waited for their node. Part of State.
#[derive(Default)]
pub struct Slowest {
    /// What a request has to exceed to be among them, in microseconds.
    floor: AtomicU64,
    kept: Mutex<Vec<Slow>>,
}

/// A slow request.
#[derive(Clone)]
pub struct Slow {
    /// When it ended.
    pub at: Instant,
    /// How long it waited for its place at the node and for the node's answer.
    pub waited: Duration,
    /// What it was, to its end.
    pub line: Line,
}

impl Slowest {
    /// A request has ended.
    #[inline]
    pub fn note(&self, line: &Line) {
        let Some(first_byte) = line.first_byte else { return };
        let waited = line.queue + first_byte;
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        if micros > self.floor.load(Ordering::Relaxed) {
            self.insert(waited, line);
        }
    }

    #[cold]
    fn insert(&self, waited: Duration, line: &Line) {
        // Somebody else writes: it is one of many, and nobody waits for it.
        let mut kept = match self.kept.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(at) = kept.iter().position(|slow| is_same(&slow.line, line)) {
            if kept[at].waited >= waited {
                return;
            }
            kept.remove(at);
        }
        let mut line = line.clone();
        line.keep_little();
        // What a session keeps for its node may be a password.
        line.session = line.session.map(|session| Arc::new((*session).clone().keeping(Values::default())));
        kept.push(Slow { at: Instant::now(), waited, line });
        kept.sort_by_key(|slow| std::cmp::Reverse(slow.waited));
        kept.truncate(KEPT);
        self.set_floor(&kept);
    }

    /// Those of the last minute; or the last ones, where nobody has looked for longer.
    pub fn look(&self) -> Vec<Slow> {
        let mut kept = self.kept();
        let shown = kept.clone();
        kept.retain(|slow| slow.at.elapsed() < YOUNG);
        self.set_floor(&kept);
        shown
    }

    fn set_floor(&self, kept: &[Slow]) {
        let floor = kept.get(KEPT - 1).map_or(0, |slow| u64::try_from(slow.waited.as_micros()).unwrap_or(u64::MAX));
        self.floor.store(floor, Ordering::Relaxed);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Slow>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether both are of one user, or of one place.
fn is_same(one: &Line, other: &Line) -> bool {
    match (&one.session, &other.session) {
        (Some(one), Some(other)) => one.user() == other.user(),
        (None, None) => one.peer.address == other.peer.address,
        _ => false,
    }
}
