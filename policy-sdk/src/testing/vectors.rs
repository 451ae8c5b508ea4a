//! Test vectors: a TOML file of facts and the verdicts they must bring. The functions here run one natively;
//! `doorward policy test` runs the same file on the component.
//!
//! ```toml
//! [settings]                    # for all vectors; none is `{}`
//! default = "deny"
//!
//! [[vector]]
//! name = "a sentence"
//! expect = "deny"               # the kind of the verdict, or the whole: expect = { deny = "no rule allows it" }
//! settings = { rules = [] }     # instead of the common ones
//! [vector.facts]                # named as in the WIT
//! client-address = "192.0.2.7"
//! header = { user-agent = "x" } # these and no others; likewise `query`, `cookie`, `attribute`
//! tls-server-name = ""          # there is none
//! now = "2026-12-01T08:00Z"     # or seconds since 1970
//! ```
//!
//! | question | kinds | the whole |
//! | --- | --- | --- |
//! | `access` | `allow`, `deny`, `abstain` | `{ allow = "class" }`, `{ deny = "reason" }` |
//! | `device` | `desktop`, `mobile`, `tablet`, `bot`, `none` | |
//! | `template` | the name of a template, or `none` | |
//! | `auth-mode` | `ldap-bind`, `ldap-password`, `back-end`, `refuse`, `none` | `{ refuse = "text" }` |
//! | `filter` | `pass`, `set`, `redirect`, `answer` | `{ set = { x-a = "1" } }`, `{ redirect = "/x" }`, `{ answer = { status = 503, headers = { retry-after = "60" }, body = "…" } }` |
//!
//! Of an answer, what is left out is not compared. Header names are compared without letter case. For `template`, the
//! parameter is the fact `form`.
//!
//! A key that is not known fails the whole file. A fact that the policy reads and the vector does not give fails the
//! vector and is named.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Given, configure};
use crate::date::DateTime;
use crate::questions::{AccessPolicy, AuthModePolicy, DevicePolicy, FilterPolicy, TemplatePolicy};
use crate::questions::{Action, Form, Header, Mode, Verdict};
use crate::settings::Policy;

/// Runs a file of vectors on an access policy, and panics with a list of all that fail.
pub fn access<P: AccessPolicy>(file: &str) {
    let kinds = Kinds::These(&["allow", "deny", "abstain"]);
    run(file, kinds, |policy: &P, given, _| match policy.check(&given.connection()) {
        Verdict::Allow(class) => Found { kind: "allow".into(), whole: class.map(Whole::Allow) },
        Verdict::Deny(reason) => Found { kind: "deny".into(), whole: Some(Whole::Deny(reason)) },
        Verdict::Abstain => Found::kind("abstain"),
    });
}

/// Runs a file of vectors on a device policy, and panics with a list of all that fail.
pub fn device<P: DevicePolicy>(file: &str) {
    let kinds = Kinds::These(&["desktop", "mobile", "tablet", "bot", "none"]);
    run(file, kinds, |policy: &P, given, _| match policy.classify(&given.request()) {
        Some(Form::Desktop) => Found::kind("desktop"),
        Some(Form::Mobile) => Found::kind("mobile"),
        Some(Form::Tablet) => Found::kind("tablet"),
        Some(Form::Bot) => Found::kind("bot"),
        None => Found::kind("none"),
    });
}

/// Runs a file of vectors on a template policy, and panics with a list of all that fail.
pub fn template<P: TemplatePolicy>(file: &str) {
    run(file, Kinds::Any, |policy: &P, given, form| {
        let Some(form) = form else { panic!("the question has the parameter `form`, which the vector does not give") };
        Found::kind(policy.select(&given.request(), form).as_deref().unwrap_or("none"))
    });
}

