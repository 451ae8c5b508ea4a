//! The forms of a line: for people, JSON, syslog (RFC 5424 and the local one), and the fields of the journal.
//!
//! Invariants: a line is one line, whatever strangers put into it, and no longer than its bound: values are cut first,
//! with a mark; control characters are escaped in each form.

use std::borrow::Cow;
use std::io::Write as _;

use super::entry::{Entry, Field, Value};
use super::masks::Masks;
use crate::config::{Level, LogFormat};
use crate::http1::write_number;
use crate::times::rfc3339;

/// What stands where something was cut.
const CUT: &str = "…";
/// How long values may be, where the line would be too long otherwise.
const STEPS: [usize; 4] = [1024, 256, 64, 16];
/// Parts a line of the journal; it stands in no value.
pub(super) const PART: u8 = 0x1f;

/// What is around a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// Nothing: a file, or standard error.
    Plain,
    /// The head of the local syslog.
    Local,
    /// The fields of the journal.
    Journal,
}

/// How the lines of a target look.
#[derive(Debug, PartialEq)]
pub(super) struct Form {
    pub(super) frame: Frame,
    pub(super) format: LogFormat,
    pub(super) facility: u8,
    pub(super) structured_data: Option<String>,
    pub(super) masks: Masks,
    /// Bytes of a line.
    pub(super) most: usize,
    /// The host's name and the process's number, for syslog.
    pub(super) sender: String,
}

impl Form {
    /// Adds the line of an event, with its end.
    pub(super) fn write(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        let begin = out.len();
        self.write_cut(out, entry, usize::MAX);
        for most in STEPS {
            if out.len() - begin <= self.most {
                return;
            }
            out.truncate(begin);
            self.write_cut(out, entry, most);
        }
    }

    fn write_cut(&self, out: &mut Vec<u8>, entry: &Entry<'_>, most: usize) {
        let most = Most { of_value: most, masks: &self.masks };
        match (self.frame, self.format) {
            (Frame::Journal, format) => self.journal(out, entry, format, &most),
            (Frame::Local, format) => {
                let _ = write!(out, "<{}>", self.priority(entry.level));
                local_time(out, entry.time);
                let _ = write!(out, " doorward[{}]: ", std::process::id());
                match format {
                    LogFormat::Json => json(out, entry, &most),
                    LogFormat::Text | LogFormat::Rfc5424 => people(out, entry, &most),
                }
            }
            (Frame::Plain, LogFormat::Text) => {
                rfc3339(out, entry.time);
                let _ = write!(out, " {:>5} ", shout(entry.level));
                people(out, entry, &most);
            }
            (Frame::Plain, LogFormat::Json) => json(out, entry, &most),
            (Frame::Plain, LogFormat::Rfc5424) => self.rfc5424(out, entry, &most),
        }
        out.push(b'\n');
    }

    /// Facility and severity in one number. Never `emerg`, which many systems show to everybody.
    fn priority(&self, level: Level) -> u8 {
        self.facility * 8 + severity(level)
    }

    fn rfc5424(&self, out: &mut Vec<u8>, entry: &Entry<'_>, most: &Most<'_>) {
        let _ = write!(out, "<{}>1 ", self.priority(entry.level));
        rfc3339(out, entry.time);
        let _ = write!(out, " {} {} ", self.sender, entry.kind.name());
        let Some(name) = &self.structured_data else {
            out.extend_from_slice(b"- ");
            return json(out, entry, most);
        };
        let _ = write!(out, "[{name}");
        for (field, value) in most.shown(entry.fields) {
            let _ = write!(out, " {field}=\"");
            for c in most.cut(&as_text(&value)).chars() {
                match c {
                    '"' | '\\' | ']' => _ = write!(out, "\\{c}"),
                    c if needs_escape(c) => _ = write!(out, "{}", c.escape_default()),
                    c => push(out, c),
                }
            }
            out.push(b'"');
        }
        out.extend_from_slice(b"] ");
        escaped(out, &most.cut(entry.message), false);
    }

