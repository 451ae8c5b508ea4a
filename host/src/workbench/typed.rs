//! Facts as they are typed: `host=a.test`, `header.user-agent=x`.
//!
//! Pure.

use doorward_vectors::{FactType, ValueType, unknown_fact};
use serde_json::json;

use crate::policy::{Fact, Given, Value};

/// An empty text stands for none where a fact may be none and is hardly ever empty, as in test vectors.
pub fn is_none(fact: &Fact, text: Option<&str>) -> bool {
    let fact = FactType::of(fact.parts().1);
    text.is_some_and(|text| fact.is_some_and(|fact| fact.is_none(text)))
}

/// Gives a fact as it is typed: `host=a.test`, `header.user-agent=x`.
///
/// # Errors
/// It is no fact, or cannot have that value.
pub fn put_fact(given: &mut Given, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    let dotted = name.split_once('.').filter(|(function, _)| FactType::of(function).is_some_and(|fact| fact.is_named));
    let fact = match dotted {
        Some((function, name)) => Fact::named(function, Some(name)),
        None => Fact::parse(name),
    };
    let fact = fact.ok_or_else(|| unknown_fact(name))?;
    if let (_, function, Some(_)) = fact.parts() {
        given.complete(function);
    }
    let value = value_of(&fact, value)
        .ok_or_else(|| format!("{name} cannot be that, expected {}", fact.value_type().expected()))?;
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
    use serde_json::Value as Json;

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
            put_fact(&mut given, text).unwrap();
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
        put_fact(&mut given, "now=2026-12-01T08:00Z").unwrap();
        assert_eq!(given.read(&Fact::Now), Some(Value::Number(1_796_112_000)));
        let told = put_fact(&mut given, "hots=a").unwrap_err();
        assert!(
            told.contains("did you mean host?") && told.contains("client-address, ") && told.contains("header.NAME"),
            "{told}"
        );
        assert!(put_fact(&mut given, "headers.accept=a").unwrap_err().contains("did you mean header.NAME?"));
        assert!(put_fact(&mut given, "now=soon").unwrap_err().contains("2026-12-01T08:00Z"));
        for wrong in ["host", "hots=a", "known=yes", "client-port=70000", "form=phone", "header.a b=c"] {
            assert!(put_fact(&mut given, wrong).is_err(), "{wrong}");
        }
    }
}
