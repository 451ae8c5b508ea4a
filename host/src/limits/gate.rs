//! A gate: a bounded number of places, and a bounded line of those who wait for one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A bounded number of places, with a bounded line of waiting in front of it, served in order of arrival.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    /// All places, also those that a slow start withholds.
    all: usize,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
    /// Told to all who wait that it is in vain.
    in_vain: Notify,
    /// Whether places are withheld: read by everybody who enters, so that the lock is only met during a slow start.
    starting: AtomicBool,
    slow_start: Mutex<Option<SlowStart>>,
}

/// Places that come back evenly over a time.
#[derive(Debug)]
struct SlowStart {
    since: Instant,
    time: Duration,
    withheld: usize,
    given_back: usize,
}

/// A place inside a gate. Dropping it gives the place to the first in line.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

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
    /// A gate of `places`, with a queue of `queue` that each wait in for at most `patience`.
    pub fn new(places: usize, queue: usize, patience: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            all: places,
            waiting: AtomicUsize::new(0),
            queue,
            patience,
            in_vain: Notify::new(),
            starting: AtomicBool::new(false),
            slow_start: Mutex::default(),
        }
    }

    /// Passes, waits, or is turned away. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Shut`], at once when the line is full.
    pub async fn enter(&self) -> Result<Permit, Shut> {
        if self.starting.load(Ordering::Relaxed) {
            self.give_back();
        }
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(Permit(permit));
        }
        // Boxed, since it is rare, and each request would carry the room for it.
        Box::pin(self.wait()).await
    }

    async fn wait(&self) -> Result<Permit, Shut> {
        let _place_in_line = self.line_up()?;
        let in_vain = self.in_vain.notified();
        tokio::select! {
            biased;
            permit = tokio::time::timeout(self.patience, self.places.clone().acquire_owned()) => match permit {
                Ok(Ok(permit)) => Ok(Permit(permit)),
                _ => Err(Shut::TimedOut),
            },
            () = in_vain => Err(Shut::InVain),
        }
    }

    /// Sends away all who wait.
    pub fn send_away(&self) {
        self.in_vain.notify_waiters();
    }

    /// Withholds all free places but a tenth of the whole, and lets them come back evenly over `time`.
    pub fn start_slowly(&self, time: Duration) {
        let mut slow_start = self.slow_start.lock().unwrap_or_else(PoisonError::into_inner);
        if slow_start.is_some() || time.is_zero() {
            return;
        }
        let withheld = self.places.forget_permits(self.all - self.all.div_ceil(10));
        *slow_start = Some(SlowStart { since: Instant::now(), time, withheld, given_back: 0 });
        self.starting.store(true, Ordering::Relaxed);
    }

    /// Gives back what is due of a slow start. Called by all who come, and by whoever watches over the node: a place
    /// that is due while nobody comes is for those who wait.
    pub fn give_back(&self) {
        let mut slow_start = self.slow_start.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(start) = slow_start.as_mut() else { return };
        let passed = start.since.elapsed().as_millis();
        let due = match start.time.as_millis() {
            time if passed >= time => start.withheld,
            time => usize::try_from(start.withheld as u128 * passed / time).unwrap_or(start.withheld),
        };
        self.places.add_permits(due - start.given_back);
        start.given_back = due;
        if due == start.withheld {
            *slow_start = None;
            self.starting.store(false, Ordering::Relaxed);
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        let slow_start = self.slow_start.lock().unwrap_or_else(PoisonError::into_inner);
        let withheld = slow_start.as_ref().map_or(0, |start| start.withheld - start.given_back);
        self.all.saturating_sub(self.places.available_permits() + withheld)
    }

    fn line_up(&self) -> Result<InLine<'_>, Shut> {
        let joined = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| (waiting < self.queue).then_some(waiting + 1));
        joined.map(|_| InLine(&self.waiting)).map_err(|_| Shut::Full)
    }
}

/// A place in the line; left when dropped, however the waiting ended.
struct InLine<'a>(&'a AtomicUsize);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_turns_away_at_once_and_a_leaver_frees_its_place() {
        let gate = Arc::new(Gate::new(1, 1, Duration::from_secs(3600)));
        let inside = gate.enter().await.unwrap();
        let mut waiting = Box::pin(gate.enter());
        assert!(futures_poll(&mut waiting).await.is_none());
        assert_eq!(gate.enter().await.unwrap_err(), Shut::Full);
        drop(waiting);
        assert_eq!(gate.waiting(), 0);
        let mut next = Box::pin(gate.enter());
        assert!(futures_poll(&mut next).await.is_none());
        drop(inside);
        assert!(next.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_queue_timeout() {
        let gate = Gate::new(1, 1, Duration::from_secs(30));
        let _inside = gate.enter().await.unwrap();
        assert_eq!(gate.enter().await.unwrap_err(), Shut::TimedOut);
    }

    #[tokio::test]
    async fn those_who_wait_in_vain_are_sent_away() {
        let gate = Gate::new(1, 2, Duration::from_secs(3600));
        let inside = gate.enter().await.unwrap();
        let mut waiting = Box::pin(gate.enter());
        assert!(futures_poll(&mut waiting).await.is_none());
        gate.send_away();
        assert_eq!(waiting.await.unwrap_err(), Shut::InVain);
        assert_eq!(gate.waiting(), 0);
        drop(inside);
        assert!(gate.enter().await.is_ok(), "it is not so for those who come later");
    }

    #[tokio::test]
    async fn those_who_wait_are_served_in_order_of_arrival() {
        let gate = Gate::new(1, 3, Duration::from_secs(3600));
        let mut inside = Some(gate.enter().await.unwrap());
        let mut line: Vec<_> = (0..3).map(|_| Box::pin(gate.enter())).collect();
        for waiting in &mut line {
            assert!(futures_poll(waiting).await.is_none());
        }
        for turn in 0..3 {
            drop(inside.take());
            for later in &mut line[1..] {
                assert!(futures_poll(later).await.is_none(), "turn {turn}");
            }
            inside = Some(line.remove(0).await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_start_begins_with_a_tenth_and_ends_with_all() {
        let gate = Gate::new(20, 0, Duration::ZERO);
        let enter_all = async || {
            let mut permits = Vec::new();
            while let Ok(permit) = gate.enter().await {
                permits.push(permit);
            }
            assert_eq!(gate.inside(), permits.len());
            permits.len()
        };
        gate.start_slowly(Duration::from_secs(10));
        assert_eq!(enter_all().await, 2);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(enter_all().await, 11);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(enter_all().await, 20);
        assert_eq!(gate.inside(), 0);
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
