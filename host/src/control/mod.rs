//! Control: what changes what is live, and when.

mod signals;
mod systemd;
mod task;

pub use task::{Control, Source};
