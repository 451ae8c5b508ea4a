//! A file that says which user is on which back-end, before the directory is asked.
//!
//! ```text
//! # user, domain or expression, and the back-end behind the last blank
//! alice@example.com        node-a
//! @example.com             node-b
//! /[a-m].*@example\.org/   node-a
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{name, shrunk};
use crate::config::{Faults, Place, Source};

/// A file may be so large, and have so many expressions: each is tried for each name that no line before them knows.
const FILE_SIZE: u64 = 16 << 20;
const EXPRESSIONS: usize = 1000;
/// What one of them may come to when it is compiled, in bytes: some hundred times a usual one.
const PROGRAM_SIZE: usize = 256 << 10;

/// Back-ends by user, by domain and by expression; the first of these that knows a name.
#[derive(Debug, Default)]
pub(super) struct Map {
    users: HashMap<String, String>,
    domains: HashMap<String, String>,
    expressions: Vec<(Regex, String)>,
    /// The size of the file.
    size: usize,
}

impl Map {
    /// Reads a file that names back-ends which there are. `before` is what was read of it before.
    ///
    /// # Errors
    /// Every line that is wrong, or signs that it is cut.
    pub(super) fn load(
        path: &Path,
        fold_case: bool,
        is_node: &dyn Fn(&str) -> bool,
        (place, before): (&Place, Option<&Self>),
    ) -> Result<Self, Faults> {
        let whole = |found: String| {
            place.key("map").fault(format!("{}: {found}", path.display()), "a readable file of at most 16 MiB")
        };
        let size = std::fs::metadata(path).map_err(|error| whole(error.to_string()))?.len();
        if size > FILE_SIZE {
            return Err(whole(format!("{size} bytes")).into());
        }
        let text = std::fs::read_to_string(path).map_err(|error| whole(error.to_string()))?;
        shrunk::check_end(path, &text, before.map(|before| before.size)).map_err(whole)?;
        let map = Self::parse(&Arc::new(Source::new(path, text)), fold_case, is_node)?;
        shrunk::check(before.map_or(0, Self::len), map.len()).map_err(whole)?;
        Ok(map)
    }

    /// How many users, domains and expressions it has.
    pub(super) fn len(&self) -> usize {
        self.users.len() + self.domains.len() + self.expressions.len()
    }

    fn parse(source: &Arc<Source>, fold_case: bool, is_node: &dyn Fn(&str) -> bool) -> Result<Self, Faults> {
        let mut map = Self { size: source.text.len(), ..Self::default() };
        let (mut faults, mut start) = (Vec::new(), 0);
        for whole in source.text.split_inclusive('\n') {
            let (line, span) = (whole.trim(), start..start + whole.len());
            start = span.end;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(found) = map.add(line, fold_case, is_node) {
                let place = Place::new(source, "", span);
                faults.push(place.fault(found, "USER, @DOMAIN or /EXPRESSION/, a blank, and a back-end's name"));
            }
        }
        if faults.is_empty() { Ok(map) } else { Err(Faults(faults)) }
    }

    fn add(&mut self, line: &str, fold_case: bool, is_node: &dyn Fn(&str) -> bool) -> Result<(), String> {
        let (pattern, node) = line.rsplit_once(char::is_whitespace).ok_or("no back-end behind a blank")?;
        let (pattern, node) = (pattern.trim_end(), node.to_owned());
        if !is_node(&node) {
            return Err(format!("\"{node}\", which is no back-end"));
        }
        if let Some(expression) = pattern.strip_prefix('/') {
            let expression = expression.strip_suffix('/').ok_or("an expression without a / at its end")?;
            if self.expressions.len() == EXPRESSIONS {
                return Err(format!("more than {EXPRESSIONS} expressions"));
            }
            // The whole name has to fit: half of one is somebody else's.
            let built = RegexBuilder::new(&format!("^(?:{expression})$"))
                .case_insensitive(fold_case)
                .size_limit(PROGRAM_SIZE)
                .build();
            self.expressions.push((built.map_err(|error| error.to_string())?, node));
            return Ok(());
        }
        let (known, written) = match pattern.strip_prefix('@') {
            Some(domain) => (&mut self.domains, domain),
            None => (&mut self.users, pattern),
        };
        let key = name::canonical(written, fold_case).ok_or("a name that nobody can have")?;
        match known.insert(key, node) {
            None => Ok(()),
            Some(_) => Err(format!("\"{pattern}\" a second time")),
        }
    }

    /// The back-end of a canonical name.
    pub(super) fn node_of(&self, name: &str) -> Option<&str> {
        let by_domain = || self.domains.get(name::parts(name).1);
        let by_expression = || self.expressions.iter().find(|(regex, _)| regex.is_match(name)).map(|(_, node)| node);
        self.users.get(name).or_else(by_domain).or_else(by_expression).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Result<Map, Faults> {
        let source = Arc::new(Source::new("routes.map", text));
        Map::parse(&source, true, &|name| name.starts_with("node"))
    }

    #[test]
    fn a_user_goes_before_a_domain_and_that_before_an_expression() {
        let text = "# comment\n\nAlice@a.test  node-1\n@a.test\tnode-2\n/[a-m].*@b\\.test/ node-3\n/.*@B.test/ node-4\n\
            name with blanks node-5\n";
        let map = map(text).unwrap();
        let check = |name: &str, node: Option<&str>| assert_eq!(map.node_of(name), node, "{name}");
        check("alice@a.test", Some("node-1"));
        check("bob@a.test", Some("node-2"));
        check("a.test\\bob", Some("node-2"));
        check("bob@b.test", Some("node-3"));
        check("zoe@b.test", Some("node-4"));
        check("zoe@b.test.evil", None);
        check("name with blanks", Some("node-5"));
        check("alice", None);
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number() {
        let faults = map("a node-1\nalone\n/x node-1\n/(/ node-1\nA node-2\n\u{1}b node-1\nb elsewhere\n").unwrap_err();
        let lines: Vec<usize> = faults.0.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7], "{faults}");
    }

    #[test]
    fn no_expression_takes_long() {
        assert_eq!(map("/(a+)+b/ node\n").unwrap().node_of(&"a".repeat(256)), None);
    }
}
