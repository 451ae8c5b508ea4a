//! What policies answer: the types of the WIT, what of them is allowed, and how they are written in logs and tests.
//!
//! Pure.

use doorward_vectors::Question;
use http::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json, json};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Names and texts that a policy answers with may have so many bytes: a reason, a template's name.
const TEXT_SIZE: usize = 1024;
/// Headers of a filter's answer, and the bytes of each value: what browsers and servers take without question.
const HEADERS: usize = 32;
const HEADER_SIZE: usize = 4096;
/// A redirect may lead to any target that a client may send, at another host.
const LOCATION_SIZE: usize = 64 << 10;
/// The paragraph of a page.
const PARAGRAPH_SIZE: usize = 8 << 10;
/// Body of a filter's answer: a notice page with its styles, and no more.
const BODY_SIZE: usize = 64 << 10;

/// `access.verdict`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Verdict {
    /// Let it in, with a limit class.
    #[component(name = "allow")]
    Allow(Option<String>),
    /// Close it, for a reason.
    #[component(name = "deny")]
    Deny(String),
    /// No opinion.
    #[component(name = "abstain")]
    Abstain,
}

/// `device.form`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Form {
    /// A computer with a large screen.
    #[component(name = "desktop")]
    Desktop,
    /// A phone.
    #[component(name = "mobile")]
    Mobile,
    /// A tablet.
    #[component(name = "tablet")]
    Tablet,
    /// A program.
    #[component(name = "bot")]
    Bot,
}

/// `auth-mode.mode`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Mode {
    /// By LDAP bind.
    #[component(name = "ldap-bind")]
    LdapBind,
    /// By the password attribute.
    #[component(name = "ldap-password")]
    LdapPassword,
    /// By the back-end.
    #[component(name = "back-end")]
    BackEnd,
    /// Not at all; the text is shown.
    #[component(name = "refuse")]
    Refuse(String),
}

/// `filter.header`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// `filter.answer`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers besides those that Doorward writes.
    pub headers: Vec<Header>,
    /// The body.
    pub body: String,
}

/// `filter.both-ways`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct BothWays {
    /// On the way to the node.
    pub request: Vec<Header>,
    /// In the answer.
    pub response: Vec<Header>,
}

/// `filter.page`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct SitePage {
    /// Which page.
    pub name: String,
    /// Status code.
    pub status: u16,
    /// Its heading: a key of the language files, or a text.
    pub title: String,
    /// A paragraph: likewise.
    pub text: String,
    /// Headers besides those that Doorward writes.
    pub headers: Vec<Header>,
}

/// `filter.action`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Action {
    /// No opinion.
    #[component(name = "pass")]
    Pass,
    /// Let it pass with these headers.
    #[component(name = "set")]
    Set(Vec<Header>),
    /// Send the browser elsewhere.
    #[component(name = "redirect")]
    Redirect(String),
    /// Answer it here.
    #[component(name = "answer")]
    Answer(Reply),
    /// Let it pass with headers both ways.
    #[component(name = "set-both")]
    SetBoth(BothWays),
    /// Answer it here with a page of the site.
    #[component(name = "page")]
    Page(SitePage),
}

/// The pages of a site that a filter may answer with.
const PAGES: [&str; 1] = ["notice"];

/// `route.destination`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Destination {
    /// The node without a policy.
    #[component(name = "keep")]
    Keep,
    /// The node of this name.
    #[component(name = "node")]
    Node(String),
    /// None now.
    #[component(name = "later")]
    Later,
}

/// Which headers a filter may write; the program around this crate knows.
#[derive(Debug, Clone, Copy)]
pub struct HeaderRules {
    /// Towards a node.
    pub may_set: fn(&str) -> bool,
    /// In an answer of its own.
    pub may_answer: fn(&str) -> bool,
    /// In an answer of somebody else.
    pub may_add: fn(&str) -> bool,
}