/// Runs a file of vectors on an auth-mode policy, and panics with a list of all that fail.
pub fn auth_mode<P: AuthModePolicy>(file: &str) {
    let kinds = Kinds::These(&["ldap-bind", "ldap-password", "back-end", "refuse", "none"]);
    run(file, kinds, |policy: &P, given, _| match policy.decide(&given.login()) {
        Some(Mode::LdapBind) => Found::kind("ldap-bind"),
        Some(Mode::LdapPassword) => Found::kind("ldap-password"),
        Some(Mode::BackEnd) => Found::kind("back-end"),
        Some(Mode::Refuse(text)) => Found { kind: "refuse".into(), whole: Some(Whole::Refuse(text)) },
        None => Found::kind("none"),
    });
}

/// Runs a file of vectors on a filter policy, and panics with a list of all that fail.
pub fn filter<P: FilterPolicy>(file: &str) {
    let kinds = Kinds::These(&["pass", "set", "redirect", "answer"]);
    run(file, kinds, |policy: &P, given, _| match policy.decide(&given.request()) {
        Action::Pass => Found::kind("pass"),
        Action::Set(headers) => Found { kind: "set".into(), whole: Some(Whole::Set(by_name(headers))) },
        Action::Redirect(target) => Found { kind: "redirect".into(), whole: Some(Whole::Redirect(target)) },
        Action::Answer(answer) => {
            let (headers, body) = (Some(by_name(answer.headers)), Some(answer.body));
            let whole = Whole::Answer(WholeAnswer { status: Some(answer.status), headers, body });
            Found { kind: "answer".into(), whole: Some(whole) }
        }
    });
}

/// The file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default)]
    settings: toml::Table,
    vector: Vec<Vector>,
}

/// One vector.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Vector {
    name: String,
    /// A text or a table: see `Expected`.
    expect: toml::Value,
    settings: Option<toml::Table>,
    #[serde(default)]
    facts: Facts,
}

/// The facts as written; those that have names are told in full by one table.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Facts {
    client_address: Option<String>,
    client_port: Option<u16>,
    listener: Option<String>,
    local_address: Option<String>,
    tls_server_name: Option<String>,
    tls_client_subject: Option<String>,
    now: Option<Moment>,
    method: Option<String>,
    scheme: Option<String>,
    host: Option<String>,
    path: Option<String>,
    target: Option<String>,
    query: Option<BTreeMap<String, String>>,
    header: Option<BTreeMap<String, String>>,
    cookie: Option<BTreeMap<String, String>>,
    username: Option<String>,
    known: Option<bool>,
    attribute: Option<BTreeMap<String, Vec<String>>>,
    recent_failures_from_address: Option<u32>,
    recent_failures_for_user: Option<u32>,
    /// No fact but the parameter of `template`.
    form: Option<Form>,
}

/// Seconds since 1970, or a time as RFC 3339 writes it: as a text, or as TOML's own.
#[derive(Deserialize)]
#[serde(try_from = "toml::Value")]
struct Moment(u64);

impl TryFrom<toml::Value> for Moment {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Moment, String> {
        let seconds = match &value {
            toml::Value::Integer(seconds) => Some(*seconds),
            toml::Value::String(text) => text.parse().ok().map(|time: DateTime| time.seconds()),
            toml::Value::Datetime(time) => time.to_string().parse().ok().map(|time: DateTime| time.seconds()),
            _ => None,
        };
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let expected = "expected seconds since 1970 or a time such as 2026-12-01T08:00Z";
        seconds.map(Moment).ok_or_else(|| format!("found {}, {expected}", json_of(value)))
    }
}

/// What a vector asks for: only the kind of the verdict, or all that it says.
enum Expected {
    Kind(String),
    Whole(Whole),
}

/// What a policy answered.
struct Found {
    kind: String,
    whole: Option<Whole>,
}

/// A verdict that says more than its kind.
#[derive(Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Whole {
    Allow(String),
    Deny(String),
    Refuse(String),
    Redirect(String),
    Set(BTreeMap<String, String>),
    Answer(WholeAnswer),
}

