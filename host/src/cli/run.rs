//! `demo`, `serve` and `check`: start, and say where it listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::arguments::{Check, Serve};
use super::ctl;
use super::print::say;
use crate::admin::people::{self, Account, Token};
use crate::admin::{self, Socket};
use crate::config::{self, Config, Fault, Faults, Level, Protocol, Severity};
use crate::control::{self, Control, Source};
use crate::demo::{Demo, SITES, USERS};
use crate::directory::Shrink;
use crate::log;
use crate::policy::{Compiler, Quarantine, Suspect};
use crate::proxy::{ListensAt, Proxy, give_up};
use crate::secret::Secret;
use crate::session::Keys;
use crate::shortage;
use crate::snapshot::{Materials, Snapshot};
use crate::watch::Watch;

/// `doorward demo`.
///
/// # Errors
/// It cannot start.
pub(super) fn demo(listen: SocketAddr, folder: Option<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    log::start(if json { Level::Warn } else { Level::Info });
    shortage::raise_open_files();
    let mut control = Control::start(None)?;
    let demo = Demo::start(listen, folder).context("the demo does not start")?;
    let source = demo.source();
    let started = control::start(&source, true)?;
    let watch = Watch::start(started.config.files());
    control.hear_stop()?;
    let admin = admin_socket(&started.config, &started.proxy)?;
    let (mail, web): (Vec<_>, Vec<_>) =
        started.proxy.listening().into_iter().partition(|one| one.protocol != Protocol::Http);
    let address = web.first().and_then(|first| first.address.parse().ok()).unwrap_or(listen);
    let operators = started.proxy.admin_address();
    let operators = operators.as_deref().map(|address| (address, demo.operator.as_ref()));
    say(&if json { demo_json(address, &mail, operators) } else { demo_text(address, &mail, operators) });
    Ok(control.run(started, watch, source, |handle| admin::serve(admin, handle)))
}

/// Where operators of a demo come to, and the account that was made for them.
type Operators<'a> = Option<(&'a str, Option<&'a (&'static str, Secret)>)>;

fn demo_json(address: SocketAddr, mail: &[ListensAt], operators: Operators<'_>) -> String {
    let sites: Vec<_> = SITES.iter().map(|(host, template)| json!({"host": host, "template": template})).collect();
    let user =
        |(name, password, node, ..): &crate::demo::User| json!({"name": name, "password": password, "node": node});
    let users: Vec<_> = USERS.iter().map(user).collect();
    let admin = operators.map(|(address, account)| {
        let (name, password) = account.map(|(name, password)| (*name, password.expose())).unzip();
        json!({"url": format!("http://{address}"), "name": name, "password": password})
    });
    let mail: Vec<_> =
        mail.iter().map(|one| json!({"protocol": one.protocol.name(), "address": one.address})).collect();
    json!({"url": format!("http://{address}"), "sites": sites, "users": users, "mail": mail, "admin": admin})
        .to_string()
}

fn demo_text(address: SocketAddr, mail: &[ListensAt], operators: Operators<'_>) -> String {
    let mut text =
        format!("Doorward's front door is open: http://{address}/\n\nVirtual hosts, each with its own look:\n");
    for (host, template) in SITES {
        text.push_str(&format!("  http://{host}:{}/  {template}\n", address.port()));
    }
    text.push_str("\nUsers (log in by name or by mail address):\n");
    for (name, password, node, _, mail) in USERS {
        let node = node.unwrap_or(if name == "dora" { "- (locked)" } else { "- (no mailbox)" });
        text.push_str(&format!("  {name:8} {mail:24} {password:14} {node}\n"));
    }
    if !mail.is_empty() {
        text.push_str("\nMail programs of this machine, without TLS (mailboxes are read-only):\n");
        for ListensAt { address, protocol, .. } in mail {
            let url = format!("{}://{address}/", protocol.name());
            let number = if *protocol == Protocol::Imap { "INBOX;MAILINDEX=1" } else { "1" };
            text.push_str(&format!("  {url:26} curl --user alice:alice-demo '{url}{number}'\n"));
        }
    }
    if let Some((address, account)) = operators {
        text.push_str(&format!("\nThe operator's page: http://{address}/\n"));
        text.push_str(&match account {
            Some((name, password)) => format!("  {name:8} {}\n", password.expose()),
            None => "  with the accounts that its file has\n".to_owned(),
        });
    }
    text.push_str("\nCtrl-C ends it.");
    text
}

