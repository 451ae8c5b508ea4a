//! Filters: what is looked up for them, and what comes of what they say.

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue, SET_COOKIE};
use hyper::{HeaderMap, StatusCode};

use super::{Answer, Ending, Exchange, Visit, own, renewal};
use crate::limits::{Requester, Wanted};
use crate::pages::Page;
use crate::policy::{Action, Filtered, Header, Reply, SessionFacts, SitePage, TypedAnswer as _};
use crate::reply::Refusal;

impl Exchange {
    /// Filters come before everything else that answers: they may answer themselves, or set headers for the node and for the
    /// client.
    pub(super) fn filter(&self, visit: &mut Visit) -> Result<Option<Answer>, Refusal> {
        if self.snapshot.policies.reads().any() {
            self.gather(visit);
        }
        let said = self.snapshot.policies.filter(&mut self.worker.guests.borrow_mut(), &visit.facts);
        let said = match said {
            Filtered::Said(said) => said,
            Filtered::Failed => return Err(Refusal::PolicyFailed),
        };
        let Some(said) = said else { return Ok(None) };
        Ok(match Action::of(&said) {
            Action::Pass => None,
            Action::Set(headers) => {
                visit.set = headers_of(headers);
                None
            }
            Action::SetBoth(both) => {
                (visit.set, visit.set_back) = (headers_of(&both.request), headers_of(&both.response));
                None
            }
            Action::Redirect(location) => Some(own::redirect_with_method(location)),
            Action::Answer(reply) => Some(answer(reply)),
            Action::Page(page) => Some(self.page_of_site(visit, page)),
        })
    }

    /// The session of the request, and how many requests there were of late, where a filter may read it.
    fn gather(&self, visit: &mut Visit) {
        let reads = self.snapshot.policies.reads();
        let session = if reads.session { self.find_session(visit) } else { None };
        if reads.usage != Wanted::default() {
            let id = session.as_ref().map(|session| session.id_bytes());
            let of = Requester { session: id, address: self.peer.address, path: visit.head.uri.path() };
            let counted = self.worker.shared.state.usage.count(of, reads.usage, visit.facts.now());
            visit.facts.usage = Some(Arc::new(counted));
        }
        visit.facts.session = session.map(|session| {
            Arc::new(SessionFacts {
                user: session.user().to_owned(),
                node: session.backend().to_owned(),
                site: session.site().to_owned(),
                started: session.started(),
            })
        });
    }

    /// A page in the look of the site, and in the language of whoever asks.
    fn page_of_site(&self, visit: &Visit, said: &SitePage) -> Answer {
        let mut answer = self.page(visit, status(said.status), Page::Notice, "/", |content, language| {
            language.text(&said.title).clone_into(&mut content.reason);
            language.text(&said.text).clone_into(&mut content.detail);
        });
        set(answer.headers_mut(), headers_of(&said.headers));
        answer
    }
}

impl Ending {
    /// Sets what a filter has set in an answer that is not a node's. What the answer says already stays as it is: there it
    /// protects a login, or carries our cookies. So nothing is added either about who may store it.
    pub(super) fn with(mut self, mut headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        if let Self::Answer(answer) = &mut self {
            headers.retain(|(name, _)| !renewal::is_about_caches(name) && !answer.headers().contains_key(name));
            set(answer.headers_mut(), headers);
        }
        self
    }
}

impl Visit {
    /// Sets what a filter has set in a node's answer, in place of headers of the same name. Cookies are for one browser: no
    /// filter makes shared caches store an answer that has one.
    pub(super) fn set_in_node_answer(&mut self, answer: &mut Answer) {
        let mut headers = std::mem::take(&mut self.set_back);
        if answer.headers().contains_key(SET_COOKIE) {
            let mut changed = answer.headers().clone();
            set(&mut changed, headers.clone());
            if renewal::is_to_be_shared(answer.status(), &changed) {
                headers.retain(|(name, _)| !renewal::is_about_caches(name));
            }
        }
        set(answer.headers_mut(), headers);
    }
}

/// A filter's answer; what it may say was checked when it said it.
fn answer(reply: &Reply) -> Answer {
    let mut answer = own::page_answer(status(reply.status), reply.body.clone());
    set(answer.headers_mut(), headers_of(&reply.headers));
    answer
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn headers_of(headers: &[Header]) -> Vec<(HeaderName, HeaderValue)> {
    let header = |header: &Header| Some((header.name.parse().ok()?, HeaderValue::from_str(&header.value).ok()?));
    headers.iter().filter_map(header).collect()
}

fn set(answer: &mut HeaderMap, headers: Vec<(HeaderName, HeaderValue)>) {
    for (name, value) in headers {
        answer.insert(name, value);
    }
}
