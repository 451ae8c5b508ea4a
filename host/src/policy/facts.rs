//! What a policy may know. Facts are functions in the WIT, so only what is asked for is looked up.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use doorward_engine::{Answer, Destination, Error, Fact, Form, Read, Value, Words};
use doorward_vectors::{DateTime, Offset};
use doorward_wire::form;
use hyper::Version;
use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::http::request::Parts;

use super::lists::Lists;
use crate::limits::{Counted, Recent};
use crate::peer::Peer;
use crate::request_id::RequestId;
use crate::times::seconds_now;

/// The facts of one decision. Cheap to clone: a guest keeps a copy while it decides.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The connection.
    pub peer: Arc<Peer>,
    /// The request, from device detection on.
    pub request: Option<RequestFacts>,
    /// The form of the device, once it is known.
    pub form: Option<Form>,
    /// The login attempt, for auth-mode policies.
    pub login: Option<Arc<LoginFacts>>,
    /// The session, for filters that may read it.
    pub session: Option<Arc<SessionFacts>>,
    /// What was counted of requests like this one, for filters that may read it.
    pub usage: Option<Arc<Counted>>,
    /// The lists of the policy that is asked.
    pub lists: Option<Arc<Lists>>,
    /// The nodes, for route policies.
    pub nodes: Option<Arc<NodeFacts>>,
    now: u64,
}

/// Facts of a request.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// Method, target and headers.
    pub head: Arc<Parts>,
    /// The virtual host: lower case, without port.
    pub host: Arc<str>,
    /// The virtual host's first name in the configuration; policies may be bound to it.
    pub site: Arc<str>,
    /// The request's id, for records.
    pub id: RequestId,
    /// Cookies that hold a session; no policy reads them.
    pub hidden_cookies: Arc<HashSet<String>>,
}

/// Facts of a login attempt. There is no password here, so no policy can read one.
#[derive(Debug, Clone, Default)]
pub struct LoginFacts {
    /// The virtual host's first name in the configuration; policies may be bound to it.
    pub site: Arc<str>,
    /// The canonical name that was typed; for route policies the user's one name.
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

/// Facts of a session.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// The user.
    pub user: String,
    /// The back-end's name.
    pub node: String,
    /// The virtual host's first name.
    pub site: String,
    /// When it began, in seconds since 1970.
    pub started: u64,
}

/// Facts of the nodes that a login may go to.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// What map or directory say of the user's node.
    pub hosts: Vec<String>,
    /// The node that the login goes to without a policy.
    pub usual: Option<String>,
    /// Each node's state and load in words, by its name.
    pub all: BTreeMap<String, (&'static str, &'static str)>,
}

/// Headers that carry credentials; they are no facts.
const SECRET_HEADERS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

impl Facts {
    /// Facts of a connection; the clock stands still from here on.
    pub fn of_connection(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            request: None,
            form: None,
            login: None,
            session: None,
            usage: None,
            lists: None,
            nodes: None,
            now: seconds_now(),
        }
    }

    /// Facts of a plain request and login that no client made, to tell a bad policy from bad clients. Listener and site are
    /// real ones, since a policy may know no others.
    pub fn of_nobody(listener: &str, site: &str) -> Self {
        // An address that nobody has (RFC 5737).
        let nobody = SocketAddr::from(([192, 0, 2, 1], 50_000));
        let mut facts =
            Self::of_connection(Arc::new(Peer::new(listener.to_owned(), nobody, ([192, 0, 2, 2], 443).into())));
        let (mut head, ()) = hyper::Request::new(()).into_parts();
        // Of a wildcard, a name that it fits.
        let host = site.replace('*', "www");
        head.headers.insert(HOST, HeaderValue::from_str(&host).unwrap_or(HeaderValue::from_static("localhost")));
        for (name, value) in [
            (USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            (ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ] {
            head.headers.insert(name, HeaderValue::from_static(value));
        }
        facts.request = Some(RequestFacts {
            head: Arc::new(head),
            host: host.into(),
            site: site.into(),
            id: RequestId::NONE,
            hidden_cookies: Arc::default(),
        });
        facts.form = Some(Form::Desktop);
        facts.login =
            Some(Arc::new(LoginFacts { site: site.into(), username: "nobody".to_owned(), ..LoginFacts::default() }));
        facts.nodes = Some(Arc::default());
        facts
    }

    /// The virtual host's first name: of the login, which may have no request, or else of the request.
    pub(super) fn site(&self) -> Option<&Arc<str>> {
        let login = self.login.as_ref().map(|login| &login.site);
        login.or_else(|| self.request.as_ref().map(|request| &request.site))
    }

    /// The answer, if it is one to these facts: a node that it names is one of the configuration.
    pub(super) fn checked(&self, answer: Answer) -> Result<Answer, Error> {
        match (&answer, &self.nodes) {
            (Answer::Route(Some(Destination::Node(name))), Some(nodes)) if !nodes.all.contains_key(name) => {
                let error = Error::Lied("a node that is not configured");
                // Apart from what went wrong: a name may be any fact, also one that records mask.
                Err(Error::Spoke(Box::new(error), Words::of(name)))
            }
            _ => Ok(answer),
        }
    }

    /// Seconds since 1970, frozen for the decision.
    pub fn now(&self) -> u64 {
        self.now
    }

    fn of_request<'a>(&'a self, read: impl FnOnce(&'a RequestFacts) -> Value<'a>) -> Value<'a> {
        self.request.as_ref().map_or(Value::Missing, read)
    }

    /// These, as a policy gets them that has lists.
    pub(super) fn with(&self, lists: &Arc<Lists>) -> Cow<'_, Self> {
        if lists.is_empty() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { lists: Some(lists.clone()), ..self.clone() })
    }

    fn of_session<'a>(&'a self, read: impl FnOnce(&'a SessionFacts) -> Value<'a>) -> Value<'a> {
        self.session.as_deref().map_or(Value::Missing, read)
    }

    fn of_usage(&self, steps: &str, of: impl FnOnce(&Counted) -> Recent) -> Value<'_> {
        let recent = self.usage.as_deref().map(of).unwrap_or_default();
        Value::Number(match steps.split_once(' ') {
            Some(("minute", steps)) => reached(recent.minute.into(), steps),
            Some(("hour", steps)) => reached(recent.hour.into(), steps),
            _ => 0,
        })
    }

    /// What the clock shows at an offset.
    fn at(&self, offset: &str, read: impl FnOnce(DateTime) -> Value<'static>) -> Value<'static> {
        offset.parse::<Offset>().map_or(Value::Missing, |offset| read(DateTime::new(self.now, offset)))
    }

    fn of_nodes<'a>(&'a self, read: impl FnOnce(&'a NodeFacts) -> Value<'a>) -> Value<'a> {
        self.nodes.as_deref().map_or(Value::Missing, read)
    }

    fn of_login<'a>(&'a self, read: impl FnOnce(&'a LoginFacts) -> Value<'a>) -> Value<'a> {
        self.login.as_deref().map_or(Value::Missing, read)
    }
}

