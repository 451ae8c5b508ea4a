//! Hosts, devices, and the templates they get.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_policy::testing::{Given, configure, vectors};
use doorward_policy::{Form, TemplatePolicy};
use doorward_virtual_hosts::VirtualHosts;

const SETTINGS: &str = r#"{
    "hosts": {
        "mail.example.com": "blue",
        "*.example.com": "sky",
        "*.Example.org.": { "desktop": "green", "mobile": "green-small" },
        "*.deep.example.org": { "mobile": "deep" }
    },
    "default": "plain"
}"#;

#[test]
fn the_most_specific_host_and_the_device_pick_the_template() {
    let policy: VirtualHosts = configure(SETTINGS).unwrap();
    let check = |host: &str, form: Form, expected: &str| {
        let template = policy.select(&Given::new().host(host).request(), form);
        assert_eq!(template.as_deref(), Some(expected), "{host}, {form:?}");
    };
    check("mail.example.com", Form::Desktop, "blue");
    check("mail.example.com", Form::Mobile, "blue");
    check("MAIL.example.com.", Form::Bot, "blue");
    check("web.example.com", Form::Desktop, "sky");
    check("a.mail.example.com", Form::Desktop, "sky");
    check("mail.example.org", Form::Desktop, "green");
    check("mail.example.org", Form::Mobile, "green-small");
    check("mail.example.org", Form::Tablet, "green");
    check("mail.example.org", Form::Bot, "green");
    // The longest wildcard counts even if it says nothing for the form; then comes the default.
    check("a.deep.example.org", Form::Mobile, "deep");
    check("a.deep.example.org", Form::Desktop, "plain");
    check("example.com", Form::Desktop, "plain");
    check("", Form::Desktop, "plain");
}

#[test]
fn without_a_default_the_next_policy_decides() {
    let policy: VirtualHosts = configure(r#"{ "hosts": { "a.example": "blue" } }"#).unwrap();
    assert_eq!(policy.select(&Given::new().host("b.example").request(), Form::Desktop), None);
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let settings = r#"{
        "hosts": { "a..example": "blue", "b.example": "../etc", "c.example": {}, "d.example": { "bot": "" }, "*": "x",
                   "e.example": "blue", "E.example": "blue" },
        "default": "a/b"
    }"#;
    let problems = configure::<VirtualHosts>(settings).err().unwrap();
    let mut paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "default",
        "hosts.*",
        "hosts.a..example",
        "hosts.b.example",
        "hosts.c.example",
        "hosts.d.example.bot",
        "hosts.e.example",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_wrong_type_or_key_is_reported_with_its_place() {
    let check = |settings: &str, path: &str| {
        let problems = configure::<VirtualHosts>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{problems:?}");
    };
    check(r#"{ "hosts": { "a.example": 7 } }"#, "hosts.a.example");
    check(r#"{ "hosts": { "a.example": { "phone": "x" } } }"#, "hosts.a.example");
    check(r#"{ "default": 7 }"#, "default");
    check(r#"{ "host": {} }"#, "host");
}

#[test]
fn the_vectors_hold() {
    vectors::template::<VirtualHosts>(include_str!("../vectors.toml"));
}
