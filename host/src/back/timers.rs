//! Timers that are lent from request to request.
//!
//! To register a timer with the runtime and to take it back costs a request more than a deadline is worth that hardly any
//! request meets. So a timer stays registered when its borrower is done; when it goes off, the present one looks whether
//! its time has come.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// Timers that wait for a borrower. Each may hold on to the last one's task until it goes off.
const KEPT: usize = 64;

/// A worker's timers.
#[derive(Default)]
pub(super) struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

/// A timer, or the right to one: it is taken when there is something to wait for, and given back when this is dropped.
pub(super) struct Timer<'a> {
    timers: &'a Timers,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timers {
    /// A timer for one request.
    pub(super) fn lend(&self) -> Timer<'_> {
        Timer { timers: self, sleep: None }
    }
}

impl Timer<'_> {
    /// Ready once the deadline has passed, which may be another one each time.
    pub(super) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = || self.timers.0.borrow_mut().pop().unwrap_or_else(|| Box::pin(tokio::time::sleep_until(deadline)));
        let sleep = self.sleep.get_or_insert_with(fresh);
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let mut kept = self.timers.0.borrow_mut();
        if let Some(sleep) = self.sleep.take().filter(|_| kept.len() < KEPT) {
            kept.push(sleep);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn waits(timers: &Timers, seconds: u64) -> u64 {
        let started = Instant::now();
        let (mut timer, deadline) = (timers.lend(), started + Duration::from_secs(seconds));
        poll_fn(|cx| timer.poll_until(deadline, cx)).await;
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_was_lent_before_goes_off_in_time() {
        let timers = Timers::default();
        // One that nobody waited for to the end is still registered.
        assert!(tokio::time::timeout(Duration::from_secs(1), waits(&timers, 10)).await.is_err());
        assert_eq!(timers.0.borrow().len(), 1);
        for seconds in [30, 5, 7, 7] {
            assert_eq!(waits(&timers, seconds).await, seconds);
        }
        assert_eq!(timers.0.borrow().len(), 1, "it was lent each time");
    }
}
