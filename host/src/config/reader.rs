//! Reads a TOML table key by key and collects every fault with its line, key path and what is allowed.
//!
//! Pure.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::fault::{Collector, Fault, Faults, Place, Source, join};
use super::network::{Network, Networks};
use super::units;

/// Reads a whole file and hands its top table to `read`; all faults come back together. For files of which nothing is
/// warned.
///
/// # Errors
/// Every fault found, by the TOML parser or by `read`.
pub fn read<T>(source: &Arc<Source>, read: impl FnOnce(&Table<'_>) -> T) -> Result<T, Faults> {
    let (value, faults) = read_anyway(source, read);
    faults.map(|_| value)
}

/// The same, and what could be read in spite of all faults: defaults stand where something was wrong. Without faults,
/// the warnings.
pub fn read_anyway<T>(source: &Arc<Source>, read: impl FnOnce(&Table<'_>) -> T) -> (T, Result<Vec<Fault>, Faults>) {
    let faults = Collector::default();
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let shown = source.text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("").trim();
        let found = if shown.is_empty() { "a syntax error".to_owned() } else { format!("`{shown}`") };
        faults.add(Place::new(source, "", span).fault(found, format!("valid TOML ({})", error.message())));
    }
    let table = Table::new(source, &faults, String::new(), root.span(), root.get_ref());
    let value = read(&table);
    table.finish();
    (value, faults.finish())
}

/// One table being read. Every key that is asked for is known; the rest is reported at the end.
pub struct Table<'a> {
    source: &'a Arc<Source>,
    faults: &'a Collector,
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Table<'a> {
    fn new(
        source: &'a Arc<Source>,
        faults: &'a Collector,
        path: String,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
    ) -> Self {
        Self { source, faults, path, span, entries, known: RefCell::default() }
    }

    /// The place of this table.
    pub fn place(&self) -> Place {
        Place::new(self.source, self.path.as_str(), self.span.clone())
    }

    /// The place of a key: its value's, or the table's where the key is missing.
    pub fn place_of(&self, key: &str) -> Place {
        let span = self.peek(key).map_or(self.span.clone(), Spanned::span);
        Place::new(self.source, join(&self.path, key), span)
    }

    /// Reports a fault at a key.
    pub fn fault(&self, key: &str, found: impl Into<String>, expected: impl Into<String>) {
        self.faults.add(self.place_of(key).fault(found, expected));
    }

    /// Warns of a key.
    pub fn warn(&self, key: &str, found: impl Into<String>, expected: impl Into<String>) {
        self.faults.add(self.place_of(key).warning(found, expected));
    }

    /// Where faults of later checks go.
    pub fn collector(&self) -> &Collector {
        self.faults
    }

    /// Keys of this table, in the order of their names. For tables whose keys are names the operator chose.
    pub fn keys(&self) -> Vec<String> {
        self.entries.keys().map(|key| key.get_ref().to_string()).collect()
    }

    /// Whether the key is written.
    pub fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    fn peek(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn take(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().insert(key.to_owned());
        self.peek(key)
    }

    fn wrong<T>(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) -> Option<T> {
        self.fault(key, shown(value.get_ref()), expected);
        None
    }

    /// A string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.text_that_is(key, "a string")
    }

    fn text_that_is(&self, key: &str, expected: &str) -> Option<String> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => self.wrong(key, value, expected),
        }
    }

    /// A string that must be there and not be empty.
    pub fn required(&self, key: &str) -> String {
        match self.text(key) {
            Some(text) if !text.is_empty() => return text,
            Some(_) => self.fault(key, "an empty string", "a value"),
            None if self.peek(key).is_none() => self.fault(key, "nothing", "this key, which is required"),
            None => {}
        }
        String::new()
    }

    /// A string read by `parse`; `expected` says what it takes.
    pub fn parsed<T>(&self, key: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text_that_is(key, expected)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.fault(key, format!("\"{text}\""), expected);
        }
        parsed
    }

    /// A time with its unit. A time of 0 is hardly meant: nothing is done in time then.
    pub fn duration(&self, key: &str, default: Duration) -> Duration {
        let time = self.duration_or_none(key, default);
        if time.is_zero() && self.has(key) {
            self.warn(key, "a time of 0", "a time in which something can be done");
        }
        time
    }

    /// A time with its unit, of which 0 has a meaning of its own.
    pub fn duration_or_none(&self, key: &str, default: Duration) -> Duration {
        #[cfg(test)]
        super::tests::told(&self.path, key, super::tests::Default::Time(default));
        self.parsed(key, "a time with its unit, such as \"300s\", \"5m\" or \"10ms\"", units::duration)
            .unwrap_or(default)
    }

    /// A day and a time of it, with its offset from UTC (RFC 3339, as TOML has it), in seconds since 1970.
    pub fn moment(&self, key: &str) -> Option<u64> {
        let value = self.take(key)?;
        let moment = if let DeValue::Datetime(time) = value.get_ref() { units::moment(time) } else { None };
        moment
            .or_else(|| self.wrong(key, value, "a time with its offset, such as 2026-12-01T08:00:00Z, without quotes"))
    }

    /// A size with its unit, in bytes.
    pub fn size(&self, key: &str, default: u64) -> u64 {
        #[cfg(test)]
        super::tests::told(&self.path, key, super::tests::Default::Size(default));
        self.parsed(key, "a size with its unit, such as \"64KiB\" or \"16MiB\"", units::size).unwrap_or(default)
    }

    /// A whole number in a range.
    pub fn count(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        #[cfg(test)]
        super::tests::told(&self.path, key, super::tests::Default::Count(default));
        let Some(value) = self.take(key) else { return default };
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong(key, value, &expected).unwrap_or(default);
        };
        match whole(number) {
            Some(number) if range.contains(&number) => number,
            _ => self.wrong(key, value, &expected).unwrap_or(default),
        }
    }

    /// A whole number of things that are counted here.
    pub fn places(&self, key: &str, default: usize, range: RangeInclusive<u64>) -> usize {
        let number = self.count(key, default as u64, range);
        usize::try_from(number).unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        #[cfg(test)]
        super::tests::told(&self.path, key, super::tests::Default::Flag(default));
        let Some(value) = self.take(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => self.wrong(key, value, "true or false").unwrap_or(default),
        }
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let text = self.text_that_is(key, &format!("one of {}", names.join(", ")))?;
        let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let known = choices.iter().map(|(name, _)| *name);
            self.faults.add(self.place_of(key).unknown(&text, "one of these", known));
        }
        chosen
    }

    /// A list of strings; one string alone is a list of one.
    pub fn texts(&self, key: &str) -> Vec<String> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let expected = "a list of strings";
        match value.get_ref() {
            DeValue::String(text) => vec![text.to_string()],
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => self.wrong(key, item, expected),
                })
                .collect(),
            _ => self.wrong(key, value, expected).unwrap_or_default(),
        }
    }

    /// A list of networks; one alone is a list of one.
    pub fn networks(&self, key: &str) -> Networks {
        let expected = "networks such as \"10.0.0.0/8\" or \"2001:db8::/32\", with nothing beyond the bits";
        let parse = |text: String| {
            let network = Network::parse(&text);
            if network.is_none() {
                self.fault(key, format!("\"{text}\""), expected);
            }
            network
        };
        Networks(self.texts(key).into_iter().filter_map(parse).collect())
    }

    /// A list of whole numbers.
    pub fn counts(&self, key: &str, range: RangeInclusive<u64>) -> Vec<u64> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let expected = format!("a list of whole numbers from {} to {}", range.start(), range.end());
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong(key, value, &expected).unwrap_or_default();
        };
        items
            .iter()
            .filter_map(|item| match item.get_ref() {
                DeValue::Integer(number) => {
                    whole(number).filter(|number| range.contains(number)).or_else(|| self.wrong(key, item, &expected))
                }
                _ => self.wrong(key, item, &expected),
            })
            .collect()
    }

    /// A table below this one, read by `read`.
    pub fn table<T>(&self, key: &str, read: impl FnOnce(&Table<'_>) -> T) -> Option<T> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Table(entries) => Some(self.below(join(&self.path, key), value.span(), entries, read)),
            _ => self.wrong(key, value, "a table"),
        }
    }

    /// A list of tables (`[[key]]`), each read by `read`.
    pub fn tables<T>(&self, key: &str, mut read: impl FnMut(&Table<'_>) -> T) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong(key, value, &format!("a list of tables ([[{key}]])")).unwrap_or_default();
        };
        let mut found = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let DeValue::Table(entries) = item.get_ref() else {
                self.fault(key, shown(item.get_ref()), "a table");
                continue;
            };
            let path = join(&self.path, &format!("{key}[{index}]"));
            found.push(self.below(path, item.span(), entries, &mut read));
        }
        found
    }

    /// Whether the key is written as a table.
    pub fn is_table(&self, key: &str) -> bool {
        matches!(self.peek(key).map(Spanned::get_ref), Some(DeValue::Table(_)))
    }

    /// Whether the key is written as a list.
    pub fn is_list(&self, key: &str) -> bool {
        matches!(self.peek(key).map(Spanned::get_ref), Some(DeValue::Array(_)))
    }

    /// A value of any shape as JSON, for those who check it themselves (a policy's settings).
    pub fn json(&self, key: &str) -> Option<Json> {
        self.take(key).map(|value| doorward_vectors::json_of(value.get_ref()))
    }

    fn below<'b, T>(
        &'b self,
        path: String,
        span: Range<usize>,
        entries: &'b DeTable<'b>,
        read: impl FnOnce(&Table<'_>) -> T,
    ) -> T {
        let table = Table::new(self.source, self.faults, path, span, entries);
        let value = read(&table);
        table.finish();
        value
    }

    /// Reports every key that nobody asked for.
    fn finish(&self) {
        let known = self.known.borrow();
        for (name, value) in self.entries {
            let name: &str = name.get_ref();
            if !known.contains(name) {
                let place = Place::new(self.source, join(&self.path, name), value.span());
                let fault = place.fault("an unknown key", "");
                self.faults.add(fault.none_of(name, "one of these", known.iter().map(String::as_str)));
            }
        }
    }
}

/// A whole number that is not negative, however it is written.
fn whole(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// A value as it is shown in a fault, without ever printing a long text.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => "a long string".to_owned(),
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
