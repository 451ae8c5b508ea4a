//! The ways in which nodes may read a path, and patterns over them.
//!
//! A pattern is compared with the path as Doorward got it, but what counts is what the node makes of it, and nodes differ:
//! some decode percent signs once more, cut `;parameters` off, or join repeated slashes; some file systems do not tell
//! `.GIT` from `.git`. So a path is blocked if any of its readings is, and excepted only if all of them are.
//!
//! Some spellings are refused outright instead of being read: a browser resolves `.` and `..` and turns `\` into `/` before
//! it sends anything, and nobody has reason to encode letters four times over.
//!
//! Not undone are the spellings of Windows (a dot at the end, short names) and letter case beyond ASCII.
//!
//! Pure.

use std::collections::BTreeSet;

use doorward_policy::glob::Glob;

/// A proxy, a web server and an application on a node decode a path once each, at most.
const DECODINGS: usize = 3;

/// A path may be so long (RFC 9110, section 4.1, wants 8000), and one that can be read in several ways so long. Comparing
/// takes time, and a policy that runs out of it has no opinion: a long path must not be a way around the patterns. With 200
/// patterns either takes at most 3 ms in WebAssembly, of the 10 ms there are.
const LENGTH: usize = 8192;
const ODD_LENGTH: usize = 1024;

/// A path in all its readings.
pub(crate) struct Path {
    /// At least one. With none the path is refused.
    readings: BTreeSet<String>,
}

impl Path {
    /// Reads a path, or tells why it is refused.
    pub(crate) fn read(path: &str) -> Result<Path, &'static str> {
        let is_odd = path.contains(['%', ';', '?', '#']) || path.contains("//");
        if path.len() > if is_odd { ODD_LENGTH } else { LENGTH } {
            return Err("it is too long to be compared in time");
        }
        let mut readings = BTreeSet::from([path.to_string()]);
        if is_odd {
            let mut decoded = path.to_string();
            for _ in 0..DECODINGS {
                decoded = decode(&decoded);
                readings.insert(decoded.clone());
            }
            if decode(&decoded) != decoded {
                return Err("it is encoded many times over");
            }
            for step in [without_parameters, with_single_slashes] {
                let more: Vec<String> = readings.iter().map(|reading| step(reading)).collect();
                readings.extend(more);
            }
        }
        if readings.iter().any(|reading| reading.contains(['\\', '\0'])) {
            return Err("it has a backslash or a zero byte in it");
        }
        if readings.iter().any(|reading| reading.split('/').any(|part| matches!(part, "." | ".."))) {
            return Err("it leads upwards");
        }
        Ok(Path { readings })
    }

    /// Whether a node could take it for a path of one of the patterns.
    pub(crate) fn may_be(&self, patterns: &[Glob]) -> bool {
        self.readings.iter().any(|reading| patterns.iter().any(|pattern| pattern.matches(reading)))
    }

    /// Whether every node takes it for a path of the patterns.
    pub(crate) fn must_be(&self, patterns: &[Glob]) -> bool {
        self.readings.iter().all(|reading| patterns.iter().any(|pattern| pattern.matches(reading)))
    }
}

/// Checks a pattern, or tells what is wrong: one that no reading can be like would block nothing, silently.
pub(crate) fn pattern(text: &str) -> Result<Glob, String> {
    if !text.starts_with(['/', '*']) {
        return Err(format!("`{text}` begins with neither `/` nor `*`, so no path is like it"));
    }
    if let Some(odd) = text.chars().find(|letter| matches!(letter, '?' | '#' | '\\' | '\0')) {
        return Err(format!("`{text}` has a `{}`, which is never part of a path", odd.escape_default()));
    }
    if text.contains('%') {
        return Err(format!("`{text}` has a `%`: paths are decoded first, so write the letter itself"));
    }
    if text.contains("//") || text.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!("`{text}` has an empty part, `.` or `..` in it, which no browser asks for"));
    }
    Ok(Glob::new(text))
}

/// The path with every `%xx` decoded; what is not UTF-8 then matches only `*`.
fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(1), digit(2)) {
            // Two hexadecimal digits are at most 255.
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The path without `;…` at the end of its parts, and without what a node could take for a query or a fragment.
fn without_parameters(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let parts: Vec<&str> = path.split('/').map(|part| part.split(';').next().unwrap_or(part)).collect();
    parts.join("/")
}

/// The path with one slash where there are several.
fn with_single_slashes(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for letter in path.chars() {
        if !(letter == '/' && single.ends_with('/')) {
            single.push(letter);
        }
    }
    single
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readings_of_a_path_are_found() {
        let check = |path: &str, expected: &[&str]| {
            let readings = Path::read(path).unwrap_or_else(|reason| panic!("{path}: {reason}")).readings;
            assert_eq!(readings.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{path}");
        };
        check("/", &["/"]);
        check("/a/b.c", &["/a/b.c"]);
        check("*", &["*"]);
        check("/%61", &["/%61", "/a"]);
        check("/%2561", &["/%2561", "/%61", "/a"]);
        check("/100%", &["/100%"]);
        check("/%zz%", &["/%zz%"]);
        check("/%ff", &["/%ff", "/\u{fffd}"]);
        check("/a;x/b", &["/a/b", "/a;x/b"]);
        check("/a%3fb", &["/a", "/a%3fb", "/a?b"]);
        check("//a///b", &["//a///b", "/a/b"]);
        check("/a%2fb", &["/a%2fb", "/a/b"]);
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        let check = |path: &str, reason: &str| match Path::read(path) {
            Ok(_) => panic!("{path} was read"),
            Err(found) => assert!(found.contains(reason), "{path}: {found}"),
        };
        for path in ["/a/../b", "/./a", "/..", "/%2e%2e/a", "/%252e./a", "/..;/a", "/a%2f..%2fb"] {
            check(path, "upwards");
        }
        for path in ["/a\\b", "/a%5cb", "/a%255cb", "/a%00.png"] {
            check(path, "a backslash or a zero byte");
        }
        check("/%2525252561", "many times");
        check(&format!("/;{}", "a".repeat(ODD_LENGTH)), "too long");
        check(&format!("/{}", "a".repeat(LENGTH)), "too long");
        assert!(Path::read(&format!("/{}", "a".repeat(LENGTH - 1))).is_ok());
    }
}
