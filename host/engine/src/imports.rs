//! The facts as functions that guests import. What is not granted is not linked, and every read is noted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doorward_vectors::{Question, WIT_VERSION};
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker, LinkerInstance, Lower};
use wasmtime::{Engine, ResourceLimiter, Result, StoreLimits, bail};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use crate::answer::Form;
use crate::guest::Deadline;
use crate::manifest::Grants;
use crate::memo::Read;
use crate::trace::{Fact, Given, Trace, Value};
use crate::words::Said;

/// Where the facts of a decision come from.
pub enum Source {
    /// From a connection, a request, a login.
    Live(Box<dyn Read + Send + Sync>),
    /// From what somebody wrote down.
    Given(Arc<Given>),
}

impl Source {
    fn read(&self, fact: &Fact) -> Option<Value<'static>> {
        match self {
            Self::Live(facts) => Some(facts.read(fact).into_owned()),
            Self::Given(given) => given.read(fact),
        }
    }
}

/// What the host keeps beside a guest.
pub(crate) struct Living {
    /// Where facts come from; nowhere while the guest starts and is configured.
    pub source: Option<Source>,
    /// What was read.
    pub trace: Trace,
    /// The fact that was asked for and not given.
    pub missing: Option<Fact>,
    /// The policy's name, for its log lines.
    pub name: String,
    /// Caps on memories, tables and instances.
    pub limits: Caps,
    /// When its time is over.
    pub deadline: Deadline,
    /// Log lines that the guest may still write in this call.
    pub log_lines: u32,
    /// What it says in this call.
    pub said: Said,
    /// An empty WASI, for guests of languages that cannot do without.
    pub wasi: WasiCtx,
    /// WASI's handles.
    pub table: ResourceTable,
    /// WASI's clocks and dice.
    pub ambient: Arc<Ambient>,
}

impl Living {
    /// Reads a fact and notes it; what was read before says the same.
    ///
    /// # Errors
    /// There is nothing to decide, the fact is not given, or too much was read. The guest is stopped then.
    pub(crate) fn read(&mut self, fact: Fact) -> Result<Value<'static>> {
        if let Some(value) = self.trace.get(&fact) {
            return Ok(value.clone());
        }
        let Some(source) = &self.source else { bail!("a fact was read before there was anything to decide") };
        let Some(value) = source.read(&fact) else {
            self.missing = Some(fact);
            bail!("a fact was read that is not given")
        };
        self.trace.push(fact, value.clone())?;
        Ok(value)
    }

    /// Begins a decision.
    pub(crate) fn begin(&mut self, source: Source, wasi: bool) {
        (self.trace, self.missing) = (Trace::default(), None);
        self.said.clear();
        if wasi {
            let number = |fact| if let Some(Value::Number(number)) = source.read(&fact) { number } else { 0 };
            self.ambient.set(number(Fact::Now), number(Fact::Random));
        }
        self.source = Some(source);
    }

    /// Ends it: what was read of WASI's clocks and dice is a read like any other.
    pub(crate) fn end(&mut self) -> Trace {
        if self.ambient.clock_read.load(Ordering::Relaxed) {
            // Too many reads end a guest that reads on; this one has ended.
            let _ = self.read(Fact::Now);
        }
        if self.ambient.random_read.load(Ordering::Relaxed) {
            match &self.source {
                Some(Source::Given(given)) if given.read(&Fact::Random).is_none() => self.missing = Some(Fact::Random),
                _ => drop(self.trace.push(Fact::Random, Value::Number(self.ambient.seed.load(Ordering::Relaxed)))),
            }
        }
        self.source = None;
        std::mem::take(&mut self.trace)
    }
}

/// WASI's clocks and dice: both stand still while a guest starts. In a decision the clocks show its frozen time, and the
/// dice follow from a seed, so that both can be noted and replayed.
#[derive(Debug, Default)]
pub(crate) struct Ambient {
    now: AtomicU64,
    seed: AtomicU64,
    thrown: AtomicU64,
    clock_read: AtomicBool,
    random_read: AtomicBool,
}

impl Ambient {
    fn set(&self, now: u64, seed: u64) {
        self.now.store(now, Ordering::Relaxed);
        self.seed.store(seed, Ordering::Relaxed);
        self.thrown.store(0, Ordering::Relaxed);
        self.clock_read.store(false, Ordering::Relaxed);
        self.random_read.store(false, Ordering::Relaxed);
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.clock_read.store(true, Ordering::Relaxed);
        self.now.load(Ordering::Relaxed)
    }

