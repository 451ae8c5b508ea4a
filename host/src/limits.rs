//! Every bound is a gate: passing it yields a permit, and dropping the permit gives the place back.
//!
//! Invariants: check and count are one step under one lock (or one atomic), so two never pass where one fits.

mod flow;
mod gate;
mod throttle;

pub use flow::{Flow, FlowLimit, FlowPermit, Refused};
pub use gate::{Gate, Permit, Shut};
pub use throttle::{Failures, LoginPermit, Throttle, Who};
