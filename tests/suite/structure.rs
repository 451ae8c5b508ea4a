//! Who knows whom, read from the parsed sources: a file knows the file that defines what a path of it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A crate's modules, each by its path (`["policy", "memo"]`; the root is empty).
pub(crate) struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
    /// Those below the root, in the order in which the root names them.
    pub(crate) order: Vec<String>,
}

/// A module: its file, what it defines, what its `use` items bind, and every path that it writes.
#[derive(Default)]
struct Module {
    file: PathBuf,
    defined: BTreeSet<String>,
    bound: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    paths: BTreeSet<Vec<String>>,
}

impl Crate {
    /// Parses a crate from its root file on. What is compiled for tests only is left out.
    pub(crate) fn parse(root: &Path) -> Self {
        let mut all = Self { modules: BTreeMap::new(), order: Vec::new() };
        let folder = root.parent().expect("a folder").to_owned();
        all.read(&[], root, &folder);
        all
    }

    fn read(&mut self, name: &[String], file: &Path, folder: &Path) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.module(name, file, folder, &parsed.items);
    }

    fn module(&mut self, name: &[String], file: &Path, folder: &Path, items: &[syn::Item]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            if let syn::Item::Mod(below) = item {
                let word = below.ident.to_string();
                if name.is_empty() {
                    self.order.push(word.clone());
                }
                let (child, within) = ([name, std::slice::from_ref(&word)].concat(), folder.join(&word));
                if let Some((_, items)) = &below.content {
                    self.module(&child, file, &within, items);
                } else {
                    let beside = folder.join(format!("{word}.rs"));
                    let said = said_path(&below.attrs).map(|path| file.parent().expect("a folder").join(path));
                    let file = said.unwrap_or(if beside.exists() { beside } else { within.join("mod.rs") });
                    self.read(&child, &file, &within);
                }
                continue;
            }
            if let syn::Item::Use(list) = item {
                let shown = !matches!(list.vis, syn::Visibility::Inherited);
                module.bind(&[], &list.tree, shown);
            } else {
                module.defined.extend(defines(item));
                Paths(&mut module.paths).visit_item(item);
            }
        }
        self.modules.insert(name.to_owned(), module);
    }

    /// Every file with the files that it knows, each with one path by which it does. What a file makes public for another
    /// (`pub use`) it does not know itself: who names that, knows where it is defined.
    pub(crate) fn known(&self) -> BTreeMap<PathBuf, BTreeMap<PathBuf, String>> {
        let mut known: BTreeMap<PathBuf, BTreeMap<PathBuf, String>> = BTreeMap::new();
        for (name, module) in &self.modules {
            let knows = known.entry(module.file.clone()).or_default();
            for path in &module.paths {
                if let Some(file) = self.file_of(name, path, 0)
                    && file != module.file
                {
                    knows.insert(file, path.join("::"));
                }
            }
        }
        known
    }

    /// Every path that a file writes, as `use` items make it whole.
    pub(crate) fn named(&self) -> BTreeMap<PathBuf, BTreeSet<Vec<String>>> {
        let mut named: BTreeMap<PathBuf, BTreeSet<Vec<String>>> = BTreeMap::new();
        for module in self.modules.values() {
            let names = named.entry(module.file.clone()).or_default();
            names.extend(module.bound.values().chain(&module.globs).cloned());
            for path in &module.paths {
                let bound =
                    path.split_first().and_then(|(first, rest)| Some([module.bound.get(first)?, rest].concat()));
                names.insert(bound.unwrap_or_else(|| path.clone()));
            }
        }
        named
    }

    /// The file that defines what a path names, seen from a module; none where it is another crate's.
    fn file_of(&self, from: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        if depth > 8 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.below(&[], rest, depth),
            "self" => self.below(from, rest, depth),
            "super" => self.below(&from[..from.len().checked_sub(1)?], rest, depth),
            _ => self.below(from, path, depth),
        }
    }

    fn below(&self, module: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        let here = self.modules.get(module)?;
        let Some((first, rest)) = path.split_first() else { return Some(here.file.clone()) };
        let child = [module, std::slice::from_ref(first)].concat();
        if first == "super" {
            return self.below(&module[..module.len().checked_sub(1)?], rest, depth);
        }
        // A module and a function may have one name: what something follows is the module.
        let is_module = !rest.is_empty() && self.modules.contains_key(&child);
        if here.defined.contains(first) && !is_module {
            return Some(here.file.clone());
        }
        if let Some(bound) = here.bound.get(first) {
            // `use self::x::y` where a child is named as well: the binding says the same.
            let named = [bound, rest].concat();
            return if bound.first() == Some(first) && !self.modules.contains_key(&child) {
                None
            } else {
                self.file_of(module, &named, depth + 1)
            };
        }
        if self.modules.contains_key(&child) {
            return self.below(&child, rest, depth);
        }
        here.globs.iter().find_map(|glob| self.file_of(module, &[glob, path].concat(), depth + 1))
    }
}