/// `doorward serve`.
///
/// # Errors
/// It cannot start; the faults of the configuration.
pub(super) fn serve(serve: &Serve) -> anyhow::Result<ExitCode> {
    serve_here(&serve.config, serve.json, serve.strict).inspect_err(|error| give_up(&format!("{error:#}")))
}

fn serve_here(path: &Path, json: bool, strict: bool) -> anyhow::Result<ExitCode> {
    let mut control = Control::start(Some(std::env::current_exe()?))?;
    let source = Source::File(path.to_owned());
    // Watched before it is read, so that no change falls between.
    let mut watch = Watch::start(vec![path.to_owned()]);
    let config = config::load_anyway(path).map(|(config, _)| config);
    log::start(Level::Info);
    if let Ok(config) = &config
        && let Ok(logs) = log::prepare(&config.log.to, config.state_directory.as_deref())
    {
        logs.commit();
    }
    no_core_dumps();
    shortage::raise_open_files();
    if let Ok(config) = &config {
        watch.follow(config.files());
        make_key_files(config);
    }
    watch.mark();
    let started = control::start(&source, strict)?;
    watch.follow(started.config.files());
    control.hear_stop()?;
    let proxy = &started.proxy;
    let admin = admin_socket(&started.config, proxy)?;
    let listening = proxy.listening();
    if json {
        let one = |ListensAt { name, address, protocol, tls }: &ListensAt| json!({"name": name, "address": address, "protocol": protocol.name(), "tls": tls});
        let listeners: Vec<_> = listening.iter().map(one).collect();
        let (admin, generation) = (proxy.admin_address(), proxy.generation());
        say(&json!({"listeners": listeners, "admin": admin, "generation": generation}).to_string());
    } else {
        for ListensAt { name, address, protocol, tls } in listening {
            let scheme = format!("{}{}", protocol.name(), if tls { "s" } else { "" });
            let is_file = address.starts_with("unix:") || address.starts_with("systemd:");
            say(&if is_file {
                format!("{name}: listening on {address} ({scheme})")
            } else {
                format!("{name}: listening on {scheme}://{address}/")
            });
        }
        if let Some(address) = proxy.admin_address() {
            let secure = proxy.shared().live.load().admin_listener.as_ref().is_some_and(|admin| admin.tls.is_some());
            say(&format!("admin: listening on {}://{address}/", if secure { "https" } else { "http" }));
        }
    }
    Ok(control.run(started, watch, source, |handle| admin::serve(admin, handle)))
}

/// Makes the key files that are missing, before they are looked at with the other files: the first start is no reason to
/// reload. What goes wrong is told as a fault of the configuration, when they are read.
fn make_key_files(config: &Config) {
    for path in [&config.session.key_file, &config.ticket_key_file].into_iter().flatten() {
        let _ = Keys::load(path);
    }
}

/// A core dump would hold keys, cookies, and the passwords of the moment.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}

/// Takes the place of the process before this one, if there is one, and binds the admin socket: before anything is
/// announced, so that whoever reads the announcement can ask.
fn admin_socket(config: &Config, proxy: &Proxy) -> anyhow::Result<Option<Socket>> {
    let Some(path) = &config.admin.socket else { return Ok(proxy.take_over().map(|()| None)?) };
    let named = || format!("the admin socket {}", path.display());
    if !proxy.takes_over() {
        proxy.take_over()?;
        return Ok(Some(Socket::bind(path).with_context(named)?));
    }
    // It gets its name last: until then the process before this one is asked.
    let prepared = Socket::prepare(path).with_context(named)?;
    proxy.take_over()?;
    Ok(Some(Socket::of(prepared).with_context(named)?))
}

