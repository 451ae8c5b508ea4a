//! Signals: what a running Doorward does at each. None that other servers know ends it without a drain.

use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Drain, and end.
    Stop,
    /// Read the configuration again.
    Reload,
    /// The program on disk takes over.
    Upgrade,
    /// Open the files of logs again.
    Reopen,
    /// Nothing: of itself the signal would end the process, or halt it.
    Nothing,
}

/// Signals by their number on Linux, for those that tokio has no name for. Left alone are those that cannot be heard
/// (KILL, STOP), those of a crash (SEGV, BUS, ILL, FPE, TRAP, SYS, ABRT), TSTP and CONT of a shell, and those that do
/// nothing of themselves.
const ORDERS: [(i32, Order); 15] = [
    (1, Order::Reload),   // HUP
    (10, Order::Reopen),  // USR1
    (12, Order::Upgrade), // USR2
    (14, Order::Nothing), // ALRM
    (16, Order::Nothing), // STKFLT
    (21, Order::Nothing), // TTIN
    (22, Order::Nothing), // TTOU
    (25, Order::Nothing), // XFSZ: a write past the largest size of a file fails instead
    (26, Order::Nothing), // VTALRM
    (27, Order::Nothing), // PROF
    (28, Order::Nothing), // WINCH
    (29, Order::Nothing), // IO
    (24, Order::Stop),    // XCPU
    (30, Order::Stop),    // PWR
    (3, Order::Stop),     // QUIT
];

/// The first and the last real-time signal; the C library has two before for itself.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The signals that are heard.
pub(super) struct Signals(Vec<(Signal, Order)>);

impl Signals {
    /// Hears all but those that stop. As long as it does not serve, these end the process at once.
    pub(super) fn hear() -> std::io::Result<Self> {
        let mut heard = Vec::new();
        for (number, order) in ORDERS.into_iter().filter(|(_, order)| *order != Order::Stop) {
            heard.push((signal(SignalKind::from_raw(number))?, order));
        }
        // A machine that has fewer of them has none that could come.
        let real_time = REAL_TIME.filter_map(|number| signal(SignalKind::from_raw(number)).ok());
        heard.extend(real_time.map(|heard| (heard, Order::Nothing)));
        Ok(Self(heard))
    }

    /// Hears those that stop, too.
    pub(super) fn hear_stop(&mut self) -> std::io::Result<()> {
        let others = ORDERS.into_iter().filter(|(_, order)| *order == Order::Stop);
        let stops = others.map(|(number, _)| SignalKind::from_raw(number));
        for kind in [SignalKind::terminate(), SignalKind::interrupt()].into_iter().chain(stops) {
            self.0.push((signal(kind)?, Order::Stop));
        }
        Ok(())
    }

    /// The next order.
    pub(super) async fn next(&mut self) -> Order {
        self.next_of(|order| order != Order::Nothing).await
    }

    /// Waits for an order to stop; all others wait.
    pub(super) async fn stop(&mut self) {
        self.next_of(|order| order == Order::Stop).await;
    }

    async fn next_of(&mut self, wanted: impl Fn(Order) -> bool) -> Order {
        std::future::poll_fn(|cx| {
            for (signal, order) in self.0.iter_mut().filter(|(_, order)| wanted(*order)) {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*order);
                }
            }
            Poll::Pending
        })
        .await
    }
}
