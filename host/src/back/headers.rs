//! Headers on their way: what ends here, what is told to the node, and what of the node fits the browser.
//!
//! Pure.

use doorward_wire::cookie::cookie_pairs;
use doorward_wire::http1::{is_hop_by_hop, options_of};
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use memchr::memchr;

use crate::http1::{Known, Present, begin_header, write_header};
use crate::peer::Scheme;
use crate::reserved::is_reserved;

/// What `Connection` names besides: headers that belong to this connection as well.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    // The usual options name no header, or one that goes anyway.
    let usual =
        |name: &[u8]| [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|usual| name.eq_ignore_ascii_case(usual));
    options(headers).filter(|name| !usual(name)).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

/// Headers that are put together for a node: a map, or lines as HTTP/1.1 has them. Nothing is put twice.
pub trait Fields {
    /// Adds one.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue);

    /// Adds one of bytes, if they can stand in a header.
    fn put_bytes(&mut self, name: &HeaderName, value: Vec<u8>);

    /// Adds one of parts of others' values, with `; ` between them; none where there are no parts.
    fn put_joined<'a>(&mut self, name: &HeaderName, parts: impl Iterator<Item = &'a [u8]>) {
        let mut joined = Vec::new();
        for part in parts {
            join(&mut joined, 0, part);
        }
        if !joined.is_empty() {
            self.put_bytes(name, joined);
        }
    }

    /// Adds one of text, if it can stand in a header.
    fn put_text(&mut self, name: &HeaderName, text: &str) {
        self.put_bytes(name, text.into());
    }
}

impl Fields for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }

    fn put_bytes(&mut self, name: &HeaderName, value: Vec<u8>) {
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
            self.append(name, value);
        }
    }
}

/// Header lines.
pub struct Lines(pub(super) Vec<u8>);

impl Lines {
    /// None yet, with room for those of a common request.
    pub fn with_room() -> Self {
        Self(Vec::with_capacity(1 << 10))
    }
}

impl Fields for Lines {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        write_header(&mut self.0, name, value.as_bytes());
    }

    fn put_bytes(&mut self, name: &HeaderName, value: Vec<u8>) {
        self.put_good(name, &value);
    }

    fn put_text(&mut self, name: &HeaderName, text: &str) {
        self.put_good(name, text.as_bytes());
    }

    fn put_joined<'a>(&mut self, name: &HeaderName, parts: impl Iterator<Item = &'a [u8]>) {
        let before = self.0.len();
        begin_header(&mut self.0, name);
        let start = self.0.len();
        for part in parts {
            join(&mut self.0, start, part);
        }
        if self.0.len() == start {
            self.0.truncate(before);
        } else {
            self.0.extend_from_slice(b"\r\n");
        }
    }
}

/// Adds a part of a value that began at `start`.
fn join(joined: &mut Vec<u8>, start: usize, part: &[u8]) {
    if joined.len() > start {
        joined.extend_from_slice(b"; ");
    }
    joined.extend_from_slice(part);
}

impl Lines {
    /// As `HeaderValue` has it (RFC 9110, section 5.5). Without branches, so that the compiler takes many bytes at once.
    fn put_good(&mut self, name: &HeaderName, value: &[u8]) {
        let bad = |byte: u8| ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f);
        if !value.iter().fold(false, |found, byte| found | bad(*byte)) {
            write_header(&mut self.0, name, value);
        }
    }
}

/// Puts what of a browser's headers goes on to a node: nothing of this connection, nothing that only Doorward writes, none
/// of its own cookies, and no framing of the body, which is written anew.
///
/// `reserved` are the headers that only Doorward writes, besides those of the built-in list.
pub fn onward(
    (headers, present): (&HeaderMap, Present),
    is_ours: impl Fn(&[u8]) -> bool,
    reserved: impl Fn(&str) -> bool,
    fields: &mut impl Fields,
) {
    let named = if present.has(Known::Connection) { named_by_connection(headers) } else { Vec::new() };
    for (name, value) in headers {
        let written_anew = matches!(name.as_str(), "host" | "cookie" | "content-length" | "expect");
        let ends_here = is_hop_by_hop(name.as_str()) || is_reserved(name.as_str()) || reserved(name.as_str());
        if !written_anew && !ends_here && !named.contains(name) {
            fields.put(name, value);
        }
    }
    if present.has(Known::Cookie) && !named.contains(&header::COOKIE) {
        fields.put_joined(&header::COOKIE, cookies_but_ours(headers, is_ours));
    }
}

