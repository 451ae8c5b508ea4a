//! `policy new`: a folder with a policy that can be built and tested as it is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use doorward_vectors::Question;
use include_dir::{Dir, include_dir};
use serde_json::json;

use crate::outcome::{Stop, question, say};

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0; 2 where the folder is there already, or cannot be made.")]
pub(crate) struct New {
    /// Its name: small letters, digits and hyphens.
    name: String,
    /// The question it answers: access, device, template, filter, auth-mode or route.
    #[arg(long, value_name = "QUESTION", value_parser = question)]
    asks: Question,
    /// The language it is written in.
    #[arg(long)]
    language: Language,
    /// The folder to make [default: the name].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// For Rust: the folder `policy-sdk` of Doorward's sources [default: the crate is written beside the policy].
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
    Python,
}

/// What the policy of a question is about.
struct About {
    does: &'static str,
    /// Its one setting, a list of texts.
    key: &'static str,
    meaning: &'static str,
    example: &'static str,
    vectors: &'static str,
    /// What is imported, and the decision, by language.
    rust: (&'static str, &'static str),
    python: (&'static str, &'static str),
    javascript: (&'static str, &'static str),
}

const ACCESS: About = About {
    does: "denies the addresses of a list",
    key: "denied",
    meaning: "addresses that may not connect",
    example: "\"203.0.113.7\"",
    vectors: include_str!("templates/vectors/access.toml"),
    rust: ("AccessPolicy, ConnectionFacts, Verdict", include_str!("templates/rust/access.txt")),
    python: (
        "from wit_world.exports.access import Verdict_Abstain, Verdict_Deny\nfrom wit_world.imports import connection",
        include_str!("templates/python/access.txt"),
    ),
    javascript: (
        "import connection from \"doorward:policy/connection@0.1.1\";",
        include_str!("templates/javascript/access.txt"),
    ),
};
const DEVICE: About = About {
    does: "takes browsers with a word of a list in their name for tablets",
    key: "tablets",
    meaning: "words in the `User-Agent` of tablets",
    example: "\"OurKiosk/\"",
    vectors: include_str!("templates/vectors/device.toml"),
    rust: ("DevicePolicy, Form, RequestFacts", include_str!("templates/rust/device.txt")),
    python: (
        "from wit_world.exports.device import Form\nfrom wit_world.imports import request",
        include_str!("templates/python/device.txt"),
    ),
    javascript: (
        "import request from \"doorward:policy/request@0.1.1\";",
        include_str!("templates/javascript/device.txt"),
    ),
};
const TEMPLATE: About = About {
    does: "shows phones the template `pocket` at the hosts of a list",
    key: "hosts",
    meaning: "virtual hosts where phones see the template `pocket`",
    example: "\"mail.example.com\"",
    vectors: include_str!("templates/vectors/template.toml"),
    rust: ("Form, RequestFacts, TemplatePolicy", include_str!("templates/rust/template.txt")),
    python: (
        "from wit_world.imports import request\nfrom wit_world.imports.device import Form",
        include_str!("templates/python/template.txt"),
    ),
    javascript: (
        "import request from \"doorward:policy/request@0.1.1\";",
        include_str!("templates/javascript/template.txt"),
    ),
};
const FILTER: About = About {
    does: "answers the paths of a list with `404`",
    key: "blocked",
    meaning: "paths that are not there",
    example: "\"/server-status\"",
    vectors: include_str!("templates/vectors/filter.toml"),
    rust: ("Action, Answer, FilterPolicy, RequestFacts", include_str!("templates/rust/filter.txt")),
    python: (
        "from wit_world.exports.filter import Action_Answer, Action_Pass, Answer, Header\n\
         from wit_world.imports import request",
        include_str!("templates/python/filter.txt"),
    ),
    javascript: (
        "import request from \"doorward:policy/request@0.1.1\";",
        include_str!("templates/javascript/filter.txt"),
    ),
};
const AUTH_MODE: About = About {
    does: "leaves logins of the domains of a list to the back-end",
    key: "domains",
    meaning: "domains of user names whose logins the back-end checks",
    example: "\"partner.example\"",
    vectors: include_str!("templates/vectors/auth-mode.toml"),
    rust: ("AuthModePolicy, LoginFacts, Mode", include_str!("templates/rust/auth-mode.txt")),
    python: (
        "from wit_world.exports.auth_mode import Mode_BackEnd\nfrom wit_world.imports import login",
        include_str!("templates/python/auth-mode.txt"),
    ),
    javascript: (
        "import login from \"doorward:policy/login@0.1.1\";",
        include_str!("templates/javascript/auth-mode.txt"),
    ),
};
const ROUTE: About = About {
    does: "moves users of a list to the node `node-new` while it is up",
    key: "moved",
    meaning: "names of users who are at the new node",
    example: "\"ann@example.com\"",
    vectors: include_str!("templates/vectors/route.toml"),
    rust: ("Destination, RouteFacts, RoutePolicy", include_str!("templates/rust/route.txt")),
    python: (
        "from wit_world.exports.route import Destination_Later, Destination_Node\n\
         from wit_world.imports import login, nodes",
        include_str!("templates/python/route.txt"),
    ),
    javascript: (
        "import login from \"doorward:policy/login@0.1.1\";\nimport nodes from \"doorward:policy/nodes@0.1.1\";",
        include_str!("templates/javascript/route.txt"),
    ),
};

