//! Test vectors: a TOML file of facts and the verdicts they must bring. The functions here run one natively;
//! `doorward policy test` runs the same file on the component.
//!
//! ```toml
//! [settings]                    # for all vectors; none is `{}`
//! default = "deny"
//!
//! [[vector]]
//! name = "a sentence"
//! expect = "deny"               # the kind of the verdict, or the whole: expect = { deny = "no rule allows it" }
//! settings = { rules = [] }     # instead of the common ones
//! [vector.facts]                # named as in the WIT
//! client-address = "192.0.2.7"
//! header = { user-agent = "x" } # these and no others; likewise `query`, `cookie`, `attribute`, `node-state`, `node-load`
//! tls-server-name = ""          # there is none
//! now = "2026-12-01T08:00Z"     # or seconds since 1970
//! ```
//!
//! | question | kinds | the whole |
//! | --- | --- | --- |
//! | `access` | `allow`, `deny`, `abstain` | `{ allow = "class" }`, `{ deny = "reason" }` |
//! | `device` | `desktop`, `mobile`, `tablet`, `bot`, `none` | |
//! | `template` | the name of a template, or `none` | |
//! | `auth-mode` | `ldap-bind`, `ldap-password`, `back-end`, `refuse`, `none` | `{ refuse = "text" }` |
//! | `filter` | `pass`, `set`, `redirect`, `answer`, `set-both`, `page` | `{ set = { x-a = "1" } }`, `{ redirect = "/x" }`, `{ set-both = { request = {}, response = { x-a = "1" } } }`, `{ page = { name = "notice", status = 503 } }`, `{ answer = { status = 503, headers = { retry-after = "60" }, body = "…" } }` |
//! | `route` | `keep`, `node`, `later`, `none` | `{ node = "node-a" }` |
//!
//! Of an answer, what is left out is not compared. Header names are compared without letter case. For `template`, the
//! parameter is the fact `form`.
//!
//! A key that is not known fails the whole file. A fact that the policy reads and the vector does not give fails the
//! vector and is named.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use doorward_vectors::{Answered, Expected, Question, Vector, Whole, WholeAnswer, WholeBoth, WholePage, by_name};
use serde_json::Value;

use super::{Given, configure};
use crate::questions::{AccessPolicy, AuthModePolicy, DevicePolicy, FilterPolicy, RoutePolicy, TemplatePolicy};
use crate::questions::{Action, Destination, Form, Header, Mode, Verdict};
use crate::settings::Policy;

/// Runs a file of vectors on an access policy, and panics with a list of all that fail.
pub fn access<P: AccessPolicy>(file: &str) {
    run(file, Question::Access, |policy: &P, given, _| match policy.check(&given.connection()) {
        Verdict::Allow(None) => Answered::kind("allow"),
        Verdict::Allow(Some(class)) => Answered::whole(Whole::Allow(class)),
        Verdict::Deny(reason) => Answered::whole(Whole::Deny(reason)),
        Verdict::Abstain => Answered::kind("abstain"),
    });
}

/// Runs a file of vectors on a device policy, and panics with a list of all that fail.
pub fn device<P: DevicePolicy>(file: &str) {
    run(file, Question::Device, |policy: &P, given, _| match policy.classify(&given.request()) {
        Some(Form::Desktop) => Answered::kind("desktop"),
        Some(Form::Mobile) => Answered::kind("mobile"),
        Some(Form::Tablet) => Answered::kind("tablet"),
        Some(Form::Bot) => Answered::kind("bot"),
        None => Answered::kind("none"),
    });
}

/// Runs a file of vectors on a template policy, and panics with a list of all that fail.
pub fn template<P: TemplatePolicy>(file: &str) {
    run(file, Question::Template, |policy: &P, given, form| {
        let Some(form) = form else { panic!("the question has the parameter `form`, which the vector does not give") };
        Answered::kind(policy.select(&given.request(), form).as_deref().unwrap_or("none"))
    });
}