/// What a policy says to its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// May this client connect?
    Access(Verdict),
    /// What kind of device is this?
    Device(Option<Form>),
    /// Which template is shown?
    Template(Option<String>),
    /// How is this login checked?
    AuthMode(Option<Mode>),
    /// What happens to this request?
    Filter(Action),
    /// Which node does this login go to?
    Route(Option<Destination>),
}

/// The answer to one question.
pub trait TypedAnswer {
    /// The question.
    const QUESTION: Question;

    /// What an answer says to this question. One to another question, which no policy gives that was asked this, is no
    /// opinion.
    fn of(answer: &Answer) -> &Self;
}

impl TypedAnswer for Verdict {
    const QUESTION: Question = Question::Access;

    fn of(answer: &Answer) -> &Self {
        match answer {
            Answer::Access(verdict) => verdict,
            Answer::Device(_) | Answer::Template(_) | Answer::AuthMode(_) | Answer::Filter(_) | Answer::Route(_) => {
                &Self::Abstain
            }
        }
    }
}

impl TypedAnswer for Option<Form> {
    const QUESTION: Question = Question::Device;

    fn of(answer: &Answer) -> &Self {
        match answer {
            Answer::Device(form) => form,
            Answer::Access(_) | Answer::Template(_) | Answer::AuthMode(_) | Answer::Filter(_) | Answer::Route(_) => {
                &None
            }
        }
    }
}

impl TypedAnswer for Option<String> {
    const QUESTION: Question = Question::Template;

    fn of(answer: &Answer) -> &Self {
        match answer {
            Answer::Template(name) => name,
            Answer::Access(_) | Answer::Device(_) | Answer::AuthMode(_) | Answer::Filter(_) | Answer::Route(_) => &None,
        }
    }
}

impl TypedAnswer for Option<Mode> {
    const QUESTION: Question = Question::AuthMode;

    fn of(answer: &Answer) -> &Self {
        match answer {
            Answer::AuthMode(mode) => mode,
            Answer::Access(_) | Answer::Device(_) | Answer::Template(_) | Answer::Filter(_) | Answer::Route(_) => &None,
        }
    }
}

impl TypedAnswer for Action {
    const QUESTION: Question = Question::Filter;

    fn of(answer: &Answer) -> &Self {
        match answer {
            Answer::Filter(action) => action,
            Answer::Access(_) | Answer::Device(_) | Answer::Template(_) | Answer::AuthMode(_) | Answer::Route(_) => {
                &Self::Pass
            }
        }
    }
}

impl TypedAnswer for Option<Destination> {
    const QUESTION: Question = Question::Route;

    fn of(answer: &Answer) -> &Self {
        match answer {
            Answer::Route(destination) => destination,
            Answer::Access(_) | Answer::Device(_) | Answer::Template(_) | Answer::AuthMode(_) | Answer::Filter(_) => {
                &None
            }
        }
    }
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Desktop, Self::Mobile, Self::Tablet, Self::Bot];

    /// The word of the WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Bot => "bot",
        }
    }

    /// The form of a word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }
}

