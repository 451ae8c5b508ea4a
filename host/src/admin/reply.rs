//! Answers at the admin address and the admin socket, and the headers that each of them has.

use std::convert::Infallible;

use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::call::{Answer, Content};

/// What is sent: a text, or what comes as it happens.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer on its way.
pub type Reply = Response<Body>;

/// Nothing from elsewhere, nothing inline, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every answer has. `same-origin`, and not `no-referrer`, for with that one browsers send `Origin: null` with our own
/// forms (Fetch, "append a request Origin header"); either way no other site learns an address of ours.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// An answer of this kind (`Content-Type`).
pub fn of_kind(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// A page.
pub fn html(status: StatusCode, page: String) -> Reply {
    of_kind(status, "text/html; charset=utf-8", page)
}

/// Leads to another path of ours, after a form was taken.
pub fn see_other(to: &str) -> Reply {
    let mut reply = of_kind(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    reply.headers_mut().insert(LOCATION, to);
    reply
}

/// What a verb answered, for programs.
pub fn of_answer(answer: Answer) -> Reply {
    match answer.content {
        Content::Json(json) => of_kind(answer.status, "application/json", format!("{json}\n")),
        Content::Text(kind, text) => of_kind(answer.status, kind, text),
    }
}

/// The same with the headers that every answer has.
pub(super) fn guarded(mut reply: Reply) -> Reply {
    for (name, value) in HEADERS {
        // Whoever knows better says it himself: a picture may be kept, say.
        reply.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    reply
}