/// Removes what belongs to one connection only, and whatever `Connection` names besides.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    remove(headers, |name| is_hop_by_hop(name.as_str()) || named.contains(name));
}

/// Removes some headers. Most often there is none of them, or one.
fn remove(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| goes(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether `Connection` names this option (RFC 9110, section 7.6.1).
pub fn names(headers: &HeaderMap, option: &str) -> bool {
    options(headers).any(|name| name.eq_ignore_ascii_case(option.as_bytes()))
}

fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(header::CONNECTION).iter().flat_map(|line| options_of(line.as_bytes()))
}

/// Removes from trailers what may stand in a head only (RFC 9110, section 6.5.1): framing, routing, credentials, cookies,
/// what tells of the content, and what only Doorward writes.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    const NOT_IN_TRAILERS: [HeaderName; 12] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        header::COOKIE,
        header::SET_COOKIE,
        header::AUTHORIZATION,
        header::WWW_AUTHENTICATE,
        header::LOCATION,
        header::CACHE_CONTROL,
        header::EXPECT,
    ];
    strip_hop_by_hop(trailers);
    remove(trailers, |name| is_reserved(name.as_str()));
    for name in &NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

/// The parts of the `Cookie` header, which is written anew: one line, as HTTP/1.1 has it (HTTP/2 may bring several; RFC 9113,
/// section 8.2.3), and without our own cookies.
fn cookies_but_ours(headers: &HeaderMap, is_ours: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = &[u8]> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| cookie_pairs(line.as_bytes()));
    pairs.filter(move |pair| {
        let name = memchr(b'=', pair).map_or(*pair, |cut| &pair[..cut]).trim_ascii();
        !pair.is_empty() && !is_ours(name)
    })
}

/// Makes all of a node's `Set-Cookie` fit the browser.
pub fn fit_cookies(headers: &mut HeaderMap, base_path: &str, scheme: Scheme, is_ours: impl Fn(&[u8]) -> bool) {
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for fitted in cookies.iter().filter_map(|value| fit_cookie(value.as_bytes(), base_path, scheme, &is_ours)) {
        headers.append(header::SET_COOKIE, fitted);
    }
}

/// A node's `Set-Cookie` as the browser should have it: for this site (no `Domain`), below the public path, `Secure`
/// where the browser came by TLS. None for a cookie with one of our names, which a node may never set, and for one
/// without a name: RFC 6265, section 5.2, has it ignored, but browsers keep `=doorward=x` and send it as `doorward=x`.
pub fn fit_cookie(
    value: &[u8],
    base_path: &str,
    scheme: Scheme,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Option<HeaderValue> {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let pair = parts.next()?;
    let name = pair[..memchr(b'=', pair)?].trim_ascii();
    if name.is_empty() || is_ours(name) {
        return None;
    }
    let mut fitted = pair.to_vec();
    let mut is_secure = false;
    for part in parts {
        let (name, value) = memchr(b'=', part).map_or((part, &b""[..]), |cut| (&part[..cut], &part[cut + 1..]));
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"domain" | b"" => {}
            b"secure" => is_secure = true,
            b"path" => {
                let path = value.trim_ascii();
                let path = std::str::from_utf8(path).map_or(path, |path| public_path(path, base_path).as_bytes());
                fitted.extend_from_slice(b"; Path=");
                fitted.extend_from_slice(path);
            }
            _ => {
                fitted.extend_from_slice(b"; ");
                fitted.extend_from_slice(part);
            }
        }
    }
    // A `Secure` cookie is useless to a browser that came without TLS.
    if scheme.is_secure() {
        fitted.extend_from_slice(b"; Secure");
    } else if is_secure {
        tracing::debug!("a node's Secure cookie goes to a browser without TLS");
    }
    HeaderValue::from_maybe_shared(Bytes::from(fitted)).ok()
}

