//! Rules, a login, and how it is checked.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_auth_mode::AuthMode;
use doorward_policy::testing::{Given, configure, vectors};
use doorward_policy::{AuthModePolicy, Mode};

/// Asks a policy with these rules, and only these facts given.
fn decide(rules: &str, given: Given) -> Option<Mode> {
    let policy: AuthMode = configure(&format!(r#"{{ "rules": {rules} }}"#)).unwrap();
    policy.decide(&given.login())
}

/// All that the conditions can ask about.
fn login() -> Given {
    let given = Given::new().listener("public").client_address("10.0.0.7").host("mail.example.com");
    given.username("ann@corp@Example.COM").attribute("mailAuth", &["other", "Bind"]).attribute("none", &[])
}

#[test]
fn each_condition_holds_or_not() {
    let check = |condition: &str, expected: bool| {
        let mode = decide(&format!(r#"[{{ {condition}, "mode": "back-end" }}]"#), login());
        assert_eq!(mode, expected.then_some(Mode::BackEnd), "{condition}");
    };
    check(r#""listener": "public""#, true);
    check(r#""listener": "Public""#, false);
    check(r#""address": "10.0.0.0/8""#, true);
    check(r#""address": "10.0.0.1-10.0.0.6""#, false);
    check(r#""host": "mail.example.com""#, true);
    check(r#""host": "*.example.com""#, true);
    check(r#""host": "*.example.org""#, false);
    check(r#""domain": "example.com""#, true);
    check(r#""domain": "*.com""#, true);
    check(r#""domain": "corp*""#, false);
    check(r#""attribute": { "name": "mailAuth", "value": "bind" }"#, true);
    check(r#""attribute": { "name": "mailAuth", "value": "b*" }"#, true);
    check(r#""attribute": { "name": "mailAuth", "value": "x*" }"#, false);
    check(r#""attribute": { "name": "mailAuth" }"#, true);
    check(r#""attribute": { "name": "none" }"#, false);
    check(r#""listener": "public", "host": "mail.example.com", "domain": "example.com""#, true);
    check(r#""listener": "public", "host": "mail.example.com", "domain": "example.org""#, false);
}

#[test]
fn the_first_rule_that_holds_decides() {
    let rules = r#"[{ "domain": "a.example", "mode": "ldap-password" }, { "domain": "*.example", "refuse": "not here" },
                    { "mode": "ldap-bind" }]"#;
    let check =
        |user: &str, expected: Mode| assert_eq!(decide(rules, Given::new().username(user)), Some(expected), "{user}");
    check("ann@a.example", Mode::LdapPassword);
    check("ann@b.example", Mode::Refuse("not here".into()));
    check("ann@example.com", Mode::LdapBind);
    check("ann", Mode::LdapBind);
}

#[test]
fn without_a_rule_that_holds_the_default_does() {
    let policy: AuthMode = configure(r#"{ "default": "ldap-bind" }"#).unwrap();
    assert_eq!(policy.decide(&Given::new().login()), Some(Mode::LdapBind));
    assert_eq!(decide("[]", Given::new()), None);
}

#[test]
fn only_facts_that_matter_are_read() {
    // A fact that is not given panics when read: the cheap condition fails, so the directory is not asked.
    let rules = r#"[{ "attribute": { "name": "mailAuth" }, "listener": "inner", "mode": "back-end" },
                    { "host": "mail.example.com", "mode": "ldap-bind" }, { "domain": "*", "refuse": "x" }]"#;
    let given = Given::new().listener("public").host("mail.example.com");
    assert_eq!(decide(rules, given), Some(Mode::LdapBind));
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let settings = r#"{ "rules": [
        { "address": "10.0.0.0/33", "host": "*", "mode": "ldap-bind" },
        { "domain": "ann@example.com", "attribute": { "name": "" } },
        { "mode": "ldap-bind", "refuse": "x" }
    ] }"#;
    let problems = configure::<AuthMode>(settings).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        ["rules[0].address", "rules[0].host", "rules[1]", "rules[1].domain", "rules[1].attribute.name", "rules[2]"]
    );
}

#[test]
fn a_wrong_type_or_key_is_reported_with_its_place() {
    let check = |settings: &str, path: &str| {
        let problems = configure::<AuthMode>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{problems:?}");
    };
    check(r#"{ "rules": [{ "mode": "ldap" }] }"#, "rules[0].mode");
    check(r#"{ "rules": [{ "attribute": { "nme": "x" }, "mode": "ldap-bind" }] }"#, "rules[0].attribute.nme");
    check(r#"{ "default": "refuse" }"#, "default");
}

#[test]
fn the_vectors_hold() {
    vectors::auth_mode::<AuthMode>(include_str!("../vectors.toml"));
}
