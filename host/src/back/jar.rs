//! The cookies of a login, as the browser would keep them.
//!
//! Pure, but for the clock that tells whether a cookie has expired.

use doorward_wire::cookie::{attribute, cookie_pairs, is_over, pair_of};
use hyper::HeaderMap;
use hyper::header;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::times::seconds_now;

/// The browser's cookies, for the time of a login.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Jar {
    /// `Set-Cookie` values, in order, for the browser.
    pub(super) set: Vec<String>,
    values: Vec<(String, String)>,
}

impl Jar {
    /// Takes the cookies of an answer. One without a path gets that of the request it answers (RFC 6265, section
    /// 5.1.4): the browser will get it with an answer of ours, and would take that one's.
    pub(super) fn take(&mut self, headers: &HeaderMap, request_path: &str) {
        let folder =
            request_path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
        let now = i64::try_from(seconds_now()).unwrap_or(i64::MAX);
        for line in set_cookies(headers) {
            // Without a name it is none (section 5.2).
            let Some((name, value)) = pair_of(line) else { continue };
            let has_path = attribute(line, "path").is_some_and(|path| path.starts_with('/'));
            let path = if folder.is_empty() { "/" } else { folder };
            self.set.push(if has_path { line.to_owned() } else { format!("{line}; Path={path}") });
            self.values.retain(|(known, _)| known != name);
            if !is_over(line, now) {
                self.values.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// The value of a cookie.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The values of all of them.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> + Clone {
        self.values.iter().map(|(_, value)| value.as_str())
    }

    /// The cookies that a browser has sent.
    pub(super) fn of_browser(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines.flat_map(|line| cookie_pairs(line.as_bytes()));
        let values = pairs.filter_map(|pair| {
            let pair = String::from_utf8_lossy(pair);
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        });
        Self { set: Vec::new(), values: values.collect() }
    }

    /// The `Cookie` of a request, with others beside these.
    pub(super) fn line(&self, others: &[(String, String)]) -> String {
        let own = self.values.iter().map(|(name, value)| format!("{name}={value}"));
        let others = others.iter().map(|(name, value)| format!("{name}={value}"));
        own.chain(others).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Jar {
    fn drop(&mut self) {
        self.set.zeroize();
        self.values.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl std::fmt::Debug for Jar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.iter().map(|(name, _)| name)).finish()
    }
}

/// The cookies that an answer sets, line by line: they are never joined (RFC 9110, section 5.3).
pub(super) fn set_cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::SET_COOKIE).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
}

/// The names of the cookies that an answer sets.
pub(super) fn names(headers: &HeaderMap) -> Vec<&str> {
    set_cookies(headers).filter_map(pair_of).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn cookies_keep_the_path_they_would_have_had() {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1; HttpOnly"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2; PATH=/x"));
        let mut jar = Jar::default();
        jar.take(&headers, "/mail/login?x=/y");
        jar.take(&headers, "/?x");
        let expected = ["a=1; HttpOnly; Path=/mail", "b=2; PATH=/x", "a=1; HttpOnly; Path=/", "b=2; PATH=/x"];
        assert_eq!(jar.set, expected);
        assert_eq!(jar.line(&[("c".to_owned(), "3".to_owned())]), "a=1; b=2; c=3");
        assert_eq!((jar.value("b"), jar.value("d")), (Some("2"), None));
        assert_eq!(names(&headers), ["a", "b"]);
        assert_eq!(format!("{jar:?}"), "{\"a\", \"b\"}");
    }

    #[test]
    fn cookies_are_read_as_browsers_read_them() {
        let check = |line: &str, expected: &str| {
            let mut jar = Jar::default();
            for line in ["a=0; Path=/", line] {
                let mut headers = HeaderMap::new();
                headers.append(header::SET_COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
                jar.take(&headers, "/x/login");
            }
            assert_eq!(jar.line(&[]), expected, "{line:?}");
        };
        // RFC 6265, section 5.2: without a sign or a name it is ignored.
        check("a", "a=0");
        check("=a", "a=0");
        check(" ; a=1", "a=0");
        check(" a = b=c ;x", "a=b=c");
        check("a=\"1;2\"", "a=\"1");
        check("a=é", "a=é");
        // Section 5.2.2, and 5.2.1 where that says nothing.
        check("a=1; Max-Age=0", "");
        check("a=1; max-age = -1", "");
        check("a=1; Max-Age=60; Expires=Thu, 01-Jan-1970 00:00:01 GMT", "a=1");
        check("a=1; Max-Age=x; expires=Thu, 01-Jan-1970 00:00:01 GMT", "");
        check("a=1; Max-Age=0; Max-Age=60", "a=1");
        check("a=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT", "a=1");
        check("a=1; Expires=never", "a=1");
        // Section 5.2.4: a path that is none counts as if it was not there.
        let path = |line: &'static str| {
            let headers = HeaderMap::from_iter([(header::SET_COOKIE, HeaderValue::from_static(line))]);
            let mut jar = Jar::default();
            jar.take(&headers, "/x/login");
            attribute(&jar.set[0], "path").map(str::to_owned)
        };
        assert_eq!(path("a=1; Path=/y; path=").as_deref(), Some("/x"));
        assert_eq!(path("a=1; Path=y").as_deref(), Some("/x"));
        assert_eq!(path("a=1; Path=y; PATH=/z").as_deref(), Some("/z"));
    }
}
