//! What a server asks for with `WWW-Authenticate` (RFC 9110, section 11.6.1).

/// One challenge: its scheme in lower case, and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `basic`, `bearer`, …
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Reads the first challenge of a header.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
        let mut parameters = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquoted(quoted)?,
                None => {
                    let (value, after) = after.split_once(',').unwrap_or((after, ""));
                    (value.trim().to_owned(), after)
                }
            };
            parameters.push((name, value));
            rest = after;
        }
        Some(Self { scheme: scheme.to_ascii_lowercase(), parameters })
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A quoted string up to its end, and what comes behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_its_parameters() {
        let text = "Bearer realm=\"https://auth.test/token?a=b,c\",service=\"r.test\", scope=\"repository:a/b:pull,push\", x=y";
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.get("realm"), Some("https://auth.test/token?a=b,c"));
        assert_eq!(challenge.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!((challenge.get("x"), challenge.get("z")), (Some("y"), None));
        assert_eq!(Challenge::parse("Basic").unwrap().scheme, "basic");
        assert_eq!(Challenge::parse("Basic realm=\"a \\\" b\"").unwrap().get("realm"), Some("a \" b"));
        assert_eq!(Challenge::parse("Basic realm=\"cut"), None);
        assert_eq!(Challenge::parse(""), None);
    }
}
