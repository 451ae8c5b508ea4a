//! How fast somebody moves bytes for whom we wait. Only the time counts in which we do.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Gate;

/// Who takes a place that others wait for has so much time at first. It is less than the time for which these wait, and
/// more than a phone needs for what a kernel holds back of its bytes before it says that some were taken.
const SCARCE_ALLOWANCE: Duration = Duration::from_secs(20);
/// Who lets us wait for so long is slow, and not only busy with what it has.
const SLOW: Duration = Duration::from_millis(100);
/// Whether others wait is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// How long nothing may move; all waiting together may last so long, and longer by what was earned.
    pub allowance: Duration,
    /// So many bytes earn a second, as Apache's mod_reqtimeout counts; with 0 each wait has the whole allowance.
    pub rate: u64,
    /// The same of who takes a place that others wait for, who have less patience; 0 is no demand.
    pub scarce_rate: u64,
}

/// How it goes.
#[derive(Debug, Default)]
pub struct Progress {
    moved: u64,
    /// Time spent waiting, before the present wait.
    waited: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Progress {
    /// Bytes moved: the wait is over.
    pub fn moves(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// What comes now is counted anew.
    pub fn restart(&mut self) {
        (self.moved, self.waited, self.since) = (0, Duration::ZERO, None);
    }

    /// Whether the present wait is long enough that it is worth to do something meanwhile. Who waits is woken when it is.
    pub fn is_slow(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= SLOW)
    }

    /// Waits. Ready when that was for too long. `place` is the gate of which somebody takes a place meanwhile.
    pub fn poll_overdue(&mut self, demand: &Demand, place: Option<&Gate>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = *self.since.get_or_insert(now);
            let end = since + self.left(demand.allowance, demand.rate);
            if end <= now {
                return Poll::Ready(());
            }
            let mut next = if now < since + SLOW { end.min(since + SLOW) } else { end };
            if let Some(gate) = place.filter(|_| demand.scarce_rate > 0) {
                let scarce = since + self.left(SCARCE_ALLOWANCE, demand.scarce_rate);
                if scarce <= now && gate.is_wanted() {
                    return Poll::Ready(());
                }
                next = next.min(if scarce <= now { now + LOOK_AGAIN } else { scarce });
            }
            // It is used again through all waits, and set when it would go off too late or has gone off.
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if timer.is_elapsed() || timer.deadline() > next {
                timer.as_mut().reset(next);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    fn left(&self, allowance: Duration, rate: u64) -> Duration {
        let earned = self.moved.saturating_mul(1000).checked_div(rate).map(Duration::from_millis);
        earned.map_or(allowance, |earned| (allowance + earned).saturating_sub(self.waited).min(allowance))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::{Holder, Shares};
    use super::*;

    const DEMAND: Demand = Demand { allowance: Duration::from_secs(300), rate: 10, scarce_rate: 1000 };

    /// Somebody who moves `bytes` after each pause of `pause` seconds: after how many seconds he is overdue.
    async fn overdue(pause: u64, bytes: u64, demand: &Demand, place: Option<&Gate>) -> u64 {
        let (started, mut progress) = (Instant::now(), Progress::default());
        loop {
            let waits = poll_fn(|cx| progress.poll_overdue(demand, place, cx));
            if tokio::time::timeout(Duration::from_secs(pause), waits).await.is_ok() {
                return started.elapsed().as_secs();
            }
            progress.moves(bytes);
            if started.elapsed() > Duration::from_secs(100_000) {
                return 0;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_low_rate_are_overdue_and_enough_is_not() {
        assert_eq!(overdue(1000, 1, &DEMAND, None).await, 300);
        assert_eq!(overdue(10, 100, &DEMAND, None).await, 0);
        // Half of the rate: 300 s at first, and half of the time is earned.
        assert!((590..=610).contains(&overdue(10, 50, &DEMAND, None).await));
        assert_eq!(overdue(299, 1, &Demand { rate: 0, ..DEMAND }, None).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_place_that_others_wait_for_must_be_faster() {
        let shares = Shares { places: 1, queue: 1, share: 1 };
        let gate = Gate::new(shares, Duration::from_secs(3600));
        let _inside = gate.enter(Holder::user("alice")).await.unwrap();
        assert_eq!(overdue(10, 100, &DEMAND, Some(&gate)).await, 0, "nobody waits");
        let mut other = Box::pin(gate.enter(Holder::user("bob")));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut other).await.is_err());
        assert!((20..=30).contains(&overdue(10, 100, &DEMAND, Some(&gate)).await));
        assert_eq!(overdue(10, 10_000, &DEMAND, Some(&gate)).await, 0);
        assert_eq!(overdue(10, 100, &Demand { scarce_rate: 0, ..DEMAND }, Some(&gate)).await, 0);
        // Somebody comes to wait while it is slow already.
        drop(other);
        let late = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            let _ = tokio::time::timeout(Duration::from_secs(50), gate.enter(Holder::user("bob"))).await;
        };
        let (slow, ()) = tokio::join!(overdue(10, 100, &DEMAND, Some(&gate)), late);
        assert!((100..=102).contains(&slow), "{slow}");
    }
}
