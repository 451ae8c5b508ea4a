//! Patterns in which `*` stands for any text, and letter case does not count.
//!
//! Pure.

/// A pattern such as `*iPad*`: `*` is any text, also none; everything else is itself, in either case (ASCII letters).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// What stands between the stars, lower-case; one more than there are stars.
    parts: Vec<String>,
}

impl Glob {
    /// Reads a pattern. Every text is one.
    pub fn new(pattern: &str) -> Glob {
        Glob { parts: pattern.to_ascii_lowercase().split('*').map(String::from).collect() }
    }

    /// Whether the whole text is as the pattern says.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some(mut left) = text.strip_prefix(first.as_str()) else { return false };
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        // The earliest place for each part leaves the most for the parts after it, so no other need be tried.
        for part in middle {
            match left.find(part.as_str()) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        };
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("*", "anything", true);
        check("abc", "ABC", true);
        check("abc", "abcd", false);
        check("a*c", "ac", true);
        check("a*c", "abcabc", true);
        check("a*c", "abca", false);
        check("*iPad*", "Mozilla/5.0 (iPad; CPU)", true);
        check("*b*b", "b", false);
        check("ab*ba", "aba", false);
        check("a**b", "a-b", true);
        check("*ö*", "schön", true);
    }
}
