//! Events of the code, as `tracing` has them, on their way to the targets.
//!
//! Invariant: of libraries only warnings and errors are told. What they say besides is their frames, and may have what was
//! typed in it.

use std::fmt::Debug;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use super::central;
use super::entry::{Entry, Value};
use crate::config::{Level, LogKind};

/// What takes the events of the code.
pub(super) struct Events;

/// The kind of an event, by where it is in the code or by what it says itself; none where nobody may see it.
pub(super) fn kind(metadata: &Metadata<'_>) -> Option<LogKind> {
    let (target, level) = (metadata.target(), level(metadata));
    if let Some(kind) = LogKind::ALL.into_iter().find(|kind| kind.name() == target) {
        return Some(kind);
    }
    let Some(rest) = target.strip_prefix("doorward") else {
        return (level <= Level::Warn).then_some(LogKind::Server);
    };
    let module = rest.trim_start_matches("::").split("::").next().unwrap_or_default();
    Some(match module {
        "_engine" | "policy" => LogKind::Policy,
        "door" | "back" | "directory" | "http1" if level == Level::Debug => LogKind::Protocol,
        _ => LogKind::Server,
    })
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

impl Events {
    fn wants(metadata: &Metadata<'_>) -> bool {
        let wanted = kind(metadata).and_then(|kind| central::outlets().level(kind));
        // Nothing is told below the level of debugging.
        *metadata.level() != tracing::Level::TRACE && wanted.is_some_and(|wanted| level(metadata) <= wanted)
    }
}

impl Subscriber for Events {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && Self::wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && Self::wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let wanted = LogKind::ALL.into_iter().filter_map(|kind| central::outlets().level(kind)).max();
        Some(wanted.map_or(LevelFilter::OFF, |wanted| match wanted {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        }))
    }

    fn event(&self, event: &Event<'_>) {
        let Some(kind) = kind(event.metadata()) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, message) = (level(event.metadata()), &fields.message);
        central::outlets().write(&Entry { time: SystemTime::now(), level, kind, message, fields: &fields.all });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // There are none.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of an event, and its message.
#[derive(Default)]
struct Fields {
    message: String,
    all: Vec<(&'static str, Value<'static>)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value<'static>) {
        self.all.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // The words of the code come by `record_debug`; a text of this name is somebody else's.
        self.add(field, Value::Quoted(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Number(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Signed(value));
    }

    // Durations are counted in these.
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.add(field, Value::Number(u64::try_from(value).unwrap_or(u64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Flag(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, Value::Owned(format!("{value:?}"))),
        }
    }
}
