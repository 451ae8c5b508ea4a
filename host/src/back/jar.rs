//! The cookies of a login, as the browser would keep them.
//!
//! Pure.

use hyper::HeaderMap;
use hyper::header;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::text;

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
        for line in headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let has_path = line
                .split(';')
                .skip(1)
                .any(|part| part.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("path")));
            let path = if folder.is_empty() { "/" } else { folder };
            self.set.push(if has_path { line.to_owned() } else { format!("{line}; Path={path}") });
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            self.values.retain(|(known, _)| known != name.trim());
            self.values.push((name.trim().to_owned(), value.trim().to_owned()));
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
        let pairs = lines.flat_map(|line| text::cookie_pairs(line.as_bytes()));
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

/// The names of the cookies that an answer sets.
pub(super) fn names(headers: &HeaderMap) -> Vec<&str> {
    let lines = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.map(|line| line.split(['=', ';']).next().unwrap_or_default().trim()).collect()
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
}
