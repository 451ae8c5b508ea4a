//! A password on its way: never printed, wiped when dropped.

use zeroize::Zeroizing;

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
