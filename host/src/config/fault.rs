//! What is wrong in a file that an operator wrote: place, what was found, what is allowed.
//!
//! Pure.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The text of a configuration file, with what is needed to name a place in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The file as the operator named it, or `<built-in>` for the embedded defaults.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Line of a byte offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

/// A place in a configuration file: kept by every item that is checked after parsing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    key: String,
    line: usize,
}

impl Place {
    /// The place of `key`, whose value stands at the byte range `span`.
    pub fn new(source: &Arc<Source>, key: impl Into<String>, span: Range<usize>) -> Self {
        Self { source: source.clone(), key: key.into(), line: source.line(span.start) }
    }

    /// The place of the whole file.
    pub fn whole(source: &Arc<Source>) -> Self {
        Self::new(source, "", 0..0)
    }

    /// The same place with one more key behind it.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { key: join(&self.key, key), ..self.clone() }
    }

    /// The file this place is in.
    pub fn file(&self) -> &Path {
        &self.source.path
    }

    /// A fault at this place.
    pub fn fault(&self, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        Fault {
            file: self.source.path.clone(),
            line: self.line,
            key: self.key.clone(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// Joins a key to the path of its table: `policy[0]` and `name` are `policy[0].name`.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        _ if key.starts_with('[') => format!("{path}{key}"),
        _ => format!("{path}.{key}"),
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Path of the key, such as `listener[0].address`; empty for the whole file.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

/// Every fault of a configuration: what refuses a candidate Snapshot.
#[derive(Debug, Clone, Default, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

/// Where faults are collected while a file is read, so that all are reported together.
#[derive(Debug, Default)]
pub struct Collector(RefCell<Vec<Fault>>);

impl Collector {
    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        self.0.borrow_mut().push(fault);
    }

    /// Keeps the value, or adds the faults.
    pub fn keep<T>(&self, result: Result<T, Faults>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(faults) => {
                self.0.borrow_mut().extend(faults.0);
                None
            }
        }
    }

    /// All faults by place, or nothing when there are none.
    ///
    /// # Errors
    /// The faults collected, when there are any.
    pub fn finish(self) -> Result<(), Faults> {
        let mut faults = self.0.into_inner();
        faults.sort_by(|a, b| (&a.file, a.line, &a.key).cmp(&(&b.file, b.line, &b.key)));
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }
}
