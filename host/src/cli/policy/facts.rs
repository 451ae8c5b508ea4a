//! Facts as they are typed: `--fact host=a.test`, `--fact header.user-agent=x`, or a file of them.

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use doorward_vectors::{FactType, ValueType, unknown_fact};
use serde_json::{Value as Json, json};

use super::Stop;
use super::subject::table_of;
use crate::policy::{Fact, Given, Recorded, Value};

/// A longer line is no record: 64 facts of 8 KiB, escaped.
const LONGEST_RECORD: u64 = 1 << 20;

/// Facts of one decision.
#[derive(Debug, Args)]
pub(super) struct Typed {
    /// A fact: host=mail.example.com, header.user-agent=…, query.NAME=…, cookie.NAME=…, attribute.NAME=A,B. Where one
    /// name is given, the other names are absent.
    #[arg(long = "fact", value_name = "NAME=VALUE")]
    facts: Vec<String>,
    /// A file of facts in TOML, or in JSON if its name ends in .json: the table `facts` of a test vector. What --fact
    /// says counts more.
    #[arg(long = "facts", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A line of a decision log, or - for the first line of standard input: the facts that were read then. What was masked
    /// is to be given by --fact.
    #[arg(long, value_name = "LINE", conflicts_with = "file")]
    record: Option<String>,
}

impl Typed {
    /// Whether nothing was typed.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.file.is_none() && self.record.is_none()
    }

    /// The record that they are of, if they are of one.
    ///
    /// # Errors
    /// It is none.
    fn recorded(&self) -> Result<Option<Recorded>, Stop> {
        let mut line = match &self.record {
            None => return Ok(None),
            Some(line) => line.clone(),
        };
        if line == "-" {
            line.clear();
            let read = std::io::stdin().lock().take(LONGEST_RECORD).read_line(&mut line);
            read.map_err(|error| Stop::Unusable(format!("standard input: {error}")))?;
        }
        let recorded = Recorded::parse(line.trim());
        recorded.map(Some).map_err(|error| Stop::Unusable(format!("--record: no record of a decision: {error}")))
    }

    /// The facts.
    ///
    /// # Errors
    /// All that are none, or cannot have that value.
    pub(super) fn given(&self) -> Result<Arc<Given>, Stop> {
        let mut given = self.recorded()?.map_or_else(Given::default, |record| Given::from_trace(record.trace));
        if let Some(file) = &self.file {
            let mut table = table_of(file)?;
            for (name, value) in table.as_object_mut().into_iter().flatten() {
                let none = Fact::parse(name).is_some_and(|fact| is_none(&fact, value.as_str()));
                *value = if none { Json::Null } else { value.take() };
            }
            given = Given::from_json(&table)
                .map_err(|problems| Stop::Unusable(format!("{}: {}", file.display(), problems.join("; "))))?;
        }
        let problems: Vec<String> = self.facts.iter().filter_map(|text| put(&mut given, text).err()).collect();
        if problems.is_empty() { Ok(Arc::new(given)) } else { Err(Stop::Unusable(problems.join("; "))) }
    }
}

/// An empty text stands for none where a fact may be none and is hardly ever empty, as in test vectors.
fn is_none(fact: &Fact, text: Option<&str>) -> bool {
    let fact = FactType::of(fact.parts().1);
    text.is_some_and(|text| fact.is_some_and(|fact| fact.is_none(text)))
}

fn put(given: &mut Given, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("--fact {text}: expected NAME=VALUE"))?;
    let dotted = name.split_once('.').filter(|(function, _)| FactType::of(function).is_some_and(|fact| fact.is_named));
    let fact = match dotted {
        Some((function, name)) => Fact::named(function, Some(name)),
        None => Fact::parse(name),
    };
    let fact = fact.ok_or_else(|| format!("--fact {text}: {}", unknown_fact(name)))?;
    if let (_, function, Some(_)) = fact.parts() {
        given.complete(function);
    }
    let value = value_of(&fact, value)
        .ok_or_else(|| format!("--fact {text}: {name} cannot be that, expected {}", fact.value_type().expected()))?;
    given.give(fact, value).map_err(|error| error.to_string())
}

/// A value as it is typed, without any quotes.
fn value_of(fact: &Fact, text: &str) -> Option<Value<'static>> {
    if is_none(fact, Some(text)) {
        return Some(Value::Missing);
    }
    let json = match fact.value_type() {
        ValueType::Moment => text.parse::<u64>().map_or_else(|_| json!(text), |seconds| json!(seconds)),
        ValueType::Port | ValueType::Count | ValueType::Seed => json!(text.parse::<u64>().ok()?),
        ValueType::Flag => json!(text.parse::<bool>().ok()?),
        ValueType::Texts => text.split(',').filter(|text| !text.is_empty()).collect(),
        ValueType::Text | ValueType::Optional | ValueType::Form => json!(text),
    };
    Value::from_json(fact, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_typed_as_the_interface_names_them() {
        let mut given = Given::default();
        for text in [
            "host=mail.example.com",
            "header.User-Agent=a=b",
            "request.cookie(look)=blue",
            "attribute.mail=a@x,b@x",
            "known=true",
            "now=180",
            "form=mobile",
            "tls-server-name=",
        ] {
            put(&mut given, text).unwrap();
        }
        for (fact, value) in [
            ("host", json!("mail.example.com")),
            ("header(user-agent)", json!("a=b")),
            ("header(accept)", Json::Null),
            ("cookie(look)", json!("blue")),
            ("attribute(mail)", json!(["a@x", "b@x"])),
            ("attribute(uid)", json!([])),
            ("known", json!(true)),
            ("now", json!(180)),
            ("form", json!("mobile")),
            ("tls-server-name", Json::Null),
        ] {
            let found = given.read(&Fact::parse(fact).unwrap()).map(|value| value.to_json());
            assert_eq!(found, Some(value), "{fact}");
        }
        assert_eq!(given.read(&Fact::parse("query(q)").unwrap()), None);
        put(&mut given, "now=2026-12-01T08:00Z").unwrap();
        assert_eq!(given.read(&Fact::Now), Some(Value::Number(1_796_112_000)));
        let told = put(&mut given, "hots=a").unwrap_err();
        assert!(
            told.contains("did you mean host?") && told.contains("client-address, ") && told.contains("header.NAME"),
            "{told}"
        );
        assert!(put(&mut given, "headers.accept=a").unwrap_err().contains("did you mean header.NAME?"));
        assert!(put(&mut given, "now=soon").unwrap_err().contains("2026-12-01T08:00Z"));
        for wrong in ["host", "hots=a", "known=yes", "client-port=70000", "form=phone", "header.a b=c"] {
            assert!(put(&mut given, wrong).is_err(), "{wrong}");
        }
    }
}
