//! One living instance of a policy: started under caps, asked under a deadline, thrown away at the first error.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use doorward_vectors::Question;
use wasmtime::component::{ComponentType, Instance, Lift, Lower, TypedFunc};
use wasmtime::{Store, StoreContextMut, StoreLimitsBuilder, Trap, UpdateDeadline};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder};

use crate::answer::{Action, Answer, Destination, Form, HeaderRules, Mode, Verdict};
use crate::engine::{Running, TICK, run};
use crate::imports::{Ambient, Caps, Linked, Living, Source, interface};
use crate::trace::{Fact, Trace, Value};
use crate::words::{Said, Words};

/// A guest may keep the loader busy for so long: starting and `configure` parse tables, and are off the path.
const LOAD_TIME: Duration = Duration::from_millis(500);
/// Lines a guest may log in one call.
const LOG_LINES: u32 = 16;
/// Bytes that one host call may copy out of a guest: no fact's name and no log line is longer.
const HOSTCALL_BYTES: usize = 1 << 20;

/// Why a guest gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// It read what is not given: a record, or a test, lacks it.
    #[error("it read {0}, which is not given")]
    NotGiven(Fact),
    /// It refuses its settings.
    #[error("it refuses its settings")]
    Settings(Vec<Problem>),
    /// It is not the kind of component it should be.
    #[error("it does not answer the question: {0}")]
    WrongKind(String),
    /// It failed, and had said something before.
    #[error("{0}; it said: {1}")]
    Spoke(Box<Error>, Words),
    /// Its breaker is open, so it was not asked.
    #[error("it failed too often and is left alone for a while")]
    Open,
}

impl Error {
    /// What went wrong, without what the guest had to say: that may hold any fact, also one that records mask.
    pub fn cause(&self) -> &Self {
        if let Self::Spoke(error, _) = self { error } else { self }
    }

    /// What the guest said before it failed, line by line.
    pub fn words(&self) -> &[String] {
        if let Self::Spoke(_, words) = self { words.lines() } else { &[] }
    }

    /// The same error with what the guest said, where that may tell more.
    fn after(self, said: &Said) -> Self {
        match self {
            Self::TimedOut(_) | Self::Trapped(_) | Self::Waited | Self::Lied(_) => match said.words() {
                Some(words) => Self::Spoke(Box::new(self), words),
                None => self,
            },
            _ => self,
        }
    }
}

/// What a policy finds wrong in its settings.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Problem {
    /// Path below `settings`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// The one function of a question.
enum Ask {
    Access(TypedFunc<(), (Verdict,)>),
    Device(TypedFunc<(), (Option<Form>,)>),
    Template(TypedFunc<(Form,), (Option<String>,)>),
    AuthMode(TypedFunc<(), (Option<Mode>,)>),
    Filter(TypedFunc<(), (Action,)>),
    Route(TypedFunc<(), (Option<Destination>,)>),
}

/// A configured instance.
pub struct Guest {
    store: Store<Living>,
    ask: Ask,
    time: Duration,
    wasi: bool,
    headers: HeaderRules,
}

/// What an instance is started with.
pub struct Start<'a> {
    /// The linked component.
    pub linked: &'a Linked,
    /// The policy's name.
    pub name: &'a str,
    /// Its question.
    pub question: Question,
    /// The version it was built against.
    pub version: &'a str,
    /// Its settings as JSON.
    pub settings: &'a str,
    /// Memory cap in bytes.
    pub memory: u64,
    /// Time cap of a call.
    pub time: Duration,
    /// Whether it needs WASI.
    pub wasi: bool,
    /// Which headers its answer may have.
    pub headers: HeaderRules,
}

impl Guest {
    /// Instantiates and configures.
    ///
    /// # Errors
    /// Whatever the guest did wrong, settings included.
    pub fn start(start: &Start<'_>) -> Result<Self, Error> {
        let (mut store, instance) = instantiate(start)?;
        configure(&mut store, &instance, start).map_err(|error| error.after(&store.data().said))?;
        let (name, version) = (start.question.name(), start.version);
        let at = (&instance, &mut store);
        let ask = match start.question {
            Question::Access => Ask::Access(export(at.0, at.1, name, "check", version)?),
            Question::Device => Ask::Device(export(at.0, at.1, name, "classify", version)?),
            Question::Template => Ask::Template(export(at.0, at.1, name, "select", version)?),
            Question::AuthMode => Ask::AuthMode(export(at.0, at.1, name, "decide", version)?),
            Question::Filter => Ask::Filter(export(at.0, at.1, name, "decide", version)?),
            Question::Route => Ask::Route(export(at.0, at.1, name, "decide", version)?),
        };
        Ok(Self { store, ask, time: start.time, wasi: start.wasi, headers: start.headers })
    }

