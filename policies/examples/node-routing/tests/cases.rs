//! Logins, and where they go.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_node_routing::NodeRouting;
use doorward_policy::testing::{configure, vectors};

#[test]
fn the_vectors_hold() {
    vectors::route::<NodeRouting>(include_str!("../vectors.toml"));
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let check = |settings: &str, expected: &[&str]| {
        let problems = configure::<NodeRouting>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), expected);
    };
    check(r#"{ "rules": [] }"#, &["rules"]);
    check(
        r#"{ "rules": [{ "users": [], "nodes": [] }, { "domains": [], "from": [], "nodes": ["a"] }] }"#,
        &["rules[0].users", "rules[0].nodes", "rules[1].domains", "rules[1].from"],
    );
    check(r#"{ "rules": [{ "nodes": ["a"], "otherwise": "never" }] }"#, &["rules[0].otherwise"]);
    check(r#"{ "rules": [{ "node": "a" }] }"#, &["rules[0].node"]);
}
