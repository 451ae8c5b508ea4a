//! `demo`, `serve` and `check`: start, follow changes and signals, and end with a drain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::{Check, say, systemd};
use crate::admin::{Socket, Wish};
use crate::back::watch_over;
use crate::config::{self, Config, Fault, Faults, Level, Severity};
use crate::demo::{Demo, SITES, USERS};
use crate::log;
use crate::policy::Compiler;
use crate::proxy::Proxy;
use crate::session::Keys;
use crate::snapshot::{Materials, Snapshot};
use crate::watch::Watch;

/// `doorward demo`.
///
/// # Errors
/// It cannot start.
pub(super) fn demo(listen: SocketAddr, folder: Option<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    log::start(if json { Level::Warn } else { Level::Info });
    let demo = Demo::start(listen, folder).context("the demo's nodes do not start")?;
    let config = demo.config()?;
    let watch = Watch::start(config.files());
    let proxy = Proxy::start(&config)?;
    let admin = admin_socket(&config, &proxy)?;
    let control = Control::start(None)?;
    let address = proxy.listening().first().and_then(|(_, address, _)| address.parse().ok()).unwrap_or(listen);
    say(&if json { demo_json(address) } else { demo_text(address) });
    follow(control, proxy, watch, admin, move || demo.config())
}

fn demo_json(address: SocketAddr) -> String {
    let sites: Vec<_> = SITES.iter().map(|(host, template)| json!({"host": host, "template": template})).collect();
    let user =
        |(name, password, node, ..): &crate::demo::User| json!({"name": name, "password": password, "node": node});
    let users: Vec<_> = USERS.iter().map(user).collect();
    json!({"url": format!("http://{address}"), "sites": sites, "users": users}).to_string()
}

fn demo_text(address: SocketAddr) -> String {
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
    text.push_str("\nCtrl-C ends it.");
    text
}

/// `doorward serve`.
///
/// # Errors
/// It cannot start; the faults of the configuration.
pub(super) fn serve(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    // Watched before it is read, so that no change falls between.
    let mut watch = Watch::start(vec![path.to_owned()]);
    let config = config::load(path)?;
    log::start(config.log.level);
    no_core_dumps();
    watch.follow(config.files());
    let program = std::env::current_exe()?;
    let proxy = Proxy::start(&config)?;
    let admin = admin_socket(&config, &proxy)?;
    let control = Control::start(Some(program))?;
    let listening = proxy.listening();
    if json {
        let one = |(name, address, tls): &(String, String, bool)| json!({"name": name, "address": address, "tls": tls});
        let listeners: Vec<_> = listening.iter().map(one).collect();
        say(&json!({"listeners": listeners, "generation": proxy.generation()}).to_string());
    } else {
        for (name, address, tls) in listening {
            let scheme = if tls { "https" } else { "http" };
            let is_file = address.starts_with("unix:") || address.starts_with("systemd:");
            say(&if is_file {
                format!("{name}: listening on {address} ({scheme})")
            } else {
                format!("{name}: listening on {scheme}://{address}/")
            });
        }
    }
    let path = path.to_owned();
    follow(control, proxy, watch, admin, move || config::load(&path))
}

/// Bound before anything is announced, so that whoever reads the announcement can ask; and last of all, so that the
/// process before this one keeps its own until this one serves.
fn admin_socket(config: &Config, proxy: &Proxy) -> anyhow::Result<Option<Socket>> {
    let bind = |path: &PathBuf| {
        let bound = if proxy.takes_over() { Socket::replace(path) } else { Socket::bind(path) };
        bound.with_context(|| format!("the admin socket {}", path.display()))
    };
    config.admin_socket.as_ref().map(bind).transpose()
}

/// The control plane's own runtime, and the signals it hears. Made before anything is announced: whoever reads the
/// announcement may send one at once, and one that nobody hears ends the process.
struct Control {
    runtime: Runtime,
    /// What an upgrade starts: the file that this program was started from, whatever is in it then.
    program: Option<PathBuf>,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
}

/// A core dump would hold keys, cookies, and the passwords of the moment.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}

impl Control {
    fn start(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = signal(SignalKind::hangup())?;
        let user = signal(SignalKind::user_defined2())?;
        drop(entered);
        Ok(Self { runtime, program, terminate, interrupt, hang_up, user })
    }
}

