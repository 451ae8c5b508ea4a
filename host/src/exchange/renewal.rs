//! The renewed session cookie: which answers of a node may carry it.
//!
//! A cookie does not keep a shared cache from storing an answer (RFC 9111, section 7.3), and what it stores it gives to
//! others. So the cookie goes only with answers that no shared cache may store. An answer that may be stored by what a
//! cache guesses (section 4.2.2) becomes `private`; one that its node wants to be stored stays as it is, and the next
//! answer renews the session.

use std::time::SystemTime;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use crate::peer::Scheme;
use crate::session::{Session, Sessions};

/// What an answer says of shared caches.
#[derive(Debug, PartialEq, Eq)]
enum Sharing {
    /// They may not store it.
    Forbidden,
    /// It says nothing that counts: they may guess.
    Unsaid,
    /// They are meant to store it.
    Wanted,
}

/// Directives for some caches only, which these take before `Cache-Control` (RFC 9213, and what was there before it).
const TARGETED: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-control"), HeaderName::from_static("x-accel-expires")];

/// Renews a session's cookie by an answer, if it was time when the request came: few answers come then, and only of these
/// it is asked who may store them.
pub(super) fn where_due(
    (status, headers): (StatusCode, &mut HeaderMap),
    sessions: &Sessions,
    (session, now): (&Session, u64),
    scheme: Scheme,
) {
    if sessions.is_due(session, now) {
        renew(status, headers, || sessions.touch(session, scheme));
    }
}

/// Puts the renewed cookie into an answer, where no shared cache can keep it.
fn renew(status: StatusCode, headers: &mut HeaderMap, cookie: impl FnOnce() -> Option<String>) {
    let sharing = sharing(status, headers, SystemTime::now());
    if sharing == Sharing::Wanted {
        return;
    }
    let Some(cookie) = cookie().and_then(|cookie| HeaderValue::from_str(&cookie).ok()) else { return };
    if sharing == Sharing::Unsaid {
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    headers.append(header::SET_COOKIE, cookie);
}

/// Whether an answer says that shared caches are to store it.
pub(super) fn is_to_be_shared(status: StatusCode, headers: &HeaderMap) -> bool {
    sharing(status, headers, SystemTime::now()) == Sharing::Wanted
}

/// Whether a header says who may store an answer, and how long.
pub(super) fn is_about_caches(name: &HeaderName) -> bool {
    [header::CACHE_CONTROL, header::EXPIRES, header::PRAGMA].contains(name) || is_of_network(name)
}

fn sharing(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Sharing {
    // Its headers become those of an answer that was stored before (RFC 9111, section 4.3.4).
    if status == StatusCode::NOT_MODIFIED || is_targeted(headers) {
        return Sharing::Wanted;
    }
    let (mut forbidden, mut age) = (false, None);
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    for directive in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        let cut = directive.iter().position(|byte| *byte == b'=').unwrap_or(directive.len());
        let (name, value) = (directive[..cut].trim_ascii(), directive.get(cut + 1..));
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"public") || is(b"s-maxage") {
            return Sharing::Wanted;
        }
        // `private="some-header"` forbids that header only.
        forbidden |= is(b"no-store") || is(b"private") && value.is_none();
        if is(b"max-age") {
            let digits = value.unwrap_or_default().trim_ascii().trim_ascii_start();
            age = Some(age.unwrap_or(false) || digits.iter().any(|byte| !b"0\"".contains(byte)));
        }
    }
    match (forbidden, age) {
        (true, _) => Sharing::Forbidden,
        // `max-age` counts before `Expires` (RFC 9111, section 5.3).
        (false, Some(fresh)) if fresh => Sharing::Wanted,
        (false, None) if expires_later(headers, now) => Sharing::Wanted,
        (false, _) => Sharing::Unsaid,
    }
}

fn is_targeted(headers: &HeaderMap) -> bool {
    headers.keys().any(is_of_network)
}

fn is_of_network(name: &HeaderName) -> bool {
    TARGETED.contains(name) || name.as_str().ends_with("cdn-cache-control")
}

/// A date that is none, `0` above all, is in the past (RFC 9111, section 5.3). Caches do not look at the day of the week,
/// and pages have wrong ones.
fn expires_later(headers: &HeaderMap, now: SystemTime) -> bool {
    let dates = headers.get_all(header::EXPIRES).iter().filter_map(|value| value.to_str().ok());
    let behind_day = dates.filter_map(|date| date.trim().get(3..));
    let on_its_day = |rest: &str| {
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter();
        days.filter_map(|day| httpdate::parse_http_date(&format!("{day}{rest}")).ok()).next()
    };
    behind_day.filter_map(on_its_day).any(|date| date > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        renew(StatusCode::from_u16(status).unwrap(), &mut headers, || Some("doorward=new".to_owned()));
        headers
    }

    #[test]
    fn no_answer_that_a_shared_cache_may_keep_carries_the_cookie() {
        let stored: &[&[(&str, &str)]] = &[
            &[("cache-control", "public, max-age=604800")],
            &[("cache-control", "max-age=60, PUBLIC")],
            &[("cache-control", "no-cache"), ("cache-control", "public")],
            &[("cache-control", "s-maxage=60")],
            &[("cache-control", "private, s-maxage = 60")],
            &[("cache-control", "max-age=604800")],
            &[("cache-control", "Max-Age=\"604800\"")],
            &[("cache-control", "max-age=nonsense")],
            &[("cache-control", "max-age=0, max-age=60")],
            &[("cache-control", "private=\"x-own\", max-age=60")],
            &[("expires", "Tue, 01 Jan 2999 00:00:00 GMT")],
            &[("expires", "Fri, 01 Jan 2999 00:00:00 GMT")],
            &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")],
            &[("surrogate-control", "max-age=60")],
            &[("x-accel-expires", "60")],
        ];
        for lines in stored {
            let headers = of(200, lines);
            assert_eq!(headers.get("set-cookie"), None, "{lines:?}");
            assert_eq!(headers.len(), lines.len(), "{lines:?}: it stays as it is");
        }
        assert_eq!(of(304, &[]).len(), 0);
    }

    #[test]
    fn others_do_and_are_private() {
        for line in ["private", "no-store", "max-age=60, Private", "no-store, must-revalidate"] {
            let headers = of(200, &[("cache-control", line)]);
            assert!(headers["set-cookie"] == "doorward=new" && headers["cache-control"] == line, "{line}");
            assert_eq!(headers.len(), 2, "{line}");
        }
        let unsaid: &[&[(&'static str, &str)]] = &[
            &[],
            &[("last-modified", "Fri, 01 Jan 1999 00:00:00 GMT")],
            &[("cache-control", "no-cache")],
            &[("cache-control", "max-age=0, must-revalidate")],
            &[("cache-control", "max-age=0"), ("expires", "Fri, 01 Jan 2999 00:00:00 GMT")],
            &[("expires", "0")],
            &[("expires", "Mon, 26 Jul 1997 05:00:00 GMT")],
            &[("expires", "Thu, 19 Nov 1981 08:52:00 GMT")],
            &[("cache-control", "private=\"set-cookie\"")],
        ];
        for lines in unsaid {
            let headers = of(200, lines);
            assert_eq!(headers.get("set-cookie").unwrap(), "doorward=new", "{lines:?}");
            assert_eq!(headers.get_all("cache-control").iter().next_back().unwrap(), "private", "{lines:?}");
        }
    }

    #[test]
    fn an_answer_without_a_renewal_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        renew(StatusCode::OK, &mut headers, || None);
        assert!(headers.is_empty());
    }
}
