//! What a recipe asks of a node's answer.
//!
//! Pure.

use std::cell::OnceCell;

use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, StatusCode};
use regex::Regex;
use serde_json::Value as Json;

use crate::back::jar::set_cookies;

/// A regular expression of an operator; the library knows none that takes more than linear time.
#[derive(Debug, Clone)]
pub struct Pattern(pub(super) Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// The first group of the first match, or all of it where there is no group.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let found = self.0.captures(text)?;
        found.get(1).or_else(|| found.get(0)).map(|found| found.as_str())
    }
}

/// What is asked of an answer. All parts that are written must hold; or else all of one of `or`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Test {
    /// One of these status codes.
    pub status: Vec<u16>,
    /// The `Location` holds this text.
    pub location: Option<String>,
    /// The `Location` fits.
    pub location_regex: Option<Pattern>,
    /// A cookie of this name is set, to something that is no deletion.
    pub cookie: Option<String>,
    /// For each of these headers, a value fits.
    pub headers: Vec<(HeaderName, Pattern)>,
    /// The body is JSON that has this value at this pointer (RFC 6901), for each of them.
    pub json: Vec<(String, Json)>,
    /// The body holds one of these texts.
    pub body: Vec<String>,
    /// The body fits.
    pub body_regex: Option<Pattern>,
    /// This does not hold.
    pub not: Option<Box<Self>>,
    /// Other ways to hold.
    pub or: Vec<Self>,
}

/// What a test is asked of.
pub struct Answered<'a> {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// The body, where it was read.
    pub page: &'a str,
    json: OnceCell<Option<Json>>,
}

impl<'a> Answered<'a> {
    /// An answer and as much of its body as was read.
    pub fn new(status: StatusCode, headers: &'a HeaderMap, page: &'a str) -> Self {
        Self { status, headers, page, json: OnceCell::new() }
    }

    /// The value at a pointer, where the body is JSON.
    pub fn json(&self, pointer: &str) -> Option<&Json> {
        self.json.get_or_init(|| serde_json::from_str(unguarded(self.page)).ok()).as_ref()?.pointer(pointer)
    }

    /// Where it leads.
    pub fn location(&self) -> &'a str {
        self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    fn sets(&self, name: &str) -> bool {
        let lines = set_cookies(self.headers);
        let mut pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
        pairs
            .any(|(known, value)| known.trim() == name && !matches!(value.trim(), "" | "-del-" | "deleted" | "discard"))
    }
}

/// JSON without what keeps pages of other sites from running it as a script, which the webmail's own script takes off: the
/// comment around it of Prototype (Horde), or a beginning of Angular's or of Google's.
fn unguarded(page: &str) -> &str {
    let page = page.trim();
    if let Some(inner) = page.strip_prefix("/*-secure-").and_then(|page| page.strip_suffix("*/")) {
        return inner;
    }
    [")]}',", ")]}'", "while(1);", "for(;;);", "for (;;);"]
        .iter()
        .find_map(|guard| page.strip_prefix(guard))
        .unwrap_or(page)
}

impl Test {
    /// Whether nothing is asked at all. Such a test never holds.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the answer is as it asks.
    pub fn holds(&self, answer: &Answered<'_>) -> bool {
        (self.asks_itself() && self.head_holds(answer) && self.body_holds(answer))
            || self.or.iter().any(|test| test.holds(answer))
    }

    /// Whether it could hold once the body is read: then it is worth to look at it.
    pub fn depends_on_body(&self, answer: &Answered<'_>) -> bool {
        (self.asks_body() && self.head_holds(answer)) || self.or.iter().any(|test| test.depends_on_body(answer))
    }