    /// The next random number (splitmix64, which needs no state but a count).
    pub(crate) fn random(&self) -> u64 {
        self.random_read.store(true, Ordering::Relaxed);
        let count = self.thrown.fetch_add(1, Ordering::Relaxed) + 1;
        let state = self.seed.load(Ordering::Relaxed).wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Caps of one instance: wasmtime's, and one on all its memories together, which wasmtime counts one by one.
pub(crate) struct Caps {
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
pub(crate) fn interface(name: &str, version: &str) -> String {
    format!("doorward:policy/{name}@{version}")
}

/// An interface being linked, with what of it is granted.
struct At<'a> {
    linker: LinkerInstance<'a, Living>,
    interface: &'static str,
    grants: &'a Grants,
}

/// A component with all that it may import: what instances are made of.
#[derive(Clone)]
pub struct Linked(pub(crate) InstancePre<Living>);

/// Links a component to what it is granted.
///
/// # Errors
/// It imports something else.
pub fn link(component: &Component, question: Question, grants: &Grants) -> Result<Linked> {
    linker(component.engine(), question, grants)?.instantiate_pre(component).map(Linked)
}

/// The linker for a question with these grants. The names are those of our version; guests of an older one of the same
/// track find them too.
///
/// # Errors
/// None in practice: names are fixed and defined once.
fn linker(engine: &Engine, question: Question, grants: &Grants) -> Result<Linker<Living>> {
    let mut linker = Linker::new(engine);
    if grants.wasi() {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    let mut define = |interface, define: fn(&mut At<'_>) -> Result<()>| {
        let linker = linker.instance(&self::interface(interface, WIT_VERSION))?;
        define(&mut At { linker, interface, grants })
    };
    define("log", log)?;
    for interface in ["clock", "lists", "connection", "request", "login", "nodes", "session", "usage"] {
        define(interface, facts)?;
    }
    if question == Question::Template {
        // Only its type `form` is used, but the tools of some languages import the whole interface with it.
        linker
            .instance(&interface("device", WIT_VERSION))?
            .func_wrap("classify", |_, (): ()| -> Result<(Option<Form>,)> {
                bail!("a policy cannot ask another question")
            })?;
    }
    Ok(linker)
}

/// What a value is to a guest.
macro_rules! rust_type {
    (Text) => { String };
    (Optional) => { Option<String> };
    (Texts) => { Vec<String> };
    (Port) => { u16 };
    (Count) => { u32 };
    (Moment) => { u64 };
    (Flag) => { bool };
}

/// Makes the functions of the interfaces of the table `doorward_vectors::facts`.
macro_rules! functions {
    (
        functions { $($plain:ident $pm:ident $pi:literal $pf:literal $pt:ident $ps:literal;)* }
        named { $($named:ident $nm:ident $ni:literal $nf:literal $nt:ident $ns:literal;)* }
        pairs { $($pair:ident $am:ident $ai:literal $af:literal $at:ident $as:literal;)* }
        others { $($other:tt)* }
    ) => {
        /// The functions of one interface.
        fn facts(at: &mut At<'_>) -> Result<()> {
            $(if at.interface == $pi { at.plain::<rust_type!($pt)>($pf, Fact::$plain)?; })*
            $(if at.interface == $ni { at.named::<rust_type!($nt)>($nf)?; })*
            $(if at.interface == $ai { at.pair::<rust_type!($at)>($af)?; })*
            Ok(())
        }
    };
}

doorward_vectors::facts!(functions);

impl At<'_> {
    /// A fact without a parameter.
    fn plain<T: OfValue>(&mut self, name: &str, fact: Fact) -> Result<()> {
        if !self.grants.has(self.interface, name) {
            return Ok(());
        }
        self.linker.func_wrap(name, move |mut store, (): ()| Ok((T::of(store.data_mut().read(fact.clone())?),)))
    }

    /// A fact that is asked for by name. A name that none can have is that of nothing.
    fn named<T: OfValue>(&mut self, function: &'static str) -> Result<()> {
        if !self.grants.has(self.interface, function) {
            return Ok(());
        }
        self.linker.func_wrap(function, move |mut store, (name,): (String,)| {
            let value = match Fact::named(function, Some(&name)) {
                Some(fact) => store.data_mut().read(fact)?,
                None => Value::Missing,
            };
            Ok((T::of(value),))
        })
    }
}

impl At<'_> {
    /// A fact that is asked for by a name and a value.
    fn pair<T: OfValue>(&mut self, function: &'static str) -> Result<()> {
        if !self.grants.has(self.interface, function) {
            return Ok(());
        }
        self.linker.func_wrap(function, move |mut store, (name, value): (String, String)| {
            // The first blank parts them.
            let both = (!name.contains(' ')).then(|| format!("{name} {value}"));
            let value = match both.and_then(|both| Fact::named(function, Some(&both))) {
                Some(fact) => store.data_mut().read(fact)?,
                None => Value::Missing,
            };
            Ok((T::of(value),))
        })
    }
}

/// What a fact's value is to a guest.
trait OfValue: ComponentType + Lower + Send + Sync + 'static {
    /// The value; what is missing, or not of this type, is empty.
    fn of(value: Value<'static>) -> Self;
}

impl OfValue for String {
    fn of(value: Value<'static>) -> Self {
        if let Value::Text(text) = value { text.into_owned() } else { Self::new() }
    }
}

impl OfValue for Option<String> {
    fn of(value: Value<'static>) -> Self {
        if let Value::Text(text) = value { Some(text.into_owned()) } else { None }
    }
}

impl OfValue for Vec<String> {
    fn of(value: Value<'static>) -> Self {
        if let Value::Texts(texts) = value { texts.into_owned() } else { Self::new() }
    }
}

impl OfValue for bool {
    fn of(value: Value<'static>) -> Self {
        matches!(value, Value::Flag(true))
    }
}

impl OfValue for u64 {
    fn of(value: Value<'static>) -> Self {
        if let Value::Number(number) = value { number } else { 0 }
    }
}

impl OfValue for u32 {
    fn of(value: Value<'static>) -> Self {
        u64::of(value).try_into().unwrap_or(Self::MAX)
    }
}

impl OfValue for u16 {
    fn of(value: Value<'static>) -> Self {
        u64::of(value).try_into().unwrap_or(Self::MAX)
    }
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

fn log(at: &mut At<'_>) -> Result<()> {
    if !at.grants.has(at.interface, "write") {
        return Ok(());
    }
    at.linker.func_wrap("write", |mut store, (level, message): (LogLevel, String)| {
        let living = store.data_mut();
        let message: String = message.chars().take(LOG_LINE).collect();
        // Also what the log has no room for: the last line may say why the guest gives up.
        living.said.line(&message);
        let Some(left) = living.log_lines.checked_sub(1) else { return Ok(()) };
        living.log_lines = left;
        // The log escapes what could forge lines.
        let message = message.as_str();
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
