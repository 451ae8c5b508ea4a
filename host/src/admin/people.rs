//! Who operators are: the files of accounts and of tokens, which `doorward admin` writes and the admin address goes by.
//!
//! A file is read again when it has changed, by whoever asks next. One that is broken or gone has nobody in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::caller::Role;
use crate::config::{self, Source, Table};
use crate::files::{self, Identity};
use crate::secret::Secret;
use crate::text::{hex, quoted};
use crate::times::seconds_now;

/// Somebody with a name of his own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// His name.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// His password, as a directory would store it (`{ARGON2}…`); without one he cannot log in at the page.
    pub password: Option<Secret>,
    /// The subject of his client certificate (RFC 4514).
    pub subject: Option<String>,
}

/// What a script shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// SHA-256 of it. It is random, so that nothing slower is needed.
    pub hash: [u8; 32],
    /// Until when it holds: seconds since 1970.
    pub expires: u64,
}

/// An entry of one of the files.
pub trait Entry: Sized {
    /// The key of its tables.
    const KEY: &'static str;
    /// What stands above all of them.
    const HEAD: &'static str;

    /// Its name.
    fn name(&self) -> &str;

    /// Reads one.
    fn read(t: &Table<'_>) -> Self;

    /// Writes one, as TOML.
    fn write(&self, text: &mut String);
}

/// Whether a name is one for a file of these: it needs no escaping anywhere.
pub fn is_name(name: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(right)
}

fn name_of(t: &Table<'_>) -> String {
    let name = t.required("name");
    if !name.is_empty() && !is_name(&name) {
        t.fault("name", "other characters", "1 to 64 letters, digits, and -_.@");
    }
    name
}

fn role_of(t: &Table<'_>) -> Role {
    if !t.has("role") {
        t.fault("role", "nothing", "one of viewer, operator, admin");
    }
    t.choice("role", &Role::ALL.map(|role| (role.name(), role))).unwrap_or(Role::Viewer)
}

impl Entry for Account {
    const KEY: &'static str = "account";
    const HEAD: &'static str = "# Accounts of Doorward's admin page. Written by `doorward admin`.\n";

    fn name(&self) -> &str {
        &self.name
    }

    fn read(t: &Table<'_>) -> Self {
        Self {
            name: name_of(t),
            role: role_of(t),
            password: t.text("password").map(Secret::new).filter(|password| {
                let right = password.expose().starts_with("{ARGON2}$argon2id$");
                if !right {
                    // It may be a password in clear text.
                    t.fault("password", "something else", "what `doorward admin passwd` writes");
                }
                right
            }),
            subject: t.text("subject"),
        }
    }

    fn write(&self, text: &mut String) {
        let _ = write!(text, "name = \"{}\"\nrole = \"{}\"\n", self.name, self.role.name());
        if let Some(password) = &self.password {
            let _ = writeln!(text, "password = \"{}\"", password.expose());
        }
        if let Some(subject) = &self.subject {
            let _ = writeln!(text, "subject = {}", quoted(subject));
        }
    }
}

impl Entry for Token {
    const KEY: &'static str = "token";
    const HEAD: &'static str = "# Tokens of Doorward's API. Written by `doorward admin`; only their hashes are here.\n";

    fn name(&self) -> &str {
        &self.name
    }

    fn read(t: &Table<'_>) -> Self {
        let hash = t.parsed("hash", "\"sha256:\" and 64 hexadecimal digits", |text| {
            let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii())?;
            let mut hash = [0; 32];
            for (at, byte) in hash.iter_mut().enumerate() {
                *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
            }
            Some(hash)
        });
        if !t.has("hash") {
            t.fault("hash", "nothing", "\"sha256:\" and 64 hexadecimal digits");
        }
        // Without an end it has ended.
        let expires = t.count("expires", 0, 0..=u64::MAX);
        Self { name: name_of(t), role: role_of(t), hash: hash.unwrap_or_default(), expires }
    }

