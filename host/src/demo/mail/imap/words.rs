//! Pure. The words of a command after the login: atoms, strings, and lists as they are.

/// The words of a text, without the quotes of strings; lists and sections keep their brackets. `None` where they do not fit.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches(' ');
        let (word, after) = match rest.chars().next() {
            None => return Some(words),
            Some('"') => string(rest)?,
            Some('{') => {
                let (size, after) = rest.get(1..)?.split_once("}\r\n")?;
                let (text, after) = after.split_at_checked(size.trim_end_matches('+').parse().ok()?)?;
                (text.to_owned(), after)
            }
            Some(_) => {
                let (word, after) = rest.split_at_checked(end(rest)?)?;
                (word.to_owned(), after)
            }
        };
        words.push(word);
        rest = after;
    }
}

/// A quoted string at the beginning, and what follows.
fn string(text: &str) -> Option<(String, &str)> {
    let (mut said, mut chars) = (String::new(), text.char_indices().skip(1));
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((said, text.get(at + 1..)?)),
            '\\' => said.push(chars.next()?.1),
            plain => said.push(plain),
        }
    }
    None
}

/// Where an atom, a list or a section ends: at the first blank outside of brackets.
fn end(text: &str) -> Option<usize> {
    let (mut depth, mut is_quoted) = (0_usize, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '(' | '[' if !is_quoted => depth += 1,
            ')' | ']' if !is_quoted => depth = depth.checked_sub(1)?,
            ' ' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    (depth == 0).then_some(text.len())
}

/// The words of a list; a word alone is a list of one.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    words(text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text))
}

/// Whether a pattern of LIST fits a name without hierarchy. It takes no longer than both are long, multiplied: where a star has
/// to take more, only the last one does.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // What follows the last star, and what of the name follows all that it took.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*' | b'%', rest)), _) => (pattern, star) = (rest, Some((rest, name))),
            (Some((wanted, rest)), Some((first, others))) if wanted.eq_ignore_ascii_case(first) => {
                (pattern, name) = (rest, others);
            }
            (None, None) => return true,
            _ => {
                let Some((behind, (_, others))) = star.and_then(|(behind, taken)| Some((behind, taken.split_first()?)))
                else {
                    return false;
                };
                (pattern, name, star) = (behind, others, Some((behind, others)));
            }
        }
    }
}

/// Whether a set of numbers has one of them, where `*` is the last.
pub(super) fn has(set: &str, number: usize, last: usize) -> Option<bool> {
    let one = |text: &str| if text == "*" { Some(last) } else { text.parse().ok().filter(|number| *number > 0) };
    let mut found = false;
    for part in set.split(',') {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let (from, to) = (one(from)?, one(to)?);
        found |= (from.min(to)..=from.max(to)).contains(&number);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_atoms_strings_and_lists() {
        let read = |text: &str| words(text).map(|words| words.join("|"));
        assert_eq!(read("FETCH 1:* (FLAGS UID)").as_deref(), Some("FETCH|1:*|(FLAGS UID)"));
        assert_eq!(
            read("a BODY.PEEK[HEADER.FIELDS (From \"To\")]<0.5> b").as_deref(),
            Some("a|BODY.PEEK[HEADER.FIELDS (From \"To\")]<0.5>|b")
        );
        assert_eq!(read("LIST \"\" \"a \\\"b\"").as_deref(), Some("LIST||a \"b"));
        assert_eq!(read("SELECT {5}\r\nINBOX x").as_deref(), Some("SELECT|INBOX|x"));
        for wrong in ["(a", "a)", "\"a", "{5}\r\nab", "{5}ab"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sets_and_patterns() {
        assert_eq!(has("1:3,5", 2, 6), Some(true));
        assert_eq!(has("*:5", 6, 6), Some(true));
        assert_eq!(has("1,3", 2, 6), Some(false));
        assert_eq!(has("x", 2, 6), None);
        for pattern in ["*", "%", "INBOX", "inbox", "IN*", "*box", "I%X"] {
            assert!(matches(pattern, "INBOX"), "{pattern}");
        }
        assert!(!matches("INBOX.%", "INBOX") && !matches("Sent", "INBOX") && !matches("", "INBOX") && matches("", ""));
        assert!(
            matches("***", "") && matches("*x*", "INBOX") && !matches("*x*y", "INBOX") && matches("I*%*B*X*", "INBOX")
        );
        // As many stars as fit into a command.
        assert!(
            !matches(&format!("{}y", "*x".repeat(4_000)), &"x".repeat(8_000)) && matches(&"*".repeat(8_000), "INBOX")
        );
    }
}
