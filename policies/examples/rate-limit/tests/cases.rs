//! Requests, and whether they are too many.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_policy::testing::{configure, vectors};
use doorward_rate_limit::RateLimit;

#[test]
fn the_vectors_hold() {
    vectors::filter::<RateLimit>(include_str!("../vectors.toml"));
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let check = |settings: &str, expected: &[&str]| {
        let problems = configure::<RateLimit>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), expected);
    };
    check(r#"{ "rules": [] }"#, &["rules"]);
    check(
        r#"{ "rules": [{ "paths": [], "of": "path", "per": "minute", "most": 0 }] }"#,
        &["rules[0].most", "rules[0].paths"],
    );
    check(r#"{ "rules": [{ "of": "user", "per": "minute", "most": 1 }] }"#, &["rules[0].of"]);
}
