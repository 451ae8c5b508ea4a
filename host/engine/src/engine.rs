//! The wasmtime engine and its clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, Result};

/// Length of an epoch: the grain of every time cap.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Guests that run now. While there are none, no clock ticks: a thousand wake-ups a second are two hundredths of a CPU.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// The clocks of the engines; a process has one.
static CLOCKS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());
/// How long a clock sleeps that sees no guest. Most calls are over before it looks again; one that is not is noticed so much
/// later, and from then on its time is counted in ticks.
const CALM: Duration = Duration::from_millis(4);
/// Looks after the last guest, so that a clock is not stopped and started between two calls.
const LINGER: u32 = 25;
/// How often a clock that stands still looks whether its engine is still there.
const LOOK: Duration = Duration::from_secs(1);

/// A guest's call: until this is dropped, its time passes.
pub(crate) struct Running(());

/// A guest's call begins.
pub(crate) fn run() -> Running {
    if RUNNING.fetch_add(1, Ordering::SeqCst) == 0 {
        for clock in CLOCKS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            clock.unpark();
        }
    }
    Running(())
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The clock of an engine, which ends with it.
fn tick(engine: &EngineWeak) {
    let me = std::thread::current();
    // Known before it looks, so that no call goes unnoticed.
    CLOCKS.lock().unwrap_or_else(PoisonError::into_inner).push(me.clone());
    let mut rested = 0;
    while let Some(engine) = engine.upgrade() {
        let runs = RUNNING.load(Ordering::SeqCst) > 0;
        rested = if runs { 0 } else { rested + 1 };
        if rested > LINGER {
            drop(engine);
            std::thread::park_timeout(LOOK);
            continue;
        }
        if runs {
            engine.increment_epoch();
        }
        drop(engine);
        std::thread::sleep(if runs { TICK } else { CALM });
    }
    CLOCKS.lock().unwrap_or_else(PoisonError::into_inner).retain(|clock| clock.id() != me.id());
}

/// How code is made and run: the same here and in the process that compiles.
pub fn settings() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).max_wasm_stack(512 << 10);
    config
}

/// An engine with its clock, a thread that ends with it.
///
/// # Errors
/// Settings that this machine cannot do, or no thread.
pub fn start() -> Result<Engine> {
    let engine = Engine::new(&settings())?;
    let weak = engine.weak();
    std::thread::Builder::new().name("policy-clock".to_owned()).spawn(move || {
        tick(&weak);
    })?;
    Ok(engine)
}
