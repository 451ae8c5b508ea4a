//! The metrics: one table ([`table`]), which the status has its sums from too.

mod process;
mod row;
mod table;
mod text;

use std::collections::BTreeMap;

use process::Process;
use row::Value;
use table::{METRICS, Seen};
pub(super) use text::Format;

use crate::control::Generations;

/// The parameter that says in which format metrics are told; where it is not there, `Accept` says so.
pub(super) const FORMAT: &str = "format";

/// All of them, as text.
pub(super) fn metrics(generations: &Generations, format: Format) -> String {
    let seen = Seen::of(generations, Process::now());
    text::write(METRICS.iter().map(|row| (&row.metric, (row.of)(&seen))), format)
}

/// The sums of a counter by one of its labels, for the status.
pub(super) fn sums(generations: &Generations, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let seen = Seen::of(generations, None);
    let values = METRICS.iter().find(|row| row.metric.name == name).map(|row| (row.of)(&seen));
    for (labels, value) in values.into_iter().flatten() {
        let word = labels.into_iter().find(|(of, _)| *of == label).map(|(_, word)| word);
        if let (Some(word), Value::Whole(count)) = (word, value) {
            *sums.entry(word).or_default() += count;
        }
    }
    sums
}
