//! A user looked up at each server in turn, whatever is known of the servers: for an operator who asks which of them knows
//! whom.

use std::time::{Duration, Instant};

use super::{Bound, Directory, Source, User};
use crate::config::Mode;
use crate::secret::Secret;

/// What one server, or the file, said of a user.
#[derive(Debug)]
pub struct Asked {
    /// Its URL; `file` for a file.
    pub server: String,
    /// How long it took to find the user.
    pub took: Duration,
    /// The entries that fit the name, two at most; or why there is no answer.
    pub users: Result<Vec<User>, String>,
    /// What came of the password, where one was to be checked and one entry was found.
    pub password: Option<Result<Bound, String>>,
}

impl Directory {
    /// Asks each server for a canonical name, and checks a password as logins in a mode do.
    pub async fn ask_each(&self, name: &str, check: Option<(Mode, &Secret)>) -> Vec<Asked> {
        let (filter, wanted) = (self.spec.filter.fill(name), self.wanted());
        match &self.source {
            Source::Ldap(servers) => servers.ask_each(self, (&filter, &wanted), check).await,
            Source::Ldif(ldif) => {
                let began = Instant::now();
                let users = ldif.search(&filter, &wanted);
                let mut asked =
                    Asked { server: "file".to_owned(), took: began.elapsed(), users: Ok(users), password: None };
                if let (Ok(users), Some((mode, secret))) = (&asked.users, check)
                    && let [user] = &**users
                {
                    let attribute = self.password_attribute(mode);
                    let fits = self.fits(ldif.stored(&user.dn, attribute), secret).await;
                    asked.password = Some(fits.map_err(|error| error.to_string()));
                }
                vec![asked]
            }
        }
    }

    /// Where a stored password is, which a file has for binds too.
    fn password_attribute(&self, mode: Mode) -> &str {
        match mode {
            Mode::LdapPassword => &self.spec.config.password_attribute,
            Mode::LdapBind | Mode::BackEnd => "userPassword",
        }
    }
}
