//! Attempts to log in, and how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::{Histogram, Observed, Scale};
use super::labels::ByLabel;
use super::parts::{Counter, PerWorker};

/// How logins ended.
#[derive(Debug, Default)]
pub struct Logins {
    /// By outcome and reason.
    ended: PerWorker<ByLabel<Counter>>,
    /// By mode and outcome.
    took: PerWorker<ByLabel<Histogram>>,
}

impl Logins {
    /// Counts one: how it ended and why, how it was checked who this is, and how long it took.
    pub fn count(&self, (outcome, reason): (&'static str, &'static str), mode: &'static str, took: Duration) {
        self.ended.mine().of("", [outcome, reason]).add(1);
        self.took.mine().of("", [mode, outcome]).observe(Scale::Network, took);
    }

    /// All, by outcome and reason; without a reason where somebody got in.
    pub fn all(&self) -> BTreeMap<[&'static str; 2], u64> {
        let sums = self.ended.sums(|sum: &mut u64, counter| *sum += counter.get());
        sums.into_iter().map(|((_, words), count)| (words, count)).collect()
    }

    /// All, by outcome.
    pub fn by_outcome(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        self.all().into_iter().for_each(|([outcome, _], count)| *sums.entry(outcome).or_default() += count);
        sums
    }

    /// How long they took, by mode and outcome.
    pub fn took(&self) -> BTreeMap<[&'static str; 2], Observed> {
        let sums = self.took.sums(Observed::add);
        sums.into_iter().map(|((_, words), observed)| (words, observed)).collect()
    }
}
