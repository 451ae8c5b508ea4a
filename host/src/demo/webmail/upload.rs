//! An attachment on its way in: read as it comes, measured and hashed, never held whole.

use crate::text::hex;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, EXPECT};
use hyper::{Request, Response, StatusCode};
use minijinja::{Value, context};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::body::Body;
use super::{Node, is_bodyless, reply, text, wants_json};
use doorward_wire::multipart::{self, Event, Parser};

/// The largest attachment: 64 MiB, above what mail servers commonly take. Tests of this module do with less, for an
/// unoptimized build takes seconds to hash as much.
pub(super) const MAX_FILE: u64 = if cfg!(test) { 1024 * 1024 } else { 64 * 1024 * 1024 };

/// The longest silence in the middle of an upload.
const SILENCE: Duration = Duration::from_secs(30);

/// What is read and thrown away, so that the client comes to see our answer instead of a broken connection.
const MAX_DISCARD: usize = 128 * 1024 * 1024;

/// How long that may take in all.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(20);

/// Why an upload is refused.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the file is larger than 64 MiB")]
    TooLarge,
    #[error("the form is not multipart/form-data with a file in it")]
    NoFile,
    #[error("the form is malformed")]
    Form(#[source] multipart::Error),
    #[error("the upload was cut short")]
    CutShort,
}

/// What is known of the file so far.
#[derive(Default)]
struct File {
    name: Option<String>,
    size: u64,
    sum: Sha256,
    inside: bool,
}

impl Node {
    /// Takes the file of the form's field `file` and reports what arrived.
    pub(super) async fn upload(&self, frame: Value, mut request: Request<Incoming>) -> Response<Body> {
        let as_json = wants_json(request.headers());
        let outcome = take(&mut request).await;
        let (name, size, sum) = match outcome {
            Ok(file) => (file.name.unwrap_or_default(), file.size, hex(&file.sum.finalize())),
            Err(error) => {
                discard(request).await;
                let status = match error {
                    Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    Error::CutShort => StatusCode::REQUEST_TIMEOUT,
                    Error::NoFile | Error::Form(_) => StatusCode::BAD_REQUEST,
                };
                tracing::debug!(node = self.name, error = &error as &dyn std::error::Error, "upload refused");
                return if as_json {
                    reply::json(status, &json!({"error": error.to_string()}))
                } else {
                    self.problem(status, &format!("Nothing was kept: {error}."))
                };
            }
        };
        if as_json {
            reply::json(StatusCode::OK, &json!({"name": name, "size": size, "sha256": sum}))
        } else {
            self.pages.show(StatusCode::OK, "uploaded.html", context! { name, size, sum, ..frame })
        }
    }
}

/// Reads the form to its end.
async fn take(request: &mut Request<Incoming>) -> Result<File, Error> {
    let boundary = text(request.headers(), &CONTENT_TYPE).and_then(multipart::boundary).ok_or(Error::NoFile)?;
    let mut parser = Parser::new(&boundary);
    let mut file = File::default();
    while let Some(data) = next(request.body_mut()).await? {
        parser.push(&data, &mut |event| file.note(event)).map_err(Error::Form)?;
        if file.size > MAX_FILE {
            return Err(Error::TooLarge);
        }
    }
    if !parser.is_done() {
        return Err(Error::CutShort);
    }
    if file.name.is_none() { Err(Error::NoFile) } else { Ok(file) }
}

impl File {
    /// Only the first part called `file` counts.
    fn note(&mut self, event: Event<'_>) {
        match event {
            Event::Part { field, file } => {
                self.inside = field == "file" && self.name.is_none();
                if self.inside {
                    self.name = Some(file);
                }
            }
            Event::Data(bytes) if self.inside => {
                self.size += bytes.len() as u64;
                self.sum.update(bytes);
            }
            Event::Data(_) => {}
        }
    }
}

/// The next bytes of a body, `None` at its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) | Err(_) => return Err(Error::CutShort),
        }
    }
}

/// Reads what is left of a request and forgets it, within bounds. A client that waits for our leave is not asked.
pub(super) async fn discard(mut request: Request<Incoming>) {
    if is_bodyless(request.method()) || request.headers().contains_key(EXPECT) {
        return;
    }
    let mut left = MAX_DISCARD;
    let drain = async {
        while let Ok(Some(data)) = next(request.body_mut()).await {
            left = left.saturating_sub(data.len());
            if left == 0 {
                return;
            }
        }
    };
    // Past the deadline the connection closes, which is all that can be done with such a client.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, drain).await;
}
