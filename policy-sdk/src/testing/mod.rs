//! Runs a policy natively: settings in, facts in, verdict out. For tests; not part of a component.

use std::collections::{BTreeMap, BTreeSet};

use doorward_vectors::Vector;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::facts::{ConnectionFacts, LoginFacts, RequestFacts, RouteFacts};
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
    /// Methods of which every name was given: other names are absent.
    complete: BTreeSet<&'static str>,
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

    /// The facts as a route policy gets them.
    pub fn route(self) -> RouteFacts {
        RouteFacts { login: self.login() }
    }

    /// Gives [`RequestFacts::header`] for every name: these, and no others.
    pub fn headers(mut self, headers: &[(&str, &str)]) -> Given {
        self.complete.insert("header");
        headers.iter().fold(self, |given, (name, value)| given.header(name, Some(value)))
    }

    /// The facts of a test vector.
    fn of_vector(vector: &Vector) -> Given {
        let complete = vector.complete.iter().map(|fact| fact.method).collect();
        let none = Given { facts: BTreeMap::new(), complete };
        vector
            .facts
            .iter()
            .fold(none, |given, told| given.give(told.fact.method, told.name.as_deref(), told.value.clone()))
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
            None if self.complete.contains(function) => absent(function),
            None => panic!("the policy read the fact {key}, which the test did not give"),
        };
        match serde_json::from_value(value) {
            Ok(value) => value,
            Err(error) => panic!("the fact {key} was given with another type: {error}"),
        }
    }
}

/// The type by which a test gives a value.
macro_rules! given_type {
    (Text) => { &str };
    (Optional) => { Option<&str> };
    (Texts) => { &[&str] };
    (Port) => { u16 };
    (Count) => { u32 };
    (Moment) => { u64 };
    (Flag) => { bool };
}

/// Makes a method for each fact of the table `doorward_vectors::facts`.
macro_rules! methods {
    (
        functions { $($plain:ident $pm:ident $pi:literal $pf:literal $pt:ident $ps:literal;)* }
        named { $($named:ident $nm:ident $ni:literal $nf:literal $nt:ident $ns:literal;)* }
        pairs { $($pair:ident $am:ident $ai:literal $af:literal $at:ident $as:literal;)* }
        others { $($other:tt)* }
    ) => {
        impl Given {
            $(
                #[doc = concat!("Gives the fact `", $pi, ".", $pf, "`: ", $ps, ".")]
                pub fn $pm(self, value: given_type!($pt)) -> Given {
                    self.give(stringify!($pm), None, json!(value))
                }
            )*
            $(
                #[doc = concat!("Gives the fact `", $ni, ".", $nf, "` for one name: ", $ns, ".")]
                pub fn $nm(self, name: &str, value: given_type!($nt)) -> Given {
                    self.give(stringify!($nm), Some(name), json!(value))
                }
            )*
            $(
                #[doc = concat!("Gives the fact `", $ai, ".", $af, "` for one name and value: ", $as, ".")]
                pub fn $am(self, name: &str, of: &str, value: given_type!($at)) -> Given {
                    self.give(stringify!($am), Some(&format!("{name} {of}")), json!(value))
                }
            )*
        }
    };
}

doorward_vectors::facts!(methods);

/// What a panic said.
fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// What a function says of a name that is not there.
fn absent(function: &str) -> Value {
    let fact = doorward_vectors::FACTS.iter().find(|fact| fact.method == function);
    fact.map_or(Value::Null, |fact| fact.absent())
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
