//! The text of a new configuration.
//!
//! Pure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::answers::{Answers, Encryption, Password, Users};
use crate::text::quoted;

/// The program's own certificate, beside the configuration.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// Its key.
pub(super) const KEY: &str = "certificate.key";
/// The password of the account that searches the directory.
pub(super) const PASSWORD: &str = "ldap.secret";

/// The file, with a word for each part that the answers make.
const TEMPLATE: &str = include_str!("doorward.toml");

/// Where everything is.
pub(super) struct Layout {
    config: PathBuf,
    /// The state directory.
    pub(super) state: PathBuf,
    socket: PathBuf,
    logs: PathBuf,
}

impl Layout {
    /// What the answers say; or else the system's folders for a configuration below `/etc`, and its own folder for others.
    pub(super) fn of(answers: &Answers, config: &Path) -> Self {
        let is_system = config.starts_with("/etc");
        let folder = config.parent().unwrap_or(Path::new("/"));
        let place = |system: &str, own: &str| if is_system { PathBuf::from(system) } else { folder.join(own) };
        let or = |given: &Option<PathBuf>, otherwise: PathBuf| given.clone().unwrap_or(otherwise);
        Self {
            config: config.to_owned(),
            state: or(&answers.state_directory, place("/var/lib/doorward", "state")),
            socket: or(&answers.admin_socket, place("/run/doorward/admin.sock", "doorward.sock")),
            logs: or(&answers.log_directory, place("/var/log/doorward", "")),
        }
    }
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// The configuration.
pub(super) fn of(answers: &Answers, layout: &Layout) -> String {
    let parts = [
        ("@CONFIG@", layout.config.display().to_string()),
        ("@STATE@", path(&layout.state)),
        ("@SOCKET@", path(&layout.socket)),
        ("@AUDIT@", path(&layout.state.join("audit.jsonl"))),
        ("@ACCOUNTS@", path(&layout.state.join("admins.toml"))),
        ("@TOKENS@", path(&layout.state.join("admin-tokens.toml"))),
        ("@LOG@", log(layout)),
        ("@LISTENERS@", listeners(answers)),
        ("@HTTP@", http(answers)),
        ("@DIRECTORY@", directory(answers)),
        ("@SESSION_KEYS@", path(&layout.state.join("session.keys"))),
        ("@TICKET_KEYS@", path(&layout.state.join("ticket.keys"))),
        ("@REVOCATIONS@", path(&layout.state.join("revocations"))),
        ("@BACKENDS@", backends(answers)),
        ("@HOSTS@", list(&answers.hosts)),
    ];
    // Once from front to back, so that no answer is taken for a part.
    let mut text = String::new();
    let mut rest = TEMPLATE;
    while let Some((at, (word, part))) =
        parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(at, _)| *at)
    {
        text.push_str(&rest[..at]);
        text.push_str(part);
        rest = &rest[at + word.len()..];
    }
    text + rest
}

fn log(layout: &Layout) -> String {
    let file = |name: &str| path(&layout.logs.join(name));
    let (logins, access) = (file("login.log"), file("access.log"));
    format!(
        "# What happens goes to standard error, which systemd keeps in the journal. Logins go to a file too, which fail2ban may\n\
         # read; and one line for each request.\n\
         [[log.to]]\ntarget = \"stderr\"\nwhat = [\"server\", \"login\", \"audit\", \"policy\"]\n\n\
         [[log.to]]\ntarget = {logins}\nwhat = [\"login\"]\n\n[[log.to]]\ntarget = {access}\nwhat = [\"access\"]\n"
    )
}

