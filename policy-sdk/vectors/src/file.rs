//! A file of test vectors.
//!
//! ```toml
//! [settings]                    # for all vectors; none is `{}`
//! default = "deny"
//!
//! [[vector]]
//! name = "a sentence"
//! expect = "deny"               # the kind of the answer, or the whole: expect = { deny = "no rule allows it" }
//! settings = { rules = [] }     # instead of the common ones
//! [vector.facts]                # named as in the WIT
//! client-address = "192.0.2.7"
//! header = { user-agent = "x" } # these and no others; likewise `query`, `cookie`, `attribute`, `node-state`, `node-load`
//! tls-server-name = ""          # there is none
//! now = "2026-12-01T08:00Z"     # or seconds since 1970
//! ```
//!
//! Invariant: a key that is not known, or a value that a fact cannot have, fails the whole file with its line.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::facts::{FactType, MOST_READS};
use crate::fault::{Fault, Faults};

/// A file.
#[derive(Debug)]
pub struct File {
    /// Settings for all vectors, if the file says any.
    pub settings: Option<Json>,
    /// The vectors, in order; there is at least one.
    pub vectors: Vec<Vector>,
}

/// Facts, and the answer they must bring.
#[derive(Debug)]
pub struct Vector {
    /// What it shows, in a sentence.
    pub name: String,
    /// Its line in the file.
    pub line: usize,
    /// What is expected, as it is written.
    pub expect: Json,
    /// Settings instead of those for all.
    pub settings: Option<Json>,
    /// The facts.
    pub facts: Vec<GivenFact>,
    /// Facts with names of which all names are told: others are absent.
    pub complete: Vec<&'static FactType>,
}

/// A fact that a vector tells.
#[derive(Debug, PartialEq)]
pub struct GivenFact {
    /// Which fact.
    pub fact: &'static FactType,
    /// The name asked for, where it takes one.
    pub name: Option<String>,
    /// What it says, of the type of the fact; null where it is not there.
    pub value: Json,
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or all that is wrong in it.
pub fn read(path: &Path) -> Result<File, Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let (file, expected) = (path.to_owned(), "a file of test vectors".to_owned());
        Faults(vec![Fault { file, line: 1, key: String::new(), found: error.to_string(), expected }])
    })?;
    parse(path, &text)
}

/// Reads the text of a file; `path` is what faults call it.
///
/// # Errors
/// All that is wrong in it, with lines and keys.
pub fn parse(path: &Path, text: &str) -> Result<File, Faults> {
    let reader = Reader { path, text, faults: RefCell::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let shown = text.get(span.clone()).and_then(|text| text.lines().next()).unwrap_or_default().trim();
        let found = if shown.is_empty() { "a syntax error".to_owned() } else { format!("`{shown}`") };
        reader.fault("", &span, found, format!("valid TOML ({})", error.message()));
    }
    let file = reader.file(root.get_ref());
    let faults = reader.faults.into_inner();
    if faults.is_empty() { Ok(file) } else { Err(Faults(faults)) }
}

