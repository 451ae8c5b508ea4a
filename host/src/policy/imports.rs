//! The facts as functions that guests import; each question's guests get those of its world and nothing else.

use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower};
use wasmtime::{Engine, ResourceLimiter, Result, StoreLimits, bail};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::facts::Facts;
use crate::config::Question;

/// The version of the WIT package that this host speaks.
pub const WIT_VERSION: &str = "0.1.1";

/// What the host keeps beside a guest.
pub(super) struct Living {
    /// The facts of the decision under way; none while the guest starts and is configured.
    pub facts: Option<Facts>,
    /// The policy's name, for its log lines.
    pub name: String,
    /// Caps on memories, tables and instances.
    pub limits: Caps,
    /// Log lines that the guest may still write in this call.
    pub log_lines: u32,
    /// An empty WASI, for guests of languages that cannot do without.
    pub wasi: WasiCtx,
    /// WASI's handles.
    pub table: ResourceTable,
}

/// Caps of one instance: wasmtime's, and one on all its memories together, which wasmtime counts one by one.
pub(super) struct Caps {
    /// wasmtime's own.
    pub each: StoreLimits,
    /// Bytes that all memories may still grow by.
    pub memory_left: usize,
}

impl ResourceLimiter for Caps {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let Some(left) = self.memory_left.checked_sub(desired.saturating_sub(current)) else { return Ok(false) };
        let grows = self.each.memory_growing(current, desired, maximum)?;
        if grows {
            self.memory_left = left;
        }
        Ok(grows)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.each.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.each.instances()
    }

    fn tables(&self) -> usize {
        self.each.tables()
    }

    fn memories(&self) -> usize {
        self.each.memories()
    }
}

impl WasiView for Living {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A name such as `doorward:policy/access@0.1.1`.
pub(super) fn interface(name: &str) -> String {
    format!("doorward:policy/{name}@{WIT_VERSION}")
}

/// The linker of a question's world.
///
/// # Errors
/// None in practice: names are fixed and defined once.
pub(super) fn linker(engine: &Engine, question: Question, wasi: bool) -> Result<Linker<Living>> {
    let mut linker = Linker::new(engine);
    if wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    log(&mut linker.instance(&interface("log"))?)?;
    none(&mut linker.instance(&interface("clock"))?, "now", Facts::now)?;
    connection(&mut linker.instance(&interface("connection"))?)?;
    if question != Question::Access {
        request(&mut linker.instance(&interface("request"))?)?;
    }
    if question == Question::AuthMode {
        login(&mut linker.instance(&interface("login"))?)?;
    }
    if question == Question::Template {
        // Only its type `form` is used; the interface must exist all the same.
        linker.instance(&interface("device"))?;
    }
    Ok(linker)
}

fn connection(at: &mut LinkerInstance<'_, Living>) -> Result<()> {
    none(at, "client-address", |facts| facts.peer.address.to_string())?;
    none(at, "client-port", |facts| facts.peer.port)?;
    none(at, "listener", |facts| facts.peer.listener.clone())?;
    none(at, "local-address", |facts| facts.peer.local.ip().to_canonical().to_string())?;
    none(at, "tls-server-name", Facts::tls_server_name)?;
    // Client certificates are not asked for yet, so there is never a subject.
    none(at, "tls-client-subject", |_| None::<String>)
}

fn request(at: &mut LinkerInstance<'_, Living>) -> Result<()> {
    none(at, "method", Facts::method)?;
    none(at, "scheme", |facts| facts.peer.scheme().to_owned())?;
    none(at, "host", Facts::host)?;
    none(at, "path", Facts::path)?;
    named(at, "query", Facts::query)?;
    named(at, "header", Facts::header)?;
    named(at, "cookie", Facts::cookie)
}

fn login(at: &mut LinkerInstance<'_, Living>) -> Result<()> {
    none(at, "username", |facts| facts.of_login(|login| login.username.clone()))?;
    none(at, "known", |facts| facts.of_login(|login| login.known))?;
    named(at, "attribute", Facts::attribute)?;
    none(at, "recent-failures-from-address", |facts| facts.of_login(|login| login.failures_from_address))?;
    none(at, "recent-failures-for-user", |facts| facts.of_login(|login| login.failures_for_user))
}

/// A fact without a parameter.
fn none<T>(at: &mut LinkerInstance<'_, Living>, name: &str, read: fn(&Facts) -> T) -> Result<()>
where
    T: ComponentType + Lower + Send + Sync + 'static,
{
    at.func_wrap(name, move |store, (): ()| match &store.data().facts {
        Some(facts) => Ok((read(facts),)),
        None => bail!("a fact was read before there was anything to decide"),
    })
}

/// A fact that is asked for by name.
fn named<T>(at: &mut LinkerInstance<'_, Living>, name: &str, read: fn(&Facts, &str) -> T) -> Result<()>
where
    T: ComponentType + Lower + Send + Sync + 'static,
{
    at.func_wrap(name, move |store, (key,): (String,)| match &store.data().facts {
        Some(facts) => Ok((read(facts, &key),)),
        None => bail!("a fact was read before there was anything to decide"),
    })
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only guests make one")]
enum LogLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// A guest's line may have so many characters; the rest is cut.
const LOG_LINE: usize = 1024;

fn log(at: &mut LinkerInstance<'_, Living>) -> Result<()> {
    at.func_wrap("write", |mut store, (level, message): (LogLevel, String)| {
        let living = store.data_mut();
        let Some(left) = living.log_lines.checked_sub(1) else { return Ok(()) };
        living.log_lines = left;
        // Escaped: a guest's words must not forge lines of ours.
        let message: String = message.chars().take(LOG_LINE).flat_map(char::escape_debug).collect();
        let policy = living.name.as_str();
        match level {
            LogLevel::Debug => tracing::debug!(policy, message, "policy says"),
            LogLevel::Info => tracing::info!(policy, message, "policy says"),
            LogLevel::Warn => tracing::warn!(policy, message, "policy says"),
            LogLevel::Error => tracing::error!(policy, message, "policy says"),
        }
        Ok(())
    })
}
