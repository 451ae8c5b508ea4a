//! Which headers a message has of those that decide about its way: found in one pass, where each look into the map would
//! hash a name.
//!
//! Pure.

use hyper::HeaderMap;

/// A header that decides about the way of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// `Alt-Svc`.
    AltSvc,
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Cookie`.
    Cookie,
    /// `Authorization` or `Proxy-Authorization`.
    Credentials,
    /// `Destination`.
    Destination,
    /// `Expect`.
    Expect,
    /// `Keep-Alive`, `Proxy-Connection` or `Transfer-Encoding`, which HTTP/2 does not have.
    OfConnection,
    /// `Set-Cookie`.
    SetCookie,
    /// `TE`.
    Te,
    /// `traceparent`, or another header that carries the context of a trace.
    Trace,
    /// `Upgrade`.
    Upgrade,
    /// `Content-Location`, `Link`, `Location` or `Refresh`.
    Urls,
}

/// Which of these are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present(u16);

impl Present {
    /// Those of a head.
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().filter_map(|name| known(name.as_str())).fold(0, |found, known| found | 1 << known as u16))
    }

    /// Whether one is there.
    pub fn has(self, known: Known) -> bool {
        self.0 & 1 << known as u16 != 0
    }
}

/// By length first, since most names have another one.
fn known(name: &str) -> Option<Known> {
    let (word, known) = match name.len() {
        2 if name.starts_with('b') => ("b3", Known::Trace),
        2 => ("te", Known::Te),
        4 => ("link", Known::Urls),
        6 if name.starts_with('c') => ("cookie", Known::Cookie),
        6 => ("expect", Known::Expect),
        7 if name.starts_with('a') => ("alt-svc", Known::AltSvc),
        7 if name.starts_with('b') => ("baggage", Known::Trace),
        7 if name.starts_with('r') => ("refresh", Known::Urls),
        7 => ("upgrade", Known::Upgrade),
        8 => ("location", Known::Urls),
        10 if name.starts_with('c') => ("connection", Known::Connection),
        10 if name.starts_with('k') => ("keep-alive", Known::OfConnection),
        10 if name.starts_with('t') => ("tracestate", Known::Trace),
        10 if name.starts_with('x') => ("x-b3-flags", Known::Trace),
        10 => ("set-cookie", Known::SetCookie),
        11 if name.starts_with('t') => ("traceparent", Known::Trace),
        11 if name.starts_with('x') => ("x-b3-spanid", Known::Trace),
        11 => ("destination", Known::Destination),
        12 if name.ends_with('d') && !name.ends_with("ed") => ("x-b3-traceid", Known::Trace),
        12 => ("x-b3-sampled", Known::Trace),
        13 => ("authorization", Known::Credentials),
        14 => ("content-length", Known::ContentLength),
        16 if name.starts_with('c') => ("content-location", Known::Urls),
        16 => ("proxy-connection", Known::OfConnection),
        17 if name.starts_with('x') => ("x-b3-parentspanid", Known::Trace),
        17 => ("transfer-encoding", Known::OfConnection),
        19 => ("proxy-authorization", Known::Credentials),
        _ => return None,
    };
    (name == word).then_some(known)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn each_is_found_and_nothing_else() {
        let names = [
            ("alt-svc", Known::AltSvc),
            ("connection", Known::Connection),
            ("content-length", Known::ContentLength),
            ("cookie", Known::Cookie),
            ("authorization", Known::Credentials),
            ("proxy-authorization", Known::Credentials),
            ("destination", Known::Destination),
            ("expect", Known::Expect),
            ("keep-alive", Known::OfConnection),
            ("proxy-connection", Known::OfConnection),
            ("transfer-encoding", Known::OfConnection),
            ("set-cookie", Known::SetCookie),
            ("te", Known::Te),
            ("traceparent", Known::Trace),
            ("tracestate", Known::Trace),
            ("baggage", Known::Trace),
            ("b3", Known::Trace),
            ("x-b3-traceid", Known::Trace),
            ("x-b3-spanid", Known::Trace),
            ("x-b3-parentspanid", Known::Trace),
            ("x-b3-sampled", Known::Trace),
            ("x-b3-flags", Known::Trace),
            ("upgrade", Known::Upgrade),
            ("content-location", Known::Urls),
            ("link", Known::Urls),
            ("location", Known::Urls),
            ("refresh", Known::Urls),
        ];
        let of = |names: &[&'static str]| {
            let map = names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();
            Present::of(&map)
        };
        let nothing =
            of(&["host", "accept", "range", "age", "etag", "referer", "content-type", "user-agent", "cache-control"]);
        assert_eq!(nothing, Present::default());
        for (name, known) in names {
            assert!(of(&["host", name]).has(known), "{name}");
            for (_, other) in names {
                assert_eq!(of(&[name]).has(other), other == known, "{name} {other:?}");
            }
        }
    }
}