/// Runs it.
///
/// # Errors
/// The name cannot be one, or the folder cannot be made.
pub(crate) fn run(new: &New) -> Result<(), Stop> {
    check_name(&new.name).map_err(Stop::Unusable)?;
    let dir = new.dir.clone().unwrap_or_else(|| new.name.clone().into());
    let sdk = new.sdk.as_deref().map(usable_sdk).transpose()?;
    let files = files(new, sdk.as_deref());
    let crates = if new.language == Language::Rust && sdk.is_none() { sdk_files() } else { Vec::new() };
    let unusable = |path: &Path, error: &dyn std::fmt::Display| Stop::Unusable(format!("{}: {error}", path.display()));
    // A folder that is there is somebody's: nothing in it is touched.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| unusable(parent, &error))?;
    }
    fs::create_dir(&dir).map_err(|error| unusable(&dir, &error))?;
    let texts = files.iter().map(|(name, text)| (PathBuf::from(name), text.as_bytes()));
    for (name, bytes) in texts.chain(crates) {
        let path = dir.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        written.map_err(|error| unusable(&path, &error))?;
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    if new.json {
        say(&json!({"ok": true, "dir": dir, "files": names}).to_string());
        return Ok(());
    }
    say(&format!("{}: {}", dir.display(), names.join(", ")));
    if new.language == Language::Rust && sdk.is_none() {
        say(&format!("{SDK}: the crate doorward-policy, with the interface"));
    }
    say(&format!("README.md there says how it is built and tested as {}.wasm", new.name));
    Ok(())
}

/// The files of the folder, by name.
fn files(new: &New, sdk: Option<&Path>) -> Vec<(&'static str, String)> {
    let about = match new.asks {
        Question::Access => ACCESS,
        Question::Device => DEVICE,
        Question::Template => TEMPLATE,
        Question::Filter => FILTER,
        Question::AuthMode => AUTH_MODE,
        Question::Route => ROUTE,
    };
    let (source, (imports, decision), tools) = match new.language {
        Language::Rust => ("src/lib.rs", about.rust, ""),
        Language::JavaScript => ("policy.js", about.javascript, "npm install\n"),
        Language::Python => ("policy.py", about.python, "pip install componentize-py==0.25.1\n"),
    };
    let fill = |text: &str| {
        let question = new.asks.name();
        let filled = [
            ("{{decision}}", decision),
            ("{{imports}}", imports),
            ("{ {{uses}} }", &format!("{{{}}}", uses(imports))),
            ("{{name}}", &new.name),
            ("{{crate}}", &new.name.replace('-', "_")),
            ("{{type}}", &type_name(&new.name)),
            ("{{question}}", question),
            ("{{export}}", &question.replace('-', "_")),
            ("{{does}}", about.does),
            ("{{does-as-a-sentence}}", &sentence(about.does)),
            ("{{key}}", about.key),
            ("{{meaning}}", about.meaning),
            ("{{meaning-as-a-sentence}}", &sentence(about.meaning)),
            ("{{example}}", about.example),
            ("{{source}}", source),
            ("{{tools}}", tools),
            ("{{sdk}}", &dependency(sdk)),
        ]
        .iter()
        .fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value));
        format!("{}\n", filled.trim_end())
    };
    let description = format!("question = \"{}\"\nsource = \"{source}\"\n", new.asks.name());
    let mut files =
        vec![("README.md", fill(include_str!("templates/README.md"))), ("vectors.toml", fill(about.vectors))];
    match new.language {
        Language::Rust => files.extend([
            ("Cargo.toml", fill(include_str!("templates/rust/Cargo.toml.txt"))),
            ("src/lib.rs", fill(include_str!("templates/rust/lib.rs.txt"))),
            ("tests/cases.rs", fill(include_str!("templates/rust/cases.rs.txt"))),
            (".gitignore", "/target\n".to_owned()),
        ]),
        Language::JavaScript => files.extend([
            ("policy.toml", description),
            ("policy.js", fill(include_str!("templates/javascript/policy.js.txt"))),
            ("package.json", fill(include_str!("templates/javascript/package.json.txt"))),
            (".gitignore", "/node_modules\n".to_owned()),
        ]),
        Language::Python => files.extend([
            ("policy.toml", description),
            ("policy.py", fill(include_str!("templates/python/policy.py.txt"))),
        ]),
    }
    files
}

