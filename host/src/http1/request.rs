//! A request of its head: the bytes were read and found good, and are taken apart here.
//!
//! Pure.

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri, Version};
use memchr::memchr;

use crate::reply::Refusal;

/// The request that a head with so many headers says, whose values are parts of its bytes.
///
/// # Errors
/// What the reader lets pass and a URI cannot be, or a header name that is too long.
pub fn request_of<B>(head: &Bytes, count: usize, body: B) -> Result<Request<B>, Refusal> {
    let bad = || Refusal::BadRequest("its target is no address");
    // One empty line in front is ignored.
    let mut at = if head.starts_with(b"\r\n") { 2 } else { 0 };
    let mut next = || {
        let start = at;
        at = memchr(b'\n', head.get(start..)?).map(|found| start + found + 1)?;
        // The reader has seen that there is a CR.
        head.get(start..at - 2).filter(|line| !line.is_empty()).map(|line| (start, line))
    };
    let (start, line) = next().ok_or_else(bad)?;
    let method = memchr(b' ', line).ok_or_else(bad)?;
    let target = method + 1 + memchr(b' ', &line[method + 1..]).ok_or_else(bad)?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(&line[..method]).map_err(|_| bad())?;
    *request.uri_mut() = Uri::from_maybe_shared(head.slice(start + method + 1..start + target)).map_err(|_| bad())?;
    *request.version_mut() = if line.ends_with(b"1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(count);
    while let Some((start, line)) = next() {
        let bad = || Refusal::BadRequest("a header cannot be one");
        let colon = memchr(b':', line).ok_or_else(bad)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| bad())?;
        let value = &line[colon + 1..];
        let begin = start + colon + 1 + (value.len() - value.trim_ascii_start().len());
        let value = head.slice(begin..begin + value.trim_ascii().len());
        headers.try_append(name, HeaderValue::from_maybe_shared(value).map_err(|_| bad())?).map_err(|_| bad())?;
    }
    *request.headers_mut() = headers;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_its_head_says() {
        let head = b"\r\nPOST http://a/x?y HTTP/1.0\r\nHost:a\r\nX-A: \t1 2 \r\nX-a:\r\n\r\n";
        let request = request_of(&Bytes::from_static(head), 3, ()).unwrap();
        assert_eq!((request.method(), request.version()), (&Method::POST, Version::HTTP_10));
        assert_eq!(request.uri(), "http://a/x?y");
        assert_eq!(request.headers()["host"], "a");
        let values: Vec<_> = request.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1 2"[..], b""]);
        assert_eq!(request.headers().len(), 3);
    }

    #[test]
    fn what_the_reader_would_refuse_is_no_request_either() {
        for head in
            ["", "\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nX\r\n\r\n", "GET / HTTP/1.1\r\n:x\r\n\r\n"]
        {
            assert!(request_of(&Bytes::from_static(head.as_bytes()), 0, ()).is_err(), "{head:?}");
        }
    }
}
