//! `policy.toml`: the question that a policy answers, and its source.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use doorward_vectors::Question;
use serde::{Deserialize, Deserializer};

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "question")]
    question: Question,
    source: String,
}

/// A question by its name.
fn question<'de, D: Deserializer<'de>>(text: D) -> Result<Question, D::Error> {
    crate::question(&String::deserialize(text)?).map_err(serde::de::Error::custom)
}

/// A language besides Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    JavaScript,
    C,
    /// A core module that some compiler made, in binary or in text.
    Module,
}

/// What is to be built.
#[derive(Debug)]
pub(super) struct Description {
    /// The folder of the policy.
    pub folder: PathBuf,
    /// What it answers.
    pub question: Question,
    /// Its source file.
    pub source: PathBuf,
    /// Told by the source's extension.
    pub language: Language,
}

impl Description {
    /// Reads the folder's `policy.toml`, if it has one.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("policy.toml");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Self::parse(dir, &text).map(Some).with_context(|| format!("{} is wrong", path.display()))
    }

    fn parse(dir: &Path, text: &str) -> Result<Self> {
        // Only the message: the library's own text draws the place in several lines.
        let written: Written = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            anyhow::anyhow!("line {}: {}", before.matches('\n').count() + 1, error.message())
        })?;
        let name = Path::new(&written.source);
        let plain = name.file_name().is_some_and(|name| name == written.source.as_str());
        ensure!(plain, "source: found \"{}\", expected the name of a file in this folder", written.source);
        let language = match name.extension().and_then(|extension| extension.to_str()) {
            Some("py") => Language::Python,
            Some("js") => Language::JavaScript,
            Some("c") => Language::C,
            Some("wasm" | "wat") => Language::Module,
            _ => {
                bail!("source: found \"{}\", expected a file that ends in .py, .js, .c, .wasm or .wat", written.source)
            }
        };
        let source = dir.join(name);
        ensure!(source.is_file(), "source: there is no file {}", source.display());
        Ok(Description { folder: dir.to_path_buf(), question: written.question, source, language })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build");
        let found = match Description::parse(&dir, text) {
            Ok(policy) => format!("{:?} in {:?}", policy.question, policy.language),
            Err(error) => format!("{error:#}"),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn a_description_is_taken_or_its_fault_is_told() {
        check("question = \"filter\"\nsource = \"missing.js\"", "there is no file");
        check("question = \"filter\"\nsource = \"mod.rs\"", "expected a file that ends in .py, .js, .c, .wasm or .wat");
        check("question = \"filter\"\nsource = \"../a.py\"", "expected the name of a file in this folder");
        check("question = \"filter\"\nsource = \"..\"", "expected the name of a file in this folder");
        check("question = \"filter\"\nsource = \"\"", "expected the name of a file in this folder");
        check(
            "question = \"login\"\nsource = \"a.c\"",
            "line 1: expected one of access, device, template, filter, auth-mode, route",
        );
        check("question = \"filter\"\nsource = \"a.c\"\nworld = \"x\"", "line 3: unknown field `world`");
        check("source = \"a.c\"", "missing field `question`");
        check("question = \"device\"", "missing field `source`");
    }
}
