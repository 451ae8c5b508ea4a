//! Files of test vectors as a component is asked of them. `doorward_policy::testing::vectors` runs the same files
//! natively, and by the same rules.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::Stop;
use super::facts::is_none;
use crate::config::{self, Question, Source, Table};
use crate::policy::{Action, Answer, AuthMode, Fact, Given, Header, Value, Verdict};

/// A file of them.
#[derive(Debug)]
pub(super) struct File {
    /// Settings for all vectors, if the file says any.
    pub settings: Option<Json>,
    /// The vectors, in order.
    pub vectors: Vec<Vector>,
}

/// Facts, and the verdict they must bring.
#[derive(Debug)]
pub(super) struct Vector {
    /// What it shows, in a sentence.
    pub name: String,
    /// Its line in the file.
    pub line: usize,
    /// What is expected, as it is written.
    pub expect: Json,
    /// Settings instead of those for all.
    pub settings: Option<Json>,
    /// The facts.
    pub given: Arc<Given>,
}

/// Facts without a name, which a vector may give.
const PLAIN: [&str; 17] = [
    "client-address",
    "client-port",
    "listener",
    "local-address",
    "tls-server-name",
    "tls-client-subject",
    "now",
    "method",
    "scheme",
    "host",
    "path",
    "target",
    "username",
    "known",
    "recent-failures-from-address",
    "recent-failures-for-user",
    "form",
];
/// Facts with names, of which a table gives all there are.
const NAMED: [&str; 4] = ["query", "header", "cookie", "attribute"];

/// Reads a file.
///
/// # Errors
/// All that is wrong in it, with lines: unknown keys, facts that cannot be, no vectors.
pub(super) fn read(path: &Path) -> Result<File, Stop> {
    let text = config::text_of(path).map_err(|faults| Stop::Unusable(faults.to_string()))?;
    let source = Arc::new(Source::new(path, text));
    config::read(&source, file).map_err(|faults| Stop::Unusable(faults.to_string()))
}

fn file(t: &Table<'_>) -> File {
    let vectors = t.tables("vector", vector);
    if vectors.is_empty() {
        t.fault("vector", "no vectors", "a [[vector]]");
    }
    File { settings: settings(t), vectors }
}

fn settings(t: &Table<'_>) -> Option<Json> {
    let settings = t.json("settings")?;
    if !settings.is_object() {
        t.fault("settings", settings.to_string(), "a table");
    }
    Some(settings)
}

fn vector(t: &Table<'_>) -> Vector {
    let name = t.text("name").unwrap_or_default();
    let expect = t.json("expect").unwrap_or_default();
    for key in ["name", "expect"] {
        if !t.has(key) {
            t.fault(key, "nothing", "this key, which is required");
        }
    }
    Vector {
        name,
        line: t.place().fault("", "").line,
        expect,
        settings: settings(t),
        given: Arc::new(t.table("facts", facts).unwrap_or_default()),
    }
}

fn facts(t: &Table<'_>) -> Given {
    let mut given = Given::default();
    for key in PLAIN {
        if let (Some(json), Some(fact)) = (t.json(key), Fact::named(key, None)) {
            give(t, &mut given, key, fact, &json);
        }
    }
    for function in NAMED {
        let of_function = |t: &Table<'_>| {
            given.complete(function);
            for name in t.keys() {
                let json = t.json(&name).unwrap_or_default();
                match Fact::named(function, Some(&name)) {
                    Some(fact) => give(t, &mut given, &name, fact, &json),
                    None => t.fault(&name, "a name", format!("one that a {function} can have")),
                }
            }
        };
        t.table(function, of_function);
    }
    given
}

fn give(t: &Table<'_>, given: &mut Given, key: &str, fact: Fact, json: &Json) {
    let value = if is_none(&fact, json.as_str()) { Some(Value::Missing) } else { Value::from_json(&fact, json) };
    match value.map(|value| given.give(fact, value)) {
        Some(Ok(())) => {}
        Some(Err(error)) => t.fault(key, "one fact too many", error.to_string()),
        None => t.fault(key, json.to_string(), "what this fact can be"),
    }
}

/// What a vector asks for: only the kind of the verdict, or all that it says.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    Kind(String),
    Whole(Whole),
}

