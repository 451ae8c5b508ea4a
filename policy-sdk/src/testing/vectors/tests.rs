//! Files of vectors, and what is said of those that fail.

use std::collections::BTreeMap;

use super::*;
use crate::facts::{ConnectionFacts, LoginFacts, RequestFacts};
use crate::questions::Answer;
use crate::settings::Problem;

/// Answers every question with what the fact `host` (or `listener`) says, to see each verdict.
struct Parrot {
    words: BTreeMap<String, String>,
}

impl Policy for Parrot {
    type Settings = BTreeMap<String, String>;

    fn configure(words: Self::Settings) -> Result<Self, Vec<Problem>> {
        if words.contains_key("bad") { Err(vec![Problem::new("bad", "is bad")]) } else { Ok(Parrot { words }) }
    }
}

impl AccessPolicy for Parrot {
    fn check(&self, facts: &ConnectionFacts) -> Verdict {
        match facts.listener().as_str() {
            "abstain" => Verdict::Abstain,
            "class" => Verdict::Allow(Some("office".into())),
            "deny" => Verdict::Deny(format!("at {}", facts.now())),
            _ => Verdict::Allow(facts.tls_server_name()),
        }
    }
}

impl DevicePolicy for Parrot {
    fn classify(&self, facts: &RequestFacts) -> Option<Form> {
        match facts.header("X-Form")?.as_str() {
            "bot" => Some(Form::Bot),
            "tablet" => Some(Form::Tablet),
            "mobile" => Some(Form::Mobile),
            _ => Some(Form::Desktop),
        }
    }
}

impl TemplatePolicy for Parrot {
    fn select(&self, facts: &RequestFacts, form: Form) -> Option<String> {
        if form == Form::Bot { None } else { self.words.get(&facts.host()).cloned() }
    }
}

impl AuthModePolicy for Parrot {
    fn decide(&self, facts: &LoginFacts) -> Option<Mode> {
        match facts.attribute("mode").first()?.as_str() {
            "bind" => Some(Mode::LdapBind),
            "password" => Some(Mode::LdapPassword),
            "refuse" => Some(Mode::Refuse("no".into())),
            _ => Some(Mode::BackEnd),
        }
    }
}

impl FilterPolicy for Parrot {
    fn decide(&self, facts: &RequestFacts) -> Action {
        match facts.path().as_str() {
            "/set" => Action::set([("X-A", "1"), ("X-B", "2"), ("x-a", "3")]),
            "/redirect" => Action::Redirect(facts.target()),
            "/answer" => Action::Answer(Answer::text(503, "later").with("Retry-After", "60")),
            _ => Action::Pass,
        }
    }
}

/// What a file of vectors panics with.
fn failure(run: fn(&str), file: &str) -> String {
    let panic = catch_unwind(|| run(file)).expect_err("no vector failed");
    super::super::message_of(panic.as_ref()).to_string()
}

