//! What a vector expects, and whether an answer is that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::Question;

/// What a vector asks for: only the kind of the answer, or all that it says.
#[derive(Debug, PartialEq)]
pub enum Expected {
    /// An answer of this kind.
    Kind(String),
    /// An answer that says this.
    Whole(Whole),
}

/// An answer that says more than its kind.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Whole {
    /// Of `access`: the limit class.
    Allow(String),
    /// Of `access`: the reason.
    Deny(String),
    /// Of `auth-mode`: the text that is shown.
    Refuse(String),
    /// Of `filter`: where the browser is sent.
    Redirect(String),
    /// Of `filter`: headers for the node, by name in lower case.
    Set(BTreeMap<String, String>),
    /// Of `filter`: an answer of its own.
    Answer(WholeAnswer),
    /// Of `filter`: headers for the node and for the client.
    SetBoth(WholeBoth),
    /// Of `filter`: a page of the site.
    Page(WholePage),
    /// Of `route`: the node's name.
    Node(String),
}

/// A filter's own answer; what a vector leaves out is not compared.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WholeAnswer {
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The headers, by name in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Headers both ways, by name in lower case.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WholeBoth {
    /// For the node.
    #[serde(default)]
    pub request: BTreeMap<String, String>,
    /// For the client.
    #[serde(default)]
    pub response: BTreeMap<String, String>,
}

/// A page of the site; what a vector leaves out is not compared.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WholePage {
    /// Which page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its paragraph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The headers, by name in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

/// What a policy answered.
#[derive(Debug, PartialEq)]
pub struct Answered {
    /// The word for it, such as `deny`.
    pub kind: String,
    /// What it says beyond that.
    pub whole: Option<Whole>,
}

impl Expected {
    /// Reads what is written.
    ///
    /// # Errors
    /// The question has no such answer.
    pub fn new(written: &Json, question: Question) -> Result<Self, String> {
        let expected = match written.as_str() {
            Some(kind) => Self::Kind(kind.to_owned()),
            None => {
                let whole = Whole::deserialize(written).map_err(|error| format!("`expect` cannot be read: {error}"))?;
                Self::Whole(whole.normal())
            }
        };
        match (question.kinds(), &expected) {
            (None, Self::Kind(_)) => Ok(expected),
            (None, Self::Whole(_)) => Err("`expect` is the name of a template or \"none\"".to_owned()),
            (Some(kinds), _) if kinds.contains(&expected.kind()) => Ok(expected),
            (Some(kinds), _) => {
                Err(format!("`expect`: found \"{}\", expected one of {}", expected.kind(), kinds.join(", ")))
            }
        }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Kind(kind) => kind,
            Self::Whole(whole) => whole.kind(),
        }
    }

    /// Whether an answer is what is expected.
    pub fn fits(&self, answered: &Answered) -> bool {
        match (self, &answered.whole) {
            (Self::Kind(kind), _) => *kind == answered.kind,
            (Self::Whole(Whole::Answer(expected)), Some(Whole::Answer(found))) => expected.fits(found),
            (Self::Whole(Whole::Page(expected)), Some(Whole::Page(found))) => expected.fits(found),
            (Self::Whole(expected), found) => Some(expected) == found.as_ref(),
        }
    }
}

impl Answered {
    /// An answer that says no more than its kind.
    pub fn kind(kind: &str) -> Self {
        Self { kind: kind.to_owned(), whole: None }
    }

    /// An answer that says more.
    pub fn whole(whole: Whole) -> Self {
        Self { kind: whole.kind().to_owned(), whole: Some(whole) }
    }
}

