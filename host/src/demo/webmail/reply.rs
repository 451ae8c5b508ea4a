//! The heads of answers: which headers each kind of answer carries.

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::body::Body;
use super::pages::Pages;
use super::session::COOKIE;

/// Pages use one style sheet and their own forms, and nothing else.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                              base-uri 'none'; frame-ancestors 'none'";

/// A page: never kept by anybody on the way.
pub(super) fn page(status: StatusCode, html: String) -> Response<Body> {
    make(
        status,
        Body::whole(html),
        [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY)),
            // The logout link carries a token in its query, which is nobody else's business.
            (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        ],
    )
}

/// An answer for a script.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    make(
        status,
        Body::whole(value.to_string()),
        [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ],
    )
}

/// A few plain words, for when not even a page can be made.
pub(super) fn plain(status: StatusCode, words: &'static str) -> Response<Body> {
    make(
        status,
        Body::whole(words),
        [
            (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ],
    )
}

/// Go on to `target`, which is local and graphic ASCII; anything else leads to the inbox.
pub(super) fn see_other(target: &str) -> Response<Body> {
    let target = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/inbox"));
    make(
        StatusCode::SEE_OTHER,
        Body::Whole(None),
        [(LOCATION, target), (CACHE_CONTROL, HeaderValue::from_static("no-store"))],
    )
}

/// The style sheet, or word that the client's copy is still good.
pub(super) fn style(pages: &Pages, headers: &HeaderMap) -> Response<Body> {
    let fresh = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == pages.style_tag())
    });
    let tag = HeaderValue::from_str(pages.style_tag()).unwrap_or(HeaderValue::from_static("\"\""));
    let (status, body) = if fresh {
        (StatusCode::NOT_MODIFIED, Body::Whole(None))
    } else {
        (StatusCode::OK, Body::whole(Pages::style()))
    };
    make(
        status,
        body,
        [
            (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
            (ETAG, tag),
        ],
    )
}

/// So many bytes of the known pattern.
pub(super) fn download(bytes: u64) -> Response<Body> {
    let name = HeaderValue::from_str(&format!("attachment; filename=\"sample-{bytes}.bin\""));
    make(
        StatusCode::OK,
        Body::download(bytes),
        [
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (CONTENT_DISPOSITION, name.unwrap_or(HeaderValue::from_static("attachment"))),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ],
    )
}

/// Server-sent events.
pub(super) fn events(node: &str) -> Response<Body> {
    make(
        StatusCode::OK,
        Body::ticks(node),
        [
            (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ],
    )
}

/// The same answer, which also says which methods would do.
pub(super) fn with_allow(mut response: Response<Body>, allow: &'static str) -> Response<Body> {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The same answer, which also sets our cookie to `id`; an empty id removes it.
pub(super) fn with_cookie(mut response: Response<Body>, id: &str) -> Response<Body> {
    let age = if id.is_empty() { "; Max-Age=0" } else { "" };
    if let Ok(value) = HeaderValue::from_str(&format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax{age}")) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

fn make<const N: usize>(status: StatusCode, body: Body, headers: [(HeaderName, HeaderValue); N]) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.headers_mut().extend(headers);
    response
}
