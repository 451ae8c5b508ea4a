//! Looks at the beginning of a node's answer where the recipe says that only there it can be seen that a session is over:
//! the node has forgotten it, or it was a logout.
//!
//! Invariants: recipes that look at no bodies pay nothing; what was looked at goes to the browser byte for byte; no more
//! than the beginning is kept, and nobody waits for a body that comes slowly.

use std::collections::VecDeque;
use std::io::Read as _;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};

use super::body::{Begun, NodeBody};
use super::recipe::{Answered, Recipe};

/// So much of a body is looked at, as it is sent: a login page shows what it is within a few kilobytes.
const BEGINNING: usize = 32 << 10;
/// So much of it once it is unpacked.
const UNPACKED: u64 = 128 << 10;
/// A page that pauses for so long is none of those that are looked for, which are sent at once. Browsers show what has
/// come of it, so nobody must wait for longer.
const PATIENCE: Duration = Duration::from_millis(200);
/// Nobody can use the first half of JSON, so it is waited for, also where the node is busy. (Streams of JSON have types of
/// their own, such as `application/x-ndjson`.)
const PATIENCE_FOR_JSON: Duration = Duration::from_secs(10);
/// However often something comes, nobody waits for longer than this in all.
const WHOLE: Duration = Duration::from_secs(10);

/// The beginning of an answer's body as text; empty where nothing depends on it. The answer keeps all of it. `target` is
/// what was asked for.
pub async fn beginning(recipe: &Recipe, target: &Uri, response: &mut Response<NodeBody>) -> String {
    let (status, headers) = (response.status(), response.headers());
    let packed = is_packed(headers);
    if status == StatusCode::SWITCHING_PROTOCOLS
        || !is_text(headers)
        || packed.is_none()
        || !recipe.depends_on_body(target, &Answered::new(status, headers, ""))
    {
        return String::new();
    }
    let patience = if media_type(headers) == "application/json" { PATIENCE_FOR_JSON } else { PATIENCE };
    let body = response.body_mut();
    let (mut seen, read) = read(body, patience).await;
    body.begun = (!read.is_empty()).then(|| Box::new(Begun(read)));
    if packed == Some(true) {
        let mut plain = Vec::new();
        // It may end in the middle: what came out before counts.
        let _ = flate2::read::GzDecoder::new(&seen[..]).take(UNPACKED).read_to_end(&mut plain);
        seen = plain;
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// What comes of a body until there is enough of it, or a pause.
async fn read<B: Body<Data = Bytes> + Unpin>(body: &mut B, patience: Duration) -> (Vec<u8>, VecDeque<Frame<Bytes>>) {
    let end = Instant::now() + WHOLE;
    let (mut seen, mut read) = (Vec::new(), VecDeque::new());
    while seen.len() < BEGINNING && !body.is_end_stream() {
        match timeout_at(end.min(Instant::now() + patience), body.frame()).await {
            Ok(Some(Ok(frame))) => {
                seen.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
                read.push_back(frame);
            }
            // An end, a pause, or an error, which the browser's side meets again by itself.
            _ => break,
        }
    }
    (seen, read)
}

/// Asks a node for nothing that cannot be unpacked here, where its recipe looks at bodies.
pub fn narrow_encoding(recipe: &Recipe, headers: &mut HeaderMap) {
    if recipe.reads_bodies() {
        let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let gzip = accepts.is_some_and(|value| value.split(',').any(|coding| coding.trim() == "gzip"));
        let narrow = HeaderValue::from_static(if gzip { "gzip" } else { "identity" });
        headers.insert(header::ACCEPT_ENCODING, narrow);
    }
}

/// Whether the body is packed; none when it is in a way that is not understood here.
fn is_packed(headers: &HeaderMap) -> Option<bool> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Some(false),
        Some(b"gzip" | b"x-gzip") => Some(true),
        Some(_) => None,
    }
}

/// Pages and answers to scripts; not files, which a stranger may have attached to mail, nor streams of events.
fn is_text(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers);
    !is_file(headers) && (media_type == "text/html" || media_type == "text/plain" || media_type.ends_with("json"))
}

/// Whether the answer is to be saved, or has the name of a file (RFC 6266): no page of the webmail itself has.
fn is_file(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_DISPOSITION)
        .iter()
        .any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"inline"))
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use super::*;

    /// A blank every nine seconds, for ever.
    struct Dribble(Pin<Box<tokio::time::Sleep>>);

    impl Body for Dribble {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            ready!(self.0.as_mut().poll(cx));
            self.0 = Box::pin(tokio::time::sleep(Duration::from_secs(9)));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_in_drops_is_not_waited_for() {
        let begun = Instant::now();
        let mut body = Dribble(Box::pin(tokio::time::sleep(Duration::ZERO)));
        let (seen, frames) = read(&mut body, PATIENCE_FOR_JSON).await;
        assert_eq!((seen, frames.len(), begun.elapsed().as_secs()), (b"  ".to_vec(), 2, 10));
    }

    #[test]
    fn what_has_the_name_of_a_file_is_no_page() {
        for (disposition, file) in [
            (None, false),
            (Some("inline"), false),
            (Some(" Inline "), false),
            (Some("inline; filename=x.txt"), true),
            (Some("attachment"), true),
            (Some("Attachment; filename=x"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            headers.extend(disposition.map(|it| (header::CONTENT_DISPOSITION, HeaderValue::from_static(it))));
            assert_eq!(is_text(&headers), !file, "{disposition:?}");
        }
    }
}
