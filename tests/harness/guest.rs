//! Policies written as WebAssembly text, well-behaved or hostile, made into components by the interface of `wit/`.

use std::path::Path;

use doorward_vectors::Question;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The version of the package in `wit/`.
pub use doorward_vectors::WIT_VERSION as VERSION;

/// The function of a question's interface, and its type.
fn export(question: Question) -> (&'static str, &'static str) {
    match question {
        Question::Access => ("check", "(result i32)"),
        Question::Device => ("classify", "(result i32)"),
        Question::Template => ("select", "(param i32) (result i32)"),
        Question::AuthMode | Question::Filter | Question::Route => ("decide", "(result i32)"),
    }
}

/// A policy in WebAssembly text. Answers are pointers into memory, which is all zeroes from 0 to 1024: access "allow",
/// and for the others "no opinion". `configure` takes any settings.
#[derive(Debug, Clone)]
pub struct Guest {
    question: Question,
    version: String,
    imports: String,
    extra: String,
    configure: String,
    answer: String,
}

impl Guest {
    /// One that has no opinion.
    pub fn new(question: Question) -> Self {
        Self {
            question,
            version: VERSION.to_owned(),
            imports: String::new(),
            extra: String::new(),
            configure: "i32.const 16".to_owned(),
            answer: "i32.const 16".to_owned(),
        }
    }

    /// A template policy that always names this one.
    pub fn template(name: &str) -> Self {
        let length = name.len();
        Self::new(Question::Template).extra(&format!("(data (i32.const 1024) \"{name}\")")).answer(&format!(
            "(i32.store (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 1024)) \
                 (i32.store (i32.const 24) (i32.const {length})) i32.const 16"
        ))
    }

    /// A guest from a file of `tests/guests/hostile`, if it is one for this question. `;;; NAME` begins a part: `imports`,
    /// `fields`, `configure`, `answer`, or `answer QUESTION` for one question only; `;;; questions …` names those it is for.
    pub fn hostile(question: Question, text: &str) -> Option<Self> {
        let text = text.replace("{version}", VERSION);
        let mut guest = Self::new(question);
        for part in text.split("\n;;; ").skip(1) {
            let (name, code) = part.split_once('\n').unwrap_or((part, ""));
            match name.split_once(' ').unwrap_or((name, "")) {
                ("questions", names) if !names.split(' ').any(|name| name == question.name()) => return None,
                ("questions", _) => {}
                ("imports", "") => guest.imports = code.to_owned(),
                ("fields", "") => guest.extra = code.to_owned(),
                ("configure", "") => guest.configure = code.to_owned(),
                ("answer", of) if of.is_empty() || of == question.name() => guest.answer = code.to_owned(),
                ("answer", _) => {}
                (other, _) => panic!("a part {other:?} in\n{text}"),
            }
        }
        Some(guest)
    }

    /// Code of the one question.
    #[must_use]
    pub fn answer(mut self, code: &str) -> Self {
        self.answer = code.to_owned();
        self
    }

    /// Code of `configure`.
    #[must_use]
    pub fn configure(mut self, code: &str) -> Self {
        self.configure = code.to_owned();
        self
    }

    /// Fields of the module besides: functions, data, a start function, another memory size (`$pages`).
    #[must_use]
    pub fn extra(mut self, fields: &str) -> Self {
        self.extra = fields.to_owned();
        self
    }

    /// Imports of the module.
    #[must_use]
    pub fn imports(mut self, fields: &str) -> Self {
        self.imports = fields.to_owned();
        self
    }

    /// Another version of the interface.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap_or_else(|e| panic!("{e}\n{}", self.text()));
        let (resolve, world) = self.world();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
        let encoder = ComponentEncoder::default().validate(true).module(&module);
        encoder.and_then(|mut encoder| encoder.encode()).unwrap_or_else(|e| panic!("{e:?}"))
    }

    fn text(&self) -> String {
        let (version, name) = (&self.version, self.question.name());
        let (function, kind) = export(self.question);
        format!(
            r#"(module
  {imports}
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func (export "doorward:policy/settings@{version}#schema") (result i32) i32.const 16)
  (func (export "doorward:policy/settings@{version}#configure") (param i32 i32) (result i32) {configure})
  (func $answer (export "doorward:policy/{name}@{version}#{function}") {kind} {answer})
  {extra})"#,
            imports = self.imports,
            configure = self.configure,
            answer = self.answer,
            extra = self.extra,
        )
    }

    fn world(&self) -> (Resolve, wit_parser::WorldId) {
        let folder = crate::temp_dir();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        for entry in std::fs::read_dir(&source).expect("wit/") {
            let path = entry.expect("wit/").path();
            if path.extension().is_some_and(|extension| extension == "wit") {
                let text = std::fs::read_to_string(&path).expect("a WIT file");
                let text = text.replace(&format!("@{VERSION}"), &format!("@{}", self.version));
                std::fs::write(folder.path().join(path.file_name().expect("a name")), text).expect("a WIT file");
            }
        }
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(folder.path()).unwrap_or_else(|e| panic!("{e:?}"));
        let world = resolve.select_world(&[package], Some(self.question.world())).unwrap_or_else(|e| panic!("{e:?}"));
        (resolve, world)
    }
}
