//! The session of a request.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;

use super::opened::{Opened, Remembered};
use super::{Cookie, Revoked, Session, Sessions, Sightings};
use crate::peer::Scheme;
use crate::times::seconds_now;

/// What a session is looked for with, and where it is noted down that it was seen.
pub struct Search<'a> {
    /// Sessions that were ended early.
    pub revoked: &'a Revoked,
    /// Sessions seen of late.
    pub sightings: &'a Sightings,
    /// What the worker has opened.
    pub opened: &'a mut Opened,
    /// Who asks.
    pub client: IpAddr,
}

impl Sessions {
    /// The live session of a request, if it has one: sealed by us, of this site, neither idle, old nor ended.
    pub fn find(&self, headers: &HeaderMap, scheme: Scheme, site: &str, search: Search<'_>) -> Option<Arc<Session>> {
        let Search { revoked, sightings, opened, client } = search;
        let look = |known: &mut Remembered| {
            let (session, now) = (&known.session, seconds_now());
            if self.is_over(session, session.seen, now) || session.site != site || revoked.has(session) {
                return None;
            }
            known.sighting.get_or_insert_with(|| sightings.of(session)).touch(now, client);
            Some(session.clone())
        };
        opened.get(sealed_in(headers, scheme)?, |sealed| self.open(sealed), look)?
    }

    /// The session of a request that ended by itself, if the request still has its cookie: it was not ended by anybody.
    pub fn find_expired(&self, headers: &HeaderMap, scheme: Scheme, site: &str, revoked: &Revoked) -> Option<Session> {
        let session = self.open(sealed_in(headers, scheme)?)?;
        (session.site == site && !revoked.has(&session)).then_some(session)
    }
}

/// The session's cookie. Two copies: somebody put one there, and neither is believed.
fn sealed_in(headers: &HeaderMap, scheme: Scheme) -> Option<&str> {
    let mut copies = Cookie::Session.values(headers, scheme);
    let sealed = copies.next()?;
    copies.next().is_none().then_some(sealed)
}
