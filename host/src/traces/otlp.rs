//! A finished trace, and many of them as OTLP writes them down in JSON.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use super::context::random;
use super::{Context, Span, Trace};
use crate::text::hex;
use crate::times::since_1970;

/// So many bytes of what a client wrote are told.
const TEXT_SIZE: usize = 1 << 10;

/// The kind of a span that serves a request (OTLP: `SPAN_KIND_SERVER`), of one that asks somebody (`_CLIENT`), and of all
/// others (`_INTERNAL`).
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const INTERNAL: u8 = 1;

/// A trace that came to its end.
pub struct Finished {
    context: Context,
    spans: Vec<Span>,
    ended: SystemTime,
    took: Duration,
    attributes: Vec<(&'static str, Json)>,
    name: String,
    has_failed: bool,
}

impl Finished {
    /// A trace as it is at its end.
    pub fn new(trace: &Rc<Trace>, took: Duration, name: String, has_failed: bool) -> Self {
        let (context, spans) = (*trace.context(), trace.take());
        Self { context, spans, ended: SystemTime::now(), took, attributes: Vec::new(), name, has_failed }
    }

    /// With something that is known of the request.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        let value = match value.into() {
            Json::String(text) if text.is_empty() => return self,
            Json::String(text) => Json::String(text[..text.floor_char_boundary(TEXT_SIZE)].to_owned()),
            value => value,
        };
        self.attributes.push((name, value));
        self
    }

    /// Its spans.
    fn spans(&self) -> Vec<Json> {
        let ended = since_1970(self.ended);
        let began = ended.saturating_sub(self.took);
        let ids: Vec<[u8; 8]> = self.spans.iter().map(|_| random().max(1).to_be_bytes()).collect();
        let mut root = span((self.context, self.context.span, self.context.parent), &self.name, SERVER, (began, ended));
        root["attributes"] = attributes(self.attributes.iter().cloned());
        root["status"] = if self.has_failed { json!({"code": 2}) } else { json!({}) };
        let mut all = vec![root];
        let mut last = Duration::ZERO;
        for (of, id) in self.spans.iter().zip(&ids) {
            // What nobody looked at a clock for came right after what was there before.
            let from = of.from.unwrap_or(last);
            last = from + of.took;
            let parent = of.parent.and_then(|parent| ids.get(parent).copied()).unwrap_or(self.context.span);
            let label = of.label.as_str();
            let name = if label.is_empty() { of.kind.to_owned() } else { format!("{} {label}", of.kind) };
            let kind = if matches!(of.kind, "node" | "directory") { CLIENT } else { INTERNAL };
            let times = (began + from, began + last);
            let mut one = span((self.context, *id, Some(parent)), &name, kind, times);
            let mut told = vec![("doorward.kind", json!(of.kind))];
            match of.kind {
                "policy" => told.push(("doorward.cached", json!(of.result == "cached"))),
                _ if of.result.is_empty() => {}
                _ => told.push(("doorward.result", json!(of.result))),
            }
            one["attributes"] = attributes(told);
            if matches!(of.result, "failed" | "silent") {
                one["status"] = json!({"code": 2});
            }
            all.push(one);
        }
        all
    }
}

fn span(
    (context, id, parent): (Context, [u8; 8], Option<[u8; 8]>),
    name: &str,
    kind: u8,
    (began, ended): (Duration, Duration),
) -> Json {
    json!({
        "traceId": hex(&context.trace),
        "spanId": hex(&id),
        "parentSpanId": parent.map(|parent| hex(&parent)).unwrap_or_default(),
        "name": name,
        "kind": kind,
        // 64-bit numbers are texts in Protobuf's JSON.
        "startTimeUnixNano": began.as_nanos().to_string(),
        "endTimeUnixNano": ended.as_nanos().to_string(),
    })
}

fn attributes(attributes: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    let one = |(key, value): (&str, Json)| {
        let value = match value {
            Json::String(text) => json!({"stringValue": text}),
            Json::Bool(flag) => json!({"boolValue": flag}),
            number => json!({"intValue": number.to_string()}),
        };
        json!({"key": key, "value": value})
    };
    attributes.into_iter().map(one).collect()
}

/// Many traces as one message (`ExportTraceServiceRequest`).
pub(super) fn message(traces: &[Finished]) -> Json {
    let spans: Vec<Json> = traces.iter().flat_map(Finished::spans).collect();
    let resource = [("service.name", json!("doorward")), ("service.version", json!(env!("CARGO_PKG_VERSION")))];
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes(resource)},
        "scopeSpans": [{"scope": {"name": "doorward"}, "spans": spans}],
    }]})
}