    /// Bytes that its memories may still grow by.
    pub fn memory_left(&self) -> usize {
        self.store.data().limits.memory_left
    }

    /// The JSON Schema of its settings, of an instance that is made for this alone.
    ///
    /// # Errors
    /// Whatever the guest did wrong.
    pub fn schema(start: &Start<'_>) -> Result<String, Error> {
        let (mut store, instance) = instantiate(start)?;
        let schema: TypedFunc<(), (String,)> = export(&instance, &mut store, "settings", "schema", start.version)?;
        let _running = arm(&mut store, LOAD_TIME);
        call(&mut store, &schema, (), LOAD_TIME, start.wasi).map_err(|error| error.after(&store.data().said))
    }

    /// What it said in its last call.
    pub fn words(&self) -> Option<Words> {
        self.store.data().said.words()
    }

    /// Puts its question. After an error it must not be used again. What it read comes back either way.
    pub fn ask(&mut self, source: Source) -> (Result<Answer, Error>, Trace) {
        let living = self.store.data_mut();
        living.log_lines = LOG_LINES;
        living.begin(source, self.wasi);
        let _running = arm(&mut self.store, self.time);
        let answer = self.call();
        let living = self.store.data_mut();
        let trace = living.end();
        let answer = match living.missing.take() {
            Some(fact) => Err(Error::NotGiven(fact)),
            None => answer
                .and_then(|answer| answer.checked(self.headers).map_err(Error::Lied))
                .map_err(|error| error.after(&living.said)),
        };
        (answer, trace)
    }

    fn call(&mut self) -> Result<Answer, Error> {
        let (store, time, wasi) = (&mut self.store, self.time, self.wasi);
        match &self.ask {
            Ask::Access(function) => call(store, function, (), time, wasi).map(Answer::Access),
            Ask::Device(function) => call(store, function, (), time, wasi).map(Answer::Device),
            Ask::Template(function) => {
                // The parameter is a fact like any other: what comes of it depends on it.
                let form = match store.data_mut().read(Fact::Form) {
                    Ok(Value::Form(form)) => form,
                    Ok(_) => Form::Desktop,
                    Err(error) => return Err(classify(&error, time)),
                };
                call(store, function, (form,), time, wasi).map(Answer::Template)
            }
            Ask::AuthMode(function) => call(store, function, (), time, wasi).map(Answer::AuthMode),
            Ask::Filter(function) => call(store, function, (), time, wasi).map(Answer::Filter),
            Ask::Route(function) => call(store, function, (), time, wasi).map(Answer::Route),
        }
    }
}

fn instantiate(start: &Start<'_>) -> Result<(Store<Living>, Instance), Error> {
    let mut store = Store::new(start.linked.0.engine(), living(start));
    store.limiter(|living| &mut living.limits);
    store.epoch_deadline_callback(at_deadline);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(1000);
    let _running = arm(&mut store, LOAD_TIME);
    let instance = if start.wasi {
        at_once(start.linked.0.instantiate_async(&mut store))
            .and_then(|done| done.map_err(|error| classify(&error, LOAD_TIME)))
    } else {
        start.linked.0.instantiate(&mut store).map_err(|error| classify(&error, LOAD_TIME))
    };
    let instance = instance.map_err(|error| error.after(&store.data().said))?;
    Ok((store, instance))
}

/// Hands an instance its settings.
fn configure(store: &mut Store<Living>, instance: &Instance, start: &Start<'_>) -> Result<(), Error> {
    let configure: TypedFunc<(String,), (Result<(), Vec<Problem>>,)> =
        export(instance, store, "settings", "configure", start.version)?;
    let _running = arm(store, LOAD_TIME);
    let settings = (start.settings.to_owned(),);
    call(store, &configure, settings, LOAD_TIME, start.wasi)?.map_err(Error::Settings)
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
    let (ambient, said) = (Arc::new(Ambient::default()), Said::default());
    Living {
        source: None,
        trace: Trace::default(),
        missing: None,
        name: start.name.to_owned(),
        limits: Caps { each, memory_left },
        deadline: Deadline::default(),
        log_lines: LOG_LINES,
        wasi: empty_wasi(&ambient, &said),
        said,
        table: ResourceTable::new(),
        ambient,
    }
}

/// A WASI without files, network, arguments or input. Its clocks and dice are those of the decision; what is written is
/// kept for when the guest fails.
fn empty_wasi(ambient: &Arc<Ambient>, said: &Said) -> WasiCtx {
    WasiCtxBuilder::new()
        .stdout(said.clone())
        .stderr(said.clone())
        .wall_clock(Clock(ambient.clone()))
        .monotonic_clock(Clock(ambient.clone()))
        .secure_random(Dice(ambient.clone()))
        .insecure_random(Dice(ambient.clone()))
        .insecure_random_seed(4)
        .max_random_size(4096)
        .build()
}