fn listeners(answers: &Answers) -> String {
    let certificates = match &answers.encryption {
        Encryption::Certificate(chain, key) => Some((path(chain), path(key))),
        Encryption::SelfSigned => Some((quoted(CERTIFICATE), quoted(KEY))),
        Encryption::Plain => None,
    };
    let mut text = String::from("# Where browsers connect to. Certificates are read again when their files change.\n");
    for (number, address) in answers.listen.iter().enumerate() {
        let name = if number == 0 { "public".to_owned() } else { format!("public-{}", number + 1) };
        let _ = write!(text, "[[listener]]\nname = \"{name}\"\naddress = {}\n", quoted(address));
        match &certificates {
            Some((chain, key)) => {
                let _ = writeln!(text, "certificates = [{{ chain = {chain}, key = {key} }}]");
            }
            None => text.push_str("health-path = \"/healthy\"         # for the balancer in front\n"),
        }
        text.push('\n');
    }
    if certificates.is_some() {
        text.push_str(
            "# Browsers that come without encryption are sent on:\n# [[listener]]\n# name = \"plain\"\n\
             # address = \"[::]:80\"\n# redirect-to-https = true\n",
        );
    }
    text
}

fn http(answers: &Answers) -> String {
    let mut text = String::from("[http]\nupload-max-size = \"32MiB\"       # the largest attachment\n");
    if answers.trusted_proxies.is_empty() {
        text.push_str("# trusted-proxies = [\"10.0.0.5\"] # proxies in front whose X-Forwarded-For counts\n");
    } else {
        let _ = writeln!(text, "trusted-proxies = {}", list(&answers.trusted_proxies));
    }
    if answers.encryption == Encryption::Plain {
        return text;
    }
    text.push_str("# hsts = \"max-age=31536000\"     # once the certificate is one that browsers know\n");
    text
}

fn directory(answers: &Answers) -> String {
    let mut text = String::from("# Where users and their back-ends are looked up.\n[directory]\n");
    match &answers.users {
        Users::Ldif(file) => {
            let _ = write!(text, "kind = \"ldif\"\nfile = {}\n", path(file));
        }
        Users::Ldap { urls, start_tls, base, bind, ca } => {
            let _ = write!(text, "kind = \"ldap\"\nurls = {}\n", list(urls));
            if *start_tls {
                text.push_str("start-tls = true\n");
            }
            let _ = writeln!(text, "base = {}", quoted(base));
            if let Some((dn, password)) = bind {
                let file = match password {
                    Password::Kept(file) => path(file),
                    Password::Typed(_) => quoted(PASSWORD),
                };
                let _ = write!(text, "bind-dn = {}\nbind-password-file = {file}\n", quoted(dn));
            }
            if let Some(ca) = ca {
                let _ = writeln!(text, "ca = {}", path(ca));
            }
            text.push_str("filter = \"(|(uid={user})(mail={user}))\"\n");
        }
    }
    let _ = writeln!(text, "host-attribute = {}", quoted(&answers.host_attribute));
    text
}

fn backends(answers: &Answers) -> String {
    let mut text = String::from("# The webmail nodes. A recipe says how one is logged in to: doorward recipe list.\n");
    if let [(name, _)] = &answers.backends[..] {
        let _ = writeln!(text, "# default-backend = {}  # at the top: for users without the attribute", quoted(name));
    }
    for (name, url) in &answers.backends {
        let _ = write!(
            text,
            "[[backend]]\nname = {}\nurl = {}\nrecipe = {}\n",
            quoted(name),
            quoted(url),
            quoted(&answers.recipe)
        );
        if let Some(file) = &answers.recipe_secret_file {
            let _ = writeln!(text, "recipe-secret-file = {}", path(file));
        }
        if !answers.recipe_settings.is_empty() {
            let pairs =
                answers.recipe_settings.iter().map(|(key, value)| format!("{} = {}", quoted(key), quoted(value)));
            let _ = writeln!(text, "recipe-settings = {{ {} }}", pairs.collect::<Vec<_>>().join(", "));
        }
        if let (Some(ca), true) = (&answers.backend_ca, url.starts_with("https:")) {
            let _ = write!(text, "[backend.tls]\nca = {}\n", path(ca));
        }
    }
    text
}
