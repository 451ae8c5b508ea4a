//! What is wrong in a file that an operator wrote: place, what was found, what is allowed.
//!
//! Pure.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use doorward_vectors::nearest;

/// The text of a configuration file, with what is needed to name a place in it.
#[derive(Debug)]
pub struct Source {
    /// The file as the operator named it, or `<built-in>` for the embedded defaults.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
    /// Offsets of the ends of its lines, from when a line is first asked for.
    ends: OnceLock<Vec<usize>>,
    /// The line of each value, from when one is first asked for.
    lines: OnceLock<HashMap<String, usize>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.text) == (&other.path, &other.text)
    }
}

impl Eq for Source {}

impl Source {
    /// The text of the file that an operator named so.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), ends: OnceLock::new(), lines: OnceLock::new() }
    }

    /// Line of a byte offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        let ends = self.ends.get_or_init(|| memchr::memchr_iter(b'\n', self.text.as_bytes()).collect());
        ends.partition_point(|end| *end < offset) + 1
    }

    /// Line of the value of a key, or else that of the nearest table or list around it. The text is read once more for
    /// all of its keys: a place needs to keep no more than its key, and there may be as many places as hosts.
    fn line_of(&self, key: &str) -> Option<usize> {
        let lines = self.lines.get_or_init(|| {
            let mut lines = HashMap::new();
            let (root, _) = DeTable::parse_recoverable(&self.text);
            self.note_table(root.get_ref(), "", &mut lines);
            lines
        });
        let mut around = key;
        loop {
            if let Some(line) = lines.get(around) {
                return Some(*line);
            }
            around = &around[..around.rfind(['.', '['])?];
        }
    }

    fn note_table(&self, table: &DeTable<'_>, path: &str, lines: &mut HashMap<String, usize>) {
        table.iter().for_each(|(name, value)| self.note(value, join(path, name.get_ref()), lines));
    }

    /// A key that an operator chose may have dots in it: the first of those with one path is meant.
    fn note(&self, value: &Spanned<DeValue<'_>>, path: String, lines: &mut HashMap<String, usize>) {
        let line = self.line(value.span().start);
        match value.get_ref() {
            DeValue::Table(entries) => self.note_table(entries, &path, lines),
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| self.note(item, format!("{path}[{index}]"), lines));
            }
            _ => {}
        }
        lines.entry(path).or_insert(line);
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

    /// The place of a key below this one, written as in a fault: `rules[3].deny`. Where it is not written, the place of
    /// what it would stand in.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let key = join(&self.key, key);
        let line = self.source.line_of(&key).unwrap_or(self.line);
        Self { source: self.source.clone(), key, line }
    }

    /// The text of the file this place is in.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// The file this place is in.
    pub fn file(&self) -> &Path {
        &self.source.path
    }

    /// A fault at this place.
    pub fn fault(&self, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        self.told(Severity::Error, found.into(), expected.into())
    }

    /// A warning about this place: Doorward starts with it, but hardly does what the operator means.
    pub fn warning(&self, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        self.told(Severity::Warning, found.into(), expected.into())
    }

    /// A fault at this place: a word that is none of the known ones. `what` says what they are.
    pub fn unknown<'a>(&self, word: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Fault {
        self.fault(format!("\"{word}\""), "").none_of(word, what, known)
    }

    fn told(&self, severity: Severity, found: String, expected: String) -> Fault {
        Fault {
            severity,
            file: self.source.path.as_path().into(),
            line: self.line,
            key: self.key.clone(),
            found,
            expected,
            meant: None,
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

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, and the operator is told.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: Box<Path>,
    /// Line, counted from 1.
    pub line: usize,
    /// Path of the key, such as `listener[0].address`; empty for the whole file.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What would be right.
    pub expected: String,
    /// Which of the known words is nearest to what stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meant: Option<Box<str>>,
}

impl Fault {
    /// The same of a word that is none of those known.
    #[must_use]
    pub fn none_of<'a>(mut self, word: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        self.meant = nearest(word, known.iter().copied()).map(Box::from);
        self.expected = match known.is_empty() {
            true => format!("{what}, of which there is none"),
            false => format!("{what}: {}", known.join(", ")),
        };
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        self.meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean \"{meant}\"?"))
    }
}

/// Every fault of a configuration, warnings among them: what refuses a candidate Snapshot.
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

    /// The warnings by place, where there is nothing worse.
    ///
    /// # Errors
    /// All faults by place, warnings among them, when one of them refuses the configuration.
    pub fn finish(self) -> Result<Vec<Fault>, Faults> {
        let mut faults = self.0.into_inner();
        faults.sort_by(|a, b| (&a.file, a.line, &a.key).cmp(&(&b.file, b.line, &b.key)));
        faults.dedup();
        let refused = faults.iter().any(|fault| fault.severity == Severity::Error);
        if refused { Err(Faults(faults)) } else { Ok(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_below_a_place_has_its_own_line() {
        let text = "\
a = 1
[[policy]]
name = \"p\"
[policy.settings]
rules = [
  { deny = \"x\" },
  { allow = \"y\" },
]
hosts.\"mail.a.test\" = { desktop = 1,
  mobile = 2 }
";
        let source = Arc::new(Source::new("c.toml", text));
        let policy = Place::new(&source, "policy[0]", 6..16);
        let check = |key: &str, line: usize| assert_eq!(policy.key(key).fault("", "").line, line, "{key}");
        check("name", 3);
        check("settings", 4);
        check("settings.rules[1]", 7);
        check("settings.rules[1].deny", 7);
        check("settings.rules[7]", 5);
        check("settings.hosts.mail.a.test", 9);
        check("settings.hosts.mail.a.test.mobile", 10);
        check("file", 2);
        assert_eq!(Place::whole(&source).key("a").fault("", "").line, 1);
        assert_eq!(Place::whole(&source).key("templates").fault("", "").line, 1);
    }
}