/// `doorward check`.
///
/// # Errors
/// The policy engine does not start.
pub(super) fn check(check: &Check) -> anyhow::Result<ExitCode> {
    log::start(Level::Error);
    let (faults, warnings): (Vec<Fault>, Vec<Fault>) =
        told_of(&check.config)?.into_iter().partition(|fault| fault.severity == Severity::Error);
    if check.json {
        say(&json!({"ok": faults.is_empty(), "faults": faults, "warnings": warnings}).to_string());
    } else {
        faults.iter().chain(&warnings).for_each(|fault| say(&fault.to_string()));
        if faults.is_empty() {
            say(&format!("{}: no fault found", check.config.display()));
        }
    }
    let bad = !faults.is_empty() || (check.strict && !warnings.is_empty());
    Ok(ExitCode::from(u8::from(bad)))
}

/// Files of accounts and tokens that let nobody in. That hinders no start and no reload.
fn operators(admin: &config::Admin) -> Vec<Fault> {
    let told = |key: &str, path: &Option<PathBuf>, read: fn(&Path) -> Result<bool, String>| {
        let path = path.as_ref()?;
        let trouble = match read(path) {
            Ok(true) => return None,
            Ok(false) => format!("{}: there is no such file", path.display()),
            Err(trouble) => trouble,
        };
        Some(admin.place.key(key).warning(trouble, "a file that `doorward admin` made"))
    };
    let accounts = told("accounts", &admin.accounts, |path| Ok(people::read::<Account>(path)?.is_some()));
    let tokens = told("tokens", &admin.tokens, |path| Ok(people::read::<Token>(path)?.is_some()));
    accounts.into_iter().chain(tokens).collect()
}

/// All that can be said of a configuration and of the files that it names, by place.
pub(super) fn told_of(path: &Path) -> anyhow::Result<Vec<Fault>> {
    let compiler =
        Compiler::of_user().map_err(|error| anyhow::anyhow!("the policy engine does not start: {error:#}"))?;
    let keys = Keys::random();
    let (config, faults) = match config::load_anyway(path) {
        Ok((config, Faults(faults))) => (config, faults),
        Err(Faults(faults)) => return Ok(faults),
    };
    // A folder that is not there holds nothing, and is not made for a check.
    let quarantine = Quarantine::load(config.state_directory.as_deref().filter(|state| state.is_dir()));
    let materials = Materials {
        compiler: &compiler,
        keys: &keys,
        tickets: &Arc::default(),
        previous: None,
        generation: 1,
        quarantine: Some((&quarantine, Suspect::Refused)),
        shrink: Shrink::Refused,
        trial: true,
    };
    // What is wrong with it hinders no start.
    let trouble = quarantine.trouble().map(|trouble| {
        config.place.key("state-directory").warning(trouble, "a quarantine that can be read and written")
    });
    let running = config.admin.socket.as_deref().map(ctl::started_with).unwrap_or_default();
    let of_parts = Snapshot::build(&config, &materials);
    let of_parts = of_parts.map_or_else(|Faults(faults)| faults, |snapshot| snapshot.warnings);
    // Where a key was wrong its default stands in; what is wrong with that is no news.
    let told: Vec<String> = faults.iter().filter(|f| f.severity == Severity::Error).map(|f| f.key.clone()).collect();
    let news = of_parts.into_iter().filter(|fault| !told.iter().any(|key| fault.key.starts_with(key)));
    let found = faults
        .into_iter()
        .chain(trouble)
        .chain(operators(&config.admin))
        .chain(news)
        .chain(config.needs_restart(&running));
    let mut all: Vec<Fault> = found.collect();
    all.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(all)
}
