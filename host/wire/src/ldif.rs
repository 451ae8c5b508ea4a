//! LDIF (RFC 2849): entries, and no changes.
//!
//! Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Values by the names of their attributes, which are in lower case.
pub type Entry = BTreeMap<String, Vec<String>>;

/// Reads entries by distinguished name, and tells the name of the last one.
///
/// # Errors
/// The first line that is no LDIF, and what is wrong with it.
pub fn parse(text: &str) -> Result<(BTreeMap<String, Entry>, String), String> {
    let (mut entries, mut last) = (BTreeMap::new(), String::new());
    let mut current: Option<(String, Entry)> = None;
    // The end of the text ends the last entry, as an empty line does.
    let end = (text.lines().count(), String::new());
    for (number, line) in logical_lines(text)?.into_iter().chain([end]) {
        if line.is_empty() {
            if let Some((name, entry)) = current.take() {
                if entry.is_empty() {
                    return Err(format!("line {number}: an entry without attributes (RFC 2849)"));
                }
                last.clone_from(&name);
                entries.insert(name, entry);
            }
            continue;
        }
        let wrong = |what: &str| format!("line {number}: {what}");
        let (name, value) = attribute(&line).map_err(wrong)?;
        match (&mut current, name.as_str()) {
            (None, "version") => {}
            (None, "dn") => current = Some((value, Entry::new())),
            (None, _) => return Err(wrong("an attribute outside of an entry (an entry begins with dn:)")),
            (Some(_), "dn") => return Err(wrong("a second dn in one entry (entries are parted by an empty line)")),
            (Some(_), "changetype") => return Err(wrong("a change record, where entries are expected")),
            (Some((_, entry)), _) => entry.entry(name).or_default().push(value),
        }
    }
    Ok((entries, last))
}

/// Lines with their continuations joined, without comments; an empty one ends each entry.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, String> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut comment = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(rest) = line.strip_prefix(' ') {
            match lines.last_mut() {
                _ if comment => {}
                Some((_, last)) if !last.is_empty() => last.push_str(rest),
                // Joined to the empty line before it, it would take away the end of an entry.
                _ if rest.trim().is_empty() => {}
                _ => {
                    return Err(format!(
                        "line {}: a blank at its beginning, and no line before it that goes on",
                        index + 1
                    ));
                }
            }
            continue;
        }
        comment = line.starts_with('#');
        if !comment {
            lines.push((index + 1, line.to_owned()));
        }
    }
    Ok(lines)
}

/// `name: value` or `name:: base64`.
fn attribute(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once(':').ok_or("no colon behind an attribute")?;
    let name = name.split(';').next().unwrap_or(name).to_ascii_lowercase();
    // RFC 4512, section 1.4, and the underscore that some servers allow.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err("a name that no attribute has");
    }
    let value = match value.strip_prefix(':') {
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded.trim()).map_err(|_| "a value that is no base64")?;
            String::from_utf8(bytes).map_err(|_| "a value that is no UTF-8")?
        }
        None if value.starts_with('<') => return Err("a value in another file, which is not read"),
        None => value.strip_prefix(' ').unwrap_or(value).trim_end().to_owned(),
    };
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_told_with_its_line() {
        let check = |text: &str, line: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(line), "{error}");
        };
        check("uid: a\n", "line 1");
        check("dn: a\nuid\n", "line 2");
        check("dn: a\nuid:: %%\n", "line 2");
        check("dn: a\nuid: a\n\ndn: b\ndn: c\n", "line 5");
        check("dn: a\nuid: a\n\ndn: b\n", "line 4");
        check("dn: a\n\ndn: b\nuid: b\n", "line 2");
        check("dn: a\nchangetype: modify\n", "line 2");
        check("dn: a\nuid: a\n\n  dn: b\nuid: b\n", "line 4: a blank");
        check(" dn: a\nuid: a\n", "line 1: a blank");
        check("dn: a\nuser name: a\n", "line 2: a name");
        check("dn: a\n: a\n", "line 2: a name");
        assert_eq!(parse("dn: a\nuid: a\n\n  \ndn: b\nuid: b\n").unwrap().0.len(), 2);
        check("dn: a\njpegPhoto:< file:///etc/passwd\n", "line 2");
    }
}
