//! The documents say what the program does: links, commands, the status, the metrics and the lines of the log, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness::{Answer, Setup};
use regex_lite::Regex;

use crate::support::{config, log_in, setup, webmail};
use crate::tidy::{code, sources};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every document of the repository: path from its root, and text.
fn documents() -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&path).expect("a document");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 20);
    found
}

pub(crate) fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A document without what stands in fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The anchors of a document's headings, as GitHub makes them.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    let mut links = 0;
    for (path, text) in documents() {
        for found in link.captures_iter(&prose(&text)) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            assert!(to.exists(), "{}: {target} leads nowhere", path.display());
            if !anchor.is_empty() {
                let there = std::fs::read_to_string(&to).expect("a document");
                assert!(anchors(&there).contains(anchor), "{}: {target} has no such heading", path.display());
            }
            links += 1;
        }
    }
    assert!(links > 60, "{links}");
}

/// Every command of the program: its words, and its options and arguments as the help shows them.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let setup = Setup::new();
    let option = Regex::new(r"^\s+((?:-[a-zA-Z], )?--[a-z-]+)").expect("a pattern");
    let name = Regex::new(r"^  ([a-z-]+)(?:\s|$)").expect("a pattern");
    let (mut found, mut waiting) = (BTreeMap::new(), vec![Vec::<String>::new()]);
    while let Some(words) = waiting.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let ran = setup.run(&arguments);
        assert!(ran.status.success(), "{arguments:?}: {}", ran.stderr);
        let below = ran.stdout.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next());
        let below: Vec<String> = below
            .into_iter()
            .flat_map(str::lines)
            .filter_map(|line| Some(name.captures(line)?[1].to_owned()))
            .collect();
        for command in below.iter().filter(|command| *command != "help") {
            waiting.push([words.clone(), vec![command.clone()]].concat());
        }
        let options = ran.stdout.lines().filter_map(|line| Some(option.captures(line)?[1].to_owned()));
        let options = options.filter(|option| !option.ends_with("--help") && !option.ends_with("--version")).collect();
        found.insert(words.join(" "), options);
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

#[test]
fn every_command_and_option_is_in_the_documents_and_no_other() {
    let commands = commands();
    let text: String = documents().into_iter().map(|(_, text)| text).collect();
    for (words, options) in &commands {
        // The verbs of `ctl` stand in a table of their own.
        let verb = words.strip_prefix("ctl ").or(words.strip_prefix("policy ")).unwrap_or(words);
        let is_named = |said: &str| text.contains(&format!("`{said}")) || text.contains(&format!("doorward {said}"));
        assert!(is_named(words) || is_named(verb), "`doorward {words}` is in no document");
        for option in options {
            assert!(
                option.split(", ").any(|name| text.contains(name)),
                "{option} of `doorward {words}` is in no document"
            );
        }
    }
    // Each line of a command that the documents show has words and options that there are.
    let shown = Regex::new(r"(?m)(?:^|`)doorward ([a-z][^`|\n]*)").expect("a pattern");
    let mut lines = 0;
    for found in shown.captures_iter(&text) {
        let line = found[1].split(" #").next().unwrap_or_default();
        let mut words: Vec<&str> = Vec::new();
        let mut options: Vec<&str> = Vec::new();
        for word in line.split_whitespace() {
            let next = [&words[..], &[word]].concat().join(" ");
            if let Some(option) = word.trim_start_matches('[').strip_prefix("--") {
                options.push(option.split(['=', ']']).next().unwrap_or_default());
            } else if commands.contains_key(&next) {
                words.push(word);
            }
        }
        let words = words.join(" ");
        assert!(!words.is_empty(), "doorward {line}: no such command");
        // An option of a command may stand before the words below it.
        let known: BTreeSet<&String> =
            commands.iter().filter(|(of, _)| words.starts_with(of.as_str())).flat_map(|(_, options)| options).collect();
        let is_known = |option: &str| known.iter().any(|known| known.ends_with(&format!("--{option}")));
        for option in options.iter().filter(|option| !["help", "version"].contains(option)) {
            assert!(is_known(option), "doorward {line}: {words} has no --{option}");
        }
        lines += 1;
    }
    assert!(lines > 30, "{lines}");
}