/// Reloads when a file changed, at SIGHUP and when asked to, heeds policies in trouble, and drains at Ctrl-C and SIGTERM.
/// After an upgrade it retires, which the same signals cut short.
fn follow(
    control: Control,
    proxy: Proxy,
    mut watch: Watch,
    admin: Option<Socket>,
    load: impl Fn() -> Result<Config, Faults> + Clone + Send + 'static,
) -> anyhow::Result<ExitCode> {
    let proxy = Arc::new(proxy);
    let Control { runtime, program, mut terminate, mut interrupt, mut hang_up, mut user } = control;
    proxy.ready();
    systemd::ready();
    let retired = LocalSet::new().block_on(&runtime, async {
        let (asking, mut asked) = mpsc::channel(4);
        if let Some(socket) = admin {
            tokio::spawn(socket.serve(proxy.clone(), asking.clone()));
        }
        let beside = spawn_local(beside(proxy.clone()));
        let upgraded = loop {
            let wish: Option<Wish> = tokio::select! {
                _ = terminate.recv() => break false,
                _ = interrupt.recv() => break false,
                _ = hang_up.recv() => None,
                _ = user.recv() => Some(Wish::Upgrade(oneshot::channel().0)),
                Some(wish) = asked.recv() => Some(wish),
                () = watch.changed() => None,
            };
            let answer = match wish {
                Some(Wish::Upgrade(answer)) => {
                    let upgrading = upgrade(proxy.clone(), program.clone(), answer);
                    tokio::select! {
                        _ = terminate.recv() => break false,
                        _ = interrupt.recv() => break false,
                        done = upgrading => if done { break true } else { continue },
                    }
                }
                Some(Wish::Reload(answer)) => Some(answer),
                None => None,
            };
            // What was seen to change is marked already; who asks wants it all read now.
            watch.mark();
            systemd::reloading();
            // Compiling a policy may take a while; signals are heard all the same.
            let (of_reload, load) = (proxy.clone(), load.clone());
            let reloading = tokio::task::spawn_blocking(move || reload(&of_reload, load()));
            tokio::select! {
                _ = terminate.recv() => break false,
                _ = interrupt.recv() => break false,
                reloaded = reloading => match reloaded {
                    Ok((files, outcome)) => {
                        if outcome.is_ok() { watch.follow_only(files) } else { watch.follow(files) }
                        let _ = answer.map(|answer| answer.send(outcome));
                    }
                    Err(error) => tracing::error!(%error, "a reload came to no end"),
                },
            }
            systemd::ready();
        };
        beside.abort();
        if !upgraded {
            systemd::stopping();
            return false;
        }
        let of_retiring = proxy.clone();
        let retiring = tokio::task::spawn_blocking(move || of_retiring.retire());
        tokio::select! {
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
            _ = retiring => true,
        }
    });
    if !retired {
        tracing::info!("draining");
        if !proxy.drain() {
            tracing::warn!("not every request came to its end before the drain deadline");
        }
    }
    // A reload may still be compiling; nobody waits for it.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// One upgrade: whether another process serves now.
async fn upgrade(
    proxy: Arc<Proxy>,
    program: Option<PathBuf>,
    answer: oneshot::Sender<Result<u32, crate::proxy::Error>>,
) -> bool {
    let Some(program) = program else {
        let source = std::io::Error::other("it has nodes of its own");
        let _ = answer.send(Err(crate::proxy::Error::Io { what: "a demo is not upgraded".to_owned(), source }));
        return false;
    };
    let outcome = match tokio::task::spawn_blocking(move || proxy.upgrade(&program)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "an upgrade came to no end");
            return false;
        }
    };
    match &outcome {
        Ok(process) => {
            systemd::replaced_by(*process);
            tracing::info!(process, "another process serves, this one retires");
        }
        Err(error) => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(why, "{error}");
        }
    }
    let done = outcome.is_ok();
    let _ = answer.send(outcome);
    done
}

/// What goes on beside reloads: policies in trouble are heeded, and nodes are probed.
async fn beside(proxy: Arc<Proxy>) {
    let shared = proxy.shared().clone();
    tokio::join!(heed(proxy), watch_over(move || shared.snapshot.load().nodes().to_vec()));
}

/// Heeds policies whose breakers open.
async fn heed(proxy: Arc<Proxy>) {
    loop {
        for policy in proxy.shared().desk.troubles().await {
            proxy.heed(&policy);
        }
    }
}

/// One reload: the files that the new configuration names, and what came of it.
fn reload(proxy: &Proxy, loaded: Result<Config, Faults>) -> (Vec<PathBuf>, Result<u64, crate::proxy::Error>) {
    let files = loaded.as_ref().map(Config::files).unwrap_or_default();
    let outcome = loaded.map_err(Into::into).and_then(|next| proxy.reload(&next));
    if let Err(error) = &outcome {
        tracing::error!(generation = proxy.generation(), "refused, the old generation serves on:\n{error}");
    }
    (files, outcome)
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

/// All that can be said of a configuration and of the files that it names, by place.
fn told_of(path: &Path) -> anyhow::Result<Vec<Fault>> {
    let compiler =
        Compiler::start(None).map_err(|error| anyhow::anyhow!("the policy engine does not start: {error:#}"))?;
    let keys = Keys::random();
    let materials = Materials {
        compiler: &compiler,
        keys: &keys,
        tickets: &Arc::default(),
        previous: None,
        generation: 1,
        quarantine: None,
        trial: true,
    };
    let (config, faults) = match config::load_anyway(path) {
        Ok((config, Faults(faults))) => (config, faults),
        Err(Faults(faults)) => return Ok(faults),
    };
    let of_parts = Snapshot::build(&config, &materials);
    let of_parts = of_parts.map_or_else(|Faults(faults)| faults, |snapshot| snapshot.warnings);
    // Where a key was wrong its default stands in; what is wrong with that is no news.
    let told: Vec<String> = faults.iter().filter(|f| f.severity == Severity::Error).map(|f| f.key.clone()).collect();
    let news = of_parts.into_iter().filter(|fault| !told.iter().any(|key| fault.key.starts_with(key)));
    let mut all: Vec<Fault> = faults.into_iter().chain(news).collect();
    all.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(all)
}
