//! Requests and responses as the tests write and read them.

use crate::wire::Headers;
use std::fmt;
use std::io::Read;

/// What a request carries.
#[derive(Default)]
pub enum Body {
    /// Nothing, and no header about it.
    #[default]
    None,
    /// Bytes, with their Content-Length.
    Bytes(Vec<u8>),
    /// A stream, with a Content-Length when the length is given and chunked otherwise.
    Stream(Box<dyn Read + Send>, Option<u64>),
}

/// One request to send.
#[derive(Default)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
}

impl Request {
    /// A request without a body; the target is sent as it is.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    /// What it asks for.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Adds a header line. A `Host`, `Cookie`, `Content-Length` or `Connection` of one's own replaces the client's.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends these bytes with their length.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self
    }

    /// Sends what the reader gives while it gives it; chunked when the length is not known.
    #[must_use]
    pub fn stream(mut self, from: impl Read + Send + 'static, length: Option<u64>) -> Self {
        self.body = Body::Stream(Box::new(from), length);
        self
    }

    /// Sends these fields as an HTML form does.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let text: Vec<String> = fields.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        self.header("Content-Type", "application/x-www-form-urlencoded").body(text.join("&"))
    }
}

/// One response, with its body.
#[derive(Clone)]
pub struct Response {
    /// Method and absolute URL of the request that this answers.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// The whole status line.
    pub status_line: String,
    /// All header lines.
    pub headers: Headers,
    /// The body, as it came (chunks joined, nothing decompressed).
    pub body: Vec<u8>,
    /// Interim (1xx) answers that came before.
    pub interim: Vec<u16>,
    /// How many bytes of the request's body had been sent when the answer came.
    pub sent: u64,
    /// Path and query of the request.
    pub target: String,
}

impl Response {
    /// The first value of a header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// Fails with the whole response in the message unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(self.status == status, "expected status {status} of {self:?}");
        self
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.request, self.status_line)?;
        for (name, value) in &self.headers.0 {
            writeln!(f, "{name}: {value}")?;
        }
        let text = self.text();
        let shown: String = text.chars().take(2000).collect();
        write!(f, "\n{shown}{}", if shown.len() < text.len() { "…" } else { "" })
    }
}

/// Percent-encoding of a form's field.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out.push(b as char),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{b:02X}");
            }
        }
    }
    out
}