    fn journal(&self, out: &mut Vec<u8>, entry: &Entry<'_>, format: LogFormat, most: &Most<'_>) {
        out.extend_from_slice(b"MESSAGE=");
        match format {
            LogFormat::Json => json(out, entry, most),
            LogFormat::Text | LogFormat::Rfc5424 => people(out, entry, most),
        }
        let facility = self.facility;
        for (name, number) in [("PRIORITY", severity(entry.level)), ("SYSLOG_FACILITY", facility)] {
            out.push(PART);
            let _ = write!(out, "{name}={number}");
        }
        out.push(PART);
        let _ = write!(out, "SYSLOG_IDENTIFIER=doorward{}KIND={}", char::from(PART), entry.kind.name());
        for (field, value) in most.shown(entry.fields) {
            out.push(PART);
            match field {
                "id" => out.extend_from_slice(b"REQUEST_ID"),
                field => out.extend(field.bytes().map(|b| b.to_ascii_uppercase())),
            }
            out.push(b'=');
            escaped(out, &most.cut(&as_text(&value)), false);
        }
    }
}

/// What is left out of values, and how long they may be.
struct Most<'a> {
    of_value: usize,
    masks: &'a Masks,
}

impl Most<'_> {
    fn cut<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.len() <= self.of_value {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("{}{CUT}", &text[..text.floor_char_boundary(self.of_value)]))
    }

    /// The fields that may be shown, as they may.
    fn shown<'t>(&self, fields: &'t [Field<'t>]) -> impl Iterator<Item = (&'static str, Cow<'t, Value<'t>>)> {
        fields.iter().filter_map(|(name, value)| Some((*name, self.masks.masked(name, value)?)))
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

fn shout(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
    }
}

/// The message, and the fields behind it.
fn people(out: &mut Vec<u8>, entry: &Entry<'_>, most: &Most<'_>) {
    escaped(out, &most.cut(entry.message), false);
    for (name, value) in most.shown(entry.fields) {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        match &*value {
            Value::None => out.push(b'-'),
            Value::Number(_) | Value::Signed(_) | Value::Float(_) | Value::Flag(_) => {
                number(out, &value);
            }
            Value::Word(text) if is_plain(text) && text.len() <= most.of_value => {
                out.extend_from_slice(text.as_bytes())
            }
            Value::Owned(text) if is_plain(text) && text.len() <= most.of_value => {
                out.extend_from_slice(text.as_bytes())
            }
            text => {
                out.push(b'"');
                escaped(out, &most.cut(&as_text(text)), true);
                out.push(b'"');
            }
        }
    }
}