#[test]
fn every_kind_of_verdict_is_told_from_the_others() {
    let check = |run: fn(&str), vectors: &[(&str, &str)]| {
        for (_, facts) in vectors {
            for (expect, own) in vectors {
                let file = format!("[[vector]]\nname = \"n\"\nexpect = {expect}\nfacts = {{ {facts} }}");
                let result = catch_unwind(|| run(&file));
                assert_eq!(result.is_ok(), facts == own, "{file}");
            }
        }
    };
    check(
        access::<Parrot>,
        &[
            (r#""abstain""#, r#"listener = "abstain""#),
            (r#"{ allow = "office" }"#, r#"listener = "class""#),
            (r#"{ allow = "other" }"#, r#"listener = "", tls-server-name = "other""#),
            (r#"{ deny = "at 7" }"#, r#"listener = "deny", now = 7"#),
            (r#""deny""#, r#"listener = "deny", now = 7"#),
        ],
    );
    check(
        device::<Parrot>,
        &[
            (r#""desktop""#, r#"header = { x-form = "x" }"#),
            (r#""mobile""#, r#"header = { X-FORM = "mobile" }"#),
            (r#""tablet""#, r#"header = { x-form = "tablet" }"#),
            (r#""bot""#, r#"header = { x-form = "bot" }"#),
            (r#""none""#, "header = {}"),
        ],
    );
    check(
        auth_mode::<Parrot>,
        &[
            (r#""ldap-bind""#, r#"attribute = { mode = ["bind"] }"#),
            (r#""ldap-password""#, r#"attribute = { mode = ["password"] }"#),
            (r#""back-end""#, r#"attribute = { mode = ["x", "y"] }"#),
            (r#"{ refuse = "no" }"#, r#"attribute = { mode = ["refuse"] }"#),
            (r#""refuse""#, r#"attribute = { mode = ["refuse"] }"#),
            (r#""none""#, "attribute = {}"),
        ],
    );
    check(
        filter::<Parrot>,
        &[
            (r#""pass""#, r#"path = "/""#),
            (r#"{ set = { X-a = "1, 3", x-b = "2" } }"#, r#"path = "/set""#),
            (r#"{ redirect = "/a?b" }"#, r#"path = "/redirect", target = "/a?b""#),
            (r#"{ answer = { status = 503 } }"#, r#"path = "/answer""#),
            (r#"{ answer = { body = "later" } }"#, r#"path = "/answer""#),
            (
                r#"{ answer = { headers = { retry-after = "60", Content-Type = "text/plain; charset=utf-8" } } }"#,
                r#"path = "/answer""#,
            ),
        ],
    );
}

#[test]
fn a_template_is_named_and_a_vector_may_have_its_own_settings() {
    template::<Parrot>(
        r#"
        [settings]
        "a.example" = "blue"
        [[vector]]
        name = "common"
        expect = "blue"
        facts = { host = "a.example", form = "desktop" }
        [[vector]]
        name = "own"
        settings = { "a.example" = "green" }
        expect = "green"
        facts = { host = "a.example", form = "mobile" }
        [[vector]]
        name = "none"
        expect = "none"
        facts = { form = "bot" }
        "#,
    );
}

#[test]
fn all_failures_are_told_with_what_was_expected_and_found() {
    let told = failure(
        access::<Parrot>,
        r#"
        [[vector]]
        name = "right"
        expect = "abstain"
        facts = { listener = "abstain" }
        [[vector]]
        name = "wrong kind"
        expect = "allow"
        facts = { listener = "abstain" }
        [[vector]]
        name = "wrong class"
        expect = { allow = "home" }
        facts = { listener = "class" }
        [[vector]]
        name = "no class"
        expect = { allow = "home" }
        facts = { listener = "", tls-server-name = "" }
        [[vector]]
        name = "not given"
        expect = "allow"
        facts = { client-address = "192.0.2.7" }
        [[vector]]
        name = "bad settings"
        expect = "allow"
        settings = { bad = "x" }
        "#,
    );
    let expected = r#"5 of 6 vectors failed:
wrong kind: expected "allow", found "abstain"
wrong class: expected {"allow":"home"}, found {"allow":"office"}
no class: expected {"allow":"home"}, found "allow"
not given: the policy read the fact listener, which the test did not give
bad settings: the policy does not take the settings: bad: is bad"#;
    assert_eq!(told, expected);
}

#[test]
fn now_is_a_number_or_a_time() {
    for now in ["1796112000", "\"2026-12-01T08:00Z\"", "2026-12-01T09:00:00+01:00", "\"2026-12-01T00:30:00-07:30\""] {
        let expect = "expect = { deny = \"at 1796112000\" }";
        access::<Parrot>(&format!(
            "[[vector]]\nname = \"n\"\n{expect}\nfacts = {{ listener = \"deny\", now = {now} }}"
        ));
    }
}

#[test]
fn what_is_not_known_is_an_error() {
    let check = |run: fn(&str), vector: &str, message: &str| {
        let told = failure(run, &format!("[[vector]]\nname = \"n\"\n{vector}"));
        assert!(told.contains(message), "{vector}: {told}");
    };
    check(access::<Parrot>, r#"expects = "allow""#, "vectors.toml:3: vector[0].expects: found an unknown key");
    check(access::<Parrot>, r#"expect = "refuse""#, "found \"refuse\", expected one of allow, deny, abstain");
    check(template::<Parrot>, r#"expect = "blue""#, "the parameter `form`");
}