impl Answer {
    /// The answer, if a policy may say it.
    ///
    /// # Errors
    /// What about it is not allowed.
    pub fn checked(self, rules: HeaderRules) -> Result<Self, &'static str> {
        let short = |text: &str| if text.len() > TEXT_SIZE { Err("a text of over 1 KiB") } else { Ok(()) };
        match &self {
            Self::Access(Verdict::Allow(Some(text)) | Verdict::Deny(text)) => short(text)?,
            Self::Template(Some(text)) | Self::AuthMode(Some(Mode::Refuse(text))) => short(text)?,
            Self::Route(Some(Destination::Node(text))) => short(text)?,
            Self::Route(None | Some(Destination::Keep | Destination::Later)) => {}
            Self::Filter(action) => check_action(action, rules)?,
            Self::Access(Verdict::Allow(None) | Verdict::Abstain) | Self::Device(_) | Self::Template(None) => {}
            Self::AuthMode(None | Some(Mode::LdapBind | Mode::LdapPassword | Mode::BackEnd)) => {}
        }
        Ok(self)
    }

    /// Whether it is an opinion, which ends the chain of policies that are asked.
    pub fn is_opinion(&self) -> bool {
        !matches!(
            self,
            Self::Access(Verdict::Abstain)
                | Self::Device(None)
                | Self::Template(None)
                | Self::AuthMode(None)
                | Self::Filter(Action::Pass)
                | Self::Route(None)
        )
    }

    /// Whether it refuses something: such decisions are recorded more fully.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Access(Verdict::Deny(_))
                | Self::AuthMode(Some(Mode::Refuse(_)))
                | Self::Filter(Action::Answer(_) | Action::Page(_))
                | Self::Route(Some(Destination::Later))
        )
    }

    /// Bytes that it holds beside itself.
    pub fn size(&self) -> usize {
        let headers = |headers: &[Header]| {
            headers.iter().map(|header| header.name.len() + header.value.len() + 64).sum::<usize>()
        };
        match self {
            Self::Access(Verdict::Allow(Some(text)) | Verdict::Deny(text))
            | Self::Template(Some(text))
            | Self::AuthMode(Some(Mode::Refuse(text)))
            | Self::Filter(Action::Redirect(text))
            | Self::Route(Some(Destination::Node(text))) => text.len(),
            Self::Route(None | Some(Destination::Keep | Destination::Later)) => 0,
            Self::Filter(Action::Set(set)) => headers(set),
            Self::Filter(Action::SetBoth(both)) => headers(&both.request) + headers(&both.response),
            Self::Filter(Action::Page(page)) => {
                headers(&page.headers) + page.name.len() + page.title.len() + page.text.len()
            }
            Self::Filter(Action::Answer(reply)) => headers(&reply.headers) + reply.body.len(),
            Self::Access(Verdict::Allow(None) | Verdict::Abstain) | Self::Device(_) | Self::Template(None) => 0,
            Self::AuthMode(None | Some(Mode::LdapBind | Mode::LdapPassword | Mode::BackEnd)) => 0,
            Self::Filter(Action::Pass) => 0,
        }
    }

    /// As it is written in logs and tests: a word (`"deny"`), or a word with what goes with it (`{"deny": "…"}`).
    /// No opinion is `"none"`, `"abstain"` or `"pass"`.
    pub fn to_json(&self) -> Json {
        let headers = |headers: &[Header]| {
            Json::Object(headers.iter().map(|header| (header.name.clone(), json!(header.value))).collect::<Map<_, _>>())
        };
        match self {
            Self::Access(Verdict::Allow(None)) => json!("allow"),
            Self::Access(Verdict::Allow(Some(class))) => json!({"allow": class}),
            Self::Access(Verdict::Deny(reason)) => json!({"deny": reason}),
            Self::Access(Verdict::Abstain) => json!("abstain"),
            Self::Device(form) => json!(form.map_or("none", Form::name)),
            Self::Template(name) => json!(name.as_deref().unwrap_or("none")),
            Self::AuthMode(None) => json!("none"),
            Self::AuthMode(Some(Mode::LdapBind)) => json!("ldap-bind"),
            Self::AuthMode(Some(Mode::LdapPassword)) => json!("ldap-password"),
            Self::AuthMode(Some(Mode::BackEnd)) => json!("back-end"),
            Self::AuthMode(Some(Mode::Refuse(text))) => json!({"refuse": text}),
            Self::Route(None) => json!("none"),
            Self::Route(Some(Destination::Keep)) => json!("keep"),
            Self::Route(Some(Destination::Node(name))) => json!({"node": name}),
            Self::Route(Some(Destination::Later)) => json!("later"),
            Self::Filter(Action::Pass) => json!("pass"),
            Self::Filter(Action::Set(set)) => json!({"set": headers(set)}),
            Self::Filter(Action::SetBoth(both)) => {
                json!({"set-both": {"request": headers(&both.request), "response": headers(&both.response)}})
            }
            Self::Filter(Action::Page(SitePage { name, status, title, text, headers: sent })) => {
                json!({"page": {"name": name, "status": status, "title": title, "text": text, "headers": headers(sent)}})
            }
            Self::Filter(Action::Redirect(location)) => json!({"redirect": location}),
            Self::Filter(Action::Answer(reply)) => {
                json!({"answer": {"status": reply.status, "headers": headers(&reply.headers), "body": reply.body}})
            }
        }
    }

    /// Whether a test that expects this is content: the whole answer, or its word alone.
    pub fn fits(&self, expected: &Json) -> bool {
        let own = self.to_json();
        let word = own.as_object().and_then(|own| own.keys().next());
        own == *expected || expected.as_str().is_some_and(|expected| word.is_some_and(|word| word == expected))
    }
}

