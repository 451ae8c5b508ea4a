//! Proves who somebody is, in the mode asked for. Only a proof makes an [`Identity`].

mod pace;

use crate::config::Mode;
use crate::directory::{Bound, Connections, Directory, Error, User};
use crate::secret::Secret;

pub use crate::directory::Problem;
pub use pace::Pace;

/// Proof that a password is that of a user, or the promise that the back-end will ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
}

impl Identity {
    /// The user's one name: what a session is opened for.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// What somebody proves with who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A password, which the directory or the node checks.
    Password(Secret),
    /// A token with the name that it is for, as a mechanism of SASL has them. Only the node can check it.
    Token(Secret),
}

impl Credentials {
    /// Whether they cannot be any: nobody is asked about them then.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Password(secret) | Self::Token(secret) => secret.is_blank(),
        }
    }

    /// What is guessed where they are wrong: the same guess counts once.
    pub fn guess(&self) -> &Secret {
        match self {
            Self::Password(secret) | Self::Token(secret) => secret,
        }
    }
}

/// What comes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is who it says.
    Right(Identity),
    /// Nobody has this name. For the log only: whoever claims it is told that name or password is wrong.
    Unknown,
    /// The password is wrong, or nobody may know whether it is.
    Wrong,
    /// The password is right, and the account has a problem, which may be told.
    Account(Problem),
}

/// Who logs in.
pub struct Claim<'a> {
    /// The canonical name.
    pub name: &'a str,
    /// The user, where directory or map know the name.
    pub user: Option<&'a User>,
    /// What proves it.
    pub credentials: &'a Credentials,
}

/// Checks a claim. For somebody who is not there the same steps are gone, so that they tell nothing.
///
/// # Errors
/// The directory cannot be asked.
pub async fn authenticate(
    claim: &Claim<'_>,
    mode: Mode,
    directory: &Directory,
    connections: &Connections,
) -> Result<Verdict, Error> {
    if claim.credentials.is_blank() {
        return Ok(Verdict::Wrong);
    }
    let secret = claim.credentials.guess();
    if mode != Mode::BackEnd && matches!(claim.credentials, Credentials::Token(_)) {
        return Ok(Verdict::Wrong);
    }
    let entry = claim.user.filter(|user| user.has_entry());
    let (bound, known) = match mode {
        Mode::LdapBind => (directory.bind(connections, entry, secret).await?, entry),
        Mode::LdapPassword => (directory.compare(connections, entry, secret).await?, entry),
        // The node of the user will be asked; without a user there is no node to ask.
        Mode::BackEnd => (Bound::Right, claim.user),
    };
    let Some(user) = known else { return Ok(Verdict::Unknown) };
    Ok(match bound {
        Bound::Right => {
            let user = directory.name_of(user).unwrap_or_else(|| claim.name.to_owned());
            Verdict::Right(Identity { user })
        }
        Bound::Wrong => Verdict::Wrong,
        Bound::Account(problem) => Verdict::Account(problem),
    })
}
