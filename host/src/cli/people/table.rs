//! Tables that fit a terminal, times that people read, and texts of strangers that do nothing to a terminal.
//!
//! Pure.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value as Json;

/// A column is made no narrower than this.
const NARROWEST: usize = 6;
const BETWEEN: &str = "  ";

/// A table for people.
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// One more row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A table of objects: under each name of a column the values of that key.
    pub(super) fn of(columns: &[(&str, &str)], rows: &Json) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let mut table = Self::new(&names);
        for object in rows.as_array().into_iter().flatten() {
            table.row(columns.iter().map(|(_, key)| text(&object[*key])));
        }
        table
    }

    /// Its lines. Where a terminal is narrower, the widest columns give way.
    pub(super) fn print(&self, width: Option<usize>) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let long = |column: usize| all().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max();
        let mut widths: Vec<usize> = (0..self.head.len()).map(|column| long(column).unwrap_or(0)).collect();
        let between = BETWEEN.len() * widths.len().saturating_sub(1);
        while let Some(width) = width.filter(|width| widths.iter().sum::<usize>() + between > *width) {
            let surplus = widths.iter().sum::<usize>() + between - width;
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { break };
            *widest -= surplus.min(widest.saturating_sub(NARROWEST)).clamp(1, 8);
        }
        let mut lines = String::new();
        for row in all() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", cut(cell, *width)));
            lines.push_str(cells.collect::<Vec<_>>().join(BETWEEN).trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// The beginning of a text that is too long.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// What a stranger may have written, as text: nothing in it moves the cursor, colours, or turns the direction of writing.
pub(super) fn safe(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_odd(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// A value as a cell.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => safe(text),
        Json::Array(all) if all.is_empty() => "-".to_owned(),
        Json::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Object(all) if all.is_empty() => "-".to_owned(),
        Json::Object(all) => {
            let pairs = all.iter().filter(|(_, value)| !value.is_null());
            pairs.map(|(key, value)| format!("{} {}", safe(key), text(value))).collect::<Vec<_>>().join(", ")
        }
        Json::Number(number) => number.to_string(),
    }
}

/// Seconds as people say them.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A time in seconds since 1970, in UTC.
pub(super) fn clock(seconds: u64) -> String {
    let text = crate::times::timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
    let second = text.get(..19).unwrap_or(&text).replace('T', " ");
    format!("{second}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_fits_and_shows_strangers_as_text() {
        let rows = json!([
            {"name": "alice", "agent": "\u{1b}[31m\u{7}red\u{202e}\r\n", "n": 7},
            {"name": "bob", "agent": "", "n": null},
        ]);
        let table = Table::of(&[("USER", "name"), ("AGENT", "agent"), ("N", "n")], &rows);
        let whole = table.print(None);
        assert_eq!(whole.lines().count(), 3, "{whole}");
        assert!(whole.contains("\\u{1b}[31m\\u{7}red\\u{202e}\\u{d}\\u{a}"), "{whole}");
        assert!(whole.chars().all(|c| c == '\n' || !c.is_control()), "{whole}");
        assert!(whole.lines().last().unwrap().starts_with("bob    -"), "{whole}");
        let narrow = table.print(Some(24));
        assert!(narrow.lines().all(|line| line.chars().count() <= 24), "{narrow}");
        assert!(narrow.contains('…'));
        table.print(Some(3));
    }

    #[test]
    fn times_are_said_as_people_do() {
        assert_eq!([5, 125, 7300, 200_000].map(span), ["5 s", "2 min", "2 h", "2 days"]);
        assert_eq!(clock(0), "1970-01-01 00:00:00Z");
    }
}
