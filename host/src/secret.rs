//! A password on its way: never printed, wiped when dropped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// A password. Its `Debug` shows nothing, and it has no `Display`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a password over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The password, for the one who sends or checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it cannot be a password: empty or blank. LDAP takes an empty one for "anonymous" and says yes
    /// (RFC 4513, section 5.1.2), a zero byte ends it early in C programs, and bytes that were no UTF-8 are lost.
    pub fn is_blank(&self) -> bool {
        let nothing = |c: char| c.is_whitespace() || c == '\0';
        self.0.trim_matches(nothing).is_empty() || self.0.contains(['\0', char::REPLACEMENT_CHARACTER])
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// Texts by name, some of them secret: `Debug` shows the names only, and dropping wipes them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets the text of a name; an older one is wiped.
    pub fn set(&mut self, name: &str, text: &str) {
        if let Some(mut old) = self.0.insert(name.to_owned(), text.to_owned()) {
            old.zeroize();
        }
    }

    /// Those of some names.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        self.0.iter().filter(|(name, _)| wanted(name)).map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }

    /// Adds others over these.
    pub fn add(&mut self, others: &Self) {
        for (name, text) in &others.0 {
            self.set(name, text);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all texts.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, text)| name.len() + text.len()).sum()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Values {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        Self(pairs.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        for text in self.0.values_mut() {
            text.zeroize();
        }
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