fn check_action(action: &Action, rules: HeaderRules) -> Result<(), &'static str> {
    match action {
        Action::Pass => Ok(()),
        Action::Set(headers) => check_set(headers, rules.may_set),
        Action::SetBoth(both) => {
            check_set(&both.request, rules.may_set)?;
            check_set(&both.response, rules.may_add)
        }
        Action::Page(page) => {
            if !PAGES.contains(&page.name.as_str()) {
                return Err("a page that there is not");
            }
            if !(200..=599).contains(&page.status) || matches!(page.status, 204 | 205 | 304) {
                return Err("a page with a status that has none");
            }
            if page.title.len() > TEXT_SIZE || page.text.len() > PARAGRAPH_SIZE {
                return Err("a page with a heading of over 1 KiB, or a text of over 8 KiB");
            }
            check_set(&page.headers, rules.may_add)
        }
        Action::Redirect(location) => check_location(location),
        Action::Answer(reply) => {
            if !(200..=599).contains(&reply.status) {
                return Err("a status that is not from 200 to 599");
            }
            if matches!(reply.status, 204 | 205 | 304) && !reply.body.is_empty() {
                return Err("a body with a status that has none");
            }
            if reply.body.len() > BODY_SIZE {
                return Err("a body of over 64 KiB");
            }
            check_headers(&reply.headers)?;
            if reply.headers.iter().any(|header| !(rules.may_answer)(&header.name)) {
                return Err("a header of the answer that only Doorward writes");
            }
            Ok(())
        }
    }
}

fn check_set(headers: &[Header], may_set: fn(&str) -> bool) -> Result<(), &'static str> {
    check_headers(headers)?;
    if headers.iter().any(|header| !may_set(&header.name)) {
        return Err("a header that no policy may set");
    }
    Ok(())
}

fn check_headers(headers: &[Header]) -> Result<(), &'static str> {
    if headers.len() > HEADERS {
        return Err("more than 32 headers");
    }
    for header in headers {
        if header.name.parse::<HeaderName>().is_err() {
            return Err("a header whose name is no token");
        }
        if header.value.len() > HEADER_SIZE || HeaderValue::from_str(&header.value).is_err() {
            return Err("a header whose value is too long, or has characters that end a line");
        }
    }
    Ok(())
}

