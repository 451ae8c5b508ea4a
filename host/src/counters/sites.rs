//! Exchanges, by the site that they were for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::histogram::{Exemplars, Histogram, Observed, Scale};
use super::parts::{Counter, PerWorker};

/// The methods that are told apart; all others, which clients may make up, are the last one.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "REPORT", "other"];

/// The classes of statuses; the last one is no answer.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// In how many ways exchanges end.
pub const ENDS: usize = 5;

/// The place of all other methods in [`METHODS`].
pub const OTHER: usize = METHODS.len() - 1;

/// The method's place in [`METHODS`].
pub fn method_of(method: &str) -> usize {
    METHODS.iter().position(|known| *known == method).unwrap_or(OTHER)
}

/// The status's place in [`CLASSES`].
pub fn class_of(status: u16) -> usize {
    match status {
        100..600 => usize::from(status / 100 - 1),
        _ => CLASSES.len() - 1,
    }
}

/// What is counted of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Its place in [`METHODS`].
    pub method: usize,
    /// Its place in [`CLASSES`].
    pub class: usize,
    /// How it ended: a number below [`ENDS`].
    pub ended: usize,
    /// How long it took; none of a tunnel, which is no question with an answer.
    pub took: Option<Duration>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
}

/// What one worker counted of a site.
#[derive(Debug, Default)]
struct Part {
    answers: [[[Counter; ENDS]; CLASSES.len()]; METHODS.len()],
    took: Histogram,
    received: Counter,
    sent: Counter,
}

/// What is counted of a site.
#[derive(Debug, Default)]
pub struct OfSite {
    parts: PerWorker<Part>,
    /// Of how long exchanges took.
    pub exemplars: Exemplars,
}

impl OfSite {
    /// Counts an exchange.
    pub fn count(&self, one: &Answered) {
        let part = self.parts.mine();
        part.answers[one.method][one.class][one.ended].add(1);
        if let Some(took) = one.took {
            part.took.observe(Scale::Network, took);
        }
        part.received.add(one.received);
        part.sent.add(one.sent);
    }

    /// How many exchanges there were: by method, by class, and by how they ended. Those that never happened are left out.
    pub fn answers(&self) -> Vec<([usize; 3], u64)> {
        let mut found = Vec::new();
        for method in 0..METHODS.len() {
            for class in 0..CLASSES.len() {
                for ended in 0..ENDS {
                    let sum = self.parts.all().map(|part| part.answers[method][class][ended].get()).sum();
                    if sum > 0 {
                        found.push(([method, class, ended], sum));
                    }
                }
            }
        }
        found
    }

    /// How long they took.
    pub fn took(&self) -> Observed {
        Observed::sum(Scale::Network, self.parts.all().map(|part| &part.took)).with(&self.exemplars)
    }

    /// Bytes of bodies: of requests, and of answers.
    pub fn bytes(&self) -> [u64; 2] {
        let sum = |of: fn(&Part) -> &Counter| self.parts.all().map(|part| of(part).get()).sum();
        [sum(|part| &part.received), sum(|part| &part.sent)]
    }
}

/// What is counted of all sites that there were since the start, by their first names.
#[derive(Debug, Default)]
pub struct Sites(Mutex<BTreeMap<Arc<str>, Arc<OfSite>>>);

impl Sites {
    /// What is counted of a site. For who keeps it: this looks behind a lock.
    pub fn of(&self, name: &Arc<str>) -> Arc<OfSite> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone()
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<OfSite>)> {
        let sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sites.iter().map(|(name, site)| (name.clone(), site.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_makes_up_is_other() {
        for (method, is) in [("GET", "GET"), ("PROPFIND", "PROPFIND"), ("get", "other"), ("X-\"{}", "other")] {
            assert_eq!(METHODS[method_of(method)], is, "{method}");
        }
        for (status, is) in [(0, "none"), (101, "1xx"), (200, "2xx"), (599, "5xx"), (600, "none"), (999, "none")] {
            assert_eq!(CLASSES[class_of(status)], is, "{status}");
        }
    }
}
