//! Histograms of durations, with fixed buckets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::parts::Counter;

/// Buckets that have a bound.
const BOUNDS: usize = 14;

/// The bounds of buckets: in microseconds, and as they are written, in seconds.
#[derive(Debug)]
struct Bounds([(u64, &'static str); BOUNDS]);

/// Which bounds a histogram has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scale {
    /// What goes over the network: from a millisecond to half a minute.
    #[default]
    Network,
    /// What is computed: from ten microseconds to a second.
    Compute,
}

/// The bounds of each scale.
const SCALES: [Bounds; 2] = [
    Bounds([
        (1_000, "0.001"),
        (2_500, "0.0025"),
        (5_000, "0.005"),
        (10_000, "0.01"),
        (25_000, "0.025"),
        (50_000, "0.05"),
        (100_000, "0.1"),
        (250_000, "0.25"),
        (500_000, "0.5"),
        (1_000_000, "1.0"),
        (2_500_000, "2.5"),
        (5_000_000, "5.0"),
        (10_000_000, "10.0"),
        (30_000_000, "30.0"),
    ]),
    Bounds([
        (10, "0.00001"),
        (50, "0.00005"),
        (100, "0.0001"),
        (250, "0.00025"),
        (500, "0.0005"),
        (1_000, "0.001"),
        (2_500, "0.0025"),
        (5_000, "0.005"),
        (10_000, "0.01"),
        (25_000, "0.025"),
        (50_000, "0.05"),
        (100_000, "0.1"),
        (250_000, "0.25"),
        (1_000_000, "1.0"),
    ]),
];

impl Scale {
    /// Its bounds.
    fn bounds(self) -> &'static [(u64, &'static str); BOUNDS] {
        &SCALES[self as usize].0
    }
}

/// How long things took. Each is counted in the first bucket whose bound it does not exceed, or in the last one, which
/// has none.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS + 1],
    micros: Counter,
}

impl Histogram {
    /// Counts one; only in one's own part ([`Counter::add`]).
    pub fn observe(&self, scale: Scale, took: Duration) {
        let micros = micros_of(took);
        let bucket = bucket_of(scale, micros);
        self.buckets[bucket].add(1);
        self.micros.add(micros);
    }

    /// Adds what another one counted, which nobody writes any more.
    pub fn absorb(&self, other: &Self) {
        for (own, other) in self.buckets.iter().zip(&other.buckets) {
            own.add(other.get());
        }
        self.micros.add(other.micros.get());
    }
}

/// A trace of something that a bucket counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    /// The trace's id.
    pub trace: String,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub time: SystemTime,
}

/// The last exemplar of each bucket. Few requests have a trace that is sent, so these may wait for each other.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<[Option<Exemplar>; BOUNDS + 1]>);

impl Exemplars {
    /// Keeps one.
    pub fn keep(&self, scale: Scale, exemplar: Exemplar) {
        let bucket = bucket_of(scale, micros_of(exemplar.took));
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[bucket] = Some(exemplar);
    }
}

/// To the nearest microsecond, so that short ones are not told as nothing.
fn micros_of(took: Duration) -> u64 {
    took.as_secs().saturating_mul(1_000_000).saturating_add(u64::from((took.subsec_nanos() + 500) / 1000))
}

fn bucket_of(scale: Scale, micros: u64) -> usize {
    scale.bounds().iter().position(|(bound, _)| micros <= *bound).unwrap_or(BOUNDS)
}

/// The sum of histograms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    exemplars: Vec<Option<Exemplar>>,
    scale: Scale,
    buckets: [u64; BOUNDS + 1],
    micros: u64,
}

impl Observed {
    /// Of histograms of one scale.
    pub fn sum<'a>(scale: Scale, histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self { scale, ..Self::default() };
        histograms.into_iter().for_each(|histogram| sum.add(histogram));
        sum
    }

    /// Adds one.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.get();
        }
        self.micros = self.micros.wrapping_add(histogram.micros.get());
    }

    /// With exemplars of its buckets.
    #[must_use]
    pub fn with(mut self, exemplars: &Exemplars) -> Self {
        self.exemplars = exemplars.0.lock().unwrap_or_else(PoisonError::into_inner).to_vec();
        self
    }

    /// A bucket's exemplar.
    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket)?.as_ref()
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Seconds of all together.
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros).as_secs_f64()
    }

    /// Each bound, with how many did not exceed it; the last one is `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = self.scale.bounds().iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        bounds.zip(self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket;
            Some(*sum)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_and_are_written_as_they_are() {
        for scale in [Scale::Network, Scale::Compute] {
            let bounds = scale.bounds();
            assert!(bounds.is_sorted_by(|a, b| a.0 < b.0));
            for (micros, text) in bounds {
                let written = Duration::from_secs_f64(text.parse().unwrap());
                assert_eq!(written, Duration::from_micros(*micros), "{text}");
            }
        }
    }

    #[test]
    fn a_duration_is_in_the_bucket_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 30_000_000, 30_000_001] {
            histogram.observe(Scale::Network, Duration::from_micros(micros));
        }
        let observed = Observed::sum(Scale::Network, [&histogram]);
        let cumulative: Vec<_> = observed.cumulative().collect();
        assert_eq!(cumulative.len(), BOUNDS + 1);
        assert_eq!(cumulative[..2], [("0.001", 2), ("0.0025", 3)]);
        assert_eq!(cumulative[13..], [("30.0", 4), ("+Inf", 5)]);
        assert_eq!((observed.count(), observed.seconds()), (5, 60.002_002));
    }
}