/// Where a redirect may lead: an absolute `http` or `https` URL, or a path here. Read as browsers do: `\` is `/` to
/// them, and control characters and blanks inside are dropped.
fn check_location(location: &str) -> Result<(), &'static str> {
    if location.len() > LOCATION_SIZE || location.bytes().any(|byte| !(0x21..=0x7e).contains(&byte) || byte == b'\\') {
        return Err("a redirect to something that is no URL");
    }
    let authority = ["https://", "http://"].iter().find_map(|scheme| location.strip_prefix(scheme));
    let absolute = authority.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
    let local = location.starts_with('/') && !location.starts_with("//");
    if absolute || local { Ok(()) } else { Err("a redirect to something that is no URL") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HeaderRules = HeaderRules {
        may_set: |name| !name.eq_ignore_ascii_case("cookie"),
        may_answer: |name| !name.eq_ignore_ascii_case("set-cookie"),
        may_add: |name| !name.eq_ignore_ascii_case("location"),
    };

    fn header(name: &str, value: &str) -> Header {
        Header { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn what_a_filter_may_not_say_is_found() {
        let reply = |status, headers, body: &str| Action::Answer(Reply { status, headers, body: body.to_owned() });
        let both = |request, response| Action::SetBoth(BothWays { request, response });
        let page = |name: &str, status, text: &str| {
            let (name, title, text) = (name.to_owned(), "t".to_owned(), text.to_owned());
            Action::Page(SitePage { name, status, title, text, headers: Vec::new() })
        };
        let headed = |name: &str| match page("notice", 503, "closed") {
            Action::Page(page) => Action::Page(SitePage { headers: vec![header(name, "x")], ..page }),
            other => other,
        };
        let good = [
            Action::Pass,
            Action::Set(vec![header("X-Tenant", "a")]),
            Action::Redirect("https://a.test/x?y".to_owned()),
            Action::Redirect("/x".to_owned()),
            both(Vec::new(), vec![header("cache-control", "no-store")]),
            page("notice", 503, "closed"),
            headed("retry-after"),
            reply(503, vec![header("retry-after", "60")], "later"),
        ];
        for action in good {
            assert!(Answer::Filter(action.clone()).checked(RULES).is_ok(), "{action:?}");
        }
        let bad = [
            Action::Set(vec![header("x-a", "1\r\nx-b: 2")]),
            Action::Set(vec![header("x a", "1")]),
            Action::Set(vec![header("", "1")]),
            Action::Set(vec![header("Cookie", "sid=1")]),
            Action::Set(vec![header("x-a", &"1".repeat(5000))]),
            Action::Set(vec![header("x-a", "1"); 33]),
            Action::Redirect("javascript:alert(1)".to_owned()),
            Action::Redirect("//evil.test".to_owned()),
            Action::Redirect("/\\evil.test".to_owned()),
            Action::Redirect("/a\r\nSet-Cookie: x".to_owned()),
            Action::Redirect("https://".to_owned()),
            Action::Redirect(String::new()),
            both(vec![header("cookie", "a=1")], Vec::new()),
            both(Vec::new(), vec![header("Location", "/")]),
            both(Vec::new(), vec![header("x-a", "1\r\nx-b: 2")]),
            page("login", 200, ""),
            headed("Location"),
            page("notice", 204, ""),
            page("notice", 100, ""),
            page("notice", 200, &"x".repeat(9000)),
            reply(101, Vec::new(), ""),
            reply(999, Vec::new(), ""),
            reply(204, Vec::new(), "x"),
            reply(200, vec![header("Set-Cookie", "sid=1")], "x"),
            reply(200, Vec::new(), &"x".repeat(70_000)),
        ];
        for action in bad {
            assert!(Answer::Filter(action.clone()).checked(RULES).is_err(), "{action:?}");
        }
    }

    #[test]
    fn a_test_may_expect_the_word_or_the_whole() {
        let deny = Answer::Access(Verdict::Deny("no".to_owned()));
        for (expected, fits) in [
            (json!("deny"), true),
            (json!({"deny": "no"}), true),
            (json!({"deny": "yes"}), false),
            (json!("allow"), false),
        ] {
            assert_eq!(deny.fits(&expected), fits, "{expected}");
        }
        assert!(Answer::Template(None).fits(&json!("none")));
        assert!(Answer::Template(Some("blue".to_owned())).fits(&json!("blue")));
    }
}
