//! What each server says of a user, on connections of their own.

use std::sync::Arc;
use std::time::Instant;

use ldap3::{Ldap, Scope};

use super::{Server, Servers, Trouble, Use, bind_on, bound, found, search_on, told};
use crate::config::Mode;
use crate::directory::each::Asked;
use crate::directory::{Bound, Directory, User};
use crate::secret::Secret;

impl Servers {
    /// Asks each server in turn.
    pub(in crate::directory) async fn ask_each(
        self: &Arc<Self>,
        directory: &Directory,
        (filter, wanted): (&str, &[&str]),
        check: Option<(Mode, &Secret)>,
    ) -> Vec<Asked> {
        let mut all = Vec::new();
        for server in &self.servers {
            let began = Instant::now();
            let users = self.search_at(server, (&self.spec.settings.base, Scope::Subtree), filter, wanted).await;
            let mut asked = Asked { server: server.target.url.clone(), took: began.elapsed(), users, password: None };
            if let (Ok(users), Some((mode, secret))) = (&asked.users, check)
                && let [user] = &**users
            {
                asked.password = Some(match mode {
                    Mode::LdapPassword => self.compare_at(server, directory, user, secret).await,
                    Mode::LdapBind | Mode::BackEnd => self.bind_at(server, user, secret).await,
                });
            }
            // It was asked, and it answers.
            if asked.users.is_ok() && server.standing.answered() {
                tracing::warn!(url = server.target.url, "a directory server answers again");
            }
            all.push(asked);
        }
        all
    }

    async fn search_at(
        &self,
        server: &Server,
        (base, scope): (&str, Scope),
        filter: &str,
        wanted: &[&str],
    ) -> Result<Vec<User>, String> {
        let mut ldap = self.connect(&server.target, Use::Search).await.map_err(words)?;
        let ask = async |ldap: &mut Ldap| search_on(ldap, base, scope, filter, wanted).await;
        found(self.within(self.spec.settings.timeout, &mut ldap, &ask).await.map_err(words)?)
    }

    async fn bind_at(&self, server: &Server, user: &User, secret: &Secret) -> Result<Bound, String> {
        let mut ldap = self.connect(&server.target, Use::UserBind).await.map_err(words)?;
        let ask = async |ldap: &mut Ldap| bind_on(ldap, &user.dn, secret).await;
        let result = self.within(self.spec.settings.timeout, &mut ldap, &ask).await.map_err(words)?;
        bound(&result).ok_or_else(|| told(&result))
    }

    async fn compare_at(
        &self,
        server: &Server,
        directory: &Directory,
        user: &User,
        secret: &Secret,
    ) -> Result<Bound, String> {
        let attribute = &*directory.spec.config.password_attribute;
        let wanted = [attribute, "pwdAccountLockedTime", "pwdReset"];
        let entry = self.search_at(server, (&user.dn, Scope::Base), "(objectClass=*)", &wanted).await?;
        let stored = entry.into_iter().next().map(|user| user.stored(attribute)).unwrap_or_default();
        directory.fits(stored, secret).await.map_err(|error| error.to_string())
    }
}

fn words(trouble: Trouble) -> String {
    match trouble {
        Trouble::Silent(doing) => format!("{doing} took too long"),
        Trouble::Failed(error) | Trouble::Lost(error) | Trouble::LostKept(error) | Trouble::Ours(error) => error,
        Trouble::GivenUp => "silent".to_owned(),
    }
}