    /// Whether the body of a file, which may be anything, could make it hold: it does not ask for a type.
    pub fn takes_any_type(&self) -> bool {
        let of_file = self.status.is_empty() || self.status.iter().any(|status| (200..300).contains(status));
        let typed = self.headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE);
        (self.asks_body() && of_file && !typed) || self.or.iter().any(Self::takes_any_type)
    }

    /// Whether it ever looks at bodies.
    pub fn reads_bodies(&self) -> bool {
        self.asks_body() || self.or.iter().any(Self::reads_bodies)
    }

    fn asks_itself(&self) -> bool {
        let Self { status, location, location_regex, cookie, headers, json, body, body_regex, not, or: _ } = self;
        !(status.is_empty() && headers.is_empty() && json.is_empty() && body.is_empty())
            || location.is_some()
            || location_regex.is_some()
            || cookie.is_some()
            || body_regex.is_some()
            || not.is_some()
    }

    fn asks_body(&self) -> bool {
        let not = self.not.as_ref().is_some_and(|test| test.reads_bodies());
        not || !self.json.is_empty() || !self.body.is_empty() || self.body_regex.is_some()
    }

    fn head_holds(&self, answer: &Answered<'_>) -> bool {
        let location = answer.location();
        let fits = |(name, pattern): &(HeaderName, Pattern)| {
            let mut values = answer.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.any(|value| pattern.0.is_match(value))
        };
        (self.status.is_empty() || self.status.contains(&answer.status.as_u16()))
            && self.location.as_ref().is_none_or(|wanted| location.contains(wanted))
            && self.location_regex.as_ref().is_none_or(|pattern| pattern.0.is_match(location))
            && self.cookie.as_ref().is_none_or(|name| answer.sets(name))
            && self.headers.iter().all(fits)
    }

    fn body_holds(&self, answer: &Answered<'_>) -> bool {
        self.json.iter().all(|(pointer, wanted)| answer.json(pointer) == Some(wanted))
            && (self.body.is_empty() || self.body.iter().any(|wanted| answer.page.contains(wanted)))
            && self.body_regex.as_ref().is_none_or(|pattern| pattern.0.is_match(answer.page))
            && self.not.as_ref().is_none_or(|test| !test.holds(answer))
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern(Regex::new(text).unwrap())
    }

    #[test]
    fn a_test_holds_when_all_its_parts_do() {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("auth=-del-; path=/"));
        headers.append(header::LOCATION, HeaderValue::from_static("/?_task=mail"));
        let check = |test: &Test, headers: &HeaderMap, holds: bool| {
            let answer = Answered::new(StatusCode::FOUND, headers, r#"{"a": {"b": 1}, "c": "Login failed."}"#);
            assert_eq!(test.holds(&answer), holds, "{test:?}");
        };
        let test = Test { status: vec![302], location: Some("task=mail".into()), ..Test::default() };
        check(&test, &headers, true);
        check(&Test { cookie: Some("auth".into()), ..test.clone() }, &headers, false);
        headers.append(header::SET_COOKIE, HeaderValue::from_static("auth=x"));
        check(&Test { cookie: Some("auth".into()), ..test.clone() }, &headers, true);
        check(&Test::default(), &headers, false);
        check(&Test { body: vec!["nope".into(), "failed".into()], ..Test::default() }, &headers, true);
        check(&Test { body: vec!["failed".into()], status: vec![200], ..Test::default() }, &headers, false);
        check(&Test { json: vec![("/a/b".into(), 1.into())], ..Test::default() }, &headers, true);
        check(&Test { json: vec![("/a/b".into(), "1".into())], ..Test::default() }, &headers, false);
        check(&Test { location_regex: Some(pattern("mail$")), ..Test::default() }, &headers, true);
        check(&Test { headers: vec![(header::SET_COOKIE, pattern("^auth=x"))], ..Test::default() }, &headers, true);
        check(&Test { headers: vec![(header::ALLOW, pattern(""))], ..Test::default() }, &headers, false);
        check(&Test { not: Some(Box::new(test.clone())), ..Test::default() }, &headers, false);
        check(
            &Test { not: Some(Box::new(Test { status: vec![200], ..test.clone() })), ..test.clone() },
            &headers,
            true,
        );
        check(&Test { status: vec![200], or: vec![test], ..Test::default() }, &headers, true);
    }

    #[test]
    fn json_is_read_without_its_guard() {
        let headers = HeaderMap::new();
        let gone = Test { json: vec![("/msgs/0/type".into(), "timeout".into())], ..Test::default() };
        let json = r#"{"msgs":[{"type":"timeout"}]}"#;
        for (page, holds) in [
            (json.to_owned(), true),
            (format!("/*-secure-{json}*/"), true),
            (format!("\n/*-secure-{json}*/\n"), true),
            (format!(")]}}',\n{json}"), true),
            (format!("while(1);{json}"), true),
            (format!("/*-secure-{json}"), false),
            (format!("/* {json} */"), false),
            (r#"/*-secure-{"text":"{\"msgs\":[{\"type\":\"timeout\"}]}"}*/"#.to_owned(), false),
        ] {
            assert_eq!(gone.holds(&Answered::new(StatusCode::OK, &headers, &page)), holds, "{page}");
        }
    }

    #[test]
    fn bodies_are_looked_at_only_where_they_decide() {
        let headers = HeaderMap::new();
        let ok = Answered::new(StatusCode::OK, &headers, "");
        let test = Test { status: vec![200], body: vec!["x".into()], ..Test::default() };
        assert!(test.depends_on_body(&ok) && test.reads_bodies() && !test.holds(&ok));
        let other = Test { status: vec![404], ..test };
        assert!(!other.depends_on_body(&ok));
        assert!(Test { or: vec![other], status: vec![200], ..Test::default() }.reads_bodies());
    }

    #[test]
    fn a_pattern_finds_its_first_group() {
        assert_eq!(pattern("a=([^&]+)").find("x?a=1&b"), Some("1"));
        assert_eq!(pattern("a=.").find("x?a=1&b"), Some("a=1"));
        assert_eq!(pattern("b").find("x"), None);
    }
}
