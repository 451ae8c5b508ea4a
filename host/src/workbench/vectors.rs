//! Test vectors as a component is asked of them. `doorward_policy::testing::vectors` runs the same files natively; both
//! read them with `doorward_vectors`.

use std::path::Path;
use std::sync::Arc;

use doorward_vectors::{Answered, File, Vector, Whole, WholeAnswer, WholeBoth, WholePage, by_name};
use serde_json::{Map, Value as Json};

use super::outcome::Stop;
use crate::policy::{Action, Answer, AuthMode, Destination, Form, Given, Header, Verdict};

/// Reads a file.
///
/// # Errors
/// All that is wrong in it, with lines.
pub fn read(path: &Path) -> Result<File, Stop> {
    doorward_vectors::read(path).map_err(|faults| Stop::Unusable(faults.to_string()))
}

/// The facts of a vector.
///
/// # Errors
/// A fact that cannot be; the reader lets none through.
pub fn given(vector: &Vector) -> Result<Arc<Given>, Stop> {
    let given = Given::of_vector(&vector.facts, &vector.complete);
    given.map(Arc::new).map_err(|problem| Stop::Unusable(format!("{}: {problem}", vector.name)))
}

/// An answer as vectors know it.
pub fn answered(answer: &Answer) -> Answered {
    let named =
        |headers: &[Header]| by_name(headers.iter().map(|header| (header.name.as_str(), header.value.as_str())));
    match answer {
        Answer::Access(Verdict::Allow(None)) => Answered::kind("allow"),
        Answer::Access(Verdict::Allow(Some(class))) => Answered::whole(Whole::Allow(class.clone())),
        Answer::Access(Verdict::Deny(reason)) => Answered::whole(Whole::Deny(reason.clone())),
        Answer::Access(Verdict::Abstain) => Answered::kind("abstain"),
        Answer::Device(form) => Answered::kind(form.map_or("none", Form::name)),
        Answer::Template(name) => Answered::kind(name.as_deref().unwrap_or("none")),
        Answer::AuthMode(None) => Answered::kind("none"),
        Answer::AuthMode(Some(AuthMode::LdapBind)) => Answered::kind("ldap-bind"),
        Answer::AuthMode(Some(AuthMode::LdapPassword)) => Answered::kind("ldap-password"),
        Answer::AuthMode(Some(AuthMode::BackEnd)) => Answered::kind("back-end"),
        Answer::AuthMode(Some(AuthMode::Refuse(text))) => Answered::whole(Whole::Refuse(text.clone())),
        Answer::Route(None) => Answered::kind("none"),
        Answer::Route(Some(Destination::Keep)) => Answered::kind("keep"),
        Answer::Route(Some(Destination::Node(name))) => Answered::whole(Whole::Node(name.clone())),
        Answer::Route(Some(Destination::Later)) => Answered::kind("later"),
        Answer::Filter(Action::Pass) => Answered::kind("pass"),
        Answer::Filter(Action::Set(headers)) => Answered::whole(Whole::Set(named(headers))),
        Answer::Filter(Action::SetBoth(both)) => Answered::whole(Whole::SetBoth(WholeBoth {
            request: named(&both.request),
            response: named(&both.response),
        })),
        Answer::Filter(Action::Page(page)) => Answered::whole(Whole::Page(WholePage {
            name: Some(page.name.clone()),
            status: Some(page.status),
            title: Some(page.title.clone()),
            text: Some(page.text.clone()),
            headers: Some(named(&page.headers)),
        })),
        Answer::Filter(Action::Redirect(target)) => Answered::whole(Whole::Redirect(target.clone())),
        Answer::Filter(Action::Answer(reply)) => Answered::whole(Whole::Answer(WholeAnswer {
            status: Some(reply.status),
            headers: Some(named(&reply.headers)),
            body: Some(reply.body.clone()),
        })),
    }
}

/// The settings that hold for a vector: its own, or the file's, or those of the command line.
pub fn settings_of(vector: &Vector, file: &File, typed: &Json) -> Json {
    let own = vector.settings.clone().or_else(|| file.settings.clone()).unwrap_or_else(|| typed.clone());
    if own.is_object() { own } else { Json::Object(Map::new()) }
}
