//! Traces: what a request spent its time on, told to a collector (OpenTelemetry).
//!
//! Invariants: without `[traces]` nothing is noted down, and a request costs one look at a thread's variable where it
//! might be. Whether a trace is sent is decided at its end. No worker waits for a collector, and what finds no room is
//! counted. A client's context is believed only where a trusted proxy hands it over.

mod context;
mod export;
mod otlp;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::HeaderMap;

pub use context::{Context, is_of_traces};
pub use export::{Exporter, Settings};
pub use otlp::Finished;

/// A request with more steps than that has its first ones told.
const SPANS: usize = 64;

/// Something that has a name in the configuration.
pub trait Named: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
}

/// What a span is about.
pub enum Label {
    /// A policy or a node.
    Named(Arc<dyn Named>),
    /// Something else.
    Text(String),
}

impl Label {
    fn as_str(&self) -> &str {
        match self {
            Self::Named(named) => named.name(),
            Self::Text(text) => text,
        }
    }
}

/// A step of a request.
pub struct Span {
    /// What it is: `policy`, `directory`, `queue`, `node`, `recipe-step`.
    pub kind: &'static str,
    /// What it is about.
    pub label: Label,
    /// When it began, after the request did. None where nobody looked at a clock: it took no time worth one.
    from: Option<Duration>,
    took: Duration,
    /// How it ended, in a word; for a policy, whether its answer was remembered.
    pub result: &'static str,
    parent: Option<usize>,
}

/// What is noted down of one request.
pub struct Trace {
    context: Context,
    since: Instant,
    spans: RefCell<Vec<Span>>,
    inside: Cell<Option<usize>>,
    /// It waits for news, and may take as long as there are none.
    patient: Cell<bool>,
}

thread_local! {
    /// The trace of the request that this thread is at work on.
    static CURRENT: RefCell<Option<Rc<Trace>>> = const { RefCell::new(None) };
}

impl Trace {
    /// Begins one: in the context that a trusted proxy handed over, or in one of its own.
    pub fn begin(since: Instant, trusted: Option<&HeaderMap>, settings: &Settings) -> Rc<Self> {
        let context = trusted.and_then(Context::of).unwrap_or_else(|| Context::new(settings.sample));
        Rc::new(Self {
            context: context.next(),
            since,
            spans: RefCell::default(),
            inside: Cell::new(None),
            patient: Cell::new(false),
        })
    }

    /// What nodes are told.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether it takes as long as there are no news.
    pub fn is_patient(&self) -> bool {
        self.patient.get()
    }

    fn add(&self, span: Span) -> usize {
        let mut spans = self.spans.borrow_mut();
        if spans.len() < SPANS {
            spans.push(Span { parent: self.inside.get(), ..span });
        }
        spans.len() - 1
    }

    /// Takes its steps out.
    fn take(&self) -> Vec<Span> {
        self.spans.take()
    }
}

/// Does something at work on a request.
pub fn at<T>(trace: Option<&Rc<Trace>>, work: impl FnOnce() -> T) -> T {
    let Some(trace) = trace else { return work() };
    let before = CURRENT.replace(Some(trace.clone()));
    let done = work();
    CURRENT.set(before);
    done
}

/// The same with what has to be waited for.
pub fn within<T>(trace: Rc<Trace>, mut work: Pin<Box<dyn Future<Output = T>>>) -> impl Future<Output = T> {
    std::future::poll_fn(move |cx| at(Some(&trace), || work.as_mut().poll(cx)))
}

/// Notes a step down that began then and ends now, if anybody wants to know.
pub fn note(kind: &'static str, result: &'static str, began: Option<Instant>, label: impl FnOnce() -> Label) {
    CURRENT.with_borrow(|current| {
        let Some(trace) = current else { return };
        let from = began.map(|began| began.saturating_duration_since(trace.since));
        let took = began.map_or(Duration::ZERO, |began| began.elapsed());
        trace.add(Span { kind, label: label(), from, took, result, parent: None });
    });
}

/// The same with how long it took.
pub fn note_wait(kind: &'static str, took: Duration, label: impl FnOnce() -> Label) {
    CURRENT.with_borrow(|current| {
        let Some(trace) = current else { return };
        let from = Some(trace.since.elapsed().saturating_sub(took));
        trace.add(Span { kind, label: label(), from, took, result: "", parent: None });
    });
}

/// The request waits for news.
pub fn is_patient() {
    CURRENT.with_borrow(|current| {
        if let Some(trace) = current {
            trace.patient.set(true);
        }
    });
}

/// A step that has steps of its own, until this is dropped.
pub struct Step(Option<(Rc<Trace>, usize, Option<usize>)>);

/// Begins such a step.
pub fn step(kind: &'static str, label: impl FnOnce() -> Label) -> Step {
    CURRENT.with_borrow(|current| {
        let Some(trace) = current else { return Step(None) };
        let from = Some(trace.since.elapsed());
        let number = trace.add(Span { kind, label: label(), from, took: Duration::ZERO, result: "", parent: None });
        Step(Some((trace.clone(), number, trace.inside.replace(Some(number)))))
    })
}

impl Drop for Step {
    fn drop(&mut self) {
        let Some((trace, number, outside)) = self.0.take() else { return };
        trace.inside.set(outside);
        if let Some(span) = trace.spans.borrow_mut().get_mut(number) {
            span.took = trace.since.elapsed().saturating_sub(span.from.unwrap_or_default());
        }
    }
}
