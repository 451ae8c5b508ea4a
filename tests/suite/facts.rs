//! The table of facts (`policy-sdk/vectors/src/facts.rs`), and what is written by hand beside it: the interface, the crate for
//! authors in Rust, the header for C, and the documents. docs/adding.md has the way.

use std::collections::BTreeSet;

use doorward_vectors::{FACTS, FactType, ValueType};
use regex_lite::Regex;

use crate::documents::document as text;

/// The facts that are functions of the interface.
fn functions() -> impl Iterator<Item = &'static FactType> {
    FACTS.iter().filter(|fact| wit_type(fact.value).is_some())
}

/// The type in the WIT; none for what only the host knows.
fn wit_type(value: ValueType) -> Option<&'static str> {
    match value {
        ValueType::Text => Some("string"),
        ValueType::Optional => Some("option<string>"),
        ValueType::Texts => Some("list<string>"),
        ValueType::Port => Some("u16"),
        ValueType::Count => Some("u32"),
        ValueType::Moment => Some("u64"),
        ValueType::Flag => Some("bool"),
        ValueType::Seed | ValueType::Form => None,
    }
}

#[test]
fn the_interface_has_each_fact_with_its_type_and_no_other() {
    let pattern = Regex::new(r"(?m)^  ([a-z-]+): func\((.*?)\) -> (.*);$").expect("a pattern");
    let mut written = BTreeSet::new();
    for interface in ["connection", "request", "login", "nodes", "session", "usage", "clock", "lists"] {
        for found in pattern.captures_iter(&text(&format!("wit/{interface}.wit"))) {
            let [function, parameter, value] = [1, 2, 3].map(|group| found[group].to_owned());
            let parameter = parameter
                .split_once(": ")
                .map_or(parameter.clone(), |(_, kind)| kind.split(',').next().unwrap_or_default().to_owned());
            written.insert((interface.to_owned(), function, parameter, value));
        }
    }
    let table = functions().map(|fact| {
        let parameter = if fact.is_named { "string" } else { "" };
        let value = wit_type(fact.value).expect("a type");
        (fact.interface.to_owned(), fact.function.to_owned(), parameter.to_owned(), value.to_owned())
    });
    assert_eq!(written, table.collect());
}

#[test]
fn authors_in_rust_and_c_can_ask_for_each_fact() {
    let pattern = Regex::new(r"fact!\(self, ([a-z_]+)::([a-z_]+)\(").expect("a pattern");
    let rust = text("policy-sdk/src/facts.rs");
    let rust: BTreeSet<(String, String)> =
        pattern.captures_iter(&rust).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
    assert_eq!(rust, functions().map(|fact| (fact.interface.to_owned(), fact.method.to_owned())).collect());
    let header = text("policy-sdk/c/doorward.h");
    for fact in functions() {
        let import = format!("\"{}\", \"{}\"", fact.interface, fact.function);
        assert!(header.contains(&import), "doorward.h lacks {import}");
    }
}

#[test]
fn the_documents_list_each_fact_and_no_other() {
    let policies = text("docs/policies.md");
    let facts =
        policies.split("\n## Facts\n").nth(1).and_then(|rest| rest.split("\n| question |").next()).expect("facts");
    let name = Regex::new(r"`([a-z-]+)(\((?:name|steps|offset|name, value)\))?`").expect("a pattern");
    let (mut interface, mut written) = (String::new(), BTreeSet::new());
    for row in facts.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if let Some(found) = name.captures(cells[0]) {
            interface = found[1].to_owned();
        }
        written.extend(
            name.captures_iter(cells[1]).map(|found| (interface.clone(), found[1].to_owned(), found.get(2).is_some())),
        );
    }
    let table = FACTS.iter().map(|fact| (fact.interface.to_owned(), fact.function.to_owned(), fact.is_named));
    assert_eq!(written, table.collect());
}
