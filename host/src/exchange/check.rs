//! Which requests are not answered as asked, whatever they ask for: what holds for HTTP/1.1 and HTTP/2 alike.
//!
//! Pure.

use doorward_wire::host::is_authority;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::config::Http;
use crate::http1::{Known, Present};
use crate::reply::Refusal;

/// Host and port a request is for: from its one `Host`, or from `:authority` (RFC 9112, section 3.2; RFC 9113,
/// section 8.3.1). Where both are there they must agree.
pub(super) fn authority_of(head: &Parts) -> Result<HeaderValue, Refusal> {
    let host = head.headers.get(header::HOST);
    // HTTP/1 was read strictly (`http1::Reader`).
    if head.version >= Version::HTTP_2 && host.is_some() && head.headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Refusal::BadRequest("it has two Host headers"));
    }
    let no_host = Refusal::BadRequest("its Host is no host name");
    let authority = match (host, head.uri.authority()) {
        (Some(host), Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            return Err(Refusal::BadRequest("its Host is not that of its target"));
        }
        (Some(host), _) => host.clone(),
        (None, Some(authority)) => HeaderValue::from_str(authority.as_str()).map_err(|_| no_host.clone())?,
        (None, None) => return Err(Refusal::BadRequest("it has no Host")),
    };
    let is_one = head.version < Version::HTTP_2 || is_authority(authority.as_bytes());
    if is_one { Ok(authority) } else { Err(no_host) }
}

/// A request is read in one way, or not at all. `http1::Reader` has seen more of
/// HTTP/1; here is what both versions have in common, and what HTTP/2 must not have.
pub(super) fn check_head(head: &Parts, present: Present) -> Result<(), Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) || head.method.as_str().len() > 32 {
        return Err(Refusal::MethodRefused);
    }
    if !head.uri.path().starts_with('/') {
        return Err(match head.method {
            // `OPTIONS *` asks for the server as a whole, and would have to be answered for all nodes.
            Method::OPTIONS => Refusal::MethodRefused,
            _ => Refusal::BadRequest("its target is no path"),
        });
    }
    let expected = || head.headers.get(header::EXPECT).map_or(&b""[..], HeaderValue::as_bytes);
    if present.has(Known::Expect) && !expected().eq_ignore_ascii_case(b"100-continue") {
        return Err(Refusal::ExpectationRefused);
    }
    if present.has(Known::ContentLength) {
        let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
        let odd = lengths.next().is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit));
        if odd || lengths.next().is_some() {
            return Err(Refusal::BadRequest("it has two lengths"));
        }
    }
    if head.version == Version::HTTP_2 {
        check_http2(head, present)?;
    }
    check_path(head.uri.path())
}

/// The limits of a head. Over HTTP/1 it did not get here; over HTTP/2 the size of the headers is hyper's to count.
pub(super) fn check_size(head: &Parts, http: &Http) -> Result<(), Refusal> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target as u64 > http.uri_max_size {
        return Err(Refusal::UriTooLong(http.uri_max_size));
    }
    // HTTP/2 may cut its cookies in many (RFC 9113, section 8.2.3).
    let too_many = |count: usize| count as u64 > http.headers_max_count;
    let cookies = || head.headers.get_all(header::COOKIE).iter().count();
    if too_many(head.headers.len()) && too_many(head.headers.len() - cookies()) {
        return Err(Refusal::TooManyHeaders(http.headers_max_count));
    }
    Ok(())
}

/// Headers of one connection have no place in HTTP/2, nor have other schemes (RFC 9113, sections 8.2.2 and 8.3.1).
fn check_http2(head: &Parts, present: Present) -> Result<(), Refusal> {
    let of_connection = [Known::Connection, Known::OfConnection, Known::Upgrade];
    if head.uri.scheme().is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        return Err(Refusal::BadRequest("its scheme is neither http nor https"));
    }
    let te = || head.headers.get(header::TE).is_some_and(|value| value.as_bytes() != b"trailers");
    if present.has(Known::Te) && te() || of_connection.iter().any(|known| present.has(*known)) {
        return Err(Refusal::BadRequest("it has headers that HTTP/2 does not have"));
    }
    Ok(())
}

/// What a path is that a node may take for another.
pub(super) const AMBIGUOUS: Refusal = Refusal::BadRequest("its path is ambiguous");

/// What a node decodes once more must not become another path there.
/// Encoded slashes are looked at later, by [`has_encoded_slash`]: no part between them climbs either.
fn check_path(path: &str) -> Result<(), Refusal> {
    let bad = Err(AMBIGUOUS);
    if path.contains('\\') {
        return bad;
    }
    if !path.contains('%') && !path.contains("/.") {
        return Ok(());
    }
    let path = path.to_ascii_lowercase();
    let decoded = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    let climbs = decoded.split('/').any(|part| matches!(part, ".." | "."));
    if climbs || path.contains("%00") { bad } else { Ok(()) }
}

/// Whether a path has a slash or backslash in code, which is part of a name to some servers, and parts names to others.
pub(super) fn has_encoded_slash(path: &str) -> bool {
    let codes = path.as_bytes().windows(3).filter(|code| code[0] == b'%');
    path.contains('%') && { codes }.any(|code| [b"%2f", b"%5c"].iter().any(|odd| code.eq_ignore_ascii_case(*odd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_the_same_to_everybody() {
        for good in ["/", "/a.b/c..d/...", "/a%20b", "/.well-known/x", "/%c3%bc"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "/a/../b",
            "/..",
            "/.",
            "/a/.",
            "/%2e%2E/b",
            "/.%2e",
            "/a%2f..",
            "/a%5C%2e",
            "/%2F.%2e%5cb",
            "/a%00",
            "/a\\b",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        for (path, has) in [("/a%2fb", true), ("/a%5Cb", true), ("/%2", false), ("/%252f", false), ("/a/b", false)] {
            assert!(check_path(path).is_ok() && has_encoded_slash(path) == has, "{path}");
        }
    }
}
