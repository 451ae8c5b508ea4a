//! LDAP filters (RFC 4515) whose placeholders can only be filled escaped, and their meaning for a file of entries.
//!
//! Pure.

use doorward_wire::percent;
use std::collections::BTreeMap;

use super::name;

/// A filter with placeholders: `{user}`, and the parts of `user@domain` or `DOMAIN\user`: `{user.local}` and
/// `{user.domain}`.
#[derive(Debug)]
pub struct FilterTemplate(String);

/// A parsed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `(&…)`
    And(Vec<Filter>),
    /// `(|…)`
    Or(Vec<Filter>),
    /// `(!…)`
    Not(Box<Filter>),
    /// `(name=*)`
    Present(String),
    /// `(name=value)`
    Equal(String, String),
    /// `(name=a*b*c)`: the parts between the stars, the first and last possibly empty.
    Parts(String, Vec<String>),
}

impl FilterTemplate {
    /// Checks that the filter is one, whatever fills its placeholders.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let placeholders = text.replace("{user}", "").replace("{user.local}", "").replace("{user.domain}", "");
        if placeholders.contains(['{', '}']) {
            return Err("a placeholder that is not {user}, {user.local} or {user.domain}".to_owned());
        }
        if placeholders == text {
            return Err("no {user} in it, so it would find the same entry for everybody".to_owned());
        }
        let template = Self(text.to_owned());
        Filter::parse(&template.fill("x")).map(|_| template)
    }

    /// The filter for one user; the name is escaped, so it can never be more than a value, nor a placeholder.
    pub fn fill(&self, user: &str) -> String {
        let (local, domain) = name::parts(user);
        let (mut filled, mut rest) = (String::with_capacity(self.0.len() + user.len()), &*self.0);
        while let Some((before, behind)) = rest.split_once('{') {
            // What else is in braces was refused.
            let (placeholder, after) = behind.split_once('}').unwrap_or((behind, ""));
            let value = match placeholder {
                "user.local" => local,
                "user.domain" => domain,
                _ => user,
            };
            filled.push_str(before);
            filled.push_str(&ldap3::ldap_escape(value));
            rest = after;
        }
        filled + rest
    }
}

impl Filter {
    /// Parses a whole filter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (filter, rest) = Self::parse_one(text.trim(), 0)?;
        if rest.is_empty() { Ok(filter) } else { Err(format!("\"{rest}\" behind its end")) }
    }

    fn parse_one(text: &str, depth: usize) -> Result<(Self, &str), String> {
        // Deeper filters are nobody's, and the parser calls itself.
        if depth > 16 {
            return Err("more than 16 levels".to_owned());
        }
        let inner = text.strip_prefix('(').ok_or("no \"(\" where a filter begins")?;
        let (filter, rest) = match inner.as_bytes().first() {
            Some(b'&') => Self::parse_many(&inner[1..], depth).map(|(all, rest)| (Self::And(all), rest))?,
            Some(b'|') => Self::parse_many(&inner[1..], depth).map(|(all, rest)| (Self::Or(all), rest))?,
            Some(b'!') => {
                Self::parse_one(&inner[1..], depth + 1).map(|(one, rest)| (Self::Not(Box::new(one)), rest))?
            }
            _ => {
                let end = inner.find(')').ok_or("no \")\" where a filter ends")?;
                (Self::parse_item(&inner[..end])?, &inner[end..])
            }
        };
        Ok((filter, rest.strip_prefix(')').ok_or("no \")\" where a filter ends")?))
    }

    fn parse_many(mut text: &str, depth: usize) -> Result<(Vec<Self>, &str), String> {
        let mut all = Vec::new();
        while text.starts_with('(') {
            let (one, rest) = Self::parse_one(text, depth + 1)?;
            all.push(one);
            text = rest;
        }
        Ok((all, text))
    }

    fn parse_item(item: &str) -> Result<Self, String> {
        let (name, value) = item.split_once('=').ok_or("no \"=\" between attribute and value")?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-;.".contains(&byte)) {
            return Err(format!("\"{name}\", which is no attribute (only =, =* and * in values are known)"));
        }
        let name = name.to_ascii_lowercase();
        if value == "*" {
            return Ok(Self::Present(name));
        }
        let parts: Vec<String> = value.split('*').map(unescape).collect::<Result<_, _>>()?;
        match <[String; 1]>::try_from(parts) {
            Ok([value]) => Ok(Self::Equal(name, value)),
            Err(parts) => Ok(Self::Parts(name, parts)),
        }
    }

    /// Whether an entry fits. Values match without regard to case and outer blanks, as mail attributes do.
    pub fn fits(&self, entry: &BTreeMap<String, Vec<String>>) -> bool {
        let values = |name: &str| entry.get(name).map_or(&[][..], Vec::as_slice).iter().map(|value| fold(value));
        match self {
            Self::And(all) => all.iter().all(|one| one.fits(entry)),
            Self::Or(any) => any.iter().any(|one| one.fits(entry)),
            Self::Not(one) => !one.fits(entry),
            Self::Present(name) => entry.contains_key(name),
            Self::Equal(name, wanted) => values(name).any(|value| value == fold(wanted)),
            Self::Parts(name, parts) => values(name).any(|value| parts_fit(&value, parts)),
        }
    }
}

fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

fn parts_fit(value: &str, parts: &[String]) -> bool {
    let [first, middle @ .., last] = parts else { return false };
    let Some(mut rest) = value.strip_prefix(&first.to_lowercase()) else { return false };
    for part in middle {
        let part = part.to_lowercase();
        let Some(at) = rest.find(&part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(&last.to_lowercase())
}

/// `\2a` and its like (RFC 4515, section 3).
fn unescape(text: &str) -> Result<String, String> {
    let percent: String = text.replace('%', "\\25").replace('\\', "%");
    let bytes = percent::decode(percent.as_bytes());
    String::from_utf8(bytes).map_err(|_| "a value that is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
    }

    #[test]
    fn what_a_user_types_is_never_more_than_a_value() {
        let template = FilterTemplate::parse("(|(uid={user})(mail={user}))").unwrap();
        for name in ["*", "alice)(uid=*", "a\\2a", "m(i*x),\\ö\"+", "\0", "a%2a", "%"] {
            let filter = Filter::parse(&template.fill(name)).unwrap();
            assert!(filter.fits(&entry(&[("uid", name)])), "{name}");
            assert!(!filter.fits(&entry(&[("uid", "alice")])), "{name}");
        }
        let domain = FilterTemplate::parse("(&(uid={user.local})(o={user.domain}))").unwrap();
        assert_eq!(domain.fill("a@b@c*"), "(&(uid=a@b)(o=c\\2a))");
        assert_eq!(domain.fill("corp)\\a*"), "(&(uid=a\\2a)(o=corp\\29))");
        assert_eq!(domain.fill("{user}@{user.local}"), "(&(uid={user})(o={user.local}))");
    }

    #[test]
    fn filters_mean_what_they_mean_in_ldap() {
        let alice = entry(&[("uid", "Alice"), ("mail", "alice@example.test"), ("status", "active")]);
        let check =
            |filter: &str, fits: bool| assert_eq!(Filter::parse(filter).unwrap().fits(&alice), fits, "{filter}");
        check("(uid=alice)", true);
        check("(&(uid=alice)(!(status=disabled)))", true);
        check("(|(uid=bob)(mail=*@example.test))", true);
        check("(mail=al*@*test)", true);
        check("(mail=al*z*test)", false);
        check("(phone=*)", false);
        check("(&)", true);
        check("(|)", false);
        for bad in ["", "uid=a", "(uid=a", "(uid)", "(uid=a))", "((uid=a))", "(uid>=a)", "(=a)"] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
        assert!(Filter::parse(&"(!".repeat(1000)).is_err());
    }
}
