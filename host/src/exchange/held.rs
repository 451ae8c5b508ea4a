//! What a user sent whose session had ended: kept until the next login, and shown then to be sent again.
//!
//! Nothing is kept here. The form goes to the browser and back, sealed, in the login page; it opens for the same user at
//! the same site, and for nobody else. It is not sent to the node by itself: the token in it, if it has one, belonged to
//! the session that is over, and whoever wrote it may have sent it elsewhere by now.

use doorward_wire::{form, local_path::local_path};
use hyper::Method;
use hyper::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Exchange, Visit};
use crate::session::{Purpose, Session};
use crate::upload::Incoming;
use doorward_wire::multipart::{self, Event, Parser};

/// More fields than any form here has.
const FIELDS: usize = 200;

/// A form that waits for its user.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {
    site: String,
    user: String,
    /// Where it was sent to: path and query.
    pub(super) target: String,
    /// Names and texts, in order. Files are not kept.
    pub(super) fields: Vec<(String, String)>,
}

impl Exchange {
    /// Keeps a form of a user whose session ended by itself, sealed. None where there is nothing to keep, or too much.
    pub(super) async fn hold(&self, visit: &Visit, body: Incoming) -> Option<String> {
        let (most, sessions) = (self.snapshot.hold_max_size, &self.snapshot.sessions);
        if most == 0 || visit.head.method != Method::POST || !self.is_same_origin(visit) {
            return None;
        }
        let (scheme, revoked) = (self.scheme(), &self.worker.shared.state.revoked);
        let user = sessions.find_expired(&visit.head.headers, scheme, &visit.site.name, revoked)?.user().to_owned();
        let target = local_path(visit.head.uri.path_and_query()?.as_str())?.to_owned();
        let media_type = visit.head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned();
        let body = self.incoming(body, ("hold-max-size", most)).whole().await.ok()?;
        let mut fields = match multipart::boundary(&media_type) {
            Some(boundary) => parts(&boundary, &body)?,
            None if media_type.starts_with("application/x-www-form-urlencoded") => form::read(&body),
            None => return None,
        };
        fields.truncate(FIELDS);
        tracing::info!(id = self.finish.id(), user, "a form that was sent without a session is kept for its user");
        Some(sessions.seal(Purpose::Held, &Held { site: visit.site.name.to_string(), user, target, fields }))
    }

    /// What was kept for this user, if it is still young.
    pub(super) fn held_for(&self, session: &Session, sealed: &str, visit: &Visit) -> Option<Held> {
        let held: Held = self.snapshot.sessions.unseal(Purpose::Held, sealed, self.snapshot.hold_timeout)?;
        let same = held.user == session.user() && held.site == *visit.site.name;
        same.then_some(held)
    }

    /// Whether the browser says that a page of another site sent the request. Only the host of an `Origin` counts: a proxy
    /// in front that speaks TLS may not tell so.
    pub(super) fn is_from_elsewhere(&self, visit: &Visit) -> bool {
        let origin = visit.head.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let other = |origin: &str| {
            origin != "null"
                && origin.split_once("://").is_none_or(|(_, host)| !host.eq_ignore_ascii_case(visit.authority()))
        };
        match visit.fetch_site() {
            Some(site) => site == b"cross-site",
            None => origin.is_some_and(other),
        }
    }

    /// Whether the browser says that a page of this very site sent the request.
    fn is_same_origin(&self, visit: &Visit) -> bool {
        let origin = visit.head.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
        match (visit.fetch_site(), origin) {
            (Some(site), _) => site == b"same-origin",
            (None, Some(origin)) => origin == format!("{}://{}", self.peer.scheme(), visit.authority()).as_bytes(),
            (None, None) => false,
        }
    }
}

/// The texts of a multipart form. What has a file's name is none.
fn parts(boundary: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    let mut parser = Parser::new(boundary);
    parser
        .push(body, &mut |event| match event {
            Event::Part { field, file } => fields.push((field, file.is_empty().then(Vec::new))),
            Event::Data(data) => {
                if let Some((_, Some(text))) = fields.last_mut() {
                    text.extend_from_slice(data);
                }
            }
        })
        .ok()?;
    let texts = fields.into_iter().filter_map(|(name, text)| Some((name, String::from_utf8(text?).ok()?)));
    parser.is_done().then(|| texts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_form_are_kept_and_files_are_not() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nbob@b.test\r\n--XX\r\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nbytes\r\n--XX\r\n\
                    Content-Disposition: form-data; name=\"text\"\r\n\r\nzwei\r\nZeilen\r\n--XX--\r\n";
        let expected = [("to", "bob@b.test"), ("text", "zwei\r\nZeilen")];
        assert_eq!(parts("XX", body.as_bytes()).unwrap(), expected.map(|(n, t)| (n.to_owned(), t.to_owned())));
        assert_eq!(parts("XX", &body.as_bytes()[..body.len() - 8]), None);
        assert_eq!(parts("YY", body.as_bytes()), None);
    }
}
