//! Texts with placeholders, such as `{user}`: each is filled once, and escaped for where it goes.
//!
//! Pure.

use doorward_wire::percent;
use serde_json::Value as Json;

use crate::secret::Values;
use crate::text;

/// Placeholders that are there in every recipe.
pub(super) const PLACEHOLDERS: [&str; 14] = [
    "user",
    "user.local",
    "user.domain",
    "password",
    "basic",
    "otp",
    "lang",
    "target",
    "origin",
    "timestamp-ms",
    "secret",
    "signature",
    "device",
    "template",
];

/// A text with placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(String),
    /// One whose value is a path already: its slashes and escapes stay where it goes into another.
    Path(String),
}

/// How what fills a placeholder is written, so that it stays one value where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As it is: an encoder, or a check of the whole, comes after.
    Nothing,
    /// A part of a path or query.
    Url,
    /// Text of an element or attribute.
    Xml,
}

/// A placeholder that nothing fills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing fills {{{0}}}")]
pub struct Missing(pub String);

impl Template {
    /// Reads a text. Braces that hold no name are braces.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, inner)) = rest.split_once('{') {
            plain.push_str(before);
            match inner.split_once('}').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    // The names of attributes know no case (RFC 4512, section 2.5).
                    let attribute = name.starts_with("attr.");
                    pieces.push(Piece::Placeholder(if attribute {
                        name.to_ascii_lowercase()
                    } else {
                        name.to_owned()
                    }));
                    rest = after;
                }
                None => {
                    plain.push('{');
                    rest = inner;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self(pieces)
    }

    /// The same, where the values of placeholders with these names are paths already.
    #[must_use]
    pub fn with_paths(self, names: &[String]) -> Self {
        let piece = |piece| match piece {
            Piece::Placeholder(name) if names.contains(&name) => Piece::Path(name),
            other => other,
        };
        Self(self.0.into_iter().map(piece).collect())
    }

    /// The names of its placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) | Piece::Path(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with its placeholders as they are written: for people, who shall not see what fills them.
    pub fn shown(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Placeholder(name) | Piece::Path(name) => format!("{{{name}}}"),
        };
        self.0.iter().map(piece).collect()
    }

    /// Fills the placeholders. What fills one is never read for placeholders again.
    ///
    /// # Errors
    /// A placeholder that nothing fills.
    pub fn fill(&self, values: &Values, escape: Escape) -> Result<String, Missing> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) | Piece::Path(name) => {
                    let value = values.get(name).ok_or_else(|| Missing(name.clone()))?;
                    match escape {
                        Escape::Url if matches!(piece, Piece::Path(_)) => percent::encode_path(value, &mut filled),
                        Escape::Nothing => filled.push_str(value),
                        Escape::Url => percent::encode(value, &mut filled),
                        // XML has no control characters, not even escaped ones (XML 1.0, section 2.2).
                        Escape::Xml => filled.push_str(&text::escape_html(&value.replace(char::is_control, ""))),
                    }
                }
            }
        }
        Ok(filled)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// JSON of any shape whose texts have placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A text.
    Text(Template),
    /// A number, a truth value, or nothing.
    Plain(Json),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Tree {
    /// The templates in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Text(template) => vec![template],
            Self::Plain(_) => Vec::new(),
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, tree)| tree.templates()).collect(),
        }
    }

    /// The JSON with its placeholders filled: a filled text is always a text.
    ///
    /// # Errors
    /// A placeholder that nothing fills.
    pub fn fill(&self, values: &Values) -> Result<Json, Missing> {
        Ok(match self {
            Self::Text(template) => Json::String(template.fill(values, Escape::Nothing)?),
            Self::Plain(value) => value.clone(),
            Self::List(items) => Json::Array(items.iter().map(|item| item.fill(values)).collect::<Result<_, _>>()?),
            Self::Object(members) => {
                let member = |(name, tree): &(String, Self)| Ok((name.clone(), tree.fill(values)?));
                Json::Object(members.iter().map(member).collect::<Result<_, _>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        [("user", "{password}"), ("password", "p\"&<x>\r\n{y}")].into_iter().collect()
    }

    #[test]
    fn placeholders_are_filled_once_and_escaped() {
        let template = Template::parse("{user}:{password}:{ y}:{}:{");
        assert_eq!(template.placeholders().collect::<Vec<_>>(), ["user", "password"]);
        assert_eq!(template.shown(), "{user}:{password}:{ y}:{}:{");
        let check = |escape, expected: &str| assert_eq!(template.fill(&values(), escape).unwrap(), expected);
        check(Escape::Nothing, "{password}:p\"&<x>\r\n{y}:{ y}:{}:{");
        check(Escape::Url, "%7Bpassword%7D:p%22%26%3Cx%3E%0D%0A%7By%7D:{ y}:{}:{");
        check(Escape::Xml, "{password}:p&quot;&amp;&lt;x&gt;{y}:{ y}:{}:{");
        assert_eq!(Template::parse("{nope}").fill(&values(), Escape::Nothing), Err(Missing("nope".to_owned())));
    }

    #[test]
    fn a_path_stays_one_in_a_path_and_breaks_out_of_nothing() {
        let values: Values = [("way", "a%40b/c?d&e=f#g%zz/\r")].into_iter().collect();
        let template = Template::parse("/x/{way}?y={way}").with_paths(&["way".to_owned()]);
        let written = "a%40b/c%3Fd%26e%3Df%23g%25zz/%0D";
        assert_eq!(template.fill(&values, Escape::Url).unwrap(), format!("/x/{written}?y={written}"));
        assert_eq!(Template::parse("{way}").fill(&values, Escape::Url).unwrap().matches('/').count(), 0);
    }

    #[test]
    fn json_keeps_its_shape_whatever_fills_it() {
        let tree = Tree::Object(vec![
            ("a".to_owned(), Tree::List(vec![Tree::Text(Template::parse("{password}")), Tree::Plain(1.into())])),
            ("b".to_owned(), Tree::Plain(Json::Bool(false))),
        ]);
        assert_eq!(tree.fill(&values()).unwrap(), serde_json::json!({"a": ["p\"&<x>\r\n{y}", 1], "b": false}));
    }
}
