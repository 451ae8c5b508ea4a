//! Counters: numbers that many threads count, and that are added when somebody asks.
//!
//! Invariants: a worker counts in parts that nobody else writes, without a lock and without an atomic addition. Parts live
//! as long as what is counted, not as the worker does: who takes the seat of a worker that retired counts on from its
//! numbers. Labels are names of the configuration and words of the program.

mod histogram;
mod labels;
mod logins;
mod parts;
mod sites;

pub use histogram::{Exemplar, Histogram, Observed, Scale};
pub use labels::{ByLabel, Labels};
pub use logins::Logins;
pub use parts::{Counter, PerWorker, Seat};
pub use sites::{Answered, CLASSES, ENDS, METHODS, OTHER, OfSite, Sites, class_of, method_of};

/// What is counted of the whole process; what a node, a policy or a directory server has counts of, it keeps itself.
#[derive(Debug, Default)]
pub struct Counters {
    /// Exchanges, by site.
    pub sites: Sites,
    /// TLS handshakes, by listener, version and result.
    pub handshakes: PerWorker<ByLabel<Counter>>,
    /// Sessions that were opened.
    pub sessions_opened: PerWorker<Counter>,
    /// Sessions that were ended, by reason.
    pub sessions_ended: PerWorker<ByLabel<Counter>>,
}
