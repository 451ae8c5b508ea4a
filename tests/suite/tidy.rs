//! The structure of the sources: reading order is dependency order, and files say what they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::structure::Crate;

/// Every source of the program: of the package `host`, of the packages in folders below it, and of the one that host and
/// authors share.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let below = std::fs::read_dir(&host).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = below.filter(|folder| folder.join("Cargo.toml").exists()).map(|folder| folder.join("src"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = below.chain([host.join("src"), host.join("../policy-sdk/vectors/src")]).collect();
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

/// The crates of the program: `host`, and those in folders below it. Parsed once for all tests.
static CRATES: LazyLock<Vec<Crate>> = LazyLock::new(|| {
    let is_root = |path: &PathBuf| {
        path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") && !path.with_file_name("lib.rs").exists()
    };
    let roots = sources().into_iter().map(|(path, _)| path).filter(is_root);
    let crates: Vec<Crate> = roots.map(|root| Crate::parse(&root)).collect();
    assert!(!crates.is_empty());
    crates
});

/// Every file that a file knows, with the path by which it does.
fn knowledge() -> Vec<(PathBuf, PathBuf, String)> {
    let pairs = CRATES.iter().flat_map(Crate::known);
    let all: Vec<_> =
        pairs.flat_map(|(file, known)| known.into_iter().map(move |(other, by)| (file.clone(), other, by))).collect();
    assert!(all.len() > 300, "{}", all.len());
    all
}

#[test]
fn a_module_knows_only_what_comes_after_it() {
    let host = Crate::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/lib.rs"));
    let place = |file: &Path| host.order.iter().position(|module| *module == module_of(file));
    for (file, known) in host.known() {
        for (other, by) in known {
            if let (Some(own), Some(its)) = (place(&file), place(&other)) {
                assert!(its >= own, "{}: {by} is in {}, which comes before it", file.display(), other.display());
            }
        }
    }
}

#[test]
fn no_two_files_know_each_other() {
    let known: BTreeSet<(PathBuf, PathBuf)> = knowledge().into_iter().map(|(file, other, _)| (file, other)).collect();
    let short = |file: &Path| file.display().to_string().split("../host/").nth(1).unwrap_or_default().to_owned();
    for (file, other) in known.iter().filter(|(file, other)| file < other) {
        let is_circle = known.contains(&(other.clone(), file.clone()));
        let is_left = LEFT.contains(&(&short(file), &short(other)));
        assert!(!is_circle || is_left, "{} and {} know each other", short(file), short(other));
        assert!(is_circle || !is_left, "{} and {} are to be taken off the list", short(file), short(other));
    }
}

/// Pairs that are left from before there was this rule. It only gets shorter.
const LEFT: &[(&str, &str)] = &[
    ("src/back/body.rs", "src/back/connect.rs"),
    ("src/back/body.rs", "src/back/http1.rs"),
    ("src/back/connect.rs", "src/back/pinned.rs"),
    ("src/config/mod.rs", "src/config/policy.rs"),
    ("src/control/generations.rs", "src/control/store.rs"),
    ("src/control/task/rollback.rs", "src/control/task.rs"),
    ("src/control/task/upgrade.rs", "src/control/task.rs"),
    ("src/demo/webmail/mod.rs", "src/demo/webmail/upload.rs"),
    ("src/demo/webmail/pages.rs", "src/demo/webmail/reply.rs"),
    ("src/directory/ldap.rs", "src/directory/mod.rs"),
    ("src/directory/ldif.rs", "src/directory/mod.rs"),
    ("src/directory/mod.rs", "src/directory/routes.rs"),
    ("src/directory/mod.rs", "src/directory/spec.rs"),
    ("src/directory/mod.rs", "src/directory/state.rs"),
    ("src/door/http/http1.rs", "src/door/http/mod.rs"),
    ("src/door/http/http2.rs", "src/door/http/mod.rs"),
    ("src/exchange/early.rs", "src/exchange.rs"),
    ("src/exchange/finish.rs", "src/exchange.rs"),
    ("src/exchange/held.rs", "src/exchange.rs"),
    ("src/exchange/logout.rs", "src/exchange.rs"),
    ("src/exchange/own.rs", "src/exchange.rs"),
    ("src/exchange/preferences.rs", "src/exchange.rs"),
    ("src/exchange/renewal.rs", "src/exchange.rs"),
    ("src/login/mod.rs", "src/login/second_factor.rs"),
    ("src/login/mod.rs", "src/login/underway.rs"),
    ("src/policy/aside.rs", "src/policy/decide.rs"),
    ("src/policy/aside.rs", "src/policy/desk.rs"),
    ("src/policy/decide.rs", "src/policy/mod.rs"),
    ("src/policy/decide.rs", "src/policy/state.rs"),
    ("src/policy/mod.rs", "src/policy/state.rs"),
    ("src/session/keys.rs", "src/session/mod.rs"),
    ("src/session/mod.rs", "src/session/opened.rs"),
    ("src/session/mod.rs", "src/session/revoked/mod.rs"),
    ("src/session/mod.rs", "src/session/watched.rs"),
    ("src/snapshot/warnings.rs", "src/snapshot.rs"),
    ("engine/src/guest.rs", "engine/src/imports.rs"),
    ("author/src/build/c.rs", "author/src/build/mod.rs"),
    ("author/src/build/javascript.rs", "author/src/build/mod.rs"),
    ("author/src/build/mod.rs", "author/src/build/python.rs"),
    ("author/src/build/mod.rs", "author/src/build/rust.rs"),
];

#[test]
fn strands_do_not_know_each_other() {
    let strands = [&["policy"][..], &["session", "auth", "directory"], &["pages"], &["back"]];
    let strand = |file: &Path| strands.iter().position(|strand| strand.contains(&module_of(file).as_str()));
    for (file, other, by) in knowledge() {
        if let (Some(own), Some(its)) = (strand(&file), strand(&other)) {
            assert!(own == its, "{}: {by} is in {}", file.display(), other.display());
        }
    }
}

#[test]
fn only_one_module_knows_each_of_the_large_libraries() {
    let named: Vec<_> = CRATES.iter().flat_map(Crate::named).collect();
    for (library, modules) in [
        (&["wasmtime"][..], &["policy", "engine"][..]),
        (&["ldap3"], &["directory"]),
        (&["minijinja"], &["pages", "demo", "admin"]),
        (&["hyper", "client"], &["back", "registry"]),
        (&["httparse"], &["wire"]),
        (&["hyper", "server"], &["door", "demo", "admin"]),
        (&["notify"], &["watch"]),
    ] {
        let mut knows = 0;
        for (file, paths) in &named {
            let Some(path) = paths
                .iter()
                .find(|path| path.iter().map(String::as_str).take(library.len()).eq(library.iter().copied()))
            else {
                continue;
            };
            assert!(modules.contains(&module_of(file).as_str()), "{} knows {path:?}", file.display());
            knows += 1;
        }
        assert!(knows > 0, "nobody knows {library:?}");
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
        if text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.starts_with("//! Pure.")) {
            for word in ["tokio", "async ", "Instant::now", "SystemTime::now", "std::net::Tcp"] {
                assert!(!code(&text).contains(word), "{} is called pure and has {word}", path.display());
            }
        }
    }
}
