//! What a metric is, and its numbers.

use crate::counters::Observed;

/// A metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// What a metric's numbers do (Prometheus: `# TYPE`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// They only grow, until the process ends.
    Counter,
    /// They go up and down.
    Gauge,
    /// How long things took.
    Histogram,
    /// Always 1: the labels tell something.
    Info,
}

/// A number of a metric.
#[derive(Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    Spread(Observed),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Observed> for Value {
    fn from(value: Observed) -> Self {
        Self::Spread(value)
    }
}

/// The numbers of a metric, each with its labels. Values of labels come from the configuration and from the program only:
/// nothing that a client sends makes a new one.
pub(super) type Values = Vec<(Labels, Value)>;
pub(super) type Labels = Vec<(&'static str, String)>;
