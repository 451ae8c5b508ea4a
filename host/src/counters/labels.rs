//! Numbers by labels: names of the configuration, and words of the program.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::parts::PerWorker;

/// A name of the configuration, or nothing, and two words of the program.
pub type Labels = (String, [&'static str; 2]);

/// Numbers by labels. A list that only grows, by as many as the configuration and the program have names: nobody waits for
/// a look into it.
#[derive(Debug)]
pub struct ByLabel<T>(OnceLock<Box<Entry<T>>>);

#[derive(Debug)]
struct Entry<T> {
    labels: Labels,
    value: T,
    next: ByLabel<T>,
}

impl<T> Default for ByLabel<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Default> ByLabel<T> {
    /// The value of these labels, which begins at nothing.
    pub fn of(&self, name: &str, words: [&'static str; 2]) -> &T {
        let mut at = self;
        loop {
            let begin =
                || Box::new(Entry { labels: (name.to_owned(), words), value: T::default(), next: ByLabel::default() });
            let entry = at.0.get_or_init(begin);
            if entry.labels.0 == name && entry.labels.1 == words {
                return &entry.value;
            }
            at = &entry.next;
        }
    }

    fn all(&self) -> impl Iterator<Item = (&Labels, &T)> {
        let entries = std::iter::successors(self.0.get(), |entry| entry.next.0.get());
        entries.map(|entry| (&entry.labels, &entry.value))
    }
}

impl<T: Default> PerWorker<ByLabel<T>> {
    /// The values of all workers by their labels, added.
    pub fn sums<S: Default>(&self, add: impl Fn(&mut S, &T)) -> BTreeMap<Labels, S> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.all().flat_map(ByLabel::all) {
            add(sums.entry(labels.clone()).or_default(), value);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::Counter;
    use super::*;

    #[test]
    fn the_same_labels_are_the_same_number() {
        let counted: PerWorker<ByLabel<Counter>> = PerWorker::default();
        for (name, word) in [("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")] {
            counted.mine().of(name, [word, ""]).add(1);
        }
        let sums = counted.sums(|sum: &mut u64, counter| *sum += counter.get());
        let told: Vec<_> = sums.iter().map(|((name, words), sum)| (name.as_str(), words[0], *sum)).collect();
        assert_eq!(told, [("a", "x", 2), ("a", "y", 1), ("b", "x", 1)]);
    }
}
