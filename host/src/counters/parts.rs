//! Parts of counters, one for each worker, and the seats by which workers have them.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Parts of each counter: one for each of so many workers, and the first one for all other threads. Workers beyond that
/// number count with those.
const SEATS: usize = 64;

thread_local! {
    /// Which part is this thread's.
    static SEAT: Cell<usize> = const { Cell::new(SHARED) };
}

/// The part that threads share.
const SHARED: usize = 0;

/// The seats that are taken, as bits.
static TAKEN: Mutex<u64> = Mutex::new(1 << SHARED);

/// A worker's seat: while it is held, its thread alone writes the parts of that number.
pub struct Seat {
    number: usize,
    /// It belongs to a thread.
    _thread: PhantomData<*const ()>,
}

impl Seat {
    /// Takes a seat for this thread, if there is a free one and the thread has none.
    pub fn take() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (!*taken).trailing_zeros() as usize;
        let number = if SEAT.get() == SHARED && free < SEATS { free } else { SHARED };
        if number != SHARED {
            *taken |= 1 << number;
            SEAT.set(number);
        }
        Self { number, _thread: PhantomData }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.number != SHARED {
            SEAT.set(SHARED);
            // The lock hands what was counted on to who comes next.
            *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.number);
        }
    }
}

/// A number that only grows, in a part of its own ([`PerWorker`]) or behind a lock.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only in one's own part, since nobody else may write it meanwhile.
    pub fn add(&self, more: u64) {
        if SEAT.get() == SHARED {
            self.0.fetch_add(more, Ordering::Relaxed);
        } else {
            self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        }
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted in parts: one for each worker that ever counted here.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[OnceLock<Box<T>>]>);

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self((0..SEATS).map(|_| OnceLock::new()).collect())
    }
}

impl<T: Default> PerWorker<T> {
    /// This thread's part.
    pub fn mine(&self) -> &T {
        self.0[SEAT.get()].get_or_init(Box::default)
    }

    /// All parts.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(AsRef::as_ref)
    }
}

impl PerWorker<Counter> {
    /// The number over all parts.
    pub fn sum(&self) -> u64 {
        self.all().map(Counter::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_workers_count_is_there_when_they_are_gone() {
        let counted: Arc<PerWorker<Counter>> = Arc::default();
        for _ in 0..3 {
            let workers: Vec<_> = (0..SEATS + 6)
                .map(|_| {
                    let counted = counted.clone();
                    std::thread::spawn(move || {
                        let _seat = Seat::take();
                        (0..1000).for_each(|_| counted.mine().add(1));
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        }
        assert_eq!(counted.sum(), 3 * 1000 * (SEATS as u64 + 6));
    }

    #[test]
    fn a_thread_has_one_seat_and_gives_it_back() {
        std::thread::spawn(|| {
            let seat = Seat::take();
            let taken = SEAT.get();
            assert_ne!(taken, SHARED);
            drop(Seat::take());
            assert_eq!(SEAT.get(), taken, "the second one is none");
            drop(seat);
            assert_eq!(SEAT.get(), SHARED);
        })
        .join()
        .unwrap();
    }
}