/// The names in the first column of the tables below a heading of the same depth.
fn first_column(text: &str, heading: &str) -> BTreeSet<String> {
    let name = Regex::new(r"`([^`]+)`").expect("a pattern");
    let below = text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    let below = below.split("\n## ").next().unwrap_or_default();
    let rows = below.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_start_matches("| ").split(" |").next().unwrap_or_default().to_owned());
    cells.flat_map(|cell| name.captures_iter(&cell).map(|found| found[1].to_owned()).collect::<Vec<_>>()).collect()
}

/// Two listeners, a policy with a shadow, a directory server, a back-end, and a login: whatever has numbers has some.
fn served() -> (harness::Backend, harness::Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let extra = "[admin]\nsocket = \"admin.sock\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"\n\
        [[policy]]\nname = \"device-detection\"\nasks = \"device\"\nshadow = \"shadow.wasm\"\n\
        [limits.office]\nmax-connections = 1\n";
    let shadow = std::fs::read(root().join("policies/dist/device-detection.wasm")).expect("a component");
    let proxy = setup().file("shadow.wasm", shadow).serve(&config(extra, &[("node-a", &node, "")]));
    log_in(&proxy, "alice").get("/").expect(200);
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    (node, proxy)
}

#[test]
fn the_status_has_the_fields_of_its_table_and_no_other() {
    let (_node, proxy) = served();
    let status = proxy.status();
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let text = document("docs/operations.md");
    let said = first_column(&text, "## The status");
    let (policy, backend) = (keys(&status["policies"][0]), keys(&status["backends"][0]));
    let has: BTreeSet<String> = [keys(&status), policy, backend].into_iter().flatten().collect();
    for key in &has {
        // What has a name is told by it.
        assert!(
            said.contains(key) || ["name", "asks", "digest", "wit"].contains(&key.as_str()),
            "{key} is not in the table"
        );
    }
    for key in &said {
        assert!(has.contains(key), "{key} of the table is not in {status:#}");
    }
}

#[test]
fn the_metrics_are_those_of_their_table_and_no_other() {
    let (_node, proxy) = served();
    let (status, text) = proxy.admin("GET", "/metrics");
    assert_eq!(status, 200);
    let named: BTreeSet<String> =
        text.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())).collect();
    let said = first_column(&document("docs/operations.md"), "## The metrics");
    let said: BTreeSet<String> = said.iter().filter_map(|name| Some(name.split('{').next()?.to_owned())).collect();
    assert_eq!(named.difference(&said).collect::<Vec<_>>(), Vec::<&String>::new(), "printed, and not in the table");
    assert_eq!(said.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "in the table, and not printed");
    // Nothing has a number without a type.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        assert!(named.contains(name) || of_histogram.is_some_and(|name| named.contains(name)), "{line}");
    }
}

/// The lines of level info and above that a source writes: each with the levels that it has.
fn log_lines() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let call = Regex::new(r"tracing::(error|warn|info)!\(").expect("a pattern");
    for (path, text) in sources() {
        // The demo's nodes are no part of a front door.
        if path.components().any(|part| part.as_os_str() == "demo") {
            continue;
        }
        let text = code(&text).to_owned();
        for start in call.captures_iter(&text) {
            let whole = start.get(0).expect("the call");
            let arguments = arguments(&text[whole.end()..]);
            let message = arguments.last().unwrap_or_else(|| panic!("{}: no message", path.display()));
            let message = message.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let message = message.unwrap_or_else(|| panic!("{}: {arguments:?} ends with no message", path.display()));
            let message = message.split("\\n").next().unwrap_or_default().trim_end_matches(':').replace("\\\"", "\"");
            found.entry(message).or_default().insert(start[1].to_owned());
        }
    }
    found
}

/// The arguments of a call, up to the bracket that closes it.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap_or(&mut String::new()).push(c);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[test]
fn every_line_of_the_log_is_explained_and_no_other() {
    let written = log_lines();
    let text = document("docs/operations.md");
    let below =
        text.split("\n## What the lines mean\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the lines");
    let name = Regex::new(r"`([^`]+)`").expect("a pattern");
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in below.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let levels: BTreeSet<String> = cells[1].split(", ").map(str::to_owned).collect();
        for found in name.captures_iter(cells[0]) {
            said.insert(found[1].to_owned(), levels.clone());
        }
    }
    for (line, levels) in &written {
        let known = said.get(line).unwrap_or_else(|| panic!("`{line}` is not in the table"));
        assert!(
            known == levels || known.contains("as the policy likes"),
            "`{line}` is {levels:?}, the table says {known:?}"
        );
    }
    for line in said.keys() {
        assert!(written.contains_key(line), "no source writes `{line}`");
    }
}

