//! The end of an exchange, for people who watch.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value as Json, json};

use super::access::Line;
use crate::feed::Show;
use crate::times::{millis, since_1970};

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
        let session = line.session.as_deref();
        json!({
            "id": line.id.as_str(), "time": since_1970(self.time).as_secs_f64(),
            "client": line.peer.address.to_string(), "listener": line.peer.listener, "tls": line.tls(),
            "protocol": line.protocol(), "site": line.site.as_deref(), "host": line.host.as_deref(),
            "method": line.method().map(hyper::Method::as_str), "path": line.path(), "status": line.status,
            "received": line.received, "sent": line.sent, "queue-ms": millis(line.queue),
            "node-ms": line.first_byte.map(millis), "ms": millis(line.took), "ended": line.ended.name(),
            "user": session.map(|session| session.user()), "node": session.map(|session| session.backend()),
            "generation": line.generation, "user-agent": text(line.user_agent()), "referrer": text(line.referrer()),
        })
    }
}
