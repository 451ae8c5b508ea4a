//! What a decision read: facts by name, their values, and the list of both.
//!
//! Pure. Invariants: a fact is in a trace once, in the order of its first reading; what it says later is the same.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::HeaderName;
use serde_json::{Value as Json, json};

use doorward_vectors::facts::MOST_READS;
use doorward_vectors::{FactType, GivenFact, ValueType, unknown_fact};

use crate::answer::Form;

/// What a fact that takes a name is asked by.
macro_rules! asked_by {
    (Header) => { HeaderName };
    ($other:ident) => { Arc<str> };
}

/// The name as it is looked up; none where nothing can have it.
macro_rules! asked {
    (Header, $name:expr) => {
        $name.parse().ok()
    };
    (Attribute, $name:expr) => {
        Some(Arc::from($name.to_ascii_lowercase()))
    };
    ($other:ident, $name:expr) => {
        Some(Arc::from($name))
    };
}

/// Makes `Fact` of the table `doorward_vectors::facts`.
macro_rules! fact {
    (
        functions { $($plain:ident $pm:ident $pi:literal $pf:literal $pt:ident $ps:literal;)* }
        named { $($named:ident $nm:ident $ni:literal $nf:literal $nt:ident $ns:literal;)* }
        pairs { $($pair:ident $am:ident $ai:literal $af:literal $at:ident $as:literal;)* }
        others { $($other:ident $om:ident $oi:literal $of:literal $ot:ident $os:literal;)* }
    ) => {
        /// Something that a policy may ask, as in the WIT.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Fact {
            $(#[doc = $ps] $plain,)*
            $(#[doc = $ns] $named(asked_by!($named)),)*
            $(#[doc = $as] $pair(Arc<str>),)*
            $(#[doc = $os] $other,)*
        }

        impl Fact {
            /// The interface of the WIT, the function, and the name asked for.
            pub fn parts(&self) -> (&'static str, &'static str, Option<&str>) {
                match self {
                    $(Self::$plain => ($pi, $pf, None),)*
                    $(Self::$named(name) => ($ni, $nf, Some(name.as_ref())),)*
                    $(Self::$pair(both) => ($ai, $af, Some(both.as_ref())),)*
                    $(Self::$other => ($oi, $of, None),)*
                }
            }

            /// What it says.
            pub fn value_type(&self) -> ValueType {
                match self {
                    $(Self::$plain => ValueType::$pt,)*
                    $(Self::$named(_) => ValueType::$nt,)*
                    $(Self::$pair(_) => ValueType::$at,)*
                    $(Self::$other => ValueType::$ot,)*
                }
            }

            /// The fact of a function's name (`host`), with the name asked for where it takes one (`header`, `user-agent`).
            pub fn named(function: &str, name: Option<&str>) -> Option<Self> {
                match (function, name) {
                    $(($pf, None) => Some(Self::$plain),)*
                    $(($nf, Some(name)) => asked!($named, name).map(Self::$named),)*
                    $(($af, Some(both)) => Some(Self::$pair(both.into())),)*
                    $(($of, None) => Some(Self::$other),)*
                    _ => None,
                }
            }
        }
    };
}

doorward_vectors::facts!(fact);

impl Fact {
    /// What it is called where its value is left out: of a pair without the second, which the policy may have read elsewhere.
    fn masked(&self) -> String {
        match (self, self.parts()) {
            (Self::ListContains(_), (interface, function, Some(both))) => {
                format!("{interface}.{function}({} \u{2026})", both.split(' ').next().unwrap_or_default())
            }
            _ => self.to_string(),
        }
    }

    /// Bytes that it holds beside itself.
    pub fn size(&self) -> usize {
        self.parts().2.map_or(0, str::len)
    }

    /// Whether a decision that read it may be found again: the time of day and dice never say the same twice.
    pub fn is_cacheable(&self) -> bool {
        !matches!(self, Self::Now | Self::Random)
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
            Self::Missing | Self::Number(_) | Self::Flag(_) | Self::Form(_) => 0,
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

    /// From JSON, as the value of a fact; none where the fact cannot have it. Any fact may be missing: a login of a mail
    /// program has no request.
    pub fn from_json(fact: &Fact, json: &Json) -> Option<Value<'static>> {
        if json.is_null() {
            return Some(Value::Missing);
        }
        let value_type = fact.value_type();
        match value_type.check(json)? {
            Json::String(form) if value_type == ValueType::Form => Form::named(&form).map(Value::Form),
            Json::String(text) => Some(Value::Text(Cow::Owned(text))),
            Json::Array(texts) => {
                let texts = texts.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<String>>>().map(|texts| Value::Texts(Cow::Owned(texts)))
            }
            Json::Number(number) => number.as_u64().map(Value::Number),
            Json::Bool(flag) => Some(Value::Flag(flag)),
            Json::Null => Some(Value::Missing),
            Json::Object(_) => None,
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
                json!({"fact": fact.masked(), "masked": true})
            } else {
                json!({"fact": fact.to_string(), "value": value.to_json()})
            }
        };
        self.0.iter().map(read).collect()
    }
}

/// Facts that somebody wrote down: a record of the decision log, a test vector, a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    trace: Trace,
    /// Functions such as `header` of which all names are given: others are absent.
    complete: Vec<&'static str>,
}

impl Given {
    /// Those of a trace.
    pub fn from_trace(trace: Trace) -> Self {
        Self { trace, complete: Vec::new() }
    }

    /// Those of a test vector, with the functions of which all names are told.
    ///
    /// # Errors
    /// What is no fact, or cannot be said of one.
    pub fn of_vector(facts: &[GivenFact], complete: &[&'static FactType]) -> Result<Self, String> {
        let mut given = Self { trace: Trace::default(), complete: complete.iter().map(|fact| fact.function).collect() };
        for GivenFact { fact, name, value } in facts {
            let known = Fact::named(fact.function, name.as_deref()).ok_or_else(|| unknown_fact(fact.function))?;
            let value = Value::from_json(&known, value).ok_or_else(|| format!("{known} cannot be {value}"))?;
            given.give(known, value).map_err(|error| error.to_string())?;
        }
        Ok(given)
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
        self.complete.extend(FactType::of(function).filter(|fact| fact.is_named).map(|fact| fact.function));
    }

    /// What is given of a fact.
    pub fn read(&self, fact: &Fact) -> Option<Value<'static>> {
        self.trace.get(fact).cloned().or_else(|| {
            let known = FactType::of(fact.parts().1).filter(|known| self.complete.contains(&known.function))?;
            Some(Value::from_json(fact, &known.absent()).unwrap_or(Value::Missing))
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
            let is_named = FactType::of(key).is_some_and(|fact| fact.is_named);
            if let (Some(names), true) = (value.as_object(), is_named) {
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
        let Some(fact) = fact else { return problems.push(unknown_fact(key)) };
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
        let plain = doorward_vectors::FACTS.iter().filter_map(|fact| Fact::named(fact.function, None));
        for fact in plain.chain(named) {
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
    fn what_was_looked_for_on_a_list_is_masked_with_the_answer() {
        let mut trace = Trace::default();
        trace.push(Fact::ListContains("vips ann@a.test".into()), Value::Flag(true)).unwrap();
        let (open, masked) = (trace.to_json(|_| false), trace.to_json(|_| true));
        assert_eq!(open, json!([{"fact": "lists.list-contains(vips ann@a.test)", "value": true}]));
        assert_eq!(masked, json!([{"fact": "lists.list-contains(vips \u{2026})", "masked": true}]));
    }

    #[test]
    fn a_fact_that_was_missing_is_missing_again() {
        for known in doorward_vectors::FACTS {
            let fact = Fact::named(known.function, known.is_named.then_some("x")).unwrap();
            let written = Value::Missing.to_json();
            assert_eq!(Value::from_json(&fact, &written), Some(Value::Missing), "{fact}");
        }
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