/// A verdict that says more than its kind.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Whole {
    Allow(String),
    Deny(String),
    Refuse(String),
    Redirect(String),
    Set(BTreeMap<String, String>),
    Answer(WholeAnswer),
}

/// An answer; what a vector leaves out is not compared.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct WholeAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Expected {
    /// Reads what is written.
    ///
    /// # Errors
    /// The question has no such answer.
    pub(super) fn new(written: &Json, question: Question) -> Result<Self, String> {
        let expected = match written.as_str() {
            Some(kind) => Self::Kind(kind.to_owned()),
            None => {
                let whole = Whole::deserialize(written).map_err(|error| format!("`expect` cannot be read: {error}"))?;
                Self::Whole(whole.normal())
            }
        };
        match (Answer::words(question), &expected) {
            (None, Self::Kind(_)) => Ok(expected),
            (None, Self::Whole(_)) => Err("`expect` is the name of a template or \"none\"".to_owned()),
            (Some(words), _) if words.contains(&expected.kind()) => Ok(expected),
            (Some(words), _) => {
                Err(format!("`expect`: found \"{}\", expected one of {}", expected.kind(), words.join(", ")))
            }
        }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Kind(kind) => kind,
            Self::Whole(whole) => whole.kind(),
        }
    }

    /// Whether an answer is what is expected.
    pub(super) fn fits(&self, answer: &Answer) -> bool {
        match (self, whole(answer)) {
            (Self::Kind(kind), _) => *kind == super::word(&answer.to_json()),
            (Self::Whole(Whole::Answer(expected)), Some(Whole::Answer(found))) => expected.fits(&found),
            (Self::Whole(expected), found) => Some(expected) == found.as_ref(),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "\"{kind}\""),
            Self::Whole(whole) => write!(f, "{}", json!(whole)),
        }
    }
}

impl Whole {
    fn kind(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny(_) => "deny",
            Self::Refuse(_) => "refuse",
            Self::Redirect(_) => "redirect",
            Self::Set(_) => "set",
            Self::Answer(_) => "answer",
        }
    }

    /// With header names in lower case.
    fn normal(self) -> Self {
        let normal = |headers: BTreeMap<String, String>| {
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
        };
        match self {
            Self::Set(headers) => Self::Set(normal(headers)),
            Self::Answer(answer) => Self::Answer(WholeAnswer { headers: answer.headers.map(normal), ..answer }),
            other => other,
        }
    }
}

impl WholeAnswer {
    fn fits(&self, found: &Self) -> bool {
        (self.status.is_none() || self.status == found.status)
            && (self.headers.is_none() || self.headers == found.headers)
            && (self.body.is_none() || self.body == found.body)
    }
}

/// What an answer says beyond its kind.
fn whole(answer: &Answer) -> Option<Whole> {
    match answer {
        Answer::Access(Verdict::Allow(class)) => class.clone().map(Whole::Allow),
        Answer::Access(Verdict::Deny(reason)) => Some(Whole::Deny(reason.clone())),
        Answer::AuthMode(Some(AuthMode::Refuse(text))) => Some(Whole::Refuse(text.clone())),
        Answer::Filter(Action::Redirect(target)) => Some(Whole::Redirect(target.clone())),
        Answer::Filter(Action::Set(headers)) => Some(Whole::Set(by_name(headers))),
        Answer::Filter(Action::Answer(reply)) => Some(Whole::Answer(WholeAnswer {
            status: Some(reply.status),
            headers: Some(by_name(&reply.headers)),
            body: Some(reply.body.clone()),
        })),
        _ => None,
    }
}

/// Headers by name in lower case. Of one that is there several times, the values stand behind commas, which means the
/// same (RFC 9110, section 5.3).
fn by_name(headers: &[Header]) -> BTreeMap<String, String> {
    let mut named = BTreeMap::<String, String>::new();
    for Header { name, value } in headers {
        named
            .entry(name.to_ascii_lowercase())
            .and_modify(|values| *values = format!("{values}, {value}"))
            .or_insert_with(|| value.clone());
    }
    named
}

