//! The table of facts: all that a policy may know, each once.
//!
//! A row of [`facts!`](crate::facts!) is the whole of a fact but for three things that a table cannot say: the function in
//! `wit/`, where the host finds its value (`policy/facts.rs`), and the method that authors call (`policy-sdk/src/facts.rs`).
//! docs/adding.md says how one is added.

use serde_json::Value as Json;

use crate::date::DateTime;

/// A decision may read so many facts. The default policies read at most four.
pub const MOST_READS: usize = 64;

/// A fact that policies may ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct FactType {
    /// The interface of the WIT.
    pub interface: &'static str,
    /// The function in it.
    pub function: &'static str,
    /// The method of the crate for authors.
    pub method: &'static str,
    /// Whether the function takes a name, such as that of a header.
    pub is_named: bool,
    /// What it says.
    pub value: ValueType,
}

/// What a fact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// A text.
    Text,
    /// A text, or nothing.
    Optional,
    /// A list of texts.
    Texts,
    /// A TCP port.
    Port,
    /// A count.
    Count,
    /// Seconds since 1970.
    Moment,
    /// A number from which others are drawn.
    Seed,
    /// Yes or no.
    Flag,
    /// The form of a device.
    Form,
}

/// Calls a macro with the table: `facts!(my_macro)` becomes `my_macro! { functions { rows } named { rows } pairs { rows } others { rows } }`.
/// A row is `Name method "interface" "function" ValueType "what it is";`. Those of `functions` take no parameter, those of
/// `named` take a name, those of `pairs` two (of which the fact has both, with a blank between them), and `others` are no functions
/// of the interface.
#[macro_export]
macro_rules! facts {
    ($($with:tt)+) => {
        $($with)+! {
            functions {
                ClientAddress client_address "connection" "client-address" Text "the client's address";
                ClientPort client_port "connection" "client-port" Port "the client's port";
                Listener listener "connection" "listener" Text "the listener's name";
                LocalAddress local_address "connection" "local-address" Text "the address it connected to";
                TlsServerName tls_server_name "connection" "tls-server-name" Optional "the server name asked for in TLS";
                TlsClientSubject tls_client_subject "connection" "tls-client-subject" Optional "subject of a verified client certificate";
                Method method "request" "method" Text "the method";
                Scheme scheme "request" "scheme" Text "http or https";
                Host host "request" "host" Text "the virtual host";
                Path path "request" "path" Text "the path, without the query";
                Target target "request" "target" Text "the path and query as sent";
                HttpVersion http_version "request" "http-version" Text "the version of HTTP: 1.0, 1.1 or 2";
                Username username "login" "username" Text "the user's name, in its canonical form";
                Known known "login" "known" Flag "whether the directory knows the user";
                FailuresFromAddress recent_failures_from_address "login" "recent-failures-from-address" Count "failed logins of late from the client's network";
                FailuresForUser recent_failures_for_user "login" "recent-failures-for-user" Count "failed logins of late for this name";
                DirectoryHosts directory_hosts "nodes" "directory-hosts" Texts "what map or directory say of the user's node";
                UsualNode usual_node "nodes" "usual-node" Optional "the node that the login goes to without a policy";
                SessionUser session_user "session" "session-user" Optional "the user of the session";
                SessionNode session_node "session" "session-node" Optional "the back-end that the session is at";
                SessionSite session_site "session" "session-site" Optional "the virtual host that the session is for";
                Now now "clock" "now" Moment "seconds since 1970";
            }
            named {
                Query query "request" "query" Optional "a parameter of the query";
                Header header "request" "header" Optional "the first header of a name";
                Cookie cookie "request" "cookie" Optional "the first cookie of a name";
                Attribute attribute "login" "attribute" Texts "values of an attribute of the user's entry";
                SessionAge session_age "session" "session-age" Count "seconds since the login, as the last of some steps that is reached";
                RequestsOfSession requests_of_session "usage" "requests-of-session" Count "requests of the session of late, in steps";
                RequestsOfAddress requests_of_address "usage" "requests-of-address" Count "requests of the client's address of late, in steps";
                RequestsForPath requests_for_path "usage" "requests-for-path" Count "requests of the client's address for the path of late, in steps";
                Date date "clock" "date" Text "the date at an offset from UTC";
                Weekday weekday "clock" "weekday" Count "the day of the week at an offset from UTC, from 1 for Monday";
                Hour hour "clock" "hour" Count "the hour at an offset from UTC";
                NodeState node_state "nodes" "node-state" Optional "whether a back-end is up, down or drained";
                NodeLoad node_load "nodes" "node-load" Optional "whether a back-end is free, busy or full";
            }
            pairs {
                ListContains list_contains "lists" "list-contains" Flag "whether a list of the operator's has a value";
            }
            others {
                Form form "template" "form" Form "the form of the device: the parameter of the question `template`";
                Random random "wasi" "random" Seed "the seed of WASI's random numbers in a decision";
            }
        }
    };
}

