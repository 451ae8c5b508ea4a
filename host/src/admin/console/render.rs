//! Templates of the operator's page, and how values become text in them.
//!
//! Invariant: a text that a stranger may have written is shown as the text that it is, in HTML, and where it has control
//! characters or turns the direction of writing around.

use std::fmt::Write as _;

use doorward_wire::form;
use include_dir::{Dir, include_dir};
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value};

use crate::times::timestamp;

/// Templates and assets.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/console");

/// Built once: the templates are part of the program, and a test renders each of them.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // What a verb does not tell is not shown.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    for file in FILES.files() {
        let name = file.path().to_str().unwrap_or_default();
        // One that is broken is told of where it is filled.
        let _ = environment.add_template(name, file.contents_utf8().unwrap_or_default());
    }
    environment.set_formatter(print);
    environment.add_filter("stamp", stamp);
    environment.add_filter("clock", clock);
    environment.add_filter("told", told);
    environment.add_filter("size", size);
    environment.add_filter("urlencode", |text: &str| query_of(text));
    environment
}

/// An asset and its kind.
pub(super) fn asset(name: &str) -> Option<(&'static str, &'static [u8])> {
    let kind = match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    Some((kind, FILES.get_file(format!("assets/{name}"))?.contents()))
}

/// Prints a value into a page.
fn print(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() && state.auto_escape() == AutoEscape::Html => {
            Ok(out.write_str(&crate::text::escape_html(&visible(text)))?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// A text in which everything can be seen: control characters as their pictures, and what turns the direction of writing
/// around, or has no width, as its number.
fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => seen.push(c),
            '\0'..='\u{1f}' => seen.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => seen.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => _ = write!(seen, "\\u{{{:x}}}", u32::from(c)),
            c => seen.push(c),
        }
    }
    seen
}

/// Seconds since 1970 as a date and time.
fn stamp(seconds: Value) -> String {
    let seconds = f64::try_from(seconds).unwrap_or_default();
    let time = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    timestamp(std::time::UNIX_EPOCH + time)
}

/// The same for people: to the second.
fn clock(seconds: Value) -> String {
    let text = stamp(seconds);
    format!("{} UTC", text.get(..19).unwrap_or_default().replace('T', " "))
}

/// Anything as a text: a text as it is, the rest as JSON.
fn told(value: Value) -> String {
    match value.kind() {
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        ValueKind::None | ValueKind::Undefined => "–".to_owned(),
        _ => serde_json::to_string(&value).unwrap_or_default(),
    }
}

/// A value as a part of a URL's query.
fn query_of(value: &str) -> String {
    form::write([("", value)]).trim_start_matches('=').to_owned()
}

/// Bytes in the unit in which they are easily read.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn what_strangers_write_is_shown_as_text() {
        let mut environment = environment();
        environment.add_template("t.html", "{{ text }}").unwrap();
        let shown = |text: &str| environment.get_template("t.html").unwrap().render(context! { text }).unwrap();
        assert_eq!(shown("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
        assert_eq!(shown("\u{1b}[31mred\r\u{7f}"), "␛[31mred␍␡");
        assert_eq!(shown("a\u{202e}b\u{200b}c\u{9b}"), "a\\u{202e}b\\u{200b}c\\u{9b}");
        assert_eq!(shown("a\nö"), "a\nö");
    }

    #[test]
    fn sizes_and_times_are_readable() {
        assert_eq!([size(5), size(4096), size(3 << 20)], ["5 B", "4 KiB", "3 MiB"]);
        assert_eq!(stamp(Value::from(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(told(Value::from_serialize(serde_json::json!({"deny": "x"}))), "{\"deny\":\"x\"}");
    }
}
