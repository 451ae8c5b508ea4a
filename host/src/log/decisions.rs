//! Records of decisions on their way to the targets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::central;
use super::entry::{Entry, Value};
use crate::config::{Level, LogKind};
use crate::policy::Taker;

/// Takes records of decisions for the log.
pub struct Decisions;

impl Taker for Decisions {
    fn wants(&self) -> bool {
        central::wants_decisions()
    }

    /// A target of JSON gets the record as it is, so that it can be replayed; others get what people read of it.
    fn take(&self, record: &Json) {
        let text = |key: &str| match &record[key] {
            Json::Null => Value::None,
            Json::String(text) => Value::Quoted(text.clone()),
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => Value::number(number.as_u64()),
            other => Value::Quoted(other.to_string()),
        };
        let request = match &record["request"] {
            Json::String(id) => Value::Owned(id.clone()),
            _ => Value::None,
        };
        let fields = [
            ("id", request),
            ("policy", text("policy")),
            ("asks", text("asks")),
            ("verdict", text("verdict")),
            ("error", text("error")),
            ("site", text("site")),
            ("cached", text("cached")),
            ("us", text("us")),
            ("generation", text("generation")),
            ("digest", text("digest")),
            ("live", text("live")),
            ("reads", text("reads")),
        ];
        let since = Duration::try_from_secs_f64(record["time"].as_f64().unwrap_or_default()).unwrap_or_default();
        let time = UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now);
        let entry = Entry { time, level: Level::Info, kind: LogKind::Decision, message: "decision", fields: &fields };
        central::outlets().write_decision(&record.to_string(), &entry);
    }
}
