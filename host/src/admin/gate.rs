//! The gate in front of everything at the admin address: which host is meant, who asks, and whether a form is one of ours.

use std::sync::Arc;
use std::time::Instant;

use doorward_wire::host::{host_name, is_authority};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, ORIGIN};
use hyper::{HeaderMap, Uri};
use sha2::{Digest as _, Sha256};

use super::caller::{Caller, Proof, Role};
use super::people::Account;
use super::plane::{Connection, Plane};
use super::sessions::{Found, Key};
use crate::config;
use crate::secret::Secret;
use crate::session::Cookie;
use crate::text::hex;

/// What a browser says of where a request comes from (Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The host that a request is for, where it is one of those that are answered: as it is written, for its origin.
pub(super) fn host<'a>(hosts: &[String], headers: &'a HeaderMap, uri: &Uri) -> Option<&'a str> {
    let mut all = headers.get_all(HOST).into_iter();
    let host = all.next().filter(|_| all.next().is_none() && uri.authority().is_none())?.to_str().ok()?;
    let name = host_name(host).filter(|_| is_authority(host.as_bytes()))?;
    hosts.contains(&name).then_some(host)
}

/// Whether a request that changes something comes from a page of ours, as far as the browser says: each form says so.
pub(super) fn is_our_form(headers: &HeaderMap, connection: &Connection, host: &str) -> bool {
    let ours = format!("{}://{}", connection.scheme.as_str(), host.to_ascii_lowercase());
    let mut origins = headers.get_all(ORIGIN).into_iter();
    let origin = origins.next().filter(|_| origins.next().is_none());
    origin.is_some_and(|origin| origin.as_bytes().eq_ignore_ascii_case(ours.as_bytes())) && is_our_fetch(headers)
}

/// Whether a request without a form comes from nowhere else: a program says nothing, and a browser what is so.
pub(super) fn is_no_foreign_page(headers: &HeaderMap, connection: &Connection, host: &str) -> bool {
    (!headers.contains_key(ORIGIN) || is_our_form(headers, connection, host)) && is_our_fetch(headers)
}

fn is_our_fetch(headers: &HeaderMap) -> bool {
    headers.get_all(FETCH_SITE).iter().all(|site| site == "same-origin")
}

/// Somebody at the page who is let in.
pub(super) struct Visitor {
    pub caller: Caller,
    /// What each of his forms has.
    pub token: Secret,
    /// Whether he has proved of late who he is.
    pub fresh: bool,
    /// His session; none of a certificate.
    pub key: Option<Key>,
    pub account: Account,
}

/// Who looks at the page: by his session, or else by his certificate.
pub(super) fn visitor(
    plane: &Plane,
    admin: &config::Admin,
    connection: &Connection,
    headers: &HeaderMap,
) -> Option<Visitor> {
    let accounts = plane.people.accounts(admin);
    by_session(plane, admin, connection, headers, &accounts).or_else(|| {
        let account = of_certificate(&accounts, connection)?;
        let name = account.name.as_str();
        Some(Visitor {
            caller: caller(Proof::Certificate(name.to_owned()), account.role, connection),
            token: Secret::new(hex(&Sha256::new_with_prefix(plane.key).chain_update(name).finalize())),
            // The certificate was proved with this connection; a password is asked for where there is one.
            fresh: account.password.is_none(),
            key: None,
            account: account.clone(),
        })
    })
}

fn by_session(
    plane: &Plane,
    admin: &config::Admin,
    connection: &Connection,
    headers: &HeaderMap,
    accounts: &Arc<[Account]>,
) -> Option<Visitor> {
    // What is shown as it happens is asked for again and again by the browser itself: that is nobody who is there.
    let by_itself = headers.get(ACCEPT).is_some_and(|kinds| kinds == "text/event-stream");
    let lifetimes = Plane::lifetimes(admin);
    let mut cookies = Cookie::Admin.values(headers, connection.scheme).take(4);
    let found: Found = cookies.find_map(|cookie| plane.sessions.find(cookie, Instant::now(), lifetimes, !by_itself))?;
    let account = accounts.iter().find(|account| account.name == found.account);
    // An account that was changed, or is gone, has no sessions.
    let Some(account) = account.filter(|account| account.fingerprint() == found.fingerprint) else {
        plane.sessions.end(&found.key);
        return None;
    };
    Some(Visitor {
        caller: caller(Proof::Session(account.name.clone()), account.role, connection),
        token: found.token,
        fresh: found.fresh,
        key: Some(found.key),
        account: account.clone(),
    })
}

