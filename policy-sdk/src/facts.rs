//! What a policy may know. Each method reads one fact: from the proxy in a component, from the test natively.
//!
//! Invariants:
//! - Nothing is read before a method asks for it: the proxy remembers decisions by the facts they read, so a fact that
//!   does not matter should not be read.
//! - A fact does not change during one decision.

use std::ops::Deref;

#[cfg(not(target_family = "wasm"))]
use crate::testing::Given;

/// Facts about the connection, known before any byte of HTTP.
pub struct ConnectionFacts {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) given: Given,
}

/// Facts about the request, and by dereference those of its connection.
pub struct RequestFacts {
    pub(crate) connection: ConnectionFacts,
}

/// Facts about a login attempt, and by dereference those of its request. The password is never a fact.
pub struct LoginFacts {
    pub(crate) request: RequestFacts,
}

/// Facts about the nodes that a login may go to, and by dereference those of the login.
pub struct RouteFacts {
    pub(crate) login: LoginFacts,
}

/// Reads a fact: `fact!(facts, interface::function(name))`.
#[cfg(target_family = "wasm")]
macro_rules! fact {
    ($facts:ident, $interface:ident :: $function:ident ( $($name:ident),* )) => {
        crate::bindings::facts::doorward::policy::$interface::$function($($name),*)
    };
}

/// Reads a fact that the test gave: `fact!(facts, interface::function(name))`.
#[cfg(not(target_family = "wasm"))]
macro_rules! fact {
    ($facts:ident, $interface:ident :: $function:ident ()) => {
        $facts.given.read(stringify!($function), None)
    };
    ($facts:ident, $interface:ident :: $function:ident ( $name:ident )) => {
        $facts.given.read(stringify!($function), Some($name))
    };
    ($facts:ident, $interface:ident :: $function:ident ( $name:ident, $value:ident )) => {
        $facts.given.read(stringify!($function), Some(&format!("{} {}", $name, $value)))
    };
}

impl ConnectionFacts {
    /// The client's address in canonical text form, after the PROXY protocol ("192.0.2.7", "2001:db8::7").
    pub fn client_address(&self) -> String {
        fact!(self, connection::client_address())
    }

    /// The client's port.
    pub fn client_port(&self) -> u16 {
        fact!(self, connection::client_port())
    }

    /// The listener's name in the configuration.
    pub fn listener(&self) -> String {
        fact!(self, connection::listener())
    }

    /// The address the client connected to.
    pub fn local_address(&self) -> String {
        fact!(self, connection::local_address())
    }

    /// Server name the client asked for in TLS, if any. Not known yet when the question is `access`.
    pub fn tls_server_name(&self) -> Option<String> {
        fact!(self, connection::tls_server_name())
    }

    /// Subject of a verified client certificate, if any. Not known yet when the question is `access`.
    pub fn tls_client_subject(&self) -> Option<String> {
        fact!(self, connection::tls_client_subject())
    }

    /// Seconds since 1970, frozen for the length of one decision. Reading it makes the decision uncacheable.
    /// [`DateTime::new`](crate::date::DateTime::new) makes a date of it.
    pub fn now(&self) -> u64 {
        fact!(self, clock::now())
    }
}

/// Lists, and facts of the clock that a decision may read and be found again: until they change.
impl ConnectionFacts {
    /// Whether the list of that name, a file of the operator's beside the policy, has the value: as a line of its own, in upper or
    /// lower case; or, if it is an address, in one of its networks. A list that there is not has nothing.
    pub fn list_contains(&self, name: &str, value: &str) -> bool {
        fact!(self, lists::list_contains(name, value))
    }

    /// The date at an offset from UTC ("+01:00", "Z"): "2026-12-01"; empty if that is no offset.
    pub fn date(&self, offset: &str) -> String {
        fact!(self, clock::date(offset))
    }

    /// The day of the week at an offset from UTC, from 1 for Monday to 7 for Sunday; 0 if that is no offset.
    pub fn weekday(&self, offset: &str) -> u32 {
        fact!(self, clock::weekday(offset))
    }

    /// The hour at an offset from UTC, from 0 to 23; 0 if that is no offset.
    pub fn hour(&self, offset: &str) -> u32 {
        fact!(self, clock::hour(offset))
    }
}

/// For filters only: others are not given these facts.
impl RequestFacts {
    /// The user of the session.
    pub fn session_user(&self) -> Option<String> {
        fact!(self, session::session_user())
    }

    /// The name of the back-end that the session is at.
    pub fn session_node(&self) -> Option<String> {
        fact!(self, session::session_node())
    }

    /// The first host name of the virtual host that the session is for.
    pub fn session_site(&self) -> Option<String> {
        fact!(self, session::session_site())
    }

    /// Seconds since the login, as the last of these steps that is reached (`"3600 86400"`): 0 before the first one, and
    /// where there is no session.
    pub fn session_age(&self, steps: &str) -> u32 {
        fact!(self, session::session_age(steps))
    }