/// A path of the node as seen from outside.
fn public_path<'a>(path: &'a str, base_path: &str) -> &'a str {
    match path.strip_prefix(base_path) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_belongs_to_a_connection_ends_here() {
        let mut headers = map(&[("connection", "close, X-Own"), ("x-own", "1"), ("te", "trailers"), ("accept", "*/*")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn what_goes_on_is_the_browsers_own() {
        let check = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            let (mut fields, mut lines) = (HeaderMap::new(), Lines::with_room());
            onward(
                (&map(before), Present::of(&map(before))),
                |name| name == b"doorward",
                |name| name == "x-own-user",
                &mut fields,
            );
            assert_eq!(fields, map(after), "{before:?}");
            onward(
                (&map(before), Present::of(&map(before))),
                |name| name == b"doorward",
                |name| name == "x-own-user",
                &mut lines,
            );
            let text: String = after.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            assert_eq!(String::from_utf8(lines.0).unwrap(), text);
        };
        check(
            &[("accept", "*/*"), ("accept", "a/b"), ("x-y", "1")],
            &[("accept", "*/*"), ("accept", "a/b"), ("x-y", "1")],
        );
        check(&[("connection", "close, X-Own, Cookie"), ("x-own", "1"), ("cookie", "a=1"), ("te", "trailers")], &[]);
        check(
            &[("x-forwarded-for", "1"), ("x_forwarded_for", "1"), ("forwarded", "for=1"), ("remote_user", "root")],
            &[],
        );
        check(&[("x-own-user", "root"), ("x-own", "1")], &[("x-own", "1")]);
        check(&[("x-doorward-user", "root"), ("x-real-ip", "1"), ("accept", "*/*")], &[("accept", "*/*")]);
        check(&[("host", "a"), ("content-length", "1"), ("expect", "100-continue"), ("etag", "1")], &[("etag", "1")]);
    }

    #[test]
    fn our_cookies_stay_here() {
        let check = |before: &[&str], after: Option<&str>| {
            let lines: Vec<_> = before.iter().map(|line| ("cookie", *line)).collect();
            let map = map(&lines);
            let (mut fields, mut written) = (HeaderMap::new(), Lines::with_room());
            fields.put_joined(&header::COOKIE, cookies_but_ours(&map, |name| name == b"doorward"));
            written.put_joined(&header::COOKIE, cookies_but_ours(&map, |name| name == b"doorward"));
            assert_eq!(fields.get(header::COOKIE).map(|line| line.to_str().unwrap()), after);
            let line = after.map_or(String::new(), |line| format!("cookie: {line}\r\n"));
            assert_eq!(String::from_utf8(written.0).unwrap(), line);
        };
        check(&["a=1; doorward=x; b=2"], Some("a=1; b=2"));
        check(&["doorward=x"], None);
        check(&["a=1;b=2;"], Some("a=1; b=2"));
        check(&["notdoorward=1"], Some("notdoorward=1"));
        check(&["a=1", "doorward=x", "b=2"], Some("a=1; b=2"));
        check(&[], None);
    }

    #[test]
    fn cookies_fit_the_public_site() {
        use Scheme::{Http, Https};
        let fitted = |value: &str, scheme| fit_cookie(value.as_bytes(), "/rc", scheme, |name| name == b"doorward");
        let cookie =
            |value, scheme| fitted(value, scheme).map(|fitted| String::from_utf8(fitted.as_bytes().into()).unwrap());
        assert_eq!(cookie("a=é; Path=/rc/é", Http).unwrap(), "a=é; Path=/é");
        for none in ["=doorward=1", " = doorward=1", "doorward", "a", "", ";a=1", "doorward\t=1", " doorward = 1"] {
            assert_eq!(cookie(none, Https), None, "{none:?}");
        }
        let date = "a=1,b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Path=/a; SameSite=Lax; path=/rc/b; X";
        assert_eq!(cookie(date, Http).unwrap(), date.replace("path=/rc", "Path="));
        assert_eq!(cookie("a=1; path=/rc; Domain=n; HttpOnly", Http).unwrap(), "a=1; Path=/; HttpOnly");
        assert_eq!(cookie("a=1; Path=/rc/x; secure", Https).unwrap(), "a=1; Path=/rc/x; Secure".replace("/rc", ""));
        assert_eq!(cookie("doorward=1", Https), None);
    }
}
