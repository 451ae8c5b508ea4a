//! What a new configuration says: typed as options, or asked for on the terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::super::ask;
use crate::back::BUILT_IN;
use crate::secret::Secret;

/// Where the packages have everything.
pub(super) const PACKAGE: &str = "/etc/doorward/doorward.toml";

/// What `doorward init` is told.
#[derive(Debug, Args)]
pub(in super::super) struct Init {
    /// The configuration file to write.
    #[arg(long, default_value = PACKAGE)]
    pub(super) config: PathBuf,
    /// Write over a configuration that is there already.
    #[arg(long)]
    pub(super) force: bool,
    /// A host name that browsers come to, such as mail.example.com; may be given several times.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// An address to listen on; may be given several times. Without it: [::]:443, and for --plain 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// PEM file of the certificate, with its chain.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["self_signed", "plain"])]
    certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Make a certificate that browsers warn of, until there is a real one.
    #[arg(long, conflicts_with = "plain")]
    self_signed: bool,
    /// Plain HTTP, behind a proxy or balancer that has the certificate.
    #[arg(long)]
    plain: bool,
    /// A network of proxies in front, whose word about their clients is taken; may be given several times.
    #[arg(long, value_name = "NETWORK")]
    trusted_proxy: Vec<String>,
    /// An LDAP server, such as ldaps://ldap.example.com; may be given several times.
    #[arg(long, value_name = "URL", conflicts_with = "ldif")]
    ldap: Vec<String>,
    /// Where the search for users begins, such as ou=people,dc=example,dc=com.
    #[arg(long, value_name = "DN", requires = "ldap")]
    ldap_base: Option<String>,
    /// The account that searches; without it, nobody.
    #[arg(long, value_name = "DN", requires = "ldap")]
    ldap_bind: Option<String>,
    /// A file with its password.
    #[arg(long, value_name = "FILE", requires = "ldap_bind")]
    ldap_password_file: Option<PathBuf>,
    /// PEM file of the authorities to trust, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "ldap")]
    ldap_ca: Option<PathBuf>,
    /// StartTLS for ldap:// URLs.
    #[arg(long, requires = "ldap")]
    ldap_start_tls: bool,
    /// A file of users instead of an LDAP server.
    #[arg(long, value_name = "FILE")]
    ldif: Option<PathBuf>,
    /// The attribute that names the user's back-end.
    #[arg(long, value_name = "NAME")]
    host_attribute: Option<String>,
    /// A back-end: its name, as the directory has it, and its URL; may be given several times.
    #[arg(long, value_name = "NAME=URL", value_parser = backend)]
    backend: Vec<(String, String)>,
    /// What the back-ends run: a built-in recipe, or a file of your own.
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// A setting of the recipe; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    recipe_setting: Vec<(String, String)>,
    /// A file with the secret that the recipe shares with the back-ends.
    #[arg(long, value_name = "FILE")]
    recipe_secret_file: Option<PathBuf>,
    /// PEM file of the authorities of the back-ends' certificates, instead of the system's.
    #[arg(long, value_name = "FILE")]
    backend_ca: Option<PathBuf>,
    /// Where Doorward keeps its keys and compiled policies. For a configuration below /etc: /var/lib/doorward.
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,
    /// The socket of `doorward ctl`. For a configuration below /etc: /run/doorward/admin.sock.
    #[arg(long, value_name = "FILE")]
    admin_socket: Option<PathBuf>,
    /// Where log files go. For a configuration below /etc: /var/log/doorward.
    #[arg(long, value_name = "DIR")]
    log_directory: Option<PathBuf>,
}

/// How browsers reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encryption {
    Certificate(PathBuf, PathBuf),
    SelfSigned,
    Plain,
}

/// Where users are looked up.
#[derive(Debug)]
pub(super) enum Users {
    Ldap { urls: Vec<String>, start_tls: bool, base: String, bind: Option<(String, Password)>, ca: Option<PathBuf> },
    Ldif(PathBuf),
}

/// The password of the account that searches.
#[derive(Debug)]
pub(super) enum Password {
    /// In this file.
    Kept(PathBuf),
    /// Typed just now.
    Typed(Secret),
}