/// Runs a file of vectors on an auth-mode policy, and panics with a list of all that fail.
pub fn auth_mode<P: AuthModePolicy>(file: &str) {
    run(file, Question::AuthMode, |policy: &P, given, _| match policy.decide(&given.login()) {
        Some(Mode::LdapBind) => Answered::kind("ldap-bind"),
        Some(Mode::LdapPassword) => Answered::kind("ldap-password"),
        Some(Mode::BackEnd) => Answered::kind("back-end"),
        Some(Mode::Refuse(text)) => Answered::whole(Whole::Refuse(text)),
        None => Answered::kind("none"),
    });
}

/// Runs a file of vectors on a filter policy, and panics with a list of all that fail.
pub fn filter<P: FilterPolicy>(file: &str) {
    let named = |headers: &[Header]| by_name(headers.iter().map(|header| (&*header.name, &*header.value)));
    run(file, Question::Filter, |policy: &P, given, _| match policy.decide(&given.request()) {
        Action::Pass => Answered::kind("pass"),
        Action::Set(headers) => Answered::whole(Whole::Set(named(&headers))),
        Action::SetBoth(both) => Answered::whole(Whole::SetBoth(WholeBoth {
            request: named(&both.request),
            response: named(&both.response),
        })),
        Action::Page(page) => Answered::whole(Whole::Page(WholePage {
            headers: Some(named(&page.headers)),
            name: Some(page.name),
            status: Some(page.status),
            title: Some(page.title),
            text: Some(page.text),
        })),
        Action::Redirect(target) => Answered::whole(Whole::Redirect(target)),
        Action::Answer(answer) => Answered::whole(Whole::Answer(WholeAnswer {
            status: Some(answer.status),
            headers: Some(named(&answer.headers)),
            body: Some(answer.body),
        })),
    });
}

/// Runs a file of vectors on a route policy, and panics with a list of all that fail.
pub fn route<P: RoutePolicy>(file: &str) {
    run(file, Question::Route, |policy: &P, given, _| match policy.decide(&given.route()) {
        Some(Destination::Keep) => Answered::kind("keep"),
        Some(Destination::Node(name)) => Answered::whole(Whole::Node(name)),
        Some(Destination::Later) => Answered::kind("later"),
        None => Answered::kind("none"),
    });
}

/// Runs every vector of a file, and panics if one fails.
fn run<P: Policy>(file: &str, question: Question, ask: impl Fn(&P, Given, Option<Form>) -> Answered) {
    let file = doorward_vectors::parse(Path::new("vectors.toml"), file)
        .unwrap_or_else(|faults| panic!("the vectors cannot be read:\n{faults}"));
    let common = file.settings.unwrap_or_else(|| Value::Object(Default::default()));
    let run_one = |vector: &Vector| {
        let failure = check(vector, &common, question, &ask).err()?;
        Some(format!("{}: {failure}", vector.name))
    };
    let failures: Vec<String> = file.vectors.iter().filter_map(run_one).collect();
    let (failed, count) = (failures.len(), file.vectors.len());
    assert!(failures.is_empty(), "{failed} of {count} vectors failed:\n{}", failures.join("\n"));
}

/// Runs one vector, or tells how it failed.
fn check<P: Policy>(
    vector: &Vector,
    common: &Value,
    question: Question,
    ask: impl Fn(&P, Given, Option<Form>) -> Answered,
) -> Result<(), String> {
    let expected = Expected::new(&vector.expect, question)?;
    let settings = vector.settings.as_ref().unwrap_or(common);
    let policy: P = configure(&settings.to_string()).map_err(|problems| {
        let problems: Vec<_> =
            problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
        format!("the policy does not take the settings: {}", problems.join("; "))
    })?;
    let form = vector.facts.iter().find(|given| given.fact.function == "form");
    let form = form.and_then(|given| serde_json::from_value(given.value.clone()).ok());
    let given = Given::of_vector(vector);
    // A fact that was not given panics when it is read, and so may the policy: one vector's failure, not the file's.
    let found = catch_unwind(AssertUnwindSafe(|| ask(&policy, given, form)))
        .map_err(|panic| super::message_of(panic.as_ref()).to_string())?;
    if expected.fits(&found) { Ok(()) } else { Err(format!("expected {expected}, found {found}")) }
}

#[cfg(test)]
mod tests;