impl Whole {
    fn kind(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny(_) => "deny",
            Self::Refuse(_) => "refuse",
            Self::Redirect(_) => "redirect",
            Self::Set(_) => "set",
            Self::Answer(_) => "answer",
            Self::Node(_) => "node",
            Self::SetBoth(_) => "set-both",
            Self::Page(_) => "page",
        }
    }

    /// With header names in lower case, as `by_name` makes them.
    fn normal(self) -> Self {
        let normal = |headers: BTreeMap<String, String>| {
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
        };
        match self {
            Self::Set(headers) => Self::Set(normal(headers)),
            Self::Answer(answer) => Self::Answer(WholeAnswer { headers: answer.headers.map(normal), ..answer }),
            Self::SetBoth(both) => {
                Self::SetBoth(WholeBoth { request: normal(both.request), response: normal(both.response) })
            }
            Self::Page(page) => Self::Page(WholePage { headers: page.headers.map(normal), ..page }),
            Self::Allow(_) | Self::Deny(_) | Self::Refuse(_) | Self::Redirect(_) | Self::Node(_) => self,
        }
    }
}

impl WholeAnswer {
    fn fits(&self, found: &Self) -> bool {
        (self.status.is_none() || self.status == found.status)
            && (self.headers.is_none() || self.headers == found.headers)
            && (self.body.is_none() || self.body == found.body)
    }
}

impl WholePage {
    fn fits(&self, found: &Self) -> bool {
        (self.name.is_none() || self.name == found.name)
            && (self.status.is_none() || self.status == found.status)
            && (self.title.is_none() || self.title == found.title)
            && (self.text.is_none() || self.text == found.text)
            && (self.headers.is_none() || self.headers == found.headers)
    }
}

/// Headers by name in lower case. Of one that is there several times, the values stand behind commas, which means the
/// same (RFC 9110, section 5.3).
pub fn by_name<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let mut named = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        named
            .entry(name.to_ascii_lowercase())
            .and_modify(|values| *values = format!("{values}, {value}"))
            .or_insert_with(|| value.to_owned());
    }
    named
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "\"{kind}\""),
            Self::Whole(whole) => write!(f, "{}", json!(whole)),
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.whole {
            None => write!(f, "\"{}\"", self.kind),
            Some(whole) => write!(f, "{}", json!(whole)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_must_be_an_answer_of_the_question() {
        for (written, question, told) in [
            (json!("refuse"), Question::Access, "found \"refuse\", expected one of allow, deny, abstain"),
            (json!({"redirect": "/"}), Question::Access, "found \"redirect\", expected one of"),
            (json!({"perhaps": "/"}), Question::Access, "unknown variant `perhaps`"),
            (json!({"allow": "a", "deny": "b"}), Question::Access, "`expect` cannot be read"),
            (json!(1), Question::Access, "`expect` cannot be read"),
            (json!({"answer": {"code": 503}}), Question::Filter, "unknown field `code`"),
            (json!({"deny": "x"}), Question::Template, "the name of a template"),
            (json!("allow"), Question::Route, "expected one of keep, node, later, none"),
        ] {
            let error = Expected::new(&written, question).unwrap_err();
            assert!(error.contains(told), "{written}: {error}");
        }
    }

    #[test]
    fn of_an_answer_only_what_is_written_is_compared() {
        let headers = by_name([("X-A", "1"), ("x-a", "2")]);
        let answer = WholeAnswer { status: Some(503), headers: Some(headers), body: Some("b".to_owned()) };
        let answer = Answered::whole(Whole::Answer(answer));
        let check = |written: Json, answer: &Answered, question, fits: bool| {
            assert_eq!(Expected::new(&written, question).unwrap().fits(answer), fits, "{written}");
        };
        for (written, fits) in [
            (json!("answer"), true),
            (json!("pass"), false),
            (json!({"answer": {}}), true),
            (json!({"answer": {"status": 503, "headers": {"x-A": "1, 2"}}}), true),
            (json!({"answer": {"headers": {}}}), false),
            (json!({"answer": {"body": "c"}}), false),
            (json!({"set": {}}), false),
            (json!({"page": {}}), false),
        ] {
            check(written, &answer, Question::Filter, fits);
        }
        let office = Answered::whole(Whole::Allow("office".to_owned()));
        check(json!("allow"), &office, Question::Access, true);
        check(json!({"allow": "office"}), &office, Question::Access, true);
        check(json!({"allow": "office"}), &Answered::kind("allow"), Question::Access, false);
        check(json!("none"), &Answered::kind("none"), Question::Template, true);
    }
}