#[test]
fn the_unit_of_systemd_is_one_that_debian_12_understands() {
    let unit = document("host/package/systemd/doorward.service");
    let has = |line: &str| assert!(unit.lines().any(|one| one == line), "{line} in {unit}");
    // `notify-reload` is of systemd 253.
    has("Type=notify");
    has("NotifyAccess=all");
    has("StateDirectoryMode=0700");
    assert!(unit.lines().any(|line| line.starts_with("ExecReload=")), "{unit}");
    // Compiled policies are written before they are run.
    assert!(!unit.lines().any(|line| line == "MemoryDenyWriteExecute=yes"), "{unit}");
    assert!(document("docs/operations.md").contains("](../host/package/systemd/doorward.service)"));
}

#[test]
fn what_the_documents_show_as_a_whole_configuration_is_one() {
    let text = document("docs/config.md");
    let smallest = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the smallest");
    let ran = Setup::new().file("doorward.toml", smallest).run(&["check", "--config", "doorward.toml"]);
    assert!(ran.status.success(), "{}", ran.stdout);
    let proxy = Setup::new().serve(&smallest.replace("127.0.0.1:8080", "127.0.0.1:0"));
    proxy.client().get("/").expect(200);
}

#[test]
fn each_reason_of_a_login_is_in_its_table_and_no_other() {
    // Its own words, and those of the problems of accounts.
    let sources = [
        (include_str!("../../host/src/tries/reason.rs"), "pub fn word(self)"),
        (include_str!("../../host/src/directory/problem.rs"), "pub fn name(self)"),
    ];
    let word = Regex::new("=> \"([a-z-]+)\"").expect("a pattern");
    let mut words = BTreeSet::new();
    for (source, function) in sources {
        let body = source.split(function).nth(1).and_then(|rest| rest.split("\n    }\n").next()).expect("words");
        words.extend(word.captures_iter(body).map(|found| found[1].to_owned()));
    }
    assert!(words.len() > 20, "{words:?}");
    let text = document("docs/operations.md");
    assert_eq!(first_column(&text, "## Why nobody got in"), words);
    let rows = text.split("\n## Why nobody got in\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("rows");
    for row in rows.lines().filter(|line| line.starts_with("| `")) {
        assert!(row.trim_matches('|').split(" | ").all(|cell| !cell.trim().is_empty()), "{row}: an empty cell");
        assert_eq!(row.matches(" | ").count(), 3, "outcome, meaning, and what to do: {row}");
    }
}

/// The words of the vocabulary that are names of types, each with the modules that have one.
fn vocabulary() -> BTreeMap<String, BTreeSet<String>> {
    let text = document("docs/vocabulary.md");
    let things = text.split("\n## Things\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the things");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in things.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let modules = cells[2].split(", ").map(|module| module.split("::").next().unwrap_or_default().to_owned());
        for word in cells[0].split(", ").filter(|word| word.starts_with(char::is_uppercase)) {
            found.entry(word.to_owned()).or_default().extend(modules.clone());
        }
    }
    found
}

#[test]
fn the_vocabulary_has_the_types_of_the_code_and_no_other() {
    let kind = Regex::new(r"(?m)^\s*(pub(?:\([a-z]+\))? )?(?:struct|enum|trait|type) ([A-Z]\w*)").expect("a pattern");
    let (mut all, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        let module = crate::tidy::module_of(&path);
        for found in kind.captures_iter(code(&text)) {
            let name = (module.clone(), found[2].to_owned());
            // What the command line and the demo have is for themselves.
            if found.get(1).is_some_and(|how| how.as_str() == "pub ") && !["cli", "demo"].contains(&module.as_str()) {
                open.insert(name.clone());
            }
            all.insert(name);
        }
    }
    let said = vocabulary();
    for (word, modules) in &said {
        for module in modules {
            assert!(all.contains(&(module.clone(), word.clone())), "{module} has no {word}");
        }
    }
    let is_said = |(_, name): &&(String, String)| !said.contains_key(name);
    assert_eq!(
        open.iter().filter(is_said).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "not in the vocabulary"
    );
}
