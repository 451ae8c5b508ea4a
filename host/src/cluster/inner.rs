//! What the thread and all others share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc};

use super::member::Own;
use super::message::Order;
use super::settings::Settings;
use super::standing::Standing;
use super::tried::{Guesses, Login};

/// Orders of other doors that wait to be done.
const ORDERS: usize = 256;

#[derive(Default)]
pub(super) struct Inner {
    pub(super) settings: ArcSwapOption<Settings>,
    pub(super) changed: Notify,
    pub(super) asks: OnceLock<mpsc::Sender<Ask>>,
    pub(super) standing: Mutex<Standing>,
    pub(super) is_up: AtomicBool,
    /// What this process says of itself.
    pub(super) own: Mutex<Own>,
    /// Something was not told to the others: all is compared.
    pub(super) missed: AtomicBool,
    pub(super) orders: Mutex<VecDeque<Ordered>>,
    pub(super) more: Notify,
    /// Entries that no door of this cluster wrote.
    pub(super) refused: AtomicU64,
    /// Logins that failed of late.
    pub(super) guesses: Mutex<Guesses>,
    /// It has left: another process is this door now, or none.
    pub(super) left: AtomicBool,
}

/// What the thread is asked.
pub(super) enum Ask {
    /// Tell the others of an ended session.
    Ended(String),
    /// Tell the others to do something, and who did it.
    Tell(Order, mpsc::Sender<String>),
    /// An order of another door is done.
    Done(String),
    /// Something of a login.
    Login(Login),
}

/// An order of another door.
#[derive(Debug, Clone)]
pub struct Ordered {
    pub(super) id: String,
    /// Who gave it.
    pub from: String,
    /// What is to be done.
    pub order: Order,
}

impl Inner {
    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(&self.standing)
    }

    /// Hands something to the thread, which is never waited for; false where it has no room.
    pub(super) fn ask(&self, ask: Ask) -> bool {
        self.asks.get().is_some_and(|asks| asks.try_send(ask).is_ok())
    }

    /// A session was ended here.
    pub(super) fn ended(&self, line: &str) {
        if self.settings.load().is_none() {
            return;
        }
        if !self.is_up.load(Ordering::Acquire) || !self.ask(Ask::Ended(line.to_owned())) {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Another door gives an order.
    pub(super) fn order(&self, ordered: Ordered) {
        let mut orders = lock(&self.orders);
        if orders.len() < ORDERS {
            orders.push_back(ordered);
        }
        drop(orders);
        self.more.notify_one();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