impl NodeFacts {
    fn of<'a>(&'a self, name: &str, word: impl Fn(&(&'static str, &'static str)) -> &'static str) -> Value<'a> {
        self.all.get(name).map_or(Value::Missing, |node| Value::text(word(node)))
    }
}

impl Read for Facts {
    fn read(&self, fact: &Fact) -> Value<'_> {
        match fact {
            Fact::ClientAddress => Value::Text(Cow::Owned(self.peer.address.to_string())),
            Fact::ClientPort => Value::Number(self.peer.port.into()),
            Fact::Listener => Value::text(&self.peer.listener),
            Fact::LocalAddress => Value::Text(Cow::Owned(self.peer.local.ip().to_canonical().to_string())),
            Fact::TlsServerName => {
                let name = self.peer.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
                Value::optional(name.map(Cow::Borrowed))
            }
            Fact::TlsClientSubject => {
                let subject = self.peer.tls.as_ref().and_then(|tls| tls.client_subject.as_deref());
                Value::optional(subject.map(Cow::Borrowed))
            }
            Fact::Method => self.of_request(|request| Value::text(request.head.method.as_str())),
            Fact::Scheme => Value::text(self.peer.scheme().as_str()),
            Fact::Host => self.of_request(|request| Value::text(&request.host)),
            Fact::Path => self.of_request(|request| Value::text(request.head.uri.path())),
            Fact::Target => self.of_request(|request| {
                let target = request.head.uri.path_and_query();
                Value::text(target.map_or(request.head.uri.path(), |target| target.as_str()))
            }),
            Fact::HttpVersion => self.of_request(|request| Value::text(http_version(request.head.version))),
            Fact::Query(name) => self.of_request(|request| request.query(name)),
            Fact::Header(name) => self.of_request(|request| request.header(name)),
            Fact::Cookie(name) => self.of_request(|request| request.cookie(name)),
            Fact::Username => self.of_login(|login| Value::text(&login.username)),
            Fact::Known => self.of_login(|login| Value::Flag(login.known)),
            Fact::Attribute(name) => self.of_login(|login| {
                let values = login.attributes.get(&**name);
                Value::Texts(Cow::Borrowed(values.map_or(&[][..], Vec::as_slice)))
            }),
            Fact::FailuresFromAddress => self.of_login(|login| Value::Number(login.failures_from_address.into())),
            Fact::FailuresForUser => self.of_login(|login| Value::Number(login.failures_for_user.into())),
            Fact::SessionUser => self.of_session(|session| Value::text(&session.user)),
            Fact::SessionNode => self.of_session(|session| Value::text(&session.node)),
            Fact::SessionSite => self.of_session(|session| Value::text(&session.site)),
            Fact::SessionAge(steps) => {
                let age = self.session.as_ref().map_or(0, |session| self.now.saturating_sub(session.started));
                Value::Number(reached(age, steps))
            }
            Fact::RequestsOfSession(steps) => self.of_usage(steps, |counted| counted.session),
            Fact::RequestsOfAddress(steps) => self.of_usage(steps, |counted| counted.address),
            Fact::RequestsForPath(steps) => self.of_usage(steps, |counted| counted.path),
            Fact::ListContains(both) => Value::Flag(self.lists.as_ref().is_some_and(|lists| lists.contain(both))),
            Fact::Date(offset) => {
                self.at(offset, |at| Value::Text(Cow::Owned(format!("{:04}-{:02}-{:02}", at.year, at.month, at.day))))
            }
            Fact::Weekday(offset) => self.at(offset, |at| Value::Number(u64::from(at.weekday as u8) + 1)),
            Fact::Hour(offset) => self.at(offset, |at| Value::Number(at.hour.into())),
            Fact::DirectoryHosts => self.of_nodes(|nodes| Value::Texts(Cow::Borrowed(&nodes.hosts))),
            Fact::UsualNode => self.of_nodes(|nodes| Value::optional(nodes.usual.as_deref().map(Cow::Borrowed))),
            Fact::NodeState(name) => self.of_nodes(|nodes| nodes.of(name, |(state, _)| state)),
            Fact::NodeLoad(name) => self.of_nodes(|nodes| nodes.of(name, |(_, load)| load)),
            Fact::Form => self.form.map_or(Value::Missing, Value::Form),
            Fact::Now => Value::Number(self.now),
            Fact::Random => Value::Number(getrandom::u64().unwrap_or_default()),
        }
    }
}