/// All that a configuration needs.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) hosts: Vec<String>,
    pub(super) listen: Vec<String>,
    pub(super) encryption: Encryption,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) users: Users,
    pub(super) host_attribute: String,
    pub(super) backends: Vec<(String, String)>,
    pub(super) recipe: String,
    pub(super) recipe_settings: Vec<(String, String)>,
    pub(super) recipe_secret_file: Option<PathBuf>,
    pub(super) backend_ca: Option<PathBuf>,
    pub(super) state_directory: Option<PathBuf>,
    pub(super) admin_socket: Option<PathBuf>,
    pub(super) log_directory: Option<PathBuf>,
}

fn pair(text: &str, expected: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or(expected)?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() { Err(expected.to_owned()) } else { Ok((name.to_owned(), value.to_owned())) }
}

fn backend(text: &str) -> Result<(String, String), String> {
    pair(text, "a name and a URL, such as node-a.example.com=https://10.0.0.11/")
}

fn setting(text: &str) -> Result<(String, String), String> {
    pair(text, "a setting and its value, such as user={attr.mail}")
}

/// Where what was not typed as an option comes from.
struct Asker {
    is_terminal: bool,
    missing: Vec<&'static str>,
}

impl Asker {
    /// What was typed as options; or else what is typed now, in words apart from each other; or else that it is missing.
    fn several(&mut self, typed: Vec<String>, option: &'static str, question: &str) -> anyhow::Result<Vec<String>> {
        if !typed.is_empty() {
            return Ok(typed);
        }
        let Some(line) = self.ask(option, question, None)? else { return Ok(Vec::new()) };
        Ok(line.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// The same for one answer.
    fn one(&mut self, typed: Option<String>, option: &'static str, question: &str) -> anyhow::Result<String> {
        match typed {
            Some(typed) => Ok(typed),
            None => Ok(self.ask(option, question, None)?.unwrap_or_default()),
        }
    }

    /// An answer that is not empty, or the one that an empty one stands for; none where nobody can be asked.
    fn ask(&mut self, option: &'static str, question: &str, otherwise: Option<&str>) -> anyhow::Result<Option<String>> {
        if !self.is_terminal {
            self.missing.push(option);
            return Ok(None);
        }
        loop {
            let shown = otherwise.map(|otherwise| format!(" [{otherwise}]")).unwrap_or_default();
            let _ = write!(std::io::stderr(), "{question}{shown}: ");
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line)? == 0 {
                bail!("the answers ended before all questions were asked");
            }
            match (line.trim(), otherwise) {
                ("", Some(otherwise)) => return Ok(Some(otherwise.to_owned())),
                ("", None) => {}
                (answer, _) => return Ok(Some(answer.to_owned())),
            }
        }
    }

    /// The same, where a word stands for no answer.
    fn maybe(&mut self, question: &str) -> anyhow::Result<Option<String>> {
        if !self.is_terminal {
            return Ok(None);
        }
        Ok(self.ask("", question, Some("none"))?.filter(|answer| answer != "none"))
    }
}

impl Answers {
    /// What was typed as options, and what is answered on the terminal where something is missing.
    pub(super) fn of(init: Init) -> anyhow::Result<Self> {
        let mut asker = Asker { is_terminal: std::io::stdin().is_terminal(), missing: Vec::new() };
        let hosts = asker.several(init.host, "--host", "Host names that browsers come to, such as mail.example.com")?;
        let encryption = match (init.certificate, init.key) {
            (Some(chain), Some(key)) => Some(Encryption::Certificate(at(chain)?, at(key)?)),
            _ if init.plain => Some(Encryption::Plain),
            _ if init.self_signed => Some(Encryption::SelfSigned),
            _ => encryption(&mut asker)?,
        };
        let is_plain = encryption == Some(Encryption::Plain);
        let listen = match (init.listen, is_plain) {
            (listen, _) if !listen.is_empty() => listen,
            (_, true) => vec!["127.0.0.1:8080".to_owned()],
            (_, false) => vec!["[::]:443".to_owned()],
        };
        let mut trusted_proxies = init.trusted_proxy;
        if is_plain && trusted_proxies.is_empty() {
            let question = "Addresses of the proxies in front, whose X-Forwarded-For counts";
            trusted_proxies
                .extend(asker.maybe(question)?.iter().flat_map(|line| line.split([' ', ','])).map(str::to_owned));
        }
        let users = match init.ldif {
            Some(file) => Some(Users::Ldif(at(file)?)),
            None => {
                let ldap = Ldap {
                    urls: init.ldap,
                    base: init.ldap_base,
                    bind: init.ldap_bind,
                    password_file: init.ldap_password_file,
                    ca: init.ldap_ca,
                    start_tls: init.ldap_start_tls,
                };
                users(&mut asker, ldap)?
            }
        };
        let mut backends = init.backend;
        if backends.is_empty() {
            let question =
                "Back-ends, such as node-a.example.com=https://10.0.0.11/ (the name is what the directory says)";
            let typed = asker.several(Vec::new(), "--backend", question)?;
            backends = typed.iter().map(|text| backend(text)).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
        }
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let question = format!("What they run ({})", names.join(", "));
        let recipe = asker.one(init.recipe, "--recipe", &question)?;
        if !asker.missing.is_empty() {
            bail!("missing: {}; on a terminal they are asked for", asker.missing.join(", "));
        }
        let (Some(encryption), Some(users)) = (encryption, users) else { bail!("answers are missing") };
        // A recipe of one's own is a file; relative paths in the configuration start at its folder.
        let is_file = recipe.contains(['.', '/']);
        let recipe = if is_file { at(PathBuf::from(recipe))?.display().to_string() } else { recipe };
        Ok(Self {
            hosts,
            listen,
            encryption,
            trusted_proxies,
            users,
            host_attribute: init.host_attribute.unwrap_or_else(|| "mailHost".to_owned()),
            backends,
            recipe,
            recipe_settings: init.recipe_setting,
            recipe_secret_file: init.recipe_secret_file.map(at).transpose()?,
            backend_ca: init.backend_ca.map(at).transpose()?,
            state_directory: init.state_directory.map(at).transpose()?,
            admin_socket: init.admin_socket.map(at).transpose()?,
            log_directory: init.log_directory.map(at).transpose()?,
        })
    }

