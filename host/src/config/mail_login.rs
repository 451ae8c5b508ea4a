//! How mail programs prove who their user is, and how Doorward logs in at nodes for them.

use std::path::{Path, PathBuf};

use super::Table;

/// A mechanism of SASL by which a token comes (RFC 7628).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// XOAUTH2
    XOauth2,
    /// OAUTHBEARER
    OAuthBearer,
}

impl Token {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::XOauth2, Self::OAuthBearer];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XOauth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// Which tokens are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    xoauth2: bool,
    oauthbearer: bool,
}

impl Tokens {
    /// Whether any is.
    pub fn is_any(self) -> bool {
        self.xoauth2 || self.oauthbearer
    }

    /// Those that are taken.
    pub fn each(self) -> impl Iterator<Item = Token> {
        Token::ALL.into_iter().filter(move |token| match token {
            Token::XOauth2 => self.xoauth2,
            Token::OAuthBearer => self.oauthbearer,
        })
    }

    /// The one of this name, if it is taken.
    pub fn named(self, name: &str) -> Option<Token> {
        self.each().find(|token| token.name() == name)
    }
}

/// A user of nodes who may log in as any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterUser {
    /// The name.
    pub user: String,
    /// The file with the password.
    pub password_file: PathBuf,
    /// What stands between the user's name and this one, where the node has no authorization identity of SASL.
    pub separator: Option<String>,
}

impl MasterUser {
    /// The keys of a back-end that begin with `mail-login` and `mail-master`.
    pub(super) fn read(t: &Table<'_>, base: &Path) -> Option<Self> {
        let is_master = t.choice("mail-login", &[("password", false), ("master", true)]).unwrap_or_default();
        let (user, file) = (t.text("mail-master-user"), t.text("mail-master-password-file"));
        let form = t.text("mail-master-form").unwrap_or_else(|| "sasl".to_owned());
        if !is_master {
            if user.is_some() || file.is_some() {
                t.fault("mail-master-user", "a master user that is not used", "mail-login = \"master\"");
            }
            return None;
        }
        let separator = (form != "sasl").then_some(form);
        let fits = |text: &String| (1..=8).contains(&text.len()) && text.chars().all(|c| c.is_ascii_punctuation());
        if let Some(wrong) = separator.as_ref().filter(|text| !fits(text)) {
            t.fault("mail-master-form", format!("{wrong:?}"), "\"sasl\", or the separator, such as \"*\"");
        }
        if user.as_ref().is_none_or(|user| user.is_empty() || user.chars().any(char::is_control)) {
            t.fault("mail-master-user", "no name", "the name of the master user, for mail-login = \"master\"");
        }
        if file.is_none() {
            t.fault("mail-master-password-file", "none", "the file with the master user's password");
        }
        Some(Self { user: user?, password_file: base.join(file?), separator })
    }
}

/// `mechanisms` of `[mail]`: passwords are always taken, for a policy of the mode can refuse them.
pub(super) fn tokens(t: &Table<'_>) -> Tokens {
    let (key, mut tokens) = ("mechanisms", Tokens::default());
    if !t.has(key) {
        return tokens;
    }
    let named = t.texts(key);
    for name in &named {
        match name.as_str() {
            "plain" => {}
            "xoauth2" => tokens.xoauth2 = true,
            "oauthbearer" => tokens.oauthbearer = true,
            _ => t.fault(key, format!("{name:?}"), "\"plain\", \"xoauth2\" and \"oauthbearer\""),
        }
    }
    if !named.iter().any(|name| name == "plain") {
        t.fault(key, "a list without \"plain\"", "\"plain\" too: passwords are refused by an auth-mode policy");
    }
    tokens
}
