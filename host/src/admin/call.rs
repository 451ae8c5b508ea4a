//! What a verb is called with, and what it answers: the same for the socket, the API and the page.

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};

use super::caller::Caller;
use crate::control::Handle;
use crate::proxy::Error;

/// A verb that somebody wants done. The caller's role was compared with the table already.
pub struct Call {
    /// Who wants it.
    pub caller: Caller,
    /// What he said besides, by name: only what the verb's row has.
    pub parameters: Vec<(String, String)>,
    /// What he sent: a file that is uploaded, say. Most verbs take none.
    pub body: Bytes,
    /// What is asked and told.
    pub control: Handle,
}

impl Call {
    /// A parameter's value; none where it is not there.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// 2xx where it was done.
    pub status: StatusCode,
    /// What is told.
    pub content: Content,
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// For programs, and for the page to show.
    Json(Json),
    /// A text of this kind (`Content-Type`).
    Text(&'static str, String),
}

impl Answer {
    /// It was done, or this is what was asked for.
    pub const fn told(json: Json) -> Self {
        Self { status: StatusCode::OK, content: Content::Json(json) }
    }

    /// It was done: one thing to tell.
    pub fn done(what: &str, value: impl Into<Json>) -> Self {
        Self::told(json!({what: value.into()}))
    }

    /// It was not done, and nothing has changed.
    pub fn refused(status: StatusCode, why: impl std::fmt::Display) -> Self {
        Self { status, content: Content::Json(json!({"error": why.to_string()})) }
    }

    /// The same, with what is asked for: `reason`, or `password`.
    #[must_use]
    pub fn asking(mut self, what: &str) -> Self {
        if let Content::Json(told) = &mut self.content {
            told["needs"] = what.into();
        }
        self
    }

    /// A command that changed nothing, and why.
    pub fn failed(error: &Error) -> Self {
        match error {
            Error::Faults(faults) => Self {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                content: Content::Json(json!({"error": faults.to_string(), "faults": faults.0})),
            },
            Error::Ending => Self::refused(StatusCode::SERVICE_UNAVAILABLE, error),
            error => Self::refused(StatusCode::CONFLICT, error.with_source()),
        }
    }

    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.status.is_success()
    }
}
