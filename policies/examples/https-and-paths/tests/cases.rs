//! Requests, and where they go.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use doorward_https_and_paths::HttpsAndPaths;
use doorward_policy::testing::{Given, configure, vectors};
use doorward_policy::{Action, FilterPolicy};

#[test]
fn the_vectors_hold() {
    vectors::filter::<HttpsAndPaths>(include_str!("../vectors.toml"));
}

#[test]
fn without_blocked_paths_an_odd_path_is_sent_to_https() {
    let policy: HttpsAndPaths = configure(r#"{ "https": {} }"#).unwrap();
    let given = Given::new().path("/a/../b").target("/a/../b?c").scheme("http").host("mail.example.com");
    assert_eq!(policy.decide(&given.request()), Action::Redirect("https://mail.example.com/a/../b?c".into()));
}

/// A policy that runs out of its 10 ms has no opinion, so the worst path there is must stay far below.
#[test]
fn the_worst_path_takes_little_time() {
    let patterns: Vec<String> = (0..200).map(|n| format!(r#""/a*b*c*{n}""#)).collect();
    let settings = format!(r#"{{ "block": [{{ "paths": [{}] }}] }}"#, patterns.join(","));
    let policy: HttpsAndPaths = configure(&settings).unwrap();
    let odd = format!("/{}", "%253ba/;/b//".repeat(1020 / 12));
    let plain = format!("/{}", "abc/".repeat(2000));
    for path in [odd, plain] {
        let facts = Given::new().path(&path).scheme("https").request();
        let began = Instant::now();
        assert_eq!(policy.decide(&facts), Action::Pass);
        let took = began.elapsed();
        println!("{} bytes: {took:?}", path.len());
        assert!(took < Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 5 }), "{took:?}");
    }
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let settings = r#"{
        "https": { "port": 0, "except-paths": ["/ok/*", "well-known"], "except-hosts": ["*", "ok.example"] },
        "block": [{ "paths": [], "methods": [] },
                  { "paths": ["/a?b", "/%41", "/a//b", "/a/../b", "/a\\b", "/.git/*"], "methods": ["GET", "A B"], "status": 500 }]
    }"#;
    let problems = configure::<HttpsAndPaths>(settings).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let expected = [
        "https.port",
        "https.except-paths[1]",
        "https.except-hosts[0]",
        "block[0].paths",
        "block[0].methods",
        "block[1].paths[0]",
        "block[1].paths[1]",
        "block[1].paths[2]",
        "block[1].paths[3]",
        "block[1].paths[4]",
        "block[1].methods[1]",
        "block[1].status",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_wrong_type_or_key_is_reported_with_its_place() {
    let check = |settings: &str, path: &str| {
        let problems = configure::<HttpsAndPaths>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{problems:?}");
    };
    check("{}", "");
    check(r#"{ "https": { "port": 70000 } }"#, "https.port");
    check(r#"{ "https": { "ports": 443 } }"#, "https.ports");
    check(r#"{ "block": [{}] }"#, "block[0]");
    check(r#"{ "block": [{ "paths": "/x" }] }"#, "block[0].paths");
}