/// An answer; what a vector leaves out is not compared.
#[derive(Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WholeAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

/// The kinds of verdict a question has.
#[derive(Clone, Copy)]
enum Kinds {
    These(&'static [&'static str]),
    /// Any text: the name of a template.
    Any,
}

/// Runs every vector of a file, and panics if one fails.
fn run<P: Policy>(file: &str, kinds: Kinds, ask: impl Fn(&P, Given, Option<Form>) -> Found) {
    let file: File = toml::from_str(file).unwrap_or_else(|error| panic!("the vectors cannot be read: {error}"));
    assert!(!file.vector.is_empty(), "the file has no vectors");
    let count = file.vector.len();
    let run_one = |vector: Vector| {
        let name = vector.name.clone();
        let failure = check(vector, &file.settings, kinds, &ask).err()?;
        Some(format!("{name}: {failure}"))
    };
    let failures: Vec<String> = file.vector.into_iter().filter_map(run_one).collect();
    assert!(failures.is_empty(), "{} of {count} vectors failed:\n{}", failures.len(), failures.join("\n"));
}

/// Runs one vector, or tells how it failed.
fn check<P: Policy>(
    vector: Vector,
    common: &toml::Table,
    kinds: Kinds,
    ask: impl Fn(&P, Given, Option<Form>) -> Found,
) -> Result<(), String> {
    let expected = Expected::new(vector.expect, kinds)?;
    let settings = json_of(toml::Value::Table(vector.settings.unwrap_or_else(|| common.clone())));
    let policy: P = configure(&settings.to_string()).map_err(|problems| {
        let problems: Vec<_> =
            problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
        format!("the policy does not take the settings: {}", problems.join("; "))
    })?;
    let form = vector.facts.form;
    let given = vector.facts.give();
    // A fact that was not given panics when it is read, and so may the policy: one vector's failure, not the file's.
    let found = catch_unwind(AssertUnwindSafe(|| ask(&policy, given, form)))
        .map_err(|panic| super::message_of(panic.as_ref()).to_string())?;
    if expected.fits(&found) { Ok(()) } else { Err(format!("expected {expected}, found {found}")) }
}

impl Expected {
    fn new(value: toml::Value, kinds: Kinds) -> Result<Expected, String> {
        let expected = match value {
            toml::Value::String(kind) => Expected::Kind(kind),
            table => {
                let whole = Whole::deserialize(table).map_err(|error| format!("`expect` cannot be read: {error}"))?;
                Expected::Whole(whole.normal())
            }
        };
        match (kinds, &expected) {
            (Kinds::Any, Expected::Kind(_)) => Ok(expected),
            (Kinds::Any, Expected::Whole(_)) => Err("`expect` is the name of a template or \"none\"".to_string()),
            (Kinds::These(kinds), _) if kinds.contains(&expected.kind()) => Ok(expected),
            (Kinds::These(kinds), _) => {
                Err(format!("`expect`: found \"{}\", expected one of {}", expected.kind(), kinds.join(", ")))
            }
        }
    }

    fn kind(&self) -> &str {
        match self {
            Expected::Kind(kind) => kind,
            Expected::Whole(whole) => whole.kind(),
        }
    }

    fn fits(&self, found: &Found) -> bool {
        match (self, &found.whole) {
            (Expected::Kind(kind), _) => *kind == found.kind,
            (Expected::Whole(Whole::Answer(expected)), Some(Whole::Answer(found))) => expected.fits(found),
            (Expected::Whole(expected), found) => Some(expected) == found.as_ref(),
        }
    }
}

impl Found {
    fn kind(kind: &str) -> Found {
        Found { kind: kind.to_string(), whole: None }
    }
}

