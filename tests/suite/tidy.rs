//! The structure of the sources: reading order is dependency order, and files say what they are.

use std::path::{Path, PathBuf};

/// Every source of the program: of the package `host`, and of the packages in folders below it.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let below = std::fs::read_dir(&host).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = below.filter(|folder| folder.join("Cargo.toml").exists()).map(|folder| folder.join("src"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = below.chain([host.join("src")]).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 40);
    found
}

/// The part of a file that is not its tests.
pub(crate) fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// The module of the package `host` that a source belongs to; of another package, the name of its folder.
pub(crate) fn module_of(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let src = parts.iter().position(|part| part == "src").expect("a file in src");
    match parts[src - 1].as_str() {
        "host" => parts[src + 1].trim_end_matches(".rs").to_owned(),
        package => package.to_owned(),
    }
}

fn reading_order() -> Vec<String> {
    let lib = include_str!("../../host/src/lib.rs");
    let names = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

#[test]
fn a_module_imports_only_what_comes_after_it() {
    let order = reading_order();
    let place = |name: &str| order.iter().position(|module| module == name);
    for (path, text) in sources() {
        let Some(own) = place(&module_of(&path)) else { continue };
        for name in code(&text).split("crate::").skip(1) {
            let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let Some(other) = place(&name) else { continue };
            assert!(other >= own, "{} imports {name}, which comes before it", path.display());
        }
    }
}

#[test]
fn strands_do_not_import_each_other() {
    let strands = [&["policy"][..], &["session", "auth", "directory"], &["pages"], &["back"]];
    for (path, text) in sources() {
        let Some(own) = strands.iter().position(|strand| strand.contains(&module_of(&path).as_str())) else { continue };
        for (index, strand) in strands.iter().enumerate() {
            for name in strand.iter().filter(|_| index != own) {
                assert!(!code(&text).contains(&format!("crate::{name}")), "{} imports {name}", path.display());
            }
        }
    }
}

#[test]
fn only_one_module_knows_each_of_the_large_libraries() {
    for (library, modules) in [
        ("wasmtime::", &["policy"][..]),
        ("ldap3::", &["directory"]),
        ("minijinja::", &["pages", "demo"]),
        ("hyper::client", &["back"]),
        ("httparse::", &["back"]),
        ("hyper::server", &["door", "demo", "admin"]),
        ("notify::", &["watch"]),
    ] {
        for (path, text) in sources() {
            let known = modules.contains(&module_of(&path).as_str());
            assert!(known || !code(&text).contains(library), "{} knows {library}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_not_too_long() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} has no first line", path.display());
        let lines =
            code(&text).lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//")).count();
        // The configuration's tables are one list of keys and defaults; it is long and flat.
        let most = if path.ends_with("config/mod.rs") { 700 } else { 400 };
        assert!(lines <= most, "{} has {lines} lines of code", path.display());
    }
}

#[test]
fn a_pure_file_does_nothing() {
    for (path, text) in sources() {
        if text.lines().take_while(|line| line.starts_with("//!")).any(|line| line == "//! Pure.") {
            for word in ["tokio", "async ", "Instant::now", "SystemTime::now", "std::net::Tcp"] {
                assert!(!code(&text).contains(word), "{} is called pure and has {word}", path.display());
            }
        }
    }
}
