//! In which phase a listener is, as its connections hear it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// What a listener does on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    /// Takes no connections yet: another process serves.
    Waiting,
    /// Takes connections and serves them.
    Accepting,
    /// Serves those that it has, for as long as they last: the worker retires.
    Retiring,
    /// Tells connections to finish what they do and close.
    Draining,
    /// Drops what has not finished.
    Ended,
}

/// Says which phase it is. When nobody is left who could say so, it is time to drain.
pub(super) type Drain = watch::Receiver<Phase>;

/// Until it is time to stop; also when nobody is left who could say so.
pub(super) async fn stopped(drain: &mut Drain) {
    reached(drain, Phase::Draining).await;
}

/// Asks [`stopped`]. Who asked before is woken when there is news, and need not ask again each time.
pub(super) fn poll_stop(
    stop: Pin<&mut impl Future<Output = ()>>,
    asked: &mut Option<Waker>,
    phase: &Drain,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if asked.as_ref().is_some_and(|asked| asked.will_wake(cx.waker())) && matches!(phase.has_changed(), Ok(false)) {
        return Poll::Pending;
    }
    *asked = Some(cx.waker().clone());
    stop.poll(cx)
}

/// Until it is this phase, or a later one.
pub(super) async fn reached(drain: &mut Drain, phase: Phase) {
    let _ = drain.wait_for(|now| *now >= phase).await;
}