fn of_certificate<'a>(accounts: &'a [Account], connection: &Connection) -> Option<&'a Account> {
    let subject = connection.subject.as_ref()?;
    accounts.iter().find(|account| account.subject.as_ref() == Some(subject))
}

/// A program that asks at the API: by a token, or by its certificate. A cookie is never looked at.
///
/// # Errors
/// Nobody; and whether something was shown that lets nobody in.
pub(super) fn program(
    plane: &Plane,
    admin: &config::Admin,
    connection: &Connection,
    headers: &HeaderMap,
) -> Result<Caller, bool> {
    if let Some(shown) = headers.get(AUTHORIZATION) {
        let shown = shown.to_str().ok().and_then(|text| text.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or(true)?.1.trim();
        let token = plane.people.token(admin, shown).ok_or(true)?;
        return Ok(caller(Proof::Token(token.name), token.role, connection));
    }
    let accounts = plane.people.accounts(admin);
    let account = of_certificate(&accounts, connection).ok_or(false)?;
    Ok(caller(Proof::Certificate(account.name.clone()), account.role, connection))
}

/// Somebody who reads the metrics from where they may be read.
pub(super) fn scraper(admin: &config::Admin, connection: &Connection) -> Option<Caller> {
    let may = admin.metrics_from.contain(connection.address);
    may.then(|| caller(Proof::Network, Role::Viewer, connection))
}

fn caller(proof: Proof, role: Role, connection: &Connection) -> Caller {
    Caller { proof, role, from: Some(connection.address) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Scheme;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_one_known_host_is_answered() {
        let hosts = ["doors.example".to_owned(), "localhost".to_owned(), "[::1]".to_owned()];
        let check = |written: &[&str], target: &str, answered: bool| {
            let pairs: Vec<_> = written.iter().map(|host| ("host", *host)).collect();
            let (headers, uri) = (headers(&pairs), target.parse().unwrap());
            assert_eq!(host(&hosts, &headers, &uri).is_some(), answered, "{written:?} {target}");
        };
        check(&["doors.example"], "/", true);
        check(&["Doors.Example.:9443"], "/", true);
        check(&["[::1]:9443"], "/", true);
        check(&["evil.example"], "/", false);
        check(&["doors.example.evil.example"], "/", false);
        check(&["doors.example@evil.example"], "/", false);
        check(&["127.0.0.1"], "/", false);
        check(&[], "/", false);
        check(&["doors.example", "evil.example"], "/", false);
        check(&["doors.example"], "http://evil.example/", false);
        check(&["doors.example:"], "/", false);
    }

    #[test]
    fn a_form_is_ours_where_its_origin_says_so_and_nothing_says_otherwise() {
        let connection = Connection { address: [127, 0, 0, 1].into(), scheme: Scheme::Https, subject: None };
        let check = |pairs: &[(&'static str, &str)], form: bool, program: bool| {
            let headers = headers(pairs);
            assert_eq!(is_our_form(&headers, &connection, "Doors.example:9443"), form, "{pairs:?}");
            assert_eq!(is_no_foreign_page(&headers, &connection, "Doors.example:9443"), program, "{pairs:?}");
        };
        let ours = ("origin", "https://doors.example:9443");
        check(&[ours], true, true);
        check(&[ours, ("sec-fetch-site", "same-origin")], true, true);
        check(&[], false, true);
        for foreign in ["null", "https://doors.example", "http://doors.example:9443", "https://evil.example", ""] {
            check(&[("origin", foreign)], false, false);
        }
        for site in ["cross-site", "same-site", "none"] {
            check(&[ours, ("sec-fetch-site", site)], false, false);
            check(&[("sec-fetch-site", site)], false, false);
        }
        check(&[ours, ("origin", "https://evil.example")], false, false);
    }
}
