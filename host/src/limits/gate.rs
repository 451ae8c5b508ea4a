//! A gate: a bounded number of places, and a bounded line of those who wait for one. Nobody has more than a share of it.
//!
//! Invariants: who has his share waits beside the line, where he takes no room of others; somebody waits there only while
//! he has places, or others of his are in the line; the line is served in order of arrival. After a gate was made smaller,
//! nobody passes it while as many as before are inside.

mod resize;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Who takes places: a hash that nobody outside can foresee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder(u64);

impl Holder {
    /// For gates that are not shared out.
    pub const ANYBODY: Self = Self(0);

    /// A user, over all sessions.
    pub fn user(name: &str) -> Self {
        Self::of("user", name)
    }

    /// Whoever tries to log in by a name, who may be somebody else than the user.
    pub fn login(name: &str) -> Self {
        Self::of("login", name)
    }

    fn of(kind: &str, name: &str) -> Self {
        static HASH: OnceLock<RandomState> = OnceLock::new();
        Self(HASH.get_or_init(RandomState::new).hash_one((kind, name)))
    }
}

/// Something of each holder, found by the hash that a holder is.
pub(super) type Holders<T> = HashMap<Holder, T, BuildHasherDefault<Hashed>>;

/// Hashes what is a hash already.
#[derive(Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// How large a gate is, and how much of it one holder may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Places.
    pub places: usize,
    /// Places of the line.
    pub queue: usize,
    /// Places that one holder may have, those in the line included.
    pub share: usize,
}

impl Shares {
    /// Of the line, a holder may have the same part as of the places.
    fn of_queue(&self) -> usize {
        (self.queue * self.share).div_ceil(self.places.max(1)).clamp(1, self.queue.max(1))
    }
}

/// A bounded number of places, with a bounded line of waiting in front of it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether places are withheld.
    starting: AtomicBool,
    places: Mutex<Places>,
}

#[derive(Debug)]
struct Places {
    shares: Shares,
    /// How long somebody waits who comes now.
    patience: Duration,
    /// How many are inside: more than there are places, for a time after the gate was made smaller.
    inside: usize,
    /// Places that a slow start withholds.
    withheld: usize,
    slow_start: Option<SlowStart>,
    line: VecDeque<Waiting>,
    /// Those who are inside or wait.
    holders: Holders<Share>,
    /// How many wait beside the line.
    beside: usize,
    /// The number of the next one who waits.
    next: u64,
}

/// What one holder has of a gate.
#[derive(Debug, Default)]
struct Share {
    inside: usize,
    in_line: usize,
    /// Those who wait until the holder has less: as many as the line is long.
    beside: VecDeque<Waiting>,
}

impl Share {
    fn may_pass(&self, shares: &Shares) -> bool {
        self.inside + self.in_line < shares.share
    }

    fn may_line_up(&self, shares: &Shares) -> bool {
        self.may_pass(shares) && self.in_line < shares.of_queue()
    }

    fn is_empty(&self) -> bool {
        self.inside == 0 && self.in_line == 0 && self.beside.is_empty()
    }
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiting {
    number: u64,
    holder: Holder,
    told: oneshot::Sender<Result<Permit, Shut>>,
}

/// Places that come back evenly over a time.
#[derive(Debug)]
struct SlowStart {
    since: Instant,
    time: Duration,
    /// At its beginning.
    withheld: usize,
}

/// A place inside a gate. Dropping it gives the place to the first in line.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    holder: Holder,
}

impl Permit {
    /// The gate that it is a place of.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave(self.holder);
    }
}

/// Why a gate did not let somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shut {
    /// Nobody more may wait.
    #[error("the queue is full")]
    Full,
    /// Waited for as long as one may.
    #[error("waited in the queue for too long")]
    TimedOut,
    /// It is in vain to wait.
    #[error("it is in vain to wait")]
    InVain,
}

