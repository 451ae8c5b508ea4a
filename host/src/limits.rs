//! Every bound is a gate: passing it yields a permit, and dropping the permit gives the place back.
//!
//! Invariants: check and count are one step under one lock (or one atomic), so two never pass where one fits.

mod flow;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use flow::{Flow, FlowLimit, FlowPermit, Refused};

/// A bounded number of places, with a bounded line of waiting in front of it, served in order of arrival.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
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
}

impl Gate {
    /// A gate of `places`, with a queue of `queue` that each wait in for at most `patience`.
    pub fn new(places: usize, queue: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), queue, patience }
    }

    /// Passes, waits, or is turned away. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Shut`], at once when the line is full.
    pub async fn enter(&self) -> Result<Permit, Shut> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(Permit(permit));
        }
        let _place_in_line = self.line_up()?;
        match tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit(permit)),
            _ => Err(Shut::TimedOut),
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
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