macro_rules! table {
    (
        functions { $($a:ident $am:ident $ai:literal $af:literal $at:ident $as:literal;)* }
        named { $($b:ident $bm:ident $bi:literal $bf:literal $bt:ident $bs:literal;)* }
        pairs { $($p:ident $pm:ident $pi:literal $pf:literal $pt:ident $ps:literal;)* }
        others { $($c:ident $cm:ident $ci:literal $cf:literal $ct:ident $cs:literal;)* }
    ) => {
        /// All facts, by interface and function.
        pub const FACTS: &[FactType] = &[
            $(fact($ai, $af, stringify!($am), false, ValueType::$at),)*
            $(fact($bi, $bf, stringify!($bm), true, ValueType::$bt),)*
            $(fact($pi, $pf, stringify!($pm), true, ValueType::$pt),)*
            $(fact($ci, $cf, stringify!($cm), false, ValueType::$ct),)*
        ];
    };
}

const fn fact(
    interface: &'static str,
    function: &'static str,
    method: &'static str,
    is_named: bool,
    value: ValueType,
) -> FactType {
    FactType { interface, function, method, is_named, value }
}

crate::facts!(table);

impl FactType {
    /// The fact of a function's name (`host`).
    pub fn of(function: &str) -> Option<&'static Self> {
        FACTS.iter().find(|fact| fact.function == function)
    }

    /// Whether an empty text stands for nothing, as TOML and a command line have no word for that. Of facts with a name
    /// not: an empty header is there.
    pub fn is_none(&self, text: &str) -> bool {
        text.is_empty() && self.value == ValueType::Optional && !self.is_named
    }

    /// What a fact says of a name that is not there.
    pub fn absent(&self) -> Json {
        match self.value {
            ValueType::Texts => Json::Array(Vec::new()),
            ValueType::Text => Json::from(""),
            ValueType::Count => Json::from(0),
            ValueType::Flag => Json::from(false),
            ValueType::Optional | ValueType::Port | ValueType::Moment | ValueType::Seed | ValueType::Form => Json::Null,
        }
    }
}

impl ValueType {
    /// What can be written for such a value, for the operator.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Optional => "a text, or nothing",
            Self::Texts => "a list of texts",
            Self::Port => "a number of at most 65535",
            Self::Count | Self::Seed => "a number",
            Self::Moment => "seconds since 1970 or a time such as 2026-12-01T08:00Z",
            Self::Flag => "true or false",
            Self::Form => "desktop, mobile, tablet or bot",
        }
    }

    /// The value in its one form, or none where it is not of this type: a time becomes seconds.
    pub fn check(self, json: &Json) -> Option<Json> {
        let seconds = |text: &str| u64::try_from(text.parse::<DateTime>().ok()?.seconds()).ok();
        let is_good = match self {
            Self::Text => json.is_string(),
            Self::Optional => json.is_string() || json.is_null(),
            Self::Texts => json.as_array().is_some_and(|texts| texts.iter().all(Json::is_string)),
            Self::Port => json.as_u64().is_some_and(|number| u16::try_from(number).is_ok()),
            Self::Count => json.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
            Self::Moment => return json.as_u64().or_else(|| seconds(json.as_str()?)).map(Json::from),
            Self::Seed => json.is_u64(),
            Self::Flag => json.is_boolean(),
            Self::Form => json.as_str().is_some_and(|form| ["desktop", "mobile", "tablet", "bot"].contains(&form)),
        };
        is_good.then(|| json.clone())
    }
}

/// What is said of a name that is no fact: which is meant, and which there are.
pub fn unknown_fact(name: &str) -> String {
    let written = |fact: &FactType| {
        if fact.is_named { format!("{}.NAME", fact.function) } else { fact.function.to_owned() }
    };
    // Of `header.accept`, `login.host` and `query(x)` the word that may be wrong.
    let word = name.split(['(', '=']).next().unwrap_or(name);
    let near = word.split('.').find_map(|word| crate::nearest(word, FACTS.iter().map(|fact| fact.function)));
    let meant = near.and_then(FactType::of).map(|fact| format!("; did you mean {}?", written(fact)));
    let known: Vec<String> = FACTS.iter().map(written).collect();
    format!("{name} is no fact{} the facts are {}", meant.unwrap_or_else(|| ";".to_owned()), known.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_function_stands_once_and_its_method_is_the_same_word() {
        for (index, fact) in FACTS.iter().enumerate() {
            assert_eq!(fact.method, fact.function.replace('-', "_"));
            assert!(FACTS[..index].iter().all(|other| other.function != fact.function), "{}", fact.function);
        }
    }

    #[test]
    fn a_value_is_of_its_type_or_refused() {
        for (value, good, bad) in [
            (ValueType::Text, json!(""), json!(null)),
            (ValueType::Optional, json!(null), json!(1)),
            (ValueType::Texts, json!(["a"]), json!(["a", 1])),
            (ValueType::Port, json!(65535), json!(65536)),
            (ValueType::Count, json!(u32::MAX), json!(-1)),
            (ValueType::Seed, json!(u64::MAX), json!("1")),
            (ValueType::Flag, json!(false), json!("false")),
            (ValueType::Form, json!("bot"), json!("phone")),
        ] {
            assert_eq!(value.check(&good), Some(good), "{value:?}");
            assert_eq!(value.check(&bad), None, "{value:?}");
        }
        assert_eq!(ValueType::Moment.check(&json!("2026-12-01T08:00Z")), Some(json!(1_796_112_000)));
        assert_eq!(ValueType::Moment.check(&json!("soon")), None);
    }
}