impl Gate {
    /// A gate in whose line each waits for at most `patience`.
    pub fn new(shares: Shares, patience: Duration) -> Self {
        let places = Places {
            shares,
            patience,
            inside: 0,
            withheld: 0,
            slow_start: None,
            line: VecDeque::new(),
            holders: Holders::default(),
            beside: 0,
            next: 0,
        };
        Self(Arc::new(Inner { starting: AtomicBool::new(false), places: Mutex::new(places) }))
    }

    /// A gate that is not shared out.
    pub fn undivided(places: usize, queue: usize, patience: Duration) -> Self {
        Self::new(Shares { places, queue, share: places }, patience)
    }

    /// Passes, waits, or is turned away. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Shut`], at once when nobody more of the holder, or of all, may wait.
    pub async fn enter(&self, holder: Holder) -> Result<Permit, Shut> {
        if self.0.starting.load(Ordering::Relaxed) {
            self.give_back();
        }
        let (waits, patience) = {
            let mut places = self.places();
            if places.pass(holder) {
                return Ok(Permit { gate: self.clone(), holder });
            }
            (places.line_up(holder)?, places.patience)
        };
        // Boxed, since it is rare, and each request would carry the room for it.
        Box::pin(self.wait(holder, waits, patience)).await
    }

    async fn wait(
        &self,
        holder: Holder,
        (number, told): (u64, oneshot::Receiver<Result<Permit, Shut>>),
        patience: Duration,
    ) -> Result<Permit, Shut> {
        let _in_line = InLine { gate: self, holder, number };
        // A permit that comes too late is dropped with the channel, which gives the place to the next.
        match tokio::time::timeout(patience, told).await {
            Ok(said) => said.unwrap_or(Err(Shut::InVain)),
            Err(_) => Err(Shut::TimedOut),
        }
    }

    /// Sends away all who wait.
    pub fn send_away(&self) {
        let away = self.places().clear();
        turn_away(away, Shut::InVain);
    }

    /// Withholds all free places but a tenth of the whole, and lets them come back evenly over `time`.
    pub fn start_slowly(&self, time: Duration) {
        let mut places = self.places();
        if places.slow_start.is_some() || time.is_zero() {
            return;
        }
        let all = places.shares.places;
        let withheld = places.free().min(all - all.div_ceil(10));
        places.withheld = withheld;
        places.slow_start = Some(SlowStart { since: Instant::now(), time, withheld });
        self.0.starting.store(true, Ordering::Relaxed);
    }

    /// Gives back what is due of a slow start. Called by all who come, and by whoever watches over the node: a place
    /// that is due while nobody comes is for those who wait.
    pub fn give_back(&self) {
        let let_in = {
            let mut places = self.places();
            if places.give_back() {
                self.0.starting.store(false, Ordering::Relaxed);
            }
            places.let_in()
        };
        self.tell(let_in);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let places = self.places();
        places.line.len() + places.beside
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.places().inside
    }

    /// Whether half of the places are taken.
    pub fn is_half_full(&self) -> bool {
        let places = self.places();
        2 * places.inside >= places.shares.places
    }

    /// Whether somebody waits for a place, beside those who have their share; where nobody may wait, whether all are taken.
    pub fn is_wanted(&self) -> bool {
        let places = self.places();
        !places.line.is_empty() || places.shares.queue == 0 && places.free() == 0
    }

    fn leave(&self, holder: Holder) {
        let let_in = {
            let mut places = self.places();
            places.inside -= 1;
            if let Some(share) = places.holders.get_mut(&holder) {
                share.inside -= 1;
            }
            places.moved_up(holder);
            places.let_in()
        };
        self.tell(let_in);
    }

