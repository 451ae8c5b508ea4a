//! A request of its head: the bytes were read and found good, and are taken apart here.
//!
//! Pure.

use std::ops::Range;

use doorward_wire::http1::{HeadError, Limits, Place, Places};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri, Version};

use crate::config::Http;
use crate::reply::Refusal;

const NO_TARGET: Refusal = Refusal::BadRequest("its target is no address");
const NO_HEADER: Refusal = Refusal::BadRequest("a header cannot be one");

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(how) => Self::BadRequest(how),
            HeadError::Method => Self::MethodRefused,
            HeadError::Encoding => Self::EncodingRefused,
            HeadError::Version => Self::VersionRefused,
            HeadError::UriTooLong(limit) => Self::UriTooLong(limit as u64),
            HeadError::HeadersTooLarge(limit) => Self::HeadersTooLarge(limit as u64),
            HeadError::TooManyHeaders(limit) => Self::TooManyHeaders(limit as u64),
        }
    }
}

/// The limits of heads that the configuration has.
pub fn limits_of(http: &Http) -> Limits {
    let bounded = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Limits {
        uri: bounded(http.uri_max_size),
        headers: bounded(http.headers_max_size),
        count: bounded(http.headers_max_count),
    }
}

/// The request that a head says. Its values are parts of the head's bytes.
///
/// # Errors
/// What the reader lets pass and a URI cannot be, or a header name that is too long.
pub fn request_of<B>(bytes: &Bytes, places: &Places, body: B) -> Result<Request<B>, Refusal> {
    let part = |place: &Range<usize>| bytes.get(place.clone()).unwrap_or_default();
    let shared = |place: &Range<usize>| bytes.slice(place.clone());
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(part(&places.method)).map_err(|_| Refusal::MethodRefused)?;
    *request.uri_mut() = Uri::from_maybe_shared(shared(&places.target)).map_err(|_| NO_TARGET)?;
    *request.version_mut() = if places.modern { Version::HTTP_11 } else { Version::HTTP_10 };
    *request.headers_mut() = headers_of(bytes, &places.headers).ok_or(NO_HEADER)?;
    Ok(request)
}

/// The headers at these places. Their values are parts of the bytes. None when one cannot be a header, or there are too many
/// for a map.
pub fn headers_of(bytes: &Bytes, places: &[Place]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(places.len());
    for (name, value) in places {
        let name = HeaderName::from_bytes(bytes.get(name.clone())?).ok()?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(value.clone())).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use doorward_wire::http1::Reader;

    use super::*;

    const LIMITS: Limits = Limits { uri: 100, headers: 200, count: 5 };

    #[test]
    fn a_request_is_what_its_head_says() {
        let bytes = b"\r\nPOST http://a/x?y HTTP/1.0\r\nHost:a\r\nX-A: \t1 2 \r\nX-a:\r\n\r\n";
        let head = Reader::default().read(bytes, &LIMITS).unwrap().unwrap();
        let request = request_of(&Bytes::from_static(bytes), &head.places, ()).unwrap();
        assert_eq!((request.method(), request.version()), (&Method::POST, Version::HTTP_10));
        assert_eq!(request.uri(), "http://a/x?y");
        assert_eq!(request.headers()["host"], "a");
        let values: Vec<_> = request.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1 2"[..], b""]);
        assert_eq!(request.headers().len(), 3);
    }
}
