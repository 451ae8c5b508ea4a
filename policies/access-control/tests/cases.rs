//! Rules, a client, and what comes of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_access_control::AccessControl;
use doorward_policy::testing::{Given, configure, vectors};
use doorward_policy::{AccessPolicy, Verdict};

/// Asks a policy with these settings about a client at the listener "public".
fn verdict(settings: &str, client: &str) -> Verdict {
    let policy: AccessControl = configure(settings).unwrap_or_else(|problems| panic!("{settings}: {problems:?}"));
    policy.check(&Given::new().client_address(client).listener("public").connection())
}

#[test]
fn the_best_rule_that_matches_decides() {
    let check = |rules: &str, client: &str, allowed: bool| {
        let verdict = verdict(&format!(r#"{{ "default": "deny", "rules": {rules} }}"#), client);
        assert_eq!(matches!(verdict, Verdict::Allow(_)), allowed, "{rules} on {client}: {verdict:?}");
    };
    let allow_all = r#"[{ "allow": "0.0.0.0/0" }]"#;
    check(allow_all, "192.0.2.7", true);
    check(allow_all, "::ffff:192.0.2.7", true);
    check(allow_all, "2001:db8::7", false);
    check("[]", "192.0.2.7", false);
    let tie = r#"[{ "allow": "10.0.0.0/8" }, { "deny": "10.0.0.0/24" }]"#;
    check(tie, "10.0.0.1", false);
    check(tie, "10.0.1.1", true);
    check(tie, "11.0.0.1", false);
    let allow_first = r#"[{ "deny": "10.0.0.0/24" }, { "allow": "10.0.0.0/8", "priority": 499 }]"#;
    check(allow_first, "10.0.0.1", true);
    let deny_first = r#"[{ "allow": "10.0.0.0/8" }, { "deny": "10.0.0.0/24", "priority": 1 }]"#;
    check(deny_first, "10.0.0.1", false);
    // The best of each kind competes, not the last or the narrowest.
    let many = r#"[{ "deny": "10.0.0.1", "priority": 1000 }, { "allow": "10.0.0.0/8", "priority": 700 },
                   { "deny": "10.0.0.0/16", "priority": 800 }, { "allow": "10.0.0.1", "priority": 900 }]"#;
    check(many, "10.0.0.1", true);
    check(r#"[{ "deny": "2001:db8::/32" }, { "allow": "::/0" }]"#, "2001:db8::7", false);
    check(r#"[{ "allow": "10.0.0.1-10.0.0.9" }]"#, "10.0.0.9", true);
    check(r#"[{ "allow": "10.0.0.1-10.0.0.9" }]"#, "10.0.0.10", false);
    check(r#"[{ "allow": "10.0.0.1", "enabled": false }]"#, "10.0.0.1", false);
}

#[test]
fn the_default_holds_where_no_rule_matches() {
    assert_eq!(verdict("{}", "192.0.2.7"), Verdict::Allow(None));
    assert_eq!(verdict(r#"{ "default": "deny" }"#, "192.0.2.7"), Verdict::Deny("no rule allows it".into()));
}

#[test]
fn a_rule_tells_its_limit_class_or_its_reason() {
    let settings = r#"{ "rules": [{ "allow": "10.0.0.0/8", "limits": "office" }, { "deny": "192.0.2.0/24", "reason": "noise" },
                                  { "deny": "203.0.113.0/24" }] }"#;
    assert_eq!(verdict(settings, "10.1.1.1"), Verdict::Allow(Some("office".into())));
    assert_eq!(verdict(settings, "192.0.2.1"), Verdict::Deny("noise".into()));
    assert_eq!(verdict(settings, "203.0.113.1"), Verdict::Deny("denied by the rule for 203.0.113.0/24".into()));
}

#[test]
fn the_most_specific_scope_with_a_match_decides() {
    let settings = r#"{
        "rules": [{ "deny": "0.0.0.0/0", "priority": 1, "reason": "global" }],
        "service-rules": [{ "deny": "10.0.0.0/8", "priority": 1, "reason": "service" }],
        "listener-rules": { "public": [{ "allow": "10.0.0.0/16", "priority": 1000 }], "other": [{ "allow": "0.0.0.0/0" }] }
    }"#;
    assert_eq!(verdict(settings, "10.0.1.1"), Verdict::Allow(None));
    assert_eq!(verdict(settings, "10.1.1.1"), Verdict::Deny("service".into()));
    assert_eq!(verdict(settings, "192.0.2.1"), Verdict::Deny("global".into()));
}

#[test]
fn the_listener_is_read_only_if_rules_name_one() {
    let policy: AccessControl = configure(r#"{ "rules": [{ "deny": "10.0.0.1" }] }"#).unwrap();
    assert_eq!(policy.check(&Given::new().client_address("10.0.0.2").connection()), Verdict::Allow(None));
}

#[test]
fn what_is_no_address_is_denied() {
    assert!(matches!(verdict("{}", "unix"), Verdict::Deny(_)));
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let settings = r#"{
        "rules": [{ "deny": "203.0.113.0/33", "priority": 0 }, { "allow": "10.0.0.0/8", "reason": "x" }, {}],
        "service-rules": [{ "allow": "10.0.0.1", "deny": "10.0.0.2" }, { "deny": "10.0.0.1/8", "limits": "x", "enabled": false }],
        "listener-rules": { "public": [{ "allow": "office", "priority": 1001, "limits": "" }] }
    }"#;
    let problems = configure::<AccessControl>(settings).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let expected = [
        "rules[0].priority",
        "rules[0].deny",
        "rules[1].reason",
        "rules[2]",
        "service-rules[0]",
        "service-rules[1].limits",
        "service-rules[1].deny",
        "listener-rules.public[0].priority",
        "listener-rules.public[0].limits",
        "listener-rules.public[0].allow",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_wrong_type_or_key_is_reported_with_its_place() {
    let check = |settings: &str, path: &str| {
        let problems = configure::<AccessControl>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{problems:?}");
    };
    check(r#"{ "rules": [{ "deny": "10.0.0.1" }, { "deny": 7 }] }"#, "rules[1].deny");
    check(r#"{ "rules": [{ "deny": "10.0.0.1", "prio": 7 }] }"#, "rules[0].prio");
    check(r#"{ "rules": [{ "deny": "10.0.0.1", "priority": -7 }] }"#, "rules[0].priority");
    check(r#"{ "default": "maybe" }"#, "default");
    check("[]", "");
    check("{", "");
}

#[test]
fn thousands_of_rules_are_found_like_a_few() {
    let rules: Vec<String> =
        (0..20_000).map(|n| format!(r#"{{ "deny": "10.{}.{}.0/25" }}"#, n / 250, n % 250)).collect();
    let settings = format!(r#"{{ "rules": [{}] }}"#, rules.join(","));
    assert!(matches!(verdict(&settings, "10.79.249.127"), Verdict::Deny(_)));
    assert_eq!(verdict(&settings, "10.79.249.128"), Verdict::Allow(None));
}

#[test]
fn the_vectors_hold() {
    vectors::access::<AccessControl>(include_str!("../vectors.toml"));
}