    fn write(&self, text: &mut String) {
        let (role, hash) = (self.role.name(), hex(&self.hash));
        let _ = write!(
            text,
            "name = \"{}\"\nrole = \"{role}\"\nhash = \"sha256:{hash}\"\nexpires = {}\n",
            self.name, self.expires
        );
    }
}

/// All entries of a file; none where there is no file.
///
/// # Errors
/// It cannot be read, or something in it is wrong.
pub fn read<T: Entry>(path: &Path) -> Result<Option<Vec<T>>, String> {
    let text = files::read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(text) = text else { return Ok(None) };
    let source = Arc::new(Source::new(path, text));
    let entries = config::read(&source, |t| {
        let entries: Vec<T> = t.tables(T::KEY, T::read);
        for (at, entry) in entries.iter().enumerate() {
            if entries.iter().take(at).any(|other| other.name() == entry.name()) {
                t.fault(T::KEY, format!("the name \"{}\" twice", entry.name().escape_debug()), "each name once");
            }
        }
        entries
    });
    entries.map(Some).map_err(|faults| faults.to_string())
}

/// Puts these entries in the place of the file.
///
/// # Errors
/// It cannot be written.
pub fn write<T: Entry>(path: &Path, entries: &[T]) -> std::io::Result<()> {
    files::replace(path, text_of(entries).as_bytes())
}

/// What a file of these entries says.
pub fn text_of<T: Entry>(entries: &[T]) -> zeroize::Zeroizing<String> {
    let mut text = zeroize::Zeroizing::new(T::HEAD.to_owned());
    for entry in entries {
        let _ = write!(text, "\n[[{}]]\n", T::KEY);
        entry.write(&mut text);
    }
    text
}

/// A password as an account has it.
///
/// # Errors
/// It is longer than Argon2 takes.
pub fn hashed(password: &Secret) -> Result<Secret, String> {
    use argon2::PasswordHasher as _;
    // Argon2id with 19 MiB and two passes, as OWASP recommends it.
    let hash = argon2::Argon2::default().hash_password(password.expose().as_bytes());
    hash.map(|hash| Secret::new(format!("{{ARGON2}}{hash}"))).map_err(|error| error.to_string())
}

/// What of a token is kept.
pub fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// A file, as it was when it was read last.
struct Known<T> {
    path: Option<PathBuf>,
    stamp: Option<(Identity, SystemTime)>,
    entries: Arc<[T]>,
    trouble: Option<String>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { path: None, stamp: None, entries: Arc::from([]), trouble: None }
    }
}

impl<T: Entry> Known<T> {
    /// What is in the file now.
    fn now(&mut self, path: Option<&Path>) -> Arc<[T]> {
        let stamp = path.and_then(|path| Some((Identity::of(path)?, files::changed_at(path)?)));
        if self.path.as_deref() == path && self.stamp == stamp && stamp.is_some() {
            return self.entries.clone();
        }
        let before = self.trouble.take();
        let read = path.map_or(Ok(None), read);
        let gone = || path.map(|path| format!("{}: there is no such file", path.display()));
        (self.entries, self.trouble) = match read {
            Ok(Some(entries)) => (entries.into(), None),
            Ok(None) => (Arc::from([]), gone()),
            Err(trouble) => (Arc::from([]), Some(trouble)),
        };
        (self.path, self.stamp) = (path.map(Path::to_owned), stamp);
        if let Some(trouble) = self.trouble.as_ref().filter(|trouble| before.as_ref() != Some(*trouble)) {
            tracing::error!(trouble, "a file of operators cannot be read: nobody of it is let in");
        }
        self.entries.clone()
    }
}

/// Both files.
#[derive(Default)]
pub(super) struct People {
    accounts: Mutex<Known<Account>>,
    tokens: Mutex<Known<Token>>,
}

impl People {
    /// All accounts.
    pub(super) fn accounts(&self, admin: &config::Admin) -> Arc<[Account]> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).now(admin.accounts.as_deref())
    }

    /// The token that somebody shows, where there is one and it holds.
    pub(super) fn token(&self, admin: &config::Admin, shown: &str) -> Option<Token> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).now(admin.tokens.as_deref());
        let hash = hash_of(shown);
        let found = tokens.iter().find(|token| bool::from(token.hash.ct_eq(&hash)));
        found.filter(|token| token.expires > seconds_now()).cloned()
    }
}

