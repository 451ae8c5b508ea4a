//! `doorward admin`: the files of accounts and tokens of the admin address.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, Subcommand};

use super::ask;
use super::print::say;
use crate::admin::caller::Role;
use crate::admin::people::{self, Account, Entry, Token};
use crate::config::{self, units};
use crate::session::random;
use crate::text::hex;
use crate::times::{seconds_now, timestamp};

/// Words that guess themselves are shorter.
const SHORTEST: usize = 12;

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Give an account its password, which is typed or comes by standard input; make the account if it is missing.
    Passwd {
        /// 1 to 64 letters, digits, and -_.@
        name: String,
        /// viewer, operator or admin; needed for a new account.
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        /// The subject of a client certificate that lets it in, such as "CN=alice,O=Example".
        #[arg(long)]
        subject: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Make a token for a script, and print it once.
    Token {
        /// 1 to 64 letters, digits, and -_.@
        name: String,
        /// viewer, operator or admin.
        #[arg(long, value_parser = parse_role)]
        role: Role,
        /// How long it holds, such as "90d".
        #[arg(long, default_value = "90d", value_parser = parse_duration)]
        expires: Duration,
        #[command(flatten)]
        place: Place,
    },
    /// Remove an account, or a token; its sessions end.
    Remove {
        /// Its name.
        name: String,
        /// A token of that name.
        #[arg(long)]
        token: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List the accounts, or the tokens.
    List {
        /// The tokens.
        #[arg(long)]
        tokens: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Which file is meant.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration that names the files.
    #[arg(long, conflicts_with = "file", required_unless_present = "file")]
    config: Option<PathBuf>,
    /// The file itself.
    #[arg(long)]
    file: Option<PathBuf>,
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "one of viewer, operator, admin".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    units::duration(text).filter(|time| !time.is_zero()).ok_or_else(|| "a time with its unit, such as 90d".to_owned())
}

impl Place {
    fn file(&self, key: &str, of: impl Fn(config::Admin) -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
        match (&self.file, &self.config) {
            (Some(file), _) => Ok(file.clone()),
            (None, Some(config)) => {
                let none = || format!("{} names no file of them ([admin] {key})", config.display());
                of(config::load_anyway(config)?.0.admin).with_context(none)
            }
            (None, None) => bail!("--config or --file is needed"),
        }
    }

    fn accounts(&self) -> anyhow::Result<PathBuf> {
        self.file("accounts", |admin| admin.accounts)
    }

    fn tokens(&self) -> anyhow::Result<PathBuf> {
        self.file("tokens", |admin| admin.tokens)
    }
}

pub(super) fn run(admin: Admin) -> anyhow::Result<ExitCode> {
    match admin {
        Admin::Passwd { name, role, subject, place } => passwd(name, role, subject, &place)?,
        Admin::Token { name, role, expires, place } => token(name, role, expires, &place)?,
        Admin::Remove { name, token: true, place } => remove::<Token>(&name, place.tokens()?)?,
        Admin::Remove { name, token: false, place } => remove::<Account>(&name, place.accounts()?)?,
        Admin::List { tokens: true, place } => {
            for token in all::<Token>(&place.tokens()?)? {
                let until = timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(token.expires));
                let over = if token.expires <= seconds_now() { " (over)" } else { "" };
                say(&format!("{:24} {:8} until {until}{over}", token.name, token.role.name()));
            }
        }
        Admin::List { tokens: false, place } => {
            for account in all::<Account>(&place.accounts()?)? {
                let password = if account.password.is_some() { "password" } else { "no password" };
                let subject = account.subject.map_or_else(String::new, |subject| format!(", certificate {subject}"));
                say(&format!("{:24} {:8} {password}{subject}", account.name, account.role.name()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn all<T: Entry>(path: &std::path::Path) -> anyhow::Result<Vec<T>> {
    people::read(path).map(Option::unwrap_or_default).map_err(|faults| anyhow!(faults))
}

fn passwd(name: String, role: Option<Role>, subject: Option<String>, place: &Place) -> anyhow::Result<()> {
    ensure!(people::is_name(&name), "a name has 1 to 64 letters, digits, and -_.@");
    let path = place.accounts()?;
    let mut accounts = all::<Account>(&path)?;
    let known = accounts.iter().position(|account| account.name == name);
    let role = role.or_else(|| known.and_then(|at| accounts.get(at)).map(|account| account.role));
    let role = role.context("a new account needs its --role: viewer, operator or admin")?;
    let secret = ask::secret(None, &format!("Password of {name}: "))?;
    let long = secret.expose().chars().count();
    ensure!(!secret.is_blank() && long >= SHORTEST, "a password has at least {SHORTEST} characters");
    let password = Some(people::hashed(&secret).map_err(|error| anyhow!(error))?);
    let done = if known.is_some() { "has another password now" } else { "is a new account" };
    match known.and_then(|at| accounts.get_mut(at)) {
        Some(account) => {
            (account.role, account.password) = (role, password);
            account.subject = subject.or(account.subject.take());
        }
        None => accounts.push(Account { name: name.clone(), role, password, subject }),
    }
    people::write(&path, &accounts).with_context(|| path.display().to_string())?;
    say(&format!("{name} {done}, with the role {}: {}", role.name(), path.display()));
    Ok(())
}

fn token(name: String, role: Role, expires: Duration, place: &Place) -> anyhow::Result<()> {
    ensure!(people::is_name(&name), "a name has 1 to 64 letters, digits, and -_.@");
    let path = place.tokens()?;
    let mut tokens = all::<Token>(&path)?;
    tokens.retain(|token| token.name != name);
    let shown = format!("dwt_{}", hex(&random::<32>()));
    let expires = seconds_now().saturating_add(expires.as_secs());
    tokens.push(Token { name, role, hash: people::hash_of(&shown), expires });
    people::write(&path, &tokens).with_context(|| path.display().to_string())?;
    say(&shown);
    Ok(())
}

fn remove<T: Entry>(name: &str, path: PathBuf) -> anyhow::Result<()> {
    let mut entries = all::<T>(&path)?;
    let before = entries.len();
    entries.retain(|entry| entry.name() != name);
    ensure!(entries.len() < before, "{}: there is no \"{}\"", path.display(), name.escape_debug());
    people::write(&path, &entries).with_context(|| path.display().to_string())?;
    say(&format!("{name} is removed: {}", path.display()));
    Ok(())
}
