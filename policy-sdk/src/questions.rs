//! The six questions: a trait each, and the types of their answers.
//!
//! Pure.

use crate::facts::{ConnectionFacts, LoginFacts, RequestFacts, RouteFacts};
use crate::settings::Policy;

pub use crate::bindings::access::exports::doorward::policy::access::Verdict;
pub use crate::bindings::auth_mode::exports::doorward::policy::auth_mode::Mode;
pub use crate::bindings::device::exports::doorward::policy::device::Form;
pub use crate::bindings::filter::exports::doorward::policy::filter::{Action, Answer, BothWays, Header, Page};
pub use crate::bindings::route::exports::doorward::policy::route::Destination;

/// May this client connect? Asked once for a connection, before TLS, so only facts of the connection are known.
pub trait AccessPolicy: Policy {
    /// The verdict over a connection; [`Verdict::Abstain`] leaves it to the next policy.
    fn check(&self, facts: &ConnectionFacts) -> Verdict;
}

/// What kind of device sent this request?
pub trait DevicePolicy: Policy {
    /// The form of the device, or `None` to leave it to the next policy.
    fn classify(&self, facts: &RequestFacts) -> Option<Form>;
}

/// Which template does this virtual host show on this device?
pub trait TemplatePolicy: Policy {
    /// The name of a template for a device of this form, or `None` to leave it to the next policy.
    fn select(&self, facts: &RequestFacts, form: Form) -> Option<String>;
}

/// How is this login to be checked?
pub trait AuthModePolicy: Policy {
    /// The way to check this login, or `None` to leave it to the next policy.
    fn decide(&self, facts: &LoginFacts) -> Option<Mode>;
}

/// What happens to this request? Asked for each request, before anything of Doorward's own or of a node answers it.
pub trait FilterPolicy: Policy {
    /// What to do with the request; [`Action::Pass`] leaves it to the next policy.
    fn decide(&self, facts: &RequestFacts) -> Action;
}

/// Which node does this login go to? Asked at each login whose user the directory knows, before the node is asked.
pub trait RoutePolicy: Policy {
    /// Where the login goes, or `None` to leave it to the next policy.
    fn decide(&self, facts: &RouteFacts) -> Option<Destination>;
}

impl Action {
    /// Lets the request pass with these headers set on the way to the node.
    ///
    /// ```
    /// # use doorward_policy::{Action, Header};
    /// assert_eq!(Action::set([("x-a", "1")]), Action::Set(vec![Header::new("x-a", "1")]));
    /// ```
    pub fn set<N: Into<String>, V: Into<String>>(headers: impl IntoIterator<Item = (N, V)>) -> Action {
        Action::Set(headers.into_iter().map(|(name, value)| Header::new(name, value)).collect())
    }
}

impl Action {
    /// Lets the request pass with headers set in the answer, whoever gives it.
    pub fn set_response<N: Into<String>, V: Into<String>>(headers: impl IntoIterator<Item = (N, V)>) -> Action {
        let response = headers.into_iter().map(|(name, value)| Header::new(name, value)).collect();
        Action::SetBoth(BothWays { request: Vec::new(), response })
    }
}

impl Page {
    /// The page `notice` of the site, in its look and in the language of whoever asks. Heading and text are keys of the
    /// language files, or texts; they are escaped.
    ///
    /// ```
    /// # use doorward_policy::{Action, Page};
    /// let closed = Action::Page(Page::notice(503, "closed_title", "closed_text").with("retry-after", "3600"));
    /// # assert!(matches!(closed, Action::Page(page) if page.headers.len() == 1 && page.name == "notice"));
    /// ```
    pub fn notice(status: u16, title: impl Into<String>, text: impl Into<String>) -> Page {
        Page { name: "notice".into(), status, title: title.into(), text: text.into(), headers: Vec::new() }
    }

    /// The same with one header more.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Page {
        self.headers.push(Header::new(name, value));
        self
    }
}

impl Header {
    /// A header; its name is a token, its value has no line breaks.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Header {
        Header { name: name.into(), value: value.into() }
    }
}

impl Answer {
    /// A page. What stands in the body is sent as it is, so escape what comes from facts.
    pub fn html(status: u16, body: impl Into<String>) -> Answer {
        let headers = vec![Header::new("content-type", "text/html; charset=utf-8")];
        Answer { status, headers, body: body.into() }
    }

    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        let headers = vec![Header::new("content-type", "text/plain; charset=utf-8")];
        Answer { status, headers, body: body.into() }
    }

    /// The same with one header more.
    ///
    /// ```
    /// # use doorward_policy::{Action, Answer};
    /// let closed = Action::Answer(Answer::text(503, "Back at eight.\n").with("retry-after", "3600"));
    /// # assert!(matches!(closed, Action::Answer(answer) if answer.headers.len() == 2));
    /// ```
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Answer {
        self.headers.push(Header::new(name, value));
        self
    }
}
