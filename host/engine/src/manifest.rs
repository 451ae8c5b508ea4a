//! What a component is and may do: its question, the version it was built against, and the functions it imports, which
//! are all that it can ever do.

use std::collections::BTreeSet;

use doorward_vectors::{Question, WIT_VERSION};
use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};

/// What the imports and exports of a component say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The questions that it answers.
    pub questions: Vec<Question>,
    /// The version of `doorward:policy` that it was built against.
    pub version: String,
    /// What it imports of that package, as `interface.function`.
    pub facts: BTreeSet<String>,
    /// Interfaces of WASI that it imports.
    pub wasi: BTreeSet<String>,
}

/// Why a component is no policy that can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// It exports nothing of ours.
    #[error("a component that is no policy: it exports no question of doorward:policy")]
    NoPolicy,
    /// It speaks a version that we do not.
    #[error(
        "a component built against doorward:policy@{0}, and this Doorward speaks {WIT_VERSION} and older ones of that track"
    )]
    Version(String),
    /// It imports from elsewhere.
    #[error("a component that imports {0}, which no policy is given")]
    Foreign(String),
    /// It is what a compiler makes, and no component yet.
    #[error("a core module, not yet a component: `doorward policy build MODULE.wasm -o FILE.wasm` makes one of it")]
    CoreModule,
    /// It is broken.
    #[error("a broken component: {0}")]
    Broken(String),
}

impl From<wasmparser::BinaryReaderError> for Odd {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Manifest {
    /// Reads it from the bytes of a component, before anybody compiles them.
    ///
    /// # Errors
    /// It is no policy, or not one that this host can run.
    pub fn read(bytes: &[u8]) -> Result<Self, Odd> {
        let interface = Interface::read(bytes)?;
        let ours: Vec<(&str, &str)> = interface.exports.iter().filter_map(|name| name_and_version(name)).collect();
        let asked = |question: &Question| ours.iter().find(|(name, _)| *name == question.name());
        let questions: Vec<Question> = Question::ALL.into_iter().filter(|question| asked(question).is_some()).collect();
        let (_, version) = *questions.first().and_then(asked).ok_or(Odd::NoPolicy)?;
        if let Some((_, odd)) = ours.iter().find(|(_, version)| !is_spoken(version)) {
            return Err(Odd::Version((*odd).to_owned()));
        }
        let mut manifest =
            Self { questions, version: version.to_owned(), facts: BTreeSet::new(), wasi: BTreeSet::new() };
        for (name, functions) in &interface.imports {
            if name.starts_with("wasi:") {
                manifest.wasi.insert(name.to_owned());
                continue;
            }
            let (interface, version) = name_and_version(name).ok_or_else(|| Odd::Foreign(name.to_owned()))?;
            if !is_spoken(version) {
                return Err(Odd::Version(version.to_owned()));
            }
            // Of `device` the world of template policies uses a type; what comes along with it cannot be asked.
            if interface == "device" {
                continue;
            }
            manifest.facts.extend(functions.iter().map(|function| format!("{interface}.{function}")));
        }
        Ok(manifest)
    }
}

/// The names that a component imports and exports.
struct Interface {
    /// Each with the functions of its instance.
    imports: Vec<(String, Vec<String>)>,
    exports: Vec<String>,
}

impl Interface {
    /// Reads the types of a component and leaves its code alone, so it takes a moment whatever the component is.
    fn read(bytes: &[u8]) -> Result<Self, Odd> {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        let mut validator = Validator::new();
        // Imports and exports of the component itself, not of what is nested in it.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            let types = match validator.payload(&payload)? {
                ValidPayload::End(types) => Some(types),
                _ => None,
            };
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Odd::CoreModule),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::End(_) if depth > 0 => depth -= 1,
                Payload::End(_) => {
                    let types = types.ok_or(Odd::NoPolicy)?;
                    let functions = |name: &str| match types.as_ref().component_item_for_import(name) {
                        Some(ComponentItem { ty: ComponentEntityType::Instance(instance), .. }) => {
                            let exports = types[*instance].exports.iter();
                            let functions = exports.filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
                            functions.map(|(name, _)| name.clone()).collect()
                        }
                        _ => Vec::new(),
                    };
                    let imports = imports.into_iter().map(|name: String| (functions(&name), name));
                    return Ok(Self { imports: imports.map(|(functions, name)| (name, functions)).collect(), exports });
                }
                _ => {}
            }
        }
        Err(Odd::NoPolicy)
    }
}

