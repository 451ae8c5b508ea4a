//! The parts that the program is built of, of `cargo metadata`: a list as CycloneDX 1.5 has it, and the texts of licences.
//!
//! Only what is linked into the program counts: not what tests, builds, or policies need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};

/// The list, and the texts.
pub(crate) struct Bill {
    pub(crate) list: String,
    pub(crate) licences: String,
}

/// The package whose parts count.
const PROGRAM: &str = "doorward";

/// Of what `cargo metadata --format-version 1 --filter-platform TRIPLE` prints, and packages of Debian that go with it.
///
/// # Errors
/// It is something else.
pub(crate) fn of(metadata: &Json, debian: &[(String, String)]) -> anyhow::Result<Bill> {
    let packages: BTreeMap<&str, &Json> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Json> =
        list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let of_name = |name: &str| packages.iter().find(|(_, package)| package["name"] == name).map(|(id, _)| *id);
    let root = of_name(PROGRAM).context("it has no package doorward")?;
    let (mut linked, mut waiting) = (BTreeSet::new(), vec![root]);
    while let Some(id) = waiting.pop() {
        // A macro writes source text, and is in no program itself.
        if packages.get(id).is_some_and(|package| is_macro(package)) || !linked.insert(id) {
            continue;
        }
        let node = nodes.get(id).with_context(|| format!("{id} is in no graph"))?;
        let normal = list(&node["deps"]).filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()));
        waiting.extend(normal.filter_map(|dep| dep["pkg"].as_str()));
    }
    let mut parts: Vec<&Json> =
        linked.iter().filter(|id| **id != root).filter_map(|id| packages.get(id).copied()).collect();
    parts.sort_by_key(|part| (part["name"].as_str(), part["version"].as_str()));
    if parts.len() < 20 {
        bail!("it names {} parts only", parts.len());
    }
    let version = packages[root]["version"].as_str().unwrap_or_default();
    let components = parts.iter().map(|part| component(part)).chain(debian.iter().map(of_debian));
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(packages[root]), "tools": [{ "name": "doorward-package", "version": version }] },
        "components": components.collect::<Vec<_>>(),
    });
    Ok(Bill { list: format!("{}\n", serde_json::to_string_pretty(&bill)?), licences: licences(&parts) })
}

fn list(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

fn is_macro(package: &Json) -> bool {
    list(&package["targets"]).any(|target| list(&target["kind"]).any(|kind| kind == "proc-macro"))
}

fn component(package: &Json) -> Json {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = json!({
        "type": if name == PROGRAM { "application" } else { "library" },
        "name": name,
        "version": version,
        "licenses": [{ "expression": text(package, "license").replace('/', " OR ") }],
    });
    // What lies beside the program in its own sources is in no registry.
    if package["source"].is_string() {
        component["purl"] = format!("pkg:cargo/{name}@{version}").into();
        component["bom-ref"] = component["purl"].clone();
    }
    component
}

/// Its licences stand in its own file, `/usr/share/doc/NAME/copyright`.
fn of_debian((name, version): &(String, String)) -> Json {
    let purl = format!("pkg:deb/debian/{name}@{version}");
    json!({ "type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl })
}

fn text<'a>(package: &'a Json, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// The name of each part with its licence, and each text once, with all parts that have it.
fn licences(parts: &[&Json]) -> String {
    let mut out = String::from("The program contains these parts of others, under these licences:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in parts.iter().filter(|part| part["source"].is_string()) {
        let named = format!("{} {}", text(part, "name"), text(part, "version"));
        let _ = writeln!(out, "{named}: {}", text(part, "license"));
        let Some(folder) = Path::new(text(part, "manifest_path")).parent() else { continue };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().to_uppercase();
            let is_one = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
            if is_one.iter().any(|word| name.starts_with(word))
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                texts.entry(text.trim().to_owned()).or_default().push(named.clone());
            }
        }
    }
    for (text, mut names) in texts {
        names.sort();
        names.dedup();
        let _ = write!(out, "\n\n{}\n{}:\n\n{text}\n", "-".repeat(72), names.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_counts_and_what_only_builds_does_not() {
        let metadata = std::process::Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
            .output()
            .unwrap();
        assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
        let with = [("libc6".to_owned(), "2.36-9".to_owned())];
        let bill = of(&serde_json::from_slice(&metadata.stdout).unwrap(), &with).unwrap();
        let list: Json = serde_json::from_str(&bill.list).unwrap();
        let has = |name: &str| list["components"].as_array().unwrap().iter().any(|part| part["name"] == name);
        for part in ["tokio", "rustls", "wasmtime", "doorward-wire", "libc6"] {
            assert!(has(part), "{part}");
        }
        for other in ["fantoccini", "serde_derive", "cc", "doorward-tests"] {
            assert!(!has(other), "{other} is not linked into the program");
        }
        let of_cargo = |part: &&Json| part["purl"].as_str().is_none_or(|purl| purl.starts_with("pkg:cargo/"));
        let parts: Vec<_> = list["components"].as_array().unwrap().iter().filter(of_cargo).collect();
        assert!(parts.iter().all(|part| part["licenses"][0]["expression"].as_str().is_some_and(|one| !one.is_empty())));
        assert!(bill.licences.contains("Apache License"));
    }
}