struct Clock(Arc<Ambient>);

impl wasmtime_wasi::HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.now())
    }
}

impl wasmtime_wasi::HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }
    fn now(&self) -> u64 {
        self.0.now().saturating_mul(1_000_000_000)
    }
}

struct Dice(Arc<Ambient>);

impl rand_core::TryRng for Dice {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|number| u32::try_from(number >> 32).unwrap_or_default())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.random())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.random().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A typed function of an exported interface.
fn export<P, R>(
    instance: &Instance,
    store: &mut Store<Living>,
    at: &str,
    name: &str,
    version: &str,
) -> Result<TypedFunc<P, R>, Error>
where
    P: wasmtime::component::ComponentNamedList + Lower,
    R: wasmtime::component::ComponentNamedList + Lift,
{
    let wanted = interface(at, version);
    let missing = || Error::WrongKind(format!("it does not export {wanted}#{name}"));
    let at = instance.get_export_index(&mut *store, None, &wanted).ok_or_else(missing)?;
    let function = instance.get_export_index(&mut *store, Some(&at), name).ok_or_else(missing)?;
    instance.get_typed_func(store, function).map_err(|error| Error::WrongKind(format!("{error:#}")))
}

fn call<P, R>(
    store: &mut Store<Living>,
    function: &TypedFunc<P, (R,)>,
    parameters: P,
    time: Duration,
    wasi: bool,
) -> Result<R, Error>
where
    P: wasmtime::component::ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentType + Lift + Send + Sync + 'static,
{
    invoke(store, function, parameters, wasi)?.map(|(answer,)| answer).map_err(|error| classify(&error, time))
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

/// A call's time: of the CPU, so that whether a policy answers in time does not depend on what else the machine does; and
/// by the clock ten times as much, since its worker waits for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadline {
    time: Duration,
    /// The CPU time of its thread when it was first looked at, and epochs since. Most calls are over by then, and pay
    /// nothing for it.
    seen: Option<(Duration, u64)>,
}

/// So many times its time a call may take by the clock.
const PATIENCE: u64 = 10;

impl Deadline {
    fn new(time: Duration) -> Self {
        Self { time, seen: None }
    }

    /// What comes of a call at an epoch: none where its time is over, else so many epochs until the next look.
    fn look(&mut self, cpu: Duration) -> Option<u64> {
        let epochs = |time: Duration| u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX);
        // The first epoch was over before anybody looked.
        let (first, passed) = *self.seen.get_or_insert((cpu.saturating_sub(TICK), 1));
        let left = self.time.saturating_sub(cpu.saturating_sub(first));
        if left.is_zero() || passed >= epochs(self.time).saturating_mul(PATIENCE) {
            return None;
        }
        self.seen = Some((first, passed.saturating_add(epochs(left))));
        Some(epochs(left))
    }
}

/// Sets the deadline, which holds while the result lives. The first look is after an epoch; the current one is partly over.
#[must_use]
fn arm(store: &mut Store<Living>, time: Duration) -> Running {
    store.data_mut().deadline = Deadline::new(time);
    store.set_epoch_deadline(2);
    run()
}

/// Called when an epoch ends that is a call's deadline.
fn at_deadline(mut store: StoreContextMut<'_, Living>) -> wasmtime::Result<UpdateDeadline> {
    use rustix::time::{ClockId, clock_gettime};
    // The clock of a thread never fails, and never shows less than nothing.
    let cpu = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or(Duration::MAX);
    Ok(store.data_mut().deadline.look(cpu).map_or(UpdateDeadline::Interrupt, UpdateDeadline::Continue))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_time_of_the_cpu_however_long_it_waits_for_it() {
        let ms = Duration::from_millis;
        let mut busy = Deadline::new(ms(10));
        assert_eq!(busy.look(ms(501)), Some(9), "one is over");
        assert_eq!(busy.look(ms(510)), None, "it had the CPU for itself");
        let mut waits = Deadline::new(ms(10));
        assert_eq!(waits.look(ms(501)), Some(9));
        assert_eq!(waits.look(ms(503)), Some(7), "it had two of nine");
        assert_eq!(waits.look(Duration::from_micros(509_500)), Some(1));
        assert_eq!(waits.look(ms(510)), None);
        let mut starves = Deadline::new(ms(10));
        let epochs: u64 = std::iter::from_fn(|| starves.look(ms(500))).sum();
        assert!((90..110).contains(&epochs), "{epochs}: its worker waits no longer");
    }
}
