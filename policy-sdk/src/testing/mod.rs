//! Runs a policy natively: settings in, facts in, verdict out. For tests; not part of a component.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::facts::{ConnectionFacts, LoginFacts, RequestFacts};
use crate::settings::{self, Policy, Problem};

pub mod vectors;

/// Configures a policy from settings in JSON, the way a component does it.
pub fn configure<P: Policy>(settings: &str) -> Result<P, Vec<Problem>> {
    settings::configure(settings)
}

/// The facts that a test gives. Reading any other panics with its name, so a test also shows what a policy reads.
#[derive(Clone, Default)]
pub struct Given {
    facts: BTreeMap<String, Value>,
    /// Functions of which every name was told: those not given are absent.
    told: BTreeSet<&'static str>,
}

impl Given {
    /// No facts yet.
    pub fn new() -> Given {
        Given::default()
    }

    /// The facts as an access policy gets them.
    pub fn connection(self) -> ConnectionFacts {
        ConnectionFacts { given: self }
    }

    /// The facts as a device, template or filter policy gets them.
    pub fn request(self) -> RequestFacts {
        RequestFacts { connection: self.connection() }
    }

    /// The facts as an auth-mode policy gets them.
    pub fn login(self) -> LoginFacts {
        LoginFacts { request: self.request() }
    }

    /// Gives [`ConnectionFacts::client_address`].
    pub fn client_address(self, address: &str) -> Given {
        self.give("client_address", None, json!(address))
    }

    /// Gives [`ConnectionFacts::client_port`].
    pub fn client_port(self, port: u16) -> Given {
        self.give("client_port", None, json!(port))
    }

    /// Gives [`ConnectionFacts::listener`].
    pub fn listener(self, name: &str) -> Given {
        self.give("listener", None, json!(name))
    }

    /// Gives [`ConnectionFacts::local_address`].
    pub fn local_address(self, address: &str) -> Given {
        self.give("local_address", None, json!(address))
    }

    /// Gives [`ConnectionFacts::tls_server_name`].
    pub fn tls_server_name(self, name: Option<&str>) -> Given {
        self.give("tls_server_name", None, json!(name))
    }

    /// Gives [`ConnectionFacts::tls_client_subject`].
    pub fn tls_client_subject(self, subject: Option<&str>) -> Given {
        self.give("tls_client_subject", None, json!(subject))
    }

    /// Gives [`ConnectionFacts::now`].
    pub fn now(self, seconds: u64) -> Given {
        self.give("now", None, json!(seconds))
    }

    /// Gives [`RequestFacts::method`].
    pub fn method(self, method: &str) -> Given {
        self.give("method", None, json!(method))
    }

    /// Gives [`RequestFacts::scheme`].
    pub fn scheme(self, scheme: &str) -> Given {
        self.give("scheme", None, json!(scheme))
    }

    /// Gives [`RequestFacts::host`].
    pub fn host(self, host: &str) -> Given {
        self.give("host", None, json!(host))
    }

    /// Gives [`RequestFacts::path`].
    pub fn path(self, path: &str) -> Given {
        self.give("path", None, json!(path))
    }

    /// Gives [`RequestFacts::target`].
    pub fn target(self, target: &str) -> Given {
        self.give("target", None, json!(target))
    }

    /// Gives [`RequestFacts::query`] for one name; `None` says that it is not there.
    pub fn query(self, name: &str, value: Option<&str>) -> Given {
        self.give("query", Some(name), json!(value))
    }

    /// Gives [`RequestFacts::header`] for one name; `None` says that it is not there.
    pub fn header(self, name: &str, value: Option<&str>) -> Given {
        self.give("header", Some(name), json!(value))
    }

    /// Gives [`RequestFacts::header`] for every name: these, and no others.
    pub fn headers(mut self, headers: &[(&str, &str)]) -> Given {
        self.told.insert("header");
        headers.iter().fold(self, |given, (name, value)| given.header(name, Some(value)))
    }

    /// Gives [`RequestFacts::cookie`] for one name; `None` says that it is not there.
    pub fn cookie(self, name: &str, value: Option<&str>) -> Given {
        self.give("cookie", Some(name), json!(value))
    }

    /// Gives [`LoginFacts::username`].
    pub fn username(self, name: &str) -> Given {
        self.give("username", None, json!(name))
    }

    /// Gives [`LoginFacts::known`].
    pub fn known(self, known: bool) -> Given {
        self.give("known", None, json!(known))
    }

    /// Gives [`LoginFacts::attribute`] for one name.
    pub fn attribute(self, name: &str, values: &[&str]) -> Given {
        self.give("attribute", Some(name), json!(values))
    }

    /// Gives [`LoginFacts::recent_failures_from_address`].
    pub fn recent_failures_from_address(self, count: u32) -> Given {
        self.give("recent_failures_from_address", None, json!(count))
    }

    /// Gives [`LoginFacts::recent_failures_for_user`].
    pub fn recent_failures_for_user(self, count: u32) -> Given {
        self.give("recent_failures_for_user", None, json!(count))
    }

    fn give(mut self, function: &str, name: Option<&str>, value: Value) -> Given {
        self.facts.insert(key(function, name), value);
        self
    }

    /// Reads a fact, for the methods in `facts`.
    pub(crate) fn read<T: DeserializeOwned>(&self, function: &str, name: Option<&str>) -> T {
        let key = key(function, name);
        let value = match self.facts.get(&key) {
            Some(value) => value.clone(),
            None if self.told.contains(function) => absent(function),
            None => panic!("the policy read the fact {key}, which the test did not give"),
        };
        match serde_json::from_value(value) {
            Ok(value) => value,
            Err(error) => panic!("the fact {key} was given with another type: {error}"),
        }
    }
}

/// What a panic said.
fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// What a function says of a name that is not there: attributes have no value, all others are none.
fn absent(function: &str) -> Value {
    if function == "attribute" { json!([]) } else { Value::Null }
}

/// The name of a fact, as it is called: `host`, `header(user-agent)`.
fn key(function: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if function == "header" => format!("header({})", name.to_ascii_lowercase()),
        Some(name) => format!("{function}({name})"),
        None => function.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_given() {
        let facts = Given::new()
            .client_address("192.0.2.7")
            .client_port(4711)
            .tls_server_name(None)
            .header("User-Agent", Some("x"))
            .attribute("mail", &["a@example.com"])
            .login();
        assert_eq!(facts.client_address(), "192.0.2.7");
        assert_eq!(facts.client_port(), 4711);
        assert_eq!(facts.tls_server_name(), None);
        assert_eq!(facts.header("user-agent").as_deref(), Some("x"));
        assert_eq!(facts.attribute("mail"), ["a@example.com"]);
    }

    #[test]
    fn after_all_headers_are_given_others_are_absent() {
        assert_eq!(Given::new().headers(&[("a", "1")]).request().header("b"), None);
    }

    #[test]
    #[should_panic(expected = "the fact header(user-agent), which the test did not give")]
    fn a_fact_that_was_not_given_panics_with_its_name() {
        Given::new().request().header("User-Agent");
    }
}