    /// Requests of this session of late, as the last of these steps that is reached (`"minute 10 100"`, `"hour 1000"`); 0
    /// before the first one, and where there is no session.
    pub fn requests_of_session(&self, steps: &str) -> u32 {
        fact!(self, usage::requests_of_session(steps))
    }

    /// Requests of this client's address of late, or of an IPv6 client's /64, in the same steps.
    pub fn requests_of_address(&self, steps: &str) -> u32 {
        fact!(self, usage::requests_of_address(steps))
    }

    /// Requests of this client's address for this path, as it is written, in the same steps.
    pub fn requests_for_path(&self, steps: &str) -> u32 {
        fact!(self, usage::requests_for_path(steps))
    }
}

impl RequestFacts {
    /// The method ("GET").
    pub fn method(&self) -> String {
        fact!(self, request::method())
    }

    /// "http" or "https".
    pub fn scheme(&self) -> String {
        fact!(self, request::scheme())
    }

    /// Host without port, lower case: the virtual host.
    pub fn host(&self) -> String {
        fact!(self, request::host())
    }

    /// The path, without the query.
    pub fn path(&self) -> String {
        fact!(self, request::path())
    }

    /// The path and query as sent ("/?_task=mail"). Rarely the same twice, so read it only if the answer repeats it.
    pub fn target(&self) -> String {
        fact!(self, request::target())
    }

    /// The version of HTTP that the client speaks ("1.0", "1.1", "2").
    pub fn http_version(&self) -> String {
        fact!(self, request::http_version())
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        fact!(self, request::query(name))
    }

    /// First value of a header; the name is case-insensitive.
    pub fn header(&self, name: &str) -> Option<String> {
        fact!(self, request::header(name))
    }

    /// A cookie of the client; never one of the proxy's session.
    pub fn cookie(&self, name: &str) -> Option<String> {
        fact!(self, request::cookie(name))
    }
}

impl LoginFacts {
    /// The user name in its canonical form: for `auth-mode` as the directory's settings make it of what was typed, for
    /// `route` the one that the directory has for the user.
    pub fn username(&self) -> String {
        fact!(self, login::username())
    }

    /// Whether the directory knows the user.
    pub fn known(&self) -> bool {
        fact!(self, login::known())
    }

    /// Values of an attribute of the user's entry; only attributes the operator exposes.
    pub fn attribute(&self, name: &str) -> Vec<String> {
        fact!(self, login::attribute(name))
    }

    /// Recent failed logins from the client's network, for any name; those on devices that have logged in with the name
    /// before do not count.
    pub fn recent_failures_from_address(&self) -> u32 {
        fact!(self, login::recent_failures_from_address())
    }

    /// Recent failed logins for this name, from any network; those on devices that have logged in with the name before do
    /// not count.
    pub fn recent_failures_for_user(&self) -> u32 {
        fact!(self, login::recent_failures_for_user())
    }
}

impl RouteFacts {
    /// What the map or the directory say of the user's node, word for word, in order; empty where they say nothing.
    pub fn directory_hosts(&self) -> Vec<String> {
        fact!(self, nodes::directory_hosts())
    }

    /// The node that the login goes to without a policy: the one that the directory names, or for users without any the
    /// default one. `None` where no back-end is that.
    pub fn usual_node(&self) -> Option<String> {
        fact!(self, nodes::usual_node())
    }

    /// How the server that the login is for is, at the back-end of that name: "up", "down" (also where there is no such
    /// server) or "drained" (up, and it takes no new logins); `None` if no back-end has exactly that name.
    pub fn node_state(&self, name: &str) -> Option<String> {
        fact!(self, nodes::node_state(name))
    }

    /// How busy the back-end of that name is: "free", "busy" (at least half of its places are taken) or "full" (somebody
    /// waits for one); `None` if there is none.
    pub fn node_load(&self, name: &str) -> Option<String> {
        fact!(self, nodes::node_load(name))
    }
}

impl Deref for RequestFacts {
    type Target = ConnectionFacts;

    fn deref(&self) -> &ConnectionFacts {
        &self.connection
    }
}

impl Deref for LoginFacts {
    type Target = RequestFacts;

    fn deref(&self) -> &RequestFacts {
        &self.request
    }
}

impl Deref for RouteFacts {
    type Target = LoginFacts;

    fn deref(&self) -> &LoginFacts {
        &self.login
    }
}

/// The facts of the decision that the proxy is asking for right now; for `export!` only.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
mod live {
    use super::{ConnectionFacts, LoginFacts, RequestFacts, RouteFacts};

    impl ConnectionFacts {
        #[doc(hidden)]
        pub fn live() -> Self {
            ConnectionFacts {}
        }
    }

    impl RequestFacts {
        #[doc(hidden)]
        pub fn live() -> Self {
            RequestFacts { connection: ConnectionFacts::live() }
        }
    }

    impl LoginFacts {
        #[doc(hidden)]
        pub fn live() -> Self {
            LoginFacts { request: RequestFacts::live() }
        }
    }

    impl RouteFacts {
        #[doc(hidden)]
        pub fn live() -> Self {
            RouteFacts { login: LoginFacts::live() }
        }
    }
}
