//! Every bound is a gate: passing it yields a permit, and dropping the permit gives the place back.
//!
//! Invariants: check and count are one step under one lock (or one atomic), so two never pass where one fits.

mod clients;
mod flow;
mod gate;
mod progress;
mod room;
mod throttle;
mod usage;

pub use clients::Clients;
pub use flow::{Flow, FlowPermit, Refused};
pub use gate::{Gate, Hashed, Holder, Permit, Shares, Shut};
pub use progress::{Demand, Progress};
pub use room::{Allowance, Reserved, Room};
pub use throttle::{Failures, LoginPermit, Throttle, Who, delay_after, network_of, network_text};
pub use usage::{Counted, Recent, Requester, Usage, Wanted};
