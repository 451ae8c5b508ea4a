//! Proves who somebody is, in the mode asked for. Only a proof makes an [`Identity`].

use crate::config::Mode;
use crate::directory::{Connections, Directory, Error, User};
use crate::password;
use crate::secret::Secret;

/// Proof that a password is that of a user, or the promise that the back-end will ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
    mode: &'static str,
}

impl Identity {
    /// The user name, as typed.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How the proof was had, for the log.
    pub fn mode(&self) -> &'static str {
        self.mode
    }
}

/// Who logs in.
pub struct Attempt<'a> {
    /// The name as typed.
    pub name: &'a str,
    /// The entry, where the directory knows the name.
    pub user: Option<&'a User>,
    /// The password.
    pub secret: &'a Secret,
}

/// Checks an attempt. `None` is "wrong", for whatever reason: the caller tells nobody more than that.
///
/// # Errors
/// The directory cannot be asked.
pub async fn authenticate(
    attempt: &Attempt<'_>,
    mode: &Mode,
    directory: &Directory,
    connections: &Connections,
) -> Result<Option<Identity>, Error> {
    if attempt.secret.is_blank() || attempt.name.trim().is_empty() {
        return Ok(None);
    }
    // For somebody who is not there the same steps are gone, towards nobody, so that time tells nothing.
    let nobody = directory.nobody();
    let user = attempt.user.unwrap_or(&nobody);
    let (right, mode) = match mode {
        Mode::LdapBind => (directory.bind(connections, user, attempt.secret).await?, "ldap-bind"),
        Mode::LdapPassword => {
            let stored = directory.stored_passwords(connections, user).await?;
            (password::verify_any(stored, attempt.secret.clone()).await, "ldap-password")
        }
        // The node that the entry names will be asked; without an entry there is no node to ask.
        Mode::BackEnd => (true, "back-end"),
        Mode::Refuse(_) => (false, "refuse"),
    };
    let known = attempt.user.is_some();
    Ok((right && known).then(|| Identity { user: attempt.name.to_owned(), mode }))
}