    /// Tells those who were let in; never under the lock, since who is gone gives the place back at once.
    fn tell(&self, let_in: Vec<Waiting>) {
        for waiting in let_in {
            let _ = waiting.told.send(Ok(Permit { gate: self.clone(), holder: waiting.holder }));
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those who waited that they do so in vain.
fn turn_away(away: Vec<Waiting>, why: Shut) {
    for waiting in away {
        let _ = waiting.told.send(Err(why));
    }
}

impl Places {
    fn free(&self) -> usize {
        self.shares.places.saturating_sub(self.inside + self.withheld)
    }

    /// Takes a place, if one is free for this holder. Nobody is passed over by that: while a place is free, nobody is in
    /// the line.
    fn pass(&mut self, holder: Holder) -> bool {
        if self.free() == 0 {
            return false;
        }
        let share = self.holders.entry(holder).or_default();
        if !share.may_pass(&self.shares) {
            return false;
        }
        share.inside += 1;
        self.inside += 1;
        true
    }

    /// Joins the line, or those beside it.
    fn line_up(&mut self, holder: Holder) -> Result<(u64, oneshot::Receiver<Result<Permit, Shut>>), Shut> {
        let share = self.holders.entry(holder).or_default();
        let (told, waits) = oneshot::channel();
        let waiting = Waiting { number: self.next, holder, told };
        if share.may_line_up(&self.shares) {
            if self.line.len() >= self.shares.queue {
                self.moved_up(holder);
                return Err(Shut::Full);
            }
            share.in_line += 1;
            self.line.push_back(waiting);
        } else {
            if share.beside.len() >= self.shares.queue {
                return Err(Shut::Full);
            }
            share.beside.push_back(waiting);
            self.beside += 1;
        }
        self.next += 1;
        Ok((self.next - 1, waits))
    }

    /// A holder has less than before: who waits beside the line joins it, in the room that became free. Who has nothing
    /// any more is forgotten.
    fn moved_up(&mut self, holder: Holder) {
        let Some(share) = self.holders.get_mut(&holder) else { return };
        while share.may_line_up(&self.shares)
            && let Some(waiting) = share.beside.pop_front()
        {
            share.in_line += 1;
            self.beside -= 1;
            self.line.push_back(waiting);
        }
        if share.is_empty() {
            self.holders.remove(&holder);
        }
    }

    /// Takes places for the first in line, who are to be told.
    fn let_in(&mut self) -> Vec<Waiting> {
        let mut let_in = Vec::new();
        while self.free() > 0
            && let Some(waiting) = self.line.pop_front()
        {
            self.inside += 1;
            if let Some(share) = self.holders.get_mut(&waiting.holder) {
                share.in_line -= 1;
                share.inside += 1;
            }
            self.moved_up(waiting.holder);
            let_in.push(waiting);
        }
        let_in
    }

    /// Takes one who waits out, wherever he is.
    fn remove(&mut self, holder: Holder, number: u64) {
        if let Some(at) = self.line.iter().position(|waiting| waiting.number == number) {
            self.line.remove(at);
            if let Some(share) = self.holders.get_mut(&holder) {
                share.in_line -= 1;
            }
        } else if let Some(share) = self.holders.get_mut(&holder)
            && let Some(at) = share.beside.iter().position(|waiting| waiting.number == number)
        {
            share.beside.remove(at);
            self.beside -= 1;
        }
        self.moved_up(holder);
    }

    /// Takes out all who wait.
    fn clear(&mut self) -> Vec<Waiting> {
        let mut all: Vec<Waiting> = self.line.drain(..).collect();
        for share in self.holders.values_mut() {
            share.in_line = 0;
            all.extend(share.beside.drain(..));
        }
        self.beside = 0;
        self.holders.retain(|_, share| !share.is_empty());
        all
    }

    /// Gives back what is due of a slow start. True when that was the last of it.
    fn give_back(&mut self) -> bool {
        let Some(start) = &self.slow_start else { return false };
        let passed = start.since.elapsed().as_millis();
        let due = match start.time.as_millis() {
            time if passed >= time => start.withheld,
            time => usize::try_from(start.withheld as u128 * passed / time).unwrap_or(start.withheld),
        };
        self.withheld = start.withheld - due;
        let all = self.withheld == 0;
        if all {
            self.slow_start = None;
        }
        all
    }
}

/// A place in the line; left when dropped, however the waiting ended.
struct InLine<'a> {
    gate: &'a Gate,
    holder: Holder,
    number: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.gate.places().remove(self.holder, self.number);
    }
}

#[cfg(test)]
mod tests;
