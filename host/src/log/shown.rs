//! The end of an exchange, for people who watch.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value as Json, json};

use super::access::Line;
use crate::feed::Show;
use crate::session::Session;
use crate::times::since_1970;

/// An exchange that ended.
pub struct Shown {
    /// What it was.
    pub line: Line,
    /// When it ended.
    pub time: SystemTime,
}

impl Show for Shown {
    fn request(&self) -> Option<Arc<str>> {
        Some(self.line.id.as_str().into())
    }

    fn show(&self) -> Json {
        let line = &self.line;
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let mut json = line.to_json();
        json["time"] = json!(since_1970(self.time).as_secs_f64());
        json["user"] = json!(line.session.as_deref().map(Session::user));
        json["user-agent"] = json!(text(line.user_agent()));
        json["referrer"] = json!(text(line.referrer()));
        json
    }
}
