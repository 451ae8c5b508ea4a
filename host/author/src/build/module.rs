//! Core modules, of whatever compiler: what of the interface a module has, and a component made of it.
//!
//! The functions of the interface bear the names of the canonical ABI: a module exports
//! `doorward:policy/device@0.1.1#classify`, and imports `header` from `doorward:policy/request@0.1.1`. What it imports
//! from elsewhere (WASI, `env`) is there and stops the policy, as in Python and JavaScript.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use doorward_vectors::{Question, WIT_VERSION};
use wasmparser::{Encoding, FuncType, Parser, Payload, TypeRef, ValType};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::interface::Workshop;

/// What is needed of a module.
#[derive(Default)]
struct Module {
    exports: Vec<String>,
    /// Functions that it imports from elsewhere than the interface, by module and name.
    foreign: BTreeMap<String, BTreeMap<String, FuncType>>,
    /// Whether its compiler has written already what world it is of.
    described: bool,
}

/// Makes a component of a module, in binary or in text; the question need not be told where its exports tell.
pub(super) fn component_of(bytes: &[u8], question: Option<Question>) -> Result<Vec<u8>> {
    let mut bytes = wat::parse_bytes(bytes).context("neither a module nor the text of one")?.into_owned();
    let module = Module::read(&bytes)?;
    if !module.described {
        let question = module.question(question)?;
        let workshop = Workshop::open()?;
        let (resolve, world) = workshop.world(question)?;
        embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)?;
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(&bytes)?;
    for (from, functions) in &module.foreign {
        encoder = encoder.adapter(from, &stand_in(functions)?)?;
    }
    encoder.encode().context("the module is no policy")
}

impl Module {
    fn read(bytes: &[u8]) -> Result<Self> {
        let (mut module, mut types) = (Self::default(), Vec::new());
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding: Encoding::Component, .. } => bail!("it is a component already"),
                Payload::TypeSection(section) => {
                    types = section.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if import.module.starts_with("doorward:policy/") {
                            continue;
                        }
                        let (TypeRef::Func(kind) | TypeRef::FuncExact(kind)) = import.ty else {
                            bail!(
                                "it imports \"{}\" of \"{}\", which is no function: it must have its own memory and tables",
                                import.name,
                                import.module
                            );
                        };
                        let kind = usize::try_from(kind).ok().and_then(|kind| types.get(kind));
                        let kind: &FuncType = kind.context("a function without a type")?;
                        let of = module.foreign.entry(import.module.to_owned()).or_default();
                        of.insert(import.name.to_owned(), kind.clone());
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        module.exports.push(export?.name.to_owned());
                    }
                }
                Payload::CustomSection(section) => module.described |= section.name().starts_with("component-type"),
                _ => {}
            }
        }
        Ok(module)
    }

    /// The question that it answers.
    fn question(&self, told: Option<Question>) -> Result<Question> {
        let answered: Vec<Question> =
            Question::ALL.into_iter().filter(|question| self.exports.contains(&export(*question))).collect();
        let question = match (told, &answered[..]) {
            (Some(question), _) => question,
            (None, [one]) => *one,
            (None, _) => bail!("{}", self.lacking(&export(Question::Device))),
        };
        let settings = |name| format!("doorward:policy/settings@{WIT_VERSION}#{name}");
        for name in [export(question), settings("schema"), settings("configure"), "memory".to_owned()] {
            ensure!(self.exports.contains(&name), "{}", self.lacking(&name));
        }
        Ok(question)
    }

    /// What it lacks, and what it has.
    fn lacking(&self, name: &str) -> String {
        let has = if self.exports.is_empty() { "nothing".to_owned() } else { self.exports.join(", ") };
        format!(
            "the module exports no \"{name}\"; it exports {has}. `doorward policy wit QUESTION` shows what a policy \
             exports, and docs/policies.md how a function is passed texts and lists"
        )
    }
}

/// What answers a question, as the canonical ABI names it.
fn export(question: Question) -> String {
    let function = match question {
        Question::Access => "check",
        Question::Device => "classify",
        Question::Template => "select",
        Question::AuthMode | Question::Filter | Question::Route => "decide",
    };
    format!("doorward:policy/{}@{WIT_VERSION}#{function}", question.name())
}

/// A module that has these functions, each of which stops the policy.
fn stand_in(functions: &BTreeMap<String, FuncType>) -> Result<Vec<u8>> {
    let mut text = String::from("(module\n");
    for (name, kind) in functions {
        let name: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let list = |kinds: &[ValType]| kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let (given, back) = (list(kind.params()), list(kind.results()));
        writeln!(text, "(func (export \"{name}\") (param {given}) (result {back}) unreachable)")?;
    }
    text.push(')');
    wat::parse_str(&text).context("it imports a function of a kind that no policy can have")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = r#"(module
        (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "doorward:policy/settings@0.1.1#schema") (result i32) i32.const 16)
        (func (export "doorward:policy/settings@0.1.1#configure") (param i32 i32) (result i32) i32.const 16)
        (func (export "doorward:policy/device@0.1.1#classify") (result i32) i32.const 16))"#;

    #[test]
    fn a_module_of_any_compiler_becomes_a_component() {
        for question in [None, Some(Question::Device)] {
            let component = component_of(DEVICE.as_bytes(), question).unwrap();
            let decoded = wit_component::decode(&component).unwrap();
            let packages = decoded.resolve().packages.iter().map(|(_, package)| package.name.namespace.clone());
            let packages: Vec<String> = packages.collect();
            assert!(
                packages.contains(&"doorward".to_owned()) && !packages.contains(&"wasi".to_owned()),
                "{packages:?}"
            );
            assert!(component_of(&component, question).unwrap_err().to_string().contains("component already"));
        }
    }

    #[test]
    fn what_a_module_lacks_is_named() {
        for (text, question, told) in [
            (
                DEVICE.replace("device@0.1.1#classify", "x"),
                None,
                "exports no \"doorward:policy/device@0.1.1#classify\"",
            ),
            (DEVICE.to_owned(), Some(Question::Filter), "exports no \"doorward:policy/filter@0.1.1#decide\""),
            (DEVICE.replace("#schema", "#schemas"), None, "settings@0.1.1#schema\"; it exports memory, cabi_realloc"),
            (DEVICE.replace("(export \"memory\")", ""), None, "exports no \"memory\""),
            (DEVICE.replace("(func (param i32 i32 i32 i32) (result i32))", "(memory 1)"), None, "no function"),
            ("(module".to_owned(), None, "neither a module nor the text of one"),
        ] {
            let error = format!("{:#}", component_of(text.as_bytes(), question).unwrap_err());
            assert!(error.contains(told), "{told}: {error}");
        }
    }
}