impl Whole {
    fn kind(&self) -> &'static str {
        match self {
            Whole::Allow(_) => "allow",
            Whole::Deny(_) => "deny",
            Whole::Refuse(_) => "refuse",
            Whole::Redirect(_) => "redirect",
            Whole::Set(_) => "set",
            Whole::Answer(_) => "answer",
        }
    }

    /// With header names in lower case, as `by_name` makes them.
    fn normal(self) -> Whole {
        let normal = |headers: BTreeMap<String, String>| {
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
        };
        match self {
            Whole::Set(headers) => Whole::Set(normal(headers)),
            Whole::Answer(answer) => Whole::Answer(WholeAnswer { headers: answer.headers.map(normal), ..answer }),
            other => other,
        }
    }
}

impl WholeAnswer {
    fn fits(&self, found: &WholeAnswer) -> bool {
        (self.status.is_none() || self.status == found.status)
            && (self.headers.is_none() || self.headers == found.headers)
            && (self.body.is_none() || self.body == found.body)
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expected::Kind(kind) => write!(f, "\"{kind}\""),
            Expected::Whole(whole) => write!(f, "{}", json!(whole)),
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.whole {
            None => write!(f, "\"{}\"", self.kind),
            Some(whole) => write!(f, "{}", json!(whole)),
        }
    }
}

/// Headers by name in lower case. Of one that is there several times, the values stand behind commas, which means the
/// same (RFC 9110, section 5.3).
fn by_name(headers: Vec<Header>) -> BTreeMap<String, String> {
    let mut named = BTreeMap::<String, String>::new();
    for Header { name, value } in headers {
        named
            .entry(name.to_ascii_lowercase())
            .and_modify(|values| *values = format!("{values}, {value}"))
            .or_insert(value);
    }
    named
}

impl Facts {
    /// The facts as the policy can read them.
    fn give(self) -> Given {
        // An empty text stands for none where a fact may be none: TOML has no word for it.
        let perhaps = |text: Option<String>| text.map(|text| if text.is_empty() { Value::Null } else { json!(text) });
        let plain = [
            ("client_address", self.client_address.map(|value| json!(value))),
            ("client_port", self.client_port.map(|value| json!(value))),
            ("listener", self.listener.map(|value| json!(value))),
            ("local_address", self.local_address.map(|value| json!(value))),
            ("tls_server_name", perhaps(self.tls_server_name)),
            ("tls_client_subject", perhaps(self.tls_client_subject)),
            ("now", self.now.map(|Moment(seconds)| json!(seconds))),
            ("method", self.method.map(|value| json!(value))),
            ("scheme", self.scheme.map(|value| json!(value))),
            ("host", self.host.map(|value| json!(value))),
            ("path", self.path.map(|value| json!(value))),
            ("target", self.target.map(|value| json!(value))),
            ("username", self.username.map(|value| json!(value))),
            ("known", self.known.map(|value| json!(value))),
            ("recent_failures_from_address", self.recent_failures_from_address.map(|value| json!(value))),
            ("recent_failures_for_user", self.recent_failures_for_user.map(|value| json!(value))),
        ];
        let given = plain.into_iter().fold(Given::new(), |given, (function, value)| match value {
            Some(value) => given.give(function, None, value),
            None => given,
        });
        let given = told(given, "query", self.query);
        let given = told(given, "header", self.header);
        let given = told(given, "cookie", self.cookie);
        told(given, "attribute", self.attribute)
    }
}

/// Gives all there is of a fact with names.
fn told<V: Serialize>(mut given: Given, function: &'static str, table: Option<BTreeMap<String, V>>) -> Given {
    let Some(table) = table else { return given };
    given.told.insert(function);
    table.into_iter().fold(given, |given, (name, value)| given.give(function, Some(&name), json!(value)))
}

/// Settings as Doorward hands them over: dates become texts.
fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(truth) => json!(truth),
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Array(values) => values.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json_of(value))).collect(),
    }
}

#[cfg(test)]
mod tests;
