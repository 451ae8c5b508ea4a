//! What is different between two components: what the new one may do and the old one may not, first of all.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::config;
use crate::policy::{self, Compiler, Manifest};

/// A component, as far as two of them are compared.
#[derive(Debug, Clone)]
pub struct Shown {
    manifest: Manifest,
    size: usize,
    digest: String,
    /// The schema of its settings; none where it tells none, or where it was not asked for.
    schema: Option<Json>,
}

impl Shown {
    /// Of these bytes. The schema is asked for only with a compiler, for it is the component that tells it.
    ///
    /// # Errors
    /// It is no policy.
    pub fn of(config: &config::Policy, bytes: &[u8], compiler: Option<&Compiler>) -> Result<Self, String> {
        let manifest = policy::manifest_of(bytes)?;
        let mut alone = config.clone();
        alone.asks = manifest.questions.first().copied().unwrap_or(alone.asks);
        // To tell its schema it may import what it likes.
        alone.grants = Some(config::GRANTS.map(str::to_owned).to_vec());
        let schema = compiler.and_then(|compiler| policy::schema_of(&alone, compiler).ok());
        let schema = schema.and_then(|schema| serde_json::from_str(&schema).ok());
        Ok(Self { manifest, size: bytes.len(), digest: format!("sha256:{}", policy::digest(bytes)), schema })
    }

    fn imports(&self) -> BTreeSet<String> {
        self.manifest.facts.iter().chain(&self.manifest.wasi).cloned().collect()
    }

    fn questions(&self) -> Vec<&'static str> {
        self.manifest.questions.iter().map(|question| question.name()).collect()
    }

    /// The names of settings, each with what may stand there.
    fn settings(&self) -> Vec<(String, String)> {
        let properties = self.schema.as_ref().and_then(|schema| schema["properties"].as_object());
        let required = |name: &str| {
            let all = self.schema.as_ref().and_then(|schema| schema["required"].as_array());
            all.is_some_and(|all| all.iter().any(|one| one == name))
        };
        let told = |(name, value): (&String, &Json)| {
            (name.clone(), format!("{value}{}", if required(name) { " (required)" } else { "" }))
        };
        properties.into_iter().flatten().map(told).collect()
    }
}

/// What is different in a new component.
#[derive(Debug, Clone)]
pub struct Difference {
    old: Shown,
    new: Shown,
}

impl Difference {
    /// Between an old and a new one.
    pub fn between(old: Shown, new: Shown) -> Self {
        Self { old, new }
    }

    /// Whether both are the same bytes.
    pub fn is_none(&self) -> bool {
        self.old.digest == self.new.digest
    }

    /// Imports that only the new one has.
    pub fn new_imports(&self) -> Vec<String> {
        self.new.imports().difference(&self.old.imports()).cloned().collect()
    }

    /// Imports that only the old one has.
    pub fn gone_imports(&self) -> Vec<String> {
        self.old.imports().difference(&self.new.imports()).cloned().collect()
    }

    /// Settings that changed, came or went: the name, what was there, and what is.
    fn settings(&self) -> Vec<(String, Option<String>, Option<String>)> {
        let (old, new) = (self.old.settings(), self.new.settings());
        let of = |all: &[(String, String)], name: &str| {
            all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let names: BTreeSet<&String> = old.iter().chain(&new).map(|(name, _)| name).collect();
        let both = names.into_iter().map(|name| (name.clone(), of(&old, name), of(&new, name)));
        both.filter(|(_, old, new)| old != new).collect()
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let settings = self.settings();
        let settings: Vec<Json> =
            settings.iter().map(|(name, old, new)| json!({"name": name, "old": old, "new": new})).collect();
        json!({
            "same": self.is_none(),
            "imports": {"new": self.new_imports(), "gone": self.gone_imports()},
            "settings": settings,
            "questions": {"old": self.old.questions(), "new": self.new.questions()},
            "wit": {"old": self.old.manifest.version, "new": self.new.manifest.version},
            "size": {"old": self.old.size, "new": self.new.size},
            "digest": {"old": self.old.digest, "new": self.new.digest},
        })
    }

    /// For people: a line for each thing that is different.
    pub fn lines(&self) -> Vec<String> {
        if self.is_none() {
            return vec![format!("the same component: {}", self.new.digest)];
        }
        let (old, new) = (&self.old, &self.new);
        let mut lines: Vec<String> = self.new_imports().iter().map(|import| format!("+ imports {import}")).collect();
        lines.extend(self.gone_imports().iter().map(|import| format!("- imports {import}")));
        if lines.is_empty() {
            lines.push("  imports the same".to_owned());
        }
        for (name, old, new) in self.settings() {
            lines.extend(old.map(|old| format!("- setting {name}: {old}")));
            lines.extend(new.map(|new| format!("+ setting {name}: {new}")));
        }
        if old.questions() != new.questions() {
            lines.push(format!("  answers {} → {}", old.questions().join(", "), new.questions().join(", ")));
        }
        if old.manifest.version != new.manifest.version {
            lines.push(format!("  built for doorward:policy@{} → @{}", old.manifest.version, new.manifest.version));
        }
        lines.push(format!("  size {} → {} bytes", old.size, new.size));
        lines.push(format!("  digest {} → {}", old.digest, new.digest));
        lines
    }
}
