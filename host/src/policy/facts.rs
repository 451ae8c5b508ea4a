//! What a policy may know. Facts are functions in the WIT, so only what is asked for is looked up.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::http::request::Parts;

use crate::peer::Peer;

/// The facts of one decision. Cheap to clone: a guest keeps a copy while it decides.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The connection.
    pub peer: Arc<Peer>,
    /// The request, from device detection on.
    pub request: Option<RequestFacts>,
    /// The login attempt, for auth-mode policies.
    pub login: Option<Arc<LoginFacts>>,
    now: u64,
}

/// Facts of a request.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// Method, target and headers.
    pub head: Arc<Parts>,
    /// The virtual host: lower case, without port.
    pub host: Arc<str>,
    /// Cookies that hold a session; no policy reads them.
    pub hidden_cookies: Arc<HashSet<String>>,
}

/// Facts of a login attempt. There is no password here, so no policy can read one.
#[derive(Debug, Clone, Default)]
pub struct LoginFacts {
    /// The user name as typed.
    pub username: String,
    /// Whether the directory knows the user.
    pub known: bool,
    /// The attributes that the operator exposes, by lower-case name.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Failed logins from the address, of late.
    pub failures_from_address: u32,
    /// Failed logins of the user, of late.
    pub failures_for_user: u32,
}

/// Headers that carry credentials; they are no facts.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

impl Facts {
    /// Facts of a connection; the clock stands still from here on.
    pub fn of_connection(peer: Arc<Peer>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { peer, request: None, login: None, now }
    }

    /// Seconds since 1970, frozen for the decision.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The server name asked for in TLS.
    pub fn tls_server_name(&self) -> Option<String> {
        self.peer.tls.as_ref()?.server_name.clone()
    }

    /// The method; empty where there is no request.
    pub fn method(&self) -> String {
        self.of_request(|request| request.head.method.to_string())
    }

    /// The virtual host.
    pub fn host(&self) -> String {
        self.of_request(|request| request.host.to_string())
    }

    /// The path, as it is forwarded.
    pub fn path(&self) -> String {
        self.of_request(|request| request.head.uri.path().to_owned())
    }

    fn of_request(&self, read: impl FnOnce(&RequestFacts) -> String) -> String {
        self.request.as_ref().map(read).unwrap_or_default()
    }

    /// The first query parameter of that name, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.request.as_ref()?.head.uri.query()?;
        crate::text::form_fields(query.as_bytes()).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The first header of that name; headers that carry credentials are hidden.
    pub fn header(&self, name: &str) -> Option<String> {
        if SECRET_HEADERS.iter().any(|secret| secret.eq_ignore_ascii_case(name)) {
            return None;
        }
        let value = self.request.as_ref()?.head.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The first cookie of that name; those that hold a session are hidden.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let request = self.request.as_ref()?;
        if request.hidden_cookies.contains(name) {
            return None;
        }
        crate::text::cookies(&request.head.headers).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// Values of a directory attribute.
    pub fn attribute(&self, name: &str) -> Vec<String> {
        let login = self.login.as_ref();
        login.and_then(|login| login.attributes.get(&name.to_ascii_lowercase())).cloned().unwrap_or_default()
    }

    /// A fact of the login attempt.
    pub fn of_login<T: Default>(&self, read: impl FnOnce(&LoginFacts) -> T) -> T {
        self.login.as_ref().map(|login| read(login)).unwrap_or_default()
    }
}