impl Account {
    /// Tells this entry from any other, and from itself after a change.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut text = zeroize::Zeroizing::new(String::new());
        self.write(&mut text);
        Sha256::digest(text.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::Folder;
    use crate::password::verify;

    fn account(name: &str) -> Account {
        let password = hashed(&Secret::new("right".to_owned())).unwrap();
        let subject = Some("CN=\"a\\b\",O=Ä".to_owned());
        Account { name: name.to_owned(), role: Role::Operator, password: Some(password), subject }
    }

    #[test]
    fn accounts_and_tokens_are_read_as_they_were_written_and_a_password_is_only_a_hash() {
        let folder = Folder::new("people");
        let (accounts, tokens) = (folder.0.join("accounts"), folder.0.join("tokens"));
        assert_eq!(read::<Account>(&accounts), Ok(None));
        let written = [account("alice"), Account { password: None, subject: None, ..account("bob@example.com") }];
        write(&accounts, &written).unwrap();
        assert_eq!(read::<Account>(&accounts).unwrap().unwrap(), written);
        let text = std::fs::read_to_string(&accounts).unwrap();
        assert!(!text.contains("right") && text.contains("$argon2id$"), "{text}");
        let stored = written[0].password.as_ref().unwrap().expose();
        assert_eq!((verify(stored, "right"), verify(stored, "wrong")), (Ok(true), Ok(false)));
        let token = Token { name: "t".to_owned(), role: Role::Viewer, hash: hash_of("secret"), expires: 7 };
        write(&tokens, std::slice::from_ref(&token)).unwrap();
        assert_eq!(read::<Token>(&tokens).unwrap().unwrap(), [token]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_line() {
        let folder = Folder::new("people-wrong");
        let path = folder.0.join("accounts");
        for (text, told) in [
            ("[[account]]\nname = \"a b\"\nrole = \"admin\"\n", "accounts:2: account[0].name"),
            ("[[account]]\nname = \"a\"\nrole = \"root\"\n", "accounts:3: account[0].role"),
            ("[[account]]\nname = \"a\"\n", "account[0].role"),
            ("[[account]]\nname = \"a\"\nrole = \"admin\"\npassword = \"clear\"\n", "account[0].password"),
            ("[[account]]\nname=\"a\"\nrole=\"admin\"\n[[account]]\nname=\"a\"\nrole=\"viewer\"\n", "twice"),
            ("[[acount]]\n", "acount"),
        ] {
            std::fs::write(&path, text).unwrap();
            let faults = read::<Account>(&path).unwrap_err();
            assert!(faults.contains(told), "{text}: {faults}");
            assert!(!faults.contains("clear"), "a password that stands there by a slip is not shown: {faults}");
        }
        std::fs::write(&path, "[[token]]\nname = \"t\"\nrole = \"viewer\"\nhash = \"sha256:00\"\n").unwrap();
        assert!(read::<Token>(&path).unwrap_err().contains("token[0].hash"));
    }

    #[test]
    fn a_file_that_breaks_has_nobody_in_it_until_it_is_mended() {
        let folder = Folder::new("people-broken");
        let path = folder.0.join("accounts");
        let mut known = Known::<Account>::default();
        assert!(known.now(Some(&path)).is_empty() && known.trouble.is_some());
        write(&path, &[account("alice")]).unwrap();
        assert_eq!(known.now(Some(&path)).len(), 1);
        std::fs::write(&path, "[[account]").unwrap();
        assert!(known.now(Some(&path)).is_empty() && known.trouble.is_some());
        write(&path, &[account("alice")]).unwrap();
        assert_eq!(known.now(Some(&path)).len(), 1);
        std::fs::remove_file(&path).unwrap();
        assert!(known.now(Some(&path)).is_empty());
        assert!(known.now(None).is_empty() && known.trouble.is_none());
    }
}
