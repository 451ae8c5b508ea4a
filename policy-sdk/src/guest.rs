//! What the code made by `export!` calls; no part of the interface for authors.

use std::cell::OnceCell;
use std::thread::LocalKey;

use crate::settings::{self, Policy, Problem};

/// Where a component keeps its configured policy. A component has one thread, so this is a static without a lock.
pub type Place<P> = LocalKey<OnceCell<P>>;

/// The JSON Schema of the settings.
pub fn schema<P: Policy>() -> String {
    log_panics();
    schemars::schema_for!(P::Settings).as_value().to_string()
}

/// Reads the settings and puts the policy in its place.
pub fn configure<P: Policy>(place: &'static Place<P>, json: &str) -> Result<(), Vec<Problem>> {
    log_panics();
    let policy = settings::configure(json)?;
    place
        .with(|cell| cell.set(policy))
        .map_err(|_| vec![Problem::new("", "configured twice: each instance takes its settings once")])
}

/// Asks the configured policy.
pub fn ask<P, A>(place: &'static Place<P>, question: impl FnOnce(&P) -> A) -> A {
    place.with(|cell| match cell.get() {
        Some(policy) => question(policy),
        // There is no answer to give that would be right: trap, and what the operator chose in `on-error` holds.
        None => {
            log_panics();
            panic!("asked before it was configured")
        }
    })
}

/// A trap tells the host only that a policy ended, so say why before that.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("(no message)");
        match panic.location() {
            Some(at) => crate::log::error(&format!("panic at {}:{}: {message}", at.file(), at.line())),
            None => crate::log::error(&format!("panic: {message}")),
        }
    }));
}