/// The last of some steps that a number has reached, wherever it stands; 0 before the first one.
fn reached(number: u64, steps: &str) -> u64 {
    let steps = steps.split(' ').filter_map(|step| step.parse::<u32>().ok()).map(u64::from);
    steps.filter(|step| *step <= number).max().unwrap_or(0)
}

fn http_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        // No other reaches a policy: the readers of heads take these three.
        _ => "1.1",
    }
}

impl RequestFacts {
    /// The first query parameter of that name, decoded.
    fn query(&self, name: &str) -> Value<'_> {
        let fields = self.head.uri.query().map(|query| form::read(query.as_bytes()));
        let found = fields.unwrap_or_default().into_iter().find(|(key, _)| key == name);
        Value::optional(found.map(|(_, value)| Cow::Owned(value)))
    }

    /// The first header of that name; headers that carry credentials are hidden.
    fn header(&self, name: &HeaderName) -> Value<'_> {
        if SECRET_HEADERS.contains(name) {
            return Value::Missing;
        }
        Value::optional(self.head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes())))
    }

    /// The first cookie of that name; those that hold a session are hidden.
    fn cookie(&self, name: &str) -> Value<'_> {
        if self.hidden_cookies.contains(name) {
            return Value::Missing;
        }
        let found = crate::text::cookies_named(&self.head.headers, name).next();
        Value::optional(found.map(Cow::Borrowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_and_the_age_of_a_session_are_facts() {
        let mut facts = Facts::of_nobody("public", "a.test");
        // A Monday that has just begun.
        facts.now = 1_764_547_200;
        for (offset, date, weekday, hour) in
            [("Z", "2025-12-01", 1, 0), ("-01:00", "2025-11-30", 7, 23), ("+05:30", "2025-12-01", 1, 5)]
        {
            let offset: Arc<str> = offset.into();
            assert_eq!(facts.read(&Fact::Date(offset.clone())), Value::text(date), "{offset}");
            assert_eq!(facts.read(&Fact::Weekday(offset.clone())), Value::Number(weekday), "{offset}");
            assert_eq!(facts.read(&Fact::Hour(offset.clone())), Value::Number(hour), "{offset}");
        }
        assert_eq!(facts.read(&Fact::Date("noon".into())), Value::Missing);
        let age = |facts: &Facts| facts.read(&Fact::SessionAge("3600 86400".into())).into_owned();
        assert_eq!(age(&facts), Value::Number(0));
        for (seconds, step) in [(3599, 0), (3600, 3600), (100_000, 86_400)] {
            let session = SessionFacts {
                user: "alice".to_owned(),
                node: "node-a".to_owned(),
                site: "*".to_owned(),
                started: facts.now - seconds,
            };
            facts.session = Some(Arc::new(session));
            assert_eq!(age(&facts), Value::Number(step), "{seconds}");
        }
    }

    #[test]
    fn the_version_of_http_is_a_fact() {
        let mut facts = Facts::of_nobody("public", "a.test");
        assert_eq!(facts.read(&Fact::HttpVersion), Value::text("1.1"));
        let (mut head, ()) = hyper::Request::new(()).into_parts();
        head.version = Version::HTTP_2;
        facts.request = facts.request.map(|request| RequestFacts { head: Arc::new(head), ..request });
        assert_eq!(facts.read(&Fact::HttpVersion), Value::text("2"));
    }
}
