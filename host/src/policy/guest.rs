//! One living instance of a policy: started under caps, asked under a deadline, thrown away at the first error.

use std::task::{Poll, Waker};
use std::time::Duration;

use wasmtime::component::{ComponentType, Instance, InstancePre, Lift, Lower, TypedFunc};
use wasmtime::{Store, StoreLimitsBuilder, Trap};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder};

use super::engine::TICK;
use super::facts::Facts;
use super::imports::{Caps, Living, interface};
use crate::config::Question;

/// A guest may keep the loader busy for so long: starting and `configure` parse tables, and are off the path.
const LOAD_TIME: Duration = Duration::from_millis(500);
/// Lines a guest may log in one call.
const LOG_LINES: u32 = 16;
/// Bytes that one host call may copy out of a guest: no fact's name and no log line is longer.
const HOSTCALL_BYTES: usize = 1 << 20;

/// Why a guest gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not come to an end.
    #[error("it took longer than {0:?}")]
    TimedOut(Duration),
    /// It stopped itself, or was stopped for a fault of its own.
    #[error("it trapped: {0}")]
    Trapped(String),
    /// It wanted to wait for something.
    #[error("it waited for input, which a policy never has")]
    Waited,
    /// Its answer is nothing a policy may say.
    #[error("its answer is not allowed: {0}")]
    Lied(&'static str),
    /// It refuses its settings.
    #[error("it refuses its settings")]
    Settings(Vec<Problem>),
    /// It is not the kind of component it should be.
    #[error("it does not answer the question: {0}")]
    WrongKind(String),
}

/// What a policy finds wrong in its settings.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Problem {
    /// Path below `settings`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// `access.verdict` of the WIT.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub(super) enum WitVerdict {
    /// Let it in, with a limit class.
    #[component(name = "allow")]
    Allow(Option<String>),
    /// Close it, for a reason.
    #[component(name = "deny")]
    Deny(String),
    /// No opinion.
    #[component(name = "abstain")]
    Abstain,
}

/// `device.form` of the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Form {
    /// A computer with a large screen.
    #[component(name = "desktop")]
    Desktop,
    /// A phone.
    #[component(name = "mobile")]
    Mobile,
    /// A tablet.
    #[component(name = "tablet")]
    Tablet,
    /// A program.
    #[component(name = "bot")]
    Bot,
}

/// `auth-mode.mode` of the WIT.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub(super) enum WitMode {
    /// By LDAP bind.
    #[component(name = "ldap-bind")]
    LdapBind,
    /// By the password attribute.
    #[component(name = "ldap-password")]
    LdapPassword,
    /// By the back-end.
    #[component(name = "back-end")]
    BackEnd,
    /// Not at all.
    #[component(name = "refuse")]
    Refuse(String),
}

/// The one function of a question.
enum Ask {
    Access(TypedFunc<(), (WitVerdict,)>),
    Device(TypedFunc<(), (Option<Form>,)>),
    Template(TypedFunc<(Form,), (Option<String>,)>),
    AuthMode(TypedFunc<(), (Option<WitMode>,)>),
}

/// A configured instance.
pub(super) struct Guest {
    store: Store<Living>,
    ask: Ask,
    call: Call,
}

/// How a guest is called.
#[derive(Clone, Copy)]
struct Call {
    time: Duration,
    wasi: bool,
}

/// What an instance is started with.
pub(super) struct Start<'a> {
    /// The linked component.
    pub pre: &'a InstancePre<Living>,
    /// The policy's name.
    pub name: &'a str,
    /// Its question.
    pub question: Question,
    /// Its settings as JSON.
    pub settings: &'a str,
    /// Memory cap in bytes.
    pub memory: u64,
    /// Time cap of a call.
    pub time: Duration,
    /// Whether it needs WASI.
    pub wasi: bool,
}

impl Guest {
    /// Instantiates and configures.
    ///
    /// # Errors
    /// Whatever the guest did wrong, settings included.
    pub(super) fn start(start: &Start<'_>) -> Result<Self, Error> {
        let engine = start.pre.engine();
        let mut store = Store::new(engine, living(start));
        store.limiter(|living| &mut living.limits);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(1000);
        arm(&mut store, LOAD_TIME);
        let failed = |error| classify(&error, LOAD_TIME);
        let instance = if start.wasi {
            at_once(start.pre.instantiate_async(&mut store))?
        } else {
            start.pre.instantiate(&mut store)
        };
        let instance = instance.map_err(failed)?;
        let configure: TypedFunc<(String,), (Result<(), Vec<Problem>>,)> =
            export(&instance, &mut store, "settings", "configure")?;
        arm(&mut store, LOAD_TIME);
        let settings = (start.settings.to_owned(),);
        let (outcome,) = invoke(&mut store, &configure, settings, start.wasi)?.map_err(failed)?;
        outcome.map_err(Error::Settings)?;
        let ask = match start.question {
            Question::Access => Ask::Access(export(&instance, &mut store, "access", "check")?),
            Question::Device => Ask::Device(export(&instance, &mut store, "device", "classify")?),
            Question::Template => Ask::Template(export(&instance, &mut store, "template", "select")?),
            Question::AuthMode => Ask::AuthMode(export(&instance, &mut store, "auth-mode", "decide")?),
        };
        Ok(Self { store, ask, call: Call { time: start.time, wasi: start.wasi } })
    }