/// Names of crates that would hide those of Rust's own.
const TAKEN: [&str; 7] = ["alloc", "core", "doorward-policy", "proc-macro", "schemars", "serde", "std"];
/// Rust's own words, of which a crate cannot be named.
const WORDS: [&str; 17] = [
    "as", "async", "box", "do", "enum", "fn", "for", "if", "impl", "in", "loop", "match", "mod", "self", "test", "try",
    "use",
];

fn check_name(name: &str) -> Result<(), String> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
    if !plain || !begins || name.len() > 64 || name.contains("--") {
        return Err(format!("\"{name}\": expected small letters, digits and hyphens, such as our-hosts"));
    }
    if TAKEN.contains(&name) || WORDS.contains(&name) {
        return Err(format!("\"{name}\" is taken: a crate of that name could not be built"));
    }
    Ok(())
}

/// `our-hosts` as the name of a type: `OurHosts`; one that would hide what the source imports gets another name.
fn type_name(name: &str) -> String {
    const IMPORTED: [&str; 16] = [
        "AccessPolicy",
        "Action",
        "Answer",
        "AuthModePolicy",
        "Destination",
        "DevicePolicy",
        "FilterPolicy",
        "Form",
        "Mode",
        "Option",
        "Policy",
        "Problem",
        "RoutePolicy",
        "Settings",
        "TemplatePolicy",
        "Verdict",
    ];
    let camel: String = name.split('-').map(sentence).collect();
    if IMPORTED.contains(&camel.as_str()) { format!("Our{camel}") } else { camel }
}

/// What a source in Rust imports, in the order of rustfmt.
fn uses(of_question: &str) -> String {
    let mut uses: Vec<&str> = ["JsonSchema", "Policy", "Problem"].into_iter().chain(of_question.split(", ")).collect();
    uses.sort_unstable();
    uses.join(", ")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Where the crate for policies lies in a new policy's folder.
const SDK: &str = "doorward";

/// The crate for policies, without its tests. It looks for the interface in a folder beside it.
static SDK_FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../policy-sdk");

/// The files of the crate for policies and of the interface, with their places in a new policy's folder.
fn sdk_files() -> Vec<(PathBuf, &'static [u8])> {
    let mut folders = vec![&SDK_FILES];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        files.extend(folder.files().map(|file| (Path::new(SDK).join("policy-sdk").join(file.path()), file.contents())));
    }
    files.extend(crate::interface::interface_files().map(|(name, text)| (Path::new(SDK).join("wit").join(name), text)));
    files
}

fn dependency(sdk: Option<&Path>) -> String {
    let sdk = sdk.map_or_else(|| format!("{SDK}/policy-sdk"), |sdk| sdk.to_string_lossy().into_owned());
    format!("doorward-policy = {{ path = {} }}", json!(sdk))
}

fn usable_sdk(sdk: &Path) -> Result<PathBuf, Stop> {
    let is_one = sdk.join("Cargo.toml").is_file() && sdk.join("../wit").is_dir();
    match sdk.canonicalize() {
        Ok(sdk) if is_one => Ok(sdk),
        _ => Err(Stop::Unusable(format!("{}: no policy-sdk with wit/ beside it", sdk.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_begun_is_filled_in_whole() {
        for asks in Question::ALL {
            for language in [Language::Rust, Language::JavaScript, Language::Python] {
                let name = "our-hosts".to_owned();
                let new = New { name, asks, language, dir: None, sdk: None, json: false };
                for (name, text) in files(&new, Some(Path::new("/sdk"))) {
                    assert!(!text.contains("{{"), "{asks:?} {language:?} {name}: {text}");
                    assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
                }
            }
        }
    }

    #[test]
    fn names_are_those_of_crates() {
        for good in ["a", "our-hosts", "v2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "2b", "a b", "../a", "serde", "self", "a--b", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(type_name("our-hosts-2"), "OurHosts2");
        assert_eq!(type_name("policy"), "OurPolicy");
    }
}
