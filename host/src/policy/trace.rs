//! What a decision read: facts by name, their values, and the list of both.
//!
//! Pure. Invariants: a fact is in a trace once, in the order of its first reading; what it says later is the same.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hyper::header::HeaderName;
use serde_json::{Value as Json, json};

use super::answer::Form;
use super::date::DateTime;
use crate::config;

/// A decision may read so many facts. The default policies read at most four; a guest that reads without end is
/// stopped here, before its trace costs memory.
const MOST_READS: usize = 64;

/// Something that a policy may ask, as in the WIT.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// `connection.client-address`
    ClientAddress,
    /// `connection.client-port`
    ClientPort,
    /// `connection.listener`
    Listener,
    /// `connection.local-address`
    LocalAddress,
    /// `connection.tls-server-name`
    TlsServerName,
    /// `connection.tls-client-subject`
    TlsClientSubject,
    /// `request.method`
    Method,
    /// `request.scheme`
    Scheme,
    /// `request.host`
    Host,
    /// `request.path`
    Path,
    /// `request.target`
    Target,
    /// `request.query(name)`
    Query(Arc<str>),
    /// `request.header(name)`
    Header(HeaderName),
    /// `request.cookie(name)`
    Cookie(Arc<str>),
    /// `login.username`
    Username,
    /// `login.known`
    Known,
    /// `login.attribute(name)`
    Attribute(Arc<str>),
    /// `login.recent-failures-from-address`
    FailuresFromAddress,
    /// `login.recent-failures-for-user`
    FailuresForUser,
    /// `template.form`: the parameter of `template.select`.
    Form,
    /// `clock.now`; WASI's clocks too.
    Now,
    /// `wasi.random`: the seed of what WASI's dice show in this decision.
    Random,
}

/// Facts without a parameter, by interface and name.
const PLAIN: [(&str, &str, Fact); 18] = [
    ("connection", "client-address", Fact::ClientAddress),
    ("connection", "client-port", Fact::ClientPort),
    ("connection", "listener", Fact::Listener),
    ("connection", "local-address", Fact::LocalAddress),
    ("connection", "tls-server-name", Fact::TlsServerName),
    ("connection", "tls-client-subject", Fact::TlsClientSubject),
    ("request", "method", Fact::Method),
    ("request", "scheme", Fact::Scheme),
    ("request", "host", Fact::Host),
    ("request", "path", Fact::Path),
    ("request", "target", Fact::Target),
    ("login", "username", Fact::Username),
    ("login", "known", Fact::Known),
    ("login", "recent-failures-from-address", Fact::FailuresFromAddress),
    ("login", "recent-failures-for-user", Fact::FailuresForUser),
    ("template", "form", Fact::Form),
    ("clock", "now", Fact::Now),
    ("wasi", "random", Fact::Random),
];

impl Fact {
    /// Whether a decision that read it may be found again: the time of day and dice never say the same twice.
    pub fn is_cacheable(&self) -> bool {
        !matches!(self, Self::Now | Self::Random)
    }

    /// The interface of the WIT, the function, and the name asked for.
    pub fn parts(&self) -> (&'static str, &'static str, Option<&str>) {
        match self {
            Self::Query(name) => ("request", "query", Some(name)),
            Self::Header(name) => ("request", "header", Some(name.as_str())),
            Self::Cookie(name) => ("request", "cookie", Some(name)),
            Self::Attribute(name) => ("login", "attribute", Some(name)),
            plain => {
                let found = PLAIN.iter().find(|(.., fact)| fact == plain);
                found.map_or(("", "", None), |(interface, function, _)| (interface, function, None))
            }
        }
    }

    /// The fact of a function's name (`host`), with the name asked for where it takes one (`header`, `user-agent`).
    pub fn named(function: &str, name: Option<&str>) -> Option<Self> {
        let Some(name) = name else {
            return PLAIN.iter().find(|(_, plain, _)| *plain == function).map(|(.., fact)| fact.clone());
        };
        match function {
            "query" => Some(Self::Query(name.into())),
            "header" => name.parse().ok().map(Self::Header),
            "cookie" => Some(Self::Cookie(name.into())),
            "attribute" => Some(Self::Attribute(name.to_ascii_lowercase().into())),
            _ => None,
        }
    }

    /// Reads what `Display` writes: `request.header(user-agent)`. The interface may be left out.
    pub fn parse(text: &str) -> Option<Self> {
        let (function, name) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((function, name)) => (function, Some(name)),
            None => (text, None),
        };
        let (interface, function) = match function.split_once('.') {
            Some((interface, function)) => (Some(interface), function),
            None => (None, function),
        };
        let fact = Self::named(function, name)?;
        interface.is_none_or(|interface| fact.parts().0 == interface).then_some(fact)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (interface, function, Some(name)) => write!(f, "{interface}.{function}({name})"),
            (interface, function, None) => write!(f, "{interface}.{function}"),
        }
    }
}