/// A value as JSON; dates become texts, as Doorward hands them over.
pub fn json_of(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::from(&**text),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).map_or(Json::Null, Json::from),
        DeValue::Float(digits) => digits.as_str().parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(flag) => Json::from(*flag),
        DeValue::Datetime(date) => Json::from(date.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref())));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// A file that is being read.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    faults: RefCell<Vec<Fault>>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
    }

    fn fault(&self, key: &str, span: &Range<usize>, found: impl Into<String>, expected: impl Into<String>) {
        let (file, line) = (self.path.to_owned(), self.line(span));
        let fault = Fault { file, line, key: key.to_owned(), found: found.into(), expected: expected.into() };
        self.faults.borrow_mut().push(fault);
    }

    /// Hands each entry of a table to `entry`, which says whether it knows the key.
    fn entries(
        &self,
        path: &str,
        table: &DeTable<'_>,
        known: &[&str],
        mut entry: impl FnMut(&str, &str, &Spanned<DeValue<'_>>),
    ) {
        for (key, value) in table {
            let (key, full) = (&**key.get_ref(), join(path, key.get_ref()));
            if known.is_empty() || known.contains(&key) {
                entry(key, &full, value);
            } else {
                let meant = crate::nearest(key, known.iter().copied());
                let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
                self.fault(&full, &value.span(), "an unknown key", format!("one of {}{meant}", known.join(", ")));
            }
        }
    }

    fn table<'b, 'c>(&self, path: &str, value: &'b Spanned<DeValue<'c>>) -> Option<&'b DeTable<'c>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.fault(path, &value.span(), json_of(value.get_ref()).to_string(), "a table");
        None
    }

    fn file(&self, root: &DeTable<'_>) -> File {
        let mut file = File { settings: None, vectors: Vec::new() };
        let mut is_told = false;
        self.entries("", root, &["settings", "vector"], |key, path, value| match (key, value.get_ref()) {
            ("settings", _) => file.settings = self.table(path, value).map(|_| json_of(value.get_ref())),
            (_, DeValue::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let vector = self.table(&path, item).map(|table| self.vector(&path, &item.span(), table));
                    file.vectors.extend(vector);
                    is_told = true;
                }
            }
            _ => self.fault(path, &value.span(), json_of(value.get_ref()).to_string(), "a list of tables ([[vector]])"),
        });
        if !is_told && self.faults.borrow().is_empty() {
            self.fault("vector", &(0..0), "no vectors", "a [[vector]]");
        }
        file
    }

    fn vector(&self, path: &str, span: &Range<usize>, table: &DeTable<'_>) -> Vector {
        let mut vector = Vector {
            name: String::new(),
            line: self.line(span),
            expect: Json::Null,
            settings: None,
            facts: Vec::new(),
            complete: Vec::new(),
        };
        for key in ["name", "expect"] {
            if !table.iter().any(|(name, _)| name.get_ref() == key) {
                self.fault(&join(path, key), span, "nothing", "this key, which is required");
            }
        }
        self.entries(path, table, &["name", "expect", "settings", "facts"], |key, path, value| match key {
            "name" => match value.get_ref() {
                DeValue::String(name) => vector.name = name.to_string(),
                other => self.fault(path, &value.span(), json_of(other).to_string(), "a text"),
            },
            "expect" => vector.expect = json_of(value.get_ref()),
            "settings" => vector.settings = self.table(path, value).map(|_| json_of(value.get_ref())),
            _ => {
                if let Some(table) = self.table(path, value) {
                    self.facts(path, table, &mut vector);
                    if vector.facts.len() > MOST_READS {
                        let found = format!("{} facts", vector.facts.len());
                        self.fault(path, &value.span(), found, format!("at most {MOST_READS}"));
                    }
                }
            }
        });
        vector
    }

    fn facts(&self, path: &str, table: &DeTable<'_>, vector: &mut Vector) {
        self.entries(path, table, &[], |key, path, value| match FactType::of(key) {
            None => self.fault(path, &value.span(), "an unknown key", format!("a fact: {}", crate::unknown_fact(key))),
            Some(fact) if fact.is_named => {
                let Some(names) = self.table(path, value) else { return };
                vector.complete.push(fact);
                self.entries(path, names, &[], |name, path, value| {
                    if fact.function == "header" && !is_header_name(name) {
                        self.fault(path, &value.span(), "a name", "one that a header can have");
                    }
                    vector.facts.extend(self.told(path, value, fact, Some(name.to_owned())));
                });
            }
            Some(fact) => vector.facts.extend(self.told(path, value, fact, None)),
        });
    }

    fn told(
        &self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        fact: &'static FactType,
        name: Option<String>,
    ) -> Option<GivenFact> {
        let json = json_of(value.get_ref());
        let json = if json.as_str().is_some_and(|text| fact.is_none(text)) { Json::Null } else { json };
        let checked = fact.value.check(&json);
        if checked.is_none() {
            self.fault(path, &value.span(), json.to_string(), fact.value.expected());
        }
        Some(GivenFact { fact, name, value: checked? })
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a header can have this name (RFC 9110, section 5.6.2).
fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        super::parse(Path::new("v.toml"), text).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_file_is_read_with_its_lines() {
        let text = "[settings]\na = 2026-11-24\nb = [1, 0x10, 2.5, true, \"x\"]\n[[vector]]\nname = \"n\"\n\
                    expect = \"deny\"\nfacts = { tls-server-name = \"\", header = { A = \"b\", c = \"\" } }\n\
                    [[vector]]\nname = \"m\"\nexpect = 1\n";
        let file = parse(text).unwrap();
        assert_eq!(file.settings, Some(json!({"a": "2026-11-24", "b": [1, 16, 2.5, true, "x"]})));
        assert_eq!((file.vectors[0].line, file.vectors[1].line), (4, 8));
        let told = |function: &str, name: Option<&str>| {
            let mut facts = file.vectors[0].facts.iter();
            let found = facts.find(|told| told.fact.function == function && told.name.as_deref() == name);
            found.map(|told| told.value.clone())
        };
        assert_eq!(told("tls-server-name", None), Some(Json::Null));
        assert_eq!(told("header", Some("A")), Some(json!("b")));
        assert_eq!(told("header", Some("c")), Some(json!("")), "an empty header is there");
        assert_eq!(file.vectors[0].complete.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        for (vector, told) in [
            ("expects = \"allow\"", "v.toml:3: vector[0].expects: found an unknown key"),
            (
                "expect = \"allow\"\nfacts = { client = \"x\" }",
                "v.toml:4: vector[0].facts.client: found an unknown key",
            ),
            (
                "expect = \"allow\"\nfacts = { now = \"x\" }",
                "v.toml:4: vector[0].facts.now: found \"x\", expected seconds",
            ),
            ("expect = \"allow\"\nfacts = { now = -1 }", "v.toml:4: vector[0].facts.now: found -1, expected seconds"),
            ("expect = \"allow\"\nfacts = { header = { a = 1 } }", "v.toml:4: vector[0].facts.header.a: found 1"),
            ("expect = \"allow\"\nfacts = { header = { \"a b\" = \"1\" } }", "expected one that a header can have"),
            ("expect = \"allow\"\nsettings = 1", "v.toml:4: vector[0].settings: found 1, expected a table"),
            ("expect = \"allow", "v.toml:3: "),
            ("", "v.toml:1: vector[0].expect: found nothing"),
        ] {
            let faults = parse(&format!("[[vector]]\nname = \"n\"\n{vector}")).unwrap_err();
            assert!(faults.contains(told), "{vector}: {faults}");
        }
        assert!(parse("vector = []").unwrap_err().contains("no vectors"));
        assert!(parse("").unwrap_err().contains("no vectors"));
        let many: String = (0..=MOST_READS).map(|n| format!("h{n} = \"\"\n")).collect();
        let many = parse(&format!("[[vector]]\nname = \"n\"\nexpect = \"a\"\n[vector.facts.header]\n{many}"));
        assert!(many.unwrap_err().contains("found 65 facts, expected at most 64"));
        let faults = parse("[[vector]]\na = 1\n[[vector]]\nname = 2\nexpect = 3\n").unwrap_err();
        assert_eq!(faults.lines().count(), 4, "all of them: {faults}");
    }
}