    /// May this client connect?
    ///
    /// # Errors
    /// Any; the guest must not be used again.
    pub(super) fn access(&mut self, facts: &Facts) -> Result<WitVerdict, Error> {
        let Ask::Access(function) = &self.ask else { return Err(Error::Lied("another question")) };
        call(&mut self.store, self.call, *function, (), facts)
    }

    /// What kind of device is this?
    ///
    /// # Errors
    /// Any; the guest must not be used again.
    pub(super) fn device(&mut self, facts: &Facts) -> Result<Option<Form>, Error> {
        let Ask::Device(function) = &self.ask else { return Err(Error::Lied("another question")) };
        call(&mut self.store, self.call, *function, (), facts)
    }

    /// Which template is shown?
    ///
    /// # Errors
    /// Any; the guest must not be used again.
    pub(super) fn template(&mut self, facts: &Facts, form: Form) -> Result<Option<String>, Error> {
        let Ask::Template(function) = &self.ask else { return Err(Error::Lied("another question")) };
        call(&mut self.store, self.call, *function, (form,), facts)
    }

    /// How is this login checked?
    ///
    /// # Errors
    /// Any; the guest must not be used again.
    pub(super) fn auth_mode(&mut self, facts: &Facts) -> Result<Option<WitMode>, Error> {
        let Ask::AuthMode(function) = &self.ask else { return Err(Error::Lied("another question")) };
        call(&mut self.store, self.call, *function, (), facts)
    }
}

fn living(start: &Start<'_>) -> Living {
    let memory_left = usize::try_from(start.memory).unwrap_or(usize::MAX);
    let each = StoreLimitsBuilder::new()
        .memory_size(memory_left)
        // A component of Rust has one memory, few tables and a handful of instances; those of other languages have an
        // adapter or two more, and one in Python without WASI is of 41 instances.
        .memories(4)
        .tables(16)
        .table_elements(20_000)
        .instances(64)
        .trap_on_grow_failure(false)
        .build();
    let (wasi, table) = (empty_wasi(), ResourceTable::new());
    let limits = Caps { each, memory_left };
    Living { facts: None, name: start.name.to_owned(), limits, log_lines: LOG_LINES, wasi, table }
}

/// A WASI without files, network, arguments or streams, whose clocks stand still and whose dice always fall alike.
fn empty_wasi() -> WasiCtx {
    struct Stopped;
    impl wasmtime_wasi::HostWallClock for Stopped {
        fn resolution(&self) -> Duration {
            TICK
        }
        fn now(&self) -> Duration {
            Duration::ZERO
        }
    }
    impl wasmtime_wasi::HostMonotonicClock for Stopped {
        fn resolution(&self) -> u64 {
            1_000_000
        }
        fn now(&self) -> u64 {
            0
        }
    }
    WasiCtxBuilder::new()
        .wall_clock(Stopped)
        .monotonic_clock(Stopped)
        .secure_random(wasmtime_wasi::random::Deterministic::new(vec![4]))
        .insecure_random(wasmtime_wasi::random::Deterministic::new(vec![4]))
        .insecure_random_seed(4)
        .build()
}

/// A typed function of an exported interface.
fn export<P, R>(instance: &Instance, store: &mut Store<Living>, at: &str, name: &str) -> Result<TypedFunc<P, R>, Error>
where
    P: wasmtime::component::ComponentNamedList + Lower,
    R: wasmtime::component::ComponentNamedList + Lift,
{
    let wanted = interface(at);
    let missing = || Error::WrongKind(format!("it does not export {wanted}#{name}"));
    let at = instance.get_export_index(&mut *store, None, &wanted).ok_or_else(missing)?;
    let function = instance.get_export_index(&mut *store, Some(&at), name).ok_or_else(missing)?;
    instance.get_typed_func(store, function).map_err(|error| Error::WrongKind(format!("{error:#}")))
}

fn call<P, R>(
    store: &mut Store<Living>,
    Call { time, wasi }: Call,
    function: TypedFunc<P, (R,)>,
    parameters: P,
    facts: &Facts,
) -> Result<R, Error>
where
    P: wasmtime::component::ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentType + Lift + Send + Sync + 'static,
{
    let living = store.data_mut();
    living.facts = Some(facts.clone());
    living.log_lines = LOG_LINES;
    arm(store, time);
    let answer = invoke(store, &function, parameters, wasi);
    store.data_mut().facts = None;
    answer?.map(|(answer,)| answer).map_err(|error| classify(&error, time))
}

/// Calls a function. WASI's are asynchronous, and a stack for each such call costs many times what a plain one does.
fn invoke<P, R>(
    store: &mut Store<Living>,
    function: &TypedFunc<P, (R,)>,
    parameters: P,
    wasi: bool,
) -> Result<wasmtime::Result<(R,)>, Error>
where
    P: wasmtime::component::ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentType + Lift + Send + Sync + 'static,
{
    if wasi { at_once(function.call_async(store, parameters)) } else { Ok(function.call(store, parameters)) }
}

/// Sets the deadline: one epoch more than the time, since the current one is partly over.
fn arm(store: &mut Store<Living>, time: Duration) {
    let ticks = time.as_millis().div_ceil(TICK.as_millis());
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1));
}

/// Runs a future that must not wait. Guests in Rust never do; one that polls WASI for input would.
fn at_once<F: Future>(future: F) -> Result<F::Output, Error> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(Error::Waited),
    }
}

fn classify(error: &wasmtime::Error, time: Duration) -> Error {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Error::TimedOut(time),
        Some(trap) => Error::Trapped(trap.to_string()),
        None => Error::Trapped(error.root_cause().to_string()),
    }
}