/// What a fact says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// It is not there.
    Missing,
    /// A text.
    Text(Cow<'a, str>),
    /// A list of texts.
    Texts(Cow<'a, [String]>),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// The form of a device.
    Form(Form),
}

impl<'a> Value<'a> {
    /// A text that is borrowed.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A text that may be missing.
    pub fn optional(text: Option<Cow<'a, str>>) -> Self {
        text.map_or(Self::Missing, Self::Text)
    }

    /// The same, with everything in it its own.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Missing => Value::Missing,
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Texts(texts) => Value::Texts(Cow::Owned(texts.into_owned())),
            Self::Number(number) => Value::Number(number),
            Self::Flag(flag) => Value::Flag(flag),
            Self::Form(form) => Value::Form(form),
        }
    }

    /// Bytes that it holds beside itself.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
            _ => 0,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Missing => Json::Null,
            Self::Text(text) => json!(text),
            Self::Texts(texts) => json!(texts),
            Self::Number(number) => json!(number),
            Self::Flag(flag) => json!(flag),
            Self::Form(form) => json!(form.name()),
        }
    }

    /// From JSON, as the value of a fact; none where the fact cannot have it.
    pub fn from_json(fact: &Fact, json: &Json) -> Option<Value<'static>> {
        let text = |json: &Json| json.as_str().map(|text| Value::Text(Cow::Owned(text.to_owned())));
        match fact {
            Fact::ClientPort => json.as_u64().filter(|port| *port <= 0xffff).map(Value::Number),
            Fact::FailuresFromAddress | Fact::FailuresForUser => {
                json.as_u64().filter(|count| u32::try_from(*count).is_ok()).map(Value::Number)
            }
            Fact::Now => {
                let seconds = |text: &str| u64::try_from(text.parse::<DateTime>().ok()?.seconds()).ok();
                json.as_u64().or_else(|| seconds(json.as_str()?)).map(Value::Number)
            }
            Fact::Random => json.as_u64().map(Value::Number),
            Fact::Known => json.as_bool().map(Value::Flag),
            Fact::Form => json.as_str().and_then(Form::named).map(Value::Form),
            Fact::Attribute(_) => {
                let texts = json.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<String>>>().map(|texts| Value::Texts(Cow::Owned(texts)))
            }
            Fact::TlsServerName | Fact::TlsClientSubject | Fact::Query(_) | Fact::Header(_) | Fact::Cookie(_) => {
                if json.is_null() { Some(Value::Missing) } else { text(json) }
            }
            _ => text(json),
        }
    }
}

/// The reads of one decision, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(Vec<(Fact, Value<'static>)>);

/// A decision read more facts than one may.
#[derive(Debug, thiserror::Error)]
#[error("it read more than {MOST_READS} facts")]
pub struct TooManyReads;

impl Trace {
    /// The reads.
    pub fn reads(&self) -> &[(Fact, Value<'static>)] {
        &self.0
    }

    /// What a fact said, if it was read.
    pub fn get(&self, fact: &Fact) -> Option<&Value<'static>> {
        self.0.iter().find(|(read, _)| read == fact).map(|(_, value)| value)
    }

    /// Notes a read of a fact that is not there yet.
    ///
    /// # Errors
    /// There are too many.
    pub fn push(&mut self, fact: Fact, value: Value<'static>) -> Result<(), TooManyReads> {
        if self.0.len() >= MOST_READS {
            return Err(TooManyReads);
        }
        self.0.push((fact, value));
        Ok(())
    }

    /// Whether a decision that read this may be found again.
    pub fn is_cacheable(&self) -> bool {
        self.0.iter().all(|(fact, _)| fact.is_cacheable())
    }

    /// As a JSON object, with masked values left out.
    pub fn to_json(&self, masked: impl Fn(&Fact) -> bool) -> Json {
        let read = |(fact, value): &(Fact, Value<'static>)| {
            if masked(fact) {
                json!({"fact": fact.to_string(), "masked": true})
            } else {
                json!({"fact": fact.to_string(), "value": value.to_json()})
            }
        };
        self.0.iter().map(read).collect()
    }
}

/// What is said of a name that is no fact: which is meant, and which there are.
pub fn unknown(name: &str) -> String {
    let plain = || PLAIN.iter().map(|(_, function, _)| *function);
    // Of `header.accept`, `login.host` and `query(x)` the word that may be wrong.
    let word = name.split(['(', '=']).next().unwrap_or(name);
    let words: Vec<&str> = word.split('.').collect();
    let near = words.iter().find_map(|word| config::nearest(word, plain().chain(NAMED)));
    let written = |word: &str| if NAMED.contains(&word) { format!("{word}.NAME") } else { word.to_owned() };
    let meant = near.map_or_else(|| ";".to_owned(), |near| format!("; did you mean {}?", written(near)));
    let known: Vec<String> = plain().chain(NAMED).map(written).collect();
    format!("{name} is no fact{meant} the facts are {}", known.join(", "))
}