/// `access` and `0.1.1` of `doorward:policy/access@0.1.1`.
fn name_and_version(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("doorward:policy/")?.split_once('@')
}

/// Whether a version is ours, or an older one of the same track (before 1.0 that is the second number).
fn is_spoken(version: &str) -> bool {
    let numbers = |version: &str| -> Option<[u64; 3]> {
        let numbers: Result<Vec<u64>, _> = version.split('.').map(str::parse).collect();
        numbers.ok()?.try_into().ok()
    };
    match (numbers(version), numbers(WIT_VERSION)) {
        (Some(theirs), Some(ours)) => theirs[..2] == ours[..2] && theirs[2] <= ours[2],
        _ => false,
    }
}

/// What a policy is granted: interfaces (`request`) and single functions (`request.header`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants(Vec<String>);

impl Grants {
    /// What the operator wrote, or else what the question's world has.
    pub fn new(written: Option<&[String]>, question: Question) -> Self {
        let usual = || question.imports().iter().map(|name| (*name).to_owned()).collect();
        Self(written.map_or_else(usual, <[_]>::to_vec))
    }

    /// Whether a function is granted.
    pub fn has(&self, interface: &str, function: &str) -> bool {
        self.0.iter().any(|grant| match grant.split_once('.') {
            Some((of, name)) => of == interface && name == function,
            None => grant == interface,
        })
    }

    /// Whether an empty WASI is granted.
    pub fn wasi(&self) -> bool {
        self.0.iter().any(|grant| grant == "wasi")
    }

    /// What a component imports beyond these, and the line that would grant it.
    pub fn lacking(&self, manifest: &Manifest) -> Option<(Vec<String>, String)> {
        let facts = manifest
            .facts
            .iter()
            .filter(|fact| fact.split_once('.').is_some_and(|(interface, function)| !self.has(interface, function)));
        let wasi = manifest.wasi.iter().filter(|_| !self.wasi());
        let lacking: Vec<String> = facts.chain(wasi).cloned().collect();
        if lacking.is_empty() {
            return None;
        }
        let mut line = self.0.clone();
        for name in &lacking {
            let name = if name.starts_with("wasi:") { "wasi" } else { name };
            if !line.iter().any(|granted| granted == name) {
                line.push(name.to_owned());
            }
        }
        let quoted: Vec<String> = line.iter().map(|name| format!("\"{name}\"")).collect();
        Some((lacking, format!("grants = [{}]", quoted.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_our_track_that_are_not_newer_are_spoken() {
        for (version, spoken) in
            [("0.1.0", true), ("0.1.1", true), ("0.1.2", false), ("0.2.0", false), ("1.1.0", false), ("x", false)]
        {
            assert_eq!(is_spoken(version), spoken, "{version}");
        }
    }

    #[test]
    fn what_is_lacking_is_told_with_the_line_that_grants_it() {
        let manifest = Manifest {
            questions: vec![Question::Device],
            version: WIT_VERSION.to_owned(),
            facts: BTreeSet::from(["request.header".to_owned(), "request.cookie".to_owned(), "log.write".to_owned()]),
            wasi: BTreeSet::from(["wasi:io/streams@0.2.6".to_owned()]),
        };
        let grants = Grants::new(Some(&["request.header".to_owned()]), Question::Device);
        let (lacking, line) = grants.lacking(&manifest).unwrap();
        assert_eq!(lacking, ["log.write", "request.cookie", "wasi:io/streams@0.2.6"]);
        assert_eq!(line, r#"grants = ["request.header", "log.write", "request.cookie", "wasi"]"#);
        let all = Grants::new(Some(&["request".to_owned(), "log".to_owned(), "wasi".to_owned()]), Question::Device);
        assert_eq!(all.lacking(&manifest), None);
    }
}