    /// The password that was typed just now.
    pub(super) fn typed_password(&self) -> Option<&Secret> {
        match &self.users {
            Users::Ldap { bind: Some((_, Password::Typed(password))), .. } => Some(password),
            _ => None,
        }
    }
}

/// A path that was typed, seen from everywhere.
fn at(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| path.display().to_string())
}

fn encryption(asker: &mut Asker) -> anyhow::Result<Option<Encryption>> {
    let question =
        "PEM file of the certificate and its chain, or \"self-signed\", or \"plain\" (behind a proxy that has it)";
    let option = "--certificate with --key (or --self-signed, or --plain)";
    Ok(match asker.ask(option, question, Some("self-signed"))?.as_deref() {
        None => None,
        Some("plain") => Some(Encryption::Plain),
        Some("self-signed") => Some(Encryption::SelfSigned),
        Some(chain) => {
            let key = asker.one(None, "--key", "PEM file of its key")?;
            Some(Encryption::Certificate(at(chain.into())?, at(key.into())?))
        }
    })
}

/// The options of an LDAP directory.
struct Ldap {
    urls: Vec<String>,
    base: Option<String>,
    bind: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    start_tls: bool,
}

fn users(asker: &mut Asker, ldap: Ldap) -> anyhow::Result<Option<Users>> {
    let is_asked = ldap.urls.is_empty();
    let question = "LDAP servers, such as ldaps://ldap.example.com, or an LDIF file of users";
    let urls = asker.several(ldap.urls, "--ldap with --ldap-base (or --ldif)", question)?;
    match &urls[..] {
        [] => return Ok(None),
        [file] if !file.contains("://") => return Ok(Some(Users::Ldif(at(file.into())?))),
        _ => {}
    }
    let base = asker.one(
        ldap.base,
        "--ldap-base",
        "Where the search for users begins, such as ou=people,dc=example,dc=com",
    )?;
    let bind = match ldap.bind {
        None if is_asked => asker.maybe("The account that searches, such as cn=doorward,dc=example,dc=com")?,
        bind => bind,
    };
    let bind = match (bind, ldap.password_file) {
        (None, _) => None,
        (Some(dn), Some(file)) => Some((dn, Password::Kept(at(file)?))),
        (Some(dn), None) if asker.is_terminal => Some((dn, Password::Typed(ask::secret(None, "Its password: ")?))),
        (Some(_), None) => {
            asker.missing.push("--ldap-password-file");
            None
        }
    };
    let start_tls = ldap.start_tls || (is_asked && urls.iter().any(|url| url.starts_with("ldap://")));
    Ok(Some(Users::Ldap { urls, start_tls, base, bind, ca: ldap.ca.map(at).transpose()? }))
}