/// Facts that somebody wrote down: a record of the decision log, a test vector, a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    trace: Trace,
    /// Functions such as `header` of which all names are given: others are absent.
    complete: Vec<&'static str>,
}

/// The facts that take a name.
const NAMED: [&str; 4] = ["query", "header", "cookie", "attribute"];

impl Given {
    /// Those of a trace.
    pub fn from_trace(trace: Trace) -> Self {
        Self { trace, complete: Vec::new() }
    }

    /// Gives a fact; the last word counts.
    ///
    /// # Errors
    /// More facts than a decision may read.
    pub fn give(&mut self, fact: Fact, value: Value<'static>) -> Result<(), TooManyReads> {
        self.trace.0.retain(|(given, _)| *given != fact);
        self.trace.push(fact, value)
    }

    /// Says that every name of this function is given.
    pub fn complete(&mut self, function: &str) {
        self.complete.extend(NAMED.iter().find(|named| **named == function));
    }

    /// What is given of a fact.
    pub fn read(&self, fact: &Fact) -> Option<Value<'static>> {
        self.trace.get(fact).cloned().or_else(|| {
            let absent =
                if matches!(fact, Fact::Attribute(_)) { Value::Texts(Cow::Owned(Vec::new())) } else { Value::Missing };
            self.complete.contains(&fact.parts().1).then_some(absent)
        })
    }

    /// Reads facts from a JSON object: `{"host": "a.test", "header": {"user-agent": "x"}}`, or with the names of a
    /// record (`request.header(user-agent)`).
    ///
    /// # Errors
    /// Each key that is no fact, and each value that it cannot have.
    pub fn from_json(json: &Json) -> Result<Self, Vec<String>> {
        let mut given = Self::default();
        let mut problems = Vec::new();
        let Some(facts) = json.as_object() else { return Err(vec!["facts are not a table".to_owned()]) };
        for (key, value) in facts {
            if let (Some(names), true) = (value.as_object(), NAMED.contains(&key.as_str())) {
                given.complete(key);
                for (name, value) in names {
                    given.put(Fact::named(key, Some(name)), &format!("{key}.{name}"), value, &mut problems);
                }
            } else {
                given.put(Fact::parse(key), key, value, &mut problems);
            }
        }
        if problems.is_empty() { Ok(given) } else { Err(problems) }
    }

    fn put(&mut self, fact: Option<Fact>, key: &str, json: &Json, problems: &mut Vec<String>) {
        let Some(fact) = fact else { return problems.push(unknown(key)) };
        match Value::from_json(&fact, json).map(|value| self.give(fact, value)) {
            Some(Ok(())) => {}
            Some(Err(error)) => problems.push(format!("{key}: {error}")),
            None => problems.push(format!("{key} cannot be {json}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_read_as_it_is_written() {
        let named = [
            Fact::Query("a".into()),
            Fact::Header("user-agent".parse().unwrap()),
            Fact::Cookie("b(c)".into()),
            Fact::Attribute("mailhost".into()),
        ];
        for fact in PLAIN.iter().map(|(.., fact)| fact.clone()).chain(named) {
            let text = fact.to_string();
            assert_eq!(Fact::parse(&text), Some(fact.clone()), "{text}");
            let short = text.split_once('.').unwrap().1;
            assert_eq!(Fact::parse(short), Some(fact), "{short}");
        }
        for odd in ["", "hosts", "login.host", "header", "header(a b)", "host(x)", "request."] {
            assert_eq!(Fact::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn given_facts_are_read_from_json_and_wrong_ones_told_together() {
        let json =
            json!({"host": "a.test", "header": {"User-Agent": "x"}, "known": true, "login.attribute(mail)": ["a"]});
        let given = Given::from_json(&json).unwrap();
        assert_eq!(given.read(&Fact::Host), Some(Value::text("a.test")));
        assert_eq!(given.read(&Fact::Header("user-agent".parse().unwrap())), Some(Value::text("x")));
        assert_eq!(given.read(&Fact::Header("accept".parse().unwrap())), Some(Value::Missing));
        assert_eq!(given.read(&Fact::Query("q".into())), None);
        let wrong = json!({"hots": "a", "client-port": 70000, "form": "phone", "header": {"a b": "c"}});
        assert_eq!(Given::from_json(&wrong).unwrap_err().len(), 4);
    }

    #[test]
    fn a_guest_that_reads_without_end_is_stopped() {
        let mut trace = Trace::default();
        for n in 0..MOST_READS {
            trace.push(Fact::Query(n.to_string().into()), Value::Missing).unwrap();
        }
        assert!(trace.push(Fact::Host, Value::Missing).is_err());
    }
}