fn json(out: &mut Vec<u8>, entry: &Entry<'_>, most: &Most<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(out, entry.time);
    // No formatting in here: each access line comes this way.
    for text in ["\",\"level\":\"", entry.level.name(), "\",\"kind\":\"", entry.kind.name(), "\",\"message\":\""] {
        out.extend_from_slice(text.as_bytes());
    }
    escaped(out, &most.cut(entry.message), true);
    out.push(b'"');
    for (name, value) in entry.fields.iter().filter(|(_, value)| !matches!(value, Value::None)) {
        let Some(value) = most.masks.masked(name, value) else { continue };
        // A field of an event's own may have the name of one that each has.
        let name = if matches!(*name, "time" | "level" | "kind" | "message") { "text" } else { name };
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match &*value {
            Value::Number(_) | Value::Signed(_) | Value::Flag(_) => number(out, &value),
            Value::Float(float) if float.is_finite() => number(out, &value),
            text => {
                out.push(b'"');
                escaped(out, &most.cut(&as_text(text)), true);
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
}

fn number(out: &mut Vec<u8>, value: &Value<'_>) {
    let _ = match value {
        Value::Number(number) => {
            write_number(out, *number);
            Ok(())
        }
        Value::Signed(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{number}"),
        Value::Flag(flag) => write!(out, "{flag}"),
        _ => Ok(()),
    };
}

fn as_text<'t>(value: &'t Value<'_>) -> Cow<'t, str> {
    match value {
        Value::Text(text) | Value::Word(text) => Cow::Borrowed(text),
        Value::Owned(text) | Value::Quoted(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes),
        Value::None => Cow::Borrowed("-"),
        other => {
            let mut text = Vec::new();
            number(&mut text, other);
            Cow::Owned(String::from_utf8(text).unwrap_or_default())
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// What would end a line, hide something in it, or steer a terminal.
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Adds a text in which nothing steers anything; within quotes, quotes and backslashes are escaped too. JSON reads it so,
/// and people do.
fn escaped(out: &mut Vec<u8>, text: &str, quoted: bool) {
    let is_harmless = |b: u8| (0x20..0x7f).contains(&b) && !(quoted && (b == b'"' || b == b'\\'));
    if text.bytes().all(is_harmless) {
        return out.extend_from_slice(text.as_bytes());
    }
    for c in text.chars() {
        match c {
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '"' | '\\' if quoted => _ = write!(out, "\\{c}"),
            // All of them are in the first plane.
            c if needs_escape(c) => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => push(out, c),
        }
    }
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// As the local syslog has it: `Nov 27 17:30:30`. It has no zone; readers take their own time for it.
fn local_time(out: &mut Vec<u8>, time: std::time::SystemTime) {
    let mut text = Vec::with_capacity(24);
    rfc3339(&mut text, time);
    let digits =
        |at: std::ops::Range<usize>| text.get(at).and_then(|two| std::str::from_utf8(two).ok()).unwrap_or("00");
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month =
        digits(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1))).unwrap_or(&"Jan");
    let day = digits(8..10).trim_start_matches('0');
    let _ = write!(out, "{month} {day:>2} {}", digits(11..19));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::config::LogKind;

    fn form(frame: Frame, format: LogFormat) -> Form {
        Form {
            frame,
            format,
            facility: 2,
            structured_data: None,
            masks: Masks::default(),
            most: 2048,
            sender: "door doorward 7".to_owned(),
        }
    }

    fn line(form: &Form, fields: &[Field<'_>]) -> String {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_800_630_125);
        let entry = Entry { time, level: Level::Warn, kind: LogKind::Login, message: "login", fields };
        let mut out = Vec::new();
        form.write(&mut out, &entry);
        String::from_utf8(out).unwrap()
    }

    const HARD: &str = "a\"b\\c]\n\u{1b}[2J\u{202e}é";

    #[test]
    fn each_form_is_one_line_whatever_a_stranger_wrote() {
        let fields = [("user", Value::Text(HARD)), ("n", Value::Number(3)), ("x", Value::None)];
        let check =
            |frame, format, expected: &str| assert_eq!(line(&form(frame, format), &fields), format!("{expected}\n"));
        let escaped = "a\\\"b\\\\c]\\n\\u001b[2J\\u202eé";
        check(
            Frame::Plain,
            LogFormat::Text,
            &format!("2026-11-27T17:30:30.125Z  WARN login user=\"{escaped}\" n=3 x=-"),
        );
        let json = format!(
            "{{\"time\":\"2026-11-27T17:30:30.125Z\",\"level\":\"warn\",\"kind\":\"login\",\"message\":\"login\",\"user\":\"{escaped}\",\"n\":3}}"
        );
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["user"], HARD);
        check(Frame::Plain, LogFormat::Json, &json);
        let head = "<20>1 2026-11-27T17:30:30.125Z door doorward 7 login";
        check(Frame::Plain, LogFormat::Rfc5424, &format!("{head} - {json}"));
        let local = format!("<20>Nov 27 17:30:30 doorward[{}]: login user=\"{escaped}\" n=3 x=-", std::process::id());
        check(Frame::Local, LogFormat::Text, &local);
        let structured = Form { structured_data: Some("d@1".to_owned()), ..form(Frame::Plain, LogFormat::Rfc5424) };
        assert_eq!(
            line(&structured, &fields),
            format!("{head} [d@1 user=\"a\\\"b\\\\c\\]\\n\\u{{1b}}[2J\\u{{202e}}é\" n=\"3\" x=\"-\"] login\n")
        );
    }

    #[test]
    fn values_are_cut_before_the_line_is() {
        let long = "ü".repeat(5000);
        let fields = [("user", Value::Text(&long)), ("path", Value::Word(&long)), ("node", Value::Word("node-a"))];
        for (frame, format) in
            [(Frame::Plain, LogFormat::Json), (Frame::Plain, LogFormat::Text), (Frame::Journal, LogFormat::Text)]
        {
            let line = line(&form(frame, format), &fields);
            assert!(line.len() <= 2048 && line.contains(CUT) && line.contains("node-a"), "{line}");
        }
    }
}