/// The settings that hold for a vector: its own, or the file's, or those of the command line.
pub(super) fn settings_of(vector: &Vector, file: &File, typed: &Json) -> Json {
    let own = vector.settings.clone().or_else(|| file.settings.clone()).unwrap_or_else(|| typed.clone());
    if own.is_object() { own } else { Json::Object(Map::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Reply;

    fn parse(text: &str) -> Result<File, String> {
        let source = Arc::new(Source::new("v.toml", text));
        config::read(&source, file).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_file_is_read_with_its_lines() {
        let text = "[settings]\na = 2026-11-24\n[[vector]]\nname = \"n\"\nexpect = \"deny\"\n\
                    facts = { tls-server-name = \"\", header = { A = \"b\" } }\n[[vector]]\nname = \"m\"\nexpect = 1\n";
        let file = parse(text).unwrap();
        assert_eq!(file.settings, Some(json!({"a": "2026-11-24"})));
        assert_eq!((file.vectors[0].line, file.vectors[1].line), (3, 7));
        let read = |fact: &str| file.vectors[0].given.read(&Fact::parse(fact).unwrap()).map(|value| value.to_json());
        assert_eq!(read("tls-server-name"), Some(Json::Null));
        assert_eq!(read("header(a)"), Some(json!("b")));
        assert_eq!(read("header(b)"), Some(Json::Null));
        assert_eq!(read("cookie(b)"), None);
    }

    #[test]
    fn what_is_not_known_fails_the_file_with_its_line() {
        for (vector, told) in [
            ("expects = \"allow\"", "v.toml:3: vector[0].expects: found an unknown key"),
            ("expect = \"allow\"\nfacts = { client = \"x\" }", "v.toml:4: vector[0].facts.client"),
            ("expect = \"allow\"\nfacts = { now = \"x\" }", "v.toml:4: vector[0].facts.now"),
            ("expect = \"allow\"\nfacts = { header = { a = 1 } }", "v.toml:4: vector[0].facts.header.a"),
            ("expect = \"allow\"\nsettings = 1", "v.toml:4: vector[0].settings"),
        ] {
            let faults = parse(&format!("[[vector]]\nname = \"n\"\n{vector}")).unwrap_err();
            assert!(faults.contains(told), "{vector}: {faults}");
        }
        assert!(parse("vector = []").unwrap_err().contains("no vectors"));
        assert!(parse("").unwrap_err().contains("no vectors"));
    }

    #[test]
    fn what_is_expected_must_be_an_answer_of_the_question() {
        for (written, question, told) in [
            (json!("refuse"), Question::Access, "found \"refuse\", expected one of allow, deny, abstain"),
            (json!({"redirect": "/"}), Question::Access, "found \"redirect\", expected one of"),
            (json!({"perhaps": "/"}), Question::Access, "unknown variant `perhaps`"),
            (json!({"allow": "a", "deny": "b"}), Question::Access, "`expect` cannot be read"),
            (json!(1), Question::Access, "`expect` cannot be read"),
            (json!({"answer": {"code": 503}}), Question::Filter, "unknown field `code`"),
            (json!({"deny": "x"}), Question::Template, "the name of a template"),
        ] {
            let error = Expected::new(&written, question).unwrap_err();
            assert!(error.contains(told), "{written}: {error}");
        }
    }

    #[test]
    fn of_an_answer_only_what_is_written_is_compared() {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let headers = vec![header("X-A", "1"), header("x-a", "2")];
        let answer = Answer::Filter(Action::Answer(Reply { status: 503, headers, body: "b".to_owned() }));
        let check = |written: Json, answer: &Answer, question, fits: bool| {
            assert_eq!(Expected::new(&written, question).unwrap().fits(answer), fits, "{written}");
        };
        for (written, fits) in [
            (json!("answer"), true),
            (json!("pass"), false),
            (json!({"answer": {}}), true),
            (json!({"answer": {"status": 503, "headers": {"x-A": "1, 2"}}}), true),
            (json!({"answer": {"headers": {}}}), false),
            (json!({"answer": {"body": "c"}}), false),
            (json!({"set": {}}), false),
        ] {
            check(written, &answer, Question::Filter, fits);
        }
        let allow = |class: Option<&str>| Answer::Access(Verdict::Allow(class.map(str::to_owned)));
        check(json!("allow"), &allow(Some("office")), Question::Access, true);
        check(json!({"allow": "office"}), &allow(Some("office")), Question::Access, true);
        check(json!({"allow": "office"}), &allow(None), Question::Access, false);
        check(json!("none"), &Answer::Template(None), Question::Template, true);
    }
}
