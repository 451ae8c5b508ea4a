//! Several front doors as one: what they have to know of each other, by a store (Valkey or Redis) that is not trusted.
//!
//! Invariants: no request and no accept waits for the store, a login no longer than `timeout`; a thread of its own speaks
//! with it. Nothing that matters lives only in the store, and what comes from it is believed only where a door of this
//! cluster sealed it.

mod connect;
mod crypt;
mod ended;
mod guesses;
mod handle;
mod inner;
mod member;
mod message;
mod scripts;
mod settings;
mod standing;
mod task;
mod tried;

pub use guesses::{LoginStanding, SharedPermit};
pub use handle::Cluster;
pub use inner::Ordered;
pub use member::{Member, Own};
pub use message::Order;
pub use settings::Settings;
pub use standing::{Seen, Store};