impl Module {
    fn bind(&mut self, before: &[String], tree: &syn::UseTree, shown: bool) {
        let mut add = |name: String, path: Vec<String>| {
            if !shown {
                self.paths.insert(path.clone());
            }
            self.bound.insert(name, path);
        };
        match tree {
            syn::UseTree::Path(path) => self.bind(&[before, &[path.ident.to_string()]].concat(), &path.tree, shown),
            syn::UseTree::Name(name) if name.ident == "self" => {
                add(before.last().cloned().unwrap_or_default(), before.to_owned());
            }
            syn::UseTree::Name(name) => {
                add(name.ident.to_string(), [before, &[name.ident.to_string()]].concat());
            }
            syn::UseTree::Rename(rename) => {
                add(rename.rename.to_string(), [before, &[rename.ident.to_string()]].concat());
            }
            syn::UseTree::Glob(_) => self.globs.push(before.to_owned()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.bind(before, tree, shown)),
        }
    }
}

/// Collects the paths of an item, those in the arguments of macros included.
struct Paths<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    /// `pub(super)` says who may know, not who is known.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut path: Vec<String> = Vec::new();
        let mut waiting = vec![call.tokens.clone().into_iter()];
        let mut colons = 0;
        while let Some(tokens) = waiting.last_mut() {
            let Some(token) = tokens.next() else {
                waiting.pop();
                self.0.insert(std::mem::take(&mut path));
                continue;
            };
            match token {
                proc_macro2::TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                proc_macro2::TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.0.insert(std::mem::take(&mut path));
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                other => {
                    self.0.insert(std::mem::take(&mut path));
                    colons = 0;
                    if let proc_macro2::TokenTree::Group(group) = other {
                        waiting.push(group.stream().into_iter());
                    }
                }
            }
        }
        visit::visit_macro(self, call);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    };
    attributes.iter().any(is_test)
}

/// What `#[path = "…"]` says.
fn said_path(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

fn defines(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

#[test]
fn every_spelling_of_a_path_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("lib.rs", "pub mod above;\npub mod below;");
    write("above.rs", "pub struct Thing; pub fn act() {} #[macro_export] macro_rules! cry { () => {} }");
    write(
        "below/mod.rs",
        "mod shown; mod grouped; mod climbing; mod called; mod renamed; mod open; mod unknowing; pub use shown::Shown;",
    );
    write("below/shown.rs", "pub struct Shown;");
    write("below/grouped.rs", "use crate::{above::{self, Thing}, below};");
    write("below/climbing.rs", "fn f() -> super::super::above::Thing { todo!() }");
    write("below/called.rs", "fn f() { println!(\"{}\", g(crate::above::act())); }");
    write("below/renamed.rs", "use crate::above as other; fn f() { other::act() }");
    write("below/open.rs", "use crate::above::*; fn f(_: Thing) {}");
    // What is for tests, what only looks like it, and who may see it: none of that is known.
    write(
        "below/unknowing.rs",
        "/// See crate::above.\npub(in crate::below) fn f() -> &'static str { \"crate::above\" }\n\
         #[cfg(test)] mod tests { use crate::above::Thing; } fn g(_: super::Shown) {}",
    );
    let known = Crate::parse(&folder.path().join("lib.rs")).known();
    let knows = |file: &str, other: &str| known[&folder.path().join(file)].contains_key(&folder.path().join(other));
    for file in ["grouped", "climbing", "called", "renamed", "open"] {
        assert!(knows(&format!("below/{file}.rs"), "above.rs"), "{file}: {known:#?}");
    }
    assert!(!knows("below/unknowing.rs", "above.rs"), "{known:#?}");
    assert!(knows("below/unknowing.rs", "below/shown.rs"), "through the module that shows it: {known:#?}");
    assert!(!knows("below/unknowing.rs", "below/mod.rs"), "{known:#?}");
}
